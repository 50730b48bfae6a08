"""Unnamed temporary files of the reading process. It opens them before it is confined, because it cannot afterwards."""

import tempfile
from contextlib import suppress
from typing import BinaryIO

_FILES = 12
"""More than any format uses. A file that was closed is not used again."""

_ready: list[BinaryIO] = []


def prepare() -> list[int]:
    """Open the files. Returns their descriptors; none if the folder for temporary files takes none."""
    with suppress(OSError):  # a file that needs none can be read all the same
        while len(_ready) < _FILES:
            _ready.append(tempfile.TemporaryFile())  # noqa: SIM115 - it is open as long as the process
    return [file.fileno() for file in _ready]


def temporary_file() -> BinaryIO:
    """Returns an empty, unnamed temporary file, which ends when it is closed."""
    return _ready.pop() if _ready else tempfile.TemporaryFile()
