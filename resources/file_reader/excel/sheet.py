"""One worksheet: from its bytes to numbered records, cross-checked."""

import re
from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa

from resources.file_reader.chunk import CellProblem, TextChunk
from resources.file_reader.excel.canonical import CanonicalParser
from resources.file_reader.excel.cross_check import CrossCheck
from resources.file_reader.excel.cutter import Piece, cut
from resources.file_reader.excel.layout import Layout
from resources.file_reader.excel.package import Package
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.rows import RowParser
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Styles
from schemas.counts import numbered

_MOST_RUNS = 64
_FEWEST_ROWS = 20  # fewer are not worth a call to Arrow
_TEXT = 32 << 20
_SHORTEST_CELL = 20  # bytes of one with a shared text
_BEGINNING = 100
"""The rows of the beginning of a sheet."""


class Sheet:
    """The rows of one worksheet. `progress` counts them, and has the headers after the first."""

    def __init__(
        self,
        package: Package,
        part: str,
        progress: Progress,
        strings: SharedStrings,
        styles: Styles,
        from_1904: bool,
        block_bytes: int,
    ) -> None:
        self._package, self._part, self._progress = package, part, progress
        self._strings, self._styles, self._from_1904 = strings, styles, from_1904
        self._block_bytes = block_bytes
        self._layout = Layout(package, part)

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the sheet, in order, in chunks of any size."""
        limits = self._progress.limits
        blocks = self._package.utf8_blocks(self._part, limits.unpacked_bytes)
        start = self._until_rows(blocks)
        if start is not None:
            prefix = self._layout.prefix
            plain = self._layout.prefixes == {prefix}
            self._canonical = (
                CanonicalParser(prefix, self._progress, self._strings, self._styles, self._from_1904) if plain else None
            )
            self._cross_check = CrossCheck(self._progress, self._strings, prefix)
            for piece in self._pieces(start, blocks):
                yield from self._records(piece)
                start = piece.rest
            self._rows.end()
            self._layout.feed(start)
        for block in blocks:
            self._layout.feed(block)
        self._layout.feed.end()

    def beginning(self) -> list[tuple[int, tuple[str, ...]]]:
        """Returns the first rows with values, each with its number. Nothing else can be read from this object then."""
        self._progress.headers = ()  # so every row is wider, and kept as it is
        blocks = self._package.utf8_blocks(self._part, self._progress.limits.unpacked_bytes)
        start = self._until_rows(blocks)
        piece = None if start is None else next(self._pieces(start, blocks), None)
        if piece is None:
            return []
        ends = [found.end() for found in islice(self._row_end.finditer(piece.bare), _BEGINNING)]
        chunks = self._rows.feed(piece.data[: ends[-1] if ends else None])
        return [(bad.line, bad.values) for chunk in chunks for bad in chunk.malformed]

    def _until_rows(self, blocks: Iterator[bytes]) -> bytes | None:
        """Returns what was read after the tag that begins the rows, and prepares parsing; None if there are none."""
        start = self._layout.until_rows(blocks)
        if start is not None:
            prefix = self._layout.prefix
            self._end_tag = f"</{prefix}row>".encode()
            self._row_end = re.compile(f"</{re.escape(prefix)}row>|<{re.escape(prefix)}row [^<>]*/>".encode())
            self._rows = RowParser(
                self._part, self._layout.prefixes, self._progress, self._strings, self._styles, self._from_1904
            )
        return start

    def _pieces(self, start: bytes, blocks: Iterator[bytes]) -> Iterator[Piece]:
        child, parent = f"{self._layout.prefix}row".encode(), f"{self._layout.prefix}sheetData".encode()
        most = self._progress.limits.element_bytes
        return cut(self._package, self._part, start, blocks, child, parent, most, self._block_bytes)

    def notes(self) -> Iterator[str]:
        """Yields what was found or left out, in sentences."""
        progress = self._progress
        if progress.header_row > 1:
            yield f"The header is row {progress.header_row:,}."
        if blank := progress.last_filled - progress.header_row - progress.read:
            yield f"{numbered(blank, 'blank row')} between others {'was' if blank == 1 else 'were'} passed over."
        yield from self._layout.notes(len(progress.headers or ()))
        if progress.hidden:
            many = f"{numbered(progress.hidden, 'row')} {'are' if progress.hidden > 1 else 'is'}"
            why = ", which has a filter" if self._layout.filtered else ""
            yield (f"{many} hidden in the sheet{why}; {'they were' if progress.hidden > 1 else 'it was'} read as well.")
        if progress.last - progress.last_filled > progress.limits.empty_rows:
            yield f"Rows {progress.last_filled + 1:,} to {progress.last:,} are empty."
        if progress.unknown_styles:
            many = f"{numbered(progress.unknown_styles, 'cell')} {'have' if progress.unknown_styles > 1 else 'has'}"
            yield f"{many} a style that the workbook lacks: read as plain numbers. A date among them is one like 45443."

    def _records(self, piece: Piece) -> Iterator[TextChunk]:
        at, progress = 0, self._progress
        while progress.headers is None and at < len(piece.data):
            end = piece.bare.find(self._end_tag, at)
            end = len(piece.data) if end < 0 else end + len(self._end_tag)
            yield from self._by_expat(piece.part(at, end))
            at = end
            if progress.headers is None and progress.last > progress.limits.empty_rows:
                raise progress.refuse(
                    f"rows 1 to {progress.last:,}", "have no value", "Its first row with a value names the columns."
                )
        rest = piece.part(at, len(piece.data)) if at else piece
        if rest.data:
            yield from self._any(rest)

    def _any(self, piece: Piece) -> Iterator[TextChunk]:
        """Yields records of rows of any form; Arrow parses those of the canonical form."""
        if self._canonical is None or piece.has_markup:
            yield from self._by_expat(piece)
            return
        before, row = self._progress.read, self._progress.last
        read = self._canonical.read(piece.data)
        if read is None:
            middle = piece.data.find(self._end_tag, len(piece.data) // 2) + len(self._end_tag)
            if len(self._end_tag) <= middle < len(piece.data):
                yield from self._any(piece.part(0, middle))
                yield from self._any(piece.part(middle, len(piece.data)))
            else:
                yield from self._by_expat(piece)
            return
        if isinstance(read, TextChunk):
            self._cross_check.check(piece, [read], before, row)
            yield read
            return
        ends = [0, *(found.end() for found in self._row_end.finditer(piece.data))]
        ends[-1] = len(piece.data)
        turns = np.flatnonzero(np.diff(read)) + 1
        if len(ends) - 1 != len(read) or len(turns) > _MOST_RUNS or read.all():
            yield from self._by_expat(piece)
            return
        for first, last in pairwise([0, *turns.tolist(), len(read)]):
            run = piece.part(ends[first], ends[last])
            if read[first] or last - first < _FEWEST_ROWS:
                yield from self._by_expat(run)
            else:
                yield from self._any(run)

    def _by_expat(self, piece: Piece) -> Iterator[TextChunk]:
        """Yields records of rows of any form, parsed by expat, as many at once as memory allows."""
        most = _TEXT * _SHORTEST_CELL // max(1, self._strings.longest)
        at = 0
        while len(piece.data) - at > most:
            end = piece.bare.find(self._end_tag, at + most) + len(self._end_tag)
            if end < at + most:
                break
            yield from self._run_by_expat(piece.part(at, end))
            at = end
        if at < len(piece.data) or not at:
            yield from self._run_by_expat(piece.part(at, len(piece.data)) if at else piece)

    def _run_by_expat(self, piece: Piece) -> Iterator[TextChunk]:
        """Yields the records of a run of rows. The last chunk waits until the cross-check has confirmed all."""
        before, row = self._progress.read, self._progress.last
        self._cross_check.begin(piece, row)
        chunk = None
        for following in self._rows.feed(piece.data):
            if chunk is not None:
                yield chunk
            self._cross_check.note(following)
            chunk = following
        self._cross_check.end(before)
        if chunk is not None:
            yield chunk


def merged(chunks: list[TextChunk]) -> TextChunk:
    """Returns several chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    cells: list[CellProblem] = []
    rows = 0
    for chunk in chunks:
        cells += [CellProblem(it.row + rows, it.column, it.rule, it.expected, it.value) for it in chunk.cells]
        rows += len(chunk.records)
    return TextChunk(
        pa.concat_tables([chunk.values for chunk in chunks]),
        pa.concat_arrays([chunk.records for chunk in chunks]),
        pa.concat_arrays([chunk.lines for chunk in chunks]),
        tuple(bad for chunk in chunks for bad in chunk.malformed),
        tuple(cells),
        pa.concat_arrays([chunk.formats for chunk in chunks]),
    )
