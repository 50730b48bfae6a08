"""Checksums of files: what shows that a file is not what was written."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import xxhash

from resources.file_storage import blocks_of, is_local, object_store_errors
from schemas.location import Location


class Checksum:
    """A checksum, computed block by block. Its text is `xxh3:` and 32 hexadecimal digits.

    XXH3 is faster than a disk, and finds accidental changes. It does not protect against forgery.
    """

    def __init__(self) -> None:
        self._digest = xxhash.xxh3_128()

    def update(self, block: bytes) -> None:
        """Add the next bytes."""
        self._digest.update(block)

    def __str__(self) -> str:
        """Return the checksum of all bytes so far."""
        return f"xxh3:{self._digest.hexdigest()}"


def checksum(place: Location) -> str:
    """Return the checksum of a whole file. Raises FileNotFoundError if it is missing."""
    return checksum_of(blocks_of(place))


def checksum_of(blocks: Iterable[bytes]) -> str:
    """Return the checksum of bytes."""
    digest = Checksum()
    for block in blocks:
        digest.update(block)
    return str(digest)


class Checksums:
    """The checksums of the files that one operation has read. It reads a file again only if its size or times differ.

    A bit that flips on a disk changes neither. So no operation may use the checksums of an earlier one.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}

    def of(self, place: Location) -> str:
        """Return the checksum of a whole file. Raises FileNotFoundError if it is missing."""
        version = place, *state_of(place)
        if version not in self._known:
            self._known[version] = checksum(place)
        return self._known[version]


def state_of(place: Location) -> tuple[object, ...]:
    """Return values of which at least one changes if the file is written to or replaced."""
    if is_local(place):
        status = place.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    with object_store_errors():
        info = place.fs.info(place.path)
    return info["size"], info["LastModified"], info.get("ETag")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
