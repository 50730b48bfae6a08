"""Builds the library that is loaded before libc, gives it its orders, and reads its record. See interpose.c."""

import ctypes
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("interpose.c")


class Kind(IntEnum):
    """The kind of an operation. SEND is to a socket; MARK is a note between operations."""

    CREATE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, SEND, MARK = range(11)


class How(IntEnum):
    """When a process is killed: before an operation, after it, or amid it."""

    BEFORE, AFTER, TORN = range(3)


class Kinds(IntFlag):
    """Sets of kinds of operations that fail."""

    ROOM = 1 << Kind.CREATE | 1 << Kind.WRITE | 1 << Kind.TRUNCATE | 1 << Kind.MKDIR | 1 << Kind.LINK | 1 << Kind.RENAME
    SYNC = 1 << Kind.SYNC
    SHORT = 1 << 16
    """The first write does half of what it should."""


@dataclass(frozen=True)
class Orders:
    """The faults of a process and of its forks; by default there are none.

    Operations are counted from 1, and only those below `root`. `eras` shift the clocks: from a time on, by so many
    seconds. With `files` they shift the times of files as well.
    """

    root: Path | None = None
    record: Path | None = None
    kill_at: int = 0
    kill_how: How = How.BEFORE
    fail_from: int = 0
    fail_to: int = 2**31 - 1
    error: int = 0
    kinds: int = 0
    pause_at: int = 0
    pause: tuple[int, int] = (-1, -1)
    sends: bool = False
    eras: Sequence[tuple[float, float]] = ()
    files: bool = True


NOTHING = Orders()
"""Orders without any fault."""


class _Era(ctypes.Structure):
    _fields_ = [("from_", ctypes.c_double), ("shift", ctypes.c_double)]


class _Orders(ctypes.Structure):
    _fields_ = [
        ("root", ctypes.c_char * 256),
        *((name, ctypes.c_int32) for name in ("group", "log", "kill_at", "kill_how", "fail_from", "fail_to", "error")),
        *((name, ctypes.c_int32) for name in ("kinds", "pause_at", "say", "hear", "sends", "files", "eras")),
        ("era", _Era * 8),
    ]


@cache
def built() -> Path:
    """Compile the shared object once for this process. Raises RuntimeError if there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise RuntimeError("The fault harness needs Linux and a compiler for C: install gcc and libc6-dev.")
    folder = Path(tempfile.gettempdir()) / f"faults-{os.getuid()}-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    made = folder / "interpose.so"
    subprocess.run([compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", made, SOURCE, "-ldl", "-lpthread"], check=True)
    return made


def give(orders: Orders) -> None:
    """Let this process follow the orders from now on. It must have started with the shared object before libc."""
    libc = ctypes.CDLL(None)
    log = -1
    if orders.record is not None:
        log = os.open(orders.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    given = _Orders(
        os.fsencode(orders.root or ""),
        *(os.getpid() if os.getpgrp() == os.getpid() else 0, log, orders.kill_at, orders.kill_how, orders.fail_from),
        *(orders.fail_to, orders.error, orders.kinds, orders.pause_at, *orders.pause, orders.sends, orders.files),
        *(len(orders.eras), (_Era * 8)(*(_Era(*era) for era in orders.eras))),
    )
    libc.faults_order(ctypes.byref(given))


def done() -> int:
    """Return the number of operations since the orders."""
    number: int = ctypes.CDLL(None).faults_done()
    return number


def mark(text: str) -> None:
    """Write a note to the record, such as that an answer was given."""
    ctypes.CDLL(None).faults_mark(text.encode())


def end() -> None:
    """Stop counting; clocks stay as they are."""
    ctypes.CDLL(None).faults_end()


@dataclass(frozen=True)
class Operation:
    """A recorded change of a file or folder."""

    kind: Kind
    number: int
    inode: int
    offset: int
    length: int
    at: float
    path: str
    other: str
    data: bytes = field(repr=False)


_RECORD = struct.Struct("<IiQqqdIIQ")


def recorded(record: Path) -> Iterator[Operation]:
    """Yield the operations and marks of a record, in order."""
    content, place = record.read_bytes(), 0
    while place < len(content):
        kind, number, inode, offset, length, at, path, other, size = _RECORD.unpack_from(content, place)
        texts, place = place + _RECORD.size, place + _RECORD.size + path + other + size
        yield Operation(
            *(Kind(kind), number, inode, offset, length, at),
            *(content[texts : texts + path].decode(), content[texts + path : texts + path + other].decode()),
            content[place - size : place],
        )


def eras(*starts: tuple[float | None, float]) -> tuple[tuple[float, float], ...]:
    """Return eras from pairs: a start (None for now), and the hours that clocks are ahead from then on."""
    return tuple((time.time() if start is None else start, 3600 * hours) for start, hours in starts)
