"""The dialect of delimited text, and Python's parser for it."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import InvalidRequest

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", " ": "space"}
_WRITTEN = {"\\t": "\t", "tab": "\t", "space": " "}


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quotation mark, escape character, and lines above the header.

    A quotation mark inside a field is doubled. With an escape character, it may also be escaped: a backslash escapes a
    quotation mark or a backslash, and stays as it is before any other character. `skips_space`: spaces before a field
    are no part of it.
    """

    delimiter: str
    quote: str
    escape: str | None
    skipped_lines: int
    sure: str
    skips_space: bool = False

    @property
    def delimiter_name(self) -> str:
        """The delimiter in words."""
        return _NAMES.get(self.delimiter, repr(self.delimiter))

    def reader(self, lines: Iterable[str]) -> "csv._reader":  # type: ignore[name-defined]
        """Returns Python's parser for this dialect, in strict mode."""
        return csv.reader(
            map(self._with_whole_escapes, lines) if self.escape else lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=True,  # without it the parser is not strict about what follows a closing mark
            skipinitialspace=self.skips_space,
            strict=True,
        )

    def for_arrow(self, data: bytes) -> bytes:
        """Returns whole records in UTF-8 as Arrow must get them: without the spaces, and with whole escapes."""
        if self.escape:
            data = self._with_whole_escapes(data.decode()).encode()
        if self.skips_space:
            quote, delimiter = re.escape(self.quote), re.escape(self.delimiter)
            inside = rf"[^{quote}\\]|{quote}{quote}|\\." if self.escape else f"[^{quote}]|{quote}{quote}"
            field = rf"((?:\A|{delimiter}|\r\n?|\n)) *({quote}(?:{inside})*{quote}|[^{delimiter}\r\n]*)"
            data = re.sub(field.encode(), rb"\1\2", data, flags=re.DOTALL)
        return data

    def loose_escapes(self, text: str) -> int:
        """Returns how many backslashes stand before a character that needs no escape."""
        return sum(it == "\\" for it in re.findall(self._uses, text)) if self.escape else 0

    @property
    def _uses(self) -> str:
        return rf"\\[\\{self.quote}]|\\"

    def _with_whole_escapes(self, text: str) -> str:
        """Returns the text with each backslash doubled that escapes neither a quotation mark nor a backslash."""
        return re.sub(self._uses, lambda use: use[0].ljust(2, "\\"), text) if "\\" in text else text


def check_delimiter(delimiter: str) -> str:
    """Returns the delimiter; the tab may be written as `tab`, or as in C. Raises InvalidRequest if it cannot be one."""
    known = _WRITTEN.get(delimiter, delimiter)
    if len(known) != 1 or known in "\r\n\"'" or ord(known) > 127:
        raise InvalidRequest(f"{delimiter!r} cannot be a delimiter.", "Give one character, as ; or |, or tab.")
    return known


def written(delimiter: str) -> str:
    """Returns the delimiter as a user writes it in an option."""
    return {"\t": "tab", " ": "space"}.get(delimiter, delimiter)
