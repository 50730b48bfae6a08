"""Rows of parts that are Parquet files, read a few thousand at a time; and how they are written as one Parquet file."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROW_GROUP = 30_000


def write_parquet(parts: Iterator[Path], path: Path) -> None:
    """Write the rows of all parts in row groups of the same size, compressed with Zstandard."""
    first, parts = first_of(parts)
    with pq.ParquetWriter(path, schema_of(first), compression="zstd") as writer:
        for batch in batches(parts, _ROW_GROUP):
            writer.write_batch(batch)


def first_of(parts: Iterator[Path]) -> tuple[Path, Iterator[Path]]:
    """Return the first part, and an iterator of all parts."""
    first = next(parts)
    return first, chain([first], parts)


def schema_of(part: Path) -> pa.Schema:
    """Return the columns of a part. All parts of an export have the same."""
    with pq.ParquetFile(part) as file:
        return file.schema_arrow


def batches(parts: Iterator[Path], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the parts, so many at a time."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(rows)
