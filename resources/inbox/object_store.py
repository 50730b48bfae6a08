"""The inbox in an object store: inbox, processing, archive and quarantine are prefixes.

An object cannot be renamed. To move it, it is copied, and then its original is deleted. A process that is killed in
between leaves it in both places. The next process completes the move, so that the object is imported once.
"""

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from upath import UPath

from resources.clock import new_id
from resources.file_storage import FileStorage, is_local, object_store_errors
from resources.inbox.bundles import BundledFile, checked_bundle, digest, in_bundles, misplaced, rejects_name, why_name
from resources.record_store.write_lock import WriteLock
from resources.settings import Settings
from schemas.arrivals import Look, Seen
from schemas.errors import StoreBusy
from schemas.location import Location

_LONGEST = 255
"""The most bytes of a file name on the machine that reads it."""
_LEVELS = 2
_BUNDLED = re.compile(r"(?P<bundle>a-[^/]+)/(?P<place>[^/]+/[^/]+)/(?P<order>\d{3})/(?P<name>[^/]+)")
"""The key of an object in processing. Its number gives the order, because a copy has a time of its own."""


@dataclass(frozen=True)
class _Object:
    """An object in one of the places: its key within that place, and the version of its content."""

    key: str
    size: int
    modified: datetime
    etag: str

    @property
    def seen(self) -> Seen:
        """Return its state, which differs from that of a later object with the same key."""
        return self.size, int(self.modified.timestamp() * 1_000_000_000), zlib.crc32(self.etag.encode())


class ObjectInbox:
    """The four places that files move through, as prefixes of an object store.

    lock: makes a lock of the store from a name and the seconds to wait for it.
    """

    def __init__(self, settings: Settings, files: FileStorage, lock: Callable[[str, float], WriteLock]) -> None:
        self._files = files
        self._lock = lock
        self._inbox, self._processing, self._archive, self._quarantine = (
            _Place(place) for place in (settings.inbox, settings.processing, settings.archive, settings.quarantine)
        )

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """Return the state of each object in the inbox, by key, except hidden ones."""
        return {each.key: each.seen for each in self._inbox.objects() if not _is_hidden(each.key)}

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Move files into processing, in bundles. Returns a sentence if another process does so now.

        Files in a wrong place go into quarantine, each beside a text with the reason.
        """
        if not paths:
            return []
        try:
            with self._lock("inbox", 1.0):
                self._take(paths, look, accounts, record_types, now)
        except StoreBusy:
            return ["another process is taking files from the inbox now"]
        return []

    def bundles(self) -> dict[str, list[str]]:
        """Return the bundles in processing, oldest first, each with its folders `<account>/<type>`."""
        found: dict[str, set[str]] = {}
        for _, key in self._bundled():
            found.setdefault(key["bundle"], set()).add(key["place"])
        return {bundle: sorted(found[bundle]) for bundle in sorted(found)}

    @contextmanager
    def bundle(self, bundle: str, folder: str = "") -> Iterator[list[BundledFile]]:
        """Lock the bundle for this process and yield its files, oldest modification first.

        folder: lock and yield those of one `<account>/<type>` only, so that several processes share the bundle.
        Yields no files if another process has the lock, or if all files are done.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._lock(f"{checked_bundle(bundle)}/{folder}", 0.0))
            except StoreBusy:
                yield []
                return
            files = []
            for each, key in sorted(
                self._bundled(f"{bundle}/{folder}".rstrip("/")), key=lambda found: found[1]["order"]
            ):
                account, record_type = key["place"].split("/")
                arrival_id = f"{bundle}-{digest(account, record_type, key['name'])}"
                files.append(BundledFile(arrival_id, account, record_type, self._processing.at(each.key)))
            yield files

    @contextmanager
    def opened(self, file: BundledFile) -> Iterator[Path | None]:
        """Yield a copy of the file on this machine for its import."""
        with self._files.fetched(file.path) as path:
            yield path

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """Move the file into the archive, in a folder named for its batch."""
        key = f"{file.account}/{file.record_type}/{batch_id}/{file.path.name}"
        _move(self._processing, _key(self._processing, file.path), self._archive, key)

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """Move the file into quarantine, beside a text with the reason and its rejects file."""
        folder = f"{file.account}/{file.record_type}/{file.arrival_id}"
        self._put_aside(self._processing, _key(self._processing, file.path), folder, why, rejects)

    def _take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> None:
        there = {each.key: each for each in self._inbox.objects()}
        taken = []
        for path in paths:
            if path not in there or there[path].seen != look[path]:
                continue  # it was removed or replaced: the next look finds the new one
            why = _misplaced(path, accounts, record_types)
            if why is None:
                taken.append(path)
            else:
                folder = f"{path.rpartition('/')[0]}/q-{digest(path, *look[path])}".lstrip("/")
                self._put_aside(self._inbox, path, folder, why)
        copied = {(f"{key['place']}/{key['name']}", each.size, each.etag) for each, key in self._bundled()}
        for path in taken[:]:
            each = there[path]
            if each.etag and (path, each.size, each.etag) in copied:  # by a process killed before it deleted this
                self._inbox.delete(path)
                taken.remove(path)
        for number, together in enumerate(in_bundles(taken, look)):
            bundle = new_id("a", now + timedelta(milliseconds=number))
            for order, path in enumerate(together):
                folder, _, name = path.rpartition("/")
                _move(self._inbox, path, self._processing, f"{bundle}/{folder}/{order:03}/{name}")

    def _bundled(self, below: str = "") -> Iterator[tuple[_Object, re.Match[str]]]:
        """Yield the objects in processing, each with the parts of its key."""
        for each in self._processing.objects(below):
            parts = _BUNDLED.fullmatch(each.key)
            if parts:
                yield each, parts

    def _put_aside(self, source: "_Place", key: str, folder: str, why: str, rejects: Location | None = None) -> None:
        name = key.rpartition("/")[2]
        self._quarantine.write(f"{folder}/{why_name(name)}", f"{why.rstrip()}\n")
        if rejects is not None:
            self._quarantine.copy(_path(rejects), f"{folder}/{rejects_name(name, rejects.name)}")
        _move(source, key, self._quarantine, f"{folder}/{name}")


class _Place:
    """A prefix of the object store. The keys of its objects begin after it."""

    def __init__(self, root: Location) -> None:
        if is_local(root):
            raise TypeError(f"{root} is not in an object store")
        self._fs: Any = root.fs
        self._root = root
        self._base = root.path.rstrip("/")

    def objects(self, below: str = "") -> list[_Object]:
        """Return all objects, sorted by key, without the markers of empty folders."""
        with object_store_errors():
            found = self._fs.find(f"{self._base}/{below}".rstrip("/"), detail=True)
        return [
            _Object(path.removeprefix(f"{self._base}/"), it["size"], it["LastModified"], it.get("ETag", ""))
            for path, it in sorted(found.items())
            if not path.endswith("/")
        ]

    def at(self, key: str) -> UPath:
        """Return the location of an object."""
        return self._root / key

    def path(self, key: str) -> str:
        """Return the location of an object in the form that the client of the object store takes."""
        return f"{self._base}/{key}"

    def copy(self, source: str, key: str) -> None:
        """Copy another object to this key."""
        with object_store_errors():
            self._fs.cp_file(source, self.path(key))

    def write(self, key: str, text: str) -> None:
        """Write a text to this key."""
        with object_store_errors():
            self._fs.pipe_file(self.path(key), text.encode())

    def version(self, key: str) -> tuple[Any, ...] | None:
        """Return values that differ if another object replaces this one; None if there is no object."""
        with suppress(FileNotFoundError), object_store_errors():
            found = self._fs.info(self.path(key))
            return found["size"], found["LastModified"], found.get("ETag")
        return None

    def delete(self, key: str) -> None:
        """Delete the object if it exists."""
        with suppress(FileNotFoundError), object_store_errors():
            self._fs.rm_file(self.path(key))


def _move(source: _Place, key: str, target: _Place, final: str) -> None:
    """Copy an object to another place, and delete the original unless it was replaced meanwhile."""
    before = source.version(key)
    if before is None:
        return  # another process has moved or removed it
    target.copy(source.path(key), final)
    if source.version(key) == before:
        source.delete(key)


def _key(place: _Place, path: Location) -> str:
    return _path(path).removeprefix(place.path(""))


def _path(place: Location) -> str:
    """Return a location in the form that the client of the object store takes."""
    return "" if is_local(place) else place.path


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _misplaced(path: str, accounts: Collection[str], record_types: Collection[str]) -> str | None:
    """Return why an object cannot be imported, and what to do; None for one in the right place."""
    *folders, name = path.split("/")
    kind = ""
    if len(folders) > _LEVELS:
        kind = "It is in a folder"
    elif len(name.encode()) > _LONGEST:
        kind = f"Its name has more than {_LONGEST} bytes"
    return misplaced(path, accounts, record_types, kind)
