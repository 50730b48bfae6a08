"""The plan of an export: which records of which snapshot go into which part. It is saved before the work begins."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from resources.checksums import checksum_of
from resources.file_storage import FileStorage, is_local, location, read, remove
from resources.record_store.export_source import Bound, Range, Selection
from schemas.errors import DamagedFile, NotFound
from schemas.exports import ExportRequest
from schemas.filters import parse_filter, parse_order, parse_value, value_text
from schemas.location import Location
from schemas.record_type import RecordType

PLAN = "plan.json"
EXPORT_ID = re.compile(r"e-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")


@dataclass(frozen=True)
class PlannedPart:
    """A range of the records, and the number of records in it."""

    range: Range
    rows: int


@dataclass(frozen=True)
class ExportPlan:
    """Everything needed to make an export or to complete it. Every process makes the same bytes of it.

    folder: the export's own folder, which every process can reach.
    work: the folder in which this process makes parts.
    path: where the file will be published.
    at: when the export was planned.
    escaped: the columns of which texts get a ' before them, each with the number of these texts.
    confined: the path was given in Dagster and not at a terminal, so it must lie in an allowed folder.
    """

    export_id: str
    request: ExportRequest
    actor: str
    at: datetime
    selection: Selection
    snapshot_at: datetime
    parts: tuple[PlannedPart, ...]
    folder: Location
    work: Path = field(compare=False)
    path: Location
    escaped: Mapping[str, int] = field(default_factory=dict)
    confined: bool = False

    @property
    def rows(self) -> int:
        """The number of records that the file will have."""
        return sum(part.rows for part in self.parts)

    @property
    def parts_folder(self) -> Location:
        """The folder in which every process finds the finished parts."""
        return self.folder / "parts"

    def part_path(self, number: int) -> Path:
        """Return the path of a part on this machine."""
        return self.work / f"{number:06}"

    def to_submitted(self, run_id: str, url: str) -> dict[str, Any]:
        """Return the keys that the command prints for an export that a Dagster run will make."""
        return {
            "export_id": self.export_id,
            "status": "submitted",
            "account": self.request.account,
            "record_type": self.selection.record_type.name,
            "actor": self.actor,
            "at": self.at.isoformat(),
            "rows": self.rows,
            "bytes": None,
            "sha256": None,
            "path": str(self.path),
            "manifest": None,
            "format": self.request.format,
            "columns": list(self.selection.written),
            "snapshot": self.selection.snapshot,
            "run_id": run_id,
            "url": url,
        }

    def rows_before(self, number: int) -> int:
        """Return the number of records before a part."""
        return sum(part.rows for part in self.parts[:number])

    def save(self, files: FileStorage) -> None:
        """Write the plan, whole or not at all, to the export's folder."""
        with files.making(_file(self.folder)) as partial:
            plan = json.dumps(self._to_dict(), ensure_ascii=False).encode()
            partial.write_bytes(f"{checksum_of([plan])}\n".encode() + plan)

    def clear(self) -> None:
        """Delete the parts and the plan, and the export's folder if nothing else is in it."""
        for place in (self.work, self.parts_folder, _file(self.folder)):
            remove(place)
        if is_local(self.folder):
            with suppress(OSError):  # the published file is in it
                self.folder.rmdir()

    def delete_local_parts(self) -> None:
        """Delete the copies of parts that belong to this process alone: those of an export in an object store."""
        if not is_local(self.folder):
            remove(self.work)

    @classmethod
    def load(cls, account: str, exports: Location, export_id: str, files: FileStorage) -> "ExportPlan":
        """Return the saved plan of an account's export. Raises NotFound if there is none."""
        folder = exports / export_id
        try:
            if not EXPORT_ID.fullmatch(export_id):  # a path could lead out of the folder
                raise FileNotFoundError
            saved = _read(_file(folder))
            if saved["request"]["account"] != account:  # another account's plan was copied here
                raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(
                f"There is no plan of an export {export_id!r}.",
                "It may have been deleted after 24 hours. Export again.",
            ) from None
        request = ExportRequest.from_dict(saved["request"])
        record_type = RecordType.from_json(saved["record_type"])
        selection = Selection(
            record_type=record_type,
            columns=tuple(saved["columns"]),
            order=parse_order(request.order_by, record_type),
            filters=tuple(parse_filter(text, record_type) for text in request.filters),
            snapshot=saved["snapshot"],
            since=saved["since"],
            full=saved["full"],
        )
        return cls(
            export_id=folder.name,
            request=request,
            actor=saved["actor"],
            at=datetime.fromisoformat(saved["at"]),
            selection=selection,
            snapshot_at=datetime.fromisoformat(saved["snapshot_at"]),
            parts=tuple(
                PlannedPart(Range(*(_bound(part[side], selection) for side in ("low", "high"))), part["rows"])
                for part in saved["parts"]
            ),
            folder=folder,
            work=working_folder(folder, files),
            path=location(saved["path"]),
            escaped=saved.get("escaped", dict.fromkeys(saved["columns"], 0)),  # in older plans it is not counted
            confined=saved.get("confined", True),  # older plans do not say
        )

    def _to_dict(self) -> Mapping[str, Any]:
        return {
            "request": self.request.to_dict(),
            "actor": self.actor,
            "at": self.at.isoformat(),
            "record_type": self.selection.record_type.to_json(),
            "columns": self.selection.columns,
            "snapshot": self.selection.snapshot,
            "snapshot_at": self.snapshot_at.isoformat(),
            "since": self.selection.since,
            "full": self.selection.full,
            "path": str(self.path),
            "escaped": dict(self.escaped),
            "confined": self.confined,
            "parts": [
                {"low": _texts(part.range.low), "high": _texts(part.range.high), "rows": part.rows}
                for part in self.parts
            ],
        }


def planned_path(file: Location) -> Location:
    """Return the path of the export from the file of its plan. Raises OSError, KeyError or DamagedFile."""
    return location(_read(file)["path"])


def working_folder(folder: Location, files: FileStorage) -> Path:
    """Return the folder in which this process makes the parts of an export.

    On a disk all processes share it. For an object store each process has its own, because another process may delete
    its copies at any time.
    """
    return folder / "parts" if is_local(folder) else files.working(folder)


def _read(file: Location) -> dict[str, Any]:
    """Return a plan as it was saved. Raises FileNotFoundError, or DamagedFile if its checksum does not match."""
    digest, _, plan = read(file).partition(b"\n")
    if digest != checksum_of([plan]).encode():
        raise DamagedFile(f"The plan of an export is damaged: the checksum of {file} does not match.", "Export again.")
    saved: dict[str, Any] = json.loads(plan)
    return saved


def _file(folder: Location) -> Location:
    return folder / PLAN


def _texts(bound: Bound | None) -> list[str | None] | None:
    return None if bound is None else [None if value is None else value_text(value) for value in bound]


def _bound(texts: list[str | None] | None, selection: Selection) -> Bound | None:
    if texts is None:
        return None
    fields = [selection.record_type.field(order.field) for order in selection.order]
    return tuple(None if text is None else parse_value(text, field) for text, field in zip(texts, fields, strict=True))
