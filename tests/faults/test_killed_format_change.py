"""SIGKILL after every step of a change of a store's format: the store has the old format or the new one."""

from pathlib import Path

from resources.health.check import StoreCheck
from resources.record_store import RecordStore
from resources.record_store.store_format import FORMAT
from resources.record_store.tables import LEDGER
from resources.settings import Settings
from schemas import load_record_types
from tests.faults.steps import run, settings_of
from tests.older_stores import FIRST, unpack
from tests.records import stored
from tests.test_store_format import OF_NUMBER, columns


def _change(store: RecordStore) -> None:
    store.initialise(load_record_types(), change_format=True)


def _whole_format(store: RecordStore) -> int:
    """Compare the tables, and the number of checksums, with those of the format. Returns its number."""
    number = store.state().format
    later = {name for names in OF_NUMBER[number + 1 :] for name in names}
    found = {(table, column) for table, column, _ in columns(store)}
    assert {table for table, _ in found} == LEDGER.keys() - later
    assert (("exports", "detail") in found) == (number >= 1)
    if number >= 2:
        with store._lake.attached(read_only=True) as connection:
            (checksums,) = connection.fetch_one("SELECT count(checksum) FROM lake.ledger.files")
        assert checksums >= 4
    return number


def test_a_killed_change_leaves_a_whole_format(tmp_path: Path, quick_reading: None) -> None:
    def one(name: str) -> Settings:
        unpack(FIRST, tmp_path / name)
        return settings_of(tmp_path / name)

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
                _change(store)
                assert (_whole_format(store), stored(store, account="demo")) == (FORMAT, expected)
                assert not StoreCheck(store, fast=True).run().wrong
        reached.append(number)
    assert reached == sorted(reached)
    assert {*reached} == {*range(FORMAT + 1)}
