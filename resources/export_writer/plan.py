"""The plan of an export: which records of which snapshot go into which part. It is on disk before the work begins."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from resources.file_storage import Checksum, FileStorage, is_local, location, read, remove
from resources.record_store.export_source import Bound, Range, Selection
from schemas.errors import DamagedFile, NotFound
from schemas.exports import ExportFormat, ExportRequest
from schemas.filters import parse_filter, parse_order, parse_value, value_text
from schemas.location import Location
from schemas.record_type import RecordType

PLAN = "plan.json"
EXPORT_ID = re.compile(r"e-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")


@dataclass(frozen=True)
class PlannedPart:
    """A range of the records, and how many there are in it."""

    range: Range
    rows: int


@dataclass(frozen=True)
class ExportPlan:
    """All that is needed to make an export, or what is missing of it: by whichever process, the same bytes.

    `folder` is the export's own, which every process finds, `work` where this process makes parts, `path` where the
    file will lie; `at` is when it was planned. `confined`: the path was named in Dagster, not at a terminal.
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
    confined: bool = False

    @property
    def rows(self) -> int:
        """How many records the file will have."""
        return sum(part.rows for part in self.parts)

    @property
    def format(self) -> ExportFormat:
        """How the file is written."""
        return self.request.format

    @property
    def parts_folder(self) -> Location:
        """Where parts lie until they are put together; in a folder it is where they are made, too."""
        return self.folder / "parts"

    def to_submitted(self, run_id: str, url: str) -> dict[str, Any]:
        """The keys that the command prints for an export that a run will make."""
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
            "format": self.format.value,
            "columns": list(self.selection.written),
            "snapshot": self.selection.snapshot,
            "run_id": run_id,
            "url": url,
        }

    def rows_before(self, number: int) -> int:
        """How many records come before a part."""
        return sum(part.rows for part in self.parts[:number])

    def save(self, files: FileStorage) -> None:
        """The plan is where every process finds it, all of it."""
        with files.making(_file(self.folder)) as partial:
            plan = json.dumps(self._to_dict(), ensure_ascii=False).encode()
            partial.write_bytes(f"{_digest(plan)}\n".encode() + plan)

    def clear(self) -> None:
        """Parts and plan are gone, and the export's folder when nothing else is in it."""
        for place in (self.work, self.parts_folder, _file(self.folder)):
            remove(place)
        if is_local(self.folder):
            with suppress(OSError):  # the published file is in it
                self.folder.rmdir()

    def leave(self) -> None:
        """What this process has of the parts on this machine, and shares with no other, is gone."""
        if not is_local(self.folder):
            remove(self.work)

    @classmethod
    def load(cls, account: str, exports: Location, export_id: str, files: FileStorage) -> "ExportPlan":
        """The plan of an account's export, from its folder of exports. Raises NotFound when there is none."""
        folder = exports / export_id
        try:
            if not EXPORT_ID.fullmatch(export_id):  # which could lead out of the folder
                raise FileNotFoundError
            told = _read(_file(folder))
            if told["request"]["account"] != account:  # somebody has put it there
                raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(
                f"There is no plan of an export {export_id!r}.", "It was swept away, or never made: export again."
            ) from None
        request = ExportRequest.from_dict(told["request"])
        record_type = RecordType.from_json(told["record_type"])
        selection = Selection(
            record_type=record_type,
            columns=tuple(told["columns"]),
            order=parse_order(request.order_by, record_type),
            filters=tuple(parse_filter(text, record_type) for text in request.filters),
            snapshot=told["snapshot"],
            since=told["since"],
            full=told["full"],
        )
        return cls(
            export_id=folder.name,
            request=request,
            actor=told["actor"],
            at=datetime.fromisoformat(told["at"]),
            selection=selection,
            snapshot_at=datetime.fromisoformat(told["snapshot_at"]),
            parts=tuple(
                PlannedPart(Range(*(_bound(part[side], selection) for side in ("low", "high"))), part["rows"])
                for part in told["parts"]
            ),
            folder=folder,
            work=working_folder(folder, files),
            path=location(told["path"]),
            confined=told.get("confined", True),  # of a plan from before there were any
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
            "confined": self.confined,
            "parts": [
                {"low": _texts(part.range.low), "high": _texts(part.range.high), "rows": part.rows}
                for part in self.parts
            ],
        }


def planned_path(file: Location) -> Location:
    """Where the export of a plan's file was to lie. Raises OSError, KeyError or DamagedFile if it is no plan."""
    return location(_read(file)["path"])


def working_folder(folder: Location, files: FileStorage) -> Path:
    """Where this process makes the parts of the export with that folder.

    In a folder all processes find each other's there. Of what is fetched from an object store each has its own: another
    may be ended meanwhile, or take away what it has, as steps that outlive their run.
    """
    return folder / "parts" if is_local(folder) else files.working(folder)


def _read(file: Location) -> dict[str, Any]:
    """A plan as it was saved. Raises FileNotFoundError, or DamagedFile if it has other bytes than were written."""
    digest, _, plan = read(file).partition(b"\n")
    if digest != _digest(plan).encode():
        raise DamagedFile(f"The plan of an export, {file}, has other bytes than were written.", "Export again.")
    told: dict[str, Any] = json.loads(plan)
    return told


def _digest(plan: bytes) -> str:
    digest = Checksum()
    digest.update(plan)
    return str(digest)


def _file(folder: Location) -> Location:
    return folder / PLAN


def _texts(bound: Bound | None) -> list[str | None] | None:
    return None if bound is None else [None if value is None else value_text(value) for value in bound]


def _bound(texts: list[str | None] | None, selection: Selection) -> Bound | None:
    if texts is None:
        return None
    fields = [selection.record_type.field(order.field) for order in selection.order]
    return tuple(None if text is None else parse_value(text, field) for text, field in zip(texts, fields, strict=True))
