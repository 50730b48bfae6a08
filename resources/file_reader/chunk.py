"""Numbered records of text: what every format is read into."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MalformedRecord:
    """A record with more or fewer fields than the header. It has no row among the values.

    `line` is where it begins, from 1. `values` are its fields as they were read, if the format has them.
    """

    record: int
    line: int
    fields: int
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellProblem:
    """A cell with a meaning that no text can express, such as an error cell of Excel.

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

    `values` has a string column for each header, in order, named "0", "1", …. `records` and `lines` (int64) number its
    rows, from 1. `malformed` are the records between them that have no row. `cells` are the problems of its cells.
    `formats` has a list for each row: the cells that are numbers with a number format. Each has its `column` (from 0)
    and its `format`, a place in the file's `number_formats`. It is None if no cell of the file can have one.
    """

    values: "pa.Table"
    records: "pa.Array"
    lines: "pa.Array"
    malformed: tuple[MalformedRecord, ...] = ()
    cells: tuple[CellProblem, ...] = ()
    formats: "pa.Array | None" = None
