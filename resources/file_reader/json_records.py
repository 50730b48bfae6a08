"""Untrusted bytes to numbered text records: JSON as RFC 8259 describes it, an array of objects or one on each line.

A file is read twice, in blocks: for the names of its members, with every check; then for the values. msgspec
decodes a block at a time, and is strict. It has no word on positions, on a member named twice, and no short way
past a nested value: a block with anything but plain objects, or that it refuses, is read by the walk below
instead, a member at a time and without recursion, which knows the place of everything it refuses.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import CellProblem, TextChunk
from schemas.errors import UnreadableFile

_BLOCK = 1 << 20
_CHUNK_BYTES = 8 << 20
_CHUNK_CELLS = 4_000_000
_WHITE = b" \t\n\r"
_NEAR = 16  # an error this close to the end of what was read may be one of where the block ends

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
# Ways past what is nested and needs no second look: arrays and objects of plain values, and rows of array elements.
_S = r"[ \t\n\r]*+"
_VALUE = rf"""(?:{_SCALAR.pattern}|"[^"\\\x00-\x1f]*+")"""
_MEMBER = rf"""{_S}"[^"\\\x00-\x1f]*+"{_S}:{_S}{_VALUE}{_S}"""
_FLAT = re.compile(
    rf"\[{_S}(?:{_VALUE}{_S}(?:,{_S}{_VALUE}{_S}){{0,9999}}+)?+\]|{{{_S}(?:{_MEMBER}(?:,{_MEMBER}){{0,9999}}+)?+}}"
)
_ELEMENTS = re.compile(rf"(?:{_S}(?:{_VALUE}|{_FLAT.pattern}){_S},){{1,9999}}+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(rb"\\(.)")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}

# A number with a point or an exponent arrives as bytes, so that its text is kept and is not taken for a string.
_decode_line = msgspec.json.Decoder(dict[str, Any], float_hook=str.encode).decode
_decode_array = msgspec.json.Decoder(list[dict[str, Any]], float_hook=str.encode).decode
_DECLINED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)

_SCALARS = {str, bytes, int, bool, type(None)}

_Row = dict[str, Any]
_Batch = tuple[list[_Row], Sequence[int], int]
"""Records, the line each begins on, and how many bytes they took."""


@dataclass(frozen=True)
class JsonLimits:
    """What a file may ask for at most.

    `depth` counts the brackets open at once in a record, its own included; `record_bytes` is how much of one
    record is held in memory.
    """

    depth: int = 64
    name_characters: int = 10_000
    names: int = 10_000
    cell_characters: int = 10_000_000
    record_bytes: int = 64 << 20


@dataclass(frozen=True)
class _Unfit:
    """A value that no text can stand for."""

    rule: str
    expected: str
    value: str


class _Bad(Exception):
    """What stands at a position of the text is not allowed there."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(at, why)
        self.at, self.why = at, why


class _Cut(Exception):
    """The text ends in the middle of a record."""


class _Source:
    """The bytes of a file from a place on, which is known by its offset (from 0) and line (from 1)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.seek(0)
        self.buffer, self.offset, self.line, self.ended = b"", 0, 1, False

    def more(self) -> None:
        """At least twice as many bytes in the buffer, or the end of the file."""
        data = self._file.read(max(_BLOCK, len(self.buffer)))
        self.buffer += data
        self.ended = not data

    def drop(self, size: int) -> None:
        """Go on by so many bytes of the buffer."""
        if size:
            self.line += self.buffer.count(b"\n", 0, size)
            self.offset += size
            self.buffer = self.buffer[size:]

    def skip_white(self) -> None:
        """Go on to the next byte that is not white; to the end if there is none."""
        while True:
            self.drop(len(self.buffer) - len(self.buffer.lstrip(_WHITE)))
            if self.buffer or self.ended:
                return
            self.more()


class JsonFile:
    """A file of JSON records, open for reading. A context manager; it does not close the file.

    `headers` are the names of all members in the order in which they first appear; they are there at once, after
    the whole file was read and found correct. `read` counts the records that `chunks` has delivered. A member
    that an object lacks, null and "" are all the empty text; numbers keep their written text, exponents are
    written out. Raises UnreadableFile, with line and byte offset, where the file is not JSON, not records, or
    asks for more than the limits.
    """

    kind: Literal["json", "ndjson"]

    def __init__(
        self, file: BinaryIO, name: str, *, chunk_rows: int = 50_000, limits: JsonLimits = JsonLimits()
    ) -> None:
        self.read = 0
        self.notes: tuple[str, ...] = ()
        self._file, self._name, self._chunk_rows, self._limits = file, name, chunk_rows, limits
        self._names: dict[str, None] = {}
        self._shapes: set[tuple[str, ...]] = set()
        self._blank = 0
        self._marked = False
        self._checking = True
        self._flat = True
        self._total = 0
        for rows, _, _ in self._batches():
            self._total += len(rows)
        self._checking = False
        self.headers = tuple(self._names)
        if self._marked:
            self.notes += ("The byte order mark at the beginning was passed over.",)
        if self._blank:
            self.notes += (f"{self._blank:,} blank lines were passed over.",)

    def __enter__(self) -> "JsonFile":
        """The reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do: whoever opened the file closes it."""

    def chunks(self) -> Iterator[TextChunk]:
        """All records of the file, in order. To be called once."""
        most = max(1, min(self._chunk_rows, _CHUNK_CELLS // max(1, len(self.headers))))
        tables: list[pa.Table] = []
        lines: list[int] = []
        cells: list[CellProblem] = []
        size = 0
        for rows, their_lines, their_size in self._batches():
            size += their_size
            at = 0
            while at < len(rows):
                end = at + most - len(lines)
                tables.append(self._table(rows[at:end], len(lines), cells))
                lines += their_lines[at:end]
                at = end
                if len(lines) == most or size >= _CHUNK_BYTES:
                    yield self._chunk(tables, lines, cells)
                    tables, lines, cells, size = [], [], [], 0
        if lines:
            yield self._chunk(tables, lines, cells)
        if self.read != self._total:
            raise self._changed()

    # Records as Python objects: str, bytes and int, True, False, None, _Unfit.

    def _batches(self) -> Iterator[_Batch]:
        source, self._done = _Source(self._file), 0
        while len(source.buffer) < 3 and not source.ended:
            source.more()
        if source.buffer.startswith(b"\xef\xbb\xbf"):
            source.buffer, source.offset, self._marked = source.buffer[3:], 3, True
        source.skip_white()
        first = source.buffer[:1]
        if not first:
            raise self._refuse(source, "", 0, "the file is empty", None)
        if first not in (b"[", b"{"):
            text, _, _ = _decoded(source.buffer[:80])
            raise self._refuse(source, text, 0, f"neither an array nor an object begins with {_shown(text[:1] or '?')}")
        self.kind = "json" if first == b"[" else "ndjson"
        for batch in self._elements(source) if self.kind == "json" else self._lines(source):
            yield batch
            self._done += len(batch[0])

    def _lines(self, source: _Source) -> Iterator[_Batch]:
        while source.buffer or not source.ended:
            end = len(source.buffer) if source.ended else source.buffer.rfind(b"\n") + 1
            if not end:
                self._within_record_limit(source)
                source.more()
                continue
            yield self._block_of_lines(source, source.buffer[:end])
            source.drop(end)
            source.more()

    def _block_of_lines(self, source: _Source, block: bytes) -> _Batch:
        texts = block.split(b"\n")
        if len(block) <= 4 * _BLOCK:
            try:
                rows = [_decode_line(text) for text in texts if text]
            except _DECLINED:
                pass
            else:
                if self._plain(rows, block):
                    if len(rows) == len(texts) - (not texts[-1]):
                        return rows, range(source.line, source.line + len(rows)), len(block)
                    self._blank += self._checking * (len(texts) - (not texts[-1]) - len(rows))
                    return rows, [line for line, text in enumerate(texts, source.line) if text], len(block)
        rows, lines = [], []
        place = _Place(source.offset, source.line)
        for number, data in enumerate(texts):
            if data.strip(_WHITE):
                last = source.ended and number == len(texts) - 1
                rows.append(self._walk_line(place, data, len(rows), last=last))
                lines.append(place.line)
            elif number < len(texts) - 1:
                self._blank += self._checking
            place = _Place(place.offset + len(data) + 1, place.line + 1)
        return rows, lines, len(block)

    def _walk_line(self, place: "_Place", data: bytes, before: int, *, last: bool) -> _Row:
        text, bad, _ = _decoded(data)
        try:
            row, at = _read_object(text, 0, self._limits)
            at = _space(text, at)
            if at < len(text):
                raise _Bad(at, f"{_shown(text[at])} follows the object on its line")
            if bad:
                raise _Cut
            self._learn(row, 0)
        except _Cut:
            if bad:
                raise self._refuse(place, text, len(text), _not_utf8(bad), before) from None
            why = "the file ends in the middle of the object" if last else "the object does not end on its line"
            raise self._refuse(place, text, len(text), why, before) from None
        except _Bad as error:
            if bad and len(text) - error.at < _NEAR:
                raise self._refuse(place, text, len(text), _not_utf8(bad), before) from None
            raise self._refuse(place, text, error.at, error.why, before) from None
        return row

    def _elements(self, source: _Source) -> Iterator[_Batch]:
        source.drop(1)
        before: Literal["nothing", "object", "comma"] = "nothing"
        while True:
            if len(source.buffer) < _BLOCK and not source.ended:
                source.more()
            source.skip_white()
            mark = source.buffer[:1]
            if mark == b"]" and before != "comma":
                break
            if before == "object":
                if mark != b",":
                    why = "a comma or ] is expected" if mark else "the file ends before the array does"
                    raise self._refuse(source, _decoded(source.buffer[:80])[0], 0, why, None)
                source.drop(1)
                before = "comma"
                continue
            batch = self._plain_elements(source) or self._walk_elements(source)
            yield batch
            source.drop(batch[2])
            before = "object"
        source.drop(1)
        source.skip_white()
        if source.buffer:
            raise self._refuse(
                source, _decoded(source.buffer[:80])[0], 0, "something follows the end of the array", None
            )

    def _plain_elements(self, source: _Source) -> _Batch | None:
        """The objects up to the last } of the buffer, if that is the end of one and there is nothing odd to them."""
        end = source.buffer.rfind(b"}") + 1
        if not 0 < end <= 4 * _BLOCK:
            return None
        block = source.buffer[:end]
        try:
            rows = _decode_array(b"[" + block + b"]")
        except _DECLINED:
            return None
        if not self._plain(rows, block):
            return None
        if b"\n" not in block:
            return rows, [source.line] * len(rows), end
        data = np.frombuffer(block, np.uint8)
        starts = np.flatnonzero(data == ord("{"))
        if len(starts) != len(rows):  # some stand in texts
            return None
        return rows, (source.line + np.searchsorted(np.flatnonzero(data == ord("\n")), starts)).tolist(), end

    def _walk_elements(self, source: _Source) -> _Batch:
        """The objects that the buffer holds, at least one."""
        while True:
            text, bad, cut = _decoded(source.buffer)
            rows: list[_Row] = []
            lines: list[int] = []
            at = end = counted = 0
            line = source.line
            try:
                while True:
                    at = _space(text, at)
                    row, after = _read_object(text, at, self._limits)
                    self._learn(row, at)
                    line += text.count("\n", counted, at)
                    counted = at
                    rows.append(row)
                    lines.append(line)
                    end = after
                    at = _space(text, end)
                    if text[at : at + 1] != ",":
                        break
                    at += 1
            except _Cut:
                pass
            except _Bad as error:
                complete = source.ended and not bad
                if complete or len(text) - error.at >= _NEAR:
                    raise self._refuse(source, text, error.at, error.why, len(rows)) from None
            if rows:
                return rows, lines, len(text[:end].encode())
            if bad and not (cut and not source.ended):
                raise self._refuse(source, text, len(text), _not_utf8(bad))
            if source.ended:
                raise self._refuse(source, text, len(text), "the file ends in the middle of the array")
            self._within_record_limit(source)
            source.more()

    def _plain(self, rows: list[_Row], block: bytes) -> bool:
        """Whether msgspec's word on these records is the last: flat, within the limits, no member twice."""
        if self._flat and not self._checking:
            return True
        values = list(chain.from_iterable(map(dict.values, rows)))
        types = list(map(type, values))
        if not _SCALARS.issuperset(types):
            self._flat = False
            return False
        if not self._checking:
            return True
        if len(block) > self._limits.cell_characters and any(
            len(value) > self._limits.cell_characters for value in values if isinstance(value, str | bytes)
        ):
            return False
        # Each name and each text has two quotation marks; a member that was there twice left one name in the dict.
        quotes = block.count(b'"')
        if b"\\" in block:
            quotes -= _ESCAPE.findall(block).count(b'"')
        if quotes != 2 * (len(types) + types.count(str)):
            return False
        return all(map(self._know, dict.fromkeys(map(tuple, rows))))

    def _know(self, shape: tuple[str, ...]) -> bool:
        """Whether the names could be added to the headers."""
        if shape in self._shapes:
            return True
        if len(self._shapes) >= 1000:
            self._shapes.clear()
        self._shapes.add(shape)
        for name in shape:
            if name not in self._names:
                if len(self._names) >= self._limits.names or len(name) > self._limits.name_characters:
                    self._shapes.clear()
                    return False
                self._names[name] = None
        return True

    def _learn(self, row: _Row, at: int) -> None:
        if self._checking and not self._know(tuple(row)):
            raise _Bad(at, f"there are more than {self._limits.names:,} different member names")

    def _within_record_limit(self, source: _Source) -> None:
        if len(source.buffer) > self._limits.record_bytes:
            raise self._refuse(source, "", 0, f"the record is longer than {self._limits.record_bytes:,} bytes")

    def _refuse(
        self, place: "_Place | _Source", text: str, at: int, why: str, before: int | None = 0
    ) -> UnreadableFile:
        line = place.line + text.count("\n", 0, at)
        offset = place.offset + len(text[:at].encode("utf-8", "surrogatepass"))
        record = "" if before is None else f"record {self._done + before + 1:,}, "
        return UnreadableFile(
            f"{self._name} cannot be read as JSON records: {why} ({record}line {line:,}, byte offset {offset:,}).",
            "Nothing was read from it. It must be one array of objects, or an object on each line.",
        )

    def _changed(self) -> UnreadableFile:
        return UnreadableFile(f"{self._name} has changed while it was read.", "Try again when it is complete.")

    # Records as columns of text.

    def _chunk(self, tables: list[pa.Table], lines: list[int], cells: list[CellProblem]) -> TextChunk:
        first, self.read = self.read + 1, self.read + len(lines)
        return TextChunk(
            pa.concat_tables(tables).combine_chunks(),
            pa.array(np.arange(first, self.read + 1), pa.int64()),
            pa.array(lines, pa.int64()),
            cells=tuple(sorted(cells, key=lambda cell: (cell.row, cell.column))),
        )

    def _table(self, rows: list[_Row], before: int, cells: list[CellProblem]) -> pa.Table:
        """The values as text. The first row is the chunk's row `before`."""
        shapes = set(map(tuple, rows))
        columns: dict[str, Sequence[Any]]
        if len(shapes) == 1:
            (shape,) = shapes
            values = list(chain.from_iterable(map(dict.values, rows)))
            columns = {name: values[position :: len(shape)] for position, name in enumerate(shape)}
        else:
            columns = {name: [row.get(name) for row in rows] for name in set(chain.from_iterable(shapes))}
        if not self._names.keys() >= columns.keys():
            raise self._changed()
        nothing = pa.repeat(pa.scalar("", pa.string()), len(rows))
        arrays = [
            _texts(columns[name], before, position, cells) if name in columns else nothing
            for position, name in enumerate(self.headers)
        ]
        return pa.table(dict(zip(map(str, range(len(arrays))), arrays, strict=True)))


@dataclass(frozen=True)
class _Place:
    offset: int
    line: int


def _texts(values: Sequence[Any], before: int, column: int, cells: list[CellProblem]) -> pa.Array:
    """The values as text; what has none is "" and among the cells."""
    kinds = set(map(type, values))
    empty = type(None) in kinds
    kinds.discard(type(None))
    if kinds == {int}:
        try:
            texts = pa.array(values, pa.int64()).cast(pa.string())
        except OverflowError:
            texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        return texts.fill_null("") if empty else texts
    if kinds == {bool}:
        texts = pa.array(values, pa.bool_()).cast(pa.string())
        return texts.fill_null("") if empty else texts
    if kinds <= {str} or kinds == {bytes}:
        texts = pa.array(values, pa.string())
        if bytes not in kinds or not pc.any(pc.match_substring_regex(texts, "[eE]")).as_py():
            return texts.fill_null("") if empty else texts
    plain: list[str] = []
    for row, value in enumerate(values):
        text = _text(value)
        if isinstance(text, _Unfit):
            cells.append(CellProblem(before + row, column, text.rule, text.expected, text.value))
            text = ""
        plain.append(text)
    return pa.array(plain, pa.string())


def _text(value: Any) -> str | _Unfit:
    if isinstance(value, str | _Unfit):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return _number(value.decode())
    return _Unfit("nested_value", "must be a single value", "")  # the file has changed since it was checked


def _number(text: str) -> str | _Unfit:
    """A JSON number as a plain decimal, exactly. What a float could not be near to is not written out."""
    mantissa, mark, exponent = text.lower().partition("e")
    if not mark:
        return "0" if text == "-0" else text
    if not mantissa.strip("-0."):
        return "0"
    digits = exponent.lstrip("+-").lstrip("0")
    if len(digits) <= 9:
        number = Decimal(text)
        if -325 < number.adjusted() <= 308:
            return format(number, "f")
    return _Unfit("number_out_of_range", "must be a number between 1e-324 and 1e309 in size", _abbreviated(text))


# The walk: one record of a text, from a position to the position after it.


def _read_object(text: str, at: int, limits: JsonLimits) -> tuple[_Row, int]:
    row: _Row = {}
    at = _space(text, at)
    if text[at : at + 1] != "{":
        raise _wrong(text, at, "an object is expected")
    at = _space(text, at + 1)
    if text[at : at + 1] == "}":
        return row, at + 1
    while True:
        start = at
        name, at = _read_name(text, at, limits)
        if name in row:
            raise _Bad(start, f"the object has the member {_shown(name)} twice")
        row[name], at = _read_value(text, at, limits)
        at = _space(text, at)
        mark = text[at : at + 1]
        if mark == "}":
            return row, at + 1
        if mark != ",":
            raise _wrong(text, at, "a comma or } is expected")
        at = _space(text, at + 1)


def _read_name(text: str, at: int, limits: JsonLimits) -> tuple[str, int]:
    """A member's name; the position is that of its value."""
    if text[at : at + 1] != '"':
        raise _wrong(text, at, "the name of a member in double quotes is expected")
    name, after = _read_string(text, at, limits.name_characters, "a member's name")
    after = _space(text, after)
    if text[after : after + 1] != ":":
        raise _wrong(text, after, "a colon is expected")
    return name, _space(text, after + 1)


def _read_string(text: str, at: int, most: int, what: str) -> tuple[str, int]:
    too_long = f"{what} is longer than {most:,} characters"
    try:
        value, after = scanstring(text, at + 1, True)
    except JSONDecodeError as error:
        if not error.msg.startswith("Unterminated"):
            raise _Bad(error.pos, error.msg.removesuffix(" at")) from None
        if len(text) - at > 12 * most + 2:  # the longest way to write a character is a pair of \u escapes
            raise _Bad(at, too_long) from None
        raise _Cut from None
    if len(value) > most:
        raise _Bad(at, too_long)
    if not value.isascii() and _SURROGATE.search(value):
        raise _Bad(at, f"{what} has half of a surrogate pair, which is no character")
    return value, after


def _read_value(text: str, at: int, limits: JsonLimits) -> tuple[Any, int]:
    mark = text[at : at + 1]
    if mark == '"':
        return _read_string(text, at, limits.cell_characters, "a text")
    if mark in ("[", "{"):
        after = _skip_nested(text, at, limits)
        return _Unfit("nested_value", "must be a single value", _abbreviated(text[at : min(after, at + 200)])), after
    written, after = _read_scalar(text, at, limits)
    return (_WORDS[written] if written in _WORDS else _number(written)), after


def _read_scalar(text: str, at: int, limits: JsonLimits) -> tuple[str, int]:
    found = _SCALAR.match(text, at)
    if not found:
        raise _wrong(text, at, "a value is expected")
    if found.end() == len(text):
        raise _Cut
    if found.end() - at > limits.cell_characters:
        raise _Bad(at, f"a number is longer than {limits.cell_characters:,} characters")
    return found[0], found.end()


def _skip_nested(text: str, at: int, limits: JsonLimits) -> int:
    """The position after an array or object, all of it checked; but a name may come twice, for nothing is kept."""
    ends: list[str] = []  # of all that is open
    expect: Literal["value", "value or end", "name", "name or end", "next"] = "value"
    while True:
        roomy = len(ends) + 1 < limits.depth  # for the brackets of one more
        if roomy and ends[-1:] == ["]"] and expect != "next" and (run := _ELEMENTS.match(text, at)):
            at = run.end()
            expect = "value"
            continue
        at = _space(text, at)
        mark = text[at : at + 1]
        if ends and mark == ends[-1] and expect in ("value or end", "name or end", "next"):
            ends.pop()
            at += 1
            if not ends:
                return at
            expect = "next"
        elif expect == "next":
            if mark != ",":
                raise _wrong(text, at, f"a comma or {ends[-1]} is expected")
            at += 1
            expect = "value" if ends[-1] == "]" else "name"
        elif expect in ("name", "name or end"):
            _, at = _read_name(text, at, limits)
            expect = "value"
        elif mark in ("[", "{"):
            if len(ends) + 1 >= limits.depth:
                raise _Bad(at, f"brackets are more than {limits.depth} deep")
            if flat := _FLAT.match(text, at):
                at = flat.end()
                if not ends:
                    return at
                expect = "next"
                continue
            ends.append("]" if mark == "[" else "}")
            expect = "value or end" if mark == "[" else "name or end"
            at += 1
        else:
            if mark == '"':
                _, at = _read_string(text, at, limits.cell_characters, "a text")
            else:
                _, at = _read_scalar(text, at, limits)
            expect = "next"


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _wrong(text: str, at: int, expected: str) -> _Bad | _Cut:
    return _Bad(at, f"{expected}, not {_shown(text[at])}") if at < len(text) else _Cut()


def _shown(text: str) -> str:
    return ascii(_abbreviated(text))


def _abbreviated(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _decoded(data: bytes) -> tuple[str, bytes, bool]:
    """The text up to the first byte that is not UTF-8; that byte, if there is one; whether more could mend it."""
    try:
        return data.decode(), b"", False
    except UnicodeDecodeError as error:
        bad = data[error.start : error.start + 1]
        return data[: error.start].decode(), bad, error.reason == "unexpected end of data"


def _not_utf8(bad: bytes) -> str:
    return f"the byte 0x{bad.hex()} is not UTF-8"
