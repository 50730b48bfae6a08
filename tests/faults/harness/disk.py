"""Models what is left on a disk when the power is cut. A record of file operations is played on it.

A write is in memory until its file is flushed, and a name until its folder is flushed. Until then any part of it may
have reached the disk. So several images follow from one cut, as with ALICE (Pillai et al., OSDI 2014) and CrashMonkey
(Mohan et al., OSDI 2018).
"""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.faults.harness.shim import Kind, Operation

_ROOT = 0


@dataclass
class _File:
    """A file's bytes in memory and on the disk, and its operations since the last flush."""

    memory: bytearray
    flushed: bytes = b""
    at: float = 0.0
    pending: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class _Change:
    """Names of folders that change together: the file of each name now, or None."""

    names: tuple[tuple[int, str, int | None], ...]


class Names(StrEnum):
    """Which changes of names in unflushed folders have reached the disk: none, some of the first, all."""

    NONE = "no name"
    SOME = "some names"
    ALL = "all names"


class Data(StrEnum):
    """What the disk has of writes that were not flushed."""

    NONE = "no data"
    ZEROS = "zeros"
    SOME = "some data"
    ALL = "all data"


@dataclass(frozen=True)
class Image:
    """A disk: folders, and files with their bytes and times, by their paths."""

    folders: frozenset[str]
    files: dict[str, tuple[bytes, float]]

    @property
    def digest(self) -> str:
        """Return a hash by which images are compared."""
        digest = hashlib.sha256(repr(sorted(self.folders)).encode())
        for path in sorted(self.files):
            digest.update(f"{path} {len(self.files[path][0])} ".encode() + self.files[path][0])
        return digest.hexdigest()

    def write(self, root: Path) -> None:
        """Write the image below a folder."""
        for path in sorted(self.folders):
            (root / path).mkdir(parents=True, exist_ok=True)
        for path, (content, at) in self.files.items():
            (root / path).write_bytes(content)
            os.utime(root / path, (at, at))


class Disk:
    """A disk that starts with a folder, all of it flushed, and then changes by operations."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[int, _File] = {}
        self._folders: dict[int, dict[str, int]] = {_ROOT: {}}
        self._numbers: dict[int, int] = {}
        """Our number of each inode, because the operating system reuses inodes."""
        self._next = _ROOT
        self._read(root, _ROOT)
        self._flushed = {number: dict(names) for number, names in self._folders.items()}
        self._pending: list[_Change] = []

    def _read(self, folder: Path, number: int) -> None:
        self._numbers[folder.stat().st_ino] = number
        for path in folder.iterdir():
            if path.name.endswith("-shm"):  # SQLite makes this file anew
                continue
            status = path.lstat()
            child = self._new(status.st_ino)
            self._folders[number][path.name] = child
            if path.is_dir():
                self._folders[child] = {}
                self._read(path, child)
            else:
                content = path.read_bytes()
                self._files[child] = _File(bytearray(content), content, status.st_mtime)

    def _new(self, inode: int) -> int:
        self._next += 1
        self._numbers[inode] = self._next
        return self._next

    def _find(self, path: str) -> tuple[int, str]:
        """Return the folder and the name of a path."""
        *folders, name = Path(path).relative_to(self._root).parts
        folder = _ROOT
        for each in folders:
            folder = self._folders[folder][each]
        return folder, name

    def play(self, operation: Operation) -> None:
        """Perform the operation in memory; a flush writes to the disk."""
        kind = operation.kind
        if kind is Kind.CREATE:
            number = self._new(operation.inode)
            self._files[number] = _File(bytearray(), b"", operation.at)
            self._change((*self._find(operation.path), number))
        elif kind is Kind.MKDIR:
            number = self._new(operation.inode)
            self._folders[number], self._flushed[number] = {}, {}
            self._change((*self._find(operation.path), number))
        elif kind in (Kind.UNLINK, Kind.RMDIR):
            self._change((*self._find(operation.path), None))
        elif kind in (Kind.RENAME, Kind.LINK):
            if operation.path == operation.other:
                return
            folder, name = self._find(operation.path)
            target = (*self._find(operation.other), self._folders[folder][name])
            self._change(target, *([(folder, name, None)] if kind is Kind.RENAME else []))
        elif kind in (Kind.WRITE, Kind.TRUNCATE):
            file = self._files[self._numbers[operation.inode]]
            _apply(file.memory, operation)
            file.at = operation.at
            file.pending.append(operation)
        elif kind is Kind.SYNC:
            self._flush(self._numbers[operation.inode])

    def _change(self, *names: tuple[int, str, int | None]) -> None:
        for folder, name, number in names:
            if number is None:
                self._folders[folder].pop(name, None)
            else:
                self._folders[folder][name] = number
        self._pending.append(_Change(names))

    def _flush(self, number: int) -> None:
        if number in self._files:
            file = self._files[number]
            file.flushed, file.pending = bytes(file.memory), []
            return
        wanted = {(number, name) for name in self._folders[number]} | {
            (folder, name) for change in self._pending for folder, name, _ in change.names if folder == number
        }
        persisted: list[_Change] = []
        for change in reversed(self._pending):  # a rename needs the earlier changes of both its names
            if any((folder, name) in wanted for folder, name, _ in change.names):
                wanted |= {(folder, name) for folder, name, _ in change.names}
                persisted.append(change)
        for change in reversed(persisted):
            _set(self._flushed, change)
        self._pending = [change for change in self._pending if change not in persisted]

    def image(self, names: Names, data: Data, chance: random.Random) -> Image:
        """Return the disk after a cut now, with this part of what was not flushed."""
        folders = {number: dict(entries) for number, entries in self._flushed.items()}
        some = {Names.NONE: 0, Names.ALL: len(self._pending)}
        for change in self._pending[: some.get(names, chance.randint(0, len(self._pending)))]:
            _set(folders, change)
        image = Image(frozenset(), {})
        found: set[str] = set()
        contents: dict[int, bytes] = {}
        for path, number in _walk(folders, _ROOT, ""):
            if number in self._files:
                if number not in contents:
                    contents[number] = _left(self._files[number], data, chance)
                image.files[path] = (contents[number], self._files[number].at)
            else:
                found.add(path)
        return Image(frozenset(found), image.files)


def _walk(folders: dict[int, dict[str, int]], number: int, path: str) -> Iterator[tuple[str, int]]:
    for name, child in folders[number].items():
        yield f"{path}{name}", child
        if child in folders:
            yield from _walk(folders, child, f"{path}{name}/")


def _set(folders: dict[int, dict[str, int]], change: _Change) -> None:
    for folder, name, number in change.names:
        if number is None:
            folders[folder].pop(name, None)
        else:
            folders[folder][name] = number


def _left(file: _File, data: Data, chance: random.Random) -> bytes:
    """Return what the disk has of a file."""
    if not file.pending or data is Data.NONE:
        return file.flushed
    if data is Data.ALL:
        return bytes(file.memory)
    left = bytearray(file.flushed)
    for operation in file.pending:
        if data is Data.ZEROS:
            _apply(left, operation, zeros=True)
        elif chance.random() < 0.5:
            _apply(left, operation)
    return bytes(left)


def _apply(content: bytearray, operation: Operation, *, zeros: bool = False) -> None:
    """Apply a write or a change of size. With `zeros`, a write changes the size alone."""
    size, end = len(content), operation.offset + len(operation.data)
    if operation.kind is Kind.TRUNCATE:
        del content[operation.length :]
        content.extend(bytes(max(0, operation.length - size)))
    elif zeros:
        content.extend(bytes(max(0, end - size)))
    else:
        content.extend(bytes(max(0, operation.offset - size)))
        content[operation.offset : end] = operation.data
