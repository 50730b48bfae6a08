"""Numbered records of text: what every format is read into."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_WITH_POINT = -1
"""In place of a number format: the cell is text, and looks like a number with a point."""


class Malformed(StrEnum):
    """Why a record has no row among the values."""

    FIELD_COUNT = "field_count"
    """It has more or fewer fields than the header."""
    QUOTATION_MARK = "quotation_mark"
    """A quotation mark is out of place, so that its fields are not sure."""
    REPEATED_HEADER = "repeated_header"
    """It is the header again."""


@dataclass(frozen=True)
class MalformedRecord:
    """A record that has no row among the values.

    `line` is where it begins, from 1. `values` are its fields as they were read, if the format has them. If its fields
    are not sure, its text stands beyond as many empty fields as the header has.
    """

    record: int
    line: int
    fields: int
    values: tuple[str, ...] = ()
    why: Malformed = Malformed.FIELD_COUNT


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
    and its `format`, a place in the file's `number_formats`. TEXT_WITH_POINT in its place marks a cell of text that
    looks like a number with a point. `formats` is None if cells of the format have neither.
    """

    values: "pa.Table"
    records: "pa.Array"
    lines: "pa.Array"
    malformed: tuple[MalformedRecord, ...] = ()
    cells: tuple[CellProblem, ...] = ()
    formats: "pa.Array | None" = None
