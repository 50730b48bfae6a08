"""CSV as in RFC 4180, in several encodings and with several delimiters."""

import csv
import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import duckdb

from resources.export_writer.formats.counting import count_by_duckdb, count_by_import
from resources.export_writer.formats.encodings import (
    byte_order_mark,
    encode,
    is_utf8,
    transcode,
)
from resources.export_writer.formats.text_format import TextFormat, rewrite
from resources.export_writer.plan import ExportPlan
from resources.file_reader import ReadOptions
from resources.record_store.export_source import ExportSource
from schemas.exports import ExportManifest, ExportRequest


class Csv(TextFormat):
    """CSV: a header row, then a row for each record."""

    name = "csv"
    suffixes = (".csv",)
    options = frozenset({"packing", "encoding", "delimiter"})
    part_rows = 340_000

    def checked(self, request: ExportRequest) -> ExportRequest:
        """Escape formulas unless the request is raw."""
        return replace(request, escaped=not request.raw)

    def header(self, plan: ExportPlan) -> bytes:
        """Return the names of the columns, after the byte order mark if the encoding has one."""
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=plan.request.delimiter).writerow(plan.selection.written)
        return byte_order_mark(plan.request.encoding) + encode(line.getvalue(), plan.request.encoding)

    def write_lines(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write a row for each record. Raises RecordsError for a character that the encoding does not have."""
        request, columns, before = plan.request, plan.selection.written, plan.rows_before(number)
        rows = source.write_csv(plan.parts[number].range, path, request.delimiter, plan.escaped)
        if not is_utf8(request.encoding):
            rewrite(path, lambda target: transcode(path, target, request.encoding, request.delimiter, columns, before))
        return rows

    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Count with DuckDB where it can read the file, because it is fast; otherwise with our own import."""
        request = manifest.request or ExportRequest(manifest.account, manifest.record_type)
        if is_utf8(request.encoding) and request.packing is None:
            columns = ", ".join(f"'{name}': 'VARCHAR'" for name in manifest.columns)
            options = "auto_detect = false, strict_mode = true, header = true, quote = '\"', escape = '\"'"
            reader = f"read_csv(?, {options}, delim = '{request.delimiter}', columns = {{{columns}}})"
            with suppress(duckdb.Error):  # it reads no line longer than 2 MB
                return count_by_duckdb(path, manifest.columns, reader)
        return count_by_import(path, ReadOptions(encoding=request.encoding))
