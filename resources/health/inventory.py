"""The files of a store: which of them it needs now, and with which bytes. Nothing here writes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath

from resources.clock import BATCH_ID, time_of
from resources.export_writer.plan import EXPORT_ID, PLAN
from resources.file_storage import files_below, is_local
from resources.record_store import lake_files, ledger, ledger_exports, ledger_files
from resources.record_store.lake import Connection
from resources.record_store.lake_files import LAKE, LakeFile
from resources.record_store.ledger_erasure import erasures
from resources.record_store.pending_files import pending_files
from resources.settings import Settings
from resources.upkeep.leftovers import is_needed
from schemas.batches import Batch
from schemas.erasure import Erasure, Found, is_erased_since
from schemas.exports import ExportManifest
from schemas.files import StoredFile

KINDS = ("staging", "reports", "rejects")
"""The folders of an account with files of a batch."""

_TOUCHED = {
    "staging": (Found.STAGED, Found.PREVIEWS),
    "reports": (Found.REPORTS,),
    "rejects": (Found.REJECTS, Found.PREVIEWS),
}
"""The places in the receipt of an erasure that are about a folder of batches."""
_ROOTS = (LAKE, "accounts", "processing", "archive", "quarantine", "committing")
_ARCHIVE_PARTS = 5


@dataclass(frozen=True)
class Present:
    """A file that is there: its path below the data, its bytes, and when it was put there."""

    path: str
    bytes: int
    put_at: datetime


@dataclass(frozen=True)
class Wanted:
    """A file of the store, and what its bytes must be: a recorded version, a SHA-256, or what a manifest says.

    is_required: whether the store needs it. Files that only slow readers may still need are not required.
    """

    path: str
    bytes: int | None = None
    known: StoredFile | None = None
    sha256: str | None = None
    manifest: ExportManifest | None = None
    is_required: bool = True
    account: str | None = None
    batches: tuple[str, ...] = ()

    @property
    def has_checksum(self) -> bool:
        """Returns whether its bytes can be compared."""
        return self.sha256 is not None or (self.known is not None and self.known.checksum is not None)


@dataclass(frozen=True)
class Inventory:
    """What a store has and needs at one time.

    present: the files that were there shortly before. wanted: the files that it needs or still keeps.
    unneeded: files of the lake that the ledger knows and no snapshot needs. unknown: those that nothing knows.
    erased: the erasures, which change and remove files.
    """

    now: datetime
    batches: Mapping[str, Batch]
    present: Mapping[str, Present]
    wanted: Mapping[str, Wanted]
    lake: tuple[LakeFile, ...] = ()
    unneeded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    exports: Mapping[str, ExportManifest] = field(default_factory=dict)
    erased: tuple[Erasure, ...] = ()

    def is_erased_since(self, batch: Batch, *places: Found) -> bool:
        """Returns whether an erasure may have touched a batch's files in the places, since its file was read."""
        return _is_erased(self.erased, batch, places)


def present_files(settings: Settings) -> dict[str, Present]:
    """Return the files of the store's folders, by path, without the inbox and the trash."""
    found = {}
    for root in _ROOTS:
        if root == "committing" and not is_local(settings.data):
            continue
        for file in files_below(settings.data / root):
            path = settings.path_below_data(file.place)
            found[path] = Present(path, file.bytes, file.put_at)
    return found


def take_inventory(
    settings: Settings, connection: Connection, present: Mapping[str, Present], now: datetime
) -> Inventory:
    """Return what the store has and needs, as the catalog and the ledger say now.

    present: the files that were there before. So a file that is committed meanwhile is never without its owner.
    """
    batches = {batch.batch_id: batch for batch in ledger.batches(connection)}
    erased = erasures(connection)
    lake = lake_files.listed(connection)
    retired = set(lake_files.retired(connection))
    wanted = {it.path: it for it in _of_lake(settings, connection, lake, retired & present.keys())}
    wanted |= {it.path: it for it in _of_batches(settings, connection, batches, erased, present, now)}
    exports = {it.export_id: it for it in ledger_exports.exports(connection)}
    wanted |= {it.path: it for it in _of_exports(settings, exports, erased, present, now)}
    wanted |= {it.path: it for it in _of_archive(batches, erased, present)}
    others = {path for path in present if path.startswith(f"{LAKE}/")} - wanted.keys()
    known = ledger_files.files(connection, others)
    return Inventory(
        now,
        batches,
        present,
        wanted,
        tuple(lake),
        unneeded=tuple(sorted(known)),
        unknown=tuple(sorted(others - known.keys())),
        exports=exports,
        erased=tuple(erased),
    )


def _of_lake(
    settings: Settings, connection: Connection, lake: Collection[LakeFile], kept: Collection[str]
) -> Iterator[Wanted]:
    named = {file.path: file for file in lake}
    known = ledger_files.files(connection, {*named, *kept})
    if named.keys() - known.keys():
        known = pending_files(settings.data) | known
    for path in {*named, *kept}:
        file, version = named.get(path), known.get(path)
        if file is None and version is None:
            continue  # of an earlier version, and no longer needed
        yield Wanted(
            path,
            file.bytes if file is not None else version.bytes if version is not None else None,
            version,
            is_required=file is not None,
            account=file.account if file is not None else None,
            batches=() if version is None else version.batches,
        )


def _of_batches(
    settings: Settings,
    connection: Connection,
    batches: Mapping[str, Batch],
    erased: Sequence[Erasure],
    present: Mapping[str, Present],
    now: datetime,
) -> Iterator[Wanted]:
    """Yield the files of the folders that batches need, and those that are still there.

    An erasure that touched such folders may have removed those of earlier batches.
    """
    window = settings.rollback_window
    needed = {
        f"accounts/{batch.account}/{kind}/{batch.batch_id}"
        for batch in batches.values()
        for kind in KINDS
        if is_needed(kind, batch, now, window) and not _is_erased(erased, batch, _TOUCHED[kind])
    }
    there = {path for path in present if path.startswith("accounts/") and path.split("/")[2] in KINDS}
    folders = needed | {path.rpartition("/")[0] for path in there}
    for path, known in ledger_files.files_in(connection, folders).items():
        folder = path.rpartition("/")[0]
        if known.checksum is not None and (folder in needed or path in there):
            yield Wanted(
                path,
                None if known.earlier else known.bytes,  # a page may still be an earlier version
                known,
                is_required=folder in needed,
                account=known.account,
                batches=known.batches,
            )


def _of_exports(
    settings: Settings,
    exports: Mapping[str, ExportManifest],
    erased: Sequence[Erasure],
    present: Mapping[str, Present],
    now: datetime,
) -> Iterator[Wanted]:
    """Yield the exports in the accounts' own folders. Those that were written elsewhere belong to the user.

    An erasure that touched exports may have removed earlier ones.
    """
    for export_id, manifest in exports.items():
        folder = f"accounts/{manifest.account}/exports/{export_id}"
        path = settings.path_below_data(manifest.path)
        if not EXPORT_ID.fullmatch(export_id) or path.rpartition("/")[0] != folder:
            continue
        is_erased = partial(is_erased_since, erased, manifest.account, manifest.record_type, manifest.at)
        is_young = now - time_of(export_id) < settings.export_days
        is_kept = is_young and not is_erased([Found.EXPORTS])
        if is_kept or path in present:
            yield Wanted(path, manifest.bytes, sha256=manifest.sha256, is_required=is_kept, account=manifest.account)
        if is_kept and not is_erased([Found.LEDGER]):  # the ledger may have masked what the manifest says
            yield Wanted(f"{path}.manifest.json", manifest=manifest, account=manifest.account)


def _of_archive(
    batches: Mapping[str, Batch], erased: Sequence[Erasure], present: Mapping[str, Present]
) -> Iterator[Wanted]:
    """Yield the archived files, which must have the bytes that were imported, unless an erasure has changed them."""
    for path, file in present.items():
        parts = PurePosixPath(path).parts
        if parts[0] == "archive" and len(parts) == _ARCHIVE_PARTS and parts[3] in batches:
            batch = batches[parts[3]]
            sha256 = None if _is_erased(erased, batch, [Found.ARCHIVE]) else batch.file_sha256
            yield Wanted(
                path,
                file.bytes,
                sha256=sha256,
                is_required=False,
                account=batch.account,
                batches=(batch.batch_id,),
            )


def _is_erased(erased: Sequence[Erasure], batch: Batch, places: Iterable[Found]) -> bool:
    return is_erased_since(erased, batch.account, batch.record_type, time_of(batch.batch_id), places)


def is_partial(path: str) -> bool:
    """Return whether a file is one that a process is making, or has left when it was ended."""
    parts = path.split("/")
    is_of_export = parts[0] == "accounts" and parts[2:3] == ["exports"] and parts[4:5] in ([PLAN], ["parts"])
    return is_of_export or any(part.startswith(".") and part.endswith(".partial") for part in parts)


def batch_of(path: str) -> str | None:
    """Return the batch with the file in one of its folders; None if there is none."""
    parts = path.split("/")
    if parts[0] == "accounts" and parts[2:3] and parts[2] in KINDS and BATCH_ID.fullmatch(parts[3]):
        return parts[3]
    return None
