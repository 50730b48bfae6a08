"""ZIP archives: their directory, read within a limit."""

import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

ZIP_SIGNATURE = b"PK\x03\x04"
EMPTY_ZIP_SIGNATURE = b"PK\x05\x06"
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


def archive_members(path: Path) -> frozenset[str] | None:
    """Returns the names in an archive; None if its directory is damaged or too large."""
    try:
        with path.open("rb") as file, open_archive(file) as archive:
            return frozenset(archive.namelist())
    except (DirectoryTooLarge, *ZIP_ERRORS):
        return None


def only_file(path: Path) -> str | None:
    """Returns the name of the only file in an archive; None if it has others, or none, or is a document of an office.

    What macOS adds is not counted.
    """
    names = [it for it in archive_members(path) or () if not it.endswith("/") and not it.startswith("__MACOSX/")]
    names = [it for it in names if PurePosixPath(it).name != ".DS_Store"]
    return names[0] if len(names) == 1 else None


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
