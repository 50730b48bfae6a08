"""`Timekeeper`: which time counts for a store, and whether it can be right."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

from resources.clock import Clock, Observation, file_time
from resources.record_store.refusals import implausible_clock
from resources.record_store.store_mark import Mark

_LOG = logging.getLogger(__name__)
_UNTOLD = timedelta(seconds=1)
"""How far a clock may be behind the ledger before it is reported."""


class Timekeeper:
    """The time of a store: that of a clock, held against what the store has seen. `scratch` is a folder to touch."""

    def __init__(self, clock: Clock, scratch: Path) -> None:
        self._clock = clock
        self._scratch = scratch
        self._told = False

    def now(self, newest: datetime | None, mark: Mark | None) -> datetime:
        """The time that counts: the clock's, but never before the newest row of the ledger.

        A clock that has jumped back would let times end later than they were said to; it is reported, once. Raises
        ImplausibleClock when the time cannot be right.
        """
        times = [*([] if newest is None else [newest]), *([] if mark is None else [mark.seen.at])]
        self.require_plausible(max(times, default=None))
        now = self._clock.now()
        if newest is None or newest <= now:
            return now
        if newest - now >= _UNTOLD and not self._told:
            self._told = True
            _LOG.warning(
                "The clock is behind the ledger by %s: it says %s UTC, the newest entry %s UTC. "
                "Until it has caught up, that time counts; set the clock right.",
                timedelta(seconds=round((newest - now).total_seconds())),
                f"{now:%Y-%m-%d %H:%M:%S}",
                f"{newest:%Y-%m-%d %H:%M:%S}",
            )
        return newest

    def retention_time(self, newest: datetime | None, mark: Mark | None) -> datetime:
        """The time by which what is past its days is given up: no more than has certainly passed.

        A clock that was set ahead while the machine ran makes nothing older. Raises ImplausibleClock.
        """
        return min(self.now(newest, mark), self.observe(mark).at)

    def observe(self, mark: Mark | None) -> Observation:
        """The time that has certainly passed since the mark was written."""
        return self._clock.observe(None if mark is None else mark.seen)

    def require_plausible(self, newest: datetime | None = None) -> None:
        """Raise ImplausibleClock when the time cannot be right; `newest` is the latest time that the store knows."""
        doubt = self._clock.doubt(newest, file_time(self._scratch))
        if doubt is not None:
            raise implausible_clock(doubt)

    def of_files(self) -> datetime:
        """What the file system says is now, as new files will bear it."""
        return file_time(self._scratch) or self._clock.now()
