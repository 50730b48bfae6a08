"""Where exports through Dagster may lie: in allowed folders, below no link, and in place of no file but an own export.

Whoever can start a run can name a path, which a person at a terminal may do as their own user. So a run gets less.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.checksums import sha256_of
from resources.export_writer.plan import EXPORT_ID, PLAN, planned_path
from resources.export_writer.publish import manifest_path, partial_path
from resources.file_storage import entries, is_local
from resources.record_store import AccountRecords
from resources.settings import Settings
from schemas.errors import DamagedFile, InvalidRequest

_ELSEWHERE = "Leave the path empty for the account's export folder, or name another place."


def require_allowed(settings: Settings, account: str, path: Path) -> None:
    """Raise InvalidRequest unless the path leads into an allowed folder, and over no link below it.

    Allowed are RECORDS_EXPORT_ROOTS and the account's own export folder, but for the folder of each export in it.
    """
    path = path.absolute()
    own = settings.folder(account, "exports")
    roots = [*filter(is_local, [own]), *settings.export_roots]
    root = next((root for root in roots if path.is_relative_to(root)), None)
    parts = () if root is None else path.relative_to(root).parts
    if root is None or ".." in parts or (root == own and any(map(EXPORT_ID.fullmatch, parts))):
        raise InvalidRequest(
            f"{str(path)!r} is in no folder where exports through Dagster may lie: "
            f"{', '.join(map(str, roots)) or 'there is none'}.",
            "Leave the path empty for the account's export folder, or have the operator name its folder in "
            "RECORDS_EXPORT_ROOTS.",
        )
    for place in (*(path, *path.parents)[: len(parts)], manifest_path(path)):
        if place.is_symlink():
            raise InvalidRequest(f"{str(place)!r} is a link, which exports through Dagster never follow.", _ELSEWHERE)


def require_replaceable(records: AccountRecords, path: Path) -> None:
    """Raise InvalidRequest where a file has the name of the export or its manifest and is no export of the account.

    The file is one when the ledger has its path and SHA-256; or when it was published and its process was killed before
    the ledger had it: then a manifest beside it has its SHA-256, and its plan is there still.
    """
    if path.exists():
        sha256 = sha256_of(path)
        known = any(export.path == path for export in records.exports_of(sha256))
        if not known and not any(told.get("sha256") == sha256 for told in _manifests(records, path)):
            raise _not_ours(path)
    manifest = manifest_path(path)
    if manifest.exists() and not _is_own(records, path, _read(manifest)):
        raise _not_ours(manifest)


def _manifests(records: AccountRecords, path: Path) -> Iterator[dict[str, Any]]:
    """What manifests beside the path tell of the account's exports to it: those published, and those not yet."""
    planned = [each.name for each in entries(records.folder("exports")) if EXPORT_ID.fullmatch(each.name)]
    for note in (path, *(partial_path(path, export_id) for export_id in planned)):
        told = _read(manifest_path(note))
        if _is_own(records, path, told):
            yield told


def _is_own(records: AccountRecords, path: Path, told: dict[str, Any]) -> bool:
    """Whether the account has an export of that id, to that path, in its ledger or planned."""
    export_id = str(told.get("export_id"))
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
    """What a manifest tells; nothing where it is none."""
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _not_ours(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{str(path)!r} is there already, and is no export of this account as the ledger knows it.",
        "Exports through Dagster replace nothing else. Move it away, or name another place.",
    )
