"""One part of an export: made once, however often it is asked for, by whichever process."""

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from resources.checksums import sha256_of
from resources.export_writer.encodings import transcode
from resources.export_writer.plan import ExportPlan, PlannedPart
from resources.file_storage import FileStorage, is_local
from resources.packing import pack
from resources.record_store.export_source import ExportSource
from schemas.errors import RecordsError, Unaccounted
from schemas.exports import ExportFormat

_EXCEL_CELL = 32_767
_NO_CELL = {
    "has a control character": r"regexp_matches(value, '[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]')",
    f"is longer than {_EXCEL_CELL:,} characters": f"strlen(value) > {_EXCEL_CELL} AND length(value) + "
    f"length(regexp_replace(value, '[^\\x{{10000}}-\\x{{10ffff}}]', '', 'g')) > {_EXCEL_CELL}",
}
"""Conditions on a text that no cell can hold; Excel counts a character beyond U+FFFF twice."""


@dataclass(frozen=True)
class Part:
    """A part as it was made: enough to know it again."""

    rows: int
    bytes: int
    sha256: str


def part_path(plan: ExportPlan, number: int) -> Path:
    """Where a part lies on this machine, once it is made or fetched."""
    return plan.work / f"{number:06}"


def share_part(plan: ExportPlan, number: int, files: FileStorage) -> None:
    """The part and its note, which were made on this machine, are where every process finds them."""
    if not is_local(plan.folder):
        path = part_path(plan, number)
        for file in (path, _note(path)):  # the note last: a part without one was never made
            files.put(file, plan.parts_folder / file.name)


def part_made(plan: ExportPlan, number: int, files: FileStorage) -> Part | None:
    """The part, if it was made, by whichever process, and is as it was made; it is on this machine then."""
    path = part_path(plan, number)
    if not is_local(plan.folder):
        plan.work.mkdir(parents=True, exist_ok=True)
        for file in (_note(path), path):
            with suppress(FileNotFoundError), files.fetched(plan.parts_folder / file.name) as fetched:
                os.replace(fetched, file)
    try:
        part = Part(**json.loads(_note(path).read_text("utf-8")))
        whole = path.stat().st_size == part.bytes and sha256_of(path) == part.sha256
    except (OSError, ValueError, TypeError):  # what a crash of the machine leaves is not there, empty or cut off
        return None
    return part if whole and part.rows == plan.parts[number].rows else None


def make_part(plan: ExportPlan, number: int, source: ExportSource) -> Part:
    """The part is on this machine, with a note beside it of its rows, bytes and sha256.

    Raises what `write_part` raises.
    """
    path = write_part(plan, number, source)
    part = Part(plan.parts[number].rows, path.stat().st_size, sha256_of(path))
    note = path.with_name(f".{path.name}.{secrets.token_hex(4)}.json")
    note.write_text(json.dumps(asdict(part)), encoding="utf-8")
    os.replace(note, _note(path))
    return part


def write_part(plan: ExportPlan, number: int, source: ExportSource) -> Path:
    """The part is on this machine, written under a name of this attempt's own and then renamed.

    Raises Unaccounted when it has another number of records than planned, RecordsError when it has a value that the
    format cannot carry.
    """
    planned, path = plan.parts[number], part_path(plan, number)
    attempt = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        rows = _write(plan, number, source, attempt)
        if rows != planned.rows:
            raise Unaccounted(
                f"Part {number + 1} of {plan.export_id} has {rows:,} records where {planned.rows:,} were planned.",
                "Nothing was published. This is a defect of records; please report it.",
            )
        os.replace(attempt, path)
    finally:
        for left in plan.work.glob(f"{attempt.name}*"):
            left.unlink()
    return path


def _write(plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
    request, planned = plan.request, plan.parts[number]
    match plan.format:
        case ExportFormat.CSV:
            rows = source.write_csv(planned.range, path, request.delimiter, request.escaped)
            if request.encoding not in ("utf-8", "utf-8-sig"):
                above = plan.rows_before(number)
                columns = plan.selection.written
                _replaced(
                    path, lambda other: transcode(path, other, request.encoding, request.delimiter, columns, above)
                )
        case ExportFormat.JSON | ExportFormat.NDJSON:
            is_array = plan.format is ExportFormat.JSON
            rows = source.write_json(planned.range, path, "," if is_array else "")
            if is_array and rows and number == len(plan.parts) - 1:
                os.truncate(path, path.stat().st_size - len(",\n"))  # nothing comes after the last record
        case ExportFormat.PARQUET | ExportFormat.EXCEL:
            if plan.format is ExportFormat.EXCEL:
                _require_excel(plan, number, planned, source)
            rows = source.write_parquet(planned.range, path)
    packing = request.packing
    if packing is not None:
        _replaced(path, lambda other: pack(path, other, packing))
    return rows


def _require_excel(plan: ExportPlan, number: int, planned: PlannedPart, source: ExportSource) -> None:
    """Every text of the part fits a cell, or RecordsError names the first one that does not."""
    found = source.find_text(planned.range, _NO_CELL)
    if found is not None:
        record = plan.rows_before(number) + found.record
        raise RecordsError(
            f"No cell of Excel can hold `{found.column}` of record {record:,}: it {found.what}.",
            "Export as csv, json or parquet, leave the column out, or filter the record out.",
            f"The record is {' · '.join(map(str, found.key))}.",
        )


def _replaced(path: Path, write: Callable[[Path], None]) -> None:
    """The file is what `write` makes of it at another path."""
    other = path.with_name(f"{path.name}.other")
    write(other)
    os.replace(other, path)


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
