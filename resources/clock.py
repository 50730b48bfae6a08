"""The only place that asks what time it is."""

import secrets
from datetime import UTC, datetime
from typing import Protocol


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


def new_id(prefix: str, at: datetime) -> str:
    """An id that sorts by time and can be read aloud: `b-20260105-093000123-4fd1a9`.

    Two ids of one millisecond differ in their last six hexadecimal digits.
    """
    return f"{prefix}-{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(3)}"
