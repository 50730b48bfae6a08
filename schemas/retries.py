"""When to retry a failed operation."""

from collections.abc import Sequence
from datetime import datetime, timedelta

_MOST_MINUTES = 60


def next_attempt(attempts: Sequence[datetime]) -> datetime:
    """Returns the time of the next attempt: as many minutes after the last one as attempts have failed, at most 60."""
    return max(attempts) + timedelta(minutes=min(len(attempts), _MOST_MINUTES))
