"""The room of a store is the bytes of its files, each counted once."""

from datetime import timedelta
from pathlib import Path

import pytest

from resources.file_storage import files_below
from resources.health.space import measure_space
from resources.record_store import RecordStore
from resources.upkeep.maintenance import Maintenance
from schemas.space import Room, SpaceReport
from tests.inbox import arrive, lands
from tests.prepared import Prepared, starts_with
from tests.records import contact
from tests.test_damage import World, two_imports_and_a_preview


@pytest.fixture
def world(store: RecordStore, beginning: Prepared, tmp_path: Path) -> World:
    return World(store, tmp_path, *beginning.value)


@pytest.mark.runs_on("laptop", "postgres", "server")
@starts_with(two_imports_and_a_preview)
def test_every_byte_belongs_to_an_account_or_to_all(world: World) -> None:
    world.export()
    lands(world.store, "arrived.csv", [contact(200)])
    arrive(world.store)
    Maintenance(world.store, "tester").maintain()
    world.importer.discard("ua", world.previewed)
    settings, report = world.store.settings, measure_space(world.store)
    listed = {root: sum(it.bytes for it in files_below(root)) for root in (settings.accounts, settings.archive)}
    of_records = sum(it.bytes for it in files_below(settings.lake / "records"))
    room = report.room
    assert room.present + room.history == of_records
    assert room.staging + room.results + room.exports == listed[settings.accounts]
    assert room.archive == listed[settings.archive]
    assert min(vars(room)[name] for name in ("present", "history", "staging", "results", "exports", "archive")) > 0
    assert report.accounts.keys() == {("ua", "contacts")}
    assert 0 < report.reclaimable < room.total
    assert report.a_day > 0
    assert (report.free is None) == (not isinstance(settings.data, Path))


def test_the_disk_lasts_as_long_as_its_room_at_the_rate_of_the_last_days() -> None:
    report = SpaceReport({("ua", "contacts"): Room(present=5), ("", ""): Room(trash=2)}, 1, 2, 100, 7, 1_000)
    assert report.lasts == timedelta(days=10)
    assert report.to_dict()["total"] == vars(Room(present=5, trash=2)) | {"total": 7}
    assert SpaceReport({}, 0, 0, 0, 7, 1_000).lasts is None
