"""The only place that asks what time it is."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

_COUNTED_SECONDS = 60.0
"""For how long a server's answer is counted on."""


class Clock(Protocol):
    """Something that tells the time."""

    def now(self) -> datetime:
        """The time, in UTC."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)


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


def new_id(prefix: str, at: datetime) -> str:
    """An id that sorts by time and can be read aloud: `b-20260105-093000123-4fd1a9`.

    Two ids of one millisecond differ in their last six hexadecimal digits.
    """
    return f"{prefix}-{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(3)}"
