"""How the records of a file are arranged: in an array, on lines, one after another, or in a list within an object."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, BinaryIO

from resources.file_reader.json_records.limits import JsonLimits
from resources.file_reader.json_records.outline import List, Outline, bytes_at, follows, outline
from resources.file_reader.json_records.source import WHITE
from schemas.counts import numbered
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.reading import Question, ReadOptions

WHOLE = "."
"""What `--at` says if the object itself is the record."""
_START = 1 << 20
_MARK = b"\xef\xbb\xbf"
_LISTS_SHOWN = 5
_NO_RECORDS = "Nothing was read from it."


class Form(StrEnum):
    """How records follow each other."""

    ARRAY = "array"
    """In brackets, with commas between them."""
    LINES = "lines"
    """Each on a line of its own."""
    COMMAS = "commas"
    """With commas between them, without brackets."""
    STREAM = "stream"
    """One after another, each on one line or several."""


@dataclass(frozen=True)
class Arrangement:
    """Where the records of a file are, and how they follow each other.

    start, end: their bytes. None is the end of the file. line: the line on which they begin.
    at: the path of the list that has them, as `--at` names it; None if nothing is around the records.
    question: what to ask, because the records can be others.
    lists: the paths that `at` could name.
    beside: the names of the values that are beside the list, or beside what leads to it.
    """

    form: Form = Form.LINES
    start: int = 0
    end: int | None = None
    line: int = 1
    at: str | None = None
    question: Question | None = None
    lists: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def arrangement_of(
    file: BinaryIO, name: str, limits: JsonLimits, at: str | None = None, likely: str | None = None
) -> Arrangement:
    """Returns how the records of a file in UTF-8 are arranged.

    at: the path of the list that has them. likely: the one to propose, if there is a choice. Raises InvalidRequest if
    the file has no such list. Raises UnreadableFile if its records are arranged in a way that cannot be read, such as
    GeoJSON.
    """
    begin = _first_byte(file)
    first = bytes_at(file, begin, begin + 1)
    if first != b"{":
        if at not in (None, WHOLE):
            raise _no_such_list(name, at, [])
        return Arrangement(Form.ARRAY if first == b"[" else Form.LINES)
    found = outline(file, begin, limits.depth)
    if found.end is None:
        whole = Arrangement(_form_if_unended(file, begin))
    else:
        whole = Arrangement(_form(file, found))
        if not follows(file, found.end)[0]:
            names = [it.name for it in found.lists if it.of == "objects"]
            names = names or [it.name for it in found.lists if it.of == "nothing"]
            arranged = _of_one_object(file, name, limits, found, whole, at, likely)
            return replace(arranged, lists=(*names, WHOLE) if names else ())
    if at not in (None, WHOLE):
        raise _no_such_list(name, at, [])
    return whole


def _first_byte(file: BinaryIO) -> int:
    """Returns the position of the first byte that is neither white space nor a byte order mark."""
    at = len(_MARK) if bytes_at(file, 0, len(_MARK)) == _MARK else 0
    while data := bytes_at(file, at, at + _START):
        rest = data.lstrip(WHITE)
        at += len(data) - len(rest)
        if rest:
            break
    return at


def _form(file: BinaryIO, first: Outline) -> Form:
    """Returns how records follow each other, as the first and what is behind it show."""
    if first.end is None:
        return Form.LINES
    on_lines = b"\n" not in bytes_at(file, first.start, first.end)
    mark, line_ends = follows(file, first.end)
    if mark == b",":
        return Form.COMMAS
    if mark in (b"{", b"") and not (on_lines and (line_ends or not mark)):
        return Form.STREAM
    return Form.LINES


def _form_if_unended(file: BinaryIO, begin: int) -> Form:
    """Returns how records follow each other if the first has no end: on lines if the second line begins another."""
    _, _, after = bytes_at(file, begin, begin + _START).partition(b"\n")
    return Form.STREAM if after.strip(WHITE) and not after.lstrip(WHITE).startswith(b"{") else Form.LINES


def _of_one_object(
    file: BinaryIO,
    name: str,
    limits: JsonLimits,
    found: Outline,
    whole: Arrangement,
    at: str | None,
    likely: str | None,
) -> Arrangement:
    """Returns where the records are in a file that is one object."""
    lists = [it for it in found.lists if it.of == "objects"]
    empty = [it for it in found.lists if it.of == "nothing"]
    if at == WHOLE:
        return replace(whole, at=WHOLE)
    frame = found.frame(file, lists, limits.record_bytes)
    if at is not None:
        chosen = [it for it in [*lists, *empty] if it.name == at]
        if not chosen:
            raise _no_such_list(name, at, lists)
        return _within(name, chosen[0], found, frame)
    if not lists and (proposed := next((it for it in empty if it.name == likely), None)):
        return _within(name, proposed, found, frame)
    if not lists and (not isinstance(frame, dict) or any(_is_single(value) for value in frame.values())):
        return whole
    if not lists and len(empty) == 1:
        return _within(name, empty[0], found, frame)
    if not lists:
        _refuse_if_columns(name, frame)
        return whole
    if isinstance(frame, dict) and frame.get("type") == "FeatureCollection":
        raise UnreadableFile(
            f"{name} is GeoJSON: the values of its records are in the `properties` of each feature.",
            f"{_NO_RECORDS} Write them as an array of objects, for example by jq '[.features[].properties]' {name}.",
        )
    lists.sort(key=lambda it: (it.name != likely, -it.records))
    arranged = _within(name, lists[0], found, frame)
    if len(lists) == 1 and not arranged.beside:
        return arranged
    if likely == WHOLE:
        arranged = replace(whole, at=WHOLE, beside=arranged.beside)
    return replace(arranged, question=_question(lists, first=arranged.at or WHOLE))


def _within(name: str, chosen: List, found: Outline, frame: Any) -> Arrangement:
    """Returns the arrangement of records in a list. A second parser must find the list in the object as well."""
    if sum(it.name == chosen.name for it in found.lists) > 1:
        raise UnreadableFile(
            f"{name} has more than one list under {chosen.name!r}.", f"{_NO_RECORDS} Give each member its own name."
        )
    value, beside = frame, []
    for member in chosen.path:
        around = value if isinstance(value, dict) else {}
        beside += [it for it in around if _is_single(around[it])]
        value = around.get(member)
    if value != []:
        raise UnreadableFile(
            f"{name} cannot be read as JSON records: what is around the list {chosen.name!r} is no JSON, or too long.",
            f"{_NO_RECORDS} Give one array of objects, or an object on each line.",
        )
    return Arrangement(Form.ARRAY, chosen.start, chosen.end, chosen.line, chosen.name, beside=tuple(beside))


def _is_single(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _question(lists: list[List], first: str) -> Question:
    shown = ", ".join(f"{it.name} ({numbered(it.records, 'record')})" for it in lists[:_LISTS_SHOWN])
    more = ", …" if lists[_LISTS_SHOWN:] else ""
    if len(lists) == 1:
        sentence = (
            f"The file is one object with values of its own and a list of records: {shown}. "
            f"Say {_option(lists[0])} for the list, or --at {WHOLE} if the object is the record."
        )
    else:
        sentence = f"The file is one object with several lists of records: {shown}{more}. Say which one with --at."
    others = [it for it in (*(it.name for it in lists), WHOLE) if it != first]
    return Question(sentence, "at", (first, *others))


def _no_such_list(name: str, at: str | None, lists: list[List]) -> InvalidRequest:
    names = ", ".join(map(_option, lists[:_LISTS_SHOWN]))
    return InvalidRequest(
        f"{name} has no list of records at {at!r}.",
        f"Say {names}." if names else "Leave --at out: nothing is around its records.",
    )


def _option(chosen: List) -> str:
    (flag,) = ReadOptions(at=chosen.name).flags
    return flag


def _refuse_if_columns(name: str, frame: dict[str, Any]) -> None:
    """Raises UnreadableFile if the members are columns. pandas writes data frames so by default."""
    members = list(frame.values())
    by_number = [it for it in members if isinstance(it, dict) and next(iter(it), "") == "0"]
    lists = [it for it in members if isinstance(it, list)]
    if members and (len(by_number) == len(members) or len(lists) == len(members) > 1):
        raise UnreadableFile(
            f"{name} has columns in place of records, as pandas writes a data frame by default.",
            f'{_NO_RECORDS} Write it with df.to_json("{name}", orient="records").',
        )
