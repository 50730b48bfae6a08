"""The lake's catalog, in SQLite or PostgreSQL: its place, its locks, its clock and its errors."""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import duckdb

from resources.clock import Clock, ServerClock, SystemClock
from resources.file_storage import is_local
from resources.record_store import sqlite_file
from resources.record_store.announced_lock import WRITERS, AnnouncedLock
from resources.record_store.projection import Projection
from resources.record_store.refusals import damaged_catalog
from resources.record_store.server_errors import commit_error, connected, refused_connection, server_error
from resources.record_store.sqlite_errors import sqlite_error
from resources.record_store.write_lock import AdvisoryLock, FileLock, FolderLock, WriteLock
from resources.settings import Settings
from schemas.errors import InvalidRequest, RecordsError, StoreBusy

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812  # psycopg2 names its classes so


_LOCK_FILES = 16

PUBLIC = "public"
"""The schema of PostgreSQL that has DuckLake's tables."""


class Catalog(Protocol):
    """What the store needs from a catalog."""

    scanner: str
    """DuckDB's extension that reads the catalog."""
    source: str
    """The address that DuckLake attaches, without a password."""
    preparation: Sequence[str]
    """Statements to execute in each database of DuckDB before it attaches the catalog."""

    inlined_text: str
    """The type of text in rows that DuckLake keeps in the catalog itself."""
    query_function: str
    """DuckDB's function that lets the catalog's own database execute a query."""
    schema: str
    """The schema of DuckLake's tables."""
    tables_query: str
    """A query of the database for the names of DuckLake's tables."""

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Return options of ATTACH that only this kind of catalog takes."""
        ...

    def exists(self) -> bool:
        """Return whether the catalog exists."""
        ...

    def tables(self) -> list[str]:
        """Return the names of DuckLake's own tables."""
        ...

    def lock(self) -> WriteLock:
        """Return the write lock, which one writer at a time holds."""
        ...

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """Return a lock with this name, which one process at a time holds."""
        ...

    def folder_lock(self, folder: Path) -> AbstractContextManager[None]:
        """Return a lock on a folder outside the store, which one process at a time holds."""
        ...

    def clock(self) -> Clock:
        """Return the clock of the store."""
        ...

    def projection(self, window: timedelta) -> Projection | None:
        """Return the table in which readers see the import history; None if no other role can log in."""
        ...

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it."""
        ...

    def require_whole(self) -> None:
        """Read the whole catalog, beside writers. Raises DamagedFile if the database finds damage in it.

        PostgreSQL has no such look: its own checksums find damage when a page is read.
        """
        ...

    def vacuum(self) -> tuple[str, ...]:
        """Write the catalog anew without the bytes of removed rows. Return what keeps them, as sentences."""
        ...

    def error(self, error: Exception) -> Exception:
        """Return our error for one raised while the catalog was attached; the same error if it is not the catalog's."""
        ...

    def commit_error(self, error: Exception) -> Exception:
        """Return our error for an error that a COMMIT raised; the same error if it is not the catalog's."""
        ...


def catalog_of(settings: Settings) -> Catalog:
    """Return the catalog that the settings name."""
    return SqliteCatalog(settings) if settings.postgres is None else PostgresCatalog(settings, settings.postgres)


class SqliteCatalog:
    """A file of SQLite, for processes of one machine."""

    scanner = sqlite_file.SCANNER
    inlined_text = "VARCHAR"
    query_function = "sqlite_query"
    schema = "main"
    tables_query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ducklake_*' ORDER BY name"
    preparation: Sequence[str] = ()

    def __init__(self, settings: Settings) -> None:
        self._path = settings.catalog
        self._data = settings.data
        self._seconds = settings.lock_seconds
        self._found = False
        self.source = f"sqlite:{self._path}"

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Return options that let writers wait for each other. Readers never wait."""
        return {"META_BUSY_TIMEOUT": 20000} | ({} if read_only else {"META_JOURNAL_MODE": "'WAL'"})

    def exists(self) -> bool:
        """Return whether the file has DuckLake's tables. A process that was killed may have left it without them.

        Returns True for an unreadable file, so that no process replaces it.
        """
        if not self._found and self._path.exists():
            try:
                self._found = "ducklake_snapshot" in self.tables()
            except RecordsError:
                return True
        return self._found

    def tables(self) -> list[str]:
        """Return the names of DuckLake's tables."""
        return [name for (name,) in self._query(self.tables_query)]

    def lock(self) -> WriteLock:
        """Return a lock on a file beside the data. If the data are objects, it is beside the catalog, and announced.

        So a copied catalog over the same data waits for this one or is refused. The mark shows which of them is older.
        """
        name = f"{self._path.name}.lock"
        if is_local(self._data):
            return FileLock(self._data / name, self._seconds)
        names = self._path.with_name(f"{self._path.name}.writer")
        return AnnouncedLock(FileLock(self._path.with_name(name), self._seconds), self._data / WRITERS, names)

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """Return a lock on a file that many names share, so that there are few files."""
        number = zlib.crc32(name.encode()) % _LOCK_FILES
        return FileLock(self._path.with_name(f"{self._path.name}.{number}.lock"), seconds)

    def folder_lock(self, folder: Path) -> AbstractContextManager[None]:
        """Return a lock against the processes of this machine."""
        return FolderLock(folder, self._seconds)

    def clock(self) -> Clock:
        """Return the clock of this machine."""
        return SystemClock()

    def projection(self, window: timedelta) -> None:
        """Return None: a user who can read the file can read everything."""

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it."""
        database.execute(statement)

    def require_whole(self) -> None:
        """Read all pages and indexes. Raise DamagedFile if SQLite finds one that is wrong."""
        ((found,),) = self._query("SELECT * FROM pragma_integrity_check(1)")
        if found != "ok":
            raise damaged_catalog(self._path, found.splitlines()[-1])

    def vacuum(self) -> tuple[str, ...]:
        """Write the file anew, and empty its log. Raise StoreBusy while another process reads it for long."""
        try:
            is_whole = sqlite_file.vacuum(self._path)
        except sqlite3.Error as error:
            raise self.error(error) from None
        if not is_whole:
            raise StoreBusy(
                f"Another process reads {self._path}, so that the log beside it still has what was removed.",
                "Give the same command again when it has ended.",
            )
        return ()

    def error(self, error: Exception) -> Exception:
        """Return our error for what SQLite refused."""
        return sqlite_error(error, self._path)

    def commit_error(self, error: Exception) -> Exception:
        """Return our error for a COMMIT that SQLite refused."""
        return sqlite_error(error, self._path, commits=True)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return sqlite_file.query(self._path, sql)
        except sqlite3.Error as error:
            raise self.error(error) from None


class PostgresCatalog:
    """A database of PostgreSQL, for processes of any number of machines."""

    scanner = "postgres_scanner"
    inlined_text = "BLOB"  # bytea: PostgreSQL's text cannot have U+0000
    query_function = "postgres_query"

    def __init__(self, settings: Settings, url: str, schema: str = PUBLIC) -> None:
        from psycopg2 import ProgrammingError
        from psycopg2.extensions import make_dsn, parse_dsn

        try:
            parameters = parse_dsn(url)
        except ProgrammingError:  # its text can quote the password
            raise InvalidRequest(
                "RECORDS_CATALOG is not an address that PostgreSQL's library can read.",
                "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for characters such as @ or /.",
            ) from None
        parameters.setdefault("connect_timeout", "10")
        parameters.setdefault("application_name", "records")
        self._parameters = parameters
        self._seconds = settings.lock_seconds
        self._lock = AdvisoryLock(self._open, self._seconds)
        self.schema = schema
        self.tables_query = (
            f"SELECT tablename::text AS name FROM pg_tables WHERE schemaname = '{schema}' "
            "AND starts_with(tablename, 'ducklake_') ORDER BY tablename"
        )
        self._found = False
        # A writer that lost the lock must fail to commit beside another one. DuckLake must not retry its commit.
        self.preparation: Sequence[str] = ["SET GLOBAL ducklake_max_retry_count = 0"]
        self._secret: dict[str, Any] = {}
        if "password" in parameters:  # kept apart, so that no error of DuckDB can quote it
            password = parameters["password"].replace("'", "''")
            secret = f"CREATE SECRET catalog (TYPE postgres, PASSWORD '{password}')"
            self.preparation = [*self.preparation, secret]
            self._secret = {"META_SECRET": "'catalog'"}
        self.source = f"postgres:{make_dsn(**{key: parameters[key] for key in parameters if key != 'password'})}"

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Return options that name the password, if there is one, and the schema of the tables."""
        schema = f"'{self.schema}'"
        return self._secret | ({} if self.schema == PUBLIC else {"METADATA_SCHEMA": schema, "META_SCHEMA": schema})

    def exists(self) -> bool:
        """Return whether the database has DuckLake's tables. Asks the server until they exist."""
        if not self._found:
            with self.session() as session, session.cursor() as cursor:
                cursor.execute("SELECT to_regclass('ducklake_snapshot') IS NOT NULL")
                ((self._found,),) = cursor.fetchall()
        return self._found

    def tables(self) -> list[str]:
        """Return the names of DuckLake's tables, from the server."""
        with self.session() as session, session.cursor() as cursor:
            cursor.execute(self.tables_query)
            return [name for (name,) in cursor.fetchall()]

    @property
    def shown(self) -> str:
        """Return the address without its password, and without options that could have another password."""
        parts = {key: quote(self._parameters.get(key, ""), safe="") for key in ("user", "host", "port", "dbname")}
        user, port = f"{parts['user']}@" * bool(parts["user"]), f":{parts['port']}" * bool(parts["port"])
        return f"postgresql://{user}{parts['host']}{port}/{parts['dbname']}"

    def lock(self) -> WriteLock:
        """Return an advisory lock, on a session of its own."""
        return self._lock

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """Return an advisory lock under another number."""
        return AdvisoryLock(self._open, seconds, name)

    @contextmanager
    def folder_lock(self, folder: Path) -> Iterator[None]:
        """Take a lock against the processes of this machine, and one against those of other machines of this store."""
        place = str(folder.resolve())
        with FolderLock(folder, self._seconds), AdvisoryLock(self._open, self._seconds, place, where=place):
            yield

    def clock(self) -> Clock:
        """Return the server's clock, because writers may run on several machines."""
        return ServerClock(self._server_time)

    def projection(self, window: timedelta) -> Projection:
        """Return the table of the import history, in the same database."""
        return Projection(self._session_of_lock, window)

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it. Retries while the server accepts no connections for now."""
        connected(lambda: database.execute(statement))

    def require_whole(self) -> None:
        """Do nothing."""

    def vacuum(self) -> tuple[str, ...]:
        """Write the tables anew, with their statistics. Return what the server keeps of removed rows."""
        import psycopg2

        beyond = [
            "PostgreSQL's log of writes (pg_wal) and its archive have removed rows until the server writes over them."
        ]
        with self.session() as session, session.cursor() as cursor:
            cursor.execute("SELECT to_regclass('records_history.batches') IS NOT NULL")
            ((has_history,),) = cursor.fetchall()
            tables = [f"{self.schema}.{name}" for name in self.tables()]
            for table in [*tables, *(["records_history.batches"] if has_history else [])]:
                cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")
            for statement, lacking in (
                ("VACUUM FULL pg_catalog.pg_statistic", "write PostgreSQL's statistics of columns anew"),
                ("CHECKPOINT", "order a checkpoint"),
            ):
                try:
                    cursor.execute(statement)
                except psycopg2.errors.InsufficientPrivilege:
                    beyond.append(f"The user of RECORDS_CATALOG may not {lacking}. A superuser can: {statement}.")
        return tuple(beyond)

    def error(self, error: Exception) -> Exception:
        """Return our error for what the server refused, without its own words, because they can quote records."""
        return server_error(error)

    def commit_error(self, error: Exception) -> Exception:
        """Return our error for a COMMIT that the server refused, or did not confirm."""
        return commit_error(error)

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """Open a session and yield it. Raises StoreUnreachable if the server gives none."""
        import psycopg2

        session = self._open()
        try:
            yield session
        except psycopg2.Error as error:
            raise server_error(error) from None
        finally:
            session.close()

    @contextmanager
    def _session_of_lock(self) -> "Iterator[Session]":
        """Yield the session of a held write lock, because opening one takes long. Else open a session."""
        if self._lock.session is not None:
            yield self._lock.session
            return
        with closing(self._open()) as session:
            yield session

    def _open(self) -> "Session":
        import psycopg2

        try:
            session: Session = connected(lambda: psycopg2.connect(**self._parameters))
        except psycopg2.OperationalError as error:
            raise refused_connection(error) from None
        session.autocommit = True
        return session

    def _server_time(self) -> datetime:
        with self.session() as session, session.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
            ((now,),) = cursor.fetchall()
        at: datetime = now.replace(tzinfo=UTC)
        return at
