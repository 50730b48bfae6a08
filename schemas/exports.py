"""Exports as values: what was asked, what is planned, and what was published."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.errors import InvalidRequest
from schemas.location import Location

CHANGE_COLUMN = "_change"
"""What an export of changes has besides the fields: created, updated or deleted; full where all records are given."""

SHEET_ROWS = 1_048_575
"""Records of a worksheet, at most: it has 1,048,576 rows, and the first one names the columns."""


_LISTS = ("columns", "filters", "order_by")


class ExportFormat(StrEnum):
    """How a file is written."""

    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    EXCEL = "excel"
    PARQUET = "parquet"

    @property
    def suffix(self) -> str:
        """What the name of such a file ends in."""
        return ".xlsx" if self is ExportFormat.EXCEL else f".{self.value}"

    @property
    def is_text(self) -> bool:
        """Whether files of it are text, which can be packed, and put together from parts byte by byte."""
        return self not in (ExportFormat.EXCEL, ExportFormat.PARQUET)

    @property
    def part_rows(self) -> int:
        """Rows of a part, at most: to sort them and to write them, two parts at once, keeps to the memory limit.

        Fewer would be slower where files interleave, for each part reads of all of them.
        """
        return 340_000 if self is ExportFormat.CSV else 250_000


class Packing(StrEnum):
    """What a file of text is packed with."""

    GZ = "gz"
    ZST = "zst"


@dataclass(frozen=True)
class ExportRequest:
    """Records of one account and type to write to one file.

    `columns` None means all, in the order of the type, and `preset` the columns of that name. `filters` are as
    `schemas.filters` reads them, `order_by` fields, each with " desc" behind it or not; key order when empty.
    `as_of` and `changed_since` are a moment or the id of a batch or an export. `path` None means the account's export
    folder.
    `raw`: texts that a spreadsheet takes for formulas are left as they are. `part_rows` None means as many as suit
    the format.
    """

    account: str
    record_type: str
    columns: tuple[str, ...] | None = None
    preset: str | None = None
    path: Path | None = None
    format: ExportFormat = ExportFormat.CSV
    packing: Packing | None = None
    filters: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    as_of: str | None = None
    changed_since: str | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    raw: bool = False
    part_rows: int | None = None
    sheet_rows: int = SHEET_ROWS

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, whoever asks."""
        if self.packing is not None and not self.format.is_text:
            raise InvalidRequest(
                f"A file of {self.format.value} cannot be packed with {self.packing.value}.",
                "It is packed inside already; csv, json and ndjson can be packed.",
            )
        if self.part_rows is not None and not self.part_rows >= 1:
            raise InvalidRequest(f"A part cannot have {self.part_rows:,} rows.", "Give 1 or more.")
        if not 1 <= self.sheet_rows <= SHEET_ROWS:
            raise InvalidRequest(
                f"A sheet cannot have {self.sheet_rows:,} records.", f"Give a number from 1 to {SHEET_ROWS:,}."
            )

    @property
    def escaped(self) -> bool:
        """Whether texts that a spreadsheet would take for formulas get a ' before them."""
        return self.format is ExportFormat.CSV and not self.raw

    @property
    def file_name(self) -> str:
        """What the file is called where nobody says otherwise."""
        packed = "" if self.packing is None else f".{self.packing.value}"
        return f"{self.record_type}{self.format.suffix}{packed}"

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON can hold it."""
        listed = {name: None if (value := getattr(self, name)) is None else list(value) for name in _LISTS}
        return asdict(self) | listed | {"path": None if self.path is None else str(self.path)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "ExportRequest":
        """The request that `to_dict` told."""
        values = dict(told)
        for name in _LISTS:
            values[name] = None if values[name] is None else tuple(values[name])
        values["path"] = None if values["path"] is None else Path(values["path"])
        values["format"] = ExportFormat(values["format"])
        values["packing"] = None if values["packing"] is None else Packing(values["packing"])
        return cls(**values)


def named_format(path: Path | None, given: ExportFormat | None) -> tuple[ExportFormat, Packing | None]:
    """The format and the packing of a file that is to be written under a name.

    What the name leaves open is CSV, unpacked. Raises InvalidRequest where the format given contradicts the name.
    """
    suffixes = [] if path is None else [suffix.lower() for suffix in path.suffixes]
    packing = next((packing for packing in Packing if suffixes[-1:] == [f".{packing.value}"]), None)
    suffix = next(iter(suffixes[:-1][-1:] if packing else suffixes[-1:]), "")
    formats = {
        ".csv": (ExportFormat.CSV,),
        ".tsv": (ExportFormat.CSV,),
        ".json": (ExportFormat.JSON, ExportFormat.NDJSON),
        ".ndjson": (ExportFormat.NDJSON,),
        ".jsonl": (ExportFormat.NDJSON,),
        ".xlsx": (ExportFormat.EXCEL,),
        ".parquet": (ExportFormat.PARQUET,),
    }
    meant = formats.get(suffix, ())
    if given is not None and meant and given not in meant:
        raise InvalidRequest(
            f"A file of {given.value} cannot be called {path.name if path else ''!r}.",
            f"Name it …{given.suffix}, or ask for -f {meant[0].value}.",
        )
    return given or next(iter(meant), ExportFormat.CSV), packing


@dataclass(frozen=True)
class ExportManifest:
    """A published export: enough to check the file and to say where its records came from.

    `since` is the snapshot with which changes were compared; `full` says that it was gone, so that all records are
    there. `notes` are sentences for people, `versions` what the file was written with.
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
        """Where the manifest lies: beside the file."""
        return self.path.with_name(self.path.name + ".manifest.json")

    @property
    def rate(self) -> float | None:
        """Rows per second, from the plan to the published file."""
        return self.rows / self.seconds if self.seconds else None

    def in_run(self, run_id: str | None) -> "ExportManifest":
        """The manifest as the run tells it that published the file."""
        return replace(self, run_id=run_id)

    def to_dict(self) -> dict[str, Any]:
        """The keys that the command prints for an export, and that the manifest file holds."""
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
