"""Opens DuckDB for tests in their own process: faster, and with one thread."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import duckdb

from resources.health import surroundings
from resources.record_store import Databases
from resources.record_store.catalog import Catalog
from resources.record_store.databases import Connect
from resources.record_store.sql_text import literal
from resources.settings import Settings

ORDINARY = Databases.open

_SETTINGS = ("memory_limit", "temp_directory")
"""What the settings of a store change of a database of DuckDB."""
_USES = 50
"""The number of stores that use a database one after the other. Each leaves 0.2 MB in it."""

_idle: list["_Kept"] = []


class _Kept:
    """A database for stores in a folder. To close it keeps it for the next store, which takes half as long to open."""

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database
        self._uses = 0
        self._process = os.getpid()

    def is_ready(self, config: dict[str, str]) -> bool:
        """Give the database other settings; returns whether it has taken them. A process does not take another's."""
        self._uses += 1
        if self._process != os.getpid():
            return False
        try:
            for name in _SETTINGS:
                self._database.execute(f"SET {name} = {literal(config[name])}")
        except duckdb.Error:  # for example, a folder for temporary files that was used
            self._database.close()
            return False
        return True

    def close(self) -> None:
        """Keep the database for the next store, unless a store has left something in it."""
        names = []
        with suppress(duckdb.Error):  # after a defect in DuckDB
            names = self._database.execute("SELECT database_name FROM duckdb_databases() WHERE NOT internal").fetchall()
        if names == [("memory",)] and self._uses < _USES:
            _idle.append(self)
        else:
            self._database.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def quick(connect: Connect, *, kept: bool) -> Connect:
    """Open the same connection, without what costs a small test more than its work does.

    It has one thread, because another would only spin: DuckDB hands out no less than a row group of 122,880 rows.

    kept: whether stores may use the database one after the other.
    """

    def opened(*, config: dict[str, str], **options: Any) -> Any:
        while kept and _idle:
            database = _idle.pop()
            if database.is_ready(config):
                return database
        new = connect(config={**config, "threads": "1"}, **options)
        return _Kept(new) if kept else new

    return opened


def open_quickly(change: Callable[[object, str, object], None] = setattr) -> None:
    """Let this process open stores this way, and let its checks verify no signature of 70 MB of extensions.

    change: changes an attribute of a module or class.
    """
    change(Databases, "open", _quick_databases)
    change(surroundings, "is_signed", lambda _: True)


def _quick_databases(databases: Databases, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
    """Open a database this way, in place of `Databases.open`."""
    is_alike = not catalog.preparation and databases.objects(settings) is None  # as all stores in a folder
    opener = Databases(quick(databases._connect, kept=is_alike and databases._connect is duckdb.connect))
    opener._objects = databases._objects  # the store compares its copies
    return ORDINARY(opener, settings, catalog)
