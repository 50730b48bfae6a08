"""The columns of a file, and the fields of a record type that get their values."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["given", "remembered", "ours", "name", "alias", "normalised", "likeness", "ignored"]


@dataclass(frozen=True)
class Column:
    """One column of a file: its position from 0, its header, the field that gets its values, and the reason.

    score: how similar header and field are, from 0 to 100, if the reason is "likeness".
    field: None if the column is ignored. The reason is "remembered" if an earlier import ignored it.
    like: a field without a column that an ignored column could be meant for.
    samples: its first different values, as the file has them.
    """

    position: int
    header: str
    field: str | None
    reason: Reason
    score: int | None = None
    samples: tuple[str, ...] = ()
    like: str | None = None
