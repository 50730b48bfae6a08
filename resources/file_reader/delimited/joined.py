"""Finds records of several lines that may be several records, joined by stray quotation marks."""

from collections.abc import Sequence

from resources.file_reader.delimited.dialect import Dialect
from resources.file_reader.delimited.header import are_alike, is_typed


def are_several(lines: Sequence[str], dialect: Dialect, width: int) -> bool:
    """Returns whether the lines of one record may be several records.

    Then a line inside a value has as many delimiters as the header, and no space after them, as sentences have. Its
    fields are like those of the first line. The last line counts if the first one is wide enough for a record too. With
    one delimiter in a line, a number or a date must begin it.
    """
    first, *others = (_fields(line, dialect) for line in lines)
    if not others or width < 2 or (width == 2 and not is_typed(first[0])):
        return False
    if len(first) < width:
        others = others[:-1]
    if len(first) != width:  # delimiters are inside values: only the fields before the first mark are sure
        first = lines[0].partition(dialect.quote)[0].split(dialect.delimiter)[:-1]
    return any(
        len(fields) == width and not any(field[:1] == " " for field in fields[1:]) and are_alike(first, fields)
        for fields in others
    )


def _fields(line: str, dialect: Dialect) -> list[str]:
    """Returns the fields of a line as if it had no quotation marks."""
    return line.strip("\r\n").replace(dialect.quote, "").split(dialect.delimiter)
