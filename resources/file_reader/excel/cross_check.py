"""Cross-check of rows: the delivered records must have the texts that the bytes have, in the same places.

It uses neither expat nor regular expressions over cells. A tag begins at each `<`, and first letters tell the names
apart. It does not understand every form, because the parser has already found the rows well-formed. But rows, cells and
texts must be the same in both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TextChunk
from resources.file_reader.excel.cutter import Piece
from resources.file_reader.excel.numbers import PLAIN
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.references import LAST_COLUMNS, column_number
from resources.file_reader.excel.shared_strings import SharedStrings
from schemas.errors import UnreadableFile

_LESS, _GREATER, _SLASH = b"<>/"
_AFTER_NAME = np.isin(np.arange(256), list(b" />\t\r\n"))
_ROW_NUMBER = re.compile(rb"""<[^<>]*?\sr\s*=\s*["']0*([0-9]{1,9})["']""").match
_CELL_PLACE = re.compile(rb"""<[^<>]*?\sr\s*=\s*["']([A-Za-z]{1,3})0*([0-9]{1,9})["']""").match
_SHARED_TAG = re.compile(rb"""<[^<>]*?\st\s*=\s*["']s["']""").match
_INDEX = "^[0-9]{1,9}$"
_NOT_LITERAL = r"&|_x|\r"
_PLAIN = f"^{PLAIN}$"
_NUMERIC = r"^[\s0-9.eE+-]*$"
_DATE_OR_TRUTH = r"^(?:true|false|-?[0-9]+[:-][0-9].*)$"

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Seen:
    """What the bytes of some rows hold.

    A place is row · 16,384 + column, from 0, and places ascend. `certain` are the places of cells that surely have a
    text. `possible` also has those of formulas and of cells that may be empty. `contents` are the bytes in the certain
    cells, and `tags` the places of their tags in `data`. `shared` marks numbers of shared texts, if their tags end in
    the usual way.
    """

    data: bytes
    tags: Places
    certain: Places
    possible: Places
    contents: pa.Array
    shared: Mask


class CrossCheck:
    """Compares delivered chunks, piece by piece, with the bytes of the sheet."""

    def __init__(self, progress: Progress, strings: SharedStrings, prefix: str) -> None:
        self._progress, self._strings, self._skip = progress, strings, len(prefix) + 1
        self._places: list[Places] = []
        self._texts: list[pa.Array] = []
        self._lines: list[int] = []
        self._seen = _NOTHING
        self._piece, self._row, self._header_known = Piece(b"", b""), 0, False

    def check(self, piece: Piece, chunks: Sequence[TextChunk], read: int, row: int) -> None:
        """Compares a piece with its chunks. `read` records, and the rows up to `row`, came before.

        Raises UnreadableFile, which names the first row that differs.
        """
        self.begin(piece, row)
        for chunk in chunks:
            self.note(chunk)
        self.end(read)

    def begin(self, piece: Piece, row: int) -> None:
        """Begins a piece. The rows up to `row` came before."""
        self._piece, self._row = piece, row
        self._header_known = self._progress.headers is not None
        self._places.clear()
        self._texts.clear()
        self._lines.clear()

    def note(self, chunk: TextChunk) -> None:
        """Adds a chunk that was delivered for the piece."""
        lines = chunk.lines.to_numpy(zero_copy_only=False)
        columns = [column.combine_chunks() for column in chunk.values.columns]
        filled = np.zeros((len(lines), len(columns)), bool)
        for at, column in enumerate(columns):
            filled[:, at] = pc.binary_length(column).to_numpy(zero_copy_only=False) > 0
        row, column = np.nonzero(filled)
        places = lines[row] * LAST_COLUMNS + column
        texts = pa.concat_arrays([pa.array([], pa.string()), *columns]).take(pa.array(column * len(lines) + row))
        self._lines += lines.tolist()
        if chunk.malformed:
            held = [
                (bad.line * LAST_COLUMNS + at, text)
                for bad in chunk.malformed
                for at, text in enumerate(bad.values)
                if text
            ]
            places = np.concatenate([places, np.array([place for place, _ in held], np.int64)])
            order = np.argsort(places, kind="stable")
            places = places[order]
            texts = pa.concat_arrays([texts, pa.array([text for _, text in held], pa.string())]).take(pa.array(order))
            self._lines += [bad.line for bad in chunk.malformed]
        self._places.append(places)
        self._texts.append(texts)

    def end(self, read: int) -> None:
        """Compares the piece with all chunks that were added. `read` records came before.

        It parses the piece only now: a piece that the parser refuses may have more cells than any sheet.
        """
        progress = self._progress
        seen = self._seen = _see(self._piece, self._skip, self._row, self._strings.has_empty)
        lines = np.sort(np.array(self._lines, np.int64))
        places = np.concatenate([np.empty(0, np.int64), *self._places])
        wrong = [
            *_repeated(lines),
            *_repeated(places // LAST_COLUMNS, places),
            *lines[~np.isin(lines, seen.possible // LAST_COLUMNS)],
        ]
        certain, possible = seen.certain, seen.possible
        own = np.ones(len(certain), bool)
        if not self._header_known:  # neither the header nor a row above it is a record
            own = certain // LAST_COLUMNS > (progress.header_row or progress.last)
        if not np.array_equal(certain[own], places):
            wrong += list(np.setdiff1d(certain[own], places) // LAST_COLUMNS)
            wrong += list(np.setdiff1d(places, possible) // LAST_COLUMNS)
        if progress.read - read != len(lines):
            wrong.append(progress.last)
        if not wrong and len(seen.contents):
            wrong += self._different_texts(own, places)
        if wrong:
            raise self._disagreement(int(min(wrong)), read + int(np.searchsorted(lines, min(wrong))) + 1)

    def _different_texts(self, own: Mask, places: Places) -> list[int]:
        """Returns the rows in which a text differs from the cell's."""
        seen = self._seen
        texts = pa.concat_arrays([pa.array([], pa.string()), *self._texts])
        certain, contents, shared = seen.certain[own], seen.contents, seen.shared[own]
        if not own.all():
            contents = contents.filter(pa.array(own))
        if len(certain) != len(places):
            texts = texts.take(pa.array(np.searchsorted(places, certain)))
        wrong = np.zeros(len(certain), bool)
        shared = shared & pc.match_substring_regex(contents, _INDEX).to_numpy(zero_copy_only=False)
        if shared.any():
            numbers = contents.filter(pa.array(shared)).cast(pa.string()).cast(pa.int32())
            same = pc.equal(self._strings.texts.take(numbers), texts.filter(pa.array(shared)))
            wrong[shared] = ~same.to_numpy(zero_copy_only=False)
        differ = ~pc.equal(contents, texts.cast(pa.binary())).to_numpy(zero_copy_only=False) & ~shared
        if differ.any():
            mask = pa.array(differ)
            stored, text = contents.filter(mask), texts.filter(mask)
            plain = pc.and_(
                pc.and_(pc.match_substring_regex(stored, _PLAIN), pc.less_equal(pc.binary_length(stored), 16)),
                pc.not_equal(stored, b"-0"),
            )
            other = pc.match_substring_regex(stored, f"{_NUMERIC}|{_NOT_LITERAL}")
            meant = pc.match_substring_regex(text, _DATE_OR_TRUTH)
            wrong[differ] = pc.invert(pc.or_(meant, pc.and_not(other, plain))).to_numpy(zero_copy_only=False)
        for at in np.flatnonzero(wrong & ~shared):
            number = contents[at].as_py()
            if number.isdigit() and _SHARED_TAG(seen.data, int(seen.tags[own][at])):
                wrong[at] = self._strings.text(int(number)) != texts[at].as_py()
        return list(certain[wrong] // LAST_COLUMNS)

    def _disagreement(self, row: int, record: int) -> UnreadableFile:
        return self._progress.refuse(
            f"row {row:,}",
            f"(record {record:,}) can be read in two ways",
            "Save the workbook again in Excel, or as CSV.",
        )


_NONE = np.empty(0, np.int64)
_NOTHING = _Seen(b"", _NONE, _NONE, _NONE, pa.array([], pa.binary()), np.empty(0, bool))


def _repeated(numbers: Places, ordered: Places | None = None) -> list[int]:
    """Returns the numbers that are not higher than the one before."""
    return list(numbers[1:][np.diff(numbers if ordered is None else ordered) <= 0])


def _distinct(ordered: Places) -> Places:
    """Returns the places without repetitions."""
    distinct: Places = ordered[np.diff(ordered, prepend=-1) != 0]
    return distinct


def _see(piece: Piece, skip: int, last_row: int, empty_shared: bool) -> _Seen:
    """Parses the rows of a piece.

    skip: the length of `<` and the prefix of names. last_row: the row before. empty_shared: a shared text may be empty.
    """
    data = piece.bare
    octets = np.frombuffer(data + b"\0" * (skip + 16), np.uint8)
    begin = np.flatnonzero(octets == _LESS)
    tag_ends = np.append(np.flatnonzero(octets == _GREATER), len(data))
    first, second = octets[begin + skip], octets[begin + skip + 1]
    starting = octets[begin + 1] != _SLASH
    short = starting & _AFTER_NAME[second]
    rows = begin[starting & (first == ord("r")) & (second == ord("o"))]
    cells = begin[short & (first == ord("c"))]
    place = _places(data, octets, rows, cells, skip, last_row)

    holders = np.flatnonzero(short & ((first == ord("v")) | (first == ord("t"))))
    starts = tag_ends[np.searchsorted(tag_ends, begin[holders])] + 1
    stops = np.append(begin[1:], len(data))[holders]
    owner = np.searchsorted(cells, begin[holders], "right") - 1
    held = (stops > starts) & (owner >= 0) & (octets[starts - 2] != _SLASH)  # <v/> holds nothing that follows it
    starts, stops, owner, in_t = starts[held], stops[held], owner[held], first[holders[held]] == ord("t")
    formulas = np.searchsorted(cells, begin[short & (first == ord("f"))], "right") - 1
    possible = _distinct(place[np.sort(np.concatenate([owner, formulas[formulas >= 0]]))])
    inline = np.searchsorted(cells, begin[starting & (first == ord("i"))], "right") - 1
    sure = np.ones(len(owner), bool)
    if piece.has_markup or b"rPh" in data:
        sure[:] = False
    elif empty_shared or not in_t.all():
        sure = in_t | ~(np.isin(owner, inline) | empty_shared)
    starts, stops, owner = starts[sure], stops[sure], owner[sure]
    once = len(owner) < 2 or bool((np.diff(owner) > 0).all())
    if not once:
        return _Seen(data, cells[:0], _distinct(place[owner]), possible, pa.array([], pa.binary()), np.empty(0, bool))
    ends = tag_ends[np.searchsorted(tag_ends, cells[owner])]
    shared = np.ones(len(owner), bool)
    for back, byte in enumerate(b'"s"=t ', 1):
        shared &= octets[np.maximum(ends - back, 0)] == byte
    return _Seen(data, cells[owner], place[owner], possible, _gathered(octets, starts, stops), shared)


def _gathered(octets: npt.NDArray[np.uint8], starts: Places, stops: Places) -> pa.Array:
    """Returns the bytes from each start to its stop."""
    lengths = stops - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    gathered = octets[np.repeat(starts - offsets[:-1], lengths) + np.arange(int(offsets[-1]))]
    return pa.Array.from_buffers(
        pa.binary(), len(starts), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(gathered)]
    )


def _places(
    data: bytes, octets: npt.NDArray[np.uint8], rows: Places, cells: Places, skip: int, last_row: int
) -> Places:
    """Returns the place of every cell, counted as Excel does where references are missing."""
    stated = [_ROW_NUMBER(data, at) for at in rows.tolist()]
    owner = np.searchsorted(rows, cells, "right") - 1
    named = np.ones(len(cells), bool)
    for offset, byte in enumerate(b' r="', skip + 1):
        named &= octets[cells + offset] == byte
    letters = [octets[cells + skip + 5 + i].astype(np.int64) - 64 for i in range(3)]
    are_letters = [(each > 0) & (each <= 26) for each in letters]
    if not (all(stated) and (named & are_letters[0] & (owner >= 0)).all()):
        return _implied_places(data, stated, owner, cells, last_row)
    columns = np.where(are_letters[1], letters[0] * 26 + letters[1], letters[0])
    columns = np.where(are_letters[1] & are_letters[2], columns * 26 + letters[2], columns) - 1
    numbers = np.array([int(found[1]) for found in stated if found], np.int64)
    return (numbers[owner] if len(owner) else owner) * LAST_COLUMNS + columns


def _implied_places(
    data: bytes, stated: list[re.Match[bytes] | None], owner: Places, cells: Places, last_row: int
) -> Places:
    found = [_CELL_PLACE(data, at) for at in cells.tolist()]
    firsts = dict(zip(reversed(owner.tolist()), reversed(found), strict=True))
    numbers: list[int] = []
    for at, match in enumerate(stated):
        first = firsts.get(at)
        last_row = int(match[1]) if match else max(last_row + 1, int(first[2]) if first else 0)
        numbers.append(last_row)
    places: list[int] = []
    row, column = -1, -1
    for of, match in zip(owner.tolist(), found, strict=True):
        column = -1 if of != row else column
        row = of
        column = column_number(match[1].decode()) - 1 if match else column + 1
        places.append((numbers[row] if row >= 0 else last_row) * LAST_COLUMNS + column)
    return np.array(places, np.int64)
