"""Where the lake's catalog is, and what follows from it: how it is attached, who may write, and whose time counts."""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import duckdb

from resources.clock import Clock, ServerClock, SystemClock
from resources.record_store.projection import Projection
from resources.record_store.server_errors import commit_error, connected, refused_connection, server_error
from resources.record_store.sqlite_errors import sqlite_error
from resources.record_store.write_lock import AdvisoryLock, FileLock, WriteLock
from resources.settings import Settings
from schemas.errors import InvalidRequest, RecordsError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812  # psycopg2 names its classes so


_LOCK_FILES = 16

PUBLIC = "public"
"""The schema of PostgreSQL that has DuckLake's tables."""


class Catalog(Protocol):
    """What the store must know of its catalog."""

    scanner: str
    """DuckDB's extension that reads it."""
    source: str
    """What DuckLake attaches; no password is in it."""
    preparation: Sequence[str]
    """Statements for each DuckDB that will attach it."""

    inlined_text: str
    """The type that DuckLake gives there to text of rows that lie in the catalog itself."""

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Options of ATTACH that only this kind of catalog takes."""
        ...

    def exists(self) -> bool:
        """Whether anyone has made it a catalog."""
        ...

    def tables(self) -> list[str]:
        """The names of DuckLake's own tables there."""
        ...

    def lock(self) -> WriteLock:
        """What one writer at a time holds."""
        ...

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """What one process at a time holds that is to be alone with something of that name."""
        ...

    def clock(self) -> Clock:
        """Whose time counts."""
        ...

    def projection(self, window: timedelta) -> Projection | None:
        """Where others read the history of imports; None where nobody else can log in."""
        ...

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it."""
        ...

    def error(self, error: Exception) -> Exception:
        """The error of ours for one that was raised while it was attached; the same one where that says nothing."""
        ...

    def commit_error(self, error: Exception) -> Exception:
        """The same for one that a COMMIT raised."""
        ...


def catalog_of(settings: Settings) -> Catalog:
    """The catalog that the settings name."""
    return SqliteCatalog(settings) if settings.postgres is None else PostgresCatalog(settings, settings.postgres)


class SqliteCatalog:
    """A file of SQLite, for processes of one machine."""

    scanner = "sqlite_scanner"
    inlined_text = "VARCHAR"
    preparation: Sequence[str] = ()

    def __init__(self, settings: Settings) -> None:
        self._path = settings.catalog
        self._seconds = settings.lock_seconds
        self._found = False
        self.source = f"sqlite:{self._path}"

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Writers wait for each other, and readers for none."""
        return {"META_BUSY_TIMEOUT": 20000} | ({} if read_only else {"META_JOURNAL_MODE": "'WAL'"})

    def exists(self) -> bool:
        """Whether the file is there and has DuckLake's tables, which whoever made it may not have come to.

        One that cannot be read is there: it is not to be made anew.
        """
        if not self._found and self._path.exists():
            try:
                self._found = "ducklake_snapshot" in self.tables()
            except RecordsError:
                return True
        return self._found

    def tables(self) -> list[str]:
        """As the file tells, which is only read."""
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
                rows = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ducklake_*' ORDER BY name"
                ).fetchall()
        except sqlite3.Error as error:
            raise self.error(error) from None
        return [name for (name,) in rows]

    def lock(self) -> WriteLock:
        """A lock on a file beside it."""
        return FileLock(self._path.with_name(f"{self._path.name}.lock"), self._seconds)

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """A lock on another file, one for many names, so that there are few."""
        number = zlib.crc32(name.encode()) % _LOCK_FILES
        return FileLock(self._path.with_name(f"{self._path.name}.{number}.lock"), seconds)

    def clock(self) -> Clock:
        """The clock of this machine."""
        return SystemClock()

    def projection(self, window: timedelta) -> None:
        """None: whoever can read the file reads everything."""

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it."""
        database.execute(statement)

    def error(self, error: Exception) -> Exception:
        """What SQLite refused."""
        return sqlite_error(error, self._path)

    def commit_error(self, error: Exception) -> Exception:
        """What SQLite refused, of a COMMIT."""
        return sqlite_error(error, self._path, commits=True)


class PostgresCatalog:
    """A database of PostgreSQL, for processes of any number of machines."""

    scanner = "postgres_scanner"
    inlined_text = "BLOB"  # bytea: PostgreSQL's text cannot have U+0000

    def __init__(self, settings: Settings, url: str, schema: str = PUBLIC) -> None:
        from psycopg2 import ProgrammingError
        from psycopg2.extensions import make_dsn, parse_dsn

        try:
            parameters = parse_dsn(url)
        except ProgrammingError:  # whose text may quote the password
            raise InvalidRequest(
                "RECORDS_CATALOG is no address that PostgreSQL's library can read.",
                "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for characters such as @ or /.",
            ) from None
        parameters.setdefault("connect_timeout", "10")
        parameters.setdefault("application_name", "records")
        self._parameters = parameters
        self._lock = AdvisoryLock(self._open, settings.lock_seconds)
        self._schema = schema
        self._found = False
        # A commit beside another one, by who had lost the lock: it fails, and is not put on top of the other.
        self.preparation: Sequence[str] = ["SET GLOBAL ducklake_max_retry_count = 0"]
        self._secret: dict[str, Any] = {}
        if "password" in parameters:  # told apart, so that no error of DuckDB's can quote it
            password = parameters["password"].replace("'", "''")
            secret = f"CREATE SECRET catalog (TYPE postgres, PASSWORD '{password}')"
            self.preparation = [*self.preparation, secret]
            self._secret = {"META_SECRET": "'catalog'"}
        self.source = f"postgres:{make_dsn(**{key: parameters[key] for key in parameters if key != 'password'})}"

    def options(self, *, read_only: bool) -> dict[str, Any]:
        """Where DuckDB finds the password, if there is one, and the tables."""
        schema = f"'{self._schema}'"
        return self._secret | ({} if self._schema == PUBLIC else {"METADATA_SCHEMA": schema, "META_SCHEMA": schema})

    def exists(self) -> bool:
        """Whether the database has DuckLake's tables; asked of the server until it has."""
        if not self._found:
            with self.session() as session, session.cursor() as cursor:
                cursor.execute("SELECT to_regclass('ducklake_snapshot') IS NOT NULL")
                ((self._found,),) = cursor.fetchall()
        return self._found

    def tables(self) -> list[str]:
        """As the server tells."""
        with self.session() as session, session.cursor() as cursor:
            cursor.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, 'ducklake_') "
                "ORDER BY tablename",
                [self._schema],
            )
            return [name for (name,) in cursor.fetchall()]

    @property
    def shown(self) -> str:
        """The address as anybody may see it: without its password, and without options that could have another."""
        told = {key: quote(self._parameters.get(key, ""), safe="") for key in ("user", "host", "port", "dbname")}
        user, port = f"{told['user']}@" * bool(told["user"]), f":{told['port']}" * bool(told["port"])
        return f"postgresql://{user}{told['host']}{port}/{told['dbname']}"

    def lock(self) -> WriteLock:
        """An advisory lock on a session of its own."""
        return self._lock

    def named_lock(self, name: str, seconds: float) -> WriteLock:
        """The same under another number."""
        return AdvisoryLock(self._open, seconds, name)

    def clock(self) -> Clock:
        """The server's: the machines that write may differ."""
        return ServerClock(self._server_time)

    def projection(self, window: timedelta) -> Projection:
        """A table of the same database."""
        return Projection(self._session_of_lock, window)

    def attach(self, database: duckdb.DuckDBPyConnection, statement: str) -> None:
        """Execute the statement that attaches it; tried again while the server takes nobody for now."""
        connected(lambda: database.execute(statement))

    def error(self, error: Exception) -> Exception:
        """What the server refused; without its words, for they quote records."""
        return server_error(error)

    def commit_error(self, error: Exception) -> Exception:
        """Whether the server refused a COMMIT, or nobody knows."""
        return commit_error(error)

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A session of its own, for as long as it is used; StoreUnreachable where there is none to be had."""
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
        """The session of the write lock where that is held, for to open another takes longer than its use; or one."""
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
