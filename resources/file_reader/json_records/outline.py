"""The outline of the first object of a file: its end, and the lists in it that may be the records.

Only quotation marks and brackets are looked at, a block at a time. So the outline checks no syntax: `records` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np

from resources.file_reader.json_records import source as source_of
from resources.file_reader.json_records.source import WHITE

_Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
_QUOTE, _OPEN_LIST, _OPEN_OBJECT = ord('"'), ord("["), ord("{")
_MARKS = np.zeros(256, bool)
_MARKS[list(b'"[]{}')] = True
_DEPTH = np.zeros(256, np.int64)
_DEPTH[list(b"[{")] = 1
_DEPTH[list(b"]}")] = -1
_FIRST = 1 << 16
"""Bytes of the first block: the first object is usually a short record."""
_MOST_LISTS = 10_000
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_FAR = 1 << 20
"""How far a list's first bracket, or what follows the object, may be behind white space."""


@dataclass
class List:
    """A list within the object, and within nothing but objects.

    start, end: its bytes, with its brackets. line: the line on which it begins. records: how many objects it has.
    """

    path: tuple[str, ...]
    start: int
    line: int
    of: Literal["objects", "nothing", "other values"]
    end: int = 0
    records: int = 0

    @property
    def name(self) -> str:
        """Returns its path with dots, such as data.items."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Outline:
    """The outline of the first object. `end` is the position after it; None if the file ends before."""

    start: int
    end: int | None
    lists: list[List] = field(default_factory=list)

    def frame(self, file: BinaryIO, lists: list[List], most: int) -> Any:
        """Returns the object with each of these lists empty; None if it has more bytes than `most`, or is no JSON."""
        at, parts = self.start, []
        for each in lists:
            parts += [(at, each.start), (each.start, each.start + 1), (each.end - 1, each.end)]
            at = each.end
        parts.append((at, self.end or at))
        if sum(end - start for start, end in parts) > most:
            return None
        try:
            return msgspec.json.decode(b"".join(bytes_at(file, start, end) for start, end in parts))
        except _NO_JSON:
            return None


def bytes_at(file: BinaryIO, start: int, end: int) -> bytes:
    """Returns bytes of the file."""
    file.seek(start)
    return file.read(max(0, end - start))


def outline(file: BinaryIO, start: int, depth: int) -> Outline:
    """Returns the outline of the object that begins at a position.

    depth: how many brackets may be open at once; deeper objects have no outline.
    """
    opened: list[tuple[int, int]] = []  # where the name of each open object begins and ends
    found: list[List] = []
    inside: List | None = None
    undecided = False  # whether the first mark in the list is still to come
    for block in _blocks(file, start):
        at = 0
        while at < len(block.marks):
            if inside is not None and undecided:
                inside.of = _content(file, inside.start, block.places[at], block.marks[at])
                undecided = False
            if inside is not None:
                end = _first_below(block.depths, at, len(opened) + 1)
                if inside.of == "objects":
                    within = slice(at, end)
                    inside.records += int(
                        np.count_nonzero(
                            (block.marks[within] == _OPEN_OBJECT) & (block.depths[within] == len(opened) + 2)
                        )
                    )
                if end == len(block.marks):
                    break
                inside.end = int(block.places[end]) + 1
                found.append(inside)
                inside, at = None, end + 1
                continue
            place, mark = int(block.places[at]), block.marks[at]
            at += 1
            if mark in (_OPEN_LIST, _OPEN_OBJECT) and (len(opened) >= depth or len(found) >= _MOST_LISTS):
                return Outline(start, None)
            if mark == _OPEN_LIST:
                names = [*opened[1:], block.name_before(place)]
                inside = List(_path(file, names), place, block.line_of(place), "other values")
                undecided = True
            elif mark == _OPEN_OBJECT:
                opened.append(block.name_before(place))
            else:
                opened.pop()
                if not opened:
                    return Outline(start, place + 1, found)
    return Outline(start, None)


def follows(file: BinaryIO, at: int) -> tuple[bytes, bool]:
    """Returns the next byte that is not white space, b"" at the end of the file, and whether a line ends before it."""
    data = bytes_at(file, at, at + _FAR)
    rest = data.lstrip(WHITE)
    return rest[:1], b"\n" in data[: len(data) - len(rest)]


@dataclass(frozen=True)
class _Block:
    """The brackets of a block outside of texts, and its quotation marks; places count from the start of the file."""

    offset: int
    line: int
    data: bytes
    places: _Numbers
    marks: "np.ndarray[tuple[int], np.dtype[np.uint8]]"
    depths: _Numbers
    quotes: _Numbers

    def line_of(self, place: int) -> int:
        return self.line + self.data.count(b"\n", 0, place - self.offset)

    def name_before(self, place: int) -> tuple[int, int]:
        """Returns where the last text before a bracket begins and ends, with its quotation marks."""
        after = int(np.searchsorted(self.quotes, place))
        return (int(self.quotes[after - 2]), int(self.quotes[after - 1]) + 1) if after >= 2 else (0, 0)


def _blocks(file: BinaryIO, start: int) -> Iterator[_Block]:
    offset, line, depth, in_text, escaped = start, 1, 0, False, False
    quotes: _Numbers = np.zeros(0, np.int64)
    while data := bytes_at(file, offset, offset + min(_FIRST if offset == start else source_of.BLOCK, source_of.BLOCK)):
        plain = b"_" + data[1:] if escaped else data
        if b"\\" in plain:
            plain = plain.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        escaped = plain.endswith(b"\\")
        content = np.frombuffer(plain, np.uint8)
        places = np.flatnonzero(_MARKS[content])
        marks = content[places]
        is_quote = marks == _QUOTE
        texts = (np.cumsum(is_quote) + in_text) & 1
        outside = ~is_quote & (texts == 0)
        depths = np.cumsum(_DEPTH[marks[outside]]) + depth
        quotes = np.concatenate([quotes[-2:], places[is_quote] + offset])
        yield _Block(offset, line, data, places[outside] + offset, marks[outside], depths, quotes)
        in_text = bool(texts[-1]) if len(texts) else in_text
        depth = int(depths[-1]) if len(depths) else depth
        offset += len(data)
        line += data.count(b"\n")


def _first_below(depths: _Numbers, at: int, depth: int) -> int:
    """Returns the first position from one on with a smaller depth; the number of positions if there is none."""
    size = 64
    while at < len(depths):
        below = depths[at : at + size] < depth
        if below.any():
            return at + int(below.argmax())
        at, size = at + size, 2 * size
    return len(depths)


def _content(file: BinaryIO, start: int, next_mark: int, mark: int) -> Literal["objects", "nothing", "other values"]:
    """Returns what a list begins with. The next mark is the first one in it."""
    if next_mark - start > _FAR or bytes_at(file, start + 1, next_mark).strip(WHITE):
        return "other values"
    return "objects" if mark == _OPEN_OBJECT else "nothing" if mark == ord("]") else "other values"


def _path(file: BinaryIO, names: list[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(_name(bytes_at(file, start, min(end, start + _FAR))) for start, end in names)


def _name(written: bytes) -> str:
    try:
        return msgspec.json.decode(written, type=str)
    except _NO_JSON:
        return ""
