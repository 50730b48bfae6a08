"""ZIP archives: their directory, read within a limit."""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

ZIP_SIGNATURE = b"PK\x03\x04"
EMPTY_ZIP_SIGNATURE = b"PK\x05\x06"
_ENCRYPTED = 0x1  # a flag of a file, with every kind of encryption
DIRECTORY_BYTES = 4 << 20
"""The largest directory of an archive."""
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile raises for a damaged archive."""


class DirectoryTooLarge(Exception):
    """The directory of an archive is larger than the limit."""


def open_archive(file: BinaryIO, directory_bytes: int = DIRECTORY_BYTES) -> zipfile.ZipFile:
    """Returns the archive in a file, which stays the caller's to close.

    Raises DirectoryTooLarge, or one of ZIP_ERRORS if it is damaged.
    """
    return zipfile.ZipFile(cast(BinaryIO, _LimitedReads(file, directory_bytes)))


def archive_members(path: Path) -> tuple[str, ...] | None:
    """Returns the names in an archive, equal ones too; None if its directory is damaged or too large."""
    try:
        with path.open("rb") as file, open_archive(file) as archive:
            return tuple(archive.namelist())
    except (DirectoryTooLarge, *ZIP_ERRORS):
        return None


def files_of(members: Iterable[str]) -> list[str]:
    """Returns those names in an archive that are files, sorted, without what macOS adds."""
    names = [it for it in members if not it.endswith("/") and not it.startswith("__MACOSX/")]
    return sorted(it for it in names if PurePosixPath(it).name != ".DS_Store")


def only_file(path: Path) -> str | None:
    """Returns the name of the only file in an archive; None if it has others, or none."""
    names = files_of(archive_members(path) or ())
    return names[0] if len(names) == 1 else None


def is_encrypted(path: Path, member: str) -> bool:
    """Returns whether a file in an archive needs a password."""
    with path.open("rb") as file, open_archive(file) as archive:
        return bool(archive.getinfo(member).flag_bits & _ENCRYPTED)


class _LimitedReads:
    """A file that returns at most so many bytes at once: zipfile reads the whole directory in one call."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes. zipfile asks for all of them, without a size, only near the end of the file."""
        if size > self._most:
            raise DirectoryTooLarge
        return self._file.read(size)
