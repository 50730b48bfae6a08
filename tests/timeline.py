"""Weeks that pass within a test: a clock that is set, and a lake whose snapshots bear its time."""

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
    """A statement on DuckLake's own tables, committed; returns its rows. Its `?` are bound to the values."""
    connection: Any = sqlite3.connect(settings.catalog, timeout=20)
    if settings.postgres is not None:
        connection.close()
        connection, statement = psycopg2.connect(settings.postgres), statement.replace("?", "%s")
    with closing(connection), connection:
        cursor = connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


class Timeline:
    """The clock of a store. DuckLake asks the operating system for the time; so its times are set afterwards."""

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
        """It is what the test says."""

    def advance(self, **by: float) -> None:
        """What was done since the last time was done then; now it is later."""
        self.stamp()
        self.time += timedelta(**by)

    def stamp(self) -> None:
        """The snapshots made and the files retired since the last time bear the clock's time."""
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
    """A new store whose whole history is on its timeline."""
    clock = Timeline(settings)
    store = RecordStore(settings, clock=clock)
    store.initialise(load_record_types())
    clock.stamp()
    return store, clock
