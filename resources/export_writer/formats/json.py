"""JSON: one array of objects."""

import os
from pathlib import Path

from resources.export_writer.formats.ndjson import Ndjson
from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource


class Json(Ndjson):
    """JSON: the objects of NDJSON in one array."""

    name = "json"
    suffixes = (".json",)

    def header(self, plan: ExportPlan) -> bytes:
        """Return the beginning of the array."""
        return b"[\n"

    def footer(self, plan: ExportPlan) -> bytes:
        """Return the end of the array."""
        return b"\n]\n" if plan.rows else b"]\n"

    def write_lines(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write an object for each record, and a comma after each but the last of the file."""
        rows = source.write_json(plan.parts[number].range, path, separator=",")
        if rows and number == len(plan.parts) - 1:
            os.truncate(path, path.stat().st_size - len(",\n"))
        return rows
