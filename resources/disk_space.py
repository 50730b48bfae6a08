"""Checks that a disk has enough free space for a file."""

import shutil
from pathlib import Path

from schemas.errors import DiskFull


def existing_folder(folder: Path) -> Path:
    """Returns the folder, or its nearest ancestor that exists."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def free_bytes(folder: Path) -> int:
    """Returns how many bytes are free on the disk of a folder. The folder may be missing."""
    return shutil.disk_usage(existing_folder(folder)).free


def require_disk_space(folder: Path, needed: float, what: str, hint: str) -> None:
    """Raises DiskFull if the disk of a folder has fewer than the needed bytes free.

    what: the operation that needs the space, as the subject of a sentence. hint: what the user can do.
    """
    free = free_bytes(folder)
    if needed > free:
        raise DiskFull(
            f"{what} needs about {_megabytes(needed)} in {existing_folder(folder)}, and {_megabytes(free)} are free.",
            hint,
        )


def _megabytes(size: float) -> str:
    return f"{size / 1_000_000:,.1f} MB"
