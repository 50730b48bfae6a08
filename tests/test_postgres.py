"""A catalog in PostgreSQL: one writer at a time, checked before each commit; passwords stay secret; Dagster too."""

import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import dagster as dg
import pytest

from resources.clock import ServerClock
from resources.record_store import RecordStore, ledger
from resources.settings import Settings
from schemas import load_record_types
from schemas.errors import InvalidRequest, RecordsError, StoreBusy, StoreUnreachable
from tests.faults.steps import processes
from tests.forked_commands import COMMAND_LINE
from tests.postgres import PASSWORD, Postgres, database_of, running
from tests.records import put, stored
from tests.serving import COMMAND, within

pytestmark = pytest.mark.runs_on("postgres")

ROOT = Path(__file__).parent.parent
CONTACTS = "SELECT printf('C-%06d', n) AS external_id, 'lead' AS status FROM range({}, {}) t(n)"
OF_THE_LOCK = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


def _cut_the_writer(postgres: Postgres) -> None:
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM ({OF_THE_LOCK})")


def test_a_lock_that_was_lost_stops_the_commit(store: RecordStore, postgres: Postgres) -> None:
    before = store.ledger_after(0, 100)

    with pytest.raises(StoreBusy, match="was cut; nothing was written") as raised:  # noqa: SIM117, PT012
        with store.transaction("cut", "tester") as transaction:
            transaction.append(ledger.append_account, transaction.at, "ua", "tester")
            _cut_the_writer(postgres)

    assert raised.value.transient
    assert store.ledger_after(0, 100) == before
    assert store.add_account("ua", "tester")


def test_a_writer_that_lost_the_lock_between_proof_and_commit_cannot_commit_over_another(
    store: RecordStore, settings: Settings, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = store.write_lock.prove

    def prove_then_lose() -> None:
        prove()
        _cut_the_writer(postgres)
        with RecordStore(settings) as faster:
            faster.add_account("faster", "tester")

    monkeypatch.setattr(store.write_lock, "prove", prove_then_lose)
    with pytest.raises(StoreBusy, match="Another process wrote") as raised:
        store.add_account("slower", "tester")
    # DuckLake's own error names the least and the greatest value of each column
    assert "slower" not in str(raised.value)

    assert store.accounts() == ["faster"]


def _hold_lock(settings: Settings, held: Any) -> None:
    with RecordStore(settings) as store, store.write_lock:
        held.set()
        signal.pause()


def test_the_lock_can_be_taken_again_by_its_holder_alone(store: RecordStore, settings: Settings) -> None:
    object.__setattr__(settings, "lock_seconds", 0.1)
    with RecordStore(settings) as other:
        with store.write_lock:
            with store.write_lock:
                store.write_lock.prove()
            store.write_lock.prove()
            with pytest.raises(StoreBusy, match=r"for 0\.1 seconds"):
                other.add_account("ua", "tester")
        assert other.add_account("ua", "tester")


def test_stores_of_two_databases_do_not_wait_for_each_other(
    store: RecordStore, settings: Settings, postgres: Postgres, empty_database: tuple[str, Path]
) -> None:
    name = postgres.create(empty_database[0])
    object.__setattr__(settings, "postgres", postgres.address(name))
    object.__setattr__(settings, "lock_seconds", 0.1)
    with store.write_lock, RecordStore(settings) as other:
        assert other.add_account("ua", "tester")
    postgres.drop(name)


def test_no_session_outlives_its_store(store: RecordStore, postgres: Postgres, catalog: str) -> None:
    store.add_account("ua", "tester")
    assert store.accounts() == ["ua"]
    store.__exit__()

    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database_of(catalog)}'"
    assert within(10, lambda: postgres.execute(sessions) == [(0,)], every=0.05)


def test_two_can_make_one_store_at_once(home: Path, postgres: Postgres) -> None:
    environment = os.environ | {"RECORDS_CATALOG": postgres.address(postgres.create())}
    made = [COMMAND_LINE.Popen([COMMAND, "init"], env=environment, stdout=PIPE, stderr=STDOUT) for _ in range(2)]
    outputs = [process.communicate()[0].decode() for process in made]

    assert [process.returncode for process in made] == [0, 0], outputs
    assert sorted(text.partition(" in ")[0] for text in outputs) in (
        ["Made a new store"] * 2,
        ["Made a new store", "The store is ready; there was nothing to do.\n"],
    )
    with RecordStore(Settings.from_environment(environment)) as store:
        assert sorted(store.record_types()) == sorted(it.name for it in load_record_types())


def test_the_time_of_the_server_counts(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = timedelta(minutes=9)  # the two may differ by about that much
    monkeypatch.setattr("resources.clock.SystemClock.now", lambda _: datetime.now(UTC) + ahead)

    put(store, CONTACTS.format(0, 1))

    with store.reading() as connection:
        newest = ledger.newest(connection)[1]
    assert newest is not None
    assert abs(newest - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_server_is_asked_once_a_minute_and_counted_on_in_between() -> None:
    server_time = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    asked, passed = [], [100.0]
    clock = ServerClock(lambda: asked.append(1) or server_time, lambda: passed[0])  # type: ignore[func-returns-value]
    assert clock.now() == server_time
    passed[0] += 59
    assert (clock.now(), len(asked)) == (server_time + timedelta(seconds=59), 1)
    passed[0] += 1
    assert (clock.now(), len(asked)) == (server_time, 2)


@pytest.mark.parametrize("address", ["mysql://me:s3cret@host/db", "/var/lib/catalog.sqlite", "host=db password=s3cret"])
def test_an_invalid_address_of_postgresql_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(InvalidRequest, match=r"RECORDS_CATALOG is not (an|the) address") as raised:
        Settings.from_environment({"RECORDS_CATALOG": address})
    assert address not in str(raised.value)


def test_an_address_that_the_library_cannot_read_is_refused_and_not_quoted() -> None:
    settings = Settings.from_environment({"RECORDS_CATALOG": "postgresql://me:s3cret%zz@host/db?no_option=1"})
    with pytest.raises(InvalidRequest, match=r"RECORDS_CATALOG is not (an|the) address") as raised:
        RecordStore(settings)
    assert "s3cret" not in str(raised.value) + repr(settings)


@pytest.mark.parametrize("arguments", [["init"], ["accounts", "list"], ["--help"]])
def test_no_password_is_ever_shown(home: Path, postgres: Postgres, arguments: list[str]) -> None:
    for address in (postgres.address("nowhere"), f"postgresql://u:{PASSWORD}@/d?host=/nowhere"):
        done = COMMAND_LINE.run(
            [COMMAND, *arguments],
            env=os.environ | {"RECORDS_CATALOG": address},
            capture_output=True,
            text=True,
        )
        assert PASSWORD not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert ("cannot be reached" in done.stderr) == (arguments != ["--help"])


def test_a_server_that_is_gone_is_said_without_the_password(
    store: RecordStore, postgres: Postgres, catalog: str
) -> None:
    with RecordStore(store.settings) as other:
        assert other.exists
        postgres.execute(f"ALTER DATABASE {database_of(catalog)} ALLOW_CONNECTIONS false")
        for ask in (other.accounts, lambda: other.add_account("ua", "tester"), other.now):
            with pytest.raises(StoreUnreachable) as raised:
                ask()
            assert raised.value.transient
            assert PASSWORD not in str(raised.value)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """A server that a test may restart."""
    with running() as server:
        yield server


@pytest.fixture
def own_store(own_server: Postgres, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[RecordStore]:
    """A store on it."""
    monkeypatch.setenv("RECORDS_CATALOG", own_server.address(own_server.create()))
    with RecordStore(Settings.from_environment()) as store:
        store.initialise(load_record_types())
        yield store


def test_a_server_that_restarts_costs_an_idle_store_nothing_and_a_transaction_an_error_that_may_be_tried_again(
    own_server: Postgres, own_store: RecordStore
) -> None:
    server, store = own_server, own_store
    number = count()

    def write() -> int:
        return put(store, f"SELECT 'C-{next(number)}' AS external_id, 'lead' AS status")

    written = 0
    for use in (write, store.accounts):
        written += len([write(), write()])  # the lake stays attached
        server.restart()
        use()
        written += use is write
    # A restart loses the lock. It cuts off a query, or what a COMMIT would have written.
    lost = (
        "INSERT INTO lake.records.contacts (_account, _batch, external_id, status) VALUES ('ua', 'b', 'C-lost', 'lead')"
    )
    for what in (lost, "SELECT 1"):
        with pytest.raises(RecordsError) as raised, store.transaction("restart", "tester") as transaction:  # noqa: PT012
            server.restart()
            transaction.connection.execute(what)
        assert raised.value.transient
        assert "C-" not in str(raised.value)
        written += bool(write())
    assert len(stored(store)) == written


def test_a_query_that_a_server_ends_is_reported_without_its_words(own_server: Postgres, own_store: RecordStore) -> None:
    store = own_store
    put(store, "SELECT 'C-' || n AS external_id, 'lead' AS status FROM range(5000) t(n)")
    with pytest.raises(StoreUnreachable, match="ended the session"), store.reading() as connection:  # noqa: PT012
        batches = connection.execute("SELECT external_id FROM lake.records.contacts").to_arrow_reader(1000)
        own_server.restart()
        list(batches)
    assert len(stored(store)) == 5000


def test_a_store_hides_its_password(store: RecordStore) -> None:
    with store.reading() as connection:
        seen = [
            str(connection.execute(query).fetch_all())
            for query in ("FROM duckdb_databases()", "FROM duckdb_secrets()", "FROM duckdb_settings()")
        ]
    assert PASSWORD not in "".join([*seen, repr(store.settings), repr(vars(store))])


def _write(settings: Settings, account: str, batches: int, barrier: Barrier, result: Pipe) -> None:
    with RecordStore(settings) as store:
        store.accounts()
        barrier.wait(timeout=120)
        for batch in range(batches):
            put(store, CONTACTS.format(batch * 1000, (batch + 1) * 1000), account, f"b-{account}-{batch}")
        result.send(batches)


def test_four_writers_lose_nothing(store: RecordStore, settings: Settings) -> None:
    context, accounts, batches = processes(), ["a", "b", "c", "d"], 5
    barrier = context.Barrier(len(accounts))
    pipes = [context.Pipe(duplex=False) for _ in accounts]
    writers = [
        context.Process(target=_write, args=(settings, account, batches, barrier, sender))
        for account, (_, sender) in zip(accounts, pipes, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0] * len(accounts)
    with store.reading() as connection:
        counts = connection.execute(
            "SELECT _account, count(*), count(DISTINCT external_id), count(DISTINCT _batch) FROM lake.records.contacts "
            "GROUP BY ALL ORDER BY ALL"
        ).fetch_all()
        numbers = connection.execute("SELECT seq FROM lake.ledger.accounts ORDER BY seq").fetch_all()
    assert counts == [(account, 5000, 5000, batches) for account in accounts]
    assert len(set(numbers)) == len(accounts)


@dg.job
def nothing() -> None:
    pass


def test_dagster_keeps_its_runs_there(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    name = postgres.create()
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres.address(name).replace("://", "+psycopg2://", 1))
    shutil.copy(ROOT / "deploy" / "server" / "dagster.yaml", tmp_path)

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run_id = nothing.execute_in_process(instance=instance).run_id
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 8  # type: ignore[union-attr]

    assert postgres.execute("SELECT run_id, status FROM runs", name) == [(run_id, "SUCCESS")]
    assert postgres.execute("SELECT count(*) > 0 FROM event_logs", name) == [(True,)]
    postgres.drop(name)


def test_every_variable_of_the_server_is_in_its_example() -> None:
    folder = ROOT / "deploy" / "server"
    lines = (folder / "environment.example").read_text("utf-8").splitlines()
    given = dict("".join(shlex.split(line)).split("=", 1) for line in lines if line and not line.startswith("#"))
    named = {
        line.split(": ")[1] for line in (folder / "dagster.yaml").read_text("utf-8").splitlines() if " env: " in line
    }
    assert named <= set(given)
    settings = Settings.from_environment({name: text.replace("BUCKET", "bucket") for name, text in given.items()})
    assert settings.postgres == given["RECORDS_CATALOG"]
    assert settings.executor == "in_process"
