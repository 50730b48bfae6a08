"""`Projection`: the ledger's batches as a plain table of PostgreSQL. Each reader sees the rows of one account."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, fields
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from resources.record_store.server_errors import is_ended, server_error
from schemas.batches import Batch
from schemas.counts import Counts
from schemas.errors import NotFound, RecordsError, Refused, StoreNotReady
from schemas.rollbacks import RollbackCounts

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812  # psycopg2 names its classes so
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_LOG = logging.getLogger(__name__)

_COLUMNS = {
    "batch_id": "text PRIMARY KEY",
    "account": "text NOT NULL",
    "record_type": "text NOT NULL",
    "status": "text NOT NULL",
    "actor": "text NOT NULL",
    "at": "timestamptz NOT NULL",
    "committed_at": "timestamptz",
    "open_until": "timestamptz",
    "file_name": "text",
    **dict.fromkeys((field.name for field in fields(Counts)), "bigint NOT NULL"),
    "undone": "text",
    **dict.fromkeys((field.name for field in fields(RollbackCounts)), "bigint"),
}
"""The columns of `records_history.batches`, named as in `Batch`. `undone` is the batch that a rollback rolled back.

Add a new column at the end. The view is replaced, and PostgreSQL adds columns to a view only there.
"""

# With another search path, another user's operators could change the meaning of the policies.
_BEGIN = """
    SET LOCAL search_path = pg_catalog;
    SET LOCAL lock_timeout = '2s';
    SET LOCAL synchronous_commit = off
"""

# The schema is not called `records`: a user of that name would look for DuckLake's tables there first.
_TABLES = f"""
    CREATE TABLE IF NOT EXISTS records_history.batches (
        {", ".join(f"{name} {sql_type}" for name, sql_type in _COLUMNS.items())}
    );
    ALTER TABLE records_history.batches
        {", ".join(f"ADD COLUMN IF NOT EXISTS {field.name} bigint" for field in fields(RollbackCounts))};
    CREATE INDEX IF NOT EXISTS batches_of_account ON records_history.batches (account);
    CREATE TABLE IF NOT EXISTS records_history.readers (role regrole PRIMARY KEY, account text NOT NULL);
    CREATE TABLE IF NOT EXISTS records_history.projected (seq bigint NOT NULL)
"""

_MINE = "account = (SELECT r.account FROM records_history.readers r WHERE r.role = quote_ident(current_user)::regrole)"
"""The rows of the current reader. A reader is stored as a role, so it may be renamed."""

# The view reads as its owner, and row-level security is forced on the owner. The view repeats the policy's condition,
# so that the index is used. OFFSET makes PostgreSQL apply a reader's own conditions after the policy. Otherwise it
# could apply some before, and EXPLAIN ANALYZE would reveal values of other accounts. The barrier hides its estimates.
_SECURITY = f"""
    ALTER TABLE records_history.batches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    DROP POLICY IF EXISTS store ON records_history.batches;
    DROP POLICY IF EXISTS reader ON records_history.batches;
    CREATE POLICY store ON records_history.batches USING (pg_has_role({{name}}, 'USAGE'));
    CREATE POLICY reader ON records_history.batches FOR SELECT USING ({_MINE});
    CREATE OR REPLACE VIEW records_history.imports WITH (security_barrier) AS
        SELECT {", ".join(_COLUMNS)} FROM records_history.batches WHERE {_MINE} OFFSET 0
"""

_UPSERT = f"""
    INSERT INTO records_history.batches ({", ".join(_COLUMNS)}) VALUES %s
    ON CONFLICT (batch_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
"""

_GRANTS = "GRANT USAGE ON SCHEMA records_history TO {role}; GRANT SELECT ON records_history.imports TO {role}"
_REVOKES = "REVOKE SELECT ON records_history.imports FROM {role}; REVOKE USAGE ON SCHEMA records_history FROM {role}"


class Projection:
    """The present state of each batch in `records_history.batches`, under forced row-level security.

    Readers see their account's rows, in the view `records_history.imports`. The table is updated after each commit, and
    can be rebuilt from the ledger. The store never reads it. While a process writes it, it locks the row with the
    number of the last ledger row in the table. So no process overwrites a later state.
    """

    def __init__(self, session: "Callable[[], AbstractContextManager[Session]]", window: timedelta) -> None:
        self._session = session
        self._window = window
        self._made = True

    def rebuild(self, last: int, batches: Callable[[], Iterable[Batch]]) -> None:
        """Create or rebuild the table with these batches, and grant its view to the readers.

        Logs a warning if this fails. Then this object does not try to catch up.
        """
        try:
            with self._transaction() as cursor:
                cursor.execute("SELECT to_regnamespace('records_history') IS NULL")
                if cursor.fetchall() == [(True,)]:  # IF NOT EXISTS needs a privilege that the owner may lack
                    cursor.execute("CREATE SCHEMA records_history")
                cursor.execute(f"{_TABLES}; SELECT current_user")
                ((own,),) = cursor.fetchall()
                _for_role(cursor, _SECURITY, own)
                cursor.execute("DELETE FROM records_history.batches; DELETE FROM records_history.projected")
                self._put(cursor, batches())
                cursor.execute("INSERT INTO records_history.projected VALUES (%s)", [last])
                cursor.execute("DELETE FROM records_history.readers WHERE role NOT IN (SELECT oid FROM pg_roles)")
                cursor.execute("SELECT rolname FROM records_history.readers JOIN pg_roles r ON r.oid = role")
                for (role,) in cursor.fetchall():
                    _for_role(cursor, _GRANTS, role)
        except Exception as error:  # the store itself is ready
            _warn(_said(error))
            self._made = False

    def catch_up(self, last: int, since: Callable[[int], Iterable[Batch]]) -> None:
        """Add the changes of the ledger up to its row `last`. Logs a warning if this fails; the next commit retries.

        since: returns the transitions of batches after a row, in their order.
        """
        if not self._made:
            return
        try:
            with self._transaction() as cursor:
                cursor.execute("SELECT seq FROM records_history.projected FOR UPDATE")
                ((reached,),) = cursor.fetchall()
                if reached < last:
                    self._put(cursor, since(reached))
                    cursor.execute("UPDATE records_history.projected SET seq = %s", [last])
        except Exception as error:  # the commit itself is done
            _warn(_said(error))

    def grant(self, account: str, role: str) -> bool:
        """Let a role read the account's rows. Returns whether that is new.

        Raises NotFound if there is no such role, and Refused for a role that would see more than one account.
        """
        with self._changing_readers() as cursor:
            number, sees_all = _role(cursor, role)
            if sees_all:
                raise Refused(
                    f"The role {role!r} would see every account. It bypasses row-level security, or is a member of the "
                    "catalog's own user.",
                    "Give the account a role of its own: not a superuser, and not a member of the catalog's user.",
                )
            cursor.execute(
                "INSERT INTO records_history.readers VALUES (%s, %s) ON CONFLICT DO NOTHING", [number, account]
            )
            is_new = cursor.rowcount == 1
            cursor.execute("SELECT account FROM records_history.readers WHERE role = %s::oid", [number])
            ((reads,),) = cursor.fetchall()
            if reads != account:
                raise Refused(
                    f"The role {role!r} reads the import history of {reads} already. A role can read one account only.",
                    f"Give {account} another role, or first: records accounts reader {reads} --role {role} --revoke.",
                )
            _for_role(cursor, _GRANTS, role)
            return is_new

    def revoke(self, account: str, role: str) -> bool:
        """Stop a role from reading the account's rows. Returns whether it could. Raises NotFound without the role."""
        with self._changing_readers() as cursor:
            number, _ = _role(cursor, role)
            cursor.execute(
                "DELETE FROM records_history.readers WHERE role = %s::oid AND account = %s", [number, account]
            )
            could_read = cursor.rowcount == 1
            if could_read:
                _for_role(cursor, _REVOKES, role)
            return could_read

    def revoke_all(self, account: str) -> None:
        """Stop all roles from reading the account's rows, because it is deleted."""
        with self._changing_readers() as cursor:
            cursor.execute(
                "SELECT rolname FROM records_history.readers JOIN pg_roles r ON r.oid = role WHERE account = %s",
                [account],
            )
            for (role,) in cursor.fetchall():
                _for_role(cursor, _REVOKES, role)
            cursor.execute("DELETE FROM records_history.readers WHERE account = %s", [account])

    @contextmanager
    def _transaction(self) -> "Iterator[Cursor]":
        with self._session() as session, session, session.cursor() as cursor:
            cursor.execute(_BEGIN)
            yield cursor

    @contextmanager
    def _changing_readers(self) -> "Iterator[Cursor]":
        import psycopg2

        try:
            with self._transaction() as cursor:
                yield cursor
        except psycopg2.Error as error:
            if is_ended(error):
                raise server_error(error) from None
            raise StoreNotReady(
                f"The import history in PostgreSQL cannot be granted: {_said(error)}.",
                "Run: records init. The schema records_history must exist and belong to the user of RECORDS_CATALOG.",
            ) from None

    def _put(self, cursor: "Cursor", batches: Iterable[Batch]) -> None:
        from psycopg2.extras import execute_values

        last = {batch.batch_id: self._row(batch) for batch in batches}
        execute_values(cursor, _UPSERT, list(last.values()))

    def _row(self, batch: Batch) -> tuple[Any, ...]:
        undone = batch.undone
        values = {
            "batch_id": batch.batch_id,
            "account": batch.account,
            "record_type": batch.record_type,
            "status": batch.status.value,
            "actor": batch.actor,
            "at": batch.at,
            "committed_at": batch.committed_at,
            "open_until": batch.open_until(self._window),
            "file_name": batch.file_name if undone is None else None,
            **asdict(batch.counts),
            **({} if undone is None else {"undone": undone.batch_id, **asdict(undone.counts)}),
        }
        return tuple(values.get(name) for name in _COLUMNS)


def _role(cursor: "Cursor", name: str) -> tuple[int, bool]:
    """Return the number of a role, and whether it would see every account."""
    cursor.execute(
        "SELECT oid, rolsuper OR rolbypassrls OR pg_has_role(oid, current_user, 'MEMBER') "
        "FROM pg_roles WHERE rolname = %s::text",
        [name],
    )
    found = cursor.fetchall()
    if not found:
        raise NotFound(
            f"PostgreSQL has no role {name!r}.",
            "An administrator of the server can create it: CREATE ROLE … LOGIN.",
        )
    ((number, sees_all),) = found
    return number, sees_all


def _for_role(cursor: "Cursor", statements: str, role: str) -> None:
    from psycopg2 import sql

    cursor.execute(sql.SQL(statements).format(role=sql.Identifier(role), name=sql.Literal(role)))


def _said(error: Exception) -> str:
    """Return what went wrong: only the first line of PostgreSQL's errors, because the others can quote rows."""
    import psycopg2

    if isinstance(error, RecordsError):
        return error.message.rstrip(".")
    said = error.diag.message_primary if isinstance(error, psycopg2.Error) else None
    return said or type(error).__name__


@cache
def _warn(said: str) -> None:
    """Log the warning once in a process, because a daemon gets here every few seconds."""
    _LOG.warning(
        "The import history in PostgreSQL is behind the ledger: %s. Nothing is lost, and each commit tries to catch "
        "up. If that fails, let the user of RECORDS_CATALOG create or own the schema records_history. Then run: "
        "records init.",
        said,
    )
