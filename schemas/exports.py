"""Exports as values: requests and manifests."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.errors import InvalidRequest
from schemas.location import Location

CHANGE_COLUMN = "_change"
"""The column that an export of changes has besides the fields: created, updated or deleted.

It is `full` if the earlier snapshot has expired, so that all records are given.
"""
DELETED = "deleted"
CHANGES = frozenset({"created", "updated", DELETED, "full"})
"""The values of that column."""

EXPORT_PROPERTY = "records export"
"""The custom property of a workbook that holds the id of its export. Programs keep it when they save the workbook."""

SHEET_ROWS = 1_048_575
"""The most records of a worksheet: it has 1,048,576 rows, and the first one names the columns."""

_OWN_PARTS = 5
"""The last parts of the path of an export in the store: accounts/ACCOUNT/exports/EXPORT/NAME."""

_LISTS = ("columns", "filters", "order_by")


class Packing(StrEnum):
    """How a file of text is compressed."""

    GZ = "gz"
    ZST = "zst"


@dataclass(frozen=True)
class ExportRequest:
    """Records of one account and type to write to one file.

    columns: None means all, in the order of the type.
    preset: the name of a preset, which gives the columns.
    path: a file or folder. None means the account's export folder.
    format: the name of an output format.
    packing, encoding, delimiter, sheet_rows: options that only some formats have.
    filters: conditions that `schemas.filters` can read.
    order_by: fields, each with or without " desc" after it. Empty means the order of the key.
    as_of, changed_since: a timestamp, or the id of a batch or an export.
    raw: whether texts that a spreadsheet takes for formulas are written unchanged.
    escaped: whether such texts get a ' before them. The format decides this when the export is planned.
    part_rows: the number of records of a part. None means the number that suits the format.
    """

    account: str
    record_type: str
    columns: tuple[str, ...] | None = None
    preset: str | None = None
    path: Path | None = None
    format: str = "csv"
    packing: Packing | None = None
    filters: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    as_of: str | None = None
    changed_since: str | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    raw: bool = False
    escaped: bool = False
    part_rows: int | None = None
    sheet_rows: int = SHEET_ROWS

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a value that is wrong in every format."""
        if self.part_rows is not None and not self.part_rows >= 1:
            raise InvalidRequest(f"A part cannot have {self.part_rows:,} rows.", "Give 1 or more.")

    def to_dict(self) -> dict[str, Any]:
        """Return the request as values of JSON."""
        listed = {name: None if (value := getattr(self, name)) is None else list(value) for name in _LISTS}
        return asdict(self) | listed | {"path": None if self.path is None else str(self.path)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "ExportRequest":
        """Return the request from what `to_dict` returned."""
        # Older requests do not have `escaped`. CSV was the format in which formulas were escaped.
        values = {"escaped": saved["format"] == "csv" and not saved["raw"], **saved}
        for name in _LISTS:
            values[name] = None if values[name] is None else tuple(values[name])
        values["path"] = None if values["path"] is None else Path(values["path"])
        values["packing"] = None if values["packing"] is None else Packing(values["packing"])
        return cls(**values)


@dataclass(frozen=True)
class ExportManifest:
    """A published export: what is needed to check the file and to say where its records came from.

    since: the snapshot with which the records were compared, in an export of changes.
    full: whether that snapshot had expired, so that the file has all records.
    notes: sentences for people.
    versions: the versions of the software that wrote the file.
    """

    export_id: str
    account: str
    record_type: str
    actor: str
    at: datetime
    format: str
    columns: tuple[str, ...]
    snapshot: int
    snapshot_at: datetime
    rows: int
    bytes: int
    sha256: str
    path: Location
    run_id: str | None = None
    request: ExportRequest | None = None
    since: int | None = None
    full: bool = False
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def manifest_path(self) -> Location:
        """Returns the path of the manifest, which is beside the file."""
        return self.path.with_name(self.path.name + ".manifest.json")

    @property
    def rate(self) -> float | None:
        """Returns the records per second, from the plan to the published file."""
        return self.rows / self.seconds if self.seconds else None

    @property
    def text(self) -> str:
        """Returns the text of the manifest file."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def is_said_by(self, text: str) -> bool:
        """Returns whether the text of a manifest file in the store says the same.

        The store may have moved since it was written. A file of an earlier version may lack keys.
        """
        try:
            found = json.loads(text)
            path = str(found["path"])
        except (ValueError, KeyError, TypeError):
            return False
        if path.split("/")[-_OWN_PARTS:] != str(self.path).split("/")[-_OWN_PARTS:]:
            return False
        return _has_nothing_else(found, self.to_dict() | {"path": path, "manifest": f"{path}.manifest.json"})

    def to_dict(self) -> dict[str, Any]:
        """Return the keys that the command prints for an export, which are those of the manifest file."""
        return {
            "export_id": self.export_id,
            "status": "done",
            "account": self.account,
            "record_type": self.record_type,
            "actor": self.actor,
            "at": self.at.isoformat(),
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "path": str(self.path),
            "manifest": str(self.manifest_path),
            "format": self.format,
            "columns": list(self.columns),
            "snapshot": self.snapshot,
            "snapshot_at": self.snapshot_at.isoformat(),
            "since": self.since,
            "full": self.full,
            "seconds": self.seconds,
            "request": None if self.request is None else self.request.to_dict(),
            "notes": list(self.notes),
            "versions": dict(self.versions),
            "run_id": self.run_id,
            "url": None,
        }


def _has_nothing_else(found: Any, wanted: Any) -> bool:
    """Return whether two values of JSON are equal, apart from keys that the first one lacks."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() <= wanted.keys() and all(_has_nothing_else(found[key], wanted[key]) for key in found)
    return bool(found == wanted)
