"""SIGKILL after every step of a repair: the same repair completes it, and a loss is recorded once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from resources.health.check import StoreCheck
from resources.health.repair import StoreRepair
from resources.record_store import RecordStore, lake_files, losses
from resources.trash import Trash
from resources.upkeep.maintenance import Maintenance
from schemas.checks import Remedy, RepairReport
from tests.faults.copies import Copies
from tests.faults.steps import run
from tests.prepared import starts_with
from tests.records import contact, contacts_of, stored, write_csv
from tests.test_damage import World, flip, two_imports_and_a_preview

pytestmark = [pytest.mark.runs_on("laptop"), starts_with(two_imports_and_a_preview)]


def _repair(store: RecordStore) -> RepairReport:
    return StoreRepair(store, "mender").run()


def _state(store: RecordStore) -> tuple[Any, ...]:
    """Return the records, the recorded losses, and what is wrong."""
    with store.reading() as connection:
        lost = [(it.path, it.records, it.batches, it.keys) for it in losses.recorded(connection)]
    return stored(store), stored(store, account="b6"), lost, StoreCheck(store).run().wrong


def _damage(store: RecordStore, folder: Path) -> None:
    """Leave a merged file to be made again, a file to be restored, and records to be lost."""
    Maintenance(store, "tester").maintain()
    world = World(store, folder, "", "")
    for number in range(2):
        path = write_csv(folder / f"b6-{number}.csv", [contact(number)])
        world.importer.import_file(contacts_of(path, "b6"))
    with store.reading() as connection:
        files = [it for it in lake_files.listed(connection) if it.schema == "records" and it.end is None]
    (merged,) = [it for it in files if it.account == "ua" and not it.is_delete]
    kept, lost = [store.settings.data / it.path for it in files if it.account == "b6"]
    flip(store.settings.data / merged.path)
    content = Path(str(kept)).read_bytes()
    Trash(store.settings).put(kept, store.clock.now())
    Path(str(kept)).write_bytes(content)
    for place in (kept, lost):
        flip(place)


def test_a_killed_repair_is_completed_by_the_next(copies: Copies, quick_reading: None, tmp_path: Path) -> None:
    with RecordStore(copies.settings) as store:
        _damage(store, tmp_path)
    with copies.one("undisturbed") as undisturbed:
        steps = run(_repair, undisturbed)
        with RecordStore(undisturbed) as store:
            mended = _state(store)
            assert _repair(store).repairs == ()
    assert [len(mended[0]), len(mended[1]), len(mended[2]), mended[3]] == [60, 1, 1, ()]
    assert steps > len(Remedy)

    def survives(fatal: int) -> int | None:
        with copies.one(f"killed-{fatal}") as killed:
            run(_repair, killed, fatal)
            with RecordStore(killed) as store:
                _repair(store)
                return None if _state(store) == mended else fatal

    # Every third step, because each one costs two repairs and a check.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert [step for step in pool.map(survives, [*range(2, steps, 3), steps]) if step is not None] == []
