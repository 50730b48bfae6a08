"""Where exports through Dagster may be written: in allowed folders, and over no file but an export of the account.

A person at a terminal writes with their own permissions. A run writes with those of the server, for anyone who can
start it, so its paths are restricted.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.checksums import sha256_of
from resources.export_writer.plan import EXPORT_ID, PLAN, planned_path
from resources.export_writer.publish import manifest_path, partial_files
from resources.file_storage import entries, is_local
from resources.record_store import AccountRecords
from resources.settings import Settings
from schemas.errors import DamagedFile, InvalidRequest

_ELSEWHERE = "Leave the path empty for the account's export folder, or name another place."


def require_allowed(settings: Settings, account: str, path: Path) -> None:
    """Raise InvalidRequest unless the path lies in an allowed folder, with no symbolic link below that folder.

    Allowed are RECORDS_EXPORT_ROOTS and the account's own export folder, but not the folders of single exports in it.
    """
    path = path.absolute()
    own = settings.folder(account, "exports")
    roots = [*filter(is_local, [own]), *settings.export_roots]
    root = next((root for root in roots if path.is_relative_to(root)), None)
    parts = () if root is None else path.relative_to(root).parts
    if root is None or ".." in parts or (root == own and any(map(EXPORT_ID.fullmatch, parts))):
        raise InvalidRequest(
            f"{str(path)!r} is not in a folder to which exports through Dagster may be written: "
            f"{', '.join(map(str, roots)) or 'there is none'}.",
            "Leave the path empty for the account's export folder, or ask the operator to add its folder to "
            "RECORDS_EXPORT_ROOTS.",
        )
    for place in (*(path, *path.parents)[: len(parts)], manifest_path(path)):
        if place.is_symlink():
            raise InvalidRequest(f"{str(place)!r} is a symbolic link. Exports through Dagster follow none.", _ELSEWHERE)


def require_replaceable(records: AccountRecords, path: Path) -> None:
    """Raise InvalidRequest if the path, or that of its manifest, has a file that is not an export of the account.

    A file is an export of the account if the ledger has its path and SHA-256. A process may have been killed after it
    published the file and before it wrote to the ledger. Then a manifest beside the file has its SHA-256, and the plan
    still exists.
    """
    if path.exists():
        sha256 = sha256_of(path)
        known = any(export.path == path for export in records.exports_of(sha256))
        if not known and not any(saved.get("sha256") == sha256 for saved in _manifests(records, path)):
            raise _not_ours(path)
    manifest = manifest_path(path)
    if manifest.exists() and not _is_own(records, path, _read(manifest)):
        raise _not_ours(manifest)


def _manifests(records: AccountRecords, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the manifests beside the path that belong to the account's exports to it, published or not yet."""
    planned = [each.name for each in entries(records.folder("exports")) if EXPORT_ID.fullmatch(each.name)]
    left = [note for export_id in planned for note in partial_files(path, export_id) if note.suffix == ".json"]
    for note in (manifest_path(path), *left):
        manifest = _read(note)
        if _is_own(records, path, manifest):
            yield manifest


def _is_own(records: AccountRecords, path: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the account has an export with the manifest's id to that path, in its ledger or planned."""
    export_id = str(manifest.get("export_id"))
    if not EXPORT_ID.fullmatch(export_id):
        return False
    export = records.export(export_id)
    if export is not None:
        return export.path == path
    try:
        return planned_path(records.folder("exports") / export_id / PLAN) == path
    except (OSError, KeyError, DamagedFile):
        return False


def _read(note: Path) -> dict[str, Any]:
    """Return the content of a manifest, or nothing if the file is not one."""
    try:
        manifest = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _not_ours(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{str(path)!r} already exists, and the ledger does not have it as an export of this account.",
        "Exports through Dagster replace nothing else. Move the file away, or name another place.",
    )
