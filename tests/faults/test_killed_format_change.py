"""SIGKILL after every step of the changes of a store's format: it has the old format or the new one."""

import shutil
from pathlib import Path

from resources.health.check import StoreCheck
from resources.record_store import RecordStore, lake_files
from resources.record_store.identity import claim
from resources.record_store.store_format import FORMAT
from resources.record_store.tables import LEDGER, create_ledger
from resources.settings import Settings
from schemas import load_record_types
from tests.faults.steps import run, settings_of
from tests.older_stores import FIRST, unpack
from tests.records import stored
from tests.test_store_format import OF_NUMBER, columns


def _change(store: RecordStore) -> None:
    """Make all changes, as `initialise` does."""
    with store.write_lock, store.taking_older():
        for change in store.lacking_changes():
            store._change_format(change, None)


def _whole_format(store: RecordStore) -> int:
    """Compare the tables, and the checksums, with those of the format. Returns its number."""
    number = store.state().format
    later = {name for names in OF_NUMBER[number + 1 :] for name in names}
    found = {(table, column) for table, column, _ in columns(store)}
    assert {table for table, _ in found} == LEDGER.keys() - later
    assert (("exports", "detail") in found) == (number >= 1)
    if number >= 2:
        with store._lake.attached(read_only=True) as connection:
            assert lake_files.without_checksum(connection, store.settings.data) == []
    return number


def test_a_killed_change_leaves_a_whole_format(tmp_path: Path, quick_reading: None) -> None:
    unpack(FIRST, tmp_path / "older")
    with RecordStore(settings_of(tmp_path / "older")) as store, store._lake.attached() as connection:
        create_ledger(connection, (), FORMAT)  # as `initialise` does before the changes: only DuckLake's settings
        claim(connection, store.settings, store._mark, store._times.observe(None))
        assert store.state().format == 0

    def one(name: str) -> Settings:
        return settings_of(Path(shutil.copytree(tmp_path / "older", tmp_path / name)))

    undisturbed = one("undisturbed")
    steps = run(_change, undisturbed)
    with RecordStore(undisturbed) as store:
        assert _whole_format(store) == FORMAT
        expected = stored(store, account="demo")
    reached: list[int] = []
    for fatal in range(1, steps + 1):
        settings = one(f"{fatal}")
        run(_change, settings, fatal)
        with RecordStore(settings) as store:
            number = _whole_format(store)
            if number not in reached:  # the next one completes it
                store.initialise(load_record_types(), change_format=True)
                assert (_whole_format(store), stored(store, account="demo")) == (FORMAT, expected)
                assert not StoreCheck(store, fast=True).run().wrong
        reached.append(number)
    assert reached == sorted(reached)
    assert {*reached} == {*range(FORMAT + 1)}
