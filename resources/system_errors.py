"""Turns the operating system's errors, such as a full disk, into errors that say what to do."""

import errno
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from resources.disk_space import existing_folder, free_bytes
from schemas.errors import DiskFull, NotAccessible, OutOfMemory, RecordsError
from schemas.location import Location

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of its disk is used up",
    errno.EFBIG: "a file there would be larger than this user's files may be",
}
_HINTS = {
    errno.EACCES: "Let this user read and write there, or name another place.",
    errno.EPERM: "Let this user read and write there, or name another place.",
    errno.EROFS: "Its file system is mounted read-only: mount it for writing, or name another place.",
    errno.ENOTDIR: "A part of that path is a file: name another place.",
    errno.EISDIR: "It is a folder: name another place.",
    errno.EEXIST: "Another file or folder has that name: move it, or name another place.",
    errno.ENAMETOOLONG: "Use a shorter name.",
    errno.ELOOP: "Its symbolic links form a loop: name another place.",
    errno.EIO: "The disk, its cable or the network fails: read the system's log.",
    errno.ESTALE: "The network file system lost the file: mount it again, then try again.",
    errno.EMFILE: "This process may not open more files: raise the limit (ulimit -n), then try again.",
    errno.ENFILE: "The system may not open more files: close programs, then try again.",
}
_BY_TEXT = {os.strerror(number): number for number in (*_FULL, *_HINTS)}
_PATH = re.compile(r'"(/[^"]+)"')
_ARROWS_PATH = re.compile(r"^(?:\[Errno \d+\] )?Failed to \w+ local file '(/[^']+)'")
"""How Arrow names the file in its errors. They are Python's, and lack the name in its place."""


def system_error(error: BaseException, *places: Location) -> RecordsError | None:
    """Return the error that says what the system refused; None if it refused nothing, or if a file is missing.

    error: an error of Python, Arrow or DuckDB. The last two give the reason only as text.
    places: where the operation writes. If the error names no file, the message names the place with the least room.
    """
    if isinstance(error, RecordsError):
        return error
    text = str(error)
    if _is_memory(error, text):
        if "max_temp_directory_size" in text:
            return _disk_full(error, "the disk is full", places)
        return OutOfMemory(
            "The operation needs more memory than it may use.",
            "Nothing was written. Raise RECORDS_DUCKDB_MEMORY, give the process more memory, or do less at once.",
        )
    number = _number(error, text)
    if number is None:
        return None
    if number in _FULL:
        return _disk_full(error, _FULL[number], places)
    return NotAccessible(
        f"{_file(error) or 'A file or folder'} cannot be read or written: {os.strerror(number)}.", _HINTS[number]
    )


def _is_memory(error: BaseException, text: str) -> bool:
    import duckdb  # late, because the process that reads a file does not need it

    return isinstance(error, MemoryError | duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error")


def _number(error: BaseException, text: str) -> int | None:
    """Return the error's number. DuckDB's errors are known by their last words; the text before can quote anything."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _FULL or error.errno in _HINTS else None
    words = text.splitlines()[0].rpartition(": ")[2].rstrip(". ") if text else ""
    return _BY_TEXT.get(words)


def _disk_full(error: BaseException, why: str, places: tuple[Location, ...]) -> DiskFull:
    file = _file(error)
    folder = file.parent if file is not None else _fullest(places)
    return DiskFull(
        f"There is no room in {folder}: {why}.",
        "No incomplete file was written. Make room there, then try again.",
    )


def _file(error: BaseException) -> Path | None:
    """Return the file that the error names."""
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if isinstance(named, str | bytes | os.PathLike):
        return Path(os.fsdecode(named)).absolute()
    is_pythons = isinstance(error, OSError) and error.errno is not None
    found = (_ARROWS_PATH if is_pythons else _PATH).search(str(error))
    return None if found is None else Path(found[1])


def _fullest(places: tuple[Location, ...]) -> Path:
    """Return the folder with the least room, among the local places and the folder for temporary files."""
    free: dict[Path, int] = {}
    for place in (*places, Path(tempfile.gettempdir())):
        if isinstance(place, Path):
            with suppress(OSError):
                free[existing_folder(place)] = free_bytes(place)
    return min(free, key=lambda folder: free[folder]) if free else Path(tempfile.gettempdir())
