"""The files of a store beside its lake, as a copy of the store needs them, and how bytes get into a file."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from resources.checksums import Checksum
from resources.export_writer.plan import PLAN
from resources.file_storage import (
    FileStorage,
    ListedFile,
    blocks,
    blocks_of,
    exists,
    files_below,
    is_local,
    make_folder,
    opened,
    remove,
    usage,
)
from resources.record_store.pending_files import PENDING
from resources.settings import Settings
from schemas.location import Location


@dataclass(frozen=True)
class OwnFile:
    """A file beside the lake: its path below the data, its bytes, and when it was put there.

    modified: its time of modification in nanoseconds. identity: what stays the same if the file is moved on its
    disk. Objects have neither.
    """

    path: str
    bytes: int
    put_at: datetime
    modified: int | None = None
    identity: tuple[int, int] | None = None


def roots(settings: Settings) -> tuple[Location, ...]:
    """Return the folders of these files, in the order in which a file that arrives moves through them."""
    return (
        settings.accounts,
        settings.inbox,
        settings.processing,
        settings.archive,
        settings.quarantine,
        settings.erasures,
    )


def own_files(settings: Settings) -> list[OwnFile]:
    """Return the files beside the lake, without links, and without the files of unfinished exports.

    A file that is moved meanwhile is returned once, in its later place.
    """
    found: dict[object, OwnFile] = {}
    for root in roots(settings):
        for file in files_below(root):
            own = _own_file(settings, file)
            if own is not None:
                found[own.identity or own.path] = own
    if exists(settings.data / PENDING):
        pending = usage(settings.data / PENDING)
        if pending.at is not None:
            found[PENDING] = OwnFile(PENDING, pending.bytes, pending.at)
    return [*found.values()]


def put_blocks(files: FileStorage, target: Location, content: Iterable[bytes]) -> tuple[str, int]:
    """Write bytes to a file and flush them. Returns their checksum and their number.

    No temporary file is made beside the target, where a killed process would leave it.
    """
    if is_local(target):
        make_folder(target.parent)
    made = target if is_local(target) else files.working(target)
    try:
        written = write_blocks(made, content)
        files.put(made, target)
    finally:
        if made != target:
            remove(made)
    return written


def write_blocks(made: Path, content: Iterable[bytes]) -> tuple[str, int]:
    """Write bytes to a file of this machine. Returns their checksum and their number."""
    digest, number = Checksum(), 0
    with made.open("wb") as file:
        for block in content:
            file.write(block)
            digest.update(block)
            number += len(block)
    return str(digest), number


def own_blocks(place: Location) -> Iterator[bytes]:
    """Return the content of a file in a folder that others may write into. A link there is not followed."""
    if not is_local(place):
        yield from blocks_of(place)
        return
    with opened(place, links=False) as file:
        yield from blocks(file)


def is_readable(place: Location) -> bool:
    """Return whether this user may read a file or a folder. One that is gone can be read, and so can an object."""
    if not is_local(place):
        return True
    try:
        os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW))
    except PermissionError:
        return False
    except OSError:  # it was moved meanwhile, or is a link or a socket
        pass
    return True


def closed_folders(settings: Settings) -> list[str]:
    """Return the folders with these files that this user may not read, by path below the data."""
    closed: list[str] = []
    for root in roots(settings):
        if is_local(root):
            for folder, folders, _ in os.walk(root):
                paths = (Path(folder) / name for name in folders)
                closed += [settings.path_below_data(it) for it in paths if not it.is_symlink() and not is_readable(it)]
    return sorted(closed)


def _own_file(settings: Settings, file: ListedFile) -> OwnFile | None:
    """Return a listed file as one to copy; None if it is not whole, or no regular file."""
    path = settings.path_below_data(file.place)
    if not _is_whole(path):
        return None
    if not is_local(file.place):
        return OwnFile(path, file.bytes, file.put_at)
    with suppress(FileNotFoundError):
        status = file.place.lstat()
        if stat.S_ISREG(status.st_mode):
            identity = (status.st_dev, status.st_ino) if status.st_nlink == 1 else None
            return OwnFile(path, file.bytes, file.put_at, status.st_mtime_ns, identity)
    return None


def _is_whole(path: str) -> bool:
    root, *parts = path.split("/")
    if root != "accounts":
        return True
    is_made = any(part.startswith(".") and part.endswith(".partial") for part in parts)
    return not is_made and not (parts[1:2] == ["exports"] and parts[3:4] in ([PLAN], ["parts"]))
