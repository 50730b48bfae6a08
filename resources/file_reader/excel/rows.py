"""Rows by expat, cell by cell: every form that a sheet may have."""

from collections.abc import Callable, Iterator
from itertools import islice
from xml.parsers import expat

import pyarrow as pa

from resources.file_reader.chunk import CellProblem, MalformedRecord, TextChunk
from resources.file_reader.excel.dates import date_text, iso_text
from resources.file_reader.excel.numbers import is_numeric, is_plain, number_text
from resources.file_reader.excel.package import DEPTH, Feed
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.references import column_names, column_number, parse_reference
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Kind
from resources.file_reader.excel.texts import ESCAPE, decode
from schemas.errors import UnreadableFile

_CACHED = 50_000  # dates
_LONGEST_DATE = 1000
_NAMES = ("row", "c", "v", "f", "is", "t", "r")
_PIECE = 16 << 10
_CHUNK_CELLS = 4 << 20
_CHUNK_CHARACTERS = 16 << 20
_OUTSIDE, _ROW, _CELL, _TEXT = range(4)


class RowParser:
    """Rows as elements of a sheet, in pieces; what `progress` knows of the rows between is taken over."""

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
        self._strings, self._kinds, self._from_1904 = strings, kinds, from_1904
        self._texts: list[str] = []  # of the element that is open
        self._in_text: Callable[[], bool] = lambda: False
        self._flat: list[str] = []  # the values of complete rows, then of the row that is open
        self._records: list[int] = []
        self._lines: list[int] = []
        self._malformed: list[MalformedRecord] = []
        self._problems: list[CellProblem] = []
        self._beyond: list[tuple[int, str]] = []  # columns and values of the row that is open, beyond the width
        self._dates: dict[str, dict[str, str]] = {"date": {}, "time": {}, "elapsed": {}}
        parser = expat.ParserCreate("utf-8")
        self._feed = Feed(progress.package, part, parser, self._limits.tag_bytes >> 4)
        self._feed(b"<rows>")
        self._handle(parser, prefixes)

    def feed(self, rows: bytes) -> Iterator[TextChunk]:
        """The records of whole rows; of the last row as much as is there is checked, if it is not whole."""
        taken = self._progress.characters
        for start in range(0, len(rows), _PIECE):
            self._feed(rows[start : start + _PIECE])
            self._check_open_row()
            if sum(map(len, self._texts)) > self._limits.cell_characters * ESCAPE:
                if self._in_text():
                    raise self._refuse("a cell", f"has more than {self._limits.cell_characters:,} characters")
                self._texts.clear()
            cells = len(self._flat) + sum(bad.fields for bad in self._malformed[-_PIECE:])
            if cells > _CHUNK_CELLS or self._progress.characters - taken > _CHUNK_CHARACTERS:
                yield self._take()
                taken = self._progress.characters
        if self._records or self._malformed:
            yield self._take()

    def end(self) -> None:
        """No row comes any more, and all have ended."""
        self._feed.parser.StartElementHandler = self._feed.parser.EndElementHandler = None
        self._feed(b"</rows>")
        self._feed.end()

    def _check_open_row(self) -> None:
        complete = len(self._records) * len(self._progress.headers or ())
        size = sum(map(len, islice(self._flat, complete, None))) + sum(len(text) for _, text in self._beyond)
        if size > self._limits.row_characters:
            raise self._too_long_row("a row")

    def _take(self) -> TextChunk:
        """The complete rows so far, which are forgotten here; a row that is open stays."""
        width = len(self._progress.headers or ())
        whole = len(self._records) * width
        flat = self._flat[:whole]
        self._feed.values += (
            len(flat) - flat.count("") + sum(len(it.values) - it.values.count("") for it in self._malformed)
        )
        values = pa.table({str(i): pa.array(flat[i::width], pa.string()) for i in range(width)})
        open_from = len(self._records)
        chunk = TextChunk(
            values,
            pa.array(self._records, pa.int64()),
            pa.array(self._lines, pa.int64()),
            tuple(self._malformed),
            tuple(problem for problem in self._problems if problem.row < open_from),
        )
        self._problems[:] = [
            CellProblem(0, problem.column, problem.rule, problem.expected, problem.value)
            for problem in self._problems
            if problem.row >= open_from
        ]
        del self._flat[:whole]
        self._records.clear()
        self._lines.clear()
        self._malformed.clear()
        return chunk

    def _skip(self, parser: expat.XMLParserType, name: str, may_hold_values: bool = False) -> None:
        """Pass over the element that begins here, with all inside it."""
        if not may_hold_values and name.rpartition(":")[2] in _NAMES:
            raise self._refuse("a cell", f"has its values in an unusual place or namespace (<{name[:50]}>)")
        before = parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler
        depth = 1

        def start(_: str, __: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > DEPTH:
                raise self._progress.refuse("a cell", f"is nested more than {DEPTH} deep")

        def end(_: str) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = before

        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, None

    def _handle(self, parser: expat.XMLParserType, prefixes: set[str]) -> None:
        """The two handlers are called for every tag, so all that they touch is a local name."""
        names = column_names(self._limits.columns)
        progress = self._progress
        columns, rows = self._limits.columns, self._limits.rows
        flat, texts, records, lines, problems = self._flat, self._texts, self._records, self._lines, self._problems
        strings, kind_of, dates = self._strings, self._kinds.get, self._dates
        extra = self._beyond
        unstyled = "unknown" if self._kinds else "number"
        append = flat.append
        blanks = [""] * columns
        width = columns  # of the header, once there is one
        state = _OUTSIDE
        row = column = done = beyond = 0
        row_text = ""
        implied = inline = hidden = False
        value: str | None = None
        formula: str | None = None
        style: str | None = None
        cell_type: str | None = None

        # A call copies every name that the function shares with others: the two handlers share few.
        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal state, column, value, formula, inline, style, cell_type
            if name == "c" and state == _ROW:
                reference = attributes.get("r")
                if column < columns and reference == names[column] + row_text:
                    column += 1
                else:
                    column = placed(reference)
                style = attributes.get("s")
                cell_type = attributes.get("t")
                value = formula = None
                inline = False
                state = _CELL
            elif state == _CELL and ((name == "v" and value is None) or (name == "t" and inline)):
                texts.clear()
                state = _TEXT
            elif name == "is" and state == _CELL and not inline:
                inline = True
                value = ""  # whatever a <v> before it says, as Excel
            else:
                start_rarer(name, attributes)

        def end(name: str) -> None:
            nonlocal state, value
            if name == "v":
                value = texts[0] if len(texts) == 1 else "".join(texts)
                state = _CELL
            elif name == "c":
                state = _ROW
                if value is not None or formula is not None:
                    finish()
            elif name == "t":
                text = texts[0] if len(texts) == 1 else "".join(texts)
                value = value + text if value else text
                state = _CELL
                if len(value) > longest * ESCAPE:
                    raise self._refuse(names[column - 1] + row_text, too_long)
            elif name != "is":
                end_rarer(name)

        def start_rarer(name: str, attributes: dict[str, str]) -> None:
            nonlocal state, row, column, done, beyond, row_text, implied, hidden
            if name == "row" and state == _OUTSIDE:
                number = attributes.get("r")
                row = progress.last
                row, implied = (row + 1, True) if number is None else (numbered(number), False)
                if row > rows:
                    raise self._refuse(f"row {row:,}", f"lies beyond the last row, {rows:,}")
                row_text = str(row)
                column = done = beyond = 0
                extra.clear()
                hidden = attributes.get("hidden") in ("1", "true")
                state = _ROW
            elif name == "f" and state == _CELL and formula is None:
                texts.clear()
                state = _TEXT
            elif not (inline and name == "r" and state == _CELL):
                self._skip(parser, name, may_hold_values=inline and name == "v")

        def end_rarer(name: str) -> None:
            nonlocal state, formula
            if name == "row":
                state = _OUTSIDE
                progress.last = row
                if done or beyond or (problems and problems[-1].row == len(records)):
                    filled()
            elif name == "f":
                formula = "".join(texts)
                state = _CELL

        def finish() -> None:
            """The cell that ends is given its text, and the text its place."""
            nonlocal done, beyond
            if not value:
                text = other(value)
            elif cell_type == "s":
                try:
                    text = strings.text(int(value) if value.isdecimal() and value.isascii() else -1)
                except (ValueError, IndexError):
                    raise self._refuse(
                        names[column - 1] + row_text,
                        f"names a shared text that is not there, and the workbook has {len(strings):,}",
                        quoted=f"It names the shared text {value[:20]!r}.",
                    ) from None
            elif cell_type is None or cell_type == "n":
                kind = kind_of(style, unstyled)
                if kind != "number":
                    text = (dates[kind].get(value) if kind != "unknown" else None) or dated(value, kind)
                elif len(value) <= 16 and (
                    (value.isdecimal() and value[0] != "0" and value.isascii()) or is_plain(value)
                ):
                    text = value
                else:
                    text = number(value)
            elif (cell_type == "inlineStr" or cell_type == "str") and len(value) <= longest:
                text = value if "_x" not in value else decode(value)
            else:
                text = other(value)
            if text:
                if column == done + 1 <= width:
                    append(text)
                    done = column
                elif column > width:
                    beyond = column
                    extra.append((column, text))
                else:
                    flat.extend(blanks[: column - 1 - done])
                    append(text)
                    done = column

        longest = self._limits.cell_characters
        too_long = f"has more than {self._limits.cell_characters:,} characters"

        def numbered(number: str) -> int:
            """The row's number, which must be beyond the row before."""
            if not (number.isascii() and number.isdecimal() and len(number) < 20):
                raise self._refuse(
                    f"the row after row {row:,}", "has a number that is none", quoted=f"Its number is {number[:20]!r}."
                )
            if int(number) <= row:
                raise self._refuse(f"row {int(number):,}", f"comes after row {row:,}")
            return int(number)

        def placed(reference: str | None) -> int:
            """The cell's column, which must be beyond the cell before, in this row."""
            nonlocal row, row_text, implied
            if reference is None:
                found = column + 1
            else:
                match = parse_reference(reference)
                if match is None:
                    raise self._refuse(
                        f"a cell of row {row:,}",
                        "has a reference that is none",
                        quoted=f"Its reference is {reference[:20]!r}.",
                    )
                found = column_number(match[1])
                if implied and column == 0 and row < int(match[2]) <= rows:
                    row, row_text = int(match[2]), match[2]
                if int(match[2]) != row:
                    raise self._refuse(f"cell {reference}", f"lies in row {row:,}")
                if found <= column:
                    raise self._refuse(f"cell {reference}", f"comes after {names[column - 1]}{row}")
            implied = False
            if found > columns:
                raise self._refuse(f"a cell of row {row:,}", f"lies beyond the last column, {names[-1]}")
            return found

        def problem(rule: str, expected: str, value: str) -> None:
            nonlocal beyond
            progress.problems += 1 + len(value) // 100
            if column <= width:
                problems.append(CellProblem(len(records), column - 1, rule, expected, value))
            else:
                beyond = column

        def number(value: str) -> str:
            text = number_text(value, formula is not None)
            if text is None:
                problem("not_a_number", "must be a number", value[:100])
                return limited(value)
            return text

        def dated(value: str, kind: str) -> str:
            text = number(value)
            if kind == "unknown":
                progress.unknown_styles += 1
                return text
            if len(value) > _LONGEST_DATE or not is_numeric(value):
                return text
            day, expected = date_text(float(value), kind, self._from_1904)
            if expected:
                problem("no_such_date", expected, day or text)
            elif day is not None:
                if len(dates[kind]) >= _CACHED:
                    dates[kind].clear()
                dates[kind][value] = day
            return day or text

        def limited(text: str) -> str:
            if len(text) > self._limits.cell_characters:
                raise self._refuse(names[column - 1] + row_text, too_long)
            return text

        def other(value: str | None) -> str:
            """Cells of the rarer types."""
            if not value:
                if formula is not None and (value is None or cell_type != "str"):
                    problem("formula_without_value", _COMPUTE, "=" + formula)
                return ""
            if cell_type in ("str", "inlineStr"):
                return limited(decode(value))
            if cell_type == "b" and value.strip() in ("0", "1", "true", "false"):
                return "true" if value.strip() in ("1", "true") else "false"
            if cell_type == "e":
                problem("error_cell", "must be a value, not an error", value[:100])
                return limited(value)
            if cell_type == "d":
                text = iso_text(value.strip())
                if text is None:
                    problem("no_such_date", "must be a date that Excel knows, up to 9999-12-31", value[:100])
                return limited(value) if text is None else text
            raise self._refuse(
                names[column - 1] + row_text,
                "is of a type that Excel does not have",
                quoted=f"Its type is {cell_type!r:.20}, its value {value!r:.20}.",
            )

        def filled() -> None:
            """A row with a value is a record, or the header."""
            nonlocal width, done
            if row - progress.last_filled - 1 > self._limits.empty_rows:
                raise self._refuse(
                    f"row {row:,}",
                    f"has a value after {row - progress.last_filled - 1:,} empty rows",
                    f"Delete the empty rows, or what lies below row {progress.last_filled:,}.",
                )
            progress.last_filled = row
            own = flat[len(flat) - done :]
            size = sum(map(len, own)) + sum(len(text) for _, text in extra)
            if size > self._limits.row_characters:
                raise self._too_long_row(f"row {row:,}")
            if progress.headers is None:
                if problems:
                    raise self._refuse(
                        names[problems[0].column] + row_text,
                        f"is a header, and {problems[0].expected}",
                        quoted=f"It is {problems[0].value[:100]!r}.",
                    )
                progress.header_row = row
                progress.headers = tuple(flat)
                width = done
                flat.clear()
                return
            progress.read += 1
            progress.hidden += hidden
            if beyond:
                progress.beyond += beyond
                del flat[len(flat) - done :]
                while problems and problems[-1].row == len(records):
                    problems.pop()
                values = [*own, *blanks[: beyond - done]]
                for place, text in extra:
                    values[place - 1] = text
                self._malformed.append(MalformedRecord(progress.read, row, beyond, tuple(values)))
            else:
                if done < width:
                    flat.extend(blanks[: width - done])
                records.append(progress.read)
                lines.append(row)
            progress.check(row, size)

        self._in_text = lambda: state == _TEXT
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        if prefixes != {""}:
            local = {prefix + each: each for prefix in prefixes for each in _NAMES}
            local |= {each: ":" + each for each in _NAMES if "" not in prefixes}
            local_of = local.get

            def start_prefixed(name: str, attributes: dict[str, str]) -> None:
                start(local_of(name) or name, attributes)

            def end_prefixed(name: str) -> None:
                end(local_of(name) or name)

            parser.StartElementHandler = start_prefixed
            parser.EndElementHandler = end_prefixed
        parser.CharacterDataHandler = texts.append

    def _too_long_row(self, where: str) -> UnreadableFile:
        return self._refuse(where, f"has more than {self._limits.row_characters:,} characters of text")

    def _refuse(self, where: str, why: str, hint: str = "", quoted: str = "") -> UnreadableFile:
        return self._progress.refuse(where, why, hint, quoted)


_COMPUTE = "must have a value: open and save the workbook so that Excel computes it"
