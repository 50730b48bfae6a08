"""Finds the records of delimited text and the texts of their fields, without Arrow, to cross-check it.

RFC 4180 puts quotation marks around whole fields, and doubles them inside. Then counting them is enough: a line end
outside them ends a record, and a delimiter outside them ends a field. This is done for a block of bytes at a time. A
block that is written in another way is read line by line.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resources.file_reader.chunk import Malformed, MalformedRecord
from resources.file_reader.delimited.by_line import TOO_LARGE, LineReader
from resources.file_reader.delimited.dialect import Dialect
from resources.file_reader.delimited.joined import are_several
from resources.file_reader.header_row import has_values

BLOCK = 8 << 20
FIELD_END, RECORD_END = b"\x1f", b"\x1e"  # ASCII's unit and record separators

_BEYOND_STRAY = 1 << 20
"""How many bytes are read line by line from a quotation mark on that is never closed."""
_LF, _CR, _SPACE = 10, 13, 32
_Bytes = npt.NDArray[np.uint8]
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RecordBlock:
    """Consecutive whole records, as bytes in UTF-8 for Arrow, and as the finder reads them.

    The bytes have no records with a quotation mark out of place. `records` and `lines` number the well-formed
    records, from 1. `texts` are their fields without quotation marks: RECORD_END follows the last field of a record,
    and FIELD_END every other. `read` counts all records, and `blank` the blank lines between them. Of these, `empty`
    have delimiters. `filled` counts records that got empty fields at their end. `first_line` is where the block begins.
    `joined` are the lines of records that may be several, and `loose_escapes` counts backslashes that escape nothing.
    """

    data: bytes
    records: _Positions
    lines: _Positions
    texts: bytes | _Bytes
    malformed: list[MalformedRecord]
    read: int
    blank: int
    first_line: int
    joined: tuple[int, ...] = ()
    loose_escapes: int = 0
    empty: int = 0
    filled: int = 0


class RecordFinder:
    """Finds records of `width` fields in UTF-8 that begins with a record.

    `read` returns the next bytes, and none at the end. `line` is the line on which the unread text begins. fills_short:
    records with fewer fields get empty ones at their end. Raises csv.Error if the text does not follow the dialect.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        dialect: Dialect,
        width: int,
        line: int,
        cell_bytes: int,
        *,
        fills_short: bool = False,
    ) -> None:
        self._read_on = read
        self._fills_short = fills_short
        self._dialect = dialect
        self._width = width
        self._cell_bytes = cell_bytes
        self._read = 0
        self.line = line

    def blocks(self) -> Iterator[RecordBlock]:
        """Yields all records, in blocks of about 8 MB, or of one longer record."""
        data = b""
        while True:
            more = self._read_on(BLOCK)
            data += more
            if not data:
                return
            full = len(data) > self._cell_bytes + BLOCK
            block, size = self._block(data, last=not more, full=full)
            data = data[size:]
            if block is not None:
                self._read += block.read
                yield block
            elif not more:
                return
            elif full:
                raise csv.Error(TOO_LARGE)

    def _block(self, data: bytes, *, last: bool, full: bool) -> tuple[RecordBlock | None, int]:
        """Returns the whole records at the start of the data and their size in bytes; None if there are none.

        full: the data are longer than any record may be. So a record without an end has a stray quotation mark.
        """
        ended = data + b"\n" if last and data[-1:] not in b"\r\n" else data
        found = None if self._dialect.escape or self._dialect.skips_space else _Structure.of(ended, self._dialect, last)
        if found is None or found.longest_record > self._cell_bytes or found.has_joined(self._width):
            return self._read_by_line(data, last=last, full=full)
        if not found.size:
            return self._read_by_line(data[:_BEYOND_STRAY], last=False, full=True) if full else (None, 0)
        return self._settled(ended[: found.size], found), min(found.size, len(data))

    def _settled(self, data: bytes, found: "_Structure") -> RecordBlock:
        lines = self.line + found.lines
        missing = np.maximum(self._width - found.fields, 0) * self._fills_short
        well_formed = found.fields + missing == self._width
        malformed = [
            MalformedRecord(
                self._read + int(at) + 1,
                int(lines[at]),
                int(found.fields[at]),
                tuple(next(self._dialect.reader(_lines(data[found.starts[at] : found.stops[at]])))),
            )
            for at in np.flatnonzero(~well_formed)
        ]
        joined = [
            int(lines[at])
            for at in found.suspects(self._width).tolist()
            if are_several(_lines(data[found.starts[at] : found.stops[at]]), self._dialect, self._width)
        ]
        first_line, self.line = self.line, self.line + found.line_ends
        return RecordBlock(
            data=found.for_arrow(data, missing),
            records=self._read + 1 + np.flatnonzero(well_formed),
            lines=lines[well_formed],
            texts=found.texts(well_formed, missing),
            malformed=malformed,
            read=len(found.starts),
            blank=found.blank,
            first_line=first_line,
            joined=tuple(joined),
            empty=len(found.empty[0]),
            filled=int(np.count_nonzero(missing)),
        )

    def _read_by_line(self, data: bytes, *, last: bool, full: bool) -> tuple[RecordBlock | None, int]:
        whole = len(data) if last else max(data.rfind(b"\n") + 1, data[:-1].rfind(b"\r") + 1)
        text = data[:whole].decode()
        lines = list(io.StringIO(text, newline=""))
        reader = LineReader(lines, self._dialect, self._width, final=last, overlong=full)
        kept: list[str] = []
        records: list[int] = []
        starts: list[int] = []
        texts: list[str] = []
        malformed: list[MalformedRecord] = []
        joined: list[int] = []
        read = blank = empty = filled = consumed = 0
        try:
            for it in reader.records():
                raw = lines[it.start] if it.stop == it.start + 1 else "".join(lines[it.start : it.stop])
                consumed = it.stop
                if it.fields == [] or not raw.strip("\r\n" if it.fields != [""] else " \r\n"):
                    blank += 1
                    continue
                if it.fields is not None and not has_values(it.fields):
                    blank, empty = blank + 1, empty + 1
                    continue
                read += 1
                number, line = self._read + read, self.line + it.start
                if it.fields is None:
                    values = (*[""] * self._width, raw.rstrip("\r\n"))
                    malformed.append(MalformedRecord(number, line, 0, values, Malformed.QUOTATION_MARK))
                    continue
                fields = it.fields
                if self._fills_short and len(fields) < self._width:
                    missing, filled = self._width - len(fields), filled + 1
                    raw = raw.rstrip("\r\n") + self._dialect.delimiter * missing + "\n"
                    fields = [*fields, *[""] * missing]
                kept.append(raw)
                if len(fields) == self._width:
                    records.append(number)
                    starts.append(line)
                    texts.append("\x1f".join(fields))
                    if it.stop > it.start + 1 and are_several(lines[it.start : it.stop], self._dialect, self._width):
                        joined.append(line)
                else:
                    malformed.append(MalformedRecord(number, line, len(fields), tuple(fields)))
        except csv.Error:
            self.line += consumed
            raise
        if not consumed:
            return None, 0
        first_line, self.line = self.line, self.line + consumed
        used = text if consumed == len(lines) else "".join(lines[:consumed])
        return (
            RecordBlock(
                data=self._dialect.for_arrow("".join(kept).encode()),
                records=np.array(records, np.int64),
                lines=np.array(starts, np.int64),
                texts="".join(f"{text}\x1e" for text in texts).encode(),
                malformed=malformed,
                read=read,
                blank=blank,
                first_line=first_line,
                joined=tuple(joined),
                loose_escapes=self._dialect.loose_escapes(used),
                empty=empty,
                filled=filled,
            ),
            len(used.encode()),
        )


@dataclass(frozen=True)
class _Structure:
    """Where the whole records in some bytes begin and end, without blank lines.

    A record goes from `starts` to `stops`, the place of its line end. `fields` counts its fields, and `lines` the line
    ends before it. `size`, `line_ends` and `blank` count the bytes, line ends and blank lines of all of them. `empty`
    are the starts and stops of blank lines with delimiters.
    """

    size: int
    line_ends: int
    blank: int
    starts: _Positions
    stops: _Positions
    lines: _Positions
    fields: _Positions
    empty: tuple[_Positions, _Positions]
    _text: _Bytes
    _kept: npt.NDArray[np.bool_] | None
    _inner: _Positions
    """The line ends inside quotation marks."""
    _between: _Positions
    """The delimiters between fields."""
    _delimiter: int

    @classmethod
    def of(cls, data: bytes, dialect: Dialect, last: bool) -> "_Structure | None":
        """Returns the structure of data that begin with a record; None if quotation marks are not as in RFC 4180."""
        text = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(text == ord(dialect.quote)) if dialect.quote.encode() in data else _NONE
        line_ends = _line_ends(data, text, last=last)
        stops = _outside(line_ends, quotes)
        size = int(stops[-1]) + 1 if len(stops) else 0
        if last and size < len(data):
            return None  # a quotation mark is never closed
        text = text[:size].copy()
        quotes = quotes[: np.searchsorted(quotes, size)]
        line_ends = line_ends[: np.searchsorted(line_ends, size)]
        opening, closing = quotes[0::2], quotes[1::2]
        doubled = opening[1:] == closing[:-1] + 1
        if not _around_fields(text, opening, closing, doubled, ord(dialect.delimiter)):
            return None

        starts = np.concatenate(([0], stops[:-1] + 1)) if size else _NONE
        crlf = (text[stops] == _LF) & (text[stops - 1] == _CR) & (stops > starts)
        delimiters = _outside(np.flatnonzero(text == ord(dialect.delimiter)), quotes)
        inner = np.diff(np.searchsorted(delimiters, stops), prepend=0)
        content = stops - crlf - starts - inner
        filled = content > 0
        if len(quotes):
            short = np.flatnonzero((inner > 0) & filled & (content <= 2 * (inner + 1)))
            filled[short] = content[short] != _count(quotes, starts[short], stops[short])
            filled[short] |= _count(opening[1:][doubled], starts[short], stops[short]) > 0
        empty = starts[~filled & (inner > 0)], stops[~filled & (inner > 0)]
        text[delimiters] = FIELD_END[0]
        text[stops] = RECORD_END[0]
        kept = None
        if len(quotes) or crlf.any() or not filled.all():
            kept = np.ones(size, np.bool_)
            kept[quotes] = False
            kept[opening[1:][doubled]] = True
            kept[stops[crlf] - 1] = False
            kept[stops[~filled]] = False
            if len(empty[0]):
                kept &= ~_within(empty, size)
        return cls(
            size=size,
            line_ends=len(line_ends),
            blank=len(filled) - int(np.count_nonzero(filled)),
            starts=starts[filled],
            stops=stops[filled],
            lines=(np.searchsorted(line_ends, starts) if len(quotes) else np.arange(len(starts)))[filled],
            fields=(inner + 1)[filled],
            empty=empty,
            _text=text,
            _kept=kept,
            _inner=np.setdiff1d(line_ends, stops, assume_unique=True) if len(line_ends) > len(stops) else _NONE,
            _between=delimiters,
            _delimiter=ord(dialect.delimiter),
        )

    @property
    def longest_record(self) -> int:
        """The bytes of the longest record."""
        return int((self.stops - self.starts).max(initial=0))

    def has_joined(self, width: int) -> bool:
        """Returns whether a record of several lines is not as wide as the header: a stray mark may have joined it."""
        if not len(self._inner):
            return False
        several = np.searchsorted(self.starts, self._inner, "right") - 1
        return bool((self.fields[several] != width).any())

    def suspects(self, width: int) -> _Positions:
        """Returns the records of `width` fields that have a line below the first with as many delimiters as the header.

        Delimiters with a space after them do not count.
        """
        if width < 2 or not len(self._inner):
            return _NONE
        several = np.searchsorted(self.starts, self._inner, "right") - 1
        ends = np.where(np.diff(several, append=-1) == 0, np.append(self._inner[1:], 0), self.stops[several])
        quoted = np.flatnonzero(self._text[:-1] == self._delimiter)
        quoted = quoted[self._text[quoted + 1] != _SPACE]
        counts = _count(quoted, self._inner, ends) + _count(self._between, self._inner, ends)
        likely = (counts >= width - 1) & (self.fields[several] == width)
        if not likely.any():
            return _NONE
        spaced = self._between[self._text[self._between + 1] == _SPACE]
        return np.unique(several[likely & (counts - _count(spaced, self._inner, ends) == width - 1)])

    def for_arrow(self, data: bytes, missing: _Positions) -> bytes:
        """Returns the data without empty lines, and with as many more delimiters as each record misses."""
        if not len(self.empty[0]) and not missing.any():
            return data
        octets = np.frombuffer(data, np.uint8)
        kept = ~_within(self.empty, len(octets))
        ends = self.stops - ((octets[self.stops] == _LF) & (octets[self.stops - 1] == _CR))
        at = np.repeat(ends, missing)
        return np.insert(octets, at, self._delimiter)[np.insert(kept, at, True)].tobytes()

    def texts(self, wanted: npt.NDArray[np.bool_], missing: _Positions) -> _Bytes:
        """Returns the fields of the wanted records, and those that each misses, with FIELD_END and RECORD_END."""
        text, kept = self._text, self._kept
        if not wanted.all():
            kept = np.ones(self.size, np.bool_) if kept is None else kept
            for start, stop in zip(self.starts[~wanted], self.stops[~wanted], strict=True):
                kept[start : stop + 1] = False
        if missing.any():
            at = np.repeat(self.stops, missing)
            text = np.insert(text, at, FIELD_END[0])
            kept = None if kept is None else np.insert(kept, at, True)
        return text if kept is None else text[kept]


_NONE: _Positions = np.array([], np.int64)


def _count(positions: _Positions, starts: _Positions, stops: _Positions) -> _Positions:
    """Returns how many of the positions are between each start and its stop."""
    return np.searchsorted(positions, stops) - np.searchsorted(positions, starts)


def _within(lines: tuple[_Positions, _Positions], size: int) -> npt.NDArray[np.bool_]:
    """Returns which bytes are in one of the lines, its end included."""
    turns = np.zeros(size + 1, np.int8)
    turns[lines[0]] += 1
    turns[lines[1] + 1] -= 1
    within: npt.NDArray[np.bool_] = np.cumsum(turns[:-1], dtype=np.int8) > 0
    return within


def _lines(data: bytes) -> list[str]:
    """Returns the lines of some data, with their ends."""
    return list(io.StringIO(data.decode(), newline=""))


def _line_ends(data: bytes, text: _Bytes, *, last: bool) -> _Positions:
    """Returns where lines end: at each LF, and at each CR without an LF. A CR at the end may be half of a line end."""
    feeds = np.flatnonzero(text == _LF)
    if b"\r" not in data:
        return feeds
    returns = np.flatnonzero(text == _CR)
    before_feed = np.isin(returns + 1, feeds, assume_unique=True)
    undecided = (returns == len(text) - 1) & (not last)
    return np.sort(np.concatenate((feeds, returns[~before_feed & ~undecided])))


def _outside(positions: _Positions, quotes: _Positions) -> _Positions:
    """Returns the positions outside quotation marks: an even number of marks comes before them."""
    if not len(quotes):
        return positions
    # Each quotation mark flips the positions after it: fewer searches than one for each position.
    turns = np.bincount(np.searchsorted(positions, quotes), minlength=len(positions) + 1)[:-1]
    outside: npt.NDArray[np.bool_] = np.bitwise_xor.accumulate(turns & 1) == 0
    return positions[outside]


def _around_fields(
    text: _Bytes, opening: _Positions, closing: _Positions, doubled: npt.NDArray[np.bool_], delimiter: int
) -> bool:
    """Returns whether each quotation mark begins a field, ends one, or is doubled inside one."""
    if not len(opening):
        return True
    bounds = np.array([delimiter, _LF, _CR], np.uint8)
    begins = np.isin(text[opening - 1], bounds)
    begins[0] |= opening[0] == 0
    begins[1:] |= doubled
    ends = np.isin(text[closing + 1], bounds)
    ends[:-1] |= doubled
    return bool(begins.all() and ends.all())
