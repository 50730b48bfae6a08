"""A wrong clock ends nothing before its time: the store refuses it, or treats nothing as older than it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.clock import Observation, ServerClock, SystemClock, file_time
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.store_mark import StoreMark
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus
from schemas.errors import ImplausibleClock
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackRequest
from tests.records import contact, contacts_of, stored, write_csv

YEAR = timedelta(days=365)


class Machine:
    """This machine's clock, and that of its file system, as a test sets them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead = self.files_ahead = timedelta(0)
        patch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + self.ahead)
        for user in ("resources.record_store.timekeeper", "resources.upkeep.leftovers"):
            patch.setattr(f"{user}.file_time", self._file_time)

    def _file_time(self, folder: Path) -> datetime | None:
        observed = file_time(folder)
        return None if observed is None else observed + self.files_ahead

    def jumps(self, by: timedelta) -> None:
        """Set all clocks of the machine ahead while it runs."""
        self.ahead = self.files_ahead = by


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(monkeypatch)
    yield machine
    machine.jumps(timedelta(0))


def imports(store: RecordStore, folder: Path, number: int) -> str:
    path = write_csv(folder / f"{number}.csv", [contact(number)])
    return Importer(store, "tester").import_file(contacts_of(path)).batch.batch_id


@pytest.mark.parametrize("ahead", [YEAR, timedelta(minutes=11), -timedelta(hours=1)])
@pytest.mark.runs_on("laptop", "postgres")
def test_a_process_with_another_clock_than_the_file_systems_changes_nothing(
    store: RecordStore, machine: Machine, tmp_path: Path, ahead: timedelta
) -> None:
    batch_id = imports(store, tmp_path, 1)
    manifest = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    preview = Importer(store, "tester").preview(contacts_of(write_csv(tmp_path / "2.csv", [contact(2)])))
    machine.ahead = ahead
    with RecordStore(store.settings) as wrong:
        for action in (
            lambda: imports(wrong, tmp_path, 3),
            lambda: Importer(wrong, "tester").commit("ua", preview.batch.batch_id),
            lambda: wrong.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None),
            lambda: Maintenance(wrong, "tester").expire(),
            lambda: Maintenance(wrong, "tester").maintain(),
            wrong.accept_clock,
        ):
            with pytest.raises(ImplausibleClock, match="The clock of this"):
                action()
    machine.ahead = timedelta(0)
    assert [batch.status for batch in store.batches()] == [BatchStatus.PREVIEWED, BatchStatus.COMMITTED]
    assert manifest.path.exists()
    assert store.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None).counts.removed == 1


@pytest.mark.runs_on("laptop", "postgres")
def test_a_clock_that_is_set_ahead_while_the_machine_runs_makes_nothing_older(
    store: RecordStore, machine: Machine, tmp_path: Path
) -> None:
    batch_id = imports(store, tmp_path, 1)
    manifest = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    machine.jumps(timedelta(days=20))
    with RecordStore(store.settings) as ahead:
        if store.settings.postgres is not None:
            with pytest.raises(ImplausibleClock):
                Maintenance(ahead, "tester").maintain()
        else:
            report = Maintenance(ahead, "tester").maintain()
            assert (report.expiry.expired, report.snapshots, report.exports.number) == ((), 0, 0)
            imports(ahead, tmp_path, 2)  # it may write, because a machine may have slept
            assert Maintenance(ahead, "tester").expire().expired == ()
    machine.jumps(timedelta(0))
    assert manifest.path.exists()
    assert store.account("ua").batch(batch_id).status is BatchStatus.COMMITTED


@pytest.mark.runs_on("laptop")
def test_after_a_month_without_an_entry_the_clock_is_to_be_confirmed(
    store: RecordStore, machine: Machine, tmp_path: Path
) -> None:
    batch_id = imports(store, tmp_path, 1)
    mark = StoreMark(store.settings.data)
    machine.jumps(timedelta(days=29))
    store.now()
    machine.jumps(timedelta(days=31))
    with pytest.raises(ImplausibleClock, match=r"31 days after the newest entry .* records accept clock"):
        Maintenance(store, "tester").expire()
    assert store.account("ua").batch(batch_id).status is BatchStatus.COMMITTED
    store.accept_clock()
    found = mark.read()
    assert found is not None
    assert found.seen.at - datetime.now(UTC) > timedelta(days=30)
    assert Maintenance(store, "tester").expire().expired == (batch_id,)
    assert len(stored(store)) == 1


def test_what_has_certainly_passed_is_no_more_than_the_machine_has_been_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SystemClock()
    first = clock.observe(None)
    assert abs(first.at - datetime.now(UTC)) < timedelta(seconds=5)
    with monkeypatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + YEAR)
        assert clock.observe(first).at - first.at < timedelta(seconds=5)
        other = Observation(first.at, "another start of the machine", first.uptime)
        assert clock.observe(other).at - first.at > timedelta(days=364)
    behind = Observation(first.at + YEAR, first.boot, first.uptime)
    assert clock.observe(behind).at < behind.at, "a clock that was set right again is believed"


@pytest.mark.parametrize(("minutes", "is_doubted"), [(9, False), (11, True), (-9, False), (-11, True)])
def test_two_clocks_may_differ_by_ten_minutes(minutes: int, is_doubted: bool) -> None:
    now = datetime.now(UTC)
    other = now + timedelta(minutes=minutes)
    assert (SystemClock().doubt(None, other) is not None) is is_doubted
    assert (ServerClock(lambda: other).doubt(None, None) is not None) is is_doubted
    assert SystemClock().doubt(now - timedelta(days=29), now) is None
    assert SystemClock().doubt(now - timedelta(days=31), now) is not None
    assert ServerClock(lambda: now).doubt(now - timedelta(days=400), None) is None
