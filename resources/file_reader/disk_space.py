"""Whether a file fits the disk, asked before it is read."""

import os
import shutil
import struct
from pathlib import Path

from schemas.errors import DiskFull

STAGING_FACTOR = 2
"""How many times a file's size an import may take on the disk: its staged records, and a file of all its rejects."""


def require_room(file: Path, folder: Path) -> None:
    """The disk on which a folder lies, or will lie, has room for what an import of the file writes.

    Raises DiskFull, with what is needed and what is free. A file packed with gzip is taken at its own word for
    its unpacked size, which is that size modulo 4 GiB. A file that is not there is nobody's concern here.
    """
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        size = _unpacked_size(file)
    except OSError:
        return
    needed, free = size * STAGING_FACTOR, shutil.disk_usage(existing).free
    if needed > free:
        name = file.name.encode(errors="backslashreplace").decode()
        raise DiskFull(
            f"Importing {name} needs {_megabytes(needed)} of disk in {existing}, and {_megabytes(free)} are free.",
            "Nothing was read from it; make room, or send it in parts.",
        )


def _unpacked_size(path: Path) -> int:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as content:
        size = os.fstat(file).st_size
        if content.read(2) != b"\x1f\x8b" or size < 18:
            return size
        content.seek(-4, os.SEEK_END)
        unpacked: int = struct.unpack("<I", content.read(4))[0]
        return max(size, unpacked)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
