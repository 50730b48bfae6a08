"""Parquet: typed columns, compressed with Zstandard."""

from collections.abc import Iterator
from pathlib import Path

from resources.checksums import sha256_of
from resources.export_writer.formats.counting import count_by_duckdb
from resources.export_writer.formats.export_format import ExportFormat, Placed, each_placed
from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource
from schemas.exports import ExportManifest


class Parquet(ExportFormat):
    """Parquet. Its parts are Parquet too, and their rows are encoded again so that every run gives the same bytes."""

    name = "parquet"
    suffixes = (".parquet",)
    file_ratio, part_ratio = 0.6, 0.8

    def write_part(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write the part as Parquet."""
        return source.write_parquet(plan.parts[number].range, path)

    def assemble(self, plan: ExportPlan, parts: Iterator[Path], path: Path, placed: Placed | None = None) -> str:
        """Write the rows of all parts to one file."""
        from resources.export_writer.formats.row_batches import write_parquet  # pyarrow takes 0.1 s to import

        write_parquet(each_placed(plan, parts, placed), path)
        return sha256_of(path)

    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Count with DuckDB."""
        return count_by_duckdb(path, manifest.columns, "read_parquet(?)")
