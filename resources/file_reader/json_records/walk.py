"""Parses one record of a text, a member at a time and without recursion.

It knows the place of everything it refuses, and skips nested values quickly.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Literal

from resources.file_reader.json_records.limits import JsonLimits

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
# Skipped at once: arrays and objects of plain values, and runs of array elements.
# Only single characters are repeated possessively: Python 3.11.2 (Debian 12) matches possessive groups wrongly.
_S = r"[ \t\n\r]*+"
_VALUE = rf"""(?:{_SCALAR.pattern}|"[^"\\\x00-\x1f]*+")"""
_MEMBER = rf"""{_S}"[^"\\\x00-\x1f]*+"{_S}:{_S}{_VALUE}{_S}"""
_FLAT = re.compile(
    rf"\[{_S}(?:{_VALUE}{_S}(?:,{_S}{_VALUE}{_S}){{0,9999}})?\]|{{{_S}(?:{_MEMBER}(?:,{_MEMBER}){{0,9999}})?}}"
)
_ELEMENTS = re.compile(rf"(?:{_S}(?:{_VALUE}|{_FLAT.pattern}){_S},){{1,9999}}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class UnfitValue:
    """A value that no text can represent."""

    rule: str
    expected: str
    value: str


class Misplaced(Exception):
    """Something is not allowed at its position in the text."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(at, why)
        self.at, self.why = at, why


class Incomplete(Exception):
    """The text ends in the middle of a record."""


def number_text(text: str) -> str | UnfitValue:
    """Returns a JSON number as a plain decimal, exactly; UnfitValue if it is beyond the range of floats."""
    mantissa, mark, exponent = text.lower().partition("e")
    if not mark:
        return "0" if text == "-0" else text
    if not mantissa.strip("-0."):
        return "0"
    digits = exponent.lstrip("+-").lstrip("0")
    if len(digits) <= 9:
        number = Decimal(text)
        if -325 < number.adjusted() <= 308 and 0 < abs(float(number)) < math.inf:
            return format(number, "f")
    return UnfitValue("number_out_of_range", "must be a number between 5e-324 and 1.7e308 in size", abbreviated(text))


def nested_value(text: str) -> UnfitValue:
    """Returns an array or object as a value without a text. Its first characters are enough."""
    return UnfitValue("nested_value", "must be a single value", abbreviated(text))


def read_object(text: str, at: int, limits: JsonLimits) -> tuple[dict[str, Any], int]:
    """Returns the object that begins at a position, as `columns.Row`, and the position after it."""
    row: dict[str, Any] = {}
    at = skip_space(text, at)
    if text[at : at + 1] != "{":
        raise _wrong(text, at, "an object is expected")
    at = skip_space(text, at + 1)
    if text[at : at + 1] == "}":
        return row, at + 1
    while True:
        start = at
        name, at = _read_name(text, at, limits)
        if name in row:
            raise Misplaced(start, f"the object has the member {shown(name)} twice")
        if len(row) >= limits.names:  # at once: an object may have a million more
            raise Misplaced(start, too_many_names(limits))
        row[name], at = _read_value(text, at, limits)
        at = skip_space(text, at)
        mark = text[at : at + 1]
        if mark == "}":
            return row, at + 1
        if mark != ",":
            raise _wrong(text, at, "a comma or } is expected")
        at = skip_space(text, at + 1)


def too_many_names(limits: JsonLimits) -> str:
    """Returns why a file with one more name is refused."""
    return f"there are more than {limits.names:,} different member names, the limit of RECORDS_MAX_COLUMNS"


def _read_name(text: str, at: int, limits: JsonLimits) -> tuple[str, int]:
    """Returns a member's name and the position of its value."""
    if text[at : at + 1] != '"':
        raise _wrong(text, at, "the name of a member in double quotes is expected")
    name, after = _read_string(text, at, limits.name_characters, "a member's name", "RECORDS_MAX_HEADER_CHARACTERS")
    after = skip_space(text, after)
    if text[after : after + 1] != ":":
        raise _wrong(text, after, "a colon is expected")
    return name, skip_space(text, after + 1)


def _read_string(text: str, at: int, most: int, what: str, setting: str) -> tuple[str, int]:
    too_long = f"{what} is longer than {most:,} characters, the limit of {setting}"
    try:
        value, after = scanstring(text, at + 1, True)
    except JSONDecodeError as error:
        if not error.msg.startswith("Unterminated"):
            raise Misplaced(error.pos, error.msg.removesuffix(" at")) from None
        if len(text) - at > 12 * most + 2:  # the longest way to write a character is a pair of \u escapes
            raise Misplaced(at, too_long) from None
        raise Incomplete from None
    if len(value) > most:
        raise Misplaced(at, too_long)
    if not value.isascii() and _SURROGATE.search(value):
        raise Misplaced(at, f"{what} has half of a surrogate pair, which is not a character")
    return value, after


def _read_value(text: str, at: int, limits: JsonLimits) -> tuple[Any, int]:
    mark = text[at : at + 1]
    if mark == '"':
        return _read_string(text, at, limits.cell_characters, "a text", "RECORDS_MAX_CELL_MB")
    if mark in ("[", "{"):
        after = _skip_nested(text, at, limits)
        return nested_value(text[at : min(after, at + 200)]), after
    written, after = _read_scalar(text, at, limits)
    return (_WORDS[written] if written in _WORDS else number_text(written)), after


def _read_scalar(text: str, at: int, limits: JsonLimits) -> tuple[str, int]:
    found = _SCALAR.match(text, at)
    if not found:
        raise _wrong(text, at, "a value is expected")
    if found.end() == len(text):
        raise Incomplete
    if found.end() - at > limits.cell_characters:
        raise Misplaced(
            at, f"a number is longer than {limits.cell_characters:,} characters, the limit of RECORDS_MAX_CELL_MB"
        )
    return found[0], found.end()


def _skip_nested(text: str, at: int, limits: JsonLimits) -> int:
    """Returns the position after an array or object. All of it is checked, but a name may come twice."""
    ends: list[str] = []  # the closing brackets of all that are open
    expect: Literal["value", "value or end", "name", "name or end", "next"] = "value"
    while True:
        may_nest = len(ends) + 1 < limits.depth
        if may_nest and ends[-1:] == ["]"] and expect != "next" and (run := _ELEMENTS.match(text, at)):
            at = run.end()
            expect = "value"
            continue
        at = skip_space(text, at)
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
                raise Misplaced(at, f"brackets are more than {limits.depth} deep, the limit of RECORDS_MAX_DEPTH")
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
                _, at = _read_string(text, at, limits.cell_characters, "a text", "RECORDS_MAX_CELL_MB")
            else:
                _, at = _read_scalar(text, at, limits)
            expect = "next"


def skip_space(text: str, at: int) -> int:
    """Returns the position of the next character that is not white space, or the end."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _wrong(text: str, at: int, expected: str) -> Misplaced | Incomplete:
    return Misplaced(at, f"{expected}, not {shown(text[at])}") if at < len(text) else Incomplete()


def shown(text: str) -> str:
    """Returns the text for a message: in quotation marks, in ASCII, and not too long."""
    return ascii(abbreviated(text))


def abbreviated(text: str) -> str:
    """Returns the text, or its first 59 characters."""
    return text if len(text) <= 60 else text[:59] + "…"
