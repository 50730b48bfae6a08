"""Where a file is to lie: whether it can, and how it gets there, whole or not at all."""

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.disk_space import require_disk_space
from resources.system_errors import system_error
from schemas.errors import DiskFull, InvalidRequest, NotAccessible, RecordsError
from schemas.location import Location


def destination(path: Path, name: str) -> Path:
    """The absolute path of the file; `name` is what it is called in a folder.

    Raises InvalidRequest where no file can be.
    """
    if re.match(r"[a-z0-9]+:/", str(path)):
        raise InvalidRequest(
            f"{str(path)!r} is no file of this machine.",
            "Name a file or folder: -o PATH; without it the file is put where RECORDS_DATA is.",
        )
    path = path.absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The name of the output is not UTF-8.", "Name another: -o PATH.") from None
    if path.is_dir():
        path = path / name
    if not path.parent.is_dir():
        raise InvalidRequest(f"The folder {str(path.parent)!r} does not exist.", "Make it, or name another: -o PATH.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise InvalidRequest(f"{str(path)!r} is no file.", "Name another: -o PATH.")
    return path


def partial_path(path: Path, export_id: str) -> Path:
    """Where a file of this machine lies until it has its name: beside it, so that a rename is all it takes."""
    return path.with_name(f".{path.name}.{export_id}.partial")


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies: beside it."""
    return path.with_name(f"{path.name}.manifest.json")


def require_writable(path: Path, export_id: str) -> None:
    """A file can be made beside the path, which leaves nothing; NotAccessible when it cannot."""
    probe = partial_path(path, export_id)
    with told_of(path.parent):
        probe.touch()
        probe.unlink()


def require_room(folder: Path, needed: float, what: str) -> None:
    """Raises DiskFull if the disk of a folder has fewer than the needed bytes free."""
    hint = "Nothing was written; make room, name another place (-o PATH), or export less."
    require_disk_space(folder, needed, what, hint)


@contextmanager
def told_of(folder: Location) -> Iterator[None]:
    """What the system refuses is said of the export: DiskFull when there is no room, NotAccessible, OutOfMemory."""
    try:
        yield
    except RecordsError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise NotAccessible(
                f"In {folder} no file can be written: {error.strerror}.", "Name another place: -o PATH."
            ) from None
        told = system_error(error, folder)
        if told is None:
            raise
        if isinstance(told, DiskFull):
            raise DiskFull(
                f"The export to {folder} was stopped. {told.message}",
                "Nothing was published; an older file of that name is as it was. "
                "Make room, or name another place: -o PATH.",
            ) from None
        raise told from None
