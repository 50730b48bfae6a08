"""The places that files pass through, in an object store: inbox, processing, archive, quarantine.

An object is there whole or not at all, and cannot be renamed: it is copied, and then deleted where it was. Whoever is
killed in between leaves it in both places; what comes next completes the move, so that it is imported once.
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
from resources.file_storage import FileStorage, answered, is_local
from resources.inbox.bundles import BundledFile, checked_bundle, digest, in_bundles, misplaced, why_name
from resources.record_store.write_lock import WriteLock
from resources.settings import Settings
from schemas.arrivals import Look, Seen
from schemas.errors import StoreBusy
from schemas.location import Location

_LONGEST = 255
"""Bytes of a file's name, at most, on the machine that reads it."""
_LEVELS = 2
_BUNDLED = re.compile(r"(?P<bundle>a-[^/]+)/(?P<place>[^/]+/[^/]+)/(?P<order>\d{3})/(?P<name>[^/]+)")
"""The key of an object in processing. Its number keeps the order, for a copy has another time than its original."""


@dataclass(frozen=True)
class _Object:
    """An object below one of the places: its key from there on, and what is known of its content."""

    key: str
    size: int
    modified: datetime
    etag: str

    @property
    def seen(self) -> Seen:
        """What tells it from another one that may come after it."""
        return self.size, int(self.modified.timestamp() * 1_000_000_000), zlib.crc32(self.etag.encode())


class ObjectInbox:
    """What lies in the four places, and how it gets from one to the next.

    `lock` makes a lock of the store's, by a name and the seconds to wait for it.
    """

    def __init__(self, settings: Settings, files: FileStorage, lock: Callable[[str, float], WriteLock]) -> None:
        self._files = files
        self._lock = lock
        self._inbox, self._processing, self._archive, self._quarantine = (
            _Place(place) for place in (settings.inbox, settings.processing, settings.archive, settings.quarantine)
        )

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """What there is in `inbox/<account>/<type>`, or lies elsewhere in the inbox; hidden files do not count."""
        return {each.key: each.seen for each in self._inbox.objects() if not _is_hidden(each.key)}

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Files are in processing, in bundles; what lies in a wrong place is in quarantine, each with its reason.

        Returns why others could not be moved, in sentences.
        """
        if not paths:
            return []
        try:
            with self._lock("inbox", 1.0):
                self._take(paths, look, accounts, record_types, now)
        except StoreBusy:
            return ["another process takes files from the inbox at this moment"]
        return []

    def bundles(self) -> dict[str, list[str]]:
        """The bundles in processing, oldest first, with the accounts and types that they hold files of."""
        found: dict[str, set[str]] = {}
        for _, told in self._bundled():
            found.setdefault(told["bundle"], set()).add(told["place"])
        return {bundle: sorted(found[bundle]) for bundle in sorted(found)}

    @contextmanager
    def bundle(self, bundle: str) -> Iterator[list[BundledFile]]:
        """The files of the bundle, in the order in which they were last modified, for one process at a time.

        There are none when another process is at it, or when all is done.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._lock(checked_bundle(bundle), 0.0))
            except StoreBusy:
                yield []
                return
            files = []
            for each, told in sorted(self._bundled(bundle), key=lambda found: found[1]["order"]):
                account, record_type = told["place"].split("/")
                arrival_id = f"{bundle}-{digest(account, record_type, told['name'])}"
                files.append(BundledFile(arrival_id, account, record_type, self._processing.at(each.key)))
            yield files

    @contextmanager
    def opened(self, file: BundledFile) -> Iterator[Path | None]:
        """The file on this machine, for as long as it is imported. None: it is none any more."""
        with self._files.fetched(file.path) as path:
            yield path

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """The file lies in the archive, in a folder of its batch."""
        key = f"{file.account}/{file.record_type}/{batch_id}/{file.path.name}"
        _move(self._processing, _key(self._processing, file.path), self._archive, key)

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """The file lies in quarantine, beside a text that says why and its rejects file."""
        folder = f"{file.account}/{file.record_type}/{file.arrival_id}"
        self._put_aside(self._processing, _key(self._processing, file.path), folder, why, rejects)

    def _take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> None:
        there = {each.key: each for each in self._inbox.objects()}
        taken = []
        for path in paths:
            if path not in there or there[path].seen != look[path]:
                continue  # it was taken away, or another one has come: that is looked at once more
            why = _misplaced(path, accounts, record_types)
            if why is None:
                taken.append(path)
            else:
                folder = f"{path.rpartition('/')[0]}/q-{digest(path, *look[path])}".lstrip("/")
                self._put_aside(self._inbox, path, folder, why)
        begun = {(f"{told['place']}/{told['name']}", each.size, each.etag) for each, told in self._bundled()}
        for path in taken[:]:
            each = there[path]
            if each.etag and (path, each.size, each.etag) in begun:  # by one who was killed before it was deleted
                self._inbox.delete(path)
                taken.remove(path)
        for number, together in enumerate(in_bundles(taken, look)):
            bundle = new_id("a", now + timedelta(milliseconds=number))
            for order, path in enumerate(together):
                folder, _, name = path.rpartition("/")
                _move(self._inbox, path, self._processing, f"{bundle}/{folder}/{order:03}/{name}")

    def _bundled(self, below: str = "") -> Iterator[tuple[_Object, re.Match[str]]]:
        """The objects in processing, with what their keys tell."""
        for each in self._processing.objects(below):
            told = _BUNDLED.fullmatch(each.key)
            if told:
                yield each, told

    def _put_aside(self, source: "_Place", key: str, folder: str, why: str, rejects: Location | None = None) -> None:
        name = key.rpartition("/")[2]
        self._quarantine.write(f"{folder}/{why_name(name)}", f"{why.rstrip()}\n")
        if rejects is not None:
            self._quarantine.copy(_path(rejects), f"{folder}/{rejects.name}")
        _move(source, key, self._quarantine, f"{folder}/{name}")


class _Place:
    """A prefix of the object store, and the objects below it by their keys from there on."""

    def __init__(self, root: Location) -> None:
        if is_local(root):
            raise TypeError(f"{root} is in no object store")
        self._fs: Any = root.fs
        self._root = root
        self._base = root.path.rstrip("/")

    def objects(self, below: str = "") -> list[_Object]:
        """All there are, by key; what stands for an empty folder is none."""
        with answered():
            found = self._fs.find(f"{self._base}/{below}".rstrip("/"), detail=True)
        return [
            _Object(path.removeprefix(f"{self._base}/"), it["size"], it["LastModified"], it.get("ETag", ""))
            for path, it in sorted(found.items())
            if not path.endswith("/")
        ]

    def at(self, key: str) -> UPath:
        """Where an object is."""
        return self._root / key

    def path(self, key: str) -> str:
        """The same, as the object store's client takes it."""
        return f"{self._base}/{key}"

    def copy(self, source: str, key: str) -> None:
        """The object has the content of another one."""
        with answered():
            self._fs.cp_file(source, self.path(key))

    def write(self, key: str, text: str) -> None:
        """The object is that text."""
        with answered():
            self._fs.pipe_file(self.path(key), text.encode())

    def version(self, key: str) -> tuple[Any, ...] | None:
        """What tells an object from another one in its place; None where there is none."""
        with suppress(FileNotFoundError), answered():
            found = self._fs.info(self.path(key))
            return found["size"], found["LastModified"], found.get("ETag")
        return None

    def delete(self, key: str) -> None:
        """The object is gone."""
        with suppress(FileNotFoundError), answered():
            self._fs.rm_file(self.path(key))


def _move(source: _Place, key: str, target: _Place, final: str) -> None:
    """The object lies there and no longer where it was, unless somebody has put another one in its place meanwhile."""
    before = source.version(key)
    if before is None:
        return  # another has moved it, or taken it away
    target.copy(source.path(key), final)
    if source.version(key) == before:
        source.delete(key)


def _key(place: _Place, path: Location) -> str:
    return _path(path).removeprefix(place.path(""))


def _path(place: Location) -> str:
    """As the object store's client takes it."""
    return "" if is_local(place) else place.path


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _misplaced(path: str, accounts: Collection[str], record_types: Collection[str]) -> str | None:
    """Why what lies there cannot be imported, and what to do; None for a file in its place."""
    *folders, name = path.split("/")
    kind = ""
    if len(folders) > _LEVELS:
        kind = "It lies in a folder"
    elif len(name.encode()) > _LONGEST:
        kind = f"Its name has more than {_LONGEST} bytes"
    return misplaced(path, accounts, record_types, kind)
