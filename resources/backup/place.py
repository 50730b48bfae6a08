"""`BackupPlace`: the folder or the prefix of an object store that has the backups of one store.

`backups.json` names the store. `backups/` has a manifest for each backup, and `files/` the files, each below its path
in the store and named for its checksum. So backups share files, and a file can be found without a manifest.

A file appears under its name when it is whole and flushed. A manifest appears after all of its files. So a process that
is killed leaves no backup that lacks a file.
"""

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from resources.checksums import checksum, checksum_of
from resources.file_storage import (
    FileStorage,
    blocks_of,
    entries,
    files_below,
    is_local,
    local,
    make_folder,
    read,
    remove,
    size_of,
    sync,
)
from resources.importing.progress import Progress
from resources.record_store.write_lock import FolderLock
from resources.settings import Settings
from resources.store_files import write_blocks
from schemas.backups import FORMAT, BackupFile, ListedBackup, Manifest
from schemas.counts import numbered
from schemas.errors import DamagedFile, InvalidRequest, NotFound, RecordsError, Refused, StoreUnreachable
from schemas.files import StoredFile
from schemas.location import Location

DESCRIPTION = "backups.json"
MANIFESTS = "backups"
FILES = "files"
UNFINISHED = "unfinished"
"""The folder of a local place in which files are made."""

AT_ONCE = 4
"""How many files are copied or compared at a time."""

_ID = re.compile(r"backup-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")
_PARTIAL = re.compile(r"\..*\.partial")
_OTHER = "Another backup of the same store is whole perhaps: list them with records backups, and choose one with --at."


class BackupPlace:
    """The backups of one store, in a folder or in an object store.

    place: a folder, or s3://BUCKET/PREFIX. settings: those of this machine, for files on their way to an object store.
    """

    def __init__(self, place: str, settings: Settings) -> None:
        self.place = _location(place)
        self._settings = settings
        self._storage = FileStorage(settings.scratch)

    def lock(self) -> AbstractContextManager[None]:
        """Return a lock against other processes that use the place. An object store has none."""
        if not is_local(self.place):
            return nullcontext()
        if not self.place.is_dir():
            raise NotFound(f"There is no folder {self.place}.", "Check whether it was moved, or its disk is mounted.")
        return FolderLock(self.place, self._settings.lock_seconds)

    def require_apart(self, settings: Settings) -> None:
        """Raise InvalidRequest if the place is inside the store to back up, or the store inside the place."""
        here = _address(self.place)
        for name, place in (("RECORDS_DATA", settings.data), ("RECORDS_HOME", settings.home)):
            there = _address(place)
            if f"{here}/".startswith(f"{there}/") or f"{there}/".startswith(f"{here}/"):
                raise InvalidRequest(
                    f"The place of the backups, {self.place}, and {name}, {place}, are one inside the other.",
                    "Give a place outside the store, best on another disk or another machine.",
                )

    def make(self) -> None:
        """Make the folder, if it is one and is missing."""
        if is_local(self.place):
            make_folder(self.place)

    def claim(self, store: str) -> None:
        """Make the place one of this store. Raises Refused if it is of another store, or has other files."""
        owner = self._owner()
        if owner == store:
            return
        if owner is not None:
            raise Refused(
                f"{self.place} has the backups of another store: {owner}. This store is {store}.",
                "Give another place: each store has its own.",
            )
        with self._reached():
            other = next((file for file in files_below(self.place) if not self._is_left(file.place)), None)
            if other is not None:
                raise Refused(
                    f"{self.place} is no place of backups, and is not empty. It has {other.place}.",
                    "Give an empty folder or prefix, or one with backups of this store.",
                )
            self._write(DESCRIPTION, json.dumps({"format": FORMAT, "store": store}) + "\n")

    def ids(self) -> list[str]:
        """Return the ids of the backups, oldest first. Raises NotFound if this is no place of backups."""
        if self._owner() is None:
            raise NotFound(f"There are no backups in {self.place}.", "Check the place. Make one: records backup PLACE.")
        with self._reached():
            names = [place.name.removesuffix(".json") for place in entries(self.place / MANIFESTS)]
        return sorted(name for name in names if _ID.fullmatch(name))

    def manifest(self, backup: str) -> Manifest:
        """Return the manifest of a backup, whole and of a form that this version knows.

        Raises NotFound, DamagedFile, or Refused for another form.
        """
        place = self.place / MANIFESTS / f"{backup}.json"
        try:
            with self._reached():
                content = read(place)
        except FileNotFoundError:
            raise NotFound(f"There is no backup {backup!r} in {self.place}.", "List them: records backups.") from None
        head, _, body = content.partition(b"\n")
        try:
            described = json.loads(head)
            _require_known(described, place)
            if described["checksum"] != checksum_of([body]):
                raise ValueError
            manifest = Manifest.from_json(body.decode())
        except (ValueError, KeyError, TypeError):
            raise DamagedFile(f"The manifest {place} is damaged.", f"Nothing of it was used. {_OTHER}") from None
        if manifest.store != self._owner():
            raise DamagedFile(
                f"{self.place / DESCRIPTION} names another store than the manifest {place}: one of them is damaged.",
                "Nothing of it was used. If the other manifests name the same store too, correct the first file.",
            )
        return manifest

    def newest(self) -> Manifest | None:
        """Return the newest manifest that can be read; None if there is none."""
        for backup in reversed(self.ids()):
            with suppress(DamagedFile):
                return self.manifest(backup)
        return None

    def chosen(self, backup: str | None) -> Manifest:
        """Return the manifest of a backup, or of the newest one."""
        if backup is not None:
            return self.manifest(backup)
        ids = self.ids()
        if not ids:
            raise NotFound(f"There are no backups in {self.place}.", "A first one was perhaps interrupted.")
        return self.manifest(ids[-1])

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest of a backup that has all of its files. From now on the backup exists."""
        body = manifest.to_json() + "\n"
        head = json.dumps({"format": FORMAT, "checksum": checksum_of([body.encode()])})
        with self._reached():
            self._write(f"{MANIFESTS}/{manifest.backup}.json", f"{head}\n{body}")

    def listing(self) -> dict[str, int]:
        """Return the bytes of all files, by path below the place."""
        with self._reached():
            return {
                f"{FILES}/{_below(file.place, self.place / FILES)}": file.bytes
                for file in files_below(self.place / FILES)
            }

    def add(self, path: str, content: Iterable[bytes], present: Iterable[str] = ()) -> BackupFile:
        """Put a file into the place, flushed, unless it is among those present. Returns it with its checksum."""
        made = self._working()
        try:
            digest, number = write_blocks(made, content)
            file = BackupFile(path, number, digest)
            if file.place not in present:
                final = self.place / file.place
                if is_local(final):
                    make_folder(final.parent)
                with self._reached():
                    self._storage.put(made, final)
            return file
        finally:
            remove(made)

    def content(self, file: BackupFile) -> Iterator[bytes]:
        """Return the bytes of a file, block by block."""
        with self._reached():
            yield from blocks_of(self.place / file.place)

    def damage(self, file: BackupFile) -> str | None:
        """Return what is wrong with a file, after reading it from the disk; None if it is whole."""
        place = self.place / file.place
        with self._reached():
            try:
                size = size_of(place)
                if size is None:
                    return "is missing"
                if size != file.bytes:
                    return f"has {size:,} bytes, and {file.bytes:,} were written"
                _forget_cache(place)
                return None if checksum(place) == file.checksum else "has other bytes than were written"
            except FileNotFoundError:
                return "is missing"
            except DamagedFile:
                return "has other bytes than were written"

    def damages(self, files: Sequence[BackupFile], progress: Progress | None = None) -> dict[str, str]:
        """Read all the files. Returns what is wrong with each damaged one, by its path below the place."""
        total, done, found = sum(file.bytes for file in files), 0, {}
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for file, damage in zip(files, threads.map(self.damage, files), strict=True):
                done += file.bytes
                if progress is not None:
                    progress(done, total)
                if damage is not None:
                    found[file.place] = damage
        return found

    def require_whole(self, manifest: Manifest, progress: Progress | None = None) -> None:
        """Raise DamagedFile if a file of a backup is damaged, after reading all of them."""
        damaged = self.damages(manifest.files, progress)
        if damaged:
            place, damage = next(iter(damaged.items()))
            more = f" So are {numbered(len(damaged) - 1, 'other file')}." if damaged.keys() - {place} else ""
            raise DamagedFile(
                f"The backup {manifest.backup} is damaged: {self.place / place} {damage}.{more}",
                f"Nothing was restored. {_OTHER}",
            )

    def listed(self, *, verify: bool = False, progress: Progress | None = None) -> list[ListedBackup]:
        """Return the backups, newest first. verify: read all of their files, each once."""
        manifests: dict[str, Manifest | RecordsError] = {}
        for backup in self.ids():
            try:
                manifests[backup] = self.manifest(backup)
            except (DamagedFile, Refused) as error:
                manifests[backup] = error
        read_ones = [it for it in manifests.values() if isinstance(it, Manifest)]
        damaged: dict[str, str] = {}
        if verify:
            shared = {file.place: file for manifest in read_ones for file in manifest.files}
            damaged = self.damages([*shared.values()], progress)
        return [_listed(backup, manifests[backup], damaged) for backup in sorted(manifests, reverse=True)]

    def prune(self, keep: int) -> tuple[tuple[str, ...], int]:
        """Remove the oldest backups except so many, then the files that no manifest names. Returns ids and bytes.

        If a manifest that stays cannot be read, its files are unknown. Then this raises the error and removes nothing.
        """
        ids = self.ids()
        old, kept = ids[:-keep], ids[-keep:]
        named = {file.place for backup in kept for file in self.manifest(backup).files}
        freed = 0
        with self._reached():
            for backup in old:
                remove(self.place / MANIFESTS / f"{backup}.json")
            if is_local(self.place):
                sync(self.place / MANIFESTS)  # no manifest may come back after its files are gone
            for path, size in self.listing().items():
                if path not in named:
                    remove(self.place / path)
                    freed += size
                    self._remove_empty(path)
        return tuple(old), freed

    def find(self, file: StoredFile) -> Location | None:
        """Return where the place has this version of a file, whole; None if it does not have it."""
        for digest in (file.checksum, *reversed(file.earlier)):
            if digest is None:
                continue
            wanted = BackupFile(file.path, 0, digest)
            size = size_of(self.place / wanted.place)
            if size is not None and self.damage(BackupFile(file.path, size, digest)) is None:
                return self.place / wanted.place
        return None

    def versions(self, path: str) -> Sequence[Location]:
        """Return where the place has versions of a file, whole or not."""
        with self._reached():
            return entries(self.place / FILES / path)

    def clear_unfinished(self) -> None:
        """Remove what a killed process was writing."""
        if is_local(self.place):
            remove(self.place / UNFINISHED)

    def _owner(self) -> str | None:
        """Return the id of the store that has its backups here; None if there is no description."""
        place = self.place / DESCRIPTION
        try:
            with self._reached():
                described = json.loads(read(place))
            _require_known(described, place)
            return str(described["store"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):
            raise DamagedFile(
                f"{place} is damaged. It must name the store of the backups.",
                f'Write it again: {{"format": {FORMAT}, "store": "…"}}. The store\'s id is in each manifest.',
            ) from None

    def _write(self, path: str, text: str) -> None:
        with self._storage.making(self.place / path) as made:
            made.write_text(text, encoding="utf-8")

    def _working(self) -> Path:
        folder = local(self.place / UNFINISHED) if is_local(self.place) else self._settings.scratch
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"backup-{secrets.token_hex(8)}"

    def _is_left(self, place: Location) -> bool:
        """Return whether a killed process left the file."""
        return _PARTIAL.fullmatch(place.name) is not None or UNFINISHED in place.parts

    def _remove_empty(self, path: str) -> None:
        if is_local(self.place):
            for folder in (self.place / path).parents:
                if folder == self.place / FILES:
                    return
                with suppress(OSError):
                    folder.rmdir()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """In errors of an object store, name the place of the backups in place of the store's data."""
        try:
            yield
        except StoreUnreachable as error:
            raise StoreUnreachable(
                error.message.replace("The object store", f"The place of the backups, {self.place},"),
                error.hint.replace("the bucket of RECORDS_DATA", "its bucket"),
            ) from None


def _location(text: str) -> Location:
    if not text.strip():  # as a setting, it would mean the default place of a store
        raise InvalidRequest(
            "No place of the backups is given: it is empty.",
            "Give a folder, or s3://BUCKET/PREFIX. On a server, set BACKUP_PLACE in /etc/records/environment.",
        )
    try:
        return Settings.from_environment({"RECORDS_DATA": text}).data
    except InvalidRequest:
        raise InvalidRequest(
            f"The place of the backups is {text!r}.", "Give a folder, or s3://BUCKET/PREFIX."
        ) from None


def _address(place: Location) -> str:
    """Return a place as text, with links resolved and without a final slash."""
    return str(place.resolve() if is_local(place) else place).rstrip("/")


def _below(place: Location, root: Location) -> str:
    return str(place).removeprefix(str(root)).lstrip("/")


def _require_known(described: dict[str, Any], place: Location) -> None:
    found = described["format"]
    if found != FORMAT:
        raise Refused(
            f"{place} has version {found} of the form of backups, and this program reads version {FORMAT}.",
            "Use the version of records that made the backup, or a newer one. CHANGELOG.md names them.",
        )


def _forget_cache(place: Location) -> None:
    """Let the next reading come from the disk, not from the memory that has what was written."""
    if is_local(place):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _listed(backup: str, manifest: Manifest | RecordsError, damaged: dict[str, str]) -> ListedBackup:
    if isinstance(manifest, RecordsError):
        return ListedBackup(backup, damage=manifest.message)
    own = [f"{file.place} {damaged[file.place]}" for file in manifest.files if file.place in damaged]
    damage = None if not own else f"{own[0]}{f' and {len(own) - 1:,} more' if own[1:] else ''}"
    return ListedBackup(
        backup,
        manifest.snapshot,
        manifest.at,
        len(manifest.files),
        manifest.bytes,
        manifest.verified_at,
        damage,
    )
