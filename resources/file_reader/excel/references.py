"""Names of columns and cells."""

import re
from functools import cache

LAST_COLUMNS = 16_384
"""The number of columns in Excel."""


@cache
def column_names(columns: int) -> list[str]:
    """Returns the names of so many columns: A, B, … Z, AA and so on."""
    names: list[str] = []
    for number in range(1, columns + 1):
        name = ""
        while number:
            number, letter = divmod(number - 1, 26)
            name = chr(65 + letter) + name
        names.append(name)
    return names


def column_number(letters: str) -> int:
    """Returns the number of a column, from 1."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


parse_reference = re.compile(r"([A-Za-z]{1,3})0*([0-9]{1,9})", re.ASCII).fullmatch
"""Matches the column and row of a cell's reference."""
