"""What to know about records that have no values, or fewer fields than the header."""

from collections.abc import Iterator

from resources.file_reader.chunk import Malformed
from resources.file_reader.delimited.structure import RecordBlock
from schemas.counts import numbered


class Widths:
    """Counts such records, a block at a time. `width` is the number of fields of the header."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._empty = self._filled = self._short = self._first_short = 0

    def add(self, block: RecordBlock) -> None:
        """Counts those of a block."""
        self._empty += block.empty
        self._filled += block.filled
        short = [it.line for it in block.malformed if it.why is Malformed.FIELD_COUNT and it.fields < self._width]
        self._first_short = self._first_short or next(iter(short), 0)
        self._short += len(short)

    def notes(self) -> Iterator[str]:
        """Yields a sentence for each kind that there is."""
        if self._empty:
            many = f"{numbered(self._empty, 'line')} with delimiters alone {'was' if self._empty == 1 else 'were'}"
            yield f"{many} passed over, as blank lines are."
        if self._short:
            is_one, line = self._short == 1, f"line {self._first_short:,}"
            have = "1 record has" if is_one else f"{self._short:,} records have"
            where, they_lack = (f"in {line}", "it lacks") if is_one else (f"from {line} on", "they lack")
            yield f"{have} fewer fields than the header, {where}. If {they_lack} only empty cells: --short-rows fill"
        if self._filled:
            many = f"{numbered(self._filled, 'record')} with fewer fields than the header got empty ones at"
            yield f"{many} the end, as --short-rows says."
