"""The lake attached to DuckDB: how it is read and written, and quoting."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import duckdb

from resources.file_storage import is_local
from resources.process_state import pandas_hidden
from resources.record_store.catalog import Catalog
from resources.record_store.databases import Databases, literal
from resources.record_store.object_store import ObjectAccess, refusal
from resources.record_store.refusals import unreadable
from resources.settings import Settings
from resources.system_errors import system_error
from schemas.location import Location

if TYPE_CHECKING:
    import pyarrow as pa

_DISABLED = "statistics_propagation"
"""DuckLake keeps statistics of the newest snapshot alone, which are wrong of others (ducklake#1377): a filter would
find nothing, once a rewrite has narrowed them."""

_SESSION = "SET TimeZone = 'UTC'; SET enable_progress_bar = false"
"""Of every connection. DuckDB shows a bar on standard output, where it takes `python -c` for somebody at a prompt."""

_OF_LAKE = re.compile(r"""["'](\S+/lake/\S+\.parquet)["']""")
"""A file of the lake in what DuckDB says of one that it cannot read."""

METADATA = "__ducklake_metadata_lake"
"""DuckLake's own tables, as its specification describes them."""


def identifier(name: str) -> str:
    """A name as SQL. Every identifier that is not written in this package goes through here."""
    return '"' + name.replace('"', '""') + '"'


class Connection:
    """A DuckDB connection to the lake, but for one habit of DuckDB's.

    To look at a bound value DuckDB imports pandas, where it is installed: half a second, on paths that
    have no use for it. Here it finds none, unless pandas is imported already.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        attach: Callable[[str, int], str],
        snapshots: dict[int, str],
        accounts: Location,
        objects: ObjectAccess | None,
    ) -> None:
        self._connection = connection
        self._attach = attach
        self._objects = objects
        self.snapshots = snapshots
        self.accounts = accounts

    def snapshot(self, number: int) -> str:
        """The name of a database that is the lake as of a snapshot, and cannot be written.

        Not `AT (VERSION => …)`, which finds the transaction's own rows in old snapshots as well, and no table at
        all where it was altered since and a row of the ledger was read before (DuckLake 1.0, found here).
        """
        if number not in self.snapshots:
            name = f"lake_{number}"
            self._connection.execute(self._attach(name, number))
            self.snapshots[number] = name
        return self.snapshots[number]

    def execute(self, query: str, values: Sequence[Any] = ()) -> Self:
        """Execute a statement; its `?` are bound to the values, in order."""
        if self._objects is not None:
            self._objects.renew()
        if not values:
            self._connection.execute(query)
            return self
        if any(isinstance(value, str) and "\0" in value for value in values):
            # DuckLake would look for files by it, in SQL that ends there (DuckLake 1.0, found here). All connections to
            # the database do without until its next use, for another one may be about to do the same.
            self._connection.execute(f"SET disabled_optimizers = '{_DISABLED},filter_pushdown'")
        with pandas_hidden():
            self._connection.execute(query, list(values))
        return self

    @contextmanager
    def split(self, count: int) -> Iterator[list["Connection"]]:
        """So many connections to the same lake, each for a thread of its own, which share this one's cores and memory.

        This one is not to be used meanwhile. Statements that have a core each take a quarter less of it than one that
        has all of them, and less memory (DuckDB 1.5.5, found here).
        """
        threads: int = self.fetch_one("SELECT current_setting('threads')")[0]
        with ExitStack() as cursors, pandas_hidden():  # here, for threads of one process are not to do it at once
            cursors.callback(self._connection.execute, f"SET threads = {threads}")
            self.execute(f"SET threads = {max(1, threads - count + 1)}")  # beside those that execute the statements
            connections = []
            for _ in range(count):
                cursor = cursors.enter_context(self._connection.cursor())
                cursor.execute(_SESSION)
                connections.append(Connection(cursor, self._attach, self.snapshots, self.accounts, self._objects))
            yield connections

    def interrupt(self) -> None:
        """The statement that another thread executes fails."""
        self._connection.interrupt()

    def fetch_all(self) -> list[Any]:
        """All rows of the last statement, as tuples."""
        return self._connection.fetchall()

    def fetch_one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """The row of a query that has exactly one, as a tuple."""
        (row,) = self.execute(query, values).fetch_all()
        return row

    def to_arrow_reader(self, rows: int) -> "pa.RecordBatchReader":
        """The rows of the last statement, in batches of at most so many."""
        return self._connection.to_arrow_reader(rows)

    @property
    def columns(self) -> list[str]:
        """The names of the last statement's columns."""
        return [column[0] for column in self._connection.description or []]


class Lake:
    """The lake, attached for one use at a time to databases of DuckDB, and attached still for the next.

    Attaching takes 5 ms, and what is read of the catalog first 10 ms more, or 30 ms from a server.
    """

    def __init__(self, settings: Settings, catalog: Catalog, databases: Databases) -> None:
        self._settings = settings
        self._catalog = catalog
        self._databases = databases
        self._has_objects = not is_local(settings.data)
        self._idle: list[tuple[duckdb.DuckDBPyConnection, str]] = []
        """Each with the statement that attached its lake, where it is attached still."""

    @contextmanager
    def attached(self, *, read_only: bool = False, snapshot: int | None = None) -> Iterator[Connection]:
        """A connection whose database `lake` is the store, as of a snapshot when one is given.

        It is for one thread, downloads nothing, keeps to the memory limit and shows times in UTC. What
        is not committed when it ends, or fails, is rolled back.
        """
        attach = self._attach("lake", read_only, snapshot)
        database, attached = self._take(attach, read_only)
        try:
            objects = ObjectAccess(database, self._settings) if self._has_objects else None
            if attached != attach:
                if attached:
                    database.execute("DETACH lake")
                self._catalog.attach(database, attach)
            with database.cursor() as cursor:
                cursor.execute(_SESSION)
                cursor.execute(f"SET disabled_optimizers = '{_DISABLED}'")
                connection = Connection(
                    cursor,
                    lambda name, number: self._attach(name, True, number),
                    {},
                    self._settings.accounts,
                    objects,
                )
                try:
                    yield connection
                except BaseException:
                    with suppress(duckdb.Error):  # which, left to the end, would end the process where a server is gone
                        cursor.execute("ROLLBACK")
                    raise
            for name in connection.snapshots.values():
                database.execute(f"DETACH {name}")
            if snapshot is not None:
                database.execute("DETACH lake")
                attach = ""
        except (duckdb.Error, OSError, MemoryError) as error:
            database.close()
            told = self._told(error)
            if told is error:
                raise
            raise told from None
        except BaseException:
            database.close()
            raise
        self._idle.append((database, attach))

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While something else is done, a thread opens what the next use will need."""
        if self._idle:
            yield
            return
        from concurrent.futures import ThreadPoolExecutor  # brings logging, which a quick command does without

        with ThreadPoolExecutor(max_workers=1) as thread:
            opened = thread.submit(self._databases.take, self._settings, self._catalog)
            yield
        self._idle.append((opened.result(), ""))

    def close(self) -> None:
        """Nothing is attached."""
        while self._idle:
            database, attached = self._idle.pop()
            try:
                if attached:
                    database.execute("DETACH lake")
                if self._has_objects:
                    database.execute("SET enable_external_file_cache = false")  # what it holds of them is let go
            except duckdb.Error:  # where its server is gone
                database.close()
            else:
                self._databases.give_back(self._settings, database)

    def _told(self, error: Exception) -> Exception:
        """What the catalog, the object store, the disk or the memory has refused; else the error itself."""
        told = self._catalog.error(error)
        if told is error and self._has_objects and isinstance(error, duckdb.IOException):
            told = refusal(error)
        if told is error:
            settings = self._settings
            told = system_error(error, settings.data, settings.home, settings.scratch) or error
        if told is error:
            file = _OF_LAKE.search(str(error))
            told = error if file is None else unreadable(file[1])
        return told

    def _take(self, attach: str, read_only: bool) -> tuple[duckdb.DuckDBPyConnection, str]:
        """A database, best one that has the lake attached so, or has nothing attached.

        Reading makes do with whichever is idle, but writing, between which one reads, has one of its own.
        """
        for wanted in (attach, ""):
            for place, (_, attached) in enumerate(self._idle):
                if attached == wanted:
                    return self._idle.pop(place)
        if self._idle and read_only:
            return self._idle.pop()
        return self._databases.take(self._settings, self._catalog), ""

    def _attach(self, name: str, read_only: bool, snapshot: int | None) -> str:
        options: dict[str, Any] = {
            # Small inserts into the catalog have open correctness bugs (ducklake#1364); the ledger alone opts in.
            "DATA_INLINING_ROW_LIMIT": 0,
            # The settings say where the data lies, so that a store can be moved.
            "DATA_PATH": literal(f"{self._settings.lake}/"),
            "OVERRIDE_DATA_PATH": "true",
            **self._catalog.options(read_only=read_only),
        }
        if read_only:
            options["READ_ONLY"] = "true"
        if snapshot is not None:
            options["SNAPSHOT_VERSION"] = snapshot
        listed = ", ".join(f"{option} {value}" for option, value in options.items())
        return f"ATTACH {literal(f'ducklake:{self._catalog.source}')} AS {name} ({listed})"
