"""Text as Excel stores it."""

import re

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_NO_XML = r"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff"  # and CR, which XML reads as LF
_TO_ESCAPE = re.compile(rf"[{_NO_XML}]|_(?=x[0-9A-Fa-f]{{4}}[_{_NO_XML}])")  # after an _ of the text as well
ESCAPE = 7
"""Characters that one escaped character takes."""
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_REFERENCE = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def decode(text: str) -> str:
    """Returns the text with `_x000D_` and the like decoded (ECMA-376 part 1, 22.9.2.19)."""
    if "_x" not in text:
        return text
    decoded = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    if not re.search("[\ud800-\udfff]", decoded):
        return decoded
    paired = _SURROGATES.sub(lambda found: found[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), decoded)
    return re.sub(
        "[\ud800-\udfff]", lambda half: f"_x{ord(half[0]):04X}_", paired
    )  # half a surrogate pair stays escaped


def encode(text: str) -> str:
    """Returns the text as Excel stores it: characters that XML cannot carry as `_x000B_` and the like.

    `decode` is the inverse.
    """
    return _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def resolve(text: str) -> str | None:
    """Returns XML text with `&amp;` and the like decoded; None if it has any other reference."""
    plain = True

    def character(found: re.Match[str]) -> str:
        nonlocal plain
        if found[3]:
            return _NAMED[found[3]]
        code = int(found[1]) if found[1] else int(found[2], 16)
        plain &= code in (9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
        return chr(code) if plain else ""

    resolved, count = _REFERENCE.subn(character, text)
    return resolved if plain and count == text.count("&") else None
