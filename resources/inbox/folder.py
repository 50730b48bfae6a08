"""The inbox in folders: inbox, processing, archive and quarantine. A file is in exactly one of them.

A file is moved by renaming it, never by copying it. So a process that is killed leaves it in one place. Any user may
write into the inbox, therefore links there are never followed. Links, pipes and devices are renamed themselves.
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
from resources.inbox.bundles import BundledFile, checked_bundle, digest, in_bundles, misplaced, rejects_name, why_name
from resources.settings import Settings
from schemas.arrivals import Look, Seen, printable
from schemas.location import Location

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderInbox:
    """The four folders that files move through."""

    def __init__(self, settings: Settings) -> None:
        self._inbox, self._processing, self._archive, self._quarantine = (
            local(place) for place in (settings.inbox, settings.processing, settings.archive, settings.quarantine)
        )

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """Return the state of each file in `inbox/<account>/<type>` or beside such a folder, except hidden files.

        Makes the missing folders of accounts and record types. Opens folders only.
        """
        found: dict[str, Seen] = {}
        self._inbox.mkdir(parents=True, exist_ok=True)
        with _opened(self._inbox) as root:
            for account in _see(root, "", found, accounts):
                with suppress(OSError), _opened(account, root) as folder:  # an unreadable folder has no files to take
                    wanted = record_types if account in accounts else ()
                    for record_type in _see(folder, f"{account}/", found, wanted):
                        with suppress(OSError), _opened(record_type, folder) as files:
                            _see(files, f"{account}/{record_type}/", found, None)
        return found

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Move files into processing, in bundles. Returns a sentence for each file that could not be moved.

        Things that are not files, and files in a wrong place, go into quarantine. One failure does not stop the others.
        """
        taken: list[str] = []
        failures: list[str] = []
        for path in paths:
            with _reported(failures, path):
                why = self._misplaced(path, accounts, record_types)
                if why is None:
                    taken.append(path)
                else:
                    # The same file always gets the same folder. So this completes the move of a killed process.
                    folder = self._quarantine / Path(path).parent / f"q-{digest(path, *look[path])}"
                    self._put_aside(self._inbox, path, folder, why)
        for number, together in enumerate(in_bundles(taken, look)):
            bundle = self._processing / new_id("a", now + timedelta(milliseconds=number))
            for path in together:
                with _reported(failures, path):
                    make_folder((bundle / path).parent)
                    _move(self._inbox, path, bundle / path)
        return failures

    def bundles(self) -> dict[str, list[str]]:
        """Return the bundles in processing, oldest first, each with its folders `<account>/<type>`.

        Removes empty bundles.
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
    def bundle(self, bundle: str, folder: str = "") -> Iterator[list[BundledFile]]:
        """Lock the bundle for this process and yield its files, oldest modification first. Then remove it if empty.

        folder: lock and yield those of one `<account>/<type>` only, so that several processes share the bundle.
        Yields no files if another process has the lock, or if all files are done.
        """
        root = self._processing / checked_bundle(bundle)
        with _locked(root / folder) as is_ours:
            if not is_ours:
                yield []
                return
            files = []
            for path in sorted(root.glob(f"{folder or '*/*'}/*"), key=lambda path: (path.lstat().st_mtime_ns, path)):
                account, record_type, name = path.relative_to(root).parts
                arrival_id = f"{bundle}-{digest(account, record_type, name)}"
                files.append(BundledFile(arrival_id, account, record_type, path))
            yield files
            _remove_empty(root)

    @contextmanager
    def opened(self, file: BundledFile) -> Iterator[Path | None]:
        """Yield the file; None if it has become a link, a pipe or a folder meanwhile."""
        path = local(file.path)
        yield path if stat.S_ISREG(path.lstat().st_mode) else None

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """Move the file into the archive, in a folder named for its batch."""
        final = self._archive / file.account / file.record_type / batch_id / file.path.name
        make_folder(final.parent)
        _move(self._processing, str(local(file.path).relative_to(self._processing)), final)

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """Move the file into quarantine, beside a text with the reason and its rejects file."""
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
            beside = folder / rejects_name(final.name, rejects.name)
            shutil.copyfile(local(rejects), beside)
            sync(beside)
        _move(root, path, final)

    def _misplaced(self, path: str, accounts: Collection[str], record_types: Collection[str]) -> str | None:
        """Return why the path cannot be imported, and what to do; None for a file in the right place."""
        with _parent(self._inbox, path) as parent:
            mode = os.stat(path.rpartition("/")[2], dir_fd=parent, follow_symlinks=False).st_mode
        kind = "" if stat.S_ISREG(mode) else f"It is {_KINDS.get(stat.S_IFMT(mode), 'a device')}"
        return misplaced(path, accounts, record_types, kind)


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def _see(folder: int, place: str, found: dict[str, Seen], wanted: Collection[str] | None) -> list[str]:
    """Add the state of each file in a folder to `found`. Returns the folders in it, after making the wanted ones.

    wanted: the folders that must exist. If it is None, as in the folder of a record type, a folder counts as a file.
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
        with suppress(OSError):  # another user may own the folder; its files are taken all the same
            os.mkdir(name, dir_fd=folder)
            folders.append(name)
    return folders


@contextmanager
def _opened(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """Yield a descriptor of a folder. A link to a folder is not opened below a parent."""
    flags = _FOLDER if parent is not None else _FOLDER & ~os.O_NOFOLLOW
    folder = os.open(name, flags, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _parent(root: Path, path: str) -> Iterator[int]:
    """Yield a descriptor of the folder of a path, without following links that replaced folders meanwhile."""
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
    """Rename a file. Its content and both folders are flushed, so a power cut leaves it whole and in one place."""
    name = path.rpartition("/")[2]
    with _parent(root, path) as folder:
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _flush(name, folder)
        os.rename(name, final, src_dir_fd=folder)
        sync(final.parent)
        os.fsync(folder)


def _flush(name: str, folder: int) -> None:
    """Flush the content of a file, if this process may read it. Its writer may not have done so."""
    with suppress(PermissionError):
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@contextmanager
def _reported(failures: list[str], path: str) -> Iterator[None]:
    """Add a sentence to the failures if the operating system refuses to move a file. A removed file is no failure."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        failures.append(f"{printable(path)} cannot be moved: {error.strerror}")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder and yield True; yield False if it is missing or another process has the lock."""
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
    """Remove a folder and its subfolders, as far as they are empty."""
    for place in (*folder.glob("*/*/"), *folder.glob("*/"), folder):
        with suppress(OSError):
            place.rmdir()
