"""Rows parsed by expat, tag by tag: every form that a sheet may have."""

from collections.abc import Callable, Iterator
from xml.parsers import expat

from resources.file_reader.chunk import TEXT_WITH_POINT, TextChunk
from resources.file_reader.excel.cells import CellTexts, InvalidCell, ProblemText, too_long
from resources.file_reader.excel.numbers import has_point
from resources.file_reader.excel.package import DEPTH, Feed
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.records import RecordCollector
from resources.file_reader.excel.references import column_names, column_number, parse_reference
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Styles
from resources.file_reader.excel.texts import ESCAPE
from schemas.errors import UnreadableFile

_NAMES = ("row", "c", "v", "f", "is", "t", "r")
_TEXTS = ("s", "str", "inlineStr")
_PIECE = 16 << 10
_CHUNK_CELLS = 4 << 20
_CHUNK_CHARACTERS = 16 << 20
_OUTSIDE, _ROW, _CELL, _TEXT = range(4)

_Start = Callable[[str, dict[str, str]], None]
_End = Callable[[str], None]


class RowParser:
    """Parses whole rows, fed in pieces. `progress` carries on from rows that another parser read between them."""

    def __init__(
        self,
        part: str,
        prefixes: set[str],
        progress: Progress,
        strings: SharedStrings,
        styles: Styles,
        from_1904: bool,
    ) -> None:
        self._progress, self._limits = progress, progress.limits
        self._names = column_names(self._limits.columns)
        self._records = RecordCollector(progress)
        self._texts = CellTexts(progress, strings, styles.kinds, from_1904)
        self._formats = styles.formats
        self._characters: list[str] = []  # of the element that is open
        self._row = 0
        self._has_no_number = self._is_hidden = False  # of the open row
        self._parser = expat.ParserCreate("utf-8")
        self._feed = Feed(progress.package, part, self._parser, self._limits.tag_bytes >> 4)
        self._feed(b"<rows>")
        start, end, self._is_in_text = self._handlers()
        self._handle_tags(prefixes, start, end)

    def feed(self, rows: bytes) -> Iterator[TextChunk]:
        """Yields the records of whole rows. If the last row is cut off, what is there of it is checked."""
        progress, records = self._progress, self._records
        taken = progress.characters
        for start in range(0, len(rows), _PIECE):
            self._feed(rows[start : start + _PIECE])
            if records.open_characters > self._limits.row_characters:
                raise progress.refuse_long_row("a row")
            if sum(map(len, self._characters)) > self._limits.cell_characters * ESCAPE:
                if self._is_in_text():
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

    def _handle_tags(self, prefixes: set[str], start: _Start, end: _End) -> None:
        """Sets the handlers; names with one of the prefixes are handled as those without."""
        self._parser.CharacterDataHandler = self._characters.append
        if prefixes == {""}:
            self._parser.StartElementHandler, self._parser.EndElementHandler = start, end
            return
        local = {prefix + each: each for prefix in prefixes for each in _NAMES}
        local |= {each: ":" + each for each in _NAMES if "" not in prefixes}
        local_of = local.get
        self._parser.StartElementHandler = lambda name, attributes: start(local_of(name) or name, attributes)
        self._parser.EndElementHandler = lambda name: end(local_of(name) or name)

    def _handlers(self) -> tuple[_Start, _End, Callable[[], bool]]:
        """Returns the handlers of tags, and whether a text is open.

        They are called for every tag, so what they use is in local names. They only tell tags apart: the frequent
        ones come first, and methods do what is left to do.
        """
        names, columns = self._names, self._limits.columns
        characters, text_of, add = self._characters, self._texts.text, self._records.add
        formats, add_format = self._formats, self._records.add_format
        state = _OUTSIDE
        column = 0
        row_text = ""
        inline = False
        value: str | None = None
        formula: str | None = None
        cell_type: str | None = None
        style: str | None = None

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal state, column, row_text, value, formula, inline, cell_type, style
            if name == "c" and state == _ROW:
                reference = attributes.get("r")
                if column < columns and reference == names[column] + row_text:
                    column += 1
                else:
                    column = self._place(reference, column)
                    row_text = str(self._row)
                style = attributes.get("s")
                cell_type = attributes.get("t")
                value = formula = None
                inline = False
                state = _CELL
            elif state == _CELL and (
                (name == "v" and value is None) or (name == "t" and inline) or (name == "f" and formula is None)
            ):
                characters.clear()
                state = _TEXT
            elif name == "is" and state == _CELL and not inline:
                inline = True
                value = ""  # it replaces a <v> before it, as in Excel
            elif name == "row" and state == _OUTSIDE:
                self._start_row(attributes)
                row_text = str(self._row)
                column = 0
                state = _ROW
            elif not (inline and name == "r" and state == _CELL):
                self._skip(name, may_hold_values=inline and name == "v")

        def end(name: str) -> None:
            nonlocal state, value, formula
            if name == "v":
                value = characters[0] if len(characters) == 1 else "".join(characters)
                state = _CELL
            elif name == "c":
                state = _ROW
                if value is not None or formula is not None:
                    try:
                        text = text_of(value, cell_type, style, formula)
                    except InvalidCell as error:
                        raise self._refuse_cell(column, error) from None
                    if isinstance(text, ProblemText):
                        self._records.add_problem(column, text)
                    elif text:
                        add(column, text)
                        if cell_type is None or cell_type == "n":
                            if style in formats:
                                add_format(column, formats[style])
                        elif "." in text and has_point(text) and cell_type in _TEXTS:
                            add_format(column, TEXT_WITH_POINT)
            elif name == "t":
                value = (value or "") + "".join(characters)
                state = _CELL
                self._check_length(column, value)
            elif name == "f":
                formula = "".join(characters)
                state = _CELL
            elif name == "row":
                state = _OUTSIDE
                self._progress.last = self._row
                self._records.end_row(self._row, hidden=self._is_hidden)

        return start, end, lambda: state == _TEXT

    def _start_row(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r")
        self._has_no_number = number is None
        self._row = self._progress.last + 1 if number is None else self._numbered(number)
        if self._row > self._limits.rows:
            raise self._refuse(f"row {self._row:,}", f"lies beyond the last row, {self._limits.rows:,}")
        self._is_hidden = attributes.get("hidden") in ("1", "true")
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

    def _place(self, reference: str | None, before: int) -> int:
        """Returns the cell's column, which must be higher than that of the cell before.

        The first cell of a row without a number sets the row's number.
        """
        column = before + 1 if reference is None else self._referenced(reference, before)
        self._has_no_number = False
        if column > self._limits.columns:
            raise self._refuse(f"a cell of row {self._row:,}", f"lies beyond the last column, {self._names[-1]}")
        return column

    def _referenced(self, reference: str, before: int) -> int:
        match = parse_reference(reference)
        if match is None:
            raise self._refuse(
                f"a cell of row {self._row:,}",
                "has an invalid reference",
                quoted=f"Its reference is {reference[:20]!r}.",
            )
        column, row = column_number(match[1]), int(match[2])
        if self._has_no_number and before == 0 and self._row < row <= self._limits.rows:
            self._row = row
        if row != self._row:
            raise self._refuse(f"cell {reference}", f"lies in row {self._row:,}")
        if column <= before:
            raise self._refuse(f"cell {reference}", f"comes after {self._names[before - 1]}{self._row}")
        return column

    def _check_length(self, column: int, text: str) -> None:
        if len(text) > self._limits.cell_characters * ESCAPE:
            raise self._refuse_cell(column, too_long(self._limits.cell_characters))

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

    def _refuse_cell(self, column: int, error: InvalidCell) -> UnreadableFile:
        return self._refuse(f"{self._names[column - 1]}{self._row}", error.why, quoted=error.quoted)

    def _refuse(self, where: str, why: str, quoted: str = "") -> UnreadableFile:
        return self._progress.refuse(where, why, quoted=quoted)
