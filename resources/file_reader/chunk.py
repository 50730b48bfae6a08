"""What every format is read into: numbered records of text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MalformedRecord:
    """A record that has no row: with more or fewer fields than the header. `line` is where it begins, from 1.

    `values` are its fields as they were read, where the format has them.
    """

    record: int
    line: int
    fields: int
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellProblem:
    """A cell whose meaning no text can carry, as an error cell of Excel.

    `row` and `column` are positions in the chunk's values (from 0); `expected` ends a sentence: "must be …".
    """

    row: int
    column: int
    rule: str
    expected: str
    value: str


@dataclass(frozen=True)
class TextChunk:
    """Consecutive records of a file.

    `values` has a string column for each header, in order, named "0", "1", …; `records` and `lines` (int64)
    number its rows; `malformed` are the records between them that have no row; `cells` are cells of `values`
    that cannot be taken at their word.
    """

    values: "pa.Table"
    records: "pa.Array"
    lines: "pa.Array"
    malformed: tuple[MalformedRecord, ...] = ()
    cells: tuple[CellProblem, ...] = ()
