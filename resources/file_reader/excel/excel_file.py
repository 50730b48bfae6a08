"""A workbook, open for reading."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import BinaryIO, Literal

from resources.file_reader.chunk import TextChunk
from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.package import Package
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.properties import export_named_by
from resources.file_reader.excel.shared_strings import read_shared_strings
from resources.file_reader.excel.sheet import Sheet, merged
from resources.file_reader.excel.styles import read_styles
from resources.file_reader.excel.workbook import Workbook
from resources.file_reader.header_row import FIRST_ROWS, beginning, find_header_row
from resources.file_reader.repeated_headers import RepeatedHeaders, rejected
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.reading import Question, ReadOptions

_LIMITS = ExcelLimits()
_CHUNK_TEXT = 64 << 20  # bytes of a chunk
_CHUNK_CELLS = 4 << 20
_PROBLEM = 500  # bytes of one, as an object and as it is sent
_LOOK = 1 << 20  # bytes that are read of another sheet
_LOOKED_AT = 50  # other sheets
_NAMED, _SHOWN_ROWS = 5, 2
_VALUE = re.compile(rb"<(?:[\w.-]+:)?(?:v|t)(?:\s[^<>]*)?>[^<]").search


class ExcelFile:
    """One worksheet of a workbook, open for reading. A context manager.

    file: seekable; the caller closes it. name: what messages call it. sheet: the sheet to read, by default the first
    visible one. header_row: the row that names the columns, from 1, by default the one that seems to. block_bytes: how
    much of the sheet is read at once. chunk_rows: the rows of a chunk, rounded up to a block.

    `headers` is that row, without empty cells at its end. After the last chunk, `read` is the number of records, and
    `notes` say what was found or left out. Raises InvalidRequest if there is no such sheet or row. Raises
    UnreadableFile, at once or from `chunks`, if the file is not a workbook, is damaged or exceeds a limit. It is raised
    too if the file has no header or can be read in two ways.
    """

    float_columns: tuple[int, ...] = ()
    text_columns: tuple[int, ...] = ()
    mixed_columns: tuple[int, ...] = ()

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        sheet: str | None = None,
        header_row: int | None = None,
        chunk_rows: int = 50_000,
        block_bytes: int = 1 << 20,
        limits: ExcelLimits = _LIMITS,
    ) -> None:
        self.name = name
        self._chunk_rows = chunk_rows
        self._package = Package(file, name, limits)
        try:
            self._workbook = workbook = Workbook(self._package)
            self.sheets = tuple(workbook.sheets)
            self.date_system: Literal[1900, 1904] = 1904 if workbook.from_1904 else 1900
            self.sheet = workbook.choose(sheet)
            self._strings = read_shared_strings(self._package, workbook.strings, limits)
            self._styles = read_styles(self._package, workbook.styles)
            self._export = export_named_by(self._package)
            self._progress = Progress(self._package, self.sheet, limits)
            self._header = None if header_row else find_header_row(self._beginning(self.sheet))
            self._progress.first_row = header_row or (self._header.number if self._header else 1)
            self._sheet = self._open(self.sheet, self._progress, block_bytes)
            self._reading = self._sheet.chunks()
            self._first = next(self._reading, None)
            if self._progress.headers is None and not self._progress.last_filled:
                raise self._without_header()
            if header_row not in (None, self._progress.header_row):
                raise InvalidRequest(
                    f"Row {header_row:,} of sheet {self.sheet!r} in {name} has no value.",
                    "Name the row of the header (--header-row).",
                    self.outline,
                )
        except BaseException:
            self.__exit__()
            raise
        self.headers: tuple[str, ...] = self._progress.headers or ()
        self._repeated = RepeatedHeaders(self.headers)

    def __enter__(self) -> "ExcelFile":
        """Returns the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Releases the file, which stays open."""
        self._package.close()

    @property
    def used(self) -> ReadOptions:
        """The sheet, the row of its header, and the export that the workbook says it is."""
        return ReadOptions(sheet=self.sheet, header_row=self._progress.header_row, of=self._export)

    @property
    def understood(self) -> list[tuple[str, str]]:
        """The format and its date system, and the rows that are left out."""
        above = self._header.above if self._header else 0
        return [
            ("Format", f"Excel workbook, {self.date_system} date system"),
            *([("Rows above the header, left out", f"{above:,}")] if above else []),
        ]

    @property
    def read(self) -> int:
        """Records read so far."""
        return self._progress.read

    @property
    def share_read(self) -> float:
        """The share of the sheet that has been read, from 0 to 1: about the share of its records."""
        return self._package.share_read(self._workbook.sheets[self.sheet])

    @property
    def questions(self) -> tuple[Question, ...]:
        """What a user must say, because the rows show it in several ways; complete when `chunks` has ended."""
        found = self._header.questions if self._header else ()
        others = self._repeated.others
        return (*found, Question(f"Row {others[0]:,} looks like the header of another table.")) if others else found

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found or left out, in sentences; complete when `chunks` has ended."""
        of = f" of {len(self.sheets)}" if len(self.sheets) > 1 else ""
        notes = [f"Sheet {self.sheet!r}{of} was read."]
        others = self._others_with_values()
        if others:
            shown = ", ".join(map(repr, others[:_NAMED])) + (", …" if len(others) > _NAMED else "")
            many = f"{len(others):,} other sheets have" if len(others) > 1 else "1 other sheet has"
            notes.append(f"{many} values and {'were' if len(others) > 1 else 'was'} not read: {shown}.")
        if self.date_system == 1904:
            notes.append("Its dates count from 1904.")
        if self._styles.fault and self._progress.unknown_styles:
            notes.append(self._styles.fault)
        return (*notes, *self._sheet.notes())

    @property
    def number_formats(self) -> tuple[str, ...]:
        """The codes of the workbook's number formats, to which `formats` of a chunk refers."""
        return self._styles.codes

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the sheet, in order. Call it once."""
        waiting: list[TextChunk] = []
        rows = size = cells = 0
        for chunk in self._all():
            waiting.append(chunk)
            rows += len(chunk.records) + len(chunk.malformed)
            size += chunk.values.nbytes + sum(_PROBLEM + len(cell.value) for cell in chunk.cells)
            size += sum(sum(map(len, bad.values)) for bad in chunk.malformed)
            cells += chunk.values.num_columns * len(chunk.records) + sum(bad.fields for bad in chunk.malformed)
            if rows >= self._chunk_rows or size >= _CHUNK_TEXT or cells >= _CHUNK_CELLS:
                yield self._without_headers(merged(waiting))
                waiting, rows, size, cells = [], 0, 0, 0
                self._strings.forget()
        if waiting:
            yield self._without_headers(merged(waiting))

    def _without_headers(self, chunk: TextChunk) -> TextChunk:
        """Returns the chunk with rows that name the columns among the malformed ones."""
        return rejected(chunk, self._repeated.found(chunk.values, chunk.lines)) if len(chunk.lines) else chunk

    def _all(self) -> Iterator[TextChunk]:
        if self._first is not None:
            yield self._first
            self._first = None
        yield from self._reading

    def _without_header(self) -> UnreadableFile:
        others = self._others_with_values()
        return self._package.unreadable(
            f"has no header: sheet {self.sheet!r} is empty",
            "Name another sheet (--sheet)." if others else "Write the names of its columns into the first row.",
            self.outline if others else "",
        )

    @property
    def first_rows(self) -> list[tuple[int, tuple[str, ...]]]:
        """The first rows of the sheet that have values, each with its number from 1."""
        return self._beginning(self.sheet)[:FIRST_ROWS]

    @property
    def outline(self) -> str:
        """What the first sheets begin with, in a sentence; "" if that is the header row of the only sheet."""
        if len(self.sheets) == 1 and self._header is not None and not self._header.above:
            return ""
        found = []
        for sheet, part in islice(self._workbook.sheets.items(), _NAMED):
            with suppress(UnreadableFile):
                rows = [beginning(row) for _, row in self._beginning(sheet)[:_SHOWN_ROWS]] if part else []
                found.append(f"{sheet!r} begins with {', '.join(map(repr, rows))}" if rows else f"{sheet!r} is empty")
        more = len(self.sheets) - len(found)
        return f"Its sheets: {'; '.join(found)}{f'; and {more:,} more' if more else ''}."

    def _open(self, sheet: str, progress: Progress, block_bytes: int = 1 << 20) -> Sheet:
        part, from_1904 = self._workbook.sheets[sheet], self._workbook.from_1904
        return Sheet(self._package, part, progress, self._strings, self._styles, from_1904, block_bytes)

    def _beginning(self, sheet: str) -> list[tuple[int, tuple[str, ...]]]:
        return self._open(sheet, Progress(self._package, sheet, self._package.limits)).beginning()

    def _others_with_values(self) -> list[str]:
        """Returns the other sheets that have a value near their start."""
        found = []
        others = [sheet for sheet in self.sheets if sheet != self.sheet]
        for sheet in others[:_LOOKED_AT]:
            part = self._workbook.sheets[sheet]
            look = b""
            try:
                for block in self._package.utf8_blocks(part, _LOOK) if part else ():
                    look += block
                    if _VALUE(look):
                        found.append(sheet)
                        break
            except UnreadableFile:
                continue  # only the chosen sheet must be readable
        return found
