"""Attaches the lake to DuckDB, and executes SQL on it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeGuard

import duckdb

from resources.checksums import Checksums
from resources.process_state import pandas_hidden
from resources.record_store.catalog import Catalog
from resources.record_store.databases import Databases
from resources.record_store.refusals import unreadable
from resources.record_store.sql_text import identifier, literal
from resources.settings import Settings
from resources.system_errors import system_error
from schemas.errors import CatalogOutdated, ForeignData, InvalidRequest, NotFound, RecordsError, Refused
from schemas.location import Location

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.record_store.object_store import ObjectFiles

_DISABLED = "statistics_propagation"
"""DuckLake keeps statistics of the newest snapshot only. For older ones they are wrong (ducklake#1377): after a rewrite
has narrowed them, a filter would find nothing."""

_SESSION = "SET TimeZone = 'UTC'; SET enable_progress_bar = false"
"""For every connection. With `python -c`, DuckDB would show a progress bar on standard output."""

_OF_LAKE = re.compile(r"""["'](\S+/lake/\S+\.parquet)["']""")
"""Finds the path of the lake's file in DuckDB's message that it cannot read one."""

METADATA = "__ducklake_metadata_lake"
"""DuckLake's own tables, as its specification describes them."""


class Connection:
    """A DuckDB connection to the lake that does not import pandas.

    DuckDB imports an installed pandas to inspect a bound value, which takes half a second. This connection hides pandas
    from it, unless the process has imported pandas already.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        attach: Callable[[str, int], str],
        snapshots: dict[int, str],
        accounts: Location,
        objects: "ObjectFiles | None",
        checksums: Checksums,
        catalog: Catalog,
    ) -> None:
        self._connection = connection
        self._attach = attach
        self._catalog = catalog
        self.objects = objects
        self.checksums = checksums
        self.snapshots = snapshots
        self.accounts = accounts
        self.is_present = True
        self.appended: set[str] = set()
        """The tables of the ledger to which this connection has written."""

    def snapshot(self, number: int) -> str:
        """Attaches the lake as of a snapshot, read-only, and returns the name of that database.

        `AT (VERSION => …)` gives wrong results (DuckLake 1.0, found here). It finds the transaction's own rows in old
        snapshots too. If a table was altered since, and a row of the ledger was read before, it finds no table.
        """
        if number not in self.snapshots:
            name = f"lake_{number}"
            self._connection.execute(self._attach(name, number))
            self.snapshots[number] = name
        return self.snapshots[number]

    def of_catalog(self, query: str) -> str:
        """Returns SQL, to follow FROM, for the rows of a query that the catalog's own database executes.

        query: SQL that SQLite and PostgreSQL understand, with `{catalog}` for the schema of DuckLake's tables. Its
        columns may have other types than in DuckDB, so cast them.

        DuckDB would read each table by itself and join them, which takes two to five times as long.
        """
        return self.native(query.format(catalog=identifier(self._catalog.schema)))

    def native(self, query: str) -> str:
        """Returns SQL, to follow FROM, for a query that has the names of the catalog's tables with their schema."""
        return f"{self._catalog.query_function}('{METADATA}', {literal(query)})"

    @property
    def catalog_schema(self) -> str:
        """Returns the schema of DuckLake's tables in the catalog."""
        return self._catalog.schema

    def native_text(self, text: str) -> str:
        """Returns a text as the catalog's database has it in rows of the lake, as SQL of that database."""
        return literal(text) if self._catalog.inlined_text == "VARCHAR" else f"'\\x{text.encode().hex()}'::bytea"

    def native_place(self, text: str, column: str) -> str:
        """Returns SQL of the catalog's database for the place of a text in a column, from 1 on; 0 if it is not there.

        The column has rows of the lake.
        """
        if self._catalog.inlined_text == "VARCHAR":
            return f"instr({column}, {self.native_text(text)})"
        return f"position({self.native_text(text)} in {column})"

    def create_native_index(self, name: str, table: str, listed: str) -> None:
        """Create an index of the catalog's database, unless it is there. It may list SQL of that database."""
        what = f"CREATE INDEX IF NOT EXISTS {name} ON"
        if self._catalog.inlined_text == "VARCHAR":  # DuckDB gives the SQL to SQLite as it is
            self.execute(f"{what} {METADATA}.{identifier(self._catalog.schema)}.{table} ({listed})")
        else:
            native = f"{what} {identifier(self._catalog.schema)}.{table} ({listed})"
            self.execute(f"CALL postgres_execute('{METADATA}', {literal(native)})")

    def converted(self, column: str, sql_type: str) -> str:
        """Returns SQL for a column of rows that the catalog keeps, as a value of the lake."""
        name = identifier(column)
        if sql_type == "VARCHAR" and self._catalog.inlined_text == "BLOB":
            return f"decode({name})"
        return f"{name}::{sql_type}" if sql_type == "VARCHAR" else f"{name}::VARCHAR::{sql_type}"

    @cached_property
    def _tables(self) -> list[tuple[str, str, bool, str | None]]:
        """Returns each table of the lake when this connection first asked: its schema, its name, and two facts.

        The first is whether it had rows in any snapshot. The second is the catalog's table with all its rows, if there
        is one. One query for both takes half as long as two.
        """
        tables = self.of_catalog(
            """
            SELECT s.schema_name, t.table_name, t.end_snapshot IS NULL AND s.end_snapshot IS NULL AS is_present,
                (SELECT count(*) FROM {catalog}.ducklake_data_file f WHERE f.table_id = t.table_id) AS files,
                (SELECT max(record_count) FROM {catalog}.ducklake_table_stats n
                    WHERE n.table_id = t.table_id) AS records,
                (SELECT count(*) FROM {catalog}.ducklake_column c
                    WHERE c.table_id = t.table_id AND c.begin_snapshot > t.begin_snapshot) AS added,
                CASE WHEN (SELECT count(*) FROM {catalog}.ducklake_inlined_data_tables i
                    WHERE i.table_id = t.table_id) = 1
                THEN (SELECT min(i.table_name) FROM {catalog}.ducklake_inlined_data_tables i
                    WHERE i.table_id = t.table_id) END AS kept
            FROM {catalog}.ducklake_table t JOIN {catalog}.ducklake_schema s USING (schema_id)
            """
        )
        return self.execute(
            f"""
            SELECT schema_name::VARCHAR, table_name::VARCHAR, files::BIGINT > 0 OR coalesce(records::BIGINT, 0) > 0,
                CASE WHEN schema_name::VARCHAR = 'ledger' AND is_present::BOOLEAN AND files::BIGINT = 0
                    AND added::BIGINT = 0 THEN kept::VARCHAR END
            FROM {tables}
            """
        ).fetch_all()

    @cached_property
    def kept_in_catalog(self) -> dict[str, str]:
        """Returns the catalog's table of rows for each table of the ledger that has all its rows there, by name.

        A table with files, or with columns added after its creation, is left out.
        """
        return {name: kept for _, name, _, kept in self._tables if kept is not None}

    def tables_of_catalog(self) -> list[str]:
        """Returns the names of DuckLake's own tables, sorted."""
        rows = self.execute(f"SELECT name::VARCHAR FROM {self.of_catalog(self._catalog.tables_query)}").fetch_all()
        return sorted(name for (name,) in rows)

    def rows_of(self, schema: str, name: str, database: str = "lake") -> str:
        """Returns SQL, to follow FROM, for the rows of a table of the lake, or of a snapshot that is attached.

        A table without rows is not read: DuckLake queries its catalog once for each column of such a table. That takes
        10 to 18 ms, longer than reading a few rows (DuckLake 1.0, measured here).
        """
        table = f"{database}.{schema}.{identifier(name)}"
        return table if (schema, name) in self.filled else f"(FROM {table} WHERE false)"

    @cached_property
    def filled(self) -> set[tuple[str, str]]:
        """Returns schema and name of the tables that had rows, in any snapshot, when this connection first asked.

        Who writes the first rows of another table on this connection, and reads it later, adds it. DuckLake counts rows
        in files and rows in the catalog alike. Its count never includes those of a transaction that is not committed.
        """
        return {(schema, name) for schema, name, has_rows, _ in self._tables if has_rows}

    def execute(self, query: str, values: Sequence[Any] = ()) -> Self:
        """Execute a statement with the values of its `?`, in order."""
        if not values:
            self._connection.execute(query)
            return self
        if any(isinstance(value, str) and "\0" in value for value in values):
            # DuckLake would select files with SQL that ends at the NUL (DuckLake 1.0, found here). The setting is the
            # database's, and stays until its next use: another connection may be about to do the same.
            self._connection.execute(f"SET disabled_optimizers = '{_DISABLED},filter_pushdown'")
        with pandas_hidden():
            self._connection.execute(query, list(values))
        return self

    @contextmanager
    def split(self, count: int) -> Iterator[list["Connection"]]:
        """Opens several connections to the same lake, each for one thread. They share the cores and the memory.

        Do not use this connection meanwhile. Several statements with a core each take a quarter less CPU, and less
        memory, than one statement with all cores (DuckDB 1.5.5, found here).
        """
        threads: int = self.fetch_one("SELECT current_setting('threads')")[0]
        with ExitStack() as cursors, pandas_hidden():  # here, because threads must not hide pandas at the same time
            cursors.callback(self._connection.execute, f"SET threads = {threads}")
            # One core fewer for each further connection: the threads that execute the statements need them.
            self.execute(f"SET threads = {max(1, threads - count + 1)}")
            connections = []
            for _ in range(count):
                cursor = cursors.enter_context(self._connection.cursor())
                cursor.execute(_SESSION)
                others = self.snapshots, self.accounts, self.objects, self.checksums, self._catalog
                connections.append(Connection(cursor, self._attach, *others))
            yield connections

    def interrupt(self) -> None:
        """Make the statement that another thread executes fail."""
        self._connection.interrupt()

    def fetch_all(self) -> list[Any]:
        """Returns all rows of the last statement, as tuples."""
        return self._connection.fetchall()

    def fetch_one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Returns the row of a query that has exactly one, as a tuple."""
        (row,) = self.execute(query, values).fetch_all()
        return row

    def to_arrow_reader(self, rows: int) -> "pa.RecordBatchReader":
        """Returns the rows of the last statement, in batches of at most so many."""
        return self._connection.to_arrow_reader(rows)

    @property
    def columns(self) -> list[str]:
        """Returns the names of the last statement's columns."""
        return [column[0] for column in self._connection.description or []]


def _is_of_rules(error: BaseException) -> TypeGuard[RecordsError]:
    """Returns whether the error is a refusal that says nothing about the database, so that it can be used again."""
    is_of_store = isinstance(error, ForeignData | CatalogOutdated)
    return isinstance(error, InvalidRequest | NotFound | Refused) and not is_of_store


class Lake:
    """Attaches the lake to databases of DuckDB, and keeps it attached for the next use.

    Attaching takes 5 ms, and the first read of the catalog 10 ms more, or 30 ms from a server.
    """

    def __init__(self, settings: Settings, catalog: Catalog, databases: Databases) -> None:
        self._settings = settings
        self._catalog = catalog
        self._databases = databases
        self._objects = databases.objects(settings)
        self._address = str(settings.lake) if self._objects is None else self._objects.address(settings.lake)
        self._idle: list[tuple[duckdb.DuckDBPyConnection, str]] = []
        """Each database with the statement that attached its lake; empty if none is attached."""
        self._checksums: Checksums | None = None

    @contextmanager
    def operation(self, checksums: Checksums | None = None) -> Iterator[Checksums]:
        """Yield the checksums that this operation has read. It reads each file once for them.

        The outermost block is the operation. A connection outside such blocks is an operation of its own.
        checksums: those that the operation has read before, with another store.
        """
        if self._checksums is not None:
            yield self._checksums
            return
        self._checksums = Checksums() if checksums is None else checksums
        if self._objects is not None:
            self._objects.forget_comparisons()
        try:
            yield self._checksums
        finally:
            self._checksums = None

    @contextmanager
    def attached(self, *, read_only: bool = False, snapshot: int | None = None) -> Iterator[Connection]:
        """Opens a connection with the lake attached as `lake`, as of a snapshot if one is given.

        It is for one thread, downloads nothing, keeps to the memory limit and shows times in UTC. Changes that are not
        committed at the end are rolled back.
        """
        refusal: RecordsError | None = None
        attach = self._attach("lake", read_only, snapshot)
        database, attached = self._take(attach, read_only)
        if self._objects is not None:
            self._objects.take_failure() if read_only else self._objects.begin()
        try:
            if attached != attach:
                if attached:
                    database.execute("DETACH lake")
                self._catalog.attach(database, attach)
            with database.cursor() as cursor, self.operation() as checksums:
                cursor.execute(_SESSION)
                cursor.execute(f"SET disabled_optimizers = '{_DISABLED}'")
                connection = Connection(
                    cursor,
                    lambda name, number: self._attach(name, True, number),
                    {},
                    self._settings.accounts,
                    self._objects,
                    checksums,
                    self._catalog,
                )
                connection.is_present = snapshot is None
                try:
                    yield connection
                except BaseException as error:
                    with suppress(duckdb.Error):  # without it the process would abort if the server is gone
                        cursor.execute("ROLLBACK")
                    if connection.snapshots or not _is_of_rules(error):
                        raise
                    refusal = error
            for name in connection.snapshots.values():
                database.execute(f"DETACH {name}")
            if snapshot is not None:
                database.execute("DETACH lake")
                attach = ""
        except (duckdb.Error, OSError, MemoryError) as error:
            database.close()
            ours = self._translated(error)
            if ours is error:
                raise
            raise ours from None
        except BaseException:
            database.close()
            raise
        self._idle.append((database, attach))
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        """Close all databases."""
        while self._idle:
            database, _ = self._idle.pop()
            database.close()
        if self._objects is not None:
            self._objects.drop_copies()

    def _translated(self, error: Exception) -> Exception:
        """Returns our error for one of the catalog, the object store, the disk or the memory; else the same error."""
        ours = self._catalog.error(error)
        failure = None if self._objects is None else self._objects.take_failure()
        if ours is error and failure is not None:
            ours = error = failure  # the error itself: DuckDB passes on only its text
        if ours is error and not isinstance(error, RecordsError):
            settings = self._settings
            ours = system_error(error, settings.data, settings.home, settings.scratch) or error
        if ours is error and not isinstance(error, RecordsError):
            file = _OF_LAKE.search(str(error))
            if file is not None:
                ours = unreadable(file[1])
            elif type(error) is duckdb.Error:  # not one of DuckDB's own: its Parquet decoder
                ours = unreadable(None)
        return ours

    def _take(self, attach: str, read_only: bool) -> tuple[duckdb.DuckDBPyConnection, str]:
        """Returns a database and the statement that attached its lake: best the same one, or none.

        Reading takes any idle database. Writing keeps a database of its own, because reads come between writes.
        """
        for wanted in (attach, ""):
            for place, (_, attached) in enumerate(self._idle):
                if attached == wanted:
                    return self._idle.pop(place)
        if self._idle and read_only:
            return self._idle.pop()
        return self._databases.open(self._settings, self._catalog), ""

    def _attach(self, name: str, read_only: bool, snapshot: int | None) -> str:
        options: dict[str, Any] = {
            # Inlined rows have open correctness bugs (ducklake#1364). Only the ledger's tables use them.
            "DATA_INLINING_ROW_LIMIT": 0,
            # The settings say where the data are, so that a store can be moved.
            "DATA_PATH": literal(f"{self._address}/"),
            "OVERRIDE_DATA_PATH": "true",
            **self._catalog.options(read_only=read_only),
        }
        if read_only:
            options["READ_ONLY"] = "true"
        if snapshot is not None:
            options["SNAPSHOT_VERSION"] = snapshot
        listed = ", ".join(f"{option} {value}" for option, value in options.items())
        return f"ATTACH {literal(f'ducklake:{self._catalog.source}')} AS {name} ({listed})"
