"""An error of PostgreSQL becomes a message without SQL, values or password; a passing error is tried again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import dagster as dg
import duckdb
import psycopg2
import pytest

from pipelines.runs import lost_runs
from resources.record_store import RecordStore, ledger
from resources.record_store.server_errors import commit_error, refused_connection, server_error
from resources.record_store.write_lock import _KEY
from resources.settings import Settings
from schemas.errors import (
    CommitUnknown,
    DiskFull,
    RecordsError,
    StoreBusy,
    StoreNotReady,
    StoreUnreachable,
)
from tests.postgres import PASSWORD, Postgres, database_of
from tests.records import put
from tests.serving import within

pytestmark = pytest.mark.runs_on("postgres")

_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = '{}'"

_WRITERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
_WAITS = """
    SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = '{}'
"""


@contextmanager
def refused(kind: type[RecordsError], words: str) -> Iterator[None]:
    """Expect that error; neither it nor its causes may contain a secret."""
    with pytest.raises(RecordsError, match=words) as raised:
        yield
    assert type(raised.value) is kind
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None
    assert not any(text in str(raised.value) for text in ("SELECT", "INSERT", "COPY", "ducklake_", "canary", PASSWORD))


@pytest.fixture
def database(catalog: str) -> str:
    return database_of(catalog)


@pytest.fixture
def at_commit(postgres: Postgres, database: str, store: RecordStore) -> Iterator[Callable[[str, str], None]]:
    """A function that lets PostgreSQL run PL/pgSQL when a snapshot is written, or at its COMMIT."""

    def call(body: str, when: str) -> None:
        store._lake.close()
        postgres.execute(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$", database)
        postgres.execute(
            f"CREATE {when} ON ducklake_snapshot FOR EACH ROW EXECUTE FUNCTION f()".replace(
                "DEFERRED ON ducklake_snapshot", "ON ducklake_snapshot DEFERRABLE INITIALLY DEFERRED"
            ),
            database,
        )

    yield call
    store._lake.close()
    postgres.execute("DROP FUNCTION IF EXISTS f CASCADE", database)


_WRITTEN = "TRIGGER t BEFORE INSERT"
_COMMITTED = "CONSTRAINT TRIGGER t AFTER INSERT DEFERRED"
_FULL = """RAISE EXCEPTION 'could not extend file "base/1": No space left on device' USING ERRCODE = '53100'"""
_SERIAL = "RAISE EXCEPTION 'could not serialize access due to concurrent update' USING ERRCODE = '40001'"
_OTHER_LANGUAGE = "RAISE EXCEPTION 'etwas ging schief: canary' USING ERRCODE = 'XX000', DETAIL = 'canary'"
_ENDS = "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW"


@pytest.mark.parametrize(
    ("body", "when", "kind", "words"),
    [
        (_FULL, _WRITTEN, DiskFull, "disk of the catalog's server"),
        (_FULL, _COMMITTED, DiskFull, "disk of the catalog's server"),
        (_SERIAL, _WRITTEN, StoreBusy, "Another process wrote"),
        (_OTHER_LANGUAGE, _WRITTEN, StoreUnreachable, "PostgreSQL refused"),
        (_ENDS, _WRITTEN, CommitUnknown, "did not confirm a commit"),
        (_ENDS, _COMMITTED, CommitUnknown, "did not confirm a commit"),
    ],
)
def test_a_commit_that_the_server_refuses(
    store: RecordStore,
    postgres: Postgres,
    database: str,
    at_commit: Callable[[str, str], None],
    body: str,
    when: str,
    kind: type[RecordsError],
    words: str,
) -> None:
    at_commit(body, when)
    with refused(kind, words):
        put(store, "SELECT 'canary' AS external_id, 'lead' AS status")
    store._lake.close()
    postgres.execute("DROP FUNCTION f CASCADE", database)
    assert store.accounts() == []
    put(store, "SELECT 'canary' AS external_id, 'lead' AS status")


@pytest.mark.parametrize(
    ("option", "kind", "words"),
    [
        ("statement_timeout = '1ms'", StoreUnreachable, "statement_timeout"),
        ("default_transaction_read_only = on", StoreUnreachable, "is read-only"),
        ("idle_in_transaction_session_timeout = '1ms'", StoreUnreachable, "ended the session"),
    ],
)
def test_a_setting_of_the_server_that_ends_what_the_store_does(
    store: RecordStore, postgres: Postgres, database: str, option: str, kind: type[RecordsError], words: str
) -> None:
    store._lake.close()
    postgres.execute(f"ALTER DATABASE {database} SET {option}")
    with refused(kind, words), RecordStore(store.settings) as other:  # noqa: SIM117
        with other.transaction("canary", "tester") as transaction:
            time.sleep(0.05)
            transaction.append(ledger.append_account, transaction.at, "canary", "tester")
    postgres.execute(f"ALTER DATABASE {database} RESET {option.split(' ')[0]}")
    assert store.add_account("ua", "tester")


def _as_joe(postgres: Postgres, settings: Settings) -> Settings:
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'joe'"):
        postgres.execute("CREATE ROLE joe LOGIN")
    assert settings.postgres is not None
    return replace(settings, postgres=settings.postgres.replace("//postgres:", "//joe:"))


def test_a_user_without_rights_gets_an_error(store: RecordStore, settings: Settings, postgres: Postgres) -> None:
    with RecordStore(_as_joe(postgres, settings)) as other:
        for ask in (other.accounts, lambda: other.add_account("canary", "tester")):
            with refused(StoreNotReady, "may not use the store's tables"):
                ask()


def test_the_sensor_of_lost_runs_says_that_its_user_may_make_no_schema(
    store: RecordStore, settings: Settings, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = _as_joe(postgres, settings).postgres
    assert address is not None
    monkeypatch.setenv("RECORDS_CATALOG", address)
    with dg.DagsterInstance.ephemeral() as instance:
        skipped = lost_runs(dg.build_sensor_context(instance=instance))
        assert isinstance(skipped, dg.SkipReason)
        assert str(skipped.skip_message).startswith("The user of RECORDS_CATALOG may not make or use the schema")
        assert settings.postgres is not None
        monkeypatch.setenv("RECORDS_CATALOG", settings.postgres)
        assert lost_runs(dg.build_sensor_context(instance=instance)) == dg.SkipReason("No run is lost.")


@pytest.mark.parametrize("known", [False, True], ids=["psycopg2", "DuckDB"])
def test_a_server_without_a_free_connection_is_asked_again_for_a_while(
    store: RecordStore,
    settings: Settings,
    postgres: Postgres,
    database: str,
    known: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = RecordStore(_as_joe(postgres, settings))
    other._catalog._found = known  # type: ignore[attr-defined]  # so that DuckDB is the first to connect
    postgres.execute("GRANT pg_read_all_data TO joe")
    monkeypatch.setattr("resources.record_store.server_errors._PATIENCE", 0.3)
    postgres.execute("ALTER ROLE joe CONNECTION LIMIT 0")
    with refused(StoreUnreachable, "too many connections for role"):
        other.accounts()

    monkeypatch.setattr("resources.record_store.server_errors._PATIENCE", 10)
    lift = threading.Timer(0.3, postgres.execute, ["ALTER ROLE joe CONNECTION LIMIT -1"])
    lift.start()
    assert other.accounts() == []
    lift.join()
    other.__exit__()
    postgres.execute("REVOKE pg_read_all_data FROM joe")


def test_a_writer_that_loses_its_session_while_it_waits_for_the_lock_waits_again(
    store: RecordStore, settings: Settings, postgres: Postgres, catalog: str, database: str
) -> None:
    waiting = _WAITS.format(database)
    done: list[bool] = []
    with closing(psycopg2.connect(catalog)) as holder, RecordStore(settings) as other:
        holder.cursor().execute("SELECT pg_advisory_lock(%s)", [_KEY])
        writer = threading.Thread(target=lambda: done.append(other.add_account("ua", "tester")))
        writer.start()
        assert within(30, lambda: len(postgres.execute(waiting)) == 1, every=0.02)
        ((before,),) = postgres.execute(waiting)
        postgres.execute(f"SELECT pg_terminate_backend({before})")
        assert within(30, lambda: postgres.execute(waiting) not in ([], [(before,)]), every=0.02)
        holder.close()
        writer.join(30)
    assert done == [True]
    assert store.accounts() == ["ua"]


def test_sessions_that_are_ended_amid_a_transaction_are_reported(
    store: RecordStore, postgres: Postgres, database: str
) -> None:
    put(store, "SELECT 'canary' AS external_id, 'lead' AS status")
    with (
        refused(StoreUnreachable, "ended the session"),
        RecordStore(store.settings) as other,
        other.transaction("it", "tester") as transaction,
    ):
        transaction.append(ledger.append_account, transaction.at, "canary", "tester")
        postgres.execute(f"{_SESSIONS.format(database)} AND pid NOT IN ({_WRITERS})")
        transaction.connection.execute("SELECT count(*) FROM lake.records.contacts").fetch_all()
    assert store.add_account("dl", "tester")


_QUERY = 'Failed to execute query "INSERT INTO x VALUES (\'canary: FATAL:  database "y" does not exist\')": '


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("ERROR:  canceling statement due to statement timeout", StoreUnreachable),
        ("ERROR:  canceling statement due to lock timeout", StoreBusy),
        ("ERROR:  cannot execute INSERT in a read-only transaction", StoreUnreachable),
        ("ERROR:  permission denied for table t", StoreNotReady),
        ('ERROR:  relation "t" does not exist', StoreNotReady),
        ('ERROR:  could not write to file "base/1": No space left on device', DiskFull),
        ("FEHLER:  etwas ging schief", StoreUnreachable),
        ("FATAL:  terminating connection due to administrator command", StoreUnreachable),
        ("server closed the connection unexpectedly\n\tThis probably means", StoreUnreachable),
        ("", StoreUnreachable),
    ],
)
def test_each_refusal_has_a_kind_and_hides_the_statement(words: str, kind: type[RecordsError]) -> None:
    translated = server_error(duckdb.Error(_QUERY + words))
    assert type(translated) is kind
    assert "canary" not in str(translated)
    is_unknown = "closed" in words or "terminating" in words or not words
    assert isinstance(commit_error(duckdb.TransactionException(_QUERY + words)), CommitUnknown) == is_unknown


def test_other_errors_than_the_servers_are_left_alone() -> None:
    for error in (
        duckdb.IOException('IO Error: Could not write file "/d/x": No space left on device'),
        duckdb.ConversionException("Conversion Error: Could not convert string 'x' to INT32"),
        duckdb.HTTPException("HTTP Error: Connection reset by peer for HTTP GET to 'http://x'"),
    ):
        assert server_error(error) is error


def test_a_refused_connection_is_reported_in_the_servers_words_alone() -> None:
    text = (
        'IO Error: Failed to attach DuckLake MetaData "m" at path + "postgres:d"Unable to connect to Postgres at '
        '"x sslpassword=canary": connection to server at "h" failed: FATAL:  the database system is starting up\n'
    )
    translated = refused_connection(duckdb.IOException(text))
    assert translated.message.endswith(
        'reached: connection to server at "h" failed: FATAL: the database system is starting up'
    )
    assert translated.hint.startswith("Wait until it runs")
