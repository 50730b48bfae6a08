"""Delimited text: CSV, TSV and the like."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.options import ReadLimits
from schemas.reading import ReadOptions


class Delimited(Format):
    """Lines of fields. Every file that no other format recognises is read as this one."""

    name = "delimited"
    suffixes = (".csv", ".tsv", ".tab", ".txt")
    options = ("encoding", "delimiter", "decimal", "header_row", "short_rows")
    escapes_formulas = True

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file is anything but an archive."""
        return not candidate.is_archive

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens a file in the dialect that the options name, or that is detected."""
        from resources.file_reader.delimited import DelimitedFile

        return DelimitedFile(path, name, options, limits)

    def first_rows(self, opened: OpenedFile) -> Sequence[tuple[int, Sequence[str]]]:
        """Returns the first lines."""
        from resources.file_reader.delimited import DelimitedFile

        return opened.first_rows() if isinstance(opened, DelimitedFile) else []

    @contextmanager
    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> Iterator[RowWriter]:
        """Writes text with the delimiter and in the encoding of the file that has the records."""
        delimiter = used.delimiter or ","
        with path.open("w", encoding=_rejects_encoding(used), newline="") as file:
            # A quotation mark in the header says that ' is none.
            csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerow(headers)
            yield csv.writer(file, delimiter=delimiter)

    def note(self, text: str, used: ReadOptions) -> str:
        """Returns the text with an escape in place of each character that the encoding does not have."""
        encoding = _rejects_encoding(used)
        return text.encode(encoding, "backslashreplace").decode(encoding)


def _rejects_encoding(used: ReadOptions) -> str:
    """Returns the encoding of the file, with a byte order mark if it has one.

    By the mark, a spreadsheet knows UTF-8, and the import knows UTF-16 and UTF-32.
    """
    name = codecs.lookup(used.encoding or "utf-8").name
    if name.startswith(("utf-16", "utf-32")):
        return name[: len("utf-16")]
    return "utf-8-sig" if name in ("utf-8", "ascii") else name
