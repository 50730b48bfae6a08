"""The destination of an export: its path, whether it can be written, and the errors of writing it."""

import glob
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.disk_space import require_disk_space
from resources.file_storage import is_local, move
from resources.system_errors import system_error
from schemas.errors import DiskFull, InvalidRequest, NotAccessible, RecordsError
from schemas.location import Location


def destination(path: Path, name: str) -> Path:
    """Return the absolute path of the file. If the path is a folder, the file gets the name in it.

    Raises InvalidRequest if no file can lie there.
    """
    if re.match(r"[a-z0-9]+:/", str(path)):
        raise InvalidRequest(
            f"{str(path)!r} is not a path on this machine.",
            "Name a file or folder: -o PATH. Without it the file is written below RECORDS_DATA.",
        )
    path = path.absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The name of the output is not UTF-8.", "Choose another name: -o PATH.") from None
    if path.is_dir():
        path = path / name
    if not path.parent.is_dir():
        raise InvalidRequest(f"The folder {str(path.parent)!r} does not exist.", "Create it, or name another: -o PATH.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise InvalidRequest(f"{str(path)!r} is not a regular file.", "Name another: -o PATH.")
    return path


def partial_path(path: Path, export_id: str) -> Path:
    """Return a path for a file while it is being written: beside its final path, so that a rename publishes it.

    It is another one each time, because two processes may write one export.
    """
    return path.with_name(f".{path.name}.{export_id}.{secrets.token_hex(4)}.partial")


def partial_files(path: Path, export_id: str) -> list[Path]:
    """Return what attempts to write an export have left: files at paths of `partial_path`, and their manifests."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(export_id)}.*partial*"))


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest of a file: beside it."""
    return path.with_name(f"{path.name}.manifest.json")


def earlier_manifest_path(path: Path, export_id: str) -> Path:
    """Return the path of the manifest of an older file while the export replaces that file."""
    manifest = manifest_path(path)
    return manifest.with_name(f".{manifest.name}.{export_id}.partial")


@contextmanager
def replacing(path: Location, export_id: str) -> Iterator[None]:
    """Take the manifest of an older file away while the file is replaced. Put it back if that raises an error.

    So a killed process leaves a file without a manifest, rather than with the manifest of another file.
    """
    if not is_local(path):
        yield
        return
    manifest, aside = manifest_path(path), earlier_manifest_path(path, export_id)
    is_there = manifest.is_file()
    if is_there:
        move(manifest, aside)
    try:
        yield
    except BaseException:
        if is_there:
            move(aside, manifest)
        raise
    aside.unlink(missing_ok=True)  # also that of an attempt that was killed


def require_writable(path: Path, export_id: str) -> None:
    """Check that a file can be created beside the path, and leave nothing. Raises NotAccessible if it cannot."""
    probe = partial_path(path, export_id)
    with writing_errors(path.parent):
        probe.touch()
        probe.unlink()


def require_room(folder: Path, needed: float, what: str) -> None:
    """Raise DiskFull if the disk of a folder has fewer than the needed bytes free."""
    hint = "Nothing was written. Make room, name another place (-o PATH), or export less."
    require_disk_space(folder, needed, what, hint)


@contextmanager
def writing_errors(folder: Location) -> Iterator[None]:
    """Raise DiskFull, NotAccessible or OutOfMemory, worded for an export, in place of the errors of the system."""
    try:
        yield
    except RecordsError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise NotAccessible(
                f"No file can be written in {folder}: {error.strerror}.", "Name another place: -o PATH."
            ) from None
        translated = system_error(error, folder)
        if translated is None:
            raise
        if isinstance(translated, DiskFull):
            raise DiskFull(
                f"The export to {folder} was stopped. {translated.message}",
                "Nothing was published, and an older file of that name is unchanged. "
                "Make room, or name another place: -o PATH.",
            ) from None
        raise translated from None
