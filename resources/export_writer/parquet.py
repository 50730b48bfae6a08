"""Parquet from parts that are Parquet: the same row groups in every run."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.export_writer.parts import part_path
from resources.export_writer.plan import ExportPlan


def write_parquet(plan: ExportPlan, path: Path) -> None:
    """The file has the rows of all parts, in row groups of some ten thousands, packed with Zstandard."""
    with pq.ParquetWriter(path, schema_of(plan), compression="zstd") as writer:
        for batch in batches(plan):
            writer.write_batch(batch)


def schema_of(plan: ExportPlan) -> pa.Schema:
    """The columns of the parts."""
    with pq.ParquetFile(part_path(plan, 0)) as first:
        return first.schema_arrow


def batches(plan: ExportPlan, rows: int = 30_000) -> Iterator[pa.RecordBatch]:
    """The rows of all parts, so many at a time."""
    for number in range(len(plan.parts)):
        with pq.ParquetFile(part_path(plan, number)) as part:
            yield from part.iter_batches(rows)
