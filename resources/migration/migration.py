"""Copies a store to another place: to a server, from a server, or between servers. The source does not change."""

import errno
import os
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from resources.checksums import checksum
from resources.disk_space import require_disk_space
from resources.file_storage import OBJECTS, FileStorage, blocks_of, files_below, is_local, remove, size_of
from resources.importing.progress import Progress
from resources.migration.catalog_copy import CatalogCopy
from resources.migration.catalog_rows import STAGED
from resources.record_store import RecordStore, ledger_files
from resources.record_store.catalog import PostgresCatalog, catalog_of
from resources.record_store.identity import state_of
from resources.record_store.refusals import damaged, not_ready
from resources.record_store.store_mark import MARK, Mark, StoreMark
from resources.running_ui import RunningUi
from resources.settings import OPERATORS, Settings
from resources.store_files import own_files, put_blocks, roots
from schemas.errors import DamagedFile, DiskFull, InvalidRequest, NotFound, RecordsError, Refused, Unaccounted
from schemas.files import StoredFile
from schemas.location import Location
from schemas.migration import MigrationReport

INCOMPLETE = "migrating-"
"""The beginning of the name of a file that marks incomplete data. The name ends with the identity of the source."""

_NOT_A_STORE = b"A store is being copied to here. Until records migrate has ended, this is not a store.\n"
_AT_ONCE = 4
_NAMED = {"RECORDS_CATALOG": "--to", "RECORDS_DATA": "--data"}


@dataclass(frozen=True)
class _File:
    """A file to copy: its path below the data, its bytes, and the version that the ledger has recorded.

    put_at: when it was put there, for a file that may change.
    """

    path: str
    bytes: int
    put_at: datetime | None = None
    known: StoredFile | None = None


class Migration:
    """Copies an open store to a place that is empty, or that has the files of an earlier attempt.

    The migration holds the write lock of the source; readers go on. The catalog is put in its place last, after all
    else is copied and compared. Until then the target is not a store.

    to: the address of a PostgreSQL database, or a folder that becomes a home. data: a folder or s3://BUCKET/PREFIX.
    """

    def __init__(self, source: RecordStore, to: str, data: str) -> None:
        self._source = source
        with _named_by_options():
            self._target = _settings(source.settings, to, data)
            self._catalog = catalog_of(self._target)
        self._files = FileStorage(source.settings.scratch)

    def run(self, progress: Progress | None = None) -> MigrationReport:
        """Copy and compare the store. `progress` gets the number of copied bytes, and of all bytes."""
        started = time.monotonic()
        source, target = self._source.settings, self._target
        if not self._source.exists:
            raise not_ready(source)
        self._require_apart()
        with self._source.write_lock, self._scratch() as folder:
            copy = CatalogCopy(self._source, target, folder)
            mark = target.data / f"{INCOMPLETE}{copy.identity()}"
            files = self._with_checksums(
                [*(_File(file.path, file.bytes) for file in copy.files()), *_own_files(source)]
            )
            self._require_empty(mark, files)
            self._require_room(files)
            copy.prepare()
            self._put(mark, [_NOT_A_STORE])
            self._copy(files, progress)
            store = str(uuid.uuid4())
            copied = copy.make(store)
            by_hand = self._copy_operators_files()
            if _own_files(source) != [replace(file, known=None) for file in files if file.put_at is not None]:
                raise _changed("some were added, removed or changed")
            self._source.write_lock.prove()
            self._mark(store)
            copy.publish()
        remove(mark)
        return MigrationReport(
            **vars(copied),
            files=len(files),
            bytes=sum(file.bytes for file in files),
            seconds=round(time.monotonic() - started, 1),
            to=self._shown,
            data=_address(target.data),
            environment=self._environment(),
            by_hand=by_hand,
        )

    def _with_checksums(self, files: Sequence[_File]) -> list[_File]:
        """Return the files, each with its version that the ledger has recorded, unless a user may edit it."""
        with self._source.reading() as connection:
            found = ledger_files.files(connection, [file.path for file in files])
        known = {path: file for path, file in found.items() if not file.is_editable}
        return [replace(file, known=known.get(file.path)) for file in files]

    def _mark(self, store: str) -> None:
        """Write the mark of the new store beside its data. Its catalog comes next."""
        with self._source.reading() as connection:
            snapshot = state_of(connection).snapshot
        mark = StoreMark(self._target.data)
        mark.forget()  # the mark of a killed attempt
        mark.create(Mark(store, snapshot, self._source.clock.observe(None)))

    @property
    def _shown(self) -> str:
        return self._catalog.shown if isinstance(self._catalog, PostgresCatalog) else str(self._target.home)

    def _environment(self) -> Mapping[str, str | None]:
        if self._target.postgres is None:
            return {
                "RECORDS_HOME": str(self._target.home),
                "RECORDS_CATALOG": None,
                "RECORDS_DATA": _address(self._target.data),
            }
        return {"RECORDS_CATALOG": self._shown, "RECORDS_DATA": _address(self._target.data)}

    def _require_apart(self) -> None:
        """Raise Refused if a UI serves the source; InvalidRequest if the target is inside its files."""
        running = RunningUi.of(self._source.settings)
        if running is not None and _is_alive(running.pid):
            raise Refused(
                f"records ui serves this store (process {running.pid}). Its changes meanwhile would not be copied.",
                "Stop it, and all imports, exports and arrivals in the inbox. Then migrate.",
            )
        for root in (self._source.settings.lake, *roots(self._source.settings)):
            if f"{_address(self._target.data)}/".startswith(f"{root}/"):
                raise InvalidRequest(
                    f"--data is {self._target.data}, which is among the files of the store to copy.",
                    "Give a folder or a prefix outside them.",
                )

    def _require_empty(self, mark: Location, files: Sequence[_File]) -> None:
        """Raise Refused if the target has other files than an earlier attempt to copy this store left there."""
        with _named_by_options():
            if self._catalog.exists():
                raise Refused(
                    f"There is a store already: {self._shown}.",
                    "Give an empty place. To copy again, remove the store there first.",
                )
            data = _address(self._target.data)
            found = [str(file.place) for file in files_below(self._target.data)]
            allowed = {str(mark)}
            if str(mark) in found:
                allowed.add(f"{data}/{MARK}")
                allowed |= {f"{data}/{file.path}" for file in files}
                allowed |= {str(self._target.home / name) for name in OPERATORS}
            if self._target.postgres is None:
                found += [str(file.place) for file in files_below(self._target.home) if not _is_below(file.place, data)]
            staged = f"{self._target.home / STAGED}/"
        others = [place for place in found if place not in allowed and not place.startswith(staged)]
        if others:
            raise Refused(
                f"The place to migrate to is not empty. It has {others[0]}"
                f"{f' and {len(others) - 1:,} more' if others[1:] else ''}.",
                "Give an empty place, or remove the files there.",
            )

    def _require_room(self, files: Iterable[_File]) -> None:
        """Raise DiskFull if the target's disk has no room for the files that are still to be copied."""
        data = self._target.data
        if not is_local(data):
            return
        needed = sum(file.bytes for file in files if size_of(data / file.path) != file.bytes)
        require_disk_space(data, needed, "The migration", "Make room, or give another place.")

    def _copy(self, files: Sequence[_File], progress: Progress | None) -> None:
        """Copy the files, and read each one back to compare it."""
        total, done = sum(file.bytes for file in files), 0
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for file, _ in zip(files, threads.map(self._copy_file, files), strict=True):
                done += file.bytes
                if progress is not None:
                    progress(done, total)

    def _copy_file(self, file: _File) -> None:
        source, target = self._source.settings.data / file.path, self._target.data / file.path
        try:
            if size_of(target) == file.bytes and checksum(target) == (
                checksum(source) if file.known is None else file.known.checksum
            ):
                return
            sent, number = self._put(target, blocks_of(source))
            if is_local(source) and is_local(target):  # the inbox takes files in order of their time
                status = source.stat()
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except FileNotFoundError:
            if file.put_at is not None:
                raise _changed(f"{file.path} was removed") from None
            raise NotFound(
                f"The file {source} is missing, and a snapshot of the source needs it.",
                "Restore it from a backup, then migrate again. The target is not a store yet.",
            ) from None
        except DamagedFile:
            if file.known is None:
                raise
            raise damaged(source, "has other bytes than were written", file.known) from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DiskFull(
                f"There is no room for {file.path}.", "Make room and migrate again: copied files are not copied again."
            ) from None
        if number != file.bytes:
            raise _changed(f"{file.path} has {number:,} bytes, and had {file.bytes:,}")
        if file.known is not None and not file.known.has_version(sent):
            remove(target)
            raise damaged(source, "has other bytes than were written", file.known)
        if checksum(target) != sent:
            raise Unaccounted(
                f"{target} has other bytes than were written to it.",
                "Check the disk or the object store. Then migrate again, which copies the file again.",
            )

    def _put(self, target: Location, blocks: Iterable[bytes]) -> tuple[str, int]:
        """Write bytes to the target and flush them. Returns their checksum and their number."""
        with _named_by_options():
            return put_blocks(self._files, target, blocks)

    def _copy_operators_files(self) -> tuple[str, ...]:
        """Copy the operators' files to a target in a folder. Returns those that the operator must copy to a server."""
        home = self._source.settings.home
        names = [name for name in OPERATORS if (home / name).exists()]
        if self._target.postgres is not None:
            return tuple(str(home / name) for name in names)
        for name in names:
            self._put(self._target.home / name, blocks_of(home / name))
        return ()

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self._source.settings.scratch / f"migration-{secrets.token_hex(8)}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove(folder)


def _settings(source: Settings, to: str, data: str) -> Settings:
    """Return the settings of the target. For a server, the home and its scratch folder are those of this machine."""
    is_address = to.startswith(("postgresql://", "postgres://"))
    if not is_address and "://" in to:
        raise InvalidRequest(
            "--to is neither an address of a PostgreSQL database nor a folder.",
            "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or the folder that will be RECORDS_HOME.",
        )
    given = {"RECORDS_CATALOG": to, "RECORDS_DATA": data} if is_address else {"RECORDS_HOME": to, "RECORDS_DATA": data}
    place = Settings.from_environment(given)
    home = source.home if is_address else place.home
    return replace(source, home=home, postgres=place.postgres, data=place.data)


def _own_files(settings: Settings) -> list[_File]:
    """Return the accounts' files, as files to copy."""
    return [_File(file.path, file.bytes, file.put_at) for file in own_files(settings)]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _address(folder: Location) -> str:
    """Return a location as text without a final slash, which a whole bucket would have."""
    return str(folder).rstrip("/")


def _is_below(place: Location, folder: str) -> bool:
    return not folder.startswith(OBJECTS) and f"{place}".startswith(f"{folder}/")


def _changed(what: str) -> Refused:
    return Refused(
        f"Files of the store changed while they were copied: {what}.",
        "Stop all imports, exports and arrivals in the inbox. Then migrate again: copied files are not copied again.",
    )


@contextmanager
def _named_by_options() -> Iterator[None]:
    """In errors about settings, name the options of the command in place of environment variables."""
    try:
        yield
    except RecordsError as error:
        texts = [error.message, error.hint]
        for name, option in _NAMED.items():
            texts = [text.replace(name, option) for text in texts]
        raise type(error)(*texts) from None
