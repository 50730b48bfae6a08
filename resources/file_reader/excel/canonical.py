"""Rows in the form that most programs write, parsed by Arrow's regular expressions (RE2), a megabyte at once.

Every byte of a row must belong to the form: the row's tag, then cells with reference, style and type. Each cell has at
most a formula and a value, or one inline text. `rows` parses every other row. It also parses rows that have a cell
beyond the header, or a cell with a problem (an error, a formula without a value).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TEXT_WITH_POINT, TextChunk
from resources.file_reader.excel.dates import date_text, date_texts
from resources.file_reader.excel.numbers import is_numeric, number_texts, with_points
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.references import column_names
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Styles
from resources.file_reader.excel.texts import decode, resolve
from resources.file_reader.formatted_cells import formatted_cells

_MOST_CELLS = 8 << 20  # rows times columns
_MOST_TEXT = 16 << 20  # bytes of shared texts
_SHORT_KIND = 100  # bytes; a longer one has a formula, and is rarely repeated
_ROW = r'^\s*<row r="(?P<row>[1-9][0-9]{0,6})"(?P<more>(?: [A-Za-z0-9]+(?::[A-Za-z0-9]+)?="[^"<&\x00-\x1f]*")*)$'
_CHARACTERS = r"[^<\x00-\x08\x0b-\x1f]*"
_FORMULA = rf'(?:<f(?: [a-zA-Z0-9]+="[^"<\x00-\x1f]*")*(?:/>|>{_CHARACTERS}</f>))?'
# At most three groups and no backtracking: so RE2 matches in one pass, four times as fast.
_CELL, _CELL_WITH_FORMULA = (
    rf'^<c r="(?P<ref>[A-Z]{{1,3}}[1-9][0-9]{{0,6}})"(?P<kind>(?: [st]="[A-Za-z0-9]*")*>{formula})'
    rf'(?:(?:<v>|<is><t(?: xml:space="preserve")?>)(?P<value>{_CHARACTERS})(?:</v>|</t></is>))?$'
    for formula in ("", _FORMULA)
)
_EMPTY = re.compile(rb"(<(c|row) [^<>]*?) ?/>")
_HIDDEN = r' hidden="(?:1|true)"'
_KIND = re.compile(rb'(?: s="([0-9]{1,9})")?(?: t="([A-Za-z]+)")?(?: s="([0-9]{1,9})")?>(<f.*)?', re.DOTALL).fullmatch
_NO_CHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
(_NUMBER, _COMPUTED, _DATE, _TIME, _ELAPSED, _UNKNOWN, _SHARED, _TEXT, _INLINE, _TRUTH, _OTHER) = range(11)
_TEXTS = (_SHARED, _TEXT, _INLINE)
_NO_FORMAT = -2
_OF_TYPE = {"s": _SHARED, "str": _TEXT, "inlineStr": _INLINE, "b": _TRUTH}
_OF_KIND = {"date": _DATE, "time": _TIME, "elapsed": _ELAPSED, "unknown": _UNKNOWN}

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


class CanonicalParser:
    """Parses rows of a sheet with a known header."""

    def __init__(
        self, prefix: str, progress: Progress, strings: SharedStrings, styles: Styles, from_1904: bool
    ) -> None:
        self._prefix = prefix.encode()
        self._progress, self._limits = progress, progress.limits
        self._strings, self._styles, self._from_1904 = strings, styles, from_1904
        self._names = pa.array([name.encode() for name in column_names(self._limits.columns)], pa.binary())
        self._codes: dict[bytes, tuple[int, int]] = {}

    def read(self, data: bytes) -> TextChunk | Mask | None:
        """Returns the records of the rows if all are of the form, else a mask of those that are not.

        None means that the rows take too much memory at once.
        """
        body = _without_prefix(data, self._prefix)
        if b"\r" in body:  # XML has only LF as line end
            body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elements = pc.split_pattern(pa.array([body], pa.binary()), "</row>").values
        count = len(elements) - 1
        bad = np.zeros(count, bool)
        width = len(self._progress.headers or ())
        has_more = elements[-1].as_py().strip() or (not body.isascii() and any(each in body for each in _NO_CHARACTERS))
        if not count or has_more:
            bad[:] = True
            return bad
        if count * width > _MOST_CELLS:
            return None
        try:
            return self._rows(elements[:-1], width, b"<f" in body, b"<is>" in body)
        except _Unusual as unusual:
            bad[unusual.rows] = True
            return bad
        except _TooMuchText:
            return None

    def _rows(self, elements: pa.Array, width: int, with_formulas: bool, with_texts: bool) -> TextChunk:
        count, progress = len(elements), self._progress
        parts = pc.split_pattern(elements, ">", max_splits=1)
        starts = _array(parts.offsets)
        _leave(np.arange(count), np.diff(starts) != 2)
        head = pc.extract_regex(parts.values.take(pa.array(starts[:-1])), _ROW)
        _leave(np.arange(count), _nulls(head))
        numbers = _array(pc.struct_field(head, "row").cast(pa.string()).cast(pa.int64()))
        before = np.concatenate(([self._progress.last], numbers[:-1]))
        _leave(np.arange(count), (numbers <= before) | (numbers > self._limits.rows))

        pieces = pc.split_pattern(parts.values.take(pa.array(starts[:-1] + 1)), "</c>")
        ends = _array(pieces.offsets)[1:] - 1  # nothing may follow the last cell of a row
        pieces = pieces.values
        _leave(np.arange(count), _array(pc.binary_length(pieces.take(pa.array(ends)))) > 0)
        row_of = np.repeat(np.arange(count), np.diff(np.concatenate(([-1], ends))) - 1)
        is_cell = np.ones(len(pieces), bool)
        is_cell[ends] = False
        pieces = pieces.filter(pa.array(is_cell))
        cells = pc.extract_regex(pieces, _CELL_WITH_FORMULA if with_formulas else _CELL)
        _leave(row_of, _nulls(cells))
        if with_texts:
            inline = pc.match_substring(pieces, "<is>")
            _leave(row_of, _array(pc.xor(inline, pc.match_substring(pieces, "</is>"))) != 0)
        column = self._columns(pc.struct_field(cells, "ref"), numbers, row_of)

        kind = pc.struct_field(cells, "kind").dictionary_encode()
        kinds = kind.dictionary.to_pylist()
        meanings = np.array([self._code(each) for each in kinds], np.int64).reshape(-1, 2)
        computed = np.array([b"<f" in each for each in kinds], bool)
        of_kind = _array(kind.indices)
        code, format_ = meanings[of_kind].T if len(kinds) else (of_kind, of_kind)
        value = pc.struct_field(cells, "value")
        filled = _array(pc.binary_length(value)) > 0
        if computed.any():
            _leave(row_of, computed[of_kind] & ~filled)
        _leave(row_of, filled & ((column >= width) | (code == _OTHER)))

        value, row_of, column, code = value.filter(pa.array(filled)), row_of[filled], column[filled], code[filled]
        format_ = format_[filled]
        texts = self._texts(value, row_of, code)
        unknown_styles = int((code == _UNKNOWN).sum())
        full = _array(pc.binary_length(texts)) > 0
        if not full.all():
            texts, row_of, column, format_ = texts.filter(pa.array(full)), row_of[full], column[full], format_[full]
            code = code[full]
        format_ = np.where(np.isin(code, _TEXTS) & _array(with_points(texts)), TEXT_WITH_POINT, format_)
        rows = row_of[np.diff(row_of, prepend=-1) > 0]  # rows that have a value
        lines = numbers[rows]
        gaps = np.diff(np.concatenate(([self._progress.last_filled], lines)))
        _leave(rows, gaps > self._limits.empty_rows + 1)
        hidden = _array(pc.match_substring_regex(pc.struct_field(head, "more"), _HIDDEN))
        record_of = np.searchsorted(rows, row_of)
        columns = _spread(texts, record_of, column, len(rows), width)
        records = np.arange(progress.read + 1, progress.read + 1 + len(rows))
        progress.last = int(numbers[-1])
        progress.last_filled = int(lines[-1]) if len(lines) else progress.last_filled
        progress.read += len(rows)
        progress.hidden += int(hidden[rows].sum())
        progress.unknown_styles += unknown_styles
        progress.check(progress.last, pc.sum(pc.utf8_length(texts)).as_py() or 0)
        values = pa.table({str(i): each for i, each in enumerate(columns)})
        has = format_ != _NO_FORMAT
        formats = formatted_cells(len(rows), record_of[has], column[has], format_[has])
        return TextChunk(values, pa.array(records, pa.int64()), pa.array(lines, pa.int64()), formats=formats)

    def _columns(self, references: pa.Array, numbers: Numbers, row_of: Numbers) -> Numbers:
        """Returns the column of every cell, from 0. Each cell must be in its row, and after the cell before."""
        data = np.frombuffer(_data(references) + b"000", np.uint8)
        at = _offsets(references)[:-1]
        letters = np.stack([data[at + i] for i in range(3)]).astype(np.int64) - 64
        of_two = letters[1] > 0
        of_three = of_two & (letters[2] > 0)
        of_one = np.where(of_two, letters[0] * 26 + letters[1], letters[0])
        column: Numbers = (np.where(of_three, of_one * 26 + letters[2], of_one) - 1).astype(np.int64)
        _leave(row_of, column >= self._limits.columns)
        digits = pa.array(numbers).cast(pa.string()).cast(pa.binary()).take(pa.array(row_of))
        expected = pc.binary_join_element_wise(self._names.take(pa.array(column)), digits, b"")
        place = row_of * self._limits.columns + column
        _leave(row_of, ~_array(pc.equal(references, expected)) | (np.diff(place, prepend=-1) <= 0))
        return column

    def _code(self, kind: bytes) -> tuple[int, int]:
        """Returns the code of a cell and its number format, by its attributes and formula; _NO_FORMAT without one."""
        known = self._codes.get(kind)
        if known is None:
            known = self._new_code(kind)
            if len(kind) <= _SHORT_KIND:
                if len(self._codes) > 10_000:
                    self._codes.clear()
                self._codes[kind] = known
        return known

    def _new_code(self, kind: bytes) -> tuple[int, int]:
        found = _KIND(kind)
        if found is None or (found[1] and found[3]):
            return _OTHER, _NO_FORMAT
        style = (found[1] or found[3] or b"").decode() or None
        cell_type = found[2].decode() if found[2] else "n"
        if found[4] and resolve(found[4].decode(errors="replace")) is None:
            return _OTHER, _NO_FORMAT
        if cell_type != "n":
            return _OTHER if found[4] and cell_type != "str" else _OF_TYPE.get(cell_type, _OTHER), _NO_FORMAT
        of = self._styles.kinds.get(style, "unknown")
        if of == "number":
            return _COMPUTED if found[4] else _NUMBER, self._styles.formats.get(style, _NO_FORMAT)
        return _OTHER if found[4] else _OF_KIND[of], _NO_FORMAT

    def _texts(self, value: pa.Array, row_of: Numbers, code: Numbers) -> pa.Array:
        """Returns the text of every cell."""
        try:
            texts = value.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise _Unusual(np.unique(row_of)) from error
        if len(value):
            _leave(row_of, _array(pc.binary_length(value)) > self._limits.cell_characters)
        given: list[pa.Array] = [pa.array([], pa.string())]
        order = np.empty(len(code), np.int64)
        count = 0
        for of in range(_OTHER):
            places = np.flatnonzero(code == of)
            if len(places):
                order[places] = np.arange(count, count + len(places))
                count += len(places)
                given.append(self._of_code(of, texts.take(pa.array(places))))
                if given[-1].null_count:
                    _leave(row_of[places], _nulls(given[-1]))
        return pa.concat_arrays(given).take(pa.array(order))

    def _of_code(self, code: int, texts: pa.Array) -> pa.Array:
        """Returns the texts of cells of one code; null where `rows` must parse the cell."""
        if code in (_NUMBER, _COMPUTED, _UNKNOWN):
            return number_texts(texts, code == _COMPUTED)
        if code == _DATE:
            return date_texts(texts, self._from_1904)
        if code in (_TIME, _ELAPSED):
            kind = "time" if code == _TIME else "elapsed"
            distinct = texts.dictionary_encode()
            return pa.array(self._times(distinct.dictionary.to_pylist(), kind), pa.string()).take(distinct.indices)
        if code == _SHARED:
            return self._shared(texts)
        if code == _TRUTH:
            return pc.if_else(pc.equal(texts, "1"), "true", pc.if_else(pc.equal(texts, "0"), "false", None))
        odd = pc.or_(pc.match_substring(texts, "&"), pc.match_substring(texts, "_x"))
        return _changed(texts, odd, lambda each: None if (text := resolve(each)) is None else decode(text))

    def _times(self, stored: Sequence[str], kind: str) -> list[str | None]:
        found: list[str | None] = []
        for each in stored:
            text, wrong = date_text(float(each), kind, self._from_1904) if is_numeric(each) else (None, "")
            found.append(None if wrong else text)
        return found

    def _shared(self, texts: pa.Array) -> pa.Array:
        try:
            number = texts.cast(pa.int32())
        except pa.ArrowInvalid:
            return pa.nulls(len(texts), pa.string())
        known = pc.and_(pc.greater_equal(number, 0), pc.less(number, len(self._strings)))
        number = pc.if_else(known, number, None)
        if len(number) * self._strings.longest > _MOST_TEXT and self._strings.bytes_of(number) > _MOST_TEXT:
            raise _TooMuchText
        return self._strings.texts.take(number)


class _Unusual(Exception):
    """Some rows are not of the form."""

    def __init__(self, rows: Numbers) -> None:
        super().__init__(rows)
        self.rows = rows


class _TooMuchText(Exception):
    """The shared texts of the rows take too much memory."""


def _leave(row_of: Numbers, unusual: Mask) -> None:
    if unusual.any():
        raise _Unusual(np.unique(row_of[unusual]))


def _without_prefix(data: bytes, prefix: bytes) -> bytes:
    """Returns the rows with plain names and with an end tag for every row and cell.

    If some names lack the prefix, it returns data that is not of the form.
    """
    if prefix:
        if data.count(b"<" + prefix) + data.count(b"</" + prefix) != data.count(b"<"):
            return b"<!"
        data = data.replace(b"<" + prefix, b"<").replace(b"</" + prefix, b"</")
    return _EMPTY.sub(rb"\1></\2>", data) if b"/>" in data else data


def _changed(texts: pa.Array, mask: pa.Array, change: Callable[[str], str | None]) -> pa.Array:
    """Returns the texts, with those of the mask changed."""
    chosen = texts.filter(mask).to_pylist()
    return pc.replace_with_mask(texts, mask, pa.array(map(change, chosen), pa.string())) if chosen else texts


def _spread(texts: pa.Array, row: Numbers, column: Numbers, rows: int, width: int) -> tuple[pa.Array, ...]:
    """Returns the texts by column; '' where a row has none."""
    places = np.full((width, rows), len(texts), np.int64)
    places[column, row] = np.arange(len(texts))
    texts = pa.concat_arrays([texts, pa.array([""], pa.string())])
    return tuple(texts.take(pa.array(each)) for each in places)


def _array(values: pa.Array) -> Any:
    return values.to_numpy(zero_copy_only=False)


def _nulls(values: pa.Array) -> Mask:
    nulls: Mask = _array(values.is_null())
    return nulls


def _offsets(values: pa.Array) -> Numbers:
    return np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1].astype(
        np.int64
    )


def _data(values: pa.Array) -> bytes:
    offsets = _offsets(values)
    buffer = values.buffers()[2]
    return b"" if buffer is None or not len(values) else buffer.to_pybytes()[offsets[0] : offsets[-1]]
