"""Text for pages: hidden characters are shown by name, and long texts lose their middle."""

import unicodedata
from dataclasses import dataclass

from markupsafe import Markup, escape

from schemas.characters import JOINERS, SELECTORS, is_unseen

LONGEST = 300
"""Characters of a value that a page shows. Of a longer value it leaves out the middle."""

_HEAD, _TAIL = 180, 100
_CONTROLS = {
    **dict(enumerate((
        "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
        "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
    ))),
    0x7F: "DEL",
}  # fmt: skip
"""Short names of control characters. Few fonts draw Unicode's pictures of them."""


class Excerpt(str):
    """The beginning and the end of a long text. `length` counts the characters of the whole text."""

    __slots__ = ("length",)
    length: int

    @classmethod
    def of(cls, text: str) -> str:
        """Returns a short text as it is, and an excerpt of a text that a page would shorten anyway."""
        return text if len(text) <= 2 * LONGEST else cls.joined(f"{text[:LONGEST]}…{text[-LONGEST:]}", len(text))

    @classmethod
    def joined(cls, text: str, length: int) -> "Excerpt":
        """Returns the excerpt that has this text."""
        excerpt = cls(text)
        excerpt.length = length
        return excerpt


@dataclass(frozen=True)
class _Character:
    """What a page shows in place of a character that hides, moves others or looks like another one."""

    shown: str
    name: str


def as_html(text: str) -> Markup:
    """Returns the text as HTML: escaped, shortened, and with every character visible."""
    if len(text) <= LONGEST and text.isascii() and text.isprintable() and text == text.strip(" "):
        return escape(text)  # most texts; one character at a time takes 50 times as long
    pieces = [
        escape(piece)
        if isinstance(piece, str)
        else Markup('<span class="char" title="{}">{}</span>').format(piece.name, piece.shown)
        for piece in _visible(text)
    ]
    if len(pieces) > LONGEST:
        length = text.length if isinstance(text, Excerpt) else len(text)
        left_out = Markup('<span class="cut">… {} characters, the middle left out …</span>').format(f"{length:,}")
        pieces = [*pieces[:_HEAD], left_out, *pieces[-_TAIL:]]
    return Markup("").join(pieces)


def as_text(text: str) -> str:
    """Returns the same as `as_html`, as plain text for places that hold no elements."""
    shown = [piece if isinstance(piece, str) else piece.shown for piece in _visible(text)]
    return "".join(shown if len(shown) <= LONGEST else [*shown[:_HEAD], "…", *shown[-_TAIL:]])


def _visible(text: str) -> list[str | _Character]:
    """Returns the text's characters one by one, the hidden ones replaced.

    Three kinds stay as they are: what draws something; a space between two other characters; a joiner or variation
    selector behind a character that is not ASCII, as emoji and some scripts need.
    """
    if len(text) > 2 * LONGEST:  # the page leaves the middle out, so a value of megabytes stays cheap
        return [*_visible(text[:LONGEST]), *_visible(text[-LONGEST:])]
    first, last = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    pieces: list[str | _Character] = []
    for i, character in enumerate(text):
        before = pieces[-1] if pieces else None
        if character == " ":
            inside = first <= i < last
            pieces.append(character if inside else _Character("SP", "U+0020 SPACE"))
        elif character in JOINERS or character in SELECTORS:
            after_selector = isinstance(before, str) and before in SELECTORS and character in JOINERS
            joins = isinstance(before, str) and not before.isascii() and before not in JOINERS + SELECTORS
            pieces.append(character if joins or after_selector else _replaced(character))
        elif is_unseen(character):
            pieces.append(_replaced(character))
        else:
            pieces.append(character)
    return pieces


def _replaced(character: str) -> _Character:
    code = ord(character)
    name = f"U+{code:04X} {unicodedata.name(character, '')}".rstrip()
    return _Character(_CONTROLS.get(code, f"U+{code:04X}"), name)
