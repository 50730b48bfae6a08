"""The lake's files in an object store, as DuckDB reads and writes them: by way of this machine's disk.

DuckDB asks for ranges of a file, and no checksum is known of a range. So a file is fetched whole, the bytes that came
are compared with its checksum, and DuckDB reads them from here. A file that DuckDB writes is made here and put into the
object store when it is complete. The lake's files never change, so that what was fetched once is true for ever.
"""

import io
import os
import secrets
import shutil
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

from resources.file_storage import OBJECTS, Checksum, is_local, object_store_errors, put_object
from resources.settings import Settings
from schemas.errors import DamagedFile
from schemas.location import Location

PROTOCOL = "records"
"""The protocol of the addresses by which DuckDB knows the objects: `records://BUCKET/KEY` for `s3://BUCKET/KEY`."""

_ADDRESS = f"{PROTOCOL}://"
_BLOCK = 1 << 20
_MOST_COPIES = 400
"""Copies that are kept at a time, each with an open descriptor."""
_UNCHANGED = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Copy:
    """A file of this machine without a name, which ends with its descriptor; the size and the checksum of it."""

    descriptor: int
    size: int
    checksum: str

    def open(self) -> IO[bytes]:
        """The copy, read from its beginning, whoever else reads it."""
        return _Read(f"/dev/fd/{self.descriptor}", "rb")


class ObjectFiles(AbstractFileSystem):  # type: ignore[misc]
    """The objects of one store as a file system of DuckDB's, for any number of threads.

    `failure` is the last error of an object store or a disk: DuckDB passes on no more than its text.
    """

    protocol = PROTOCOL
    cachable = False  # an instance belongs to a store

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if is_local(settings.data):
            raise TypeError(f"{settings.data} is in no object store")
        self._fs: Any = settings.data.fs
        self._scratch = settings.scratch
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._proven: set[str] = set()
        self._turn = Lock()
        self.failure: Exception | None = None
        weakref.finalize(self, _close_all, self._copies)

    # What the store asks

    @staticmethod
    def address(place: Location) -> str:
        """The place as DuckDB knows it."""
        return _ADDRESS + str(place).removeprefix(OBJECTS)

    def checksum(self, place: Location) -> str:
        """Returns the checksum of a file, which is fetched unless it is here."""
        return self._copy(_key(self.address(place))).checksum

    def is_whole(self, place: Location, expected: str | None, *, anew: bool = False) -> bool:
        """Whether a file has the expected checksum. If not, it is fetched once more; anew: fetch it in any case."""
        key = _key(self.address(place))
        if anew:
            self._forget(key)
        for _ in range(2):
            with suppress(DamagedFile, FileNotFoundError):
                if self._copy(key).checksum == expected:
                    with self._turn:
                        self._proven.add(key)
                    return True
            self.failure = None
            self._forget(key)
        return False

    def unproven(self, root: Location) -> list[str]:
        """The files that DuckDB has read and that were not compared, by their paths below a root."""
        base = _key(self.address(root)).rstrip("/") + "/"
        with self._turn:
            return [key.removeprefix(base) for key in self._copies if key not in self._proven]

    def let_go(self) -> None:
        """Keep no copy any longer."""
        with self._turn:
            _close_all(self._copies)
            self._proven.clear()

    def take_failure(self) -> Exception | None:
        """What has failed since this was asked last."""
        failure, self.failure = self.failure, None
        return failure

    # What DuckDB asks

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """The file, of this machine: to be read, or to be written and then put into the object store."""
        key = _key(path)
        if "r" in mode:
            while True:
                copy = self._copy(key)
                with self._turn:
                    if self._copies.get(key) is copy:  # else it was let go meanwhile
                        return copy.open()
        return _Made(self._partial(), lambda made: self._put(made, key))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """The size of a file."""
        return {"name": path, "size": self.size(path), "type": "file"}

    def size(self, path: str) -> int:
        """The bytes of a file."""
        return self._copy(_key(path)).size

    def modified(self, path: str) -> datetime:
        """Always the same time: no file is ever changed."""
        return _UNCHANGED

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is such a file."""
        return self.isfile(path)

    def isfile(self, path: str) -> bool:
        """Whether there is such a file. What is not called as one is a folder, for which nobody is asked."""
        if not path.endswith(".parquet"):
            return False
        with self._telling(_key(path)):
            return bool(self._fs.exists(_key(path)))

    def isdir(self, path: str) -> bool:
        """Whether it may be a folder. An object store has none, so that none is missing."""
        return not path.endswith(".parquet")

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Nothing: an object store has no folders."""

    def glob(self, path: str, **_: Any) -> list[str]:
        """The file itself: the lake's files are named one by one."""
        return [path]

    def rm_file(self, path: str) -> None:
        """Nothing. DuckLake removes the files of a commit that has failed, but perhaps the answer alone was lost.

        Files that no commit names are swept when days have passed.
        """

    # How

    def _copy(self, key: str) -> _Copy:
        with self._turn:
            if key in self._copies:
                self._copies.move_to_end(key)
                return self._copies[key]
        partial = self._partial()
        try:
            with self._telling(key):
                self._fs.get_file(key, str(partial))
            return self._keep(key, partial)
        finally:
            partial.unlink(missing_ok=True)

    def _keep(self, key: str, file: Path) -> _Copy:
        digest = Checksum()
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        size = 0
        while block := os.pread(descriptor, _BLOCK, size):
            digest.update(block)
            size += len(block)
        copy = _Copy(descriptor, size, str(digest))
        with self._turn:
            if key in self._copies:  # another thread was faster
                os.close(descriptor)
                return self._copies[key]
            self._copies[key] = copy
            most = shutil.disk_usage(self._scratch).free + self._bytes()
            while len(self._copies) > 1 and (len(self._copies) > _MOST_COPIES or self._bytes() > most // 2):
                oldest, let_go = self._copies.popitem(last=False)
                self._proven.discard(oldest)
                os.close(let_go.descriptor)
            return copy

    def _bytes(self) -> int:
        return sum(copy.size for copy in self._copies.values())

    def _put(self, made: Path, key: str) -> None:
        try:
            with self._telling(key):
                put_object(self._fs, made, key)
            self._keep(key, made)
            with self._turn:
                self._proven.add(key)
        finally:
            made.unlink(missing_ok=True)

    def _forget(self, key: str) -> None:
        with self._turn:
            self._proven.discard(key)
            copy = self._copies.pop(key, None)
            if copy is not None:
                os.close(copy.descriptor)  # those who read it have one of their own

    def _partial(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch / f"lake-{secrets.token_hex(8)}"

    def _telling(self, key: str) -> "_Telling":
        return _Telling(self, f"{OBJECTS}{key}")


class _Telling:
    """Keeps what fails, in the words for it: see `ObjectFiles.failure`."""

    def __init__(self, files: ObjectFiles, place: str) -> None:
        self._files = files
        self._answered = object_store_errors(place)

    def __enter__(self) -> None:
        self._answered.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        try:
            return self._answered.__exit__(*error)
        except Exception as told:
            self._files.failure = told
            raise


class _Read(io.FileIO):
    """A file that is closed when DuckDB drops it, which does not always close what it has read."""

    def __del__(self) -> None:
        self.close()


class _Made(io.FileIO):
    """A file that is being made, and is put where it belongs when it is closed; one that is dropped is incomplete."""

    def __init__(self, path: Path, put: Callable[[Path], None]) -> None:
        super().__init__(path, "xb")
        self._path, self._put = path, put

    def close(self) -> None:
        """Close the file, and put it where it belongs."""
        if not self.closed:
            super().close()
            self._put(self._path)

    def __del__(self) -> None:
        if not self.closed:
            super().close()
            self._path.unlink(missing_ok=True)


def _close_all(copies: OrderedDict[str, _Copy]) -> None:
    while copies:
        os.close(copies.popitem()[1].descriptor)


def _key(path: str) -> str:
    """The bucket and the key of an address."""
    return path.removeprefix(_ADDRESS)
