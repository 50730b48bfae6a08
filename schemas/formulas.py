"""Texts that a spreadsheet would take for a formula (CWE-1236; OWASP ASVS 5 V1.2.10).

A rule for each, as a regular expression that Python, Arrow and DuckDB read alike.
"""

import re

FORMULA = r"^'*[=+\-@\t\r]"
"""How a text begins that is taken for a formula, or was escaped."""
ESCAPED = r"^'('*[=+\-@\t\r])"
"""How an escaped text begins; the group is the same without the escape."""
NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
"""A number, which is never escaped. It matches the whole text."""


def escape_formula(text: str) -> str:
    """Returns the text so that a spreadsheet shows it and does not compute it. A number stays a number.

    Texts that begin with any number of ' and one of = + - @, tab or CR get one more '. So `unescape_formula` is its
    exact inverse.
    """
    return "'" + text if re.match(FORMULA, text) and not re.fullmatch(NUMBER, text) else text


def unescape_formula(text: str) -> str:
    """Returns the text that `escape_formula` was given."""
    return re.sub(ESCAPED, r"\1", text)
