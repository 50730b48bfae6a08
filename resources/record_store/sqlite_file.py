"""Statements that the SQLite of DuckDB executes on a catalog's file, because a process must not open it with another.

Locks of POSIX belong to a process and a file. When Python's `sqlite3` closes a file, the process loses all locks on it,
those of DuckDB's SQLite too. Another process then writes beside them, or removes the log under them, and commits are
lost (found here). Source: SQLite, "How To Corrupt An SQLite Database File", 2.2 and 2.2.1.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from resources.record_store import vacuuming
from resources.record_store.extensions import LOADING, extension_path
from resources.record_store.sql_text import literal

SCANNER = "sqlite_scanner"
"""DuckDB's extension that has SQLite."""

_WAIT = 20_000
"""Milliseconds to wait for a lock."""


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query of SQLite. Raises sqlite3.Error with SQLite's words at its end."""
    with _attached(path, "READ_ONLY") as database:
        return database.execute(f"FROM sqlite_query('catalog', {literal(sql)})").fetchall()


def end_log(path: Path) -> None:
    """Let a file that no other connection uses be whole without a log beside it. Raises sqlite3.Error."""
    with _attached(path, "JOURNAL_MODE 'DELETE'"):
        pass


def vacuum(path: Path) -> bool:
    """Write a file anew without the bytes of removed rows, and empty its log; in a process of its own.

    DuckDB's SQLite takes no VACUUM. Returns False if a reader keeps the log. Raises sqlite3.Error.
    """
    command = [sys.executable, "-I", "-S", vacuuming.__file__, str(path), str(_WAIT / 1000)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode == vacuuming.FAILED:
        raise sqlite3.OperationalError(done.stderr.strip())
    if done.returncode not in (0, vacuuming.BUSY):
        raise RuntimeError(f"The process that writes the catalog anew ended with {done.returncode}: {done.stderr}")
    return done.returncode == 0


@contextmanager
def _attached(path: Path, option: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={**LOADING, "threads": "1"}) as database:
        database.execute(f"LOAD {literal(extension_path(SCANNER))}")
        try:
            database.execute(f"ATTACH {literal(path)} AS catalog (TYPE sqlite, {option}, BUSY_TIMEOUT {_WAIT})")
            yield database
        except duckdb.Error as error:
            words = str(error).partition("\n")[0]  # without the statement
            raise sqlite3.OperationalError(words) from None
