"""The store itself: how it is made, extended, locked, numbered and laid out."""

import multiprocessing
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

import resources.record_store.sorting
import schemas
from resources.importing.importer import Importer
from resources.record_store import RecordStore, ledger
from resources.record_store.lake import METADATA, Connection
from resources.record_store.snapshots import images_of, snapshots_of
from resources.settings import Settings
from schemas import load_model, load_record_types
from schemas.counts import Counts
from schemas.errors import InvalidRequest, NotFound, StoreBusy, StoreNotReady
from schemas.model import Integer, RecordModel, Text, field
from schemas.record_type import Field, RecordType
from tests.conftest import StoppedClock
from tests.items import Items
from tests.object_server import on_disk
from tests.records import change, contact, contacts_of, put, stored, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")


def contacts() -> RecordType:
    return load_model("contacts").record_type()


def with_field(record_type: RecordType, added: Field) -> RecordType:
    return replace(record_type, fields=(*record_type.fields, added))


def test_initialise_is_safe_to_repeat(settings: Settings) -> None:
    with RecordStore(settings) as store:
        assert store.initialise(load_record_types()) == [
            "contacts is a new record type.",
            "flights is a new record type.",
        ]
        assert store.initialise(load_record_types()) == []
        assert list(store.record_types().values()) == load_record_types()


def test_a_new_store_has_one_version_of_its_schema(store: RecordStore) -> None:
    """A process loads each version that it needs. See `create_ledger`."""
    with store.reading() as connection:
        needed = connection.execute(f"SELECT schema_version FROM {METADATA}.ducklake_inlined_data_tables").fetch_all()
        newest = connection.fetch_one(f"SELECT max(schema_version) FROM {METADATA}.ducklake_snapshot")
    assert set(needed) == {newest}


def test_only_a_table_that_never_had_rows_is_not_read(store: RecordStore) -> None:
    def is_read(connection: Connection) -> tuple[bool, ...]:
        tables = ("ledger", "accounts"), ("records", "contacts")
        return tuple("WHERE false" not in connection.rows_of(*table) for table in tables)

    with store.reading() as connection:
        assert (is_read(connection), ledger.accounts(connection)) == ((False, False), [])
    with store.transaction("add", "tester", writes=()) as transaction:
        assert ledger.accounts(transaction.connection) == []
        transaction.append(ledger.append_account, transaction.at, "ua", "tester")
        assert ledger.accounts(transaction.connection) == ["ua"]  # which is not committed, and only in the catalog
    with store.reading() as connection:
        assert (is_read(connection), ledger.accounts(connection)) == ((True, False), ["ua"])
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    change(store, "DELETE FROM lake.records.contacts")
    with store.reading() as connection:
        assert is_read(connection) == (True, True)


@pytest.mark.runs_on("laptop", "postgres")
def test_descriptions_are_read_once_and_again_when_another_process_has_added_one(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Connection] = []
    described = ledger._described

    def observed(connection: Connection) -> dict[str, RecordType]:
        read.append(connection)
        return described(connection)

    monkeypatch.setattr(ledger, "_described", observed)
    monkeypatch.setattr(ledger, "_DESCRIBED", {})
    before = store.record_types()
    assert (store.record_types(), len(read)) == (before, 1)
    with RecordStore(store.settings) as other:
        other.initialise([Items.record_type()])
    read.clear()
    after = store.record_types()
    assert after == before | {"items": Items.record_type()}
    assert (store.record_types(), len(read)) == (after, 1)


@pytest.mark.runs_on("laptop", "postgres")
def test_the_snapshot_of_each_batch_is_found_among_many(store: RecordStore) -> None:
    made = {
        name: put(store, f"SELECT 'C-{name}' AS external_id, 's' AS status", batch_id=name)
        for name in ("b-0", "b-1", "b-2")
    }
    put(store, "SELECT 'C-4' AS external_id, 's' AS status")
    with store.reading() as connection:
        wanted = ["b-0", "b-2", "b-none", *(f"b-{number:04}" for number in range(1_200))]
        assert snapshots_of(connection, wanted) == {name: made[name] for name in ("b-0", "b-2")}
        assert images_of(connection, "b-1") == (made["b-1"] - 1, made["b-1"])
        assert images_of(connection, "b-none") is None


def test_a_refusal_leaves_the_lake_attached_and_nothing_written(store: RecordStore) -> None:
    def refused() -> list[Any]:
        with pytest.raises(NotFound):
            store.owner_of("b-none")
        with pytest.raises(NotFound), store.transaction("add", "tester", writes=()) as transaction:  # noqa: PT012
            transaction.append(ledger.append_account, transaction.at, "ua", "tester")
            store.record_type("none")
        return store._lake._idle.copy()

    assert refused() == refused()
    assert store.accounts() == []
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    assert (store.accounts(), len(stored(store))) == (["ua"], 1)


def test_an_initialisation_that_was_killed_is_completed_also_for_a_type_that_has_changed_since(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with RecordStore(settings) as store:
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "append_record_type", killed)
            with pytest.raises(KeyboardInterrupt):
                store.initialise(load_record_types())
        changed = with_field(contacts(), Field("score", "integer"))

        assert store.initialise([changed]) == ["contacts is a new record type."]

        with store.reading() as connection:
            connection.execute("SELECT * FROM lake.records.contacts")
            assert connection.columns == ["_account", "_batch", *changed.field_names]


def test_a_table_with_records_of_another_program_is_left_alone(store: RecordStore) -> None:
    with store.transaction("of another program", "tester", apart=True) as transaction:
        transaction.connection.execute("CREATE TABLE lake.records.orders AS SELECT 7 AS number")
    orders = replace(contacts(), name="orders")

    with pytest.raises(StoreNotReady, match="with records that this store did not write"):
        store.initialise([orders])

    with store.reading() as connection:
        assert connection.fetch_one("SELECT number FROM lake.records.orders") == (7,)


def test_two_can_initialise_at_once(settings: Settings) -> None:
    def initialise() -> None:
        with RecordStore(settings) as store:
            done.extend(store.initialise(load_record_types()))

    done: list[str] = []
    threads = [threading.Thread(target=initialise) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == ["contacts is a new record type.", "flights is a new record type."]


def test_without_a_store_the_error_names_records_init(settings: Settings) -> None:
    with RecordStore(settings) as store, pytest.raises(StoreNotReady, match=r"There is no store in .* records init"):
        store.batches()
    assert not settings.home.exists()


def test_a_catalog_without_tables_is_no_store(settings: Settings) -> None:
    with RecordStore(settings) as store:
        settings.home.mkdir()
        settings.lake.mkdir()
        with store._lake.attached():  # a crash while the store is made leaves this
            pass
        with pytest.raises(StoreNotReady):
            store.batches()
        with pytest.raises(StoreNotReady):
            store.add_account("ua", "tester")
        store.initialise(load_record_types())
        assert store.batches() == []


def test_a_type_may_gain_fields_that_may_be_null(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    report = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))
    grown = with_field(contacts(), Field("score", "decimal(5,1)"))

    assert store.initialise([grown]) == ["contacts has gained score."]

    assert stored(store)[0]["score"] is None
    assert store.record_type("contacts") == grown
    with store.reading(report.snapshot) as connection:
        assert connection.execute("SELECT count(*) FROM lake.records.contacts").fetch_all() == [(1,)]
    with pytest.raises(StoreNotReady, match=r"The record type contacts has changed.*records init"):
        importer.preview(contacts_of(tmp_path / "a.csv", again=True))


def test_a_preview_does_not_survive_a_change_of_its_type(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    batch_id = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)]))).batch.batch_id
    store.initialise([with_field(contacts(), Field("score", "integer"))])

    with pytest.raises(schemas.errors.PreviewOutdated, match="the record type contacts has changed since"):
        importer.commit("ua", batch_id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: replace(it, fields=it.fields[:-1]), "notes was removed"),
        (lambda it: with_field(it, Field("score", "integer", required=True)), "score is new and required"),
        (lambda it: replace(it, key=("external_id", "status")), "the key was external_id and is external_id, status"),
        (
            lambda it: replace(
                it, fields=tuple(replace(f, type="text") if f.name == "amount" else f for f in it.fields)
            ),
            r"amount was decimal\(18,2\) and is text",
        ),
    ],
)
def test_any_other_change_of_a_type_is_refused(store: RecordStore, change: Any, why: str) -> None:
    with pytest.raises(StoreNotReady, match=f"{why}.*export from the old type and import into the new one"):
        store.initialise([change(contacts())])
    assert store.record_type("contacts") == contacts()


def test_reading_cannot_write(store: RecordStore) -> None:
    for snapshot in (None, 1):
        with store.reading(snapshot) as connection, pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("DELETE FROM lake.ledger.record_types")


def test_accounts_are_added_once(store: RecordStore) -> None:
    assert [store.add_account(name, "tester") for name in ("ua", "b6", "ua")] == [True, True, False]
    assert store.accounts() == ["b6", "ua"]
    with pytest.raises(InvalidRequest):
        store.add_account("No Account", "tester")


def test_an_unknown_type_names_those_there_are(store: RecordStore) -> None:
    with pytest.raises(NotFound, match="There are: contacts, flights"):
        store.record_type("orders")


def test_records_lie_by_account_and_sorted_by_key(importer: Importer, settings: Settings, tmp_path: Path) -> None:
    numbers = [7, 3, 9, 1, 5]
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", map(contact, numbers))))

    (file,) = on_disk(settings.lake).glob("records/contacts/**/*.parquet")
    assert file.parent.name == "_account=ua"
    keys = duckdb.read_parquet(str(file)).project("external_id").fetchall()
    assert keys == [(f"C-{number:06}",) for number in sorted(numbers)]


def test_what_is_too_much_for_one_sort_is_sorted_in_parts(
    importer: Importer, store: RecordStore, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [number * 7919 % 20_000 for number in range(20_000)]
    first, whole = (write_csv(tmp_path / f"{to}.csv", map(contact, numbers[:to])) for to in (10, 20_000))
    importer.import_file(contacts_of(first))
    monkeypatch.setattr(resources.record_store.sorting, "_SORTED_BYTES", 100_000)
    counts = importer.import_file(contacts_of(whole)).batch.counts

    assert counts == Counts(read=20_000, created=19_990, unchanged=10)
    assert sorted(row["external_id"] for row in stored(store)) == [f"C-{number:06}" for number in range(20_000)]
    files = list(on_disk(settings.lake).glob("records/contacts/**/*.parquet"))
    assert len(files) > 5
    for file in files:
        keys = duckdb.read_parquet(str(file)).project("external_id").fetchall()
        assert keys == sorted(keys)
        assert len(keys) < 12_000


def test_a_transition_of_a_batch_costs_no_file(importer: Importer, settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1)])
    for _ in range(3):
        importer.discard("ua", importer.preview(contacts_of(path)).batch.batch_id)

    assert not list(settings.lake.glob("ledger/batches/**/*.parquet"))


def test_the_ledger_is_numbered_without_gaps(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1)])
    importer.import_file(contacts_of(path))
    importer.discard("ua", importer.preview(contacts_of(path, again=True)).batch.batch_id)

    with store.reading() as connection:
        numbers = connection.execute(
            "SELECT seq FROM lake.ledger.batches UNION ALL SELECT seq FROM lake.ledger.accounts "
            "UNION ALL SELECT seq FROM lake.ledger.record_types UNION ALL SELECT seq FROM lake.ledger.files "
            "ORDER BY seq"
        ).fetch_all()
        batch_numbers = [
            seq for (seq,) in connection.execute("SELECT seq FROM lake.ledger.batches ORDER BY seq").fetch_all()
        ]
    assert numbers == [(n,) for n in range(1, len(numbers) + 1)]
    assert [number for number, _ in store.ledger_after(0, 100).rows] == batch_numbers
    assert [number for number, _ in store.ledger_after(batch_numbers[0], 2).rows] == batch_numbers[1:3]


def test_the_ledger_never_goes_back_in_time(
    settings: Settings, empty_store: Path, clock: StoppedClock, tmp_path: Path
) -> None:
    with RecordStore(settings, clock=clock) as store:
        store.initialise(load_record_types())
        importer = Importer(store, "tester")
        path = write_csv(tmp_path / "a.csv", [contact(1)])
        first = importer.preview(contacts_of(path)).batch
        clock.advance(hours=-5)
        second = importer.preview(contacts_of(path)).batch

    assert second.at == first.at == clock.time + timedelta(hours=5)


def _hold_lock(settings: Settings, held: Any) -> None:
    with RecordStore(settings) as store, store.write_lock:
        held.set()
        signal.pause()


def test_a_lock_that_is_held_makes_the_store_busy(store: RecordStore, settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold_lock, args=(settings, held))
    holder.start()
    try:
        assert held.wait(60)
        with RecordStore(replace(settings, lock_seconds=0.2)) as impatient, pytest.raises(StoreBusy) as raised:
            impatient.add_account("ua", "tester")
        assert raised.value.transient
        holder.kill()  # the operating system frees the lock of a dead process
        assert store.add_account("ua", "tester")
    finally:
        holder.kill()
        holder.join()


class Odd(RecordModel):
    """Fields with names that are SQL keywords."""

    at: Text = field("A keyword of time travel.", required=True)
    order: Integer = field("A keyword.", required=True)
    select: Text = field("Another.")
    record: Integer = field("A name that the store uses itself, but for the underscore.")

    class Config:
        name = "group"
        metadata = {"key": ("order", "at")}


def test_names_that_are_sql_are_only_names(store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(schemas.RECORD_TYPES, "group", f"{__name__}:Odd")
    store.initialise([Odd.record_type()])
    rows = [{"at": "'; DROP TABLE x; --", "order": "1", "select": 'a"b', "record": "2"}]
    request = replace(contacts_of(write_csv(tmp_path / "a.csv", rows)), record_type="group", again=True)

    assert Importer(store, "tester").import_file(request).batch.counts == Counts(read=1, created=1)
    assert Importer(store, "tester").import_file(request).batch.counts == Counts(read=1, unchanged=1)
    (row,) = stored(store, "group")
    assert (row["at"], row["order"], row["select"], row["record"]) == ("'; DROP TABLE x; --", 1, 'a"b', 2)
