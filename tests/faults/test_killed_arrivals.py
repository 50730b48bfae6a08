"""After a kill while files arrive, the next process does the rest: each file is in one place, imported once."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import BatchStatus
from tests.faults.copies import Copies
from tests.faults.steps import run
from tests.inbox import arrive, kinds, lands
from tests.records import contact, stored


@pytest.fixture
def arrivals(copies: Copies, settings: Settings) -> Copies:
    """Stores with three files in the inbox: one valid, one invalid, and one of an unknown account."""
    with RecordStore(settings) as store:
        store.add_account("ua", "tester")
        lands(store, "bad.csv", [contact(9)]).write_text("")
        lands(store, "good.csv", [contact(1), contact(2)])
        lands(store, "lost.csv", [contact(3)], "nobody/contacts")
    return copies


def _require_done(store: RecordStore, context: object) -> None:
    """Check that each file lies where it belongs, and that the ledger has one batch of each readable one."""
    where = kinds(store)
    del where["WHY.txt"]
    assert where == {"good.csv": ["archive"], "bad.csv": ["quarantine"], "lost.csv": ["quarantine"]}, context
    states = [batch.status for batch in store.batches()]
    assert sorted(states) == [BatchStatus.COMMITTED, BatchStatus.FAILED], context
    assert len(stored(store)) == 2
    assert list(store.settings.processing.iterdir()) == []
    assert {len(list(path.parent.iterdir())) for path in store.settings.quarantine.rglob("WHY.txt")} == {2}


@pytest.mark.runs_on("laptop", "postgres")
def test_an_arrival_killed_at_any_step_is_completed_by_the_next(arrivals: Copies, quick_reading: None) -> None:
    with arrivals.one("undisturbed") as undisturbed:
        steps = run(arrive, undisturbed)
        with RecordStore(undisturbed) as store:
            _require_done(store, "undisturbed")

    def survives(fatal: int) -> str:
        with arrivals.one(f"killed-{fatal}") as killed:
            run(arrive, killed, fatal)
            with RecordStore(killed) as store:
                found = kinds(store)
                assert {name: len(found[name]) for name in ("good.csv", "bad.csv", "lost.csv")} == {
                    "good.csv": 1,
                    "bad.csv": 1,
                    "lost.csv": 1,
                }, fatal
                arrive(store)
                _require_done(store, fatal)
        return found["good.csv"][0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(survives, arrivals.fatal(steps)))
    assert list(dict.fromkeys(seen)) == ["inbox", "processing", "archive"]
