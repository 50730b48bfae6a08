"""Reads records line by line where quotation marks are not as in RFC 4180, and goes on after each that is out of place.

Three counts must agree: Python's parser in strict mode, Arrow's, and a count in which every quotation mark toggles. The
last one differs where a delimiter is lost before a field in quotation marks: `2x"Boots, tall"`. Both parsers allow a
quotation mark inside a field without marks around it, as in `5" pipe`.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resources.file_reader.delimited.dialect import Dialect

TOO_LARGE = "field larger than field limit"  # the csv module's own message
_NEAR = 10
"""How many lines after a stray quotation mark are searched for the end of a value of several lines."""


@dataclass(frozen=True)
class LineRecord:
    """A record from the line `start` up to `stop`, as positions in a block.

    `fields` is None if its quotation marks are out of place.
    """

    start: int
    stop: int
    fields: list[str] | None


class LineReader:
    """Reads records from the lines of a block.

    final: the last record ends with the lines. Else the lines of an open record at the end are left unread.
    overlong: a record that is open at the end is longer than a record may be.
    """

    def __init__(self, lines: Sequence[str], dialect: Dialect, width: int, *, final: bool, overlong: bool) -> None:
        self._lines = lines
        self._dialect = dialect
        self._width = width
        self._final = final or overlong
        self._overlong = overlong
        self._at = 0

    def records(self) -> Iterator[LineRecord]:
        """Yields all records in order.

        Raises csv.Error if a field is larger than the limit, unless the line below looks like a record.
        """
        start, end = 0, len(self._lines)
        while start < end:
            self._at = start
            try:
                for fields in self._dialect.reader(self._feed()):
                    if self._at > start + 1 and len(fields) != self._width and self._is_record(start + 1):
                        break  # a stray mark has joined the record with others
                    yield self._checked(start, fields)
                    start = self._at
                else:
                    return
            except csv.Error as error:
                if "unexpected end" in str(error) and not self._final:
                    return
                if (self._overlong or "field larger" in str(error)) and not self._is_record(start + 1):
                    raise csv.Error(TOO_LARGE) from error
            if not self._final and start + _NEAR >= end:
                return  # the next lines decide how far it reaches
            stop = self._end_of_stray(start)
            yield from (LineRecord(line, line + 1, None) for line in range(start, stop))
            start = stop

    def _feed(self) -> Iterator[str]:
        while self._at < len(self._lines):
            self._at += 1
            yield self._lines[self._at - 1]

    def _checked(self, start: int, fields: list[str]) -> LineRecord:
        quote = self._dialect.quote
        if any(quote in field for field in fields):
            raw = "".join(self._lines[start : self._at])
            spaced = any(field[:1] == " " and is_marked(field.lstrip(" "), quote) for field in fields)
            if (spaced and f" {quote}" in raw) or has_lost_delimiter(raw, fields, self._dialect):
                return LineRecord(start, self._at, None)
        return LineRecord(start, self._at, fields)

    def _is_record(self, line: int) -> bool:
        """Returns whether a line alone is a record as wide as the header, with its quotation marks in place."""
        if line >= len(self._lines):
            return False
        text = self._lines[line]
        if self._dialect.quote not in text:
            return text.count(self._dialect.delimiter) == self._width - 1
        try:
            (fields,) = self._dialect.reader([text])
        except (csv.Error, ValueError):
            return False
        return len(fields) == self._width and self._is_even(line)

    def _is_even(self, line: int) -> bool:
        return _quotes(self._lines[line], self._dialect) % 2 == 0

    def _end_of_stray(self, start: int) -> int:
        """Returns the line after those that a stray quotation mark makes unsure.

        It is the next line, unless a value of several lines may have been opened: then some line close by has an odd
        number of quotation marks, and not all lines up to it are records.
        """
        odd = (line for line in range(start + 1, min(start + 1 + _NEAR, len(self._lines))) if not self._is_even(line))
        closing = next(odd, None)
        if closing is None:
            return start + 1
        between = range(start + 1, closing)
        if self._width > 2 and between and all(map(self._is_record, between)):
            return start + 1
        return closing + 1


def is_marked(text: str, quote: str) -> bool:
    """Returns whether a text stands in quotation marks."""
    return len(text) > 1 and text[0] == text[-1] == quote


def has_lost_delimiter(raw: str, fields: Sequence[str], dialect: Dialect) -> bool:
    """Returns whether a record has other fields if each of its quotation marks toggles."""
    if dialect.escape:
        raw = re.sub(r"\\.", "", raw, flags=re.DOTALL)
    parts = raw.split(dialect.quote)
    if len(parts) % 2:  # an even number of marks
        return sum(part.count(dialect.delimiter) for part in parts[::2]) + 1 != len(fields)
    if len(parts) == 2:
        return False
    bare = [field for field in _bare_fields(raw, dialect) if dialect.quote in field]
    return any(field.endswith(dialect.quote) for field in bare[1:])


def _bare_fields(raw: str, dialect: Dialect) -> Iterator[str]:
    """Yields the fields of a record that are not in quotation marks."""
    quote, delimiter = re.escape(dialect.quote), re.escape(dialect.delimiter)
    space = " *" if dialect.skips_space else ""
    field = rf"(?:^|{delimiter}){space}(?:{quote}(?:[^{quote}]|{quote}{quote})*{quote}|([^{delimiter}\r\n]*))"
    for found in re.finditer(field, raw):
        if found[1] is not None:
            yield found[1]


def _quotes(text: str, dialect: Dialect) -> int:
    """Returns the number of quotation marks in a text, without escaped ones."""
    if dialect.escape and "\\" in text:
        text = re.sub(r"\\.", "", text)
    return text.count(dialect.quote)
