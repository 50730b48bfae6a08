"""Clocks: the only module that reads the time, and that checks whether the time can be right."""

import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Protocol

_COUNTED_SECONDS = 60.0
"""For how long a server's answer is used before it is asked again."""

_TOLERANCE = timedelta(minutes=10)
"""How far two clocks may differ before one of them is wrong."""

_LONGEST_REST = timedelta(days=30)
"""For how long a store may be unused before the user must confirm that the clock is right."""


@dataclass(frozen=True)
class Observation:
    """A time at which a store was in use. `uptime` is in seconds since the machine's start; `boot` identifies it."""

    at: datetime
    boot: str = ""
    uptime: float = 0.0


class Clock(Protocol):
    """A source of the time, which can say when that time may be wrong."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        ...

    def observe(self, last: Observation | None) -> Observation:
        """Return the latest time that is certain for a store last used at `last`: never later than `now`."""
        ...

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """Return why the time cannot be right, as a sentence; None if there is no sign of that.

        newest: the latest time that the store has recorded. file_time: the present time of the file system.
        """
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)

    def observe(self, last: Observation | None) -> Observation:
        """Return this clock's time, but at most as long after `last` as the machine has run since then."""
        boot, uptime, now = _boot(), time.clock_gettime(time.CLOCK_BOOTTIME), self.now()
        if last is not None and last.boot == boot:
            now = min(now, last.at + timedelta(seconds=max(0.0, uptime - last.uptime)))
        return Observation(now, boot, uptime)

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """Return a sentence if two clocks differ, or if the clock may have jumped since the last entry."""
        now = self.now()
        if file_time is not None and abs(now - file_time) > _TOLERANCE:
            return f"The clock of this process says {_shown(now)}, and the file system says {_shown(file_time)}."
        if newest is not None and now - newest > _LONGEST_REST:
            return (
                f"The clock says {_shown(now)}, {(now - newest).days:,} days after the newest entry of the store, "
                f"from {_shown(newest)}."
            )
        return None


class ServerClock:
    """The clock of a server. It is asked at most once a minute; in between, elapsed seconds are added."""

    def __init__(self, ask: Callable[[], datetime], elapsed: Callable[[], float] = monotonic) -> None:
        self._ask = ask
        self._elapsed = elapsed
        self._answer: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the time, in UTC."""
        if self._answer is None or self._elapsed() - self._answer[1] >= _COUNTED_SECONDS:
            self._answer = self._ask(), self._elapsed()
        answered, at = self._answer
        return answered + timedelta(seconds=self._elapsed() - at)

    def observe(self, last: Observation | None) -> Observation:
        """Return the server's time. The machines of the store's users cannot change it."""
        return Observation(self.now())

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """Return a sentence if this machine's clock, which dates snapshots, differs from the server's."""
        here, there = SystemClock().now(), self.now()
        if abs(here - there) > _TOLERANCE:
            return f"The clock of this machine says {_shown(here)}, and PostgreSQL's server says {_shown(there)}."
        return None


def file_time(folder: Path) -> datetime | None:
    """Return the present time of a folder's file system; None if the folder's time cannot be set."""
    try:
        os.utime(folder)
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except OSError:
        return None


BATCH_ID = re.compile(r"[br]-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")
"""The id of an import or of a rollback."""


def new_id(prefix: str, at: datetime) -> str:
    """Return an id that sorts by time and can be read aloud: `b-20260105-093000123-4fd1a9`.

    Two ids of one millisecond differ in their last six hexadecimal digits.
    """
    return f"{prefix}-{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(3)}"


def time_of(made_id: str) -> datetime:
    """Return the time at which `new_id` made an id, to the second."""
    return datetime.strptime(made_id[2:17], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def _boot() -> str:
    """Return the id of this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
