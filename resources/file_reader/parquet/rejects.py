"""Rejected records as a Parquet file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

_CELLS = 1_000_000
"""Cells that are held in memory before they are written."""


class RejectsParquet:
    """A Parquet file that takes rows of text. A context manager: its end completes the file."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._schema = pa.schema([(header, pa.string()) for header in headers])
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[Sequence[str]] = []

    def writerow(self, row: Sequence[str]) -> None:
        """Writes one row."""
        self._rows.append(row)
        if len(self._rows) * len(row) >= _CELLS:
            self._write()

    def _write(self) -> None:
        columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows = []

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what is held, and completes the file."""
        if self._rows:
            self._write()
        self._writer.close()
