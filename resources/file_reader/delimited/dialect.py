"""The dialect of delimited text, detected before any value is read."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import InvalidRequest

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SAMPLE_RECORDS = 1_000
_ESCAPED = re.compile(r'(?:^|[,;\t|\r\n])"(?:[^"\\]|\\.)*\\"[^,;\t|\r\n"]', re.DOTALL)


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quotation mark, escape character, and lines above the header.

    Without an escape character, a quotation mark inside a field is doubled.
    """

    delimiter: str
    quote: str
    escape: str | None
    skipped_lines: int
    sure: str

    @property
    def delimiter_name(self) -> str:
        """The delimiter in words."""
        return _DELIMITERS.get(self.delimiter, repr(self.delimiter))

    def reader(self, lines: Iterable[str]) -> "csv._reader":  # type: ignore[name-defined]
        """Returns Python's parser for this dialect, in strict mode."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


def check_delimiter(delimiter: str) -> str:
    """Returns the delimiter; the tab may be written as `tab`, or as in C. Raises InvalidRequest if it cannot be one."""
    known = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(known) != 1 or known in "\r\n\"'" or ord(known) > 127:
        raise InvalidRequest(f"{delimiter!r} cannot be a delimiter.", "Give one character, as ; or |, or tab.")
    return known


def detect_dialect(text: str, given: str | None, *, whole: bool) -> Dialect:
    """Returns the dialect of a file that begins with a text. `whole`: the text is the whole file."""
    lines = list(io.StringIO(text, newline=""))
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    escape = _escape(text)
    first = lines[0].strip("\r\n") if lines else ""
    if first[:4].lower() == "sep=" and len(first) == 5:
        return Dialect(given or first[4], '"', escape, 1, "certain: the file says so")
    quote = "'" if '"' not in text and _single_quoted(lines) else '"'
    tried = [_Tried.of(lines, Dialect(it, quote, escape, 0, "")) for it in ([given] if given else _DELIMITERS)]
    best = max(tried, key=lambda it: (it.share, -it.skipped_lines))  # of equals the one with the fewest skipped lines
    if best.share == 0.0:
        return Dialect(given or ",", quote, escape, 0, "as you said" if given else "there is one column")
    sure = "as you said" if given else f"{best.share:.0%} of the first records have as many fields as the header"
    return Dialect(best.delimiter, quote, escape, best.skipped_lines, sure)


@dataclass(frozen=True)
class _Tried:
    """A delimiter tried on the beginning of a file. `share` of the records are as wide as the header."""

    delimiter: str
    share: float
    skipped_lines: int

    @classmethod
    def of(cls, lines: list[str], dialect: Dialect) -> "_Tried":
        """Tries the delimiter of a dialect.

        The header is the first record with a field after the first that is not empty. Lines above it are skipped if
        some record is as wide as the header. A header that is narrower than the records stays the header: the user
        should see that.
        """
        rows = _rows(lines, dialect)
        header = next((i for i, (_, row) in enumerate(rows) if len(row) > 1 and any(row[1:])), None)
        width = 0 if header is None else len(rows[header][1])
        agreeing = sum(len(row) == width for _, row in rows[header:])
        if header is None or (header > 0 and agreeing < 2):
            return cls(dialect.delimiter, 0.0, 0)
        share = agreeing / (len(rows) - header)
        return cls(dialect.delimiter, share, rows[header][0] - 1 if header else 0)


def _rows(lines: list[str], dialect: Dialect) -> list[tuple[int, list[str]]]:
    """Returns the first records with the lines on which they begin, up to one that cannot be parsed."""
    reader = dialect.reader(io.StringIO("".join(lines[:_SAMPLE_RECORDS]), newline=""))
    rows = []
    line = 1
    try:
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error:  # the sample ends inside a quoted field, or the real parse will report the error
        pass
    return rows


def _escape(text: str) -> str | None:
    """Returns a backslash if one escapes a quotation mark inside a quoted field, else None."""
    return "\\" if _ESCAPED.search(text) else None


def _single_quoted(lines: list[str]) -> bool:
    return any(
        line.lstrip().startswith("'") and line.rstrip("\r\n").endswith("'") and line.count("'") >= 4
        for line in lines[:20]
    )
