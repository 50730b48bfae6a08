"""SIGKILL during an erasure: nothing of others is ever missing, and the same command again completes it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.erasure.account_deletion import AccountDeletion
from resources.erasure.eraser import Eraser
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import OnInvalid
from schemas.erasure import ErasureRequest
from schemas.errors import NotFound
from schemas.exports import ExportRequest
from tests.canaries import COLUMNS, KEYS, WORDS, other, person, snapshots_of_others
from tests.every_byte import places_with
from tests.faults.copies import Copies
from tests.faults.steps import run
from tests.inbox import arrive, lands
from tests.records import contacts_of, stored, write_csv


@pytest.fixture
def with_people(copies: Copies, settings: Settings, tmp_path: Path) -> Copies:
    """Stores with a batch, a later one that changed it, rejects, an archived file, one that waits, and an export."""
    with RecordStore(settings) as store:
        importer = Importer(store, "tester")
        for name, rows in (
            ("first", [person(1), *(other(n) for n in range(30))]),
            ("second", [person(1, notes="canary, again"), other(3, notes="later"), person(2, amount="canary")]),
        ):
            file = write_csv(tmp_path / f"{name}.csv", rows, COLUMNS)
            importer.import_file(contacts_of(file), OnInvalid.SKIP)
        lands(store, "arrived.csv", [person(2), other(40)])
        arrive(store)
        importer.import_file(contacts_of(write_csv(tmp_path / "va.csv", [other(1), other(2)]), "va"))
        importer.preview(contacts_of(write_csv(tmp_path / "third.csv", [person(1, notes="third canary")], COLUMNS)))
        lands(store, "waits.csv", [person(1), other(41)])
        ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    return copies


def _erase(store: RecordStore) -> None:
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", KEYS))


def test_an_erasure_killed_at_any_step_is_completed_by_the_next(with_people: Copies) -> None:
    with RecordStore(with_people.settings) as store:
        before = snapshots_of_others(store)
    with with_people.one("undisturbed") as undisturbed:
        steps = run(_erase, undisturbed)
    assert steps > 40

    def is_completed(fatal: int) -> None:
        with with_people.one(f"killed-{fatal}") as killed:
            run(_erase, killed, fatal)
            with RecordStore(killed) as store:
                found = snapshots_of_others(store)
                assert {number: found[number] for number in before} == before, fatal
                waits = killed.inbox / "ua" / "contacts" / "waits.csv"
                assert other(41)["external_id"] in Path(str(waits)).read_text("utf-8")
                _erase(store)
                found = snapshots_of_others(store)
                assert {number: found[number] for number in before} == before, fatal
                assert not set(KEYS) & {row["external_id"] for row in stored(store)}, fatal
            assert places_with(killed.home, WORDS) == [], fatal

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(is_completed, [*range(1, steps, 24), steps]))


def _delete(store: RecordStore) -> None:
    AccountDeletion(store, "ua", "tester").delete()


def test_a_deletion_of_an_account_killed_at_any_step_is_completed_by_the_next(with_people: Copies) -> None:
    with RecordStore(with_people.settings) as store:
        kept = stored(store, account="va")
    with with_people.one("undisturbed") as undisturbed:
        steps = run(_delete, undisturbed)

    def is_completed(fatal: int) -> None:
        with with_people.one(f"killed-{fatal}") as killed:
            run(_delete, killed, fatal)
            with RecordStore(killed) as store:
                try:
                    _delete(store)
                except NotFound:
                    assert fatal > steps - 5, "it was done"
                assert stored(store, account="va") == kept
                assert stored(store) == []
                assert store.accounts() == ["va"]
                assert store.batches("ua") == []
            assert places_with(killed.home, WORDS) == [], fatal

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(is_completed, [*range(1, steps, 24), steps]))
