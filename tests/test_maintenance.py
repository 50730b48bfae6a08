"""Batches end with their window. Maintenance removes what is no longer needed, and nothing else."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.clock import new_id
from resources.file_storage import files_below
from resources.importing.importer import Importer
from resources.record_store import RecordStore, compaction
from resources.record_store.lake_files import EVERYWHERE
from resources.record_store.store_mark import StoreMark, Writing
from resources.settings import Settings
from resources.upkeep import leftovers
from resources.upkeep.maintenance import Maintenance
from schemas.batches import Batch, BatchStatus, OnInvalid
from schemas.counts import Counts
from schemas.errors import Refused, WindowOver
from schemas.exports import ExportRequest
from schemas.maintenance import ExpiryReport, MaintenanceReport, Removed
from schemas.rollbacks import RollbackCounts, RollbackRequest
from tests.object_server import on_disk
from tests.prepared import an_empty_store, starts_with
from tests.records import change, contact, contacts_of, put, stored, write_csv
from tests.timeline import Timeline, store_of


def a_store_of_the_past(settings: Settings, _: Path) -> None:
    """Make an empty store with a history on its timeline."""
    store_of(settings)[0].__exit__()


pytestmark = [pytest.mark.runs_on("laptop", "server"), starts_with(a_store_of_the_past)]

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
DAY = timedelta(hours=24)
ALL = {"staging", "reports", "rejects"}


class World:
    """A store with a clock that the test sets, and contacts of `ua` to import."""

    def __init__(self, store: RecordStore, clock: Timeline, folder: Path) -> None:
        self.store, self.clock, self.folder, self.files = store, clock, folder, 0
        self.importer = Importer(store, "tester")
        self.ua = store.account("ua")
        self.maintenance = Maintenance(store, "tester")

    def file(self, *numbers: int, **fields: str) -> Path:
        self.files += 1
        return write_csv(self.folder / f"{self.files}.csv", [contact(n, **fields) for n in numbers])

    def imports(self, *numbers: int, **fields: str) -> str:
        return self.importer.import_file(contacts_of(self.file(*numbers, **fields))).batch.batch_id

    def previews(self, *numbers: int, **fields: str) -> str:
        return self.importer.preview(contacts_of(self.file(*numbers, **fields))).batch.batch_id

    def rolls_back(self, batch_id: str) -> RollbackCounts:
        return self.ua.roll_back(RollbackRequest("ua", batch_id), "tester", None).counts

    def maintains(self) -> MaintenanceReport:
        self.clock.stamp()
        return self.maintenance.maintain()

    def snapshots(self) -> list[int]:
        with self.store.reading() as connection:
            rows = connection.execute("SELECT snapshot_id FROM ducklake_snapshots('lake') ORDER BY 1").fetch_all()
            return [snapshot for (snapshot,) in rows]

    def record_files(self) -> list[str]:
        with self.store.reading() as connection:
            rows = connection.execute(
                "SELECT data_file FROM ducklake_list_files('lake', 'contacts', schema => 'records')"
            ).fetch_all()
            return [path for (path,) in rows]

    def folders(self, batch_id: str) -> set[str]:
        """Return the kinds of folders that the batch has."""
        return {kind for kind in ("staging", "reports", "rejects") if (self.ua.folder(kind) / batch_id).exists()}


@pytest.fixture
def world(settings: Settings, ready: None, quick_reading: None, tmp_path: Path) -> Iterator[World]:
    clock = Timeline(settings)
    with RecordStore(settings, clock=clock) as store:
        yield World(store, clock, tmp_path)


def batch(status: BatchStatus) -> Batch:
    made = Batch("b-1", "ua", "contacts", status, "tester", AT, "in.csv", "", Counts())
    return replace(made, committed_at=None if status is BatchStatus.PREVIEWED else AT)


@pytest.mark.parametrize("status", [BatchStatus.PREVIEWED, BatchStatus.COMMITTED])
def test_the_time_of_a_batch_ends_to_the_second(status: BatchStatus) -> None:
    assert batch(status).open_until(DAY) == AT + DAY
    at = [AT + DAY + timedelta(seconds=seconds) for seconds in (-1, 0, 1)]
    assert [batch(status).is_over(now, DAY) for now in at] == [False, True, True]


@pytest.mark.parametrize("status", [BatchStatus.EXPIRED, BatchStatus.DISCARDED, BatchStatus.ROLLED_BACK])
def test_a_closed_batch_has_no_time(status: BatchStatus) -> None:
    assert batch(status).open_until(DAY) is None
    assert not batch(status).is_over(AT + 9 * DAY, DAY)


def test_batches_expire_and_previews_are_discarded_with_their_files(world: World) -> None:
    mistaken = world.file(1, 2, status="unknown")
    committed = world.importer.import_file(contacts_of(mistaken), OnInvalid.SKIP).batch.batch_id
    previewed = world.previews(3)
    world.clock.advance(hours=23, minutes=59, seconds=59)
    young = world.previews(4)
    assert world.maintenance.expire() == ExpiryReport((), (), Removed())
    assert (world.folders(committed), world.folders(previewed)) == (ALL, {"staging", "reports"})

    world.clock.advance(seconds=1)
    report = world.maintenance.expire()

    assert (report.expired, report.discarded, report.removed.number) == ((committed,), (previewed,), 4)
    assert report.removed.bytes > 1000
    assert (world.folders(committed), world.folders(previewed)) == (set(), {"reports"})
    assert world.folders(young) == {"staging", "reports"}
    statuses = {found.batch_id: (found.status, found.actor) for found in world.store.batches()}
    assert statuses[committed] == (BatchStatus.EXPIRED, "tester")
    assert statuses[previewed] == (BatchStatus.DISCARDED, "tester")
    assert world.maintenance.expire() == ExpiryReport((), (), Removed())
    with pytest.raises(WindowOver, match="until 2026-01-06 09:30:00 UTC"):
        world.rolls_back(committed)
    with pytest.raises(Refused, match="only a previewed batch can be committed"):
        world.importer.commit("ua", previewed)

    world.clock.advance(hours=24)
    assert world.maintenance.expire().removed.number == 2  # the report of the one, and the staged files of the other
    assert (world.folders(previewed), world.folders(young)) == (set(), {"reports"})


def test_a_preview_is_committed_within_its_time_only(world: World) -> None:
    previewed = world.previews(1)
    world.clock.advance(hours=24)
    with pytest.raises(WindowOver, match=f"The preview {previewed} could be committed until 2026-01-06 09:30:00 UTC"):
        world.importer.commit("ua", previewed)
    assert stored(world.store) == []


def test_what_a_crash_left_is_swept_when_it_is_old_enough(world: World) -> None:
    world.imports(1)
    batch_id = new_id("b", world.clock.time)
    left = [world.ua.folder("staging") / f".{batch_id}.0123abcd.partial", world.ua.folder("rejects") / batch_id]
    left.append(world.store.settings.folder("never-previewed", "staging") / f".{batch_id}.0123abcd.partial")
    foreign = world.ua.folder("staging") / "of-the-operator"
    on_disk(foreign).mkdir()
    made = world.clock.time.timestamp()
    for folder in map(on_disk, left):
        folder.mkdir(parents=True)
        (folder / "records.parquet").write_bytes(b"x" * 1000)
        for place in (folder / "records.parquet", folder):
            os.utime(place, (made, made))
    assert world.maintenance.expire().removed == Removed()
    world.clock.advance(hours=23)
    assert world.maintenance.expire().removed == Removed()
    world.clock.advance(hours=1)
    removed = world.maintenance.expire().removed
    assert not any(folder.exists() for folder in left)
    assert removed.number >= 3
    assert removed.bytes >= 3000
    assert on_disk(foreign).exists(), "the store has not made it"


def test_what_a_killed_process_left_in_the_scratch_folder_is_swept_a_day_later(world: World) -> None:
    scratch = world.store.settings.scratch
    old, new = scratch / "fetched-old" / "in.csv", scratch / "fetched-new" / "in.csv"
    for file in (old, new):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 10)
    yesterday = datetime.now(UTC).timestamp() - DAY.total_seconds()
    for place in (old, old.parent):
        os.utime(place, (yesterday, yesterday))
    world.clock.advance(days=30)  # the store's clock does not apply to files of this machine
    assert world.maintenance.expire().removed == Removed(1, 10)
    assert (old.parent.exists(), new.exists()) == (False, True)


def test_an_import_after_three_quiet_weeks_can_be_rolled_back_after_maintenance(world: World) -> None:
    world.imports(*range(5), company="old")
    world.clock.advance(days=21)
    before = stored(world.store)
    batch_id = world.imports(*range(3, 8), company="new")
    world.clock.advance(minutes=1)

    report = world.maintains()

    assert report.snapshots > 0, "what was before the first import is gone"
    assert world.rolls_back(batch_id) == RollbackCounts(removed=3, restored=2)
    assert stored(world.store) == before


def test_snapshots_are_kept_for_a_rollback_and_the_rollback_of_it(world: World) -> None:
    batch_id = world.imports(1)
    world.clock.advance(hours=23, minutes=59)
    world.rolls_back(batch_id)
    rollback_id = world.store.batches()[0].batch_id
    world.clock.advance(hours=23, minutes=59)
    world.maintains()
    assert world.rolls_back(rollback_id) == RollbackCounts(restored=1)
    assert [row["external_id"] for row in stored(world.store)] == ["C-000001"]
    kept = world.snapshots()
    world.clock.advance(days=4)
    world.maintains()
    assert set(world.snapshots()).isdisjoint(kept[:-1])


def test_small_files_become_one_that_is_sorted_and_history_stays(world: World) -> None:
    for number in range(4):
        world.imports(number, number + 10)
    batch_id = world.imports(5, 6)
    with_all = stored(world.store)
    assert len(world.record_files()) == 5

    report = world.maintains()

    (file,) = world.record_files()
    with world.store.reading() as connection:
        rows = connection.execute("SELECT external_id FROM read_parquet(?)", [file]).fetch_all()
    assert [key for (key,) in rows] == sorted(key for (key,) in rows)
    assert (report.merged, report.written) == (5, 1)
    assert stored(world.store) == with_all
    assert world.rolls_back(batch_id) == RollbackCounts(removed=2)
    assert world.maintains().merged == 0


def test_files_with_many_deletions_are_rewritten_and_removed_past_the_horizon(world: World) -> None:
    world.imports(*range(10), company="old")
    batch_id = world.imports(*range(5), company="new")
    world.rolls_back(batch_id)
    before = stored(world.store)

    report = world.maintains()

    assert report.rewritten > 0
    assert stored(world.store) == before
    assert report.old_files == Removed()
    assert report.storage.held > 0, "the window holds back what was before"
    world.clock.advance(days=2, seconds=1)
    world.maintains()  # these files are obsolete, but a process that reads them may go on for a day
    world.clock.advance(days=1, seconds=1)
    later = world.maintains()
    assert later.old_files.number > 0
    assert later.reclaimed >= later.old_files.bytes > 0
    assert later.storage == replace(report.storage, held=0, current=later.storage.current)
    assert stored(world.store) == before


def test_a_preview_stays_true_over_maintenance(world: World) -> None:
    world.imports(1, company="old")
    world.imports(2, company="old")
    previewed = world.previews(1, 2, 3, company="new")
    assert world.maintains().merged == 2
    assert world.importer.commit("ua", previewed).batch.counts == Counts(read=3, created=1, updated=2)


def test_what_a_killed_writer_left_goes_to_the_trash_and_what_others_put_there_stays(world: World) -> None:
    world.imports(1)
    lake, mark = world.store.settings.lake / "records" / "contacts", StoreMark(world.store.settings.data)
    foreign, alike, left = (lake / name for name in ("notes.parquet", "ducklake-1.parquet", "ducklake-2.parquet"))
    for file in (foreign, alike):
        file.write_bytes(b"x" * 1000)
        old = datetime.now(UTC).timestamp() - 3600
        os.utime(on_disk(file), (old, old))
    found = mark.read()
    assert found is not None
    mark.write(replace(found, writing=Writing(EVERYWHERE, datetime.now(UTC))))  # like a process that begins to write
    left.write_bytes(b"x" * 1000)

    world.imports(2)  # the next writer records what the other has left
    assert world.maintains().orphans == Removed()
    world.clock.advance(hours=24)
    report = world.maintains()

    assert report.orphans == Removed(1, 1000)
    assert [file.exists() for file in (foreign, alike, left)] == [True, True, False]
    assert report.unknown == ("lake/records/contacts/ducklake-1.parquet",)
    (kept,) = [file.place for file in files_below(world.store.settings.trash) if file.place.name == left.name]
    assert kept.parent.name == "contacts"
    assert len(stored(world.store)) == 2
    world.clock.advance(days=7)
    assert world.maintains().trash.number >= 1
    assert not kept.exists()


def test_exports_and_archived_files_are_kept_for_days(world: World) -> None:
    from resources.export_writer import ExportWriter

    world.imports(1)
    outside = world.folder / "mine.csv"
    exports = [
        ExportWriter(world.store, "tester").export(ExportRequest("ua", "contacts", path=path))
        for path in (None, outside)
    ]
    archive = world.store.settings.archive / "ua" / "contacts"
    archived, others = archive / new_id("b", world.clock.time) / "in.csv", archive / "of-the-operator" / "in.csv"
    for file in (archived, others):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 10)
    put_there = next(iter(files_below(world.store.settings.archive))).put_at
    world.clock.advance(days=6, hours=23)
    assert world.maintains().exports == Removed()
    world.clock.advance(hours=1)
    assert world.maintains().exports.number == 1
    assert [manifest.path.exists() for manifest in exports] == [False, True]
    world.clock.stamp()
    world.clock.time = put_there + timedelta(days=29)
    assert world.maintains().archived == Removed()
    world.clock.advance(days=1)
    assert world.maintains().archived == Removed(1, 10)
    assert (archived.exists(), others.exists()) == (False, True)


def test_a_clock_that_jumped_back_is_reported_and_does_not_give_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    batch_id = world.imports(1)
    world.clock.advance(hours=24)
    world.previews(2)
    world.clock.time -= timedelta(hours=3)
    with caplog.at_level(logging.WARNING), pytest.raises(WindowOver):
        world.rolls_back(batch_id)
    assert "behind the ledger by 3:00:00" in caplog.text
    assert "2026-01-06 06:30:00 UTC" in caplog.text


@pytest.mark.parametrize("hours", [0.001, 1000])
def test_the_window_of_a_batch_is_the_one_it_was_promised(world: World, hours: float) -> None:
    before = world.imports(0)
    batch_id = world.imports(1)
    previewed = world.previews(2)
    world.clock.advance(hours=23)
    with RecordStore(replace(world.store.settings, rollback_hours=hours), clock=world.clock) as other:
        report = Maintenance(other, "tester").maintain()
        assert (report.expiry, report.snapshots) == (ExpiryReport((), (), Removed()), 0)
    assert world.rolls_back(batch_id) == RollbackCounts(removed=1)
    assert world.importer.commit("ua", previewed).batch.status is BatchStatus.COMMITTED
    world.clock.advance(hours=1)
    with RecordStore(replace(world.store.settings, rollback_hours=1000), clock=world.clock) as other:
        assert Maintenance(other, "tester").expire().expired == (before,)


def test_a_batch_without_its_earlier_images_cannot_be_rolled_back(world: World) -> None:
    world.imports(0)
    batch_id = world.imports(1)
    with world.store.transaction("expire snapshots", "tester", writes=()) as transaction:
        compaction.expire_snapshots(transaction.connection, world.snapshots()[:-1])
    with pytest.raises(WindowOver, match="are no longer kept, so it cannot be rolled back"):
        world.rolls_back(batch_id)


@starts_with(an_empty_store)
def test_a_snapshot_is_read_as_it_was_after_its_files_were_rewritten(store: RecordStore) -> None:
    """DuckLake's statistics are those of the newest snapshot, and DuckDB would use them for an older one."""
    put(
        store,
        "SELECT 'C-' || lpad(i::VARCHAR, 3, '0') AS external_id, 'lead' AS status, "
        "CASE WHEN i >= 60 THEN NULL ELSE i END::DECIMAL(18,2) AS amount FROM range(100) t(i)",
    )
    snapshot = put(store, "SELECT 'D' AS external_id, 'lead' AS status")
    change(store, "DELETE FROM lake.records.contacts WHERE external_id >= 'C-060'")

    assert Maintenance(store, "tester").maintain().rewritten == 1

    with store.reading(snapshot) as connection:
        found = connection.fetch_one(
            """
            SELECT (SELECT count(*) FROM lake.records.contacts WHERE external_id >= 'C-070'),
                (SELECT count(*) FROM lake.records.contacts WHERE amount IS NULL),
                (SELECT count(amount) FROM lake.records.contacts)
            """
        )
    assert found == (31, 41, 60)


@pytest.mark.runs_on("laptop")
def test_a_sweep_looks_at_recent_accounts_and_at_a_part_of_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_OTHER_ACCOUNTS", 2)
    folders = {
        name: on_disk(world.store.settings.folder(name, "reports")) / new_id("b", world.clock.time)
        for name in ("recent", "a", "b", "c", "d", "e")
    }
    made = world.clock.time.timestamp()
    for folder in folders.values():
        folder.mkdir(parents=True)
        os.utime(folder, (made, made))
    world.clock.advance(days=2)

    def left() -> set[str]:
        leftovers.sweep_batches(world.store, ["recent"])
        return {name for name, folder in folders.items() if folder.exists()}

    first = left()
    assert "recent" not in first
    assert len(first) in (3, 4)
    assert any(not left() for _ in range(200))
