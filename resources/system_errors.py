"""What a failing disk, file system or memory means: one place that turns such an error into sentences."""

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
    errno.EEXIST: "Something else is there: move it away, or name another place.",
    errno.ENAMETOOLONG: "Use a shorter name.",
    errno.ELOOP: "Its links lead in a circle: name another place.",
    errno.EIO: "The disk is failing, or its cable or network is: see the system's log.",
    errno.ESTALE: "The network file system lost it: mount it again, then try again.",
    errno.EMFILE: "This process may not open more files: raise the limit (ulimit -n), then try again.",
    errno.ENFILE: "The system may not open more files: close programs, then try again.",
}
_BY_TEXT = {os.strerror(number): number for number in (*_FULL, *_HINTS)}
_PATH = re.compile(r'"(/[^"]+)"')


def system_error(error: BaseException, *places: Location) -> RecordsError | None:
    """The error that says what the system refused; None when the system refused nothing, or a file is not there.

    `error` may come from Python, Arrow, or DuckDB, which tell it only in words. `places` are what the
    operation writes to: the one with the least room is named when the error names no file.
    """
    if isinstance(error, RecordsError):
        return error
    text = str(error)
    if _is_memory(error, text):
        if "max_temp_directory_size" in text:
            return _disk_full(error, "the disk is full", places)
        return OutOfMemory(
            "The operation takes more memory than it may.",
            "Nothing was half done. Raise RECORDS_DUCKDB_MEMORY, give the process more memory, or do less at once.",
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
    import duckdb  # of which the process that reads a file needs nothing

    return isinstance(error, MemoryError | duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error")


def _number(error: BaseException, text: str) -> int | None:
    """The error's number; of DuckDB's errors by their last words, for before them they may quote anything."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _FULL or error.errno in _HINTS else None
    words = text.splitlines()[0].rpartition(": ")[2].rstrip(". ") if text else ""
    return _BY_TEXT.get(words)


def _disk_full(error: BaseException, why: str, places: tuple[Location, ...]) -> DiskFull:
    file = _file(error)
    folder = file.parent if file is not None else _fullest(places)
    return DiskFull(
        f"There is no room in {folder}: {why}.",
        "What was not complete was not written. Make room there, then try again.",
    )


def _file(error: BaseException) -> Path | None:
    """The file that the error names."""
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if isinstance(named, str | bytes | os.PathLike):
        return Path(os.fsdecode(named)).absolute()
    found = None if isinstance(error, OSError) and error.errno is not None else _PATH.search(str(error))
    return None if found is None else Path(found[1])


def _fullest(places: tuple[Location, ...]) -> Path:
    """The folder of this machine that has the least room, of these and the one for temporary files."""
    free: dict[Path, int] = {}
    for place in (*places, Path(tempfile.gettempdir())):
        if isinstance(place, Path):
            with suppress(OSError):
                free[existing_folder(place)] = free_bytes(place)
    return min(free, key=lambda folder: free[folder]) if free else Path(tempfile.gettempdir())
