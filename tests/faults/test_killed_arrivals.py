"""Whatever is killed while files arrive, the next does the rest: each file is in one place, and imported once."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.record_store import RecordStore
from schemas.batches import BatchStatus
from tests.faults.steps import run, settings_of
from tests.inbox import arrive, kinds, lands
from tests.records import contact, stored


@pytest.fixture
def template(empty_store: Path, tmp_path: Path) -> Path:
    """A home with a file that can be imported, one that cannot, and one whose account is unknown, in its inbox."""
    home = shutil.copytree(empty_store, tmp_path / "template")
    with RecordStore(settings_of(home)) as store:
        store.add_account("ua", "tester")
        lands(store, "bad.csv", [contact(9)]).write_text("")
        lands(store, "good.csv", [contact(1), contact(2)])
        lands(store, "lost.csv", [contact(3)], "nobody/contacts")
    return home


def _require_done(store: RecordStore, told: object) -> None:
    """Each file lies where it belongs, and the ledger has one batch of each that could be hashed."""
    where = kinds(store)
    del where["WHY.txt"]
    assert where == {"good.csv": ["archive"], "bad.csv": ["quarantine"], "lost.csv": ["quarantine"]}, told
    states = [batch.status for batch in store.batches()]
    assert sorted(states) == [BatchStatus.COMMITTED, BatchStatus.FAILED], told
    assert len(stored(store)) == 2
    assert list(store.settings.processing.iterdir()) == []
    assert {len(list(path.parent.iterdir())) for path in store.settings.quarantine.rglob("WHY.txt")} == {2}


def test_an_arrival_killed_at_any_step_is_completed_by_the_next(
    template: Path, tmp_path: Path, quick_reading: None
) -> None:
    undisturbed = shutil.copytree(template, tmp_path / "undisturbed")
    steps = run(arrive, undisturbed)
    with RecordStore(settings_of(undisturbed)) as store:
        _require_done(store, "undisturbed")

    def survives(fatal: int) -> str:
        home = shutil.copytree(template, tmp_path / f"killed-{fatal}")
        run(arrive, home, fatal)
        with RecordStore(settings_of(home)) as store:
            found = kinds(store)
            assert {name: len(found[name]) for name in ("good.csv", "bad.csv", "lost.csv")} == {
                "good.csv": 1,
                "bad.csv": 1,
                "lost.csv": 1,
            }, fatal
            arrive(store)
            _require_done(store, fatal)
        shutil.rmtree(home)
        return found["good.csv"][0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(survives, range(1, steps + 1)))
    assert list(dict.fromkeys(seen)) == ["inbox", "processing", "archive"]
