"""Number formats: which cells are dates, and which numbers are shown in another way than they are stored."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from xml.parsers import expat

from resources.file_reader.excel.package import Package
from schemas.errors import UnreadableFile

Kind = Literal["number", "date", "time", "elapsed"]  # what a cell's numbers are

_BUILT_IN: dict[int, Kind] = {
    **dict.fromkeys((*range(14, 18), 22, *range(27, 32), 36, 50, 51, 54, 57, 58, *range(71, 75), 77, 81), "date"),
    **dict.fromkeys((*range(18, 22), *range(32, 36), 45, 47, 52, 53, 55, 56, 75, 76, 78, 80), "time"),
    **dict.fromkeys((46, 79), "elapsed"),
}
"""The formats that need no code (ECMA-376 part 1, 18.8.30).

27 to 36 and 50 to 58 are for East Asian languages, 71 to 81 for Thai. 34, 35, 52, 53, 55 and 56 show a date in one
language and a time in another. A time of day 1 or later is a date too, so they are times.
"""

_THAI = ("t0", "t0.00", "t#,##0", "t#,##0.00", "t0%", "t0.00%", "t# ?/?", "t# ??/??")
"""Built-in formats that show Thai digits."""
_BUILT_IN_CODES = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    37: "#,##0 ;(#,##0)",
    38: "#,##0 ;[Red](#,##0)",
    39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;[Red](#,##0.00)",
    48: "##0.0E+0",
    **dict(zip((*range(59, 63), *range(67, 71)), _THAI, strict=True)),
    **dict.fromkeys((*range(5, 9), *range(41, 45)), "currency"),  # that of the language of whoever opens the workbook
}
"""The codes of built-in formats of numbers. `General` (0) and `@` (49) show numbers as they are."""
_AS_STORED = ("", "general", "standard", "@")
_LONGEST = 256
"""The characters of a code that are kept: one more than Excel allows."""

_DEFAULT: dict[str | None, Kind] = dict.fromkeys((None, "", "0"), "number")
_NO_CODE = re.compile(r'"[^"]*"?|\\.|[_*].|\[(?!(?:h+|m+|s+)\])[^\]]*(?:\]|\Z)|AM/PM|A/P', re.IGNORECASE | re.DOTALL)
_ELAPSED = re.compile(r"\[[hms]+\]", re.IGNORECASE)


@cache
def _format_kind(code: str) -> Kind:
    """Returns what a custom number format shows, by its first section."""
    if code.lower() in ("general", "standard"):
        return "number"
    bare = _NO_CODE.sub("", code).split(";")[0].lower()
    if re.search("[ydeb]", re.sub(r"e[+-]", "", bare)) and not re.search(r"[0#?]e|general", bare):
        return "date"
    if _ELAPSED.search(bare):
        return "elapsed"
    if re.search("[hs]", bare):
        return "time"
    return "date" if "m" in bare else "number"


@dataclass(frozen=True)
class Styles:
    """The kind of each cell style, as cells name it. `fault` is a sentence if the number formats cannot be read.

    formats: for a style that may show a number in another way than it is stored, a place in `codes`.
    codes: the codes of number formats, such as 00000.
    """

    kinds: dict[str | None, Kind]
    fault: str = ""
    formats: dict[str | None, int] = field(default_factory=dict)
    codes: tuple[str, ...] = ()


def read_styles(package: Package, part: str) -> Styles:
    """Returns the styles of cells; without any but the default one if the part is '' or not XML.

    Formats count where cells refer to them. Those of differential styles (`dxfs`) are for conditional formatting only.
    """
    codes: dict[str, str] = {}
    formats: list[str] = []

    def check(count: int) -> None:
        if count >= package.limits.styles:
            raise package.unreadable(f"has more than {package.limits.styles:,} styles in {part}")

    def start(name: str, attributes: dict[str, str], section: str) -> None:
        if (section, name) == ("numFmts", "numFmt"):
            check(len(codes))
            codes.setdefault(attributes.get("numFmtId", ""), attributes.get("formatCode", ""))
        elif (section, name) == ("cellXfs", "xf"):
            check(len(formats))
            formats.append(attributes.get("numFmtId", "0"))

    if not part:
        return Styles(_DEFAULT, "The workbook has no part of styles, or its link to it is broken.")
    try:
        package.parse_small(part, start, "styleSheet")
    except UnreadableFile as error:
        if not isinstance(error.__cause__, expat.ExpatError):
            raise
        return Styles(_DEFAULT, f"The styles of the workbook are damaged: {part} is not XML.")
    kinds = dict(_DEFAULT)
    used: dict[str, int] = {}
    shown: dict[str | None, int] = {}
    for style, number in enumerate(formats):
        built_in = int(number) if number.isdecimal() and len(number) < 10 else 0
        code = codes[number][:1000] if number in codes else _BUILT_IN_CODES.get(built_in, "")
        kind = _format_kind(code) if number in codes else _BUILT_IN.get(built_in, "number")
        kinds[str(style)] = kind
        if kind == "number" and code.lower() not in _AS_STORED:
            shown[str(style)] = used.setdefault(code[:_LONGEST], len(used))
    _format_kind.cache_clear()
    kinds[None] = kinds[""] = kinds["0"]
    if "0" in shown:
        shown[None] = shown[""] = shown["0"]
    return Styles(kinds, "", shown, tuple(used))
