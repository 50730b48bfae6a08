"""What a process reads of a catalog in SQLite leaves the locks of its writers alone."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from resources.health.check import StoreCheck
from resources.record_store import RecordStore
from resources.settings import Settings

_WRITES = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=0) as other:
    other.execute("BEGIN IMMEDIATE")
"""


def is_locked(settings: Settings) -> bool:
    """Return whether a process without our write lock finds the catalog locked."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _WRITES, settings.catalog], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "database is locked" in done.stderr
    return done.returncode != 0


@pytest.mark.parametrize(
    "read",
    [lambda it: it.exists, lambda it: it.last_row(), lambda it: StoreCheck(it).run()],
    ids=["exists", "reads", "checks"],
)
def test_a_second_store_of_a_process_takes_no_lock_from_a_transaction(
    store: RecordStore, settings: Settings, read: Callable[[RecordStore], object]
) -> None:
    with store.write_lock, store._lake.attached() as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE __ducklake_metadata_lake.held (n INTEGER)")
        assert is_locked(settings)

        with RecordStore(settings) as other:
            read(other)

        assert is_locked(settings)
        connection.execute("ROLLBACK")
    assert not is_locked(settings)
