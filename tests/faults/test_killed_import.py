"""SIGKILL after every statement and every rename of an import: the whole batch is there, or nothing of it."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.counts import Counts
from schemas.errors import AlreadyImported
from tests.faults.copies import Copies
from tests.faults.steps import run
from tests.records import contact, contacts_of, stored, write_csv


def _import(path: Path, store: RecordStore) -> None:
    Importer(store, "tester").import_file(contacts_of(path))


def _contents(store: RecordStore) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "_batch"} for row in stored(store)]


def _again(store: RecordStore, path: Path) -> Counts | str:
    """Run the same import again; returns its counts, or the batch that has imported the file already."""
    try:
        return Importer(store, "tester").import_file(contacts_of(path)).batch.counts
    except AlreadyImported as refusal:
        (batch_id,) = [batch.batch_id for batch in store.batches() if batch.batch_id in refusal.message]
        return batch_id


@pytest.mark.runs_on("laptop", "postgres")
def test_an_import_killed_at_any_step_is_whole_or_nothing(copies: Copies, settings: Settings, tmp_path: Path) -> None:
    first = write_csv(tmp_path / "first.csv", [contact(n, company="old") for n in range(20)])
    second = write_csv(
        tmp_path / "second.csv", [contact(n, company="old" if n == 10 else "new") for n in range(10, 30)]
    )
    with RecordStore(settings) as store:
        Importer(store, "tester").import_file(contacts_of(first))
        before = _contents(store)
    action = partial(_import, second)
    with copies.one("undisturbed") as undisturbed:
        steps = run(action, undisturbed, from_first_rename=True)
        with RecordStore(undisturbed) as store:
            after = _contents(store)
    assert steps > 6
    assert before != after

    def survives(fatal: int) -> bool:
        with copies.one(f"killed-{fatal}") as killed:
            run(action, killed, fatal, from_first_rename=True)
            with RecordStore(killed) as store:
                found = _contents(store)
                committed = [batch for batch in store.batches() if batch.status is BatchStatus.COMMITTED]
                assert found == (after if len(committed) == 2 else before), fatal
                assert {row["_batch"] for row in stored(store)} <= {batch.batch_id for batch in committed}
                again = _again(store, second)
                assert _contents(store) == after, fatal
        landed = committed[0].batch_id if found == after else None
        whole = Counts(read=20, created=10, updated=9, unchanged=1)
        assert again == (landed or whole), fatal
        return bool(found == after)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        landed = list(pool.map(survives, copies.fatal(steps)))
    # After the commit, every later kill leaves the whole batch; before it, nothing.
    assert landed == sorted(landed)
    assert set(landed) == {False, True}
