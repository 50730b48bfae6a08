"""A long history is read by an index, and searches for open batches begin after the settled row."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore, ledger, ledger_exports
from resources.record_store.lake import Connection
from resources.record_store.value_mappings import known_values
from schemas import load_record_types
from schemas.arrivals import Arrival, CommitPolicy
from schemas.batches import BatchStatus, OnInvalid
from schemas.exports import ExportRequest
from schemas.reading import DateOrder
from tests.benchmarks.history_store import fill
from tests.records import contact, contacts_of, write_csv


@pytest.fixture
def history(store: RecordStore, importer: Importer, tmp_path: Path) -> RecordStore:
    """A store with 300 closed batches of ten accounts, and then an open one."""
    previewed = importer.preview(contacts_of(write_csv(tmp_path / "first.csv", [contact(1)]))).batch.batch_id
    with RecordStore(replace(store.settings, rollback_hours=1e-6)) as short:  # the time of its commit ends at once
        Importer(short, "tester").commit("ua", previewed, OnInvalid.ABORT)
        short.expire_batches("tester")
    fill(store, 300, 10)
    importer.import_file(contacts_of(write_csv(tmp_path / "c.csv", [contact(3)])))
    return store


def states(store: RecordStore) -> dict[str, BatchStatus]:
    return {batch.batch_id: batch.status for batch in store.batches()}


def test_all_reads_agree_with_and_without_the_rows_in_the_catalog(history: RecordStore) -> None:
    by_index = (history.batches("account-00003"), history.batches(limit=20, offset=5), history.batches("ua", limit=2))
    named = history.batches_named([batch.batch_id for batch in by_index[1]])
    with history.reading() as connection:
        assert connection.kept_in_catalog.keys() >= {"batches", "files", "accounts"}
        connection.is_present = False  # so that DuckLake reads all rows
        assert ledger.batches(connection, account="account-00003") == by_index[0]
        assert ledger.batches(connection, limit=20, offset=5) == by_index[1]
        assert ledger.batches(connection, account="ua", limit=2) == by_index[2]
        assert ledger.batches_named(connection, [batch.batch_id for batch in by_index[1]]) == named
    assert len(by_index[0]) == 30
    assert len(by_index[1]) == 20


def test_an_open_batch_is_never_settled(history: RecordStore) -> None:
    before = states(history)
    history.settle()
    with history.reading() as connection:
        reached = ledger.settled(connection)
        last = {batch.batch_id: seq for seq, batch in ledger.unsettled(connection)}
    committed = {batch_id for batch_id, status in before.items() if status is BatchStatus.COMMITTED}
    assert reached > 1000
    assert committed <= last.keys()
    assert all(seq > reached for seq in last.values())
    assert history.batches(status=BatchStatus.COMMITTED)


def test_a_store_without_indexes_reads_the_same_and_gets_them(history: RecordStore) -> None:
    def indexes() -> list[str]:
        with closing(sqlite3.connect(history.settings.catalog)) as catalog:
            found = "SELECT name FROM sqlite_master WHERE type = 'index' AND name GLOB 'records_*' ORDER BY name"
            return [name for (name,) in catalog.execute(found)]

    made, before = indexes(), history.batches("account-00003")
    with closing(sqlite3.connect(history.settings.catalog)) as catalog:
        for name in made:
            catalog.execute(f'DROP INDEX "{name}"')
        catalog.commit()
    assert indexes() == []
    assert history.batches("account-00003") == before
    history.initialise(load_record_types())
    assert indexes() == made
    assert made


@pytest.mark.runs_on("laptop", "postgres")
def test_searches_for_parts_of_batches_agree_with_and_without_the_rows_in_the_catalog(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    taught = importer.import_file(
        contacts_of(write_csv(tmp_path / "a.csv", [contact(1), {**contact(2), "status": "x"}])), OnInvalid.SKIP
    )
    arrived = []
    for number in range(2):
        arrival = Arrival(f"a-20260101-00000000{number}-abcdef-people", CommitPolicy(), since=0)
        request = contacts_of(write_csv(tmp_path / f"{number}.csv", [contact(number)]))
        arrived.append(importer.import_file(replace(request, arrival=arrival, date_order=DateOrder.DMY)).batch)
    assert taught.rejects_file is not None
    mended = tmp_path / "mended.csv"
    mended.write_text(taught.rejects_file.read_text().replace(",x,", ",lead,"))
    importer.import_file(contacts_of(mended))
    importer.import_file(replace(contacts_of(write_csv(tmp_path / "a.csv", [contact(5)])), account="other"))

    sha256, remembered = arrived[0].file_sha256, arrived[0].remembered
    assert remembered is not None

    def found(connection: Connection) -> tuple[Any, ...]:
        return (
            ledger.earlier_commits(connection, "ua", "contacts", sha256, remembered.header_row),
            ledger.earlier_commits(connection, "ua", "contacts", "", "another"),
            known_values(connection, "ua", "contacts"),
            ledger.arrivals(connection, "a-20260101-000000001-abcdef", {"ua", "other"}),
            ledger.arrived(connection, "ua", 2),
            ledger_exports.exports(connection, account="ua", limit=1),
            ledger_exports.latest_exports(connection, "contacts"),
        )

    for _ in range(2):
        ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", path=tmp_path / "out.csv"))
    with store.reading() as connection:
        by_index = found(connection)
        connection.is_present = False  # so that DuckLake reads all rows
        assert found(connection) == by_index
    like_it, with_options, values, of_bundle, last, exports, latest = by_index
    assert (like_it.of_file, with_options.of_file) == (arrived[0], None)
    assert [it.batch_id for it in with_options.with_options] == [arrived[1].batch_id]
    assert [(it.mapping.text, it.mapping.value) for it in values] == [("x", "lead")]
    assert of_bundle == {"a-20260101-000000001-abcdef-people": arrived[1]}
    assert last == [arrived[1], arrived[0]]
    assert [it.path for it in exports] == [tmp_path / "out.csv"]
    assert latest == exports
