"""The import history in PostgreSQL: its content, its delay, and who may read what."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from pipelines.ledger_events import ledger_events
from pipelines.store_resource import RecordsResource
from resources.importing.importer import Importer
from resources.record_store import RecordStore, ledger, projection, write_lock
from resources.record_store.catalog import catalog_of
from resources.record_store.projection import Projection
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import Batch, BatchStatus, OnInvalid
from schemas.counts import Counts
from schemas.errors import InvalidRequest, NotFound, Refused, StoreNotReady
from schemas.rollbacks import RollbackCounts, RollbackRequest
from tests.conftest import StoppedClock
from tests.faults.steps import processes, settings_of
from tests.postgres import Postgres, database_of
from tests.prepared import Prepared
from tests.records import contact, contacts_of, write_csv

pytestmark = [
    pytest.mark.runs_on("postgres"),
    pytest.mark.xdist_group("projection"),  # because of its store
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]

ROOT = Path(__file__).parent.parent
KEEPER = "keeper"
"""The role of the store. It is not a superuser, so that row-level security applies to it too."""
READERS = {"ua": "web_ua", "dl": "web_dl"}
WITHOUT_ACCOUNT = "web_nobody"


def _as(address: str, role: str) -> str:
    return re.sub(r"//\w+:", f"//{role}:", address)


@pytest.fixture(scope="session")
def empty_database(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A store with an owner that is not a superuser, and roles for readers."""
    postgres.execute(f"CREATE ROLE {KEEPER} LOGIN")
    for role in (*READERS.values(), WITHOUT_ACCOUNT):
        postgres.execute(f"CREATE ROLE {role} LOGIN")
    name, home = postgres.create(), tmp_path_factory.mktemp("kept-database")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {KEEPER}")
    with RecordStore(settings_of(home, _as(postgres.address(name), KEEPER))) as store:
        store.initialise(load_record_types())
    return name, home


@pytest.fixture
def beginning(empty_database: tuple[str, Path]) -> Prepared:
    """Let every store of this module start from that one."""
    name, home = empty_database
    return Prepared(home, name, None, None)


@pytest.fixture
def catalog(postgres: Postgres, empty_database: tuple[str, Path]) -> Iterator[str]:
    """Put every store of this module into a database of the keeper."""
    name = postgres.create(empty_database[0])
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {KEEPER}")
    yield _as(postgres.address(name), KEEPER)
    postgres.drop(name)


@pytest.fixture(autouse=True)
def new_process() -> None:
    """Let each test see the warnings that a process prints once."""
    projection._warn.cache_clear()


def ask(address: str, *statements: str, role: str = KEEPER) -> list[Any]:
    """Return the rows of the last statement, for a session of the role."""
    with closing(psycopg2.connect(_as(address, role))) as session, session.cursor() as cursor:
        session.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def history(address: str, role: str = KEEPER, table: str = "") -> list[dict[str, Any]]:
    """Return the rows that a role sees, newest first, in UTC. Readers use the view, the keeper uses the table."""
    table = table or ("batches" if role == KEEPER else "imports")
    with closing(psycopg2.connect(_as(address, role))) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT * FROM records_history.{table} ORDER BY substr(batch_id, 3) DESC")
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [
        {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def reported(store: RecordStore) -> list[dict[str, Any]]:
    """Return the same rows, as the store reports them."""
    rows = []
    for batch, report in zip(batches := store.batches(), store.reports(batches), strict=True):
        report_fields = report.to_dict()
        rolled_back_batch = report_fields["undone"] or {}
        names = ("batch_id", "account", "record_type", "status", "actor", *vars(Counts()))
        rows.append(
            {
                **{name: report_fields[name] for name in names},
                "at": batch.at,
                "committed_at": batch.committed_at,
                "open_until": report.open_until,
                "file_name": report_fields["file"] or None,
                "undone": rolled_back_batch.get("batch_id"),
                **{name: rolled_back_batch.get(name) for name in vars(RollbackCounts())},
            }
        )
    return rows


def record_batch(store: RecordStore, account: str = "ua", file_name: str = "in.csv", **values: Any) -> Batch:
    """Record a batch with these values in the ledger."""
    at = store.clock.now()
    batch = Batch(
        batch_id=f"b-{at:%Y%m%d-%H%M%S%f}-{account}",
        account=account,
        record_type="contacts",
        status=BatchStatus.PREVIEWED,
        actor="tester",
        at=at,
        file_name=file_name,
        file_sha256="0" * 64,
        counts=Counts(read=3, created=2, rejected=1),
    )
    return store.account(account).record_new(replace(batch, **values))


def statuses(address: str) -> list[str]:
    return [row["status"] for row in history(address)]


# The content


def test_each_transition_is_projected_at_once(
    store: RecordStore, importer: Importer, catalog: str, tmp_path: Path
) -> None:
    records = store.account("ua")

    def step(*expected: str) -> None:
        assert statuses(catalog) == list(expected)
        assert history(catalog) == reported(store)

    good, bad = contact(1), contact(2, status="?")
    first = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [good, bad]))).batch.batch_id
    step("previewed")
    importer.discard("ua", first)
    step("discarded")
    second = importer.import_file(contacts_of(tmp_path / "a.csv"), OnInvalid.SKIP).batch.batch_id
    step("committed", "discarded")
    rolled_back = records.roll_back(RollbackRequest("ua", second), "tester", None).batch_id
    assert rolled_back is not None
    step("committed", "rolled_back", "discarded")
    records.roll_back(RollbackRequest("ua", rolled_back), "tester", None)
    step("committed", "rolled_back", "committed", "discarded")
    record_batch(store, "dl", status=BatchStatus.FAILED, counts=Counts(), failure="It could not be read.")
    step("failed", "committed", "rolled_back", "committed", "discarded")
    clock = StoppedClock()
    clock.time = datetime.now(UTC) + timedelta(hours=25)
    with RecordStore(store.settings, clock=clock) as later:
        later.expire_batches("tester")
    step("failed", "expired", "rolled_back", "expired", "discarded")
    assert history(catalog)[-2]["created"] == 1
    assert history(catalog)[2]["removed"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        "DROP SCHEMA records_history CASCADE",
        "DROP TABLE records_history.batches CASCADE",
        "TRUNCATE records_history.batches",
        "UPDATE records_history.batches SET status = 'lost', open_until = NULL",
        # A store made before rollbacks had this count.
        "DROP VIEW records_history.imports; ALTER TABLE records_history.batches DROP COLUMN resting; "
        "CREATE VIEW records_history.imports AS SELECT * FROM records_history.batches",
    ],
)
def test_it_is_made_anew_by_records_init(
    store: RecordStore, importer: Importer, catalog: str, tmp_path: Path, damage: str
) -> None:
    batch = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)]))).batch
    store.account("ua").roll_back(RollbackRequest("ua", batch.batch_id), "tester", None)
    record_batch(store, "dl")
    before = history(catalog)
    ask(catalog, damage)

    store.initialise(load_record_types())

    assert history(catalog) == before == reported(store)
    record_batch(store)
    assert history(catalog) == reported(store)


def test_readers_read_the_table_that_was_made_anew(store: RecordStore, catalog: str, postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE web_dropped")
    for account, role in (("ua", READERS["ua"]), ("dl", "web_dropped")):
        record_batch(store, account)
        store.grant_reader(account, role)
    ask(catalog, "DROP TABLE records_history.batches CASCADE")
    postgres.execute("DROP OWNED BY web_dropped", database_of(catalog))
    postgres.execute("DROP ROLE web_dropped")

    store.initialise(load_record_types())

    assert [row["account"] for row in history(catalog, READERS["ua"])] == ["ua"]
    assert ask(catalog, "SELECT account FROM records_history.readers") == [("ua",)]


def test_nothing_of_the_store_is_decided_by_it() -> None:
    """The store reads the projection's position and readers only. The view alone reads the batches."""
    reading = re.compile(r"(?<!DELETE )(?<!SELECT ON )\b(?:FROM|JOIN)\s+records_history\.(\w+)( WHERE .* OFFSET 0)?")
    sources = [path for layer in ("pipelines", "resources", "schemas") for path in (ROOT / layer).rglob("*.py")]
    found = {path.name: set(reading.findall(path.read_text("utf-8"))) for path in sources}
    assert {name: read for name, read in found.items() if read} == {
        "projection.py": {("projected", ""), ("readers", ""), ("batches", " WHERE {_MINE} OFFSET 0")}
    }


# The delay


def _die_before_projection(settings: Settings) -> None:
    Projection.catch_up = lambda *_: os._exit(9)  # type: ignore[method-assign]
    with RecordStore(settings) as store:
        record_batch(store)


@pytest.mark.parametrize("next_one", ["a commit", "a commit without a batch", "records init", "the sensor"])
def test_a_crash_between_the_commit_and_it_loses_nothing(
    store: RecordStore, settings: Settings, catalog: str, next_one: str
) -> None:
    record_batch(store)
    killed = processes().Process(target=_die_before_projection, args=(settings,))
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert (len(store.batches()), len(history(catalog))) == (2, 1)

    match next_one:
        case "a commit":
            record_batch(store)
        case "a commit without a batch":
            store.add_account("dl", "tester")
        case "records init":
            store.initialise(load_record_types())
        case "the sensor":
            with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance) as context:
                ledger_events(context, records=RecordsResource())

    assert history(catalog) == reported(store)


def _record_often(settings: Settings, account: str, times: int) -> None:
    with RecordStore(settings) as store:
        for _ in range(times):
            batch = record_batch(store, account)
            store.account(account).discard(batch.batch_id, "tester", None)


def test_two_writers_at_once_leave_the_projection_equal_to_the_ledger(
    store: RecordStore, settings: Settings, catalog: str
) -> None:
    writers = [processes().Process(target=_record_often, args=(settings, account, 5)) for account in READERS]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        store.catch_up()  # as the sensor does
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert statuses(catalog) == ["discarded"] * 10
    assert history(catalog) == reported(store)


def test_a_late_projection_overwrites_nothing(
    store: RecordStore, settings: Settings, catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up = Projection.catch_up

    def be_overtaken(slow: Projection, *arguments: Any) -> None:
        monkeypatch.setattr(Projection, "catch_up", catch_up)
        ((pid,),) = ask(catalog, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
        ask(catalog, f"SELECT pg_terminate_backend({pid})")
        with RecordStore(settings) as faster:
            faster.account("ua").discard(faster.batches()[0].batch_id, "faster", None)
        slow._session = faster._catalog.session  # type: ignore[attr-defined]
        catch_up(slow, *arguments)

    monkeypatch.setattr(Projection, "catch_up", be_overtaken)
    record_batch(store)

    assert [(row["status"], row["actor"]) for row in history(catalog)] == [("discarded", "faster")]
    with store.reading() as connection:
        assert ask(catalog, "SELECT seq FROM records_history.projected") == [(ledger.newest(connection)[0],)]


def test_one_at_a_time_writes_to_it(
    store: RecordStore, catalog: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "_BEGIN", projection._BEGIN.replace("'2s'", "'10ms'"))

    def write_meanwhile(_: int) -> list[Batch]:
        record_batch(store)
        return []

    with store.reading() as connection:
        newest = ledger.newest(connection)[0]
    catalog_of(store.settings).projection(store.settings.rollback_window).catch_up(newest + 1, write_meanwhile)  # type: ignore[union-attr]

    assert "canceling statement due to lock timeout" in caplog.text
    store.catch_up()
    assert history(catalog) == reported(store)


def test_a_commit_that_cannot_be_projected_stays_valid_and_one_warning_says_what_to_do(
    store: RecordStore, catalog: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask(catalog, "ALTER TABLE records_history.batches ADD CONSTRAINT none CHECK (file_name <> 'secret.csv')")

    first, second = (record_batch(store, file_name="secret.csv") for _ in range(2))

    assert [batch.batch_id for batch in store.batches()] == [second.batch_id, first.batch_id]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning == (
        'The import history in PostgreSQL is behind the ledger: new row for relation "batches" violates check '
        'constraint "none". Nothing is lost, and each commit tries to catch up. If that fails, let the user of '
        "RECORDS_CATALOG create or own the schema records_history. Then run: records init."
    )
    ask(catalog, "ALTER TABLE records_history.batches DROP CONSTRAINT none")
    record_batch(store)
    assert history(catalog) == reported(store)


def test_a_long_wait_for_a_lock_of_the_table_does_not_hold_up_commits(
    store: RecordStore, catalog: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "_BEGIN", projection._BEGIN.replace("'2s'", "'10ms'"))
    with closing(psycopg2.connect(catalog)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE records_history.batches")
        record_batch(store)
    assert "canceling statement due to lock timeout" in caplog.text
    record_batch(store)
    assert history(catalog) == reported(store)


def test_a_store_works_where_its_user_may_make_no_schema(
    store: RecordStore, catalog: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = database_of(catalog)
    ask(catalog, "DROP SCHEMA records_history CASCADE")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO postgres")
    postgres.execute(f"GRANT CREATE ON SCHEMA public TO {KEEPER}", name)

    store.initialise(load_record_types())
    record_batch(store)

    with pytest.raises(StoreNotReady, match=r"records_history\.batches|readers"):
        store.grant_reader("ua", READERS["ua"])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"permission denied for database {name}" in warning
    postgres.execute(f"CREATE SCHEMA records_history AUTHORIZATION {KEEPER}", name)
    with RecordStore(store.settings) as other:
        other.initialise(load_record_types())
    assert history(catalog) == reported(store)
    assert len(caplog.records) == 1


# Who may read what

LEAK = """
    CREATE FUNCTION pg_temp.leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
    AS $$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$
"""
SHADOWS = (
    "CREATE FUNCTION own.quote_ident(name) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'web_dl' $$",
    "CREATE FUNCTION own.reverse(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT reverse('dl') $$",
    "CREATE FUNCTION own.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT true $$",
    "CREATE OPERATOR own.= (LEFTARG = text, RIGHTARG = text, FUNCTION = own.yes)",
    "CREATE TABLE own.readers AS SELECT 'web_ua'::regrole AS role, 'dl'::text AS account",
    "SET search_path = own, records_history, pg_catalog",
)
ATTEMPTS = {
    "all": ("SELECT * FROM records_history.imports",),
    "theirs": ("SELECT * FROM records_history.imports WHERE account = 'dl' OR true",),
    "a join": ("SELECT b.* FROM records_history.imports a FULL JOIN records_history.imports b ON true",),
    "a leaky function": (LEAK, "SELECT * FROM records_history.imports WHERE pg_temp.leak(file_name)"),
    "a division": ("SELECT * FROM records_history.imports WHERE 1 / (account <> 'dl')::int = 1",),
    "a cast": ("SELECT * FROM records_history.imports WHERE file_name::int > 0",),
    "another search path": (*SHADOWS, "SELECT * FROM imports WHERE account = 'dl'"),
    "a setting": ("SELECT set_config('records.account', 'dl', false)", "SELECT * FROM records_history.imports"),
    "a view": ("CREATE TEMP VIEW mine AS SELECT * FROM records_history.imports", "SELECT * FROM mine"),
    "statistics": ("ANALYZE", "SELECT * FROM pg_stats WHERE schemaname = 'records_history'"),
    "a prepared statement": ("PREPARE mine AS SELECT * FROM records_history.imports", "EXECUTE mine", "EXECUTE mine"),
    "the names of accounts": ("SELECT qual FROM pg_policies", "SELECT pg_get_viewdef('records_history.imports')"),
}
REFUSED = {
    "their role": "SET ROLE web_dl",
    "the keeper's role": f"SET ROLE {KEEPER}",
    "their session": "SET SESSION AUTHORIZATION web_dl",
    "a setting of the role": "SELECT set_config('role', 'web_dl', false)",
    "no row security": "SET row_security = off; SELECT * FROM records_history.imports",
    "an insert": "INSERT INTO records_history.imports SELECT * FROM records_history.imports",
    "an update": "UPDATE records_history.imports SET account = 'dl'",
    "a delete": "DELETE FROM records_history.imports",
    "a lock": "BEGIN; LOCK TABLE records_history.imports",
    "another view": "CREATE OR REPLACE VIEW records_history.imports AS SELECT 1",
    "a view that reads as who asks": "ALTER VIEW records_history.imports SET (security_invoker = true)",
    "the table": "SELECT * FROM records_history.batches",
    "an insert into the table": "INSERT INTO records_history.batches VALUES ('b', 'ua')",
    "an update of the table": "UPDATE records_history.batches SET account = 'dl'",
    "a delete from the table": "DELETE FROM records_history.batches",
    "a truncation": "TRUNCATE records_history.batches",
    "readers": "SELECT * FROM records_history.readers",
    "another reader": "INSERT INTO records_history.readers VALUES ('web_ua', 'dl')",
    "another account": "UPDATE records_history.readers SET account = 'dl'",
    "how far it is": "SELECT * FROM records_history.projected",
    "a policy": "CREATE POLICY mine ON records_history.batches USING (true)",
    "an open table": "ALTER TABLE records_history.batches DISABLE ROW LEVEL SECURITY",
    "a table beside it": "CREATE TABLE records_history.mine ()",
    "the records": "SELECT * FROM public.ducklake_data_file",
    "their least and greatest values": "SELECT * FROM public.ducklake_file_column_stats",
    "changes to the store": "UPDATE public.ducklake_snapshot SET snapshot_id = 0",
}


def _fill(store: RecordStore, catalog: str) -> None:
    """Record batches of two accounts, each with a reader; the reader of ua may create anything in `own`."""
    for account, role in READERS.items():
        for number in range(3):
            record_batch(store, account, file_name=str(number) if account == "ua" else "secret.csv")
        assert store.grant_reader(account, role)
    ask(catalog, f"CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO {READERS['ua']}")


@pytest.fixture
def read(store: RecordStore, catalog: str) -> str:
    """The address of a store with batches and readers."""
    _fill(store, catalog)
    return catalog


@pytest.fixture(scope="session")
def shared(postgres: Postgres, empty_database: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, for tests that change nothing of it."""
    name, home = postgres.create(empty_database[0]), tmp_path_factory.mktemp("shared") / "home"
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {KEEPER}")
    shutil.copytree(empty_database[1], home)
    address = _as(postgres.address(name), KEEPER)
    with RecordStore(settings_of(home, address)) as store:
        _fill(store, address)
    many = "SELECT b.batch_id || n AS batch_id, {} FROM records_history.batches b, generate_series(1, 50) n"
    others = ", ".join(f"b.{column}" for column in list(projection._COLUMNS)[1:])
    ask(address, f"INSERT INTO records_history.batches {many.format(others)}", "ANALYZE records_history.batches")
    return address


def test_a_reader_sees_the_history_of_its_account(read: str, store: RecordStore) -> None:
    everything = reported(store)
    for account, role in READERS.items():
        assert history(read, role) == [row for row in everything if row["account"] == account]
    assert len(everything) == 6


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_reader_sees_nothing_of_another_account(shared: str, attempt: str) -> None:
    with closing(psycopg2.connect(_as(shared, READERS["ua"]))) as session, session.cursor() as cursor:
        session.autocommit = True
        for statement in ATTEMPTS[attempt]:
            cursor.execute(statement)
        seen = str(cursor.fetchall()) + str(session.notices)
    assert "secret" not in seen
    assert "'dl'" not in seen


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_reader_can_do_nothing_else(shared: str, attempt: str) -> None:
    with pytest.raises(
        (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ObjectNotInPrerequisiteState)
    ) as refused:
        ask(shared, REFUSED[attempt], role=READERS["ua"])
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("theirs", "unused"),
    [
        ("account = 'dl'", "account = 'zz'"),
        ("file_name = 'secret.csv'", "file_name = 'other.csv'"),
        ("file_name = ANY ('{secret.csv}')", "file_name = ANY ('{other.csv}')"),
        ("batch_id > 'b-2'", "batch_id > 'b-9'"),
        ("at > '2020-01-01'", "at > '2999-01-01'"),
    ],
)
def test_no_plan_reveals_what_others_have(shared: str, theirs: str, unused: str) -> None:
    """Neither estimates, nor the numbers of removed rows, nor parts that were not executed reveal anything."""
    ways = ("SET enable_seqscan = on", "SET enable_seqscan = off", "SET enable_bitmapscan = off")

    def plans(condition: str) -> list[str]:
        """Return the plans of each kind, without the condition itself, which stands above the security barrier."""
        asked = f"SELECT * FROM records_history.imports WHERE account <> 'ua' AND {condition}"
        explained = f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) {asked}"
        lines = [line for end in (1, 2, 3) for (line,) in ask(shared, *ways[:end], explained, role=READERS["ua"])]
        return [line for line in lines if not line.startswith("  Filter: ((imports.")]

    assert plans(theirs) == plans(unused)
    assert "Index Cond: (account = (InitPlan " in str(plans(theirs))


def test_a_reader_for_no_account_sees_nothing(read: str, postgres: Postgres) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        history(read, WITHOUT_ACCOUNT)
    name = database_of(read)
    postgres.execute(f"GRANT USAGE ON SCHEMA records_history TO {WITHOUT_ACCOUNT}", name)
    postgres.execute(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA records_history TO {WITHOUT_ACCOUNT}, {READERS['ua']}", name
    )
    for table in ("imports", "batches"):
        assert history(read, WITHOUT_ACCOUNT, table) == []
        assert {row["account"] for row in history(read, READERS["ua"], table)} == {"ua"}


def test_operators_of_other_roles_change_no_policy(read: str, store: RecordStore, postgres: Postgres) -> None:
    """All roles may create in the schema `public`, as before PostgreSQL 15."""
    postgres.execute("GRANT CREATE ON SCHEMA public TO PUBLIC", database_of(read))
    yes = "CREATE FUNCTION public.{0}({1}, {1}) RETURNS boolean LANGUAGE sql AS $$ SELECT $1::text = 'web_dl' $$"
    operator = "CREATE OPERATOR public.= (LEFTARG = {1}, RIGHTARG = {1}, FUNCTION = public.{0})"
    ask(read, yes.format("yes", "regrole"), operator.format("yes", "regrole"), role=READERS["ua"])

    store.initialise(load_record_types())

    assert {row["account"] for row in history(read, READERS["ua"])} == {"ua"}


def test_an_application_that_serves_several_accounts_sees_the_account_of_its_role(
    read: str, postgres: Postgres
) -> None:
    postgres.execute("CREATE ROLE web LOGIN")
    for role in READERS.values():
        postgres.execute(f"GRANT {role} TO web")
    query = "SELECT DISTINCT account FROM records_history.imports"
    assert ask(read, query, role="web") == []
    for account, role in READERS.items():
        assert ask(read, f"SET ROLE {role}", query, role="web") == [(account,)]
    postgres.execute("DROP ROLE web")


def test_the_keeper_is_bound_by_row_level_security_too(read: str, postgres: Postgres) -> None:
    assert len(history(read)) == 6
    postgres.execute("DROP POLICY store ON records_history.batches", database_of(read))
    assert history(read) == []
    assert {row["account"] for row in history(read, READERS["ua"])} == {"ua"}


def test_a_reader_cannot_hold_up_the_store_where_advisory_locks_are_not_everyones(
    read: str, store: RecordStore, postgres: Postgres
) -> None:
    """As the README says: a reader that may take the lock gets it."""
    ((key,),) = ask(read, f"SELECT {write_lock._KEY} WHERE pg_try_advisory_lock({write_lock._KEY})", role=READERS["ua"])
    name, of_the_kind = database_of(read), "proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$' AND pronargs = 1"
    found = postgres.execute(f"SELECT oid::regprocedure::text FROM pg_proc WHERE {of_the_kind}", name)
    functions = [function for (function,) in found]
    postgres.execute(f"REVOKE EXECUTE ON FUNCTION {', '.join(map(str, functions))} FROM PUBLIC", name)
    postgres.execute(f"GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO {KEEPER}", name)

    assert len(functions) == 8
    for function in functions:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(read, f"SELECT {str(function).replace('bigint', str(key))}", role=READERS["ua"])
    record_batch(store)
    assert history(read) == reported(store)


def test_roles_are_known_by_themselves_and_not_by_their_names(
    read: str, store: RecordStore, postgres: Postgres
) -> None:
    """Names that differ in case, that need quotes, and that other roles take over."""
    longest = "a" * 61 + "-_"
    record_batch(store, longest, file_name="of-the-longest.csv")
    roles = ('Web "ua".x', "WEB_DL", "ü" * 31)
    for role, account in zip(roles, ("ua", longest, longest), strict=True):
        postgres.execute(f"CREATE ROLE {_quoted(role)} LOGIN")
        assert store.grant_reader(account, role)
        (seen,) = ask(read, "SELECT DISTINCT account FROM records_history.imports", role=_in_address(role))
        assert seen == (account,)
    postgres.execute('ALTER ROLE "WEB_DL" RENAME TO "WEB_LONG"')
    postgres.execute('CREATE ROLE "WEB_DL" LOGIN')
    assert [row["account"] for row in history(read, "WEB_LONG")] == [longest]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        history(read, "WEB_DL")
    for role in (*roles, "WEB_LONG"):
        postgres.execute(f"DROP OWNED BY {_quoted(role)}", database_of(read))
        postgres.execute(f"DROP ROLE {_quoted(role)}")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def _in_address(role: str) -> str:
    return "".join(f"%{byte:02x}" for byte in role.encode())


# Grants


def test_a_reader_is_granted_and_revoked_by_the_command(read: str) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["accounts", "reader", *arguments])
        return result.exit_code, result.output

    role = READERS["ua"]
    assert run("ua", "--role", role) == (0, "web_ua reads the import history of ua, as before.\n")
    assert run("ua", "--role", role, "--revoke") == (0, "web_ua does not read the import history of ua.\n")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        history(read, role)
    assert run("ua", "--role", role, "--revoke", "--json") == (
        0,
        '{"account": "ua", "role": "web_ua", "reads": false, "changed": false}\n',
    )
    assert run("dl", "--role", role) == (0, "web_ua reads the import history of dl.\n")
    assert {row["account"] for row in history(read, role)} == {"dl"}


def test_a_role_reads_for_one_account(read: str, store: RecordStore) -> None:
    with pytest.raises(Refused, match="reads the import history of ua already") as raised:
        store.grant_reader("dl", READERS["ua"])
    assert raised.value.hint.endswith("or first: records accounts reader ua --role web_ua --revoke.")
    assert not store.revoke_reader("dl", READERS["ua"])
    assert {row["account"] for row in history(read, READERS["ua"])} == {"ua"}


def test_a_role_that_would_see_everything_is_refused(read: str, store: RecordStore, postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE unbound LOGIN BYPASSRLS")
    postgres.execute(f"CREATE ROLE member LOGIN IN ROLE {KEEPER}")
    for role in ("postgres", KEEPER, "unbound", "member"):
        with pytest.raises(Refused, match="would see every account"):
            store.grant_reader("ua", role)
    postgres.execute("DROP ROLE unbound, member")


def test_an_account_or_a_role_that_is_not_there_is_not_found(read: str, store: RecordStore) -> None:
    for change in (store.grant_reader, store.revoke_reader):
        with pytest.raises(NotFound, match="There is no account 'nobody'"):
            change("nobody", READERS["ua"])
        with pytest.raises(NotFound, match="PostgreSQL has no role 'nobody'"):
            change("ua", "nobody")


def test_what_was_not_made_cannot_be_granted(store: RecordStore, catalog: str) -> None:
    store.add_account("ua", "tester")
    ask(catalog, "DROP SCHEMA records_history CASCADE")
    with pytest.raises(StoreNotReady, match=r'relation "records_history\.readers" does not exist') as raised:
        store.grant_reader("ua", READERS["ua"])
    assert raised.value.hint.startswith("Run: records init.")


def test_a_catalog_in_sqlite_has_no_readers(empty_store: Path) -> None:
    with RecordStore(Settings.from_environment({"RECORDS_HOME": str(empty_store)})) as store:
        for change in (store.grant_reader, store.revoke_reader):
            with pytest.raises(InvalidRequest, match="a file of SQLite, which has no roles") as raised:
                change("ua", "web_ua")
            assert raised.value.hint.startswith("Readers need a catalog in PostgreSQL: RECORDS_CATALOG=")
        store.catch_up()
