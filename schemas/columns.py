"""The columns of a file, and the fields of a record type that they feed."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["given", "remembered", "ours", "name", "alias", "normalised", "likeness", "ignored"]


@dataclass(frozen=True)
class Column:
    """One column of a file: where it stands (from 0), its header, the field it feeds, and why.

    `score` tells how alike header and field are, 0 to 100, where likeness is the reason. A column that
    an earlier import left out has no field and the reason "remembered".
    """

    position: int
    header: str
    field: str | None
    reason: Reason
    score: int | None = None
