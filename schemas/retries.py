"""When to try again what has failed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

_MOST_MINUTES = 60


def next_attempt(attempts: Sequence[datetime]) -> datetime:
    """When to try again after attempts that failed: as many minutes after the last as there were, at most 60."""
    return max(attempts) + timedelta(minutes=min(len(attempts), _MOST_MINUTES))
