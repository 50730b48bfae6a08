"""Texts that a spreadsheet would take for a formula (CWE-1236; OWASP ASVS 5 V1.2.10)."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def escape_formula(text: str) -> str:
    """The text as a spreadsheet shows it and does not compute it; a number stays a number.

    Any number of ' before one of = + - @, tab or CR becomes one more, so that `unescape_formula` undoes
    exactly this.
    """
    return "'" + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unescape_formula(text: str) -> str:
    """The text that `escape_formula` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
