"""`Restore`: a store made from a backup. The whole backup is compared with its checksums before anything is written."""

import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from resources.backup.place import AT_ONCE, BackupPlace
from resources.checksums import checksum
from resources.disk_space import require_disk_space
from resources.file_storage import (
    FileStorage,
    entries,
    exists,
    files_below,
    is_local,
    make_folder,
    read,
    remove,
    size_of,
)
from resources.importing.progress import Progress
from resources.migration.catalog_rows import STAGED, NewCatalog
from resources.record_store import ledger
from resources.record_store.catalog import catalog_of
from resources.record_store.identity import state_of
from resources.record_store.lake import Lake
from resources.record_store.lake_files import LAKE, needed, read_numbers
from resources.record_store.pending_files import PENDING
from resources.record_store.refusals import foreign_data
from resources.record_store.store_format import require_known_format
from resources.record_store.store_mark import MARK, Mark, StoreMark
from resources.settings import Settings
from resources.store_files import put_blocks, roots
from schemas.backups import CATALOG, HOME, BackupFile, Contents, Manifest, RestoreReport
from schemas.erasure import sentence_of_receipt
from schemas.errors import DamagedFile, DiskFull, InvalidRequest, Refused, Unaccounted
from schemas.location import Location

INCOMPLETE = "restoring-"
"""The beginning of the name of a file that marks data being restored. The name ends with the id of the backup."""

_RECEIPTS = "erasures/"

_NOT_A_STORE = b"A backup is being restored to here. Until records restore has ended, this is not a store.\n"
_NOT_PUT = (
    "The place is not a store yet. Run the same command again. If it fails again, choose an earlier backup: --at."
)


class Restore:
    """Restores a backup to the place in the settings, which must be empty, or have files of the same attempt.

    The catalog is put in its place last. Until then the place is not a store, and the same command continues.

    new_id: give the store an id of its own. catalog_only: the data are still there, and only their catalog is lost.
    """

    def __init__(
        self, place: BackupPlace, target: Settings, *, new_id: bool = False, catalog_only: bool = False
    ) -> None:
        if new_id and catalog_only:
            raise InvalidRequest("--new-id and --catalog-only were given.", "Data keep their id: leave --new-id out.")
        self._place = place
        self._target = target
        self._new_id = new_id
        self._catalog_only = catalog_only
        self._storage = FileStorage(target.scratch)
        self._catalog = catalog_of(target)
        self._mark = StoreMark(target.data)

    def run(self, at: str | None = None, progress: Progress | None = None) -> RestoreReport:
        """Verify the backup, restore it, and compare the result with it. at: the backup; None means the newest.

        `progress` gets the bytes that were read and written, of all.
        """
        started = time.monotonic()
        self._place.require_apart(self._target)
        with self._place.lock():
            manifest = self._place.chosen(at)
            require_known_format(self._target, manifest.store_format)
            marker = self._target.data / f"{INCOMPLETE}{manifest.backup}"
            if self._catalog.exists() and exists(marker):
                self._end(marker)  # only that was left to do
                return self._report(manifest, self._of_data(manifest), self._mark_of_store().store, (), started)
            self._require_place(manifest, marker)
            files = self._of_data(manifest)
            total = manifest.bytes + sum(file.bytes for file in files)
            self._place.require_whole(manifest, None if progress is None else lambda done, _: progress(done, total))
            self._make_folders()
            with self._catalog.lock(), self._scratch() as folder:
                self._require_place(manifest, marker)
                store, kept = self._restored(manifest, files, marker, folder, progress)
            return self._report(manifest, files, store, kept, started)

    def _restored(
        self,
        manifest: Manifest,
        files: Sequence[BackupFile],
        marker: Location,
        folder: Path,
        progress: Progress | None,
    ) -> tuple[str, tuple[str, ...]]:
        """Restore the backup. Returns the id of the store, and the files of the home that were not replaced."""
        total = manifest.bytes + sum(file.bytes for file in files)
        if not self._catalog_only:
            self._require_room(files)
            put_blocks(self._storage, marker, [_NOT_A_STORE])
        done = manifest.bytes
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for file, _ in zip(files, threads.map(self._restore_file, files), strict=True):
                done += file.bytes
                if progress is not None:
                    progress(done, total)
        kept = tuple(self._restore_home(manifest))
        tables = [file for file in manifest.files if file.path.startswith(f"{CATALOG}/")]
        for file in tables:
            _require_same(put_blocks(self._storage, folder / Path(file.path).name, self._place.content(file)), file)
        made = NewCatalog(self._target, folder, _NOT_PUT)
        made.prepare()
        store = str(uuid.uuid4()) if self._new_id else manifest.store
        with made.loaded([Path(file.path).stem for file in tables], store) as lake:
            _compare(lake, manifest)
        if not self._catalog_only:
            self._mark.forget()  # of a killed attempt
            self._mark.create(Mark(store, manifest.snapshot, self._catalog.clock().observe(None)))
        made.publish()
        self._end(marker)
        return store, kept

    def _of_data(self, manifest: Manifest) -> list[BackupFile]:
        """Return the files to restore below the data."""
        files = [file for file in manifest.files if file.path.split("/")[0] not in (CATALOG, HOME)]
        if not self._catalog_only:
            return files
        data = self._target.data
        return [file for file in files if file.path.startswith(f"{LAKE}/") and size_of(data / file.path) is None]

    def _restore_file(self, file: BackupFile) -> None:
        target = self._target.data / file.path
        if size_of(target) == file.bytes and checksum(target) == file.checksum:
            return
        try:
            _require_same(put_blocks(self._storage, target, self._place.content(file)), file)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise DiskFull(
                f"There is no room for {file.path}.", "Make room and run the same command again: it continues."
            ) from None
        if checksum(target) != file.checksum:
            raise Unaccounted(f"{target} has other bytes than were written to it.", f"Check the disk. {_NOT_PUT}")
        if is_local(target) and file.modified is not None:  # the inbox takes files in order of their time
            os.utime(target, ns=(file.modified, file.modified))

    def _restore_home(self, manifest: Manifest) -> Iterator[str]:
        """Restore the operator's files that the home lacks. Yields those that are there and differ."""
        for file in manifest.files:
            root, _, name = file.path.partition("/")
            if root != HOME:
                continue
            target = self._target.home / name
            if not target.exists():
                _require_same(put_blocks(self._storage, target, self._place.content(file)), file)
                target.chmod(0o600)
            elif checksum(target) != file.checksum:
                yield str(target)

    def _require_place(self, manifest: Manifest, marker: Location) -> None:
        """Raise Refused if the target is a store, or has other files than an earlier attempt left there."""
        if self._catalog.exists():
            raise Refused(
                f"There is a store already: {self._target.place}.",
                "Restore to an empty place: set RECORDS_HOME, and RECORDS_DATA and RECORDS_CATALOG if you use them.",
            )
        if self._catalog_only:
            mark = self._mark_of_store()
            if mark.store != manifest.store:
                raise foreign_data(
                    self._target, f"the data are of the store {mark.store}, the backup is of {manifest.store}"
                )
            return
        data = self._target.data
        allowed = set()
        if exists(marker):
            allowed = {str(data / file.path) for file in self._of_data(manifest)} | {str(data / MARK)}
        found = [str(file.place) for root in (data / LAKE, *roots(self._target)) for file in files_below(root)]
        found += [str(place) for place in (data / MARK, data / PENDING) if exists(place)]
        found += [str(it) for it in entries(data) if it.name.startswith(INCOMPLETE) and it.name != marker.name]
        others = [place for place in found if place not in allowed]
        if others:
            raise Refused(
                f"The place to restore to is not empty. It has {others[0]}"
                f"{f' and {len(others) - 1:,} more' if others[1:] else ''}.",
                "Give an empty place, or remove the files there. If only the catalog is lost: --catalog-only.",
            )

    def _mark_of_store(self) -> Mark:
        mark = self._mark.read()
        if mark is None:
            raise Refused(
                f"There is no {MARK} in {self._target.data}, so nothing says that these data belong to the backup.",
                "Restore the whole backup to an empty place: without --catalog-only.",
            )
        return mark

    def _require_room(self, files: Sequence[BackupFile]) -> None:
        data = self._target.data
        if is_local(data):
            needed_bytes = sum(file.bytes for file in files if size_of(data / file.path) != file.bytes)
            require_disk_space(data, needed_bytes, "The restored store", "Make room, or give another place.")

    def _make_folders(self) -> None:
        make_folder(self._target.home)
        if is_local(self._target.data):
            make_folder(self._target.data)

    def _end(self, marker: Location) -> None:
        """Remove what only an unfinished restore needs. The store is complete."""
        remove(marker)
        remove(self._target.home / STAGED)

    def _report(
        self, manifest: Manifest, files: Sequence[BackupFile], store: str, kept: tuple[str, ...], started: float
    ) -> RestoreReport:
        contents = manifest.contents
        return RestoreReport(
            backup=manifest.backup,
            store=store,
            is_new_id=store != manifest.store,
            snapshot=manifest.snapshot,
            at=manifest.at,
            accounts=contents.accounts,
            batches=contents.batches,
            exports=contents.exports,
            records=sum(contents.records.values()),
            files=len(files),
            bytes=sum(file.bytes for file in files),
            seconds=round(time.monotonic() - started, 1),
            kept=kept,
            store_format=manifest.store_format,
            erased=tuple(self._erased_since(manifest)),
        )

    def _erased_since(self, manifest: Manifest) -> Iterator[str]:
        """Yield the erasures that the backup does not know: later backups, or the data, have their receipts."""
        seen = {file.path for file in manifest.files}
        for each in self._place.ids():
            if each > manifest.backup:
                with suppress(DamagedFile, Refused):
                    for file in self._place.manifest(each).files:
                        if file.path.startswith(_RECEIPTS) and file.path not in seen:
                            seen.add(file.path)
                            yield sentence_of_receipt(b"".join(self._place.content(file))) or file.path
        for place in entries(self._target.erasures):
            if self._target.path_below_data(place) not in seen:
                yield sentence_of_receipt(read(place)) or str(place)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self._storage.working(self._target.scratch / "restore")
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove(folder)


def _require_same(written: tuple[str, int], file: BackupFile) -> None:
    if written != (file.checksum, file.bytes):
        raise Unaccounted(f"The backup's file {file.place} changed while it was restored.", _NOT_PUT)


def _compare(lake: Lake, manifest: Manifest) -> None:
    """Compare a restored catalog and its data with what the manifest says. Raises Unaccounted for a difference."""
    with lake.attached(read_only=True) as connection:
        state, seq = state_of(connection), ledger.newest(connection)[0]
        contents = Contents(*ledger.numbers(connection), read_numbers(connection))
        wanted = {(file.path, file.bytes) for file in needed(connection)}
    if state.format != manifest.store_format:
        raise Unaccounted("The restored catalog has another format than the backup's.", _NOT_PUT)
    if (state.snapshot, seq) != (manifest.snapshot, manifest.seq):
        raise Unaccounted("The restored catalog ends with another snapshot than the backup's.", _NOT_PUT)
    if contents != manifest.contents:
        raise Unaccounted("The restored store has other numbers of records or batches than the backup's.", _NOT_PUT)
    if wanted - {(file.path, file.bytes) for file in manifest.files}:
        raise Unaccounted("The restored catalog names files that the backup does not have.", _NOT_PUT)
