"""Delimited text: CSV, TSV and the like."""

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
    rejects_encoding = "utf-8-sig"  # by the byte order mark a spreadsheet knows that it is UTF-8
    numbers_are_text = True
    escapes_formulas = True

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file is anything but an archive."""
        return not candidate.is_archive

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens a file in the dialect that the options name, or that is detected."""
        from resources.file_reader.delimited import DelimitedFile

        return DelimitedFile(path, name, options, limits)

    @contextmanager
    def write_rejects(self, path: Path, headers: Sequence[str]) -> Iterator[RowWriter]:
        """Writes CSV with commas."""
        with path.open("w", encoding=self.rejects_encoding, newline="") as file:
            writer = csv.writer(file)
            writer.writerow(headers)
            yield writer
