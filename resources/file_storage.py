"""The storage of the accounts' files: a folder, or a prefix of an object store with the S3 protocol.

DuckDB, Arrow and the writers of Excel need files on this machine's disk. So a file is made there, then put into the
storage, whole or not at all. To be read, a file of an object store is first fetched to this machine.
A file in a folder is read in its place.
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
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from schemas.errors import DamagedFile, DiskFull, StoreUnreachable
from schemas.location import Location

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

OBJECTS = "s3://"
"""The beginning of an address in an object store."""

_CHUNK, _CHUNKS, _AT_ONCE = 16_000_000, 10_000, 4
"""Bytes of a part of a large object, the most parts that S3 allows, and how many parts are sent at a time."""

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CHANGED = "did not match calculated checksum"
"""The text of botocore's error if an object's bytes do not match the checksum stored with it."""

_OPTIONS: dict[str, Any] = {
    # A file that another process has just put there must be found.
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 5}},
}


def location(text: str) -> Location:
    """Return the location that a text names: an absolute path or the address of an object."""
    if not text.startswith(OBJECTS):
        return Path(text)
    import logging

    from upath import UPath

    for name in ("aiobotocore", "botocore", "s3fs"):  # their debug messages show keys and the content of requests
        logging.getLogger(name).setLevel(logging.WARNING)
    return UPath(text, protocol="s3", **_OPTIONS)


def is_local(place: Location) -> "TypeIs[Path]":
    """Return whether a location is on a disk of this machine."""
    return isinstance(place, Path)


def local(place: Location) -> Path:
    """Return the location as a path of this machine. Raises TypeError if it is in an object store."""
    if not is_local(place):
        raise TypeError(f"{place} is not on this machine")
    return place


@dataclass(frozen=True)
class Usage:
    """The bytes of the files at a location, and when the newest was written; None if there are no files."""

    bytes: int = 0
    at: datetime | None = None


@dataclass(frozen=True)
class ListedFile:
    """A stored file: its location, its bytes, and when it was put there."""

    place: Location
    bytes: int
    put_at: datetime


class FileStorage:
    """Puts files into the storage and fetches them. `scratch` is a folder of this machine for copies of objects."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    @contextmanager
    def making(self, final: Location) -> Iterator[Path]:
        """Yield the path at which to make a file or folder, then put it at `final`, flushed to the disk.

        If the block raises an error, nothing is left.
        """
        working = self.working(final)
        try:
            yield working
            self.put(working, final)
        finally:
            remove(working)

    def working(self, final: Location) -> Path:
        """Return a path at which to make a file or folder for `final`: beside it, or in the scratch folder."""
        if is_local(final):
            folder = final.parent
            make_folder(folder)
        else:
            folder = self.disk(final)
        return folder / f".{final.name}.{secrets.token_hex(4)}.partial"

    def disk(self, place: Location) -> Path:
        """Return a folder on the disk that files for the location need: the location itself, or the scratch folder."""
        if is_local(place):
            return place
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    @contextmanager
    def using_scratch(self, scratch: Path) -> Iterator[None]:
        """Make copies of objects in another folder of this machine, until the block ends."""
        before, self._scratch = self._scratch, scratch
        try:
            yield
        finally:
            self._scratch = before

    def put(self, made: Path, final: Location) -> None:
        """Move or upload a file or folder of this machine to `final`. Each file appears there whole or not at all."""
        if is_local(final):
            for file in [*(made.rglob("*") if made.is_dir() else ()), made]:
                sync(file)
            os.replace(made, final)
            sync(final.parent)
            return
        for file in sorted(made.rglob("*")) if made.is_dir() else [made]:
            target = final if file == made else final / str(file.relative_to(made))
            put_object(final.fs, file, target.path)

    @contextmanager
    def fetched(self, place: Location, into: Path | None = None) -> Iterator[Path]:
        """Yield a file or folder as one of this machine, with its own name. Raises FileNotFoundError if it is missing.

        A copy of an object lasts until the block ends. into: the folder for copies; None means the scratch folder.
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


def put_object(bucket_files: Any, file: Path, key: str) -> None:
    """Send a file of this machine to an object store. The object appears there whole or not at all.

    bucket_files: the file system of the client. key: the object's key, with the bucket first. Raises StoreUnreachable.
    """
    chunk = max(_CHUNK, -(-file.stat().st_size // _CHUNKS))
    try:
        with object_store_errors():
            bucket_files.put_file(str(file), key, chunksize=chunk, max_concurrency=_AT_ONCE)
    except FileNotFoundError as error:  # the bucket is missing
        raise unreachable(str(error)) from None


def sync(place: Path) -> None:
    """Flush a file, or the list of names in a folder, to the disk."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of a file in one step, flushed to the disk. It keeps its owner and mode.

    Only root can give a file to another user. Others leave the group as it is, if they may.
    """
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        with suppress(FileNotFoundError):
            before = path.stat()
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid if os.geteuid() == 0 else -1, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing ancestors for this user alone, and flush each new name to the disk."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            each.mkdir(0o700, exist_ok=True)
        except FileExistsError:  # what is there is no folder
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(each)) from None
        sync(each.parent)


def share(file: Path, umask: int | None) -> None:
    """Give a file outside of the store the permissions that a user's umask leaves. None: it keeps those that it has."""
    if umask is not None:
        file.chmod(0o666 & ~umask)


def move(place: Location, target: Location) -> None:
    """Move a file or folder within one kind of storage. On a disk, both folders are flushed."""
    if is_local(place) and is_local(target):
        make_folder(target.parent)
        try:
            os.replace(place, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.move(place, target)  # a part of the data can be on another disk
        sync(target.parent)
        sync(place.parent)
    elif not is_local(place) and not is_local(target):
        with object_store_errors():
            for path in _objects(place):
                place.fs.cp_file(path, target.path + path.removeprefix(place.path))
            for path in _objects(place):
                place.fs.rm_file(path)
    else:
        raise TypeError(f"{place} and {target} are not in one kind of storage")


@contextmanager
def object_store_errors(place: object = "object store") -> Iterator[None]:
    """Turn the errors of an object store into ours until the block ends.

    Raises StoreUnreachable, with the store's own words, if the object store refuses or does not answer. Those words
    quote no key of access. Raises DamagedFile if the object at `place` does not match the checksum that S3 has for it.
    A missing object stays FileNotFoundError. A full disk of this machine stays OSError.
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
                f"{place} has other bytes than were written.", "Nothing of it was used. Restore it from a backup."
            ) from None
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("botocore", "aiohttp")):
            raise
        raise unreachable(" ".join(str(error).split()).rstrip(".") or type(error).__name__) from None


def unreachable(why: str) -> StoreUnreachable:
    """Return the error for an object store that refuses or does not answer."""
    return StoreUnreachable(
        f"The object store cannot be reached, or refuses: {why}.",
        "Check that the bucket of RECORDS_DATA exists. Check that AWS's credentials, region and AWS_ENDPOINT_URL allow "
        "reading and writing it. Then try again.",
    )


@contextmanager
def opening(place: Location) -> Iterator[None]:
    """Import the client of an object store in a thread while the block runs. The import takes half a second."""
    if is_local(place):
        yield
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(import_module, "s3fs")
        yield


def exists(place: Location) -> bool:
    """Return whether a file exists. A folder or a pipe is no file."""
    if is_local(place):
        return place.is_file()
    with object_store_errors():
        found: bool = place.fs.exists(place.path)
        return found


def size_of(place: Location) -> int | None:
    """Return the size of a file in bytes; None if it is missing."""
    with suppress(FileNotFoundError):
        if is_local(place):
            return place.stat().st_size
        with object_store_errors():
            return int(place.fs.size(place.path))
    return None


def read(place: Location) -> bytes:
    """Return the content of a small file. Raises FileNotFoundError if it is missing."""
    if is_local(place):
        return place.read_bytes()
    with object_store_errors(place):
        data: bytes = place.fs.cat_file(place.path)
        return data


def blocks_of(place: Location) -> Iterator[bytes]:
    """Return the content of a file of any size, block by block."""
    with opened(place) if is_local(place) else _opened(place) as file:
        yield from blocks(file)


@contextmanager
def opened(place: Path, *, links: bool = True) -> Iterator[BufferedReader]:
    """Open a file of this machine for reading. It stays the same file to the end, even if another takes its name.

    Raises FileNotFoundError if there is no regular file, and does not wait for a pipe. links: follow a link to a file.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise
        raise _no_file(place) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(place)
    with os.fdopen(descriptor, "rb") as file:
        yield file


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Return the rest of an open file, block by block."""
    while data := file.read(_BLOCK):
        yield data


def write_object(place: "UPath", content: bytes) -> None:
    """Write a small object, or replace it. Raises StoreUnreachable if that fails."""
    with object_store_errors():
        place.fs.pipe_file(place.path, content)


def remove(place: Location) -> None:
    """Remove a file, or a folder with its content, if it exists.

    A later sweep removes what cannot be removed now. Therefore this raises no error.
    """
    if not is_local(place):
        with suppress(StoreUnreachable, FileNotFoundError), object_store_errors():
            for path in _objects(place):  # `rm` would read a * in a name as a pattern
                place.fs.rm_file(path)
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()


def entries(folder: Location) -> Sequence[Location]:
    """Return the files and folders in a folder, sorted by name; none if the folder is missing."""
    if is_local(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            return tuple(sorted(folder.iterdir()))
        return ()
    with suppress(FileNotFoundError), object_store_errors():
        names = {found.rstrip("/").rpartition("/")[2] for found in folder.fs.ls(folder.path, detail=False)}
        return tuple(folder / name for name in sorted(names - {""}))
    return ()


def names_in(folder: Location) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; none if the folder is missing.

    A path for each name would take four times as long. That counts in a folder with one folder for each account.
    """
    if is_local(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(os.listdir(folder))  # noqa: PTH208
        return []
    return [each.name for each in entries(folder)]


def usage(place: Location) -> Usage:
    """Return the bytes and the newest time of all files at a location. Files removed meanwhile do not count."""
    if not is_local(place):
        found = _objects(place).values()
        return Usage(sum(each["size"] for each in found), max((each["LastModified"] for each in found), default=None))
    size, newest = 0, None
    for path in (place, *place.rglob("*")):
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            newest = max(newest or 0.0, status.st_mtime)
    return Usage(size, None if newest is None else datetime.fromtimestamp(newest, UTC))


def files_below(root: Location) -> Iterator[ListedFile]:
    """Return the files at any depth below a folder, sorted by path."""
    if not is_local(root):
        for name, it in sorted(_objects(root).items()):
            place = root / name.removeprefix(root.path).lstrip("/")
            yield ListedFile(place, it["size"], it["LastModified"])
        return
    for path in sorted(root.rglob("*")):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                # A rename keeps st_mtime, the time of writing, and sets st_ctime.
                yield ListedFile(path, status.st_size, datetime.fromtimestamp(status.st_ctime, UTC))


def names_matching(root: Location, pattern: str) -> set[str]:
    """Return the relative paths of files below a folder that match a pattern such as `lake/**/*.parquet`."""
    if is_local(root):
        return {str(path.relative_to(root)) for path in root.glob(pattern)}
    base = root.path.rstrip("/")
    with suppress(FileNotFoundError), object_store_errors():
        return {path.removeprefix(f"{base}/") for path in root.fs.glob(f"{base}/{pattern}")}
    return set()


def _objects(root: "UPath") -> dict[str, Any]:
    """Return the details of the objects at and below a location, by path. Raises StoreUnreachable without a bucket."""
    try:
        with object_store_errors():
            found: dict[str, Any] = root.fs.find(root.path, detail=True)
            return {path: it for path, it in found.items() if it.get("type") != "directory"}
    except FileNotFoundError as error:
        raise unreachable(str(error)) from None


def _fetch(place: "UPath", folder: Path) -> None:
    """Copy a file or folder of an object store into a folder of this machine, under its own name."""
    try:
        with object_store_errors():
            found = _objects(place)
            if not found:
                raise FileNotFoundError(str(place))
            for path in found:  # `get` would read a * in a name as a pattern
                target = folder / place.name / path.removeprefix(place.path).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                with object_store_errors(path):
                    place.fs.get_file(path, str(target))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"There is no room in {folder.parent} for a copy of {place}.", "Make room there, then try again."
        ) from None


@contextmanager
def _opened(place: "UPath") -> Iterator[IO[bytes]]:
    with object_store_errors(place), place.fs.open(place.path, "rb", block_size=4 * _BLOCK) as file:
        yield file


def _no_file(place: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "There is no regular file", str(place))
