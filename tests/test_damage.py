"""A reader finds a byte that has changed on the disk, and never returns it as a value."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from mmap import mmap
from pathlib import Path

import pytest

from resources.export_writer import ExportWriter
from resources.file_storage import files_below
from resources.importing.importer import Importer
from resources.migration import Migration
from resources.record_store import RecordStore, lake_files
from resources.settings import Settings
from resources.upkeep import maintenance
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus
from schemas.errors import DamagedFile
from schemas.exports import ExportRequest
from schemas.location import Location
from schemas.rollbacks import RollbackRequest
from tests.object_server import on_disk
from tests.prepared import Prepared, an_empty_store, starts_with
from tests.records import change, contact, contacts_of, stored, write_csv


def flip(place: Location, position: float = 0.5) -> None:
    """Change one bit of a file and keep its times."""
    path = on_disk(place)
    status, content = path.stat(), bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 1 << random.Random(position).randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def decaying(place: Location) -> Iterator[Callable[[], None]]:
    """Yield a function that flips a bit of a file and back, as a failing disk does: no time of the file changes.

    The system sets the times at the first change through memory, and not again before it has flushed the change.
    """
    with on_disk(place).open("r+b") as file, mmap(file.fileno(), 0) as content:

        def flip() -> None:
            content[len(content) // 2] ^= 1

        flip()
        flip()
        yield flip


def two_imports_and_a_preview(settings: Settings, folder: Path) -> tuple[str, str]:
    """Fill a store: the second import updates records. Returns the batches of that import and of a preview."""
    an_empty_store(settings, folder)
    files = [
        write_csv(folder / "old.csv", [contact(n, company="old", notes=f"of {n}") for n in range(40)]),
        write_csv(folder / "new.csv", [contact(n, company="new", notes=f"of {n}") for n in range(30, 60)]),
        write_csv(folder / "next.csv", [contact(n, company="next") for n in range(50, 70)]),
    ]
    with RecordStore(settings) as store:
        importer = Importer(store, "tester")
        _, second = [importer.import_file(contacts_of(file)).batch.batch_id for file in files[:2]]
        return second, importer.preview(contacts_of(files[2])).batch.batch_id


pytestmark = [pytest.mark.runs_on("laptop", "server"), starts_with(two_imports_and_a_preview)]


class World:
    """An account with a preview and two imports; the second import has updated records."""

    def __init__(self, store: RecordStore, folder: Path, second: str, previewed: str) -> None:
        self.store, self.folder, self.second, self.previewed = store, folder, second, previewed
        self.importer, self.ua = Importer(store, "tester"), store.account("ua")

    def files(self, kind: str) -> list[Location]:
        """Return the lake's files of records, or of deletions."""
        files = [file.place for file in files_below(self.store.settings.lake / "records" / "contacts")]
        return [file for file in files if ("-delete" in file.name) == (kind == "deletions")]

    def flip(self, place: Location, position: float = 0.5) -> None:
        """Change one bit of a file. The store is closed, so that it keeps no copies of objects."""
        flip(place, position)
        self.store.__exit__()

    def export(self) -> object:
        return ExportWriter(self.store, "tester").export(ExportRequest("ua", "contacts"))

    def commit(self) -> object:
        return self.importer.commit("ua", self.previewed)

    def roll_back(self) -> object:
        return self.ua.roll_back(RollbackRequest("ua", self.second), "tester", None)

    def merge(self) -> object:
        return Maintenance(self.store, "tester").maintain()

    def migrate(self) -> object:
        return Migration(self.store, str(self.folder / "there"), str(self.folder / "there")).run()


@pytest.fixture
def world(store: RecordStore, beginning: Prepared, tmp_path: Path) -> World:
    return World(store, tmp_path, *beginning.value)


@pytest.mark.parametrize("action", [World.export, World.commit, World.roll_back, World.merge, World.migrate])
@pytest.mark.parametrize("kind", ["records", "deletions"])
def test_a_damaged_file_of_the_lake_is_named_with_what_it_touches(
    world: World, action: Callable[[World], object], kind: str
) -> None:
    damaged = world.files(kind)[0]
    states, records = [batch.status for batch in world.store.batches()], stored(world.store)
    world.flip(damaged)
    with pytest.raises(DamagedFile) as found:
        action(world)
    assert str(damaged) in found.value.message
    assert "records of account ua, written by b-" in found.value.message
    assert [batch.status for batch in world.store.batches()] == states
    world.flip(damaged)
    assert stored(world.store) == records
    assert not list(files_below(world.ua.folder("exports")))


@pytest.mark.runs_on("laptop")
@pytest.mark.parametrize("action", [World.export, World.commit, World.roll_back, World.merge, World.migrate])
@pytest.mark.parametrize("kind", ["records", "deletions"])
def test_an_open_store_finds_a_bit_that_flips_after_its_file_was_compared(
    world: World, action: Callable[[World], object], kind: str
) -> None:
    damaged = world.files(kind)[0]
    with decaying(damaged) as flip:
        world.export()
        flip()
        with pytest.raises(DamagedFile, match=damaged.name):
            action(world)
        flip()
        action(world)


@pytest.mark.runs_on("laptop")
def test_an_open_store_finds_a_bit_of_a_preview_that_flips_after_it_was_compared(world: World) -> None:
    before = stored(world.store)
    with decaying(world.ua.folder("staging") / world.previewed / "records.parquet") as flip:
        world.ua.require_whole(world.previewed)
        flip()
        with pytest.raises(DamagedFile, match=r"records\.parquet has other bytes than"):
            world.commit()
    assert stored(world.store) == before


@pytest.mark.runs_on("laptop")
def test_one_operation_reads_a_file_once_for_its_checksum(world: World) -> None:
    place = world.files("records")[0]
    with decaying(place) as flip:
        with world.store.operation() as checksums, world.store.reading() as connection:
            digest = checksums.of(place)
            flip()
            assert connection.checksums.of(place) == digest
        with world.store.reading() as connection:
            assert connection.checksums.of(place) != digest


def test_a_file_of_the_lake_that_is_cut_off_or_gone_is_named(world: World) -> None:
    damaged = on_disk(world.files("records")[0])
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-100])
    with pytest.raises(DamagedFile, match=f"has {len(content) - 100:,} bytes, and {len(content):,} were written"):
        world.export()
    damaged.unlink()
    with pytest.raises(DamagedFile, match="is missing"):
        world.export()


def test_records_that_arrive_damaged_are_an_error_in_a_sentence(world: World) -> None:
    """The messages of DuckDB's decoder ("TProtocolException: Invalid data", "Out of buffer") name no file."""
    file = on_disk(next(place for place in world.files("records")))
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    with pytest.raises(DamagedFile, match="cannot be read"), world.store.reading() as connection:
        connection.execute("SELECT * FROM lake.records.contacts").fetch_all()


@pytest.mark.parametrize("name", ["records.parquet", "excluded.parquet", "problems.parquet"])
def test_what_was_staged_is_compared_before_it_is_committed(world: World, name: str) -> None:
    before = stored(world.store)
    world.flip(world.ua.folder("staging") / world.previewed / name)
    with pytest.raises(DamagedFile, match=f"{name} has other bytes than"):
        world.commit()
    assert stored(world.store) == before
    assert world.ua.batch(world.previewed).status is BatchStatus.PREVIEWED


def test_a_page_and_a_file_of_rejects_are_compared(world: World) -> None:
    path = write_csv(world.folder / "rejected.csv", [contact(1, status="unknown")])
    batch_id = world.importer.preview(contacts_of(path)).batch.batch_id
    world.ua.require_whole(batch_id)
    report = world.ua.report(batch_id)
    for place in report.files.values():
        world.flip(place)
        with pytest.raises(DamagedFile, match=place.name):
            world.ua.require_whole(batch_id)
        world.flip(place)
    world.ua.require_whole(batch_id)


def test_a_merge_goes_on_where_nothing_is_damaged_and_reports_at_the_end(world: World) -> None:
    for number in range(2):
        path = write_csv(world.folder / f"b6-{number}.csv", [contact(number)])
        world.importer.import_file(contacts_of(path, "b6"))
    change(world.store, "DELETE FROM lake.records.contacts WHERE external_id = 'C-000001' AND _account = 'b6'")
    world.flip(next(file for file in world.files("records") if "_account=ua" in str(file)))
    with pytest.raises(DamagedFile):
        world.merge()
    assert len(stored(world.store, account="b6")) == 1


def test_a_replaced_file_stays_until_its_replacement_was_read_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(map(str, world.files("records")))
    assert Maintenance(world.store, "tester").maintain().merged > 1
    with world.store.reading() as connection:
        named = {Path(file.path).name for file in lake_files.named(connection)}
    (merged,) = [file for file in world.files("records") if file.name in named and str(file) not in before]
    monkeypatch.setattr(maintenance, "READING_FOR", timedelta(0))
    world.flip(merged)
    with pytest.raises(DamagedFile, match=merged.name):
        world.merge()
    assert before <= set(map(str, world.files("records"))), "what was merged is all there is"
    world.flip(merged)
    assert Maintenance(world.store, "tester").maintain().old_files.number > 1
    assert [file.name for file in world.files("records") if file.name not in named] == []
    assert len(stored(world.store)) == 60


@pytest.mark.parametrize("position", [0.02, 0.3, 0.5, 0.99, None])
def test_a_damaged_description_of_record_types_describes_nothing(world: World, position: float | None) -> None:
    for file in [file.place for file in files_below(world.store.settings.lake / "ledger" / "record_types")]:
        content = on_disk(file).read_bytes()
        if position is None:
            on_disk(file).write_bytes(content[:-20])
        else:
            world.flip(file, position)
        with RecordStore(world.store.settings) as again, pytest.raises(DamagedFile, match=file.name):
            again.record_types()
        on_disk(file).write_bytes(content)
