"""NDJSON: a JSON object in each line."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from resources.export_writer.formats.counting import count_by_import
from resources.export_writer.formats.text_format import TextFormat
from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource
from schemas.exports import ExportManifest


class Ndjson(TextFormat):
    """NDJSON: one object per line, in UTF-8."""

    name = "ndjson"
    suffixes: ClassVar[tuple[str, ...]] = (".ndjson", ".jsonl", ".json")

    def text_bytes(self, columns: Sequence[str], value_bytes: float) -> float:
        """Add the names of the columns, which every record repeats, to the estimate."""
        return super().text_bytes(columns, value_bytes) + sum(len(name) + 3 for name in columns)

    def write_lines(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write an object for each record."""
        return source.write_json(plan.parts[number].range, path, separator="")

    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Count with our own import."""
        return count_by_import(path)
