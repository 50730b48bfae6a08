"""`WorkTables`: tables beside the catalog that say which processes live and which steps they execute."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from resources.record_store.catalog import PostgresCatalog
from resources.record_store.server_errors import server_error
from resources.settings import Settings
from schemas.errors import StoreNotReady

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812  # psycopg2 names its classes so

SCHEMA = "records_work"

_LOCK = 0x7265636F726474
_TABLES = f"""
    CREATE SCHEMA IF NOT EXISTS {SCHEMA};
    CREATE TABLE IF NOT EXISTS {SCHEMA}.processes (
        process text PRIMARY KEY,
        beat bigint NOT NULL,
        beaten_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE IF NOT EXISTS {SCHEMA}.steps (
        run_id text NOT NULL,
        step text NOT NULL,
        attempt integer NOT NULL,
        process text,
        outcome text,
        is_revoked boolean NOT NULL DEFAULT false,
        claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, step, attempt)
    )
"""


class WorkTables:
    """The tables in the catalog's database, on one session that is opened again after an error."""

    def __init__(self, settings: Settings) -> None:
        if settings.postgres is None:
            raise TypeError("the catalog of this store is no database of PostgreSQL")
        self._catalog = PostgresCatalog(settings, settings.postgres)
        self._opened = ExitStack()
        self._session: Session | None = None

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows.

        Raises StoreNotReady if the user may not make the tables, StoreUnreachable, or what else the server refuses.
        """
        import psycopg2

        try:
            with self._connected().cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.errors.InsufficientPrivilege:
            self.close()
            raise StoreNotReady(
                f"The user of RECORDS_CATALOG may not make or use the schema {SCHEMA} in the catalog's database. "
                "So no run is found that has lost its process.",
                "As the owner of the database, give it the right: GRANT CREATE ON DATABASE … TO …",
            ) from None
        except psycopg2.Error as error:
            self.close()
            raise server_error(error) from None

    def close(self) -> None:
        """Close the session. The next statement opens another one."""
        opened, self._opened, self._session = self._opened, ExitStack(), None
        with suppress(Exception):  # the server may have ended it
            opened.close()

    def _connected(self) -> "Session":
        if self._session is None:
            self._session = self._opened.enter_context(self._catalog.session())
            with self._session.cursor() as cursor:
                cursor.execute("SET application_name = 'records work'")
                cursor.execute(f"SELECT to_regclass('{SCHEMA}.steps') IS NULL")
                ((is_missing,),) = cursor.fetchall()
                if is_missing:  # processes that make them at the same time would disturb each other
                    cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK}); {_TABLES}; COMMIT")
        return self._session
