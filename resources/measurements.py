"""`Measurements`: how often, how long and how many bytes each kind of work took on this machine.

Commands, runs and web pages are processes of their own, and most end soon. So they add to one file in the home, which
monitoring reads. The file has one size for ever. A process locks it, and then writes it whole with one system call.
So a killed process leaves it as it was before or after. After a power cut it may be older or empty. Then the numbers
begin lower, which Prometheus takes as a restart. prometheus_client's own way has a file for each process, for ever.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock

FILE = "measurements.json"
_SIZE = 4096
"""The bytes of the file, which spaces fill. It is one page of memory, so no reader sees a part of a write."""

_PATIENCE = 1.0
"""How many seconds a process waits for the file. What it could not add then, it adds the next time."""

_LOOK = 0.002


class Work(StrEnum):
    """A kind of work that is measured."""

    READ = "read"
    COMMIT = "commit"
    LOCK_TAKEN = "lock_taken"
    LOCK_BUSY = "lock_busy"


@dataclass(frozen=True)
class Total:
    """All work of one kind: how often it was done, in how many seconds, and with how many bytes."""

    number: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def __add__(self, other: "Total") -> "Total":
        """Returns the sum of both."""
        return Total(self.number + other.number, self.seconds + other.seconds, self.bytes + other.bytes)


class Measurements:
    """The measurements of a home. For several threads and processes. Never an error of theirs stops any work."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._turn = Lock()
        self._waiting: dict[Work, Total] = {}

    @contextmanager
    def timing(self, work: Work, size: int = 0) -> Iterator[None]:
        """Add the time until the end of the block, and so many bytes. An error in the block adds nothing."""
        began = time.monotonic()
        yield
        self.add(work, time.monotonic() - began, size)

    def add(self, work: Work, seconds: float, size: int = 0) -> None:
        """Add work that was done once. Does nothing if there is no home or it cannot be written."""
        with self._turn:
            self._waiting[work] = self._waiting.get(work, Total()) + Total(1, seconds, size)
            with suppress(OSError):
                self._write()

    def totals(self) -> dict[Work, Total]:
        """Returns the totals of all processes so far, of each kind of work."""
        content = b""
        with suppress(OSError), self._path.open("rb") as file:
            _locked(file.fileno(), fcntl.LOCK_SH)
            content = file.read()
        return _parsed(content)

    def _write(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(descriptor, fcntl.LOCK_EX):
                return
            totals = _parsed(os.pread(descriptor, _SIZE, 0))
            for work, more in self._waiting.items():
                totals[work] += more
            content = json.dumps({work: vars(total) for work, total in totals.items()}, indent=1)
            os.pwrite(descriptor, content.encode().ljust(_SIZE - 1) + b"\n", 0)
            self._waiting.clear()
        finally:
            os.close(descriptor)


def _locked(descriptor: int, how: int) -> bool:
    """Lock the open file until it is closed. Returns False if another process keeps it locked."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK)
        else:
            return True


def _parsed(content: bytes) -> dict[Work, Total]:
    """Returns the totals in the content of a file; zeros for what it lacks, or if it is damaged."""
    totals = dict.fromkeys(Work, Total())
    with suppress(ValueError, TypeError, AttributeError):
        known = json.loads(content)
        for work in Work:
            kept = Total(**known.get(work, {}))
            totals[work] = Total(int(kept.number), float(kept.seconds), int(kept.bytes))
    return totals
