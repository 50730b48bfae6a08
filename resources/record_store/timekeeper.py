"""`Timekeeper`: the present time of a store, and whether it can be right."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

from resources.clock import Clock, Observation, file_time
from resources.record_store.refusals import implausible_clock
from resources.record_store.store_mark import Mark

_LOG = logging.getLogger(__name__)
_TOLERANCE = timedelta(seconds=1)
"""How far a clock may be behind the ledger before that is reported."""


class Timekeeper:
    """The time of a store: a clock, compared with the ledger, the mark and the file system of a scratch folder."""

    def __init__(self, clock: Clock, scratch: Path) -> None:
        self._clock = clock
        self._scratch = scratch
        self._is_reported = False

    def now(self, newest: datetime | None, mark: Mark | None) -> datetime:
        """Return the clock's time, but never a time before the newest row of the ledger.

        With a clock that was set back, periods would end later than promised. So the ledger's time is used, and a
        warning is logged once. Raises ImplausibleClock if the time cannot be right.
        """
        times = [*([] if newest is None else [newest]), *([] if mark is None else [mark.seen.at])]
        self.require_plausible(max(times, default=None))
        now = self._clock.now()
        if newest is None or newest <= now:
            return now
        if newest - now >= _TOLERANCE and not self._is_reported:
            self._is_reported = True
            _LOG.warning(
                "The clock is behind the ledger by %s: it says %s UTC, the newest entry %s UTC. "
                "Until it has caught up, the entry's time is used. Set the clock right.",
                timedelta(seconds=round((newest - now).total_seconds())),
                f"{now:%Y-%m-%d %H:%M:%S}",
                f"{newest:%Y-%m-%d %H:%M:%S}",
            )
        return newest

    def retention_time(self, newest: datetime | None, mark: Mark | None) -> datetime:
        """Return the time by which retention is measured: at most the time that has certainly passed.

        So files do not get older if the clock is set ahead while the machine runs. Raises ImplausibleClock.
        """
        return min(self.now(newest, mark), self.observe(mark).at)

    def observe(self, mark: Mark | None) -> Observation:
        """Return the latest time that is certain, from the time of the mark."""
        return self._clock.observe(None if mark is None else mark.seen)

    def require_plausible(self, newest: datetime | None = None) -> None:
        """Raise ImplausibleClock if the time cannot be right. newest: the latest time that the store has recorded."""
        doubt = self._clock.doubt(newest, file_time(self._scratch))
        if doubt is not None:
            raise implausible_clock(doubt)

    def file_system_time(self) -> datetime:
        """Return the present time of the file system, which new files will get."""
        return file_time(self._scratch) or self._clock.now()
