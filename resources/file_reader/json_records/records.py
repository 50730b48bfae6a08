"""The records of a file, read once in blocks, with every check.

msgspec decodes a block at a time, and is strict. But it reports no positions and no repeated members, and cannot skip
nested values. So `walk` reads every block that msgspec refuses or that has more than plain objects, and names the place
of each error.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np

from resources.file_reader.json_records import source as source_of
from resources.file_reader.json_records.arrangement import Arrangement, Form
from resources.file_reader.json_records.columns import Row
from resources.file_reader.json_records.limits import JsonLimits
from resources.file_reader.json_records.source import WHITE, Decoded, Place, Source
from resources.file_reader.json_records.walk import (
    Incomplete,
    Misplaced,
    nested_value,
    read_object,
    shown,
    skip_space,
    too_many_names,
)
from resources.file_reader.options import BLANK_FOR_A_RECORD, too_many_blank_lines
from schemas.errors import UnreadableFile

_NEAR = 16  # an error this close to the end of a block may come from the cut
_SHOWN = 1000  # bytes of a nested value that a message can need
_ESCAPE = re.compile(rb"\\(.)")
_LINES = (".ndjson", ".jsonl")
"""How the names of files end that may be empty: they have no records. An empty file of another name is damaged."""

# A number with a point or an exponent arrives as bytes: its text is kept, and differs from a string.
_decode_line = msgspec.json.Decoder(dict[str, Any], float_hook=str.encode).decode
_decode_array = msgspec.json.Decoder(list[dict[str, Any]], float_hook=str.encode).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_DECLINED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)

_SCALARS = {str, bytes, int, bool, type(None)}


Batch = tuple[list[Row], Sequence[int], int]
"""Records, the line each begins on, and how many bytes they took."""


class Records:
    """A file of JSON records, read once. `kind` and `notes` are known after that.

    arranged: how its records are arranged. None: in an array or on lines, as its first character says.
    """

    kind: Literal["json", "ndjson"]

    def __init__(self, file: BinaryIO, name: str, limits: JsonLimits, arranged: Arrangement | None = None) -> None:
        self._file, self._name, self._limits = file, name, limits
        self._arranged = arranged or Arrangement()
        self._names: dict[str, None] = {}
        self._shapes: set[tuple[str, ...]] = set()
        self._done = 0
        self._blank = 0
        self._marked = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members so far, in order of appearance."""
        return tuple(self._names)

    @property
    def read(self) -> int:
        """How many records there were so far."""
        return self._done

    @property
    def notes(self) -> tuple[str, ...]:
        """What was skipped, in sentences."""
        notes = []
        if self._marked:
            notes.append("The byte order mark at the beginning was skipped.")
        if self._blank:
            notes.append(f"{self._blank:,} blank lines were skipped.")
        return tuple(notes)

    def batches(self) -> Iterator[Batch]:
        """Yields all records. Call it once. Raises UnreadableFile at the first byte that is not allowed."""
        arranged = self._arranged
        source = Source(self._file, arranged.start, arranged.end, arranged.line)
        while len(source.buffer) < 3 and not source.ended:
            source.more()
        if source.buffer.startswith(b"\xef\xbb\xbf"):
            source.buffer, source.offset, self._marked = source.buffer[3:], 3, True
        source.skip_white()
        first = source.buffer[:1]
        if not first and self._name.lower().removesuffix(".gz").removesuffix(".zst").endswith(_LINES):
            self.kind = "ndjson"
            return
        if not first:
            raise self._refuse(source, "", 0, "the file is empty", None)
        if first not in (b"[", b"{"):
            text = Decoded.of(source.buffer[:80]).text
            raise self._refuse(source, text, 0, f"neither an array nor an object begins with {shown(text[:1] or '?')}")
        form = Form.ARRAY if first == b"[" else arranged.form
        self.kind = "json" if form is Form.ARRAY else "ndjson"
        for batch in self._lines(source) if form is Form.LINES else self._elements(source, form):
            yield batch
            self._done += len(batch[0])
            if self._blank > self._limits.blank_lines + BLANK_FOR_A_RECORD * self._done:
                raise too_many_blank_lines(self._name, self._limits.blank_lines)

    def _lines(self, source: Source) -> Iterator[Batch]:
        while source.buffer or not source.ended:
            end = len(source.buffer) if source.ended else source.buffer.rfind(b"\n") + 1
            if not end:
                self._within_record_limit(source)
                source.more()
                continue
            yield self._block_of_lines(source, source.buffer[:end])
            source.drop(end)
            source.more()

    def _block_of_lines(self, source: Source, block: bytes) -> Batch:
        texts = block.split(b"\n")
        if len(block) <= 4 * source_of.BLOCK:
            try:
                rows = [_decode_line(text) for text in texts if text]
            except _DECLINED:
                pass
            else:
                if self._plain(rows, block) or self._nested(rows, [text for text in texts if text]):
                    if len(rows) == len(texts) - (not texts[-1]):
                        return rows, range(source.line, source.line + len(rows)), len(block)
                    self._blank += len(texts) - (not texts[-1]) - len(rows)
                    return rows, [line for line, text in enumerate(texts, source.line) if text], len(block)
        rows, lines = [], []
        place = Place(source.offset, source.line)
        for number, data in enumerate(texts):
            if data.strip(WHITE):
                last = source.ended and number == len(texts) - 1
                rows.append(self._walk_line(place, data, len(rows), last=last))
                lines.append(place.line)
            elif number < len(texts) - 1:
                self._blank += 1
            place = Place(place.offset + len(data) + 1, place.line + 1)
        return rows, lines, len(block)

    def _walk_line(self, place: Place, data: bytes, before: int, *, last: bool) -> Row:
        decoded = Decoded.of(data)
        text = decoded.text
        try:
            row, at = read_object(text, 0, self._limits)
            at = skip_space(text, at)
            if at < len(text):
                raise Misplaced(at, f"{shown(text[at])} follows the object on its line")
            if decoded.bad:
                raise Incomplete
            self._learn(row, 0)
        except Incomplete:
            if decoded.bad:
                raise self._refuse(place, text, len(text), decoded.not_utf8, before) from None
            why = "the file ends in the middle of the object" if last else "the object does not end on its line"
            raise self._refuse(place, text, len(text), why, before) from None
        except Misplaced as error:
            if decoded.bad and len(text) - error.at < _NEAR:
                raise self._refuse(place, text, len(text), decoded.not_utf8, before) from None
            raise self._refuse(place, text, error.at, error.why, before) from None
        return row

    def _elements(self, source: Source, form: Form) -> Iterator[Batch]:
        """Yields records that are not on lines: in an array, between commas, or one after another."""
        end = b"]" if form is Form.ARRAY else b""
        separator = b"" if form is Form.STREAM else b","
        source.drop(len(end))
        before: Literal["nothing", "object", "comma"] = "nothing"
        while True:
            if len(source.buffer) < source_of.BLOCK and not source.ended:
                source.more()
            source.skip_white()
            mark = source.buffer[:1]
            if mark == end and not (before == "comma" and end):
                break
            if before == "object" and separator:
                if mark != separator:
                    why = "a comma or ] is expected" if mark else "the file ends before the array does"
                    why = why if end else f"a comma is expected before {shown(mark.decode(errors='replace'))}"
                    raise self._refuse(source, Decoded.of(source.buffer[:80]).text, 0, why, None)
                source.drop(1)
                before = "comma"
                continue
            batch = (self._plain_elements(source) if separator else None) or self._walk_elements(source, form)
            yield batch
            source.drop(batch[2])
            before = "object"
        source.drop(len(end))
        source.skip_white()
        if source.buffer:
            text = Decoded.of(source.buffer[:80]).text
            raise self._refuse(source, text, 0, "something follows the end of the array", None)

    def _plain_elements(self, source: Source) -> Batch | None:
        """Returns the objects up to the last } of the buffer, if they are whole and plain; else None."""
        end = source.buffer.rfind(b"}") + 1
        if not 0 < end <= 4 * source_of.BLOCK:
            return None
        block = source.buffer[:end]
        try:
            rows = _decode_array(b"[" + block + b"]")
        except _DECLINED:
            return None
        if not self._plain(rows, block):
            return self._nested_elements(source, rows, block)
        if b"\n" not in block:
            return rows, [source.line] * len(rows), end
        data = np.frombuffer(block, np.uint8)
        starts = np.flatnonzero(data == ord("{"))
        if len(starts) != len(rows):  # some are inside texts
            return None
        return rows, (source.line + np.searchsorted(np.flatnonzero(data == ord("\n")), starts)).tolist(), end

    def _nested_elements(self, source: Source, rows: list[Row], block: bytes) -> Batch | None:
        """Returns these objects without their nested values, if they are plain apart from these; else None."""
        elements = list(map(bytes, _decode_elements(b"[" + block + b"]")))
        if not self._nested(rows, elements):
            return None
        lines: list[int] = []
        line, end = source.line, 0
        for element in elements:
            start = block.find(b"{", end)
            line += block.count(b"\n", end, start)
            lines.append(line)
            end = start + len(element)
            line += element.count(b"\n")
        return rows, lines, end

    def _walk_elements(self, source: Source, form: Form) -> Batch:
        """Returns the objects in the buffer, at least one."""
        separator = "" if form is Form.STREAM else ","
        while True:
            decoded = Decoded.of(source.buffer)
            text = decoded.text
            rows: list[Row] = []
            lines: list[int] = []
            at = end = counted = 0
            line = source.line
            try:
                while True:
                    at = skip_space(text, at)
                    row, after = read_object(text, at, self._limits)
                    self._learn(row, at)
                    line += text.count("\n", counted, at)
                    counted = at
                    rows.append(row)
                    lines.append(line)
                    end = after
                    at = skip_space(text, end)
                    if separator and text[at : at + 1] != separator:
                        break
                    at += len(separator)
            except Incomplete:
                pass
            except Misplaced as error:
                complete = source.ended and not decoded.bad
                if complete or len(text) - error.at >= _NEAR:
                    raise self._refuse(source, text, error.at, error.why, len(rows)) from None
            if rows:
                return rows, lines, len(text[:end].encode())
            if decoded.bad and not (decoded.cut and not source.ended):
                raise self._refuse(source, text, len(text), decoded.not_utf8)
            if source.ended:
                of = "array" if form is Form.ARRAY else "object"
                raise self._refuse(source, text, len(text), f"the file ends in the middle of the {of}")
            self._within_record_limit(source)
            source.more()

    def _plain(self, rows: list[Row], block: bytes) -> bool:
        """Returns whether msgspec read these records rightly: flat, within the limits, no member twice."""
        values = list(chain.from_iterable(map(dict.values, rows)))
        types = list(map(type, values))
        if not _SCALARS.issuperset(types):
            return False
        if len(block) > self._limits.cell_characters and any(
            len(value) > self._limits.cell_characters for value in values if isinstance(value, str | bytes)
        ):
            return False
        # Each name and each text has two quotation marks. A repeated member leaves only one name in the dict.
        if _quotes(block) != 2 * (len(types) + types.count(str)):
            return False
        return all(map(self._know, dict.fromkeys(map(tuple, rows))))

    def _nested(self, rows: list[Row], texts: Sequence[bytes]) -> bool:
        """Returns whether msgspec read these records rightly, apart from nested values, and replaces those.

        texts: the text of each record.
        """
        limits = self._limits
        for row, text in zip(rows, texts, strict=True):
            values = _decode_members(text)
            quotes = 2 * (len(row) + list(map(type, row.values())).count(str))
            for name, value in row.items():
                if type(value) in _SCALARS:
                    continue
                written = bytes(values[name])
                if written.count(b"[") + written.count(b"{") >= limits.depth:  # perhaps too deep
                    return False
                quotes += _quotes(written)
                row[name] = nested_value(written[:_SHOWN].decode(errors="ignore"))
            if len(text) > limits.cell_characters or _quotes(text) != quotes:
                return False
        return all(map(self._know, dict.fromkeys(map(tuple, rows))))

    def _know(self, shape: tuple[str, ...]) -> bool:
        """Adds the names to the headers. Returns whether the limits allow it."""
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

    def _learn(self, row: Row, at: int) -> None:
        if not self._know(tuple(row)):
            raise Misplaced(at, too_many_names(self._limits))

    def _within_record_limit(self, source: Source) -> None:
        if len(source.buffer) > self._limits.record_bytes:
            most = f"{self._limits.record_bytes:,} bytes, the limit of RECORDS_MAX_RECORD_MB"
            raise self._refuse(source, "", 0, f"the record is longer than {most}")

    def _refuse(self, place: Place | Source, text: str, at: int, why: str, before: int | None = 0) -> UnreadableFile:
        line = place.line + text.count("\n", 0, at)
        offset = place.offset + len(text[:at].encode("utf-8", "surrogatepass"))
        record = "" if before is None else f"record {self._done + before + 1:,}, "
        return UnreadableFile(
            f"{self._name} cannot be read as JSON records: {why} ({record}line {line:,}, byte offset {offset:,}).",
            "Nothing was read from it. Give one array of objects, or an object on each line.",
        )


def _quotes(text: bytes) -> int:
    """Returns how many quotation marks begin or end a text."""
    return text.count(b'"') - (_ESCAPE.findall(text).count(b'"') if b"\\" in text else 0)
