"""Checks of a published export: whether the file is as its manifest says, and its first records."""

from dataclasses import dataclass
from typing import Any

import duckdb

from resources.checksums import sha256_of
from resources.export_writer.formats import format_named
from resources.record_store import AccountRecords
from resources.record_store.export_source import Selection
from schemas.errors import RecordsError
from schemas.exports import ExportManifest
from schemas.filters import parse_filter, parse_order
from schemas.masking import MASK
from schemas.record_type import RecordType

_PREVIEWED = 10


@dataclass(frozen=True)
class Inspection:
    """What was found of an export. A value is None if the snapshot or the file no longer exists.

    counted: the number of records in the snapshot.
    sha256: that of the file as it is now.
    read_back: the number of records read from the file.
    unreadable: the name of the error, if the file cannot be read.
    """

    counted: int | None
    sha256: str | None
    read_back: int | None
    unreadable: str = ""


def inspect(records: AccountRecords, record_type: RecordType, manifest: ExportManifest) -> Inspection:
    """Count the records of an export in its snapshot, hash its file, and read the file to the end."""
    try:
        with records.export_source(selection_of(record_type, manifest)) as source:
            counted: int | None = source.count()
    except (RecordsError, duckdb.Error):  # the snapshot has expired
        counted = None
    try:
        with records.files.fetched(manifest.path) as path:
            sha256 = sha256_of(path)
            try:
                return Inspection(counted, sha256, format_named(manifest.format).read_back(path, manifest))
            except (RecordsError, duckdb.Error) as error:
                return Inspection(counted, sha256, None, type(error).__name__)
    except FileNotFoundError:
        return Inspection(counted, None, None)


def preview_of(records: AccountRecords, record_type: RecordType, manifest: ExportManifest) -> list[dict[str, str]]:
    """Return the first records of an export as text, personal fields masked. Empty if the snapshot has expired."""
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
    """Return the manifest as a dictionary. Values that its filters compare personal fields with are masked."""
    shown = manifest.to_dict()
    if manifest.request is not None:
        filters = [parse_filter(text, record_type) for text in manifest.request.filters]
        shown["request"]["filters"] = [
            f"{each.field} {each.operator} {MASK}" if record_type.field(each.field).personal else text
            for each, text in zip(filters, manifest.request.filters, strict=True)
        ]
    return shown


def selection_of(record_type: RecordType, manifest: ExportManifest) -> Selection:
    """Return the selection of a published export."""
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
