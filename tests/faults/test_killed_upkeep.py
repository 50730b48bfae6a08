"""SIGKILL after every step of a rollback, of expiry and of maintenance: whole or nothing, and the next completes it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resources.clock import Observation
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.timekeeper import Timekeeper
from resources.settings import Settings
from resources.upkeep import maintenance
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus, OnInvalid
from schemas.rollbacks import OnModified, RollbackRequest
from tests.faults.copies import Copies
from tests.faults.steps import Action, run
from tests.records import contact, contacts_of, stored, write_csv

State = tuple[Any, ...]


def _roll_back(batch_id: str, store: RecordStore) -> None:
    request = RollbackRequest("ua", batch_id, OnModified.MERGE)
    store.account("ua").roll_back(request, "tester", None)


class _LaterClock:
    """A clock that is more than two windows ahead."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=49)

    def observe(self, last: Observation | None) -> Observation:
        return Observation(self.now())

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> None:
        """Doubt nothing: the test sets this clock on purpose."""


def _later(store: RecordStore) -> Maintenance:
    """Return the maintenance of the store after all windows have ended, in a process of the test's own."""
    for name in ("READING_FOR", "UNKNOWN_FOR"):
        setattr(maintenance, name, timedelta(0))
    store._times = Timekeeper(_LaterClock(), store.settings.scratch)
    return Maintenance(store, "tester")


def _expire(store: RecordStore) -> None:
    _later(store).expire()


def _maintain(store: RecordStore) -> None:
    _later(store).maintain()


def _state(store: RecordStore) -> State:
    """Return the records, and the status of each batch."""
    return stored(store), sorted((batch.file_name, batch.status) for batch in store.batches())


def _lake(store: RecordStore) -> tuple[set[str], set[str]]:
    """Return the Parquet files in the lake's folder, and those that the catalog lists."""
    present = {path.name for path in store.settings.lake.rglob("*.parquet")}
    tables = "ducklake_data_file UNION ALL SELECT path FROM __ducklake_metadata_lake.ducklake_delete_file"
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT path FROM __ducklake_metadata_lake.{tables} "
            "UNION ALL SELECT path FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion"
        ).fetch_all()
    return present, {Path(path).name for (path,) in rows}


@pytest.fixture
def with_history(copies: Copies, settings: Settings, tmp_path: Path) -> Copies:
    """Stores with a preview, and with a committed batch over an older one: a record was edited since, one rejected."""
    rows = [
        [contact(n, company="old", phone="1") for n in range(10)],
        [*(contact(n, company="new", phone="1") for n in range(5, 15)), contact(20, status="unknown")],
        [contact(99)],
    ]
    files = [write_csv(tmp_path / f"{number}.csv", content) for number, content in enumerate(rows)]
    with RecordStore(settings) as store:
        importer = Importer(store, "tester")
        for file in files[:2]:
            importer.import_file(contacts_of(file), OnInvalid.SKIP)
        importer.preview(contacts_of(files[2]))
        with store.transaction("an edit", "editor") as transaction:
            transaction.connection.execute(
                "UPDATE lake.records.contacts SET phone = '2' WHERE external_id = 'C-000006'"
            )
            transaction.connection.execute("DELETE FROM lake.records.contacts WHERE external_id = 'C-000001'")
    return copies


def _killed_everywhere(
    action: Action, copies: Copies, check: Callable[[RecordStore, int], bool], least: int = 5
) -> list[bool]:
    """Kill the action at each of its steps; returns what the check finds each time, in their order."""
    with copies.one("undisturbed") as undisturbed:
        steps = run(action, undisturbed)
    assert steps > least

    def survives(fatal: int) -> bool:
        with copies.one(f"killed-{fatal}") as killed:
            run(action, killed, fatal)
            with RecordStore(killed) as store:
                return check(store, fatal)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(survives, copies.fatal(steps)))


@pytest.mark.runs_on("laptop", "postgres")
def test_a_killed_rollback_is_whole_or_nothing(with_history: Copies) -> None:
    with RecordStore(with_history.settings) as store:
        before = _state(store)
        (second,) = [batch.batch_id for batch in store.batches(status=BatchStatus.COMMITTED) if batch.counts.updated]
    action = partial(_roll_back, second)
    with with_history.one("whole") as whole, RecordStore(whole) as store:
        action(store)
        after = _state(store)

    def check(store: RecordStore, fatal: int) -> bool:
        found = _without_batch(_state(store))
        assert found in (_without_batch(before), _without_batch(after)), fatal
        action(store)
        assert _without_batch(_state(store)) == _without_batch(after), fatal
        return found == _without_batch(after)

    landed = _killed_everywhere(action, with_history, check)
    assert landed == sorted(landed)
    assert set(landed) == {False, True}


def _without_batch(state: State) -> State:
    """Remove the batch of each record, because the rollback that merges a record has another id each time."""
    records, batches = state
    return [{name: value for name, value in record.items() if name != "_batch"} for record in records], batches


@pytest.mark.runs_on("laptop", "postgres")
def test_a_killed_expiry_is_completed_by_the_next(with_history: Copies) -> None:
    with RecordStore(with_history.settings) as store:
        records, open_batches = _state(store)
    closed = {BatchStatus.COMMITTED: BatchStatus.EXPIRED, BatchStatus.PREVIEWED: BatchStatus.DISCARDED}
    all_closed = [(name, closed[status]) for name, status in open_batches]

    def check(store: RecordStore, fatal: int) -> bool:
        found, batches = _state(store)
        assert found == records
        is_landed: bool = batches == all_closed
        assert is_landed or batches == open_batches, fatal
        run(_expire, store.settings)
        assert _state(store) == (records, all_closed), fatal
        folders = [
            path for kind in ("staging", "reports", "rejects") for path in store.account("ua").folder(kind).iterdir()
        ]
        assert [folder.parent.name for folder in folders] == ["reports"], "of the preview, for a day more"
        return is_landed

    landed = _killed_everywhere(_expire, with_history, check)
    assert landed == sorted(landed)
    assert landed.count(True) > 1, "files are removed after the ledger says so"


@pytest.mark.runs_on("laptop", "postgres")
def test_a_killed_maintenance_changes_no_record_and_is_completed_by_the_next(with_history: Copies) -> None:
    run(_expire, with_history.settings)  # another test is about this
    with RecordStore(with_history.settings) as store:
        records = stored(store)

    def check(store: RecordStore, fatal: int) -> bool:
        assert stored(store) == records, fatal
        run(_maintain, store.settings)
        assert stored(store) == records, fatal
        present, known = _lake(store)
        assert present == known, fatal
        return True

    assert all(_killed_everywhere(_maintain, with_history, check, least=10))
