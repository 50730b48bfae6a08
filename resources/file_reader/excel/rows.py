"""Rows parsed by expat, tag by tag: every form that a sheet may have."""

from collections.abc import Iterator
from xml.parsers import expat

from resources.file_reader.chunk import TextChunk
from resources.file_reader.excel.cells import CellTexts, InvalidCell, too_long
from resources.file_reader.excel.package import DEPTH, Feed
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.records import RecordCollector
from resources.file_reader.excel.references import column_names, column_number, parse_reference
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Kind
from resources.file_reader.excel.texts import ESCAPE
from schemas.errors import UnreadableFile

_NAMES = ("row", "c", "v", "f", "is", "t", "r")
_PIECE = 16 << 10
_CHUNK_CELLS = 4 << 20
_CHUNK_CHARACTERS = 16 << 20
_OUTSIDE, _ROW, _CELL, _TEXT = range(4)


class RowParser:
    """Parses whole rows, fed in pieces. `progress` carries on from rows that another parser read between them.

    `_start` and `_end` are called for every tag. What they use is in slots, the frequent tags come first, and the
    others are handled in methods of their own.
    """

    __slots__ = (
        "_add", "_attributes", "_characters", "_column", "_columns", "_feed", "_formula", "_has_no_number", "_hidden",
        "_inline", "_limits", "_names", "_parser", "_progress", "_records", "_row", "_row_text", "_state", "_text_of",
        "_value",
    )  # fmt: skip

    def __init__(
        self,
        part: str,
        prefixes: set[str],
        progress: Progress,
        strings: SharedStrings,
        kinds: dict[str | None, Kind],
        from_1904: bool,
    ) -> None:
        self._progress, self._limits = progress, progress.limits
        self._columns = self._limits.columns
        self._names = column_names(self._columns)
        self._records = RecordCollector(progress)
        self._add = self._records.add
        self._text_of = CellTexts(progress, strings, kinds, from_1904).text
        self._characters: list[str] = []  # of the element that is open
        self._state = _OUTSIDE
        self._row = self._column = 0
        self._row_text = ""
        self._has_no_number = self._inline = self._hidden = False
        self._value: str | None = None
        self._formula: str | None = None
        self._attributes: dict[str, str] = {}  # of the open cell
        self._parser = expat.ParserCreate("utf-8")
        self._feed = Feed(progress.package, part, self._parser, self._limits.tag_bytes >> 4)
        self._feed(b"<rows>")
        self._handle_tags(prefixes)

    def feed(self, rows: bytes) -> Iterator[TextChunk]:
        """Yields the records of whole rows. If the last row is cut off, what is there of it is checked."""
        progress, records = self._progress, self._records
        taken = progress.characters
        for start in range(0, len(rows), _PIECE):
            self._feed(rows[start : start + _PIECE])
            if records.open_characters > self._limits.row_characters:
                raise progress.refuse_long_row("a row")
            if sum(map(len, self._characters)) > self._limits.cell_characters * ESCAPE:
                if self._state == _TEXT:
                    raise progress.refuse("a cell", too_long(self._limits.cell_characters).why)
                self._characters.clear()
            if records.cells > _CHUNK_CELLS or progress.characters - taken > _CHUNK_CHARACTERS:
                yield self._take()
                taken = progress.characters
        if not records.is_empty:
            yield self._take()

    def end(self) -> None:
        """Checks that all rows have ended; no more come."""
        self._parser.StartElementHandler = self._parser.EndElementHandler = None
        self._feed(b"</rows>")
        self._feed.end()

    def _take(self) -> TextChunk:
        chunk = self._records.take()
        self._feed.values = self._records.values
        return chunk

    def _handle_tags(self, prefixes: set[str]) -> None:
        """Sets the handlers; names with one of the prefixes are handled as those without."""
        self._parser.CharacterDataHandler = self._characters.append
        if prefixes == {""}:
            self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end
            return
        local = {prefix + each: each for prefix in prefixes for each in _NAMES}
        local |= {each: ":" + each for each in _NAMES if "" not in prefixes}
        start, end, local_of = self._start, self._end, local.get
        self._parser.StartElementHandler = lambda name, attributes: start(local_of(name) or name, attributes)
        self._parser.EndElementHandler = lambda name: end(local_of(name) or name)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        state = self._state
        if name == "c" and state == _ROW:
            reference = attributes.get("r")
            column = self._column
            if column < self._columns and reference == self._names[column] + self._row_text:
                self._column = column + 1
            else:
                self._column = self._placed(reference)
            self._attributes = attributes
            self._value = self._formula = None
            self._inline = False
            self._state = _CELL
        elif state == _CELL and ((name == "v" and self._value is None) or (name == "t" and self._inline)):
            self._characters.clear()
            self._state = _TEXT
        elif name == "is" and state == _CELL and not self._inline:
            self._inline = True
            self._value = ""  # it replaces a <v> before it, as in Excel
        else:
            self._start_rarer(name, attributes)

    def _end(self, name: str) -> None:
        if name == "v":
            characters = self._characters
            self._value = characters[0] if len(characters) == 1 else "".join(characters)
            self._state = _CELL
        elif name == "c":
            self._state = _ROW
            value = self._value
            if value is not None or self._formula is not None:
                attribute = self._attributes.get
                try:
                    text = self._text_of(value, attribute("t"), attribute("s"), self._formula)
                except InvalidCell as error:
                    raise self._refuse_cell(error.why, error.quoted) from None
                if isinstance(text, str):
                    if text:
                        self._add(self._column, text)
                else:
                    self._records.add_problem(self._column, text)
        elif name == "t":
            self._value = (self._value or "") + "".join(self._characters)
            self._state = _CELL
            if len(self._value) > self._limits.cell_characters * ESCAPE:
                raise self._refuse_cell(too_long(self._limits.cell_characters).why)
        elif name != "is":
            self._end_rarer(name)

    def _start_rarer(self, name: str, attributes: dict[str, str]) -> None:
        if name == "row" and self._state == _OUTSIDE:
            self._start_row(attributes)
        elif name == "f" and self._state == _CELL and self._formula is None:
            self._characters.clear()
            self._state = _TEXT
        elif not (self._inline and name == "r" and self._state == _CELL):
            self._skip(name, may_hold_values=self._inline and name == "v")

    def _end_rarer(self, name: str) -> None:
        if name == "row":
            self._state = _OUTSIDE
            self._progress.last = self._row
            self._records.end_row(self._row, hidden=self._hidden)
        elif name == "f":
            self._formula = "".join(self._characters)
            self._state = _CELL

    def _start_row(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r")
        self._has_no_number = number is None
        self._row = self._progress.last + 1 if number is None else self._numbered(number)
        if self._row > self._limits.rows:
            raise self._refuse(f"row {self._row:,}", f"lies beyond the last row, {self._limits.rows:,}")
        self._row_text = str(self._row)
        self._column = 0
        self._hidden = attributes.get("hidden") in ("1", "true")
        self._state = _ROW
        self._records.begin_row()

    def _numbered(self, number: str) -> int:
        """Returns the row's number, which must be higher than that of the row before."""
        last = self._progress.last
        if not (number.isascii() and number.isdecimal() and len(number) < 20):
            raise self._refuse(
                f"the row after row {last:,}", "has an invalid number", quoted=f"Its number is {number[:20]!r}."
            )
        if int(number) <= last:
            raise self._refuse(f"row {int(number):,}", f"comes after row {last:,}")
        return int(number)

    def _placed(self, reference: str | None) -> int:
        """Returns the cell's column, which must be higher than that of the cell before.

        The first cell of a row without a number sets the row.
        """
        found = self._column + 1 if reference is None else self._referenced(reference)
        self._has_no_number = False
        if found > self._columns:
            raise self._refuse(f"a cell of row {self._row:,}", f"lies beyond the last column, {self._names[-1]}")
        return found

    def _referenced(self, reference: str) -> int:
        match = parse_reference(reference)
        if match is None:
            raise self._refuse(
                f"a cell of row {self._row:,}",
                "has an invalid reference",
                quoted=f"Its reference is {reference[:20]!r}.",
            )
        column, row = column_number(match[1]), int(match[2])
        if self._has_no_number and self._column == 0 and self._row < row <= self._limits.rows:
            self._row, self._row_text = row, match[2]
        if row != self._row:
            raise self._refuse(f"cell {reference}", f"lies in row {self._row:,}")
        if column <= self._column:
            raise self._refuse(f"cell {reference}", f"comes after {self._names[self._column - 1]}{self._row}")
        return column

    def _skip(self, name: str, *, may_hold_values: bool) -> None:
        """Passes over the element that begins here, with all inside it."""
        if not may_hold_values and name.rpartition(":")[2] in _NAMES:
            raise self._refuse("a cell", f"has its values in an unusual place or namespace (<{name[:50]}>)")
        parser = self._parser
        before = parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler
        depth = 1

        def start(_: str, __: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > DEPTH:
                raise self._refuse("a cell", f"is nested more than {DEPTH} deep")

        def end(_: str) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = before

        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, None

    def _refuse_cell(self, why: str, quoted: str = "") -> UnreadableFile:
        return self._refuse(self._names[self._column - 1] + self._row_text, why, quoted=quoted)

    def _refuse(self, where: str, why: str, quoted: str = "") -> UnreadableFile:
        return self._progress.refuse(where, why, quoted=quoted)
