"""`Backup`: one backup of a store, made while writers run.

Files are copied before and after the write lock is held, never for long meanwhile: see `Backup`.
"""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from resources.backup.place import AT_ONCE, BackupPlace
from resources.clock import file_time, new_id
from resources.file_storage import FileStorage, blocks_of, read, remove
from resources.importing.progress import Progress
from resources.migration.catalog_rows import unload, unloaded
from resources.record_store import RecordStore, ledger
from resources.record_store.identity import state_of
from resources.record_store.lake import Connection
from resources.record_store.lake_files import NamedFile, known_files, needed, record_numbers
from resources.record_store.refusals import damaged, no_checksum, not_ready
from resources.record_store.snapshots import current_number
from resources.settings import OPERATORS, Settings
from resources.store_files import OwnFile, closed_folders, is_readable, own_blocks, own_files
from schemas.arrivals import PART
from schemas.backups import CATALOG, HOME, BackupFile, BackupReport, Contents, LastBackup, Manifest
from schemas.errors import DamagedFile, DiskFull, NotFound, Refused, StoreBusy, Unaccounted
from schemas.files import StoredFile

LAST = "last-backup.json"
"""The file beside the data that says when the last backup was made."""

OF_HOME = (*OPERATORS, "links.key")
"""The files of the home that a backup has."""

_SMALL = 32_000_000
"""So many bytes are copied while the lock is held. Before that, more are copied in further rounds without it."""

_ROUNDS, _TRIES = 4, 20
_SETTLED = timedelta(seconds=10)
"""How long a file in the inbox must be unchanged. A younger one may be incomplete."""


@dataclass
class _Copied:
    """What a backup has so far: its files by path, the paths in its place, and how much is new."""

    last: dict[str, BackupFile]
    present: set[str]
    files: dict[str, BackupFile] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    bytes: int = 0


class Backup:
    """Makes a backup that equals a snapshot of the store, while other processes read and write.

    The lake's files never change, and maintenance keeps each for a day after its last use. Only erasures remove files
    at once, so none runs beside a backup. The files are copied without the write lock. Under it, a transaction on the
    catalog begins, which sees the catalog as it is then. Those files beside the lake that have changed since they were
    copied are copied again. Then the lock is released, and the transaction reads the catalog's rows.
    """

    def __init__(self, store: RecordStore, place: BackupPlace) -> None:
        self._store = store
        self._place = place
        self._settings = store.settings
        self._progress: Callable[[int], None] = lambda _: None
        self._copied = _Copied({}, set())

    def run(self, *, keep: int | None = None, progress: Progress | None = None) -> BackupReport:
        """Make a backup, read its new files back, and publish it.

        keep: how many backups stay; older ones are removed afterwards. `progress` gets the number of copied bytes.
        """
        started = time.monotonic()
        if not self._store.exists:
            raise not_ready(self._settings)
        self._place.require_apart(self._settings)
        with self._turn(), self._store.taking_older():
            with self._store.reading() as connection:
                store = state_of(connection).store or ""
            self._place.claim(store)
            self._place.clear_unfinished()
            last = self._place.newest()
            listing = self._place.listing()
            before = {} if last is None else {file.path: file for file in last.files}
            before = {path: file for path, file in before.items() if listing.get(file.place) == file.bytes}
            self._copied = _Copied(before, {*listing})
            self._progress = lambda done: progress(done, None) if progress is not None else None
            with self._scratch() as folder:
                self._copy_without_lock()
                manifest, lock_seconds = self._copy_rest(store, last, folder)
            new = [file for file in manifest.files if before.get(file.path) != file]
            self._read_back(new)
            manifest = replace(manifest, verified_at=max(manifest.at, self._store.now()))
            self._place.publish(manifest)
            self._remember(manifest)
            pruned, freed = ((), 0) if keep is None else self._pruned(manifest.backup, keep)
        return BackupReport(
            backup=manifest.backup,
            place=str(self._place.place),
            snapshot=manifest.snapshot,
            at=manifest.at,
            files=len(manifest.files),
            bytes=manifest.bytes,
            new_files=len(new),
            new_bytes=sum(file.bytes for file in new),
            verified=len(new),
            seconds=round(time.monotonic() - started, 2),
            lock_seconds=round(lock_seconds, 3),
            left_out=tuple(sorted(self._copied.left_out)),
            unreadable=tuple(sorted(self._copied.unreadable)),
            pruned=pruned,
            freed=freed,
        )

    def _copy_without_lock(self) -> None:
        """Copy all files that are there, until the last round had little to copy."""
        for _ in range(_ROUNDS):
            before = self._copied.bytes
            with self._store.reading() as connection:
                lake = self._new_of_lake(connection)
            self._copy_lake(*lake)
            self._copy_own()
            if self._copied.bytes - before <= _SMALL:
                return

    def _copy_rest(self, store: str, last: Manifest | None, folder: Path) -> tuple[Manifest, float]:
        """Copy what is left, as of one snapshot. Returns the manifest, and how long the lock was held."""
        with self._store.reading() as connection:
            with self._store.write_lock:
                locked = time.monotonic()
                connection.execute("BEGIN")
                state, snapshot = state_of(connection), current_number(connection)
                at = self._store.time(connection)
                own = self._copy_own()
                self._store.write_lock.prove()
                lock_seconds = time.monotonic() - locked
            if (state.store, state.snapshot) != (store, snapshot):
                raise Refused("The store was replaced by another one during its backup.", "Run the command again.")
            named = needed(connection)
            lake = self._new_of_lake(connection)
            tables = [
                self._place.add(f"{CATALOG}/{name}.parquet", blocks_of(unloaded(folder, name)), self._copied.present)
                for name in unload(connection, folder)
            ]
            seq = ledger.newest(connection)[0]
            contents = Contents(*ledger.numbers(connection), record_numbers(connection))
        self._copy_lake(*lake)
        if last is not None:
            at = max(at, last.at + timedelta(milliseconds=1))
        files = [*(self._copied.files[file.path] for file in named), *own, *tables, *self._of_home()]
        backup = new_id("backup", at)
        listed = tuple(sorted(files, key=lambda file: file.path))
        return Manifest(backup, store, snapshot, seq, at, at, contents, listed, state.format), lock_seconds

    def _new_of_lake(self, connection: Connection) -> tuple[list[NamedFile], dict[str, StoredFile]]:
        """Return the files of the lake that the backup does not have yet, and their recorded versions."""
        copied, new = self._copied, []
        for file in needed(connection):
            if file.path in copied.files:
                continue
            known = copied.last.get(file.path)
            if known is not None and known.bytes == file.bytes:
                copied.files[file.path] = known
            else:
                new.append(file)
        return new, known_files(connection, self._settings.data, [file.path for file in new])

    def _copy_lake(self, files: Sequence[NamedFile], known: dict[str, StoredFile]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(lambda file: self._copy_of_lake(file, known.get(file.path)), files):
                self._progress(self._copied.bytes)

    def _copy_of_lake(self, file: NamedFile, known: StoredFile | None) -> None:
        place = self._settings.data / file.path
        if known is None:
            raise no_checksum(place)
        try:
            expected = BackupFile(file.path, file.bytes, str(known.checksum))
            if expected.place in self._copied.present:  # of a backup that was interrupted
                self._copied.files[file.path] = expected
                return
            with _room(file.path):
                made = self._place.add(file.path, blocks_of(place))
        except FileNotFoundError:
            raise NotFound(
                f"The file {place} is missing, and a snapshot of the store needs it.",
                "No backup was made. Restore the file from an earlier backup or from the trash. Then back up again.",
            ) from None
        if (made.bytes, made.checksum) != (file.bytes, known.checksum):
            remove(self._place.place / made.place)
            raise damaged(place, "has other bytes than were written", known)
        self._copied.files[file.path] = made
        self._copied.bytes += made.bytes

    def _copy_own(self) -> list[BackupFile]:
        """Copy the files beside the lake that have changed since they were last copied. Returns all of them.

        A file that moves on meanwhile is found in its next place.
        """
        for _ in range(_TRIES):
            self._copied.left_out.clear()
            self._copied.unreadable = {*closed_folders(self._settings)}
            files = own_files(self._settings)
            now = file_time(self._settings.scratch)
            files = [file for file in files if not self._is_arriving(file, now)]
            with ThreadPoolExecutor(AT_ONCE) as threads:
                copied = [*threads.map(self._copy_own_file, files)]
            self._progress(self._copied.bytes)
            if all(copied):
                return [self._copied.files[file.path] for file in files if file.path not in self._copied.unreadable]
        raise StoreBusy("Files of the store moved all the time while they were copied.", "Run the command again later.")

    def _is_arriving(self, file: OwnFile, now: datetime | None) -> bool:
        """Return whether a file in the inbox may be incomplete. If so, the backup does not have it."""
        root, _, name = file.path.partition("/")
        if root != "inbox":
            return False
        is_young = (
            now is not None
            and file.modified is not None
            and now.timestamp() - file.modified / 1e9 < _SETTLED.total_seconds()
        )
        if is_young or name.endswith(PART) or name.rpartition("/")[2].startswith("."):
            self._copied.left_out.add(file.path)
            return True
        return False

    def _copy_own_file(self, file: OwnFile) -> bool:
        """Copy a file beside the lake, unless this version was copied. Returns False if it has moved or changed."""
        copied, put_at = self._copied, file.put_at.isoformat()
        for known in (copied.files.get(file.path), copied.last.get(file.path)):
            if known is not None and (known.bytes, known.put_at) == (file.bytes, put_at):
                copied.files[file.path] = known
                return True
        try:
            with _room(file.path):
                made = self._place.add(file.path, own_blocks(self._settings.data / file.path), copied.present)
        except FileNotFoundError:
            return False
        except PermissionError:
            if is_readable(self._settings.data / file.path):  # the place of the backups refuses
                raise
            copied.unreadable.add(file.path)
            return True
        if made.bytes != file.bytes:
            return False
        copied.files[file.path] = replace(made, put_at=put_at, modified=file.modified)
        copied.bytes += made.bytes
        return True

    def _of_home(self) -> Iterator[BackupFile]:
        for name in OF_HOME:
            place = self._settings.home / name
            if place.is_file():
                with suppress(FileNotFoundError):
                    yield self._place.add(f"{HOME}/{name}", blocks_of(place), self._copied.present)

    def _read_back(self, new: Sequence[BackupFile]) -> None:
        """Compare the new files of the backup with their checksums, read from the disk."""
        found = self._place.damages(new)
        for path in found:
            remove(self._place.place / path)
        if found:
            path, damage = next(iter(found.items()))
            raise Unaccounted(
                f"{self._place.place / path} {damage}. The backup was not completed.",
                "Check the disk or the object store of the backups. Then back up again: the file is copied again.",
            )

    def _remember(self, manifest: Manifest) -> None:
        """Write beside the data that this backup was made."""
        last = LastBackup(manifest.backup, str(self._place.place), manifest.snapshot, manifest.at, manifest.verified_at)
        with self._store.files.making(self._settings.data / LAST) as made:
            made.write_text(last.to_json() + "\n", encoding="utf-8")

    def _pruned(self, backup: str, keep: int) -> tuple[tuple[str, ...], int]:
        try:
            return self._place.prune(keep)
        except (DamagedFile, Refused) as error:
            raise type(error)(
                f"The backup {backup} is complete, but no earlier one was removed: {error.message}",
                "Remove that manifest, or move it away. Then the next backup removes the files that only it has.",
            ) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other backup and no erasure of this store runs, and no other process uses the place."""
        self._place.make()
        with ExitStack() as locks:
            try:
                locks.enter_context(self._store.lock("backup", self._settings.lock_seconds))
                locks.enter_context(self._place.lock())
            except StoreBusy:
                raise StoreBusy(
                    "Another backup or an erasure of this store is running, or another process uses the place of the "
                    "backups.",
                    "Back up again when it has ended.",
                ) from None
            yield

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        storage = FileStorage(self._settings.scratch)
        folder = storage.working(self._settings.scratch / "backup")
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove(folder)


def last_backup(settings: Settings) -> LastBackup | None:
    """Return the last backup of the store that was completed, in any place; None if there is none."""
    try:
        return LastBackup.from_json(read(settings.data / LAST).decode())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _room(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"There is no room for {path} in the place of the backups.",
            "Make room, or keep fewer backups: --keep. Then back up again: copied files are not copied again.",
        ) from None
