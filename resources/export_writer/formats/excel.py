"""Excel: a workbook of as many sheets as the records need."""

from collections.abc import Iterator
from pathlib import Path

from resources.checksums import sha256_of
from resources.export_writer.formats.counting import count_by_import
from resources.export_writer.formats.export_format import ExportFormat, Placed
from resources.export_writer.plan import ExportPlan
from resources.file_reader import ReadOptions
from resources.record_store.export_source import ExportSource
from schemas.errors import InvalidRequest, RecordsError
from schemas.exports import SHEET_ROWS, ExportManifest, ExportRequest

_CELL_CHARACTERS = 32_767
_NOT_A_CELL = {
    "has a control character after a text such as _x000B, which Excel would take for one": (
        r"regexp_matches(value, '_x[0-9A-Fa-f]{4}[\x00-\x08\x0b-\x1f\x{fffe}\x{ffff}]')"
    ),
    f"is longer than {_CELL_CHARACTERS:,} characters": f"strlen(value) > {_CELL_CHARACTERS} AND length(value) + "
    f"length(regexp_replace(value, '[^\\x{{10000}}-\\x{{10ffff}}]', '', 'g')) > {_CELL_CHARACTERS}",
}
"""SQL conditions for a text that no cell can hold. Excel counts a character beyond U+FFFF twice.

Other control characters are written as `_x000B_` and the like, which is how Excel spells them itself.
"""


class Excel(ExportFormat):
    """Excel. Its parts are Parquet, from which the workbook is written row by row."""

    name = "excel"
    suffixes = (".xlsx",)
    options = frozenset({"sheet_rows"})
    file_ratio, part_ratio = 0.6, 5.0  # every sheet is first written to a temporary file, uncompressed

    def checked(self, request: ExportRequest) -> ExportRequest:
        """Check the number of records of a sheet."""
        if not 1 <= request.sheet_rows <= SHEET_ROWS:
            raise InvalidRequest(
                f"A sheet cannot have {request.sheet_rows:,} records.", f"Give a number from 1 to {SHEET_ROWS:,}."
            )
        return request

    def write_part(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write the part as Parquet. Raises RecordsError for a text that no cell can hold."""
        found = source.find_text(plan.parts[number].range, _NOT_A_CELL)
        if found is not None:
            record = plan.rows_before(number) + found.record
            raise RecordsError(
                f"No cell of Excel can hold `{found.column}` of record {record:,}: it {found.what}.",
                "Export as csv, json, ndjson or parquet, which can. Or leave the column or the record out.",
                f"The record is {' · '.join(map(str, found.key))}.",
            )
        return source.write_parquet(plan.parts[number].range, path)

    def assemble(self, plan: ExportPlan, parts: Iterator[Path], path: Path, placed: Placed | None = None) -> str:
        """Write the rows of all parts to a workbook."""
        from resources.export_writer.formats.workbook import write_workbook  # numpy and pyarrow take 0.2 s to import

        write_workbook(plan, parts, path, placed)
        return sha256_of(path)

    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Count the records of every sheet with our own import."""
        import openpyxl

        book = openpyxl.load_workbook(path, read_only=True)
        try:
            sheets = book.sheetnames
        finally:
            book.close()
        return sum(count_by_import(path, ReadOptions(sheet=sheet)) for sheet in sheets)
