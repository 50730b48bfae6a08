"""The columns of a file, and the fields of a record type that they feed."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["given", "remembered", "ours", "name", "alias", "normalised", "likeness", "ignored"]


@dataclass(frozen=True)
class Column:
    """One column of a file: its position from 0, its header, the field that it feeds, and the reason.

    `score` is how alike header and field are, from 0 to 100, if likeness is the reason. A column that an earlier import
    left out has no field and the reason "remembered". `samples` are its first different values, as the file has them.
    """

    position: int
    header: str
    field: str | None
    reason: Reason
    score: int | None = None
    samples: tuple[str, ...] = ()
