"""Texts that a spreadsheet would take for a formula (CWE-1236; OWASP ASVS 5 V1.2.10).

A rule for each, as a regular expression that Python, Arrow and DuckDB read alike.
"""

import re

FORMULA = r"^'*[=+\-@\t\r]"
"""How a text begins that is taken for a formula, or was escaped."""
ESCAPED = r"^'('*[=+\-@\t\r])"
"""How an escaped text begins; the group is the same without the escape."""
NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
"""A number. It matches the whole text."""
PHONE = r"\+[0-9 ().\-]*([0-9)][ (]+[0-9]|\)[0-9]|\.[0-9]+\.)[0-9 ().\-]*"
"""A telephone number that no spreadsheet can compute: +44 20 7946 0000, +1 (555) 123-4567. It matches the whole text.

Somewhere in it two numbers stand side by side with no operator between them, or one number has two points. As a formula
that is an error of syntax, and Excel and LibreOffice then show the text as it is. Other texts of + and digits are sums:
they show +44-20-7946 as -7922, and +49 30/1234 as a fraction. No function runs there, so that is no attack. But the
program saves the number in place of the telephone number. So those texts are escaped.
"""
PLAIN = f"{NUMBER}|{PHONE}"
"""A text that begins like a formula, and is never escaped. It matches the whole text."""


def escape_formula(text: str) -> str:
    """Returns the text so that a spreadsheet shows it and does not compute it. A number stays a number.

    Texts that begin with any number of ' and one of = + - @, tab or CR get one more '. So `unescape_formula` is its
    exact inverse. Plain texts get none.
    """
    return "'" + text if re.match(FORMULA, text) and not re.fullmatch(PLAIN, text) else text


def unescape_formula(text: str) -> str:
    """Returns the text that `escape_formula` was given."""
    return re.sub(ESCAPED, r"\1", text)
