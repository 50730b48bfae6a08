"""Characters that a person cannot see in a text, or takes for others: found in columns, and shown by name.

Patterns are for Arrow, which finds a whole column's texts at once. It is imported only then: a report needs the names.
"""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters, marks and signs that draw nothing."""
JOINERS = "\u200c\u200d"
"""Emoji, Persian and the scripts of India need them to look right."""
SELECTORS = "".join(map(chr, [*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
"""They choose how the character before them looks."""
_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}

_SPACES = r"\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}"  # others than U+0020, and U+3000 between ideographs
_UNSEEN = rf"\p{{Cf}}\p{{Zl}}\p{{Zp}}{_SPACES}{BLANK}{SELECTORS}"

EDGE_SPACE = r"^[\s\p{Z}]|[\s\p{Z}]$"
"""White space of any kind at the beginning or the end of a text."""
INVISIBLE = rf"[{_UNSEEN}\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"
"""An invisible character, a space that is not U+0020, or a control character that is no tab or line break."""
WRONG_ENCODING = r"[\x{80}-\x{9F}]"
"""A control character that text only has if it was read in the wrong encoding."""

_IN_KEY = rf"{EDGE_SPACE}|[{_UNSEEN}\p{{Cc}}]"
_IN_PATTERN = f"{INVISIBLE}|{WRONG_ENCODING}"
_JOINED = rf"([^\x00-\x7F])[{SELECTORS}{JOINERS}]+"


def is_unseen(character: str) -> bool:
    """Returns whether a character draws nothing of its own, or a font has no picture of it. U+0020 is one."""
    return character in BLANK + SELECTORS or unicodedata.category(character) in _CATEGORIES


def without_joiners(texts: "pa.Array") -> "pa.Array":
    """Returns the texts without joiners and variation selectors that change how a character looks."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(texts, _JOINED, r"\1")


def unseen_in_keys(texts: "pa.Array") -> "pa.Array":
    """Returns the positions of texts with white space at an edge, an invisible or a control character (uint64)."""
    import pyarrow.compute as pc

    edges = pc.or_(pc.starts_with(texts, " "), pc.ends_with(texts, " "))
    suspect = _indices(pc.or_(edges, pc.invert(pc.ascii_is_printable(texts))))
    return _matching(texts, suspect, _IN_KEY)


def unseen_in_patterns(texts: "pa.Array") -> "pa.Array":
    """Returns the positions of texts with a character that a pattern for what is seen can miss (uint64)."""
    import pyarrow.compute as pc

    return _matching(texts, _indices(pc.invert(pc.ascii_is_printable(texts))), _IN_PATTERN, joiners=False)


def shown(text: str) -> str:
    """Returns the text with unseen characters shown: `K-1␣` for a space at an edge, `K-1[U+00A0]` for others."""
    first, last = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    return "".join(
        ("␣" if not first <= i < last else it) if it == " " else code_point(it) if is_unseen(it) else it
        for i, it in enumerate(text)
    )


def code_points(text: str) -> str:
    """Returns the text with the code of each character that is not ASCII: `Zo[U+00EB]`."""
    return "".join(it if it.isascii() else code_point(it) for it in text)


def code_point(character: str) -> str:
    """Returns the code of a character in brackets: `[U+00A0]`."""
    return f"[U+{ord(character):04X}]"


def _matching(texts: "pa.Array", rows: "pa.Array", pattern: str, *, joiners: bool = True) -> "pa.Array":
    import pyarrow.compute as pc

    if not len(rows):
        return rows
    suspects = texts.take(rows)
    return rows.filter(pc.match_substring_regex(suspects if joiners else without_joiners(suspects), pattern))


def _indices(which: "pa.Array") -> "pa.Array":
    import pyarrow.compute as pc

    return pc.indices_nonzero(pc.fill_null(which, False))
