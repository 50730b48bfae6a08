"""Where the accounts' files are kept: a folder, or a prefix of an object store that speaks S3.

Files are made on this machine's disk and read from it, for that is what DuckDB, Arrow and Excel's writers are good at.
In between they are where every process finds them: put there whole or not at all, and fetched for as long as they are
read. In a folder both are the file itself.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import xxhash

from schemas.errors import DamagedFile, DiskFull, StoreUnreachable
from schemas.location import Location

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

OBJECTS = "s3://"
"""How the address of a prefix of an object store begins."""

_CHUNK, _CHUNKS, _AT_ONCE = 16_000_000, 10_000, 4
"""Bytes of a part of a large object, how many parts S3 takes, and how many are sent, and in memory, at a time."""

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CHANGED = "did not match calculated checksum"
"""What botocore says of an object whose bytes are not those of the checksum that was stored with it."""

_OPTIONS: dict[str, Any] = {
    # What another process has just put there is to be seen.
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 5}},
}


def location(text: str) -> Location:
    """The place that a text names, an absolute path or the address of an object."""
    if not text.startswith(OBJECTS):
        return Path(text)
    import logging

    from upath import UPath

    for name in ("aiobotocore", "botocore", "s3fs"):  # which tell of keys and of what is in requests, when they debug
        logging.getLogger(name).setLevel(logging.WARNING)
    return UPath(text, protocol="s3", **_OPTIONS)


def is_local(place: Location) -> "TypeIs[Path]":
    """Whether a place is on a disk of this machine."""
    return isinstance(place, Path)


def local(place: Location) -> Path:
    """The place, which is known to be on a disk of this machine."""
    if not is_local(place):
        raise TypeError(f"{place} is no file of this machine")
    return place


@dataclass(frozen=True)
class Kept:
    """What lies at a place: how many bytes, and when the newest of it was written, if there is any."""

    bytes: int = 0
    at: datetime | None = None


@dataclass(frozen=True)
class KeptFile:
    """A file where it is kept: its bytes, and when it was put there."""

    place: Location
    bytes: int
    put_at: datetime


class FileStorage:
    """Files on their way to where they are kept, and back. `scratch` is a folder of this machine for what is not."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    @contextmanager
    def making(self, final: Location) -> Iterator[Path]:
        """Where a file or folder is to be made that is at `final` afterwards, each file whole and safe from a crash.

        When anything is raised, nothing is left of it.
        """
        working = self.working(final)
        try:
            yield working
            self.put(working, final)
        finally:
            remove(working)

    def working(self, final: Location) -> Path:
        """Where a file or folder that will lie at `final` can be made: beside it, or in the scratch folder."""
        if is_local(final):
            folder = final.parent
            make_folder(folder)
        else:
            folder = self.disk(final)
        return folder / f".{final.name}.{secrets.token_hex(4)}.partial"

    def disk(self, place: Location) -> Path:
        """The folder of this machine on whose disk lies what is there, or is made for it."""
        if is_local(place):
            return place
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    def put(self, made: Path, final: Location) -> None:
        """What was made on this machine is at `final`, each file whole; in a folder it has moved there."""
        if is_local(final):
            for file in [*(made.rglob("*") if made.is_dir() else ()), made]:
                sync(file)
            os.replace(made, final)
            sync(final.parent)
            return
        for file in sorted(made.rglob("*")) if made.is_dir() else [made]:
            target = final if file == made else final / str(file.relative_to(made))
            chunk = max(_CHUNK, -(-file.stat().st_size // _CHUNKS))
            try:
                with answered():
                    final.fs.put_file(str(file), target.path, chunksize=chunk, max_concurrency=_AT_ONCE)
            except FileNotFoundError as error:  # the bucket
                raise unreachable(str(error)) from None

    @contextmanager
    def fetched(self, place: Location, into: Path | None = None) -> Iterator[Path]:
        """What lies there, for as long as it is read, as a file or folder of this machine; FileNotFoundError: nothing.

        It has the name that it has there. `into` is a folder for what is not on this machine; None means the scratch
        folder.
        """
        if is_local(place):
            if not place.exists():
                raise FileNotFoundError(place)
            yield place
            return
        folder = (into or self._scratch) / f"fetched-{secrets.token_hex(8)}"
        folder.mkdir(parents=True)
        try:
            _fetch(place, folder)
            yield folder / place.name
        finally:
            remove(folder)


def sync(place: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing, and flush each new name to the disk."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync(each.parent)


def move(place: Location, target: Location) -> None:
    """Move a file or folder within one kind of storage; in a folder both names are flushed to the disk."""
    if is_local(place) and is_local(target):
        make_folder(target.parent)
        try:
            os.replace(place, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.move(place, target)  # where a part of the data is a disk of its own
        sync(target.parent)
        sync(place.parent)
    elif not is_local(place) and not is_local(target):
        with answered():
            for path in _objects(place):
                place.fs.cp_file(path, target.path + path.removeprefix(place.path))
            for path in _objects(place):
                place.fs.rm_file(path)
    else:
        raise TypeError(f"{place} and {target} are not in one kind of storage")


class Checksum:
    """The checksum of bytes that come block by block; as text `xxh3:` and 32 hexadecimal digits.

    XXH3 finds accidental changes, faster than a disk can be read; it is no proof against forgery.
    """

    def __init__(self) -> None:
        self._digest = xxhash.xxh3_128()

    def update(self, block: bytes) -> None:
        """Add the next bytes."""
        self._digest.update(block)

    def __str__(self) -> str:
        """The checksum of all bytes so far."""
        return f"xxh3:{self._digest.hexdigest()}"


def checksum(place: Location) -> str:
    """Read a whole file; returns its checksum. Raises FileNotFoundError if there is none."""
    digest = Checksum()
    for block in blocks_of(place):
        digest.update(block)
    return str(digest)


def known_checksum(place: Location) -> str:
    """The same, but a file that this process has read before, and nobody has written to since, is not read again."""
    return _checksum_of(place, *_state(place))


@lru_cache(maxsize=100_000)
def _checksum_of(place: Location, *_: object) -> str:
    return checksum(place)


def _state(place: Location) -> tuple[object, ...]:
    """What changes whenever a file is written to or replaced."""
    if is_local(place):
        status = place.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    with answered():
        told = place.fs.info(place.path)
    return told["size"], told["LastModified"], told.get("ETag")


@contextmanager
def answered(place: object = "object store") -> Iterator[None]:
    """What the object store refuses, or that it does not answer, is StoreUnreachable, in its words: they quote no key.

    That there is no such object is FileNotFoundError as ever, and a full disk of this machine what it always is. Where
    the object at `place` has other bytes than the checksum says that S3 keeps with it, DamagedFile is raised.
    """
    try:
        yield
    except (FileNotFoundError, DamagedFile):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        if _CHANGED in str(error):
            raise DamagedFile(
                f"{place} has other bytes than were written.", "Nothing of it was used. Put it back from a backup."
            ) from None
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("botocore", "aiohttp")):
            raise
        raise unreachable(" ".join(str(error).split()).rstrip(".") or type(error).__name__) from None


def unreachable(why: str) -> StoreUnreachable:
    """The error for an object store that does not do what it is asked."""
    return StoreUnreachable(
        f"The object store cannot be reached, or refuses: {why}.",
        "See that RECORDS_DATA names a bucket that is there, and that AWS's credentials, region and AWS_ENDPOINT_URL "
        "are those of an account that may read and write it; then try again.",
    )


@contextmanager
def opening(place: Location) -> Iterator[None]:
    """While something else is done, a thread imports what the next use of an object store needs: half a second."""
    if is_local(place):
        yield
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(import_module, "s3fs")
        yield


def exists(place: Location) -> bool:
    """Whether a file is there."""
    if is_local(place):
        return place.exists()
    with answered():
        found: bool = place.fs.exists(place.path)
        return found


def size_of(place: Location) -> int | None:
    """The bytes of the file; None where there is none."""
    with suppress(FileNotFoundError):
        if is_local(place):
            return place.stat().st_size
        with answered():
            return int(place.fs.size(place.path))
    return None


def read(place: Location) -> bytes:
    """What is in a small file; FileNotFoundError where there is none."""
    if is_local(place):
        return place.read_bytes()
    with answered(place):
        data: bytes = place.fs.cat_file(place.path)
        return data


def blocks_of(place: Location) -> Iterator[bytes]:
    """What is in a file of any size, some of it at a time."""
    with place.open("rb") if is_local(place) else _opened(place) as file:
        while data := file.read(_BLOCK):
            yield data


def remove(place: Location) -> None:
    """What lies there, a file or a folder with all that is in it, is gone, or was not there.

    What cannot be removed now is left to a sweep: it is no failure of what was done before.
    """
    if not is_local(place):
        with suppress(StoreUnreachable, FileNotFoundError), answered():
            for path in _objects(place):  # `rm` would take a * in a name for a pattern
                place.fs.rm_file(path)
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def entries(folder: Location) -> Sequence[Location]:
    """The files and folders in a folder, by name; none where there is none."""
    if is_local(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            return tuple(sorted(folder.iterdir()))
        return ()
    with suppress(FileNotFoundError), answered():
        names = {found.rstrip("/").rpartition("/")[2] for found in folder.fs.ls(folder.path, detail=False)}
        return tuple(folder / name for name in sorted(names - {""}))
    return ()


def kept(place: Location) -> Kept:
    """The bytes and the time of all that lies there; what goes away meanwhile is not counted."""
    if not is_local(place):
        found = _objects(place).values()
        return Kept(sum(each["size"] for each in found), max((each["LastModified"] for each in found), default=None))
    size, newest = 0, None
    for path in (place, *place.rglob("*")):
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            newest = max(newest or 0.0, status.st_mtime)
    return Kept(size, None if newest is None else datetime.fromtimestamp(newest, UTC))


def files_below(root: Location) -> Iterator[KeptFile]:
    """The files below a folder, however deep, by path."""
    if not is_local(root):
        for name, it in sorted(_objects(root).items()):
            place = root / name.removeprefix(root.path).lstrip("/")
            yield KeptFile(place, it["size"], it["LastModified"])
        return
    for path in sorted(root.rglob("*")):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                # A rename keeps the time a file was written at, and sets the other.
                yield KeptFile(path, status.st_size, datetime.fromtimestamp(status.st_ctime, UTC))


def names_matching(root: Location, pattern: str) -> set[str]:
    """The files below a folder whose paths from there match a pattern such as `lake/**/*.parquet`, as those paths."""
    if is_local(root):
        return {str(path.relative_to(root)) for path in root.glob(pattern)}
    base = root.path.rstrip("/")
    with suppress(FileNotFoundError), answered():
        return {path.removeprefix(f"{base}/") for path in root.fs.glob(f"{base}/{pattern}")}
    return set()


def _objects(root: "UPath") -> dict[str, Any]:
    """What is told of the objects there and below, by their paths; StoreUnreachable where there is no such bucket."""
    try:
        with answered():
            found: dict[str, Any] = root.fs.find(root.path, detail=True)
            return found
    except FileNotFoundError as error:
        raise unreachable(str(error)) from None


def _fetch(place: "UPath", folder: Path) -> None:
    """What lies there is in the folder too, under its name."""
    try:
        with answered():
            found = _objects(place)
            if not found:
                raise FileNotFoundError(str(place))
            for path in found:  # `get` would take a * in a name for a pattern
                target = folder / place.name / path.removeprefix(place.path).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                with answered(path):
                    place.fs.get_file(path, str(target))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"There is no room in {folder.parent} for what lies at {place}.", "Make room there, then try again."
        ) from None


@contextmanager
def _opened(place: "UPath") -> Iterator[IO[bytes]]:
    with answered(place), place.fs.open(place.path, "rb", block_size=4 * _BLOCK) as file:
        yield file
