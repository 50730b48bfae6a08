"""Exports as values: what was asked and what was published."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExportRequest:
    """Records of one account and type to write to one file.

    `columns` None means all, in the order of the type; `path` None means the account's export folder.
    """

    account: str
    record_type: str
    columns: tuple[str, ...] | None = None
    preset: str | None = None
    path: Path | None = None


@dataclass(frozen=True)
class ExportManifest:
    """A published export: enough to check the file and to say where its records came from."""

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
    path: Path
    run_id: str | None = None

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies: beside the file."""
        return self.path.with_name(self.path.name + ".manifest.json")

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
            "run_id": self.run_id,
            "url": None,
        }
