"""The places that files pass through: inbox, processing, archive, quarantine. A file is in exactly one of them.

In folders it is moved by renaming, never copied, so that whoever is killed leaves it in one place. What strangers put
into the inbox is never followed: folders are opened as folders or not at all, links, pipes and devices are renamed
themselves.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from resources.clock import new_id
from resources.file_storage import local, make_folder, sync
from resources.inbox.bundles import BundledFile, checked_bundle, digest, in_bundles, misplaced, why_name
from resources.settings import Settings
from schemas.arrivals import Look, Seen, printable
from schemas.location import Location

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderInbox:
    """What lies in the four folders, and how it gets from one to the next."""

    def __init__(self, settings: Settings) -> None:
        self._inbox, self._processing, self._archive, self._quarantine = (
            local(place) for place in (settings.inbox, settings.processing, settings.archive, settings.quarantine)
        )

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """What there is in `inbox/<account>/<type>`, or lies beside such a folder; hidden files do not count.

        Each account has a folder for each record type afterwards. Nothing is opened but folders.
        """
        found: dict[str, Seen] = {}
        self._inbox.mkdir(parents=True, exist_ok=True)
        with _opened(self._inbox) as root:
            for account in _see(root, "", found, accounts):
                with suppress(OSError), _opened(account, root) as folder:  # else there is nothing that may be taken
                    wanted = record_types if account in accounts else ()
                    for record_type in _see(folder, f"{account}/", found, wanted):
                        with suppress(OSError), _opened(record_type, folder) as files:
                            _see(files, f"{account}/{record_type}/", found, None)
        return found

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Files are in processing, in bundles; what is no file, or lies in a wrong place, is in quarantine.

        Returns why others could not be moved, in sentences: nothing stops the rest.
        """
        taken: list[str] = []
        failures: list[str] = []
        for path in paths:
            with _told(failures, path):
                why = self._misplaced(path, accounts, record_types)
                if why is None:
                    taken.append(path)
                else:
                    # The same thing has the same folder, so that what a killed process began is completed.
                    folder = self._quarantine / Path(path).parent / f"q-{digest(path, *look[path])}"
                    self._put_aside(self._inbox, path, folder, why)
        for number, together in enumerate(in_bundles(taken, look)):
            bundle = self._processing / new_id("a", now + timedelta(milliseconds=number))
            for path in together:
                with _told(failures, path):
                    make_folder((bundle / path).parent)
                    _move(self._inbox, path, bundle / path)
        return failures

    def bundles(self) -> dict[str, list[str]]:
        """The bundles in processing, oldest first, with the folders of accounts and types that they hold files of.

        Those in which nothing is left are gone.
        """
        found = {}
        for folder in sorted(self._processing.glob("a-*")):
            places = sorted({"/".join(path.parts[-3:-1]) for path in folder.glob("*/*/*")})
            if places:
                found[folder.name] = places
            else:
                _remove_empty(folder)
        return found

    @contextmanager
    def bundle(self, bundle: str) -> Iterator[list[BundledFile]]:
        """The files of the bundle, in the order in which they were last modified, for one process at a time.

        There are none when another process is at it, or when all is done. A bundle of which nothing is left is gone.
        """
        folder = self._processing / checked_bundle(bundle)
        with _locked(folder) as is_ours:
            if not is_ours:
                yield []
                return
            files = []
            for path in sorted(folder.glob("*/*/*"), key=lambda path: (path.lstat().st_mtime_ns, path)):
                account, record_type, name = path.relative_to(folder).parts
                arrival_id = f"{bundle}-{digest(account, record_type, name)}"
                files.append(BundledFile(arrival_id, account, record_type, path))
            yield files
            _remove_empty(folder)

    @contextmanager
    def opened(self, file: BundledFile) -> Iterator[Path | None]:
        """The file, unless it has become a link, a pipe or a folder meanwhile."""
        path = local(file.path)
        yield path if stat.S_ISREG(path.lstat().st_mode) else None

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """The file lies in the archive, in a folder of its batch."""
        final = self._archive / file.account / file.record_type / batch_id / file.path.name
        make_folder(final.parent)
        _move(self._processing, str(local(file.path).relative_to(self._processing)), final)

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """The file lies in quarantine, beside a text that says why and its rejects file."""
        folder = self._quarantine / file.account / file.record_type / file.arrival_id
        relative = local(file.path).relative_to(self._processing)
        self._put_aside(self._processing, str(relative), folder, why, rejects)

    def _put_aside(self, root: Path, path: str, folder: Path, why: str, rejects: Location | None = None) -> None:
        final = folder / Path(path).name
        make_folder(folder)
        text = folder / why_name(final.name)
        text.write_text(f"{why.rstrip()}\n", "utf-8")
        sync(text)
        if rejects is not None:
            shutil.copyfile(local(rejects), folder / rejects.name)
            sync(folder / rejects.name)
        _move(root, path, final)

    def _misplaced(self, path: str, accounts: Collection[str], record_types: Collection[str]) -> str | None:
        """Why what lies there cannot be imported, and what to do; None for a file in its place."""
        with _parent(self._inbox, path) as parent:
            mode = os.stat(path.rpartition("/")[2], dir_fd=parent, follow_symlinks=False).st_mode
        kind = "" if stat.S_ISREG(mode) else f"It is {_KINDS.get(stat.S_IFMT(mode), 'a device')}"
        return misplaced(path, accounts, record_types, kind)


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def _see(folder: int, place: str, found: dict[str, Seen], wanted: Collection[str] | None) -> list[str]:
    """What is in a folder is found; returns the folders in it, also those that are wanted.

    Where none are wanted, as in that of a record type, a folder is found like anything else.
    """
    with os.scandir(folder) as entries:
        shown = [entry.name for entry in entries if not entry.name.startswith(".")]
    folders = []
    for name in shown:
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if wanted is not None and stat.S_ISDIR(status.st_mode):
                folders.append(name)
            else:
                found[place + name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    for name in sorted(set(wanted or ()).difference(shown)):
        with suppress(OSError):  # it may be another's folder; what lies in it is taken all the same
            os.mkdir(name, dir_fd=folder)
            folders.append(name)
    return folders


@contextmanager
def _opened(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """A folder, which is no link to one."""
    flags = _FOLDER if parent is not None else _FOLDER & ~os.O_NOFOLLOW
    folder = os.open(name, flags, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _parent(root: Path, path: str) -> Iterator[int]:
    """The folder in which something lies, however its folders have been replaced meanwhile."""
    folder, *_ = opened = [os.open(root, _FOLDER & ~os.O_NOFOLLOW)]
    try:
        for name in path.split("/")[:-1]:
            folder = os.open(name, _FOLDER, dir_fd=folder)
            opened.append(folder)
        yield folder
    finally:
        for each in opened:
            os.close(each)


def _move(root: Path, path: str, final: Path) -> None:
    """Rename a file; its content and both folders are flushed, so that a power cut leaves it whole, in one place."""
    name = path.rpartition("/")[2]
    with _parent(root, path) as folder:
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _flush(name, folder)
        os.rename(name, final, src_dir_fd=folder)
        sync(final.parent)
        os.fsync(folder)


def _flush(name: str, folder: int) -> None:
    """Flush what its writer may not have flushed; a file that may not be read is moved all the same."""
    with suppress(PermissionError):
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@contextmanager
def _told(failures: list[str], path: str) -> Iterator[None]:
    """What the operating system refuses is a sentence; what its writer has taken away is none."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        failures.append(f"{printable(path)} cannot be moved: {error.strerror}")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder is there and no other process has it; nobody else has it meanwhile, or until this one dies."""
    try:
        lock = os.open(folder, _FOLDER)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


def _remove_empty(folder: Path) -> None:
    """What is empty of the folder is gone."""
    for place in (*folder.glob("*/*/"), *folder.glob("*/"), folder):
        with suppress(OSError):
            place.rmdir()
