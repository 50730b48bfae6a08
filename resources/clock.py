"""The only place that asks what time it is, and whether the answer can be believed."""

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
"""For how long a server's answer is counted on."""

_TOLERANCE = timedelta(minutes=10)
"""How far two clocks may differ before one of them is wrong."""

_LONGEST_REST = timedelta(days=30)
"""For how long a store may rest before the clock that says so must be confirmed."""


@dataclass(frozen=True)
class Observation:
    """A time at which a store was in use. `uptime` are the machine's seconds since the start that `boot` names."""

    at: datetime
    boot: str = ""
    uptime: float = 0.0


class Clock(Protocol):
    """Something that tells the time, and knows when it may be wrong."""

    def now(self) -> datetime:
        """The time, in UTC."""
        ...

    def observe(self, last: Observation | None) -> Observation:
        """The time that has certainly passed for a store that was last seen then: never later than `now`."""
        ...

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """Why the time cannot be right, as a sentence; None if nothing speaks against it.

        newest: the latest time that the store knows. file_time: what the file system says is now.
        """
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def observe(self, last: Observation | None) -> Observation:
        """The time by this clock, but no more after `last` than the machine has been running since."""
        boot, uptime, now = _boot(), time.clock_gettime(time.CLOCK_BOOTTIME), self.now()
        if last is not None and last.boot == boot:
            now = min(now, last.at + timedelta(seconds=max(0.0, uptime - last.uptime)))
        return Observation(now, boot, uptime)

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """Two clocks differ, or nothing was written for so long that the clock may have jumped."""
        now = self.now()
        if file_time is not None and abs(now - file_time) > _TOLERANCE:
            return f"The clock of this process says {_shown(now)}, and the file system says {_shown(file_time)}."
        if newest is not None and now - newest > _LONGEST_REST:
            return (
                f"The clock says {_shown(now)}, {(now - newest).days:,} days after the newest entry of the store, "
                f"which is of {_shown(newest)}."
            )
        return None


class ServerClock:
    """The clock of a server: asked once a minute at most, and counted on in between."""

    def __init__(self, ask: Callable[[], datetime], elapsed: Callable[[], float] = monotonic) -> None:
        self._ask = ask
        self._elapsed = elapsed
        self._answer: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The time, in UTC."""
        if self._answer is None or self._elapsed() - self._answer[1] >= _COUNTED_SECONDS:
            self._answer = self._ask(), self._elapsed()
        told, at = self._answer
        return told + timedelta(seconds=self._elapsed() - at)

    def observe(self, last: Observation | None) -> Observation:
        """The server's time, which no machine of the store's users can change."""
        return Observation(self.now())

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> str | None:
        """The clock of this machine, by which snapshots are dated, differs from the server's."""
        here, there = SystemClock().now(), self.now()
        if abs(here - there) > _TOLERANCE:
            return f"The clock of this machine says {_shown(here)}, and PostgreSQL's server says {_shown(there)}."
        return None


def file_time(folder: Path) -> datetime | None:
    """What the file system that holds a folder says is now; None if the folder cannot be touched."""
    try:
        os.utime(folder)
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except OSError:
        return None


BATCH_ID = re.compile(r"[br]-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")
"""The id of an import or of a rollback."""


def new_id(prefix: str, at: datetime) -> str:
    """An id that sorts by time and can be read aloud: `b-20260105-093000123-4fd1a9`.

    Two ids of one millisecond differ in their last six hexadecimal digits.
    """
    return f"{prefix}-{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(3)}"


def _boot() -> str:
    """What names this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
