"""Parquet files."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.options import ReadLimits
from schemas.reading import ReadOptions


class Parquet(Format):
    """A Parquet file."""

    name = "parquet"
    suffixes = (".parquet",)
    time_zone = "UTC"

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file begins as Parquet does."""
        return candidate.start.startswith(b"PAR1")

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens a Parquet file; it needs no options."""
        from resources.file_reader.parquet import ParquetFile, ParquetLimits

        return ParquetFile(path.open("rb"), name, limits=ParquetLimits.of(limits))

    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> AbstractContextManager[RowWriter]:
        """Writes a Parquet file; every column is text."""
        from resources.file_reader.parquet.rejects import RejectsParquet

        return RejectsParquet(path, headers)
