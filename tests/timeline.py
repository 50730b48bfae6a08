"""Lets weeks pass within a test: a clock that a test sets, and a lake with snapshots that have its time."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from resources.clock import Observation
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types


def execute_on_catalog(settings: Settings, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """Run and commit a statement on DuckLake's own tables; returns its rows. Its `?` are bound to the values."""
    connection: Any = sqlite3.connect(settings.catalog, timeout=20)
    if settings.postgres is not None:
        connection.close()
        connection, statement = psycopg2.connect(settings.postgres), statement.replace("?", "%s")
    with closing(connection), connection:
        cursor = connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


class Timeline:
    """The clock of a store. DuckLake asks the operating system for the time, so its timestamps are set afterwards."""

    def __init__(self, settings: Settings) -> None:
        self.time = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
        self._settings = settings
        self._stamped = -1
        self._retired: set[str] = set()

    def now(self) -> datetime:
        return self.time

    def observe(self, last: Observation | None) -> Observation:
        return Observation(self.time)

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> None:
        """Doubt nothing: the test sets this clock on purpose."""

    def advance(self, **by: float) -> None:
        """Date what was done since the last call, then set the clock forward."""
        self.stamp()
        self.time += timedelta(**by)

    def stamp(self) -> None:
        """Give the clock's time to snapshots made and files retired since the last call."""
        at = f"{self.time:%Y-%m-%d %H:%M:%S.%f}+00"
        self._execute("UPDATE ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id > ?", at, self._stamped)
        ((self._stamped,),) = self._execute("SELECT max(snapshot_id) FROM ducklake_snapshot")
        retired = {path for (path,) in self._execute("SELECT path FROM ducklake_files_scheduled_for_deletion")}
        for path in retired - self._retired:
            self._execute(
                "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = ? WHERE path = ?", at, path
            )
        self._retired = retired

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        return execute_on_catalog(self._settings, statement, values)


def store_of(settings: Settings) -> tuple[RecordStore, Timeline]:
    """A new store with a whole history on its timeline."""
    clock = Timeline(settings)
    store = RecordStore(settings, clock=clock)
    store.initialise(load_record_types())
    clock.stamp()
    return store, clock
