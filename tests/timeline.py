"""Weeks that pass within a test: a clock that is set, and a lake whose snapshots bear its time."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types


class Timeline:
    """The clock of a store. DuckLake asks the operating system for the time; so its times are set afterwards."""

    def __init__(self, settings: Settings) -> None:
        self.time = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
        self._catalog = settings.catalog
        self._stamped = self._retired = -1

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        """What was done since the last time was done then; now it is later."""
        self.stamp()
        self.time += timedelta(**by)

    def stamp(self) -> None:
        """The snapshots made and the files retired since the last time bear the clock's time."""
        with closing(sqlite3.connect(self._catalog, timeout=20)) as catalog, catalog:
            at = f"{self.time:%Y-%m-%d %H:%M:%S.%f}+00"
            catalog.execute("UPDATE ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id > ?", (at, self._stamped))
            (self._stamped,) = catalog.execute("SELECT max(snapshot_id) FROM ducklake_snapshot").fetchone()
            retired = "SELECT coalesce(max(rowid), 0) FROM ducklake_files_scheduled_for_deletion"
            catalog.execute(
                "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = ? WHERE rowid > ?",
                (at, self._retired),
            )
            (self._retired,) = catalog.execute(retired).fetchone()


def store_of(settings: Settings) -> tuple[RecordStore, Timeline]:
    """A new store whose whole history is on its timeline."""
    clock = Timeline(settings)
    store = RecordStore(settings, clock=clock)
    store.initialise(load_record_types())
    clock.stamp()
    return store, clock
