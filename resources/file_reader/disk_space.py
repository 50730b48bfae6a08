"""Whether the disk has room for an import, checked before the file is read."""

import os
import struct
from pathlib import Path

from resources.disk_space import require_disk_space

STAGING_FACTOR = 2
"""How many times a file's size an import may take on the disk: its staged records, and a file of all its rejects."""


def require_room(file: Path, folder: Path) -> None:
    """Raises DiskFull if the disk of a folder has no room for what an import of the file writes there.

    The folder need not exist yet. A gzip file states its unpacked size modulo 4 GiB, and that size is used. A file
    that cannot be opened needs no room: the reader reports it.
    """
    try:
        size = _unpacked_size(file)
    except OSError:
        return
    name = file.name.encode(errors="backslashreplace").decode()
    hint = "Nothing was read from the file. Make room, or send it in parts."
    require_disk_space(folder, size * STAGING_FACTOR, f"Importing {name}", hint)


def _unpacked_size(path: Path) -> int:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as content:
        size = os.fstat(file).st_size
        if content.read(2) != b"\x1f\x8b" or size < 18:
            return size
        content.seek(-4, os.SEEK_END)
        unpacked: int = struct.unpack("<I", content.read(4))[0]
        return max(size, unpacked)
