"""Number formats: which cells are dates."""

import re
from functools import cache
from typing import Literal

from resources.file_reader.excel.package import Package

Kind = Literal["number", "date", "time", "elapsed"]  # what a cell's numbers are

_BUILT_IN: dict[int, Kind] = {
    **dict.fromkeys((14, 15, 16, 17, 22, *range(27, 32), 36, *range(50, 59)), "date"),
    **dict.fromkeys((18, 19, 20, 21, *range(32, 36), 45, 47), "time"),
    46: "elapsed",
}
"""ECMA-376 part 1, 18.8.30; 27 to 36 and 50 to 58 are for East Asian languages."""

_NO_CODE = re.compile(r'"[^"]*"?|\\.|[_*].|\[(?!(?:h+|m+|s+)\])[^\]]*\]|AM/PM|A/P', re.IGNORECASE | re.DOTALL)
_ELAPSED = re.compile(r"\[[hms]+\]", re.IGNORECASE)


@cache
def _format_kind(code: str) -> Kind:
    """Returns what a custom number format shows, by its first section."""
    if code.lower() in ("general", "standard"):
        return "number"
    bare = _NO_CODE.sub("", code).split(";")[0].lower()
    if re.search("[yde]", re.sub(r"e[+-]", "", bare)) and not re.search(r"[0#?]e|general", bare):
        return "date"
    if _ELAPSED.search(bare):
        return "elapsed"
    if re.search("[hs]", bare):
        return "time"
    return "date" if "m" in bare else "number"


def style_kinds(package: Package, part: str) -> dict[str | None, Kind]:
    """Returns the kind of each cell style, as cells name it; {} if the workbook has no styles."""
    kinds: dict[str | None, Kind] = {}
    codes: dict[str, str] = {}
    formats: list[str] = []
    inside = False

    def check(count: int) -> None:
        if count >= package.limits.styles:
            raise package.unreadable(f"has more than {package.limits.styles:,} styles in {part}")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        if name == "numFmt":
            check(len(codes))
            codes.setdefault(attributes.get("numFmtId", ""), attributes.get("formatCode", ""))
        elif name == "xf" and inside:
            check(len(formats))
            formats.append(attributes.get("numFmtId", "0"))
        elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            inside = name == "cellXfs"

    if part:
        package.parse_small(part, start, "styleSheet")
    for style, number in enumerate(formats):
        known = _BUILT_IN.get(int(number), "number") if number.isdecimal() and len(number) < 10 else "number"
        kinds[str(style)] = _format_kind(codes[number][:1000]) if number in codes else known
    _format_kind.cache_clear()
    if kinds:
        kinds[None] = kinds[""] = kinds["0"]
    return kinds
