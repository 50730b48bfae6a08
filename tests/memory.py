"""Where the servers of tests keep what need not survive them."""

import shutil
import tempfile
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 4 << 30
"""Bytes: many times what the servers of the whole suite need at once."""


def volatile_folder(prefix: str) -> Path:
    """Return a new folder with a short path, in memory if there is room.

    On a disk, copying a database of 8 MB takes 60 ms at first. It takes 250 ms after so many writes that writers
    must wait. In memory it takes 8 ms.
    """
    roomy = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_IN_MEMORY if roomy else None))
