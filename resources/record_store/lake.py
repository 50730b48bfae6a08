"""The lake attached to DuckDB: extensions, catalog, limits, and quoting."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from resources.file_storage import is_local
from resources.record_store.catalog import Catalog
from resources.record_store.object_store import EXTENSION, ObjectAccess, refusal
from resources.settings import Settings
from schemas.errors import StoreNotReady
from schemas.location import Location

if TYPE_CHECKING:
    import pyarrow as pa

Connect = Callable[..., duckdb.DuckDBPyConnection]

_DISABLED = "statistics_propagation"
"""DuckLake keeps statistics of the newest snapshot alone, which are wrong of others (ducklake#1377): a filter would
find nothing, once a rewrite has narrowed them."""

METADATA = "__ducklake_metadata_lake"
"""DuckLake's own tables, as its specification describes them."""


def identifier(name: str) -> str:
    """A name as SQL. Every identifier that is not written in this package goes through here."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """A text as SQL, for the few places where DuckDB takes no bound value: file names and options."""
    return "'" + str(text).replace("'", "''") + "'"


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
        with _no_pandas():
            self._connection.execute(query, list(values))
        return self

    @contextmanager
    def split(self, count: int) -> Iterator[list["Connection"]]:
        """So many connections to the same lake, each for a thread of its own, which share this one's cores and memory.

        This one is not to be used meanwhile. Statements that have a core each take a quarter less of it than one that
        has all of them, and less memory (DuckDB 1.5.5, found here).
        """
        threads: int = self.fetch_one("SELECT current_setting('threads')")[0]
        with ExitStack() as cursors, _no_pandas():  # here, for threads of one process are not to do it at once
            cursors.callback(self._connection.execute, f"SET threads = {threads}")
            self.execute(f"SET threads = {max(1, threads - count + 1)}")  # beside those that execute the statements
            connections = []
            for _ in range(count):
                cursor = cursors.enter_context(self._connection.cursor())
                cursor.execute("SET TimeZone = 'UTC'")
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


@contextmanager
def _no_pandas() -> Iterator[None]:
    """Whoever imports pandas finds none, unless it is imported already."""
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pandas"]


class Lake:
    """The lake, attached for one use at a time to a DuckDB that is kept for the next.

    Loading the extensions costs 0.2 s, for DuckDB verifies their signatures each time; attaching 5 ms.
    """

    def __init__(self, settings: Settings, catalog: Catalog, connect: Connect) -> None:
        self._settings = settings
        self._catalog = catalog
        self._connect = connect
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
        database, attached = self._take(attach)
        try:
            objects = ObjectAccess(database, self._settings) if self._has_objects else None
            if attached != attach:
                if attached:
                    database.execute("DETACH lake")
                try:
                    database.execute(attach)
                except duckdb.IOException as error:
                    raise self._catalog.refusal(error) from None
            with database.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
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
            if not self._catalog.stays_attached or read_only:
                database.execute("DETACH lake")
                attach = ""
        except (duckdb.Error, OSError) as error:
            database.close()
            raise self._told(error) from None
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
            opened = thread.submit(self._open)
            yield
        self._idle.append((opened.result(), ""))

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop()[0].close()

    def _told(self, error: Exception) -> Exception:
        """The error as it is told, where the catalog's server or the object store has refused or gone."""
        told = self._catalog.interruption(error)
        if told is error and self._has_objects and isinstance(error, duckdb.IOException):
            return refusal(error)
        return told

    def _take(self, attach: str) -> tuple[duckdb.DuckDBPyConnection, str]:
        """A database that is kept, sooner one that has the lake attached so; or a new one."""
        if not self._idle:
            return self._open(), ""
        place = next((place for place, (_, attached) in enumerate(self._idle) if attached == attach), -1)
        return self._idle.pop(place)

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._settings.scratch.mkdir(parents=True, exist_ok=True)
        database = self._connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_file_cache": "false",  # the operating system has one, and gives it back
                "partitioned_write_flush_threshold": 20_000,  # rows that each thread holds outside the memory limit
                "memory_limit": self._settings.duckdb_memory,
                "temp_directory": str(self._settings.scratch),
            }
        )
        try:
            for extension in (self._catalog.scanner, "ducklake", *([EXTENSION] if self._has_objects else [])):
                database.execute(f"LOAD {literal(extension_path(extension))}")
            for statement in self._catalog.preparation:
                database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database

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


def extension_path(name: str) -> Path:
    """The file of a DuckDB extension, inside the Python package that brings it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise StoreNotReady(
            f"DuckDB's extension {name} is not installed.",
            f"Install it: pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}.",
        )
    return Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
