"""A published export looked at once more: whether it is what its manifest says, and how it begins."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from resources.export_writer.parts import sha256_of
from resources.file_reader import FileReader, ReadOptions
from resources.record_store import AccountRecords
from resources.record_store.export_source import Selection
from schemas.errors import RecordsError
from schemas.exports import ExportFormat, ExportManifest
from schemas.filters import parse_filter, parse_order
from schemas.masking import MASK
from schemas.record_type import RecordType

_PREVIEWED = 10


@dataclass(frozen=True)
class Inspection:
    """What was found of an export. None: it could not be found out any more, for the snapshot or the file is gone.

    `counted` are the records of the snapshot, `sha256` is that of the file now, and `read_back` the records in it;
    `unreadable` says why it cannot be read.
    """

    counted: int | None
    sha256: str | None
    read_back: int | None
    unreadable: str = ""


def inspect(records: AccountRecords, record_type: RecordType, manifest: ExportManifest) -> Inspection:
    """The export as it is found now: its records counted in the snapshot, its file hashed and read to the end."""
    try:
        with records.export_source(selection_of(record_type, manifest)) as source:
            counted: int | None = source.count()
    except (RecordsError, duckdb.Error):  # the snapshot is not kept any more
        counted = None
    try:
        with records.files.fetched(manifest.path) as path:
            sha256 = sha256_of(path)
            try:
                return Inspection(counted, sha256, _read_back(path, manifest))
            except (RecordsError, duckdb.Error) as error:
                return Inspection(counted, sha256, None, type(error).__name__)
    except FileNotFoundError:
        return Inspection(counted, None, None)


def preview_of(records: AccountRecords, record_type: RecordType, manifest: ExportManifest) -> list[dict[str, str]]:
    """The first records of an export as texts, values of personal fields masked; none when the snapshot is gone."""
    personal = {field.name for field in record_type.fields if field.personal}
    selection = selection_of(record_type, manifest)
    try:
        with records.export_source(selection) as source:
            rows = source.first(_PREVIEWED)
    except (RecordsError, duckdb.Error):
        return []
    return [
        {
            name: "" if value is None else MASK if name in personal else str(value)
            for name, value in zip(selection.written, row, strict=True)
        }
        for row in rows
    ]


def masked_manifest(record_type: RecordType, manifest: ExportManifest) -> dict[str, Any]:
    """What the manifest says, with values masked that its filters compare personal fields with."""
    told = manifest.to_dict()
    if manifest.request is not None:
        filters = [parse_filter(text, record_type) for text in manifest.request.filters]
        told["request"]["filters"] = [
            f"{each.field} {each.operator} {MASK}" if record_type.field(each.field).personal else text
            for each, text in zip(filters, manifest.request.filters, strict=True)
        ]
    return told


def selection_of(record_type: RecordType, manifest: ExportManifest) -> Selection:
    """What an export that is published has selected."""
    request = manifest.request
    return Selection(
        record_type=record_type,
        columns=tuple(name for name in manifest.columns if name in record_type.field_names),
        order=parse_order(() if request is None else request.order_by, record_type),
        filters=tuple(parse_filter(text, record_type) for text in (() if request is None else request.filters)),
        snapshot=manifest.snapshot,
        since=manifest.since,
        full=manifest.full,
    )


def _read_back(path: Path, manifest: ExportManifest) -> int:
    """How many records the file has, each of them read: by DuckDB where it can, which is fast, else by our import."""
    request, kind = manifest.request, ExportFormat(manifest.format)
    if kind is ExportFormat.EXCEL:
        return sum(_read_by_us(path, ReadOptions(sheet=sheet)) for sheet in _sheets(path))
    if kind is ExportFormat.PARQUET:
        return _count(path, manifest, "read_parquet(?)")
    encoding = "utf-8" if request is None else request.encoding
    if kind is ExportFormat.CSV and encoding.startswith("utf-8") and (request is None or request.packing is None):
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in manifest.columns)
        options = "auto_detect = false, strict_mode = true, header = true, quote = '\"', escape = '\"'"
        delimiter = "," if request is None else request.delimiter
        with suppress(duckdb.Error):  # it takes no line of more than 2 MB
            return _count(path, manifest, f"read_csv(?, {options}, delim = '{delimiter}', columns = {{{columns}}})")
    return _read_by_us(path, ReadOptions(encoding=encoding if kind is ExportFormat.CSV else None))


def _sheets(path: Path) -> Sequence[str | None]:
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    try:
        return book.sheetnames
    finally:
        book.close()


def _read_by_us(path: Path, options: ReadOptions) -> int:
    """The records that our import reads in the file."""
    with FileReader(path, options) as reader:
        for chunk in reader.chunks():
            if chunk.malformed:
                raise RecordsError("A record of an export has another number of fields than its header.")
        return reader.read


def _count(path: Path, manifest: ExportManifest, reader: str) -> int:
    """How many records DuckDB reads in the file, and every value of them."""
    values = " + ".join(f'count("{name}") * 0' for name in manifest.columns)
    with duckdb.connect(config={"memory_limit": "256MB", "enable_external_file_cache": "false"}) as connection:
        row = connection.execute(f"SELECT count(*) + {values} FROM {reader}", [str(path)]).fetchone()
        return int(row[0]) if row else 0
