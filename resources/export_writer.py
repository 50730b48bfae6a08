"""Records of one account to one published file: written beside, flushed, renamed."""

import hashlib
import json
import os
from pathlib import Path

from resources.clock import new_id
from resources.record_store import RecordStore
from schemas.errors import InvalidRequest
from schemas.exports import ExportManifest, ExportRequest


class ExportWriter:
    """Exports from a store, as one actor and, inside Dagster, in one run."""

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id

    def export(self, request: ExportRequest) -> ExportManifest:
        """The file holds the account's records of one snapshot; its manifest lies beside it; the ledger has the export.

        The file's final name never holds a partial file; an older file of that name is replaced in one step.
        Raises NotFound for an unknown account or type, InvalidRequest for columns or a path that cannot be.
        """
        record_type, snapshot = self._store.pin(request.record_type)
        records = self._store.account(request.account)
        records.require()
        columns = record_type.columns(request.columns, request.preset)
        now = self._store.clock.now()
        export_id = new_id("e", now)
        if request.path is None:
            folder = records.folder("exports") / export_id
            folder.mkdir(parents=True)
            path = folder / f"{record_type.name}.csv"
        else:
            path = _destination(request.path, f"{record_type.name}.csv")
        partial = path.with_name(f".{path.name}.{export_id}.partial")
        try:
            rows, snapshot_at = records.copy_csv(record_type, columns, partial, snapshot)
            manifest = ExportManifest(
                export_id=export_id,
                account=request.account,
                record_type=record_type.name,
                actor=self._actor,
                at=now,
                format="csv",
                columns=columns,
                snapshot=snapshot,
                snapshot_at=snapshot_at,
                rows=rows,
                bytes=partial.stat().st_size,
                sha256=_sha256(partial),
                path=path,
                run_id=self._run_id,
            )
            _publish(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        note = manifest.manifest_path.with_name(f".{manifest.manifest_path.name}.{export_id}.partial")
        note.write_text(json.dumps(manifest.to_dict(), indent=2) + "\n")
        _publish(note, manifest.manifest_path)
        records.record_export(manifest)
        return manifest


def _destination(path: Path, name: str) -> Path:
    path = path.absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The name of the output is not UTF-8.", "Name another: -o PATH.") from None
    if path.is_dir():
        return path / name
    if not path.parent.is_dir():
        raise InvalidRequest(f"The folder {str(path.parent)!r} does not exist.", "Make it, or name another: -o PATH.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(partial: Path, final: Path) -> None:
    """The bytes are on disk, and then have their name."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
