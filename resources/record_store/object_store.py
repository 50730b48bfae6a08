"""Lets DuckDB read and write the lake's files in an object store, by copies on this machine's disk.

DuckDB reads ranges of a file, and checksums exist only for whole files. So a file is fetched whole and compared with
its checksum, and DuckDB reads the copy. A file that DuckDB writes is made here, and put into the object store when it
is complete. The lake's files never change, so a copy never becomes outdated.
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

from resources.checksums import checksum, checksum_of
from resources.file_storage import OBJECTS, blocks, is_local, object_store_errors, put_object, unreachable
from resources.settings import Settings
from schemas.errors import DamagedFile
from schemas.location import Location

PROTOCOL = "records"
"""The protocol of addresses for DuckDB: `records://BUCKET/KEY` means `s3://BUCKET/KEY`."""

_ADDRESS = f"{PROTOCOL}://"
_MOST_COPIES = 400
"""The most copies at a time. Each has an open descriptor."""
_UNCHANGED = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class _Copy:
    """A file of this machine without a name, with its size. It ends when its descriptor is closed.

    checksum: of its bytes, as this operation has read them; None if it has not.
    """

    descriptor: int
    size: int
    checksum: str | None

    def open(self) -> IO[bytes]:
        """Open the copy from its beginning, independent of other readers."""
        return _Read(f"/dev/fd/{self.descriptor}", "rb")


class ObjectFiles(AbstractFileSystem):  # type: ignore[misc]
    """The objects of one store as a file system for DuckDB. Thread-safe.

    failure: the last error of the object store or the disk. DuckDB passes on only its text.
    """

    protocol = PROTOCOL
    cachable = False  # an instance belongs to a store

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if is_local(settings.data):
            raise TypeError(f"{settings.data} is not in an object store")
        self._fs: Any = settings.data.fs
        self._scratch = settings.scratch
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._compared: set[str] = set()
        self._uncompared: set[str] = set()
        self._unfinished: set[str] = set()
        self._put_checksums: dict[str, str] = {}
        self._turn = Lock()
        self.failure: Exception | None = None
        weakref.finalize(self, _close_all, self._copies)

    # For the store

    @staticmethod
    def address(place: Location) -> str:
        """Return the address of a file for DuckDB."""
        return _ADDRESS + str(place).removeprefix(OBJECTS)

    def begin(self) -> None:
        """Forget the errors and the written files of earlier uses."""
        with self._turn:
            self.failure = None
            self._unfinished.clear()
            self._put_checksums.clear()

    def forget_comparisons(self) -> None:
        """Read each copy again before it counts as compared: a bit of it may have flipped."""
        with self._turn:
            self._compared.clear()
            for copy in self._copies.values():
                copy.checksum = None

    def require_written(self) -> None:
        """Raise the error since the last call; or StoreUnreachable if DuckDB did not finish a file that it began."""
        failure = self.take_failure()
        if failure is not None:
            raise failure
        with self._turn:
            unfinished = sorted(self._unfinished)
        if unfinished:
            raise unreachable(f"{OBJECTS}{unfinished[0]} was not written completely")

    def checksum(self, place: Location) -> str:
        """Return the checksum of a file: of the bytes that DuckDB wrote, or of the object if it wrote none."""
        key = _key(self.address(place))
        with self._turn:
            written = self._put_checksums.get(key)
        return written or self._checksum(key)

    def is_whole(self, place: Location, expected: str | None, *, anew: bool = False) -> bool:
        """Return whether a file has the expected checksum. If not, fetch it once more. anew: always fetch it."""
        key = _key(self.address(place))
        if anew:
            self._forget(key)
        for _ in range(2):
            with suppress(DamagedFile, FileNotFoundError):
                if self._checksum(key) == expected:
                    with self._turn:
                        self._compared.add(key)
                        self._uncompared.discard(key)
                    return True
            self.failure = None
            self._forget(key)
        return False

    def uncompared(self, root: Location) -> list[str]:
        """Return the paths below a root of files that DuckDB has read and that were not compared."""
        base = _key(self.address(root)).rstrip("/") + "/"
        with self._turn:
            return [key.removeprefix(base) for key in self._uncompared]

    def drop_copies(self) -> None:
        """Remove all copies."""
        with self._turn:
            _close_all(self._copies)
            self._compared.clear()
            self._uncompared.clear()

    def take_failure(self) -> Exception | None:
        """Return the error since the last call, and forget it; None if there was none."""
        failure, self.failure = self.failure, None
        return failure

    # For DuckDB

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """Open the copy of a file, or a new file that is put into the object store when it is closed."""
        key = _key(path)
        if "r" in mode:
            with self._turn:
                if key not in self._compared:
                    self._uncompared.add(key)
            return self._opened(key)[1]
        with self._turn:
            self._unfinished.add(key)
        return _Made(self._partial(), lambda made: self._put(made, key))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return the name, size and kind of a file."""
        return {"name": path, "size": self.size(path), "type": "file"}

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        return self._copy(_key(path)).size

    def modified(self, path: str) -> datetime:
        """Return always the same time, because files never change."""
        return _UNCHANGED

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether the file exists."""
        return self.isfile(path)

    def isfile(self, path: str) -> bool:
        """Return whether the file exists. Any other name than one of a Parquet file is a folder's."""
        if not path.endswith(".parquet"):
            return False
        with self._recording(_key(path)):
            return bool(self._fs.exists(_key(path)))

    def isdir(self, path: str) -> bool:
        """Return whether the name is a folder's. An object store has no folders, so none is missing."""
        return not path.endswith(".parquet")

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Do nothing: an object store has no folders."""

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself, because the lake's files are named one by one."""
        return [path]

    def rm_file(self, path: str) -> None:
        """Do nothing. DuckLake removes the files of a failed commit, but perhaps only the confirmation was lost.

        A sweep removes files that no commit names after some days.
        """

    # Inner workings

    def _copy(self, key: str) -> _Copy:
        with self._turn:
            if key in self._copies:
                self._copies.move_to_end(key)
                return self._copies[key]
        partial = self._partial()
        try:
            with self._recording(key):
                self._fs.get_file(key, str(partial))
            return self._keep(key, partial)
        finally:
            partial.unlink(missing_ok=True)

    def _opened(self, key: str) -> tuple[_Copy, IO[bytes]]:
        while True:
            copy = self._copy(key)
            with self._turn:
                if self._copies.get(key) is copy:  # else it was removed meanwhile
                    return copy, copy.open()

    def _checksum(self, key: str) -> str:
        copy, file = self._opened(key)
        with file:
            if copy.checksum is None:
                copy.checksum = checksum_of(blocks(file))
            return copy.checksum

    def _keep(self, key: str, file: Path, digest: str | None = None) -> _Copy:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        copy = _Copy(descriptor, os.fstat(descriptor).st_size, digest)
        with self._turn:
            if key in self._copies:  # another thread was faster
                os.close(descriptor)
                return self._copies[key]
            self._copies[key] = copy
            most = shutil.disk_usage(self._scratch).free + self._bytes()
            while len(self._copies) > 1 and (len(self._copies) > _MOST_COPIES or self._bytes() > most // 2):
                oldest, removed = self._copies.popitem(last=False)
                self._compared.discard(oldest)
                os.close(removed.descriptor)
            return copy

    def _bytes(self) -> int:
        return sum(copy.size for copy in self._copies.values())

    def _put(self, made: Path, key: str) -> None:
        try:
            with self._recording(key):
                put_object(self._fs, made, key)
            digest = checksum(made)
            self._keep(key, made, digest)
            with self._turn:
                self._compared.add(key)
                self._unfinished.discard(key)
                self._put_checksums[key] = digest
        finally:
            made.unlink(missing_ok=True)

    def _forget(self, key: str) -> None:
        with self._turn:
            self._compared.discard(key)
            copy = self._copies.pop(key, None)
            if copy is not None:
                os.close(copy.descriptor)  # readers have descriptors of their own

    def _partial(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch / f"lake-{secrets.token_hex(8)}"

    def _recording(self, key: str) -> "_Recording":
        return _Recording(self, f"{OBJECTS}{key}")


class _Recording:
    """Turns errors of the object store into ours, and records them: see `ObjectFiles.failure`."""

    def __init__(self, files: ObjectFiles, place: str) -> None:
        self._files = files
        self._errors = object_store_errors(place)

    def __enter__(self) -> None:
        self._errors.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        try:
            return self._errors.__exit__(*error)
        except Exception as failure:
            self._files.failure = failure
            raise


class _Read(io.FileIO):
    """A file for reading. It is closed when DuckDB drops it, because DuckDB does not always close it."""

    def __del__(self) -> None:
        self.close()


class _Made(io.FileIO):
    """A file for writing. Closing puts it into the object store. A file dropped without closing is incomplete."""

    def __init__(self, path: Path, put: Callable[[Path], None]) -> None:
        super().__init__(path, "xb")
        self._path, self._put = path, put

    def write(self, data: Any, /) -> int:
        """Write all bytes. The system writes only a part of them if the disk is nearly full, and then fails."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)

    def close(self) -> None:
        """Close the file, and put it into the object store."""
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
    """Return the bucket and the key of an address."""
    return path.removeprefix(_ADDRESS)
