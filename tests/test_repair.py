"""A repair restores what has a copy, makes again what can be made again, and marks the rest as lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from resources.backup import Backup, BackupPlace
from resources.erasure.eraser import Eraser
from resources.export_writer import ExportWriter
from resources.file_storage import entries, files_below
from resources.health.check import StoreCheck
from resources.health.repair import StoreRepair
from resources.health.sources import BackupSource
from resources.importing.importer import Importer
from resources.record_store import RecordStore, lake_files
from resources.trash import Trash
from resources.upkeep.maintenance import Maintenance
from schemas.batches import OnInvalid
from schemas.checks import Kind, Remedy, RepairReport
from schemas.erasure import ErasureRequest
from schemas.errors import NotFound, Refused
from schemas.exports import ExportRequest
from schemas.rollbacks import OnModified, RollbackRequest
from tests.object_server import on_disk
from tests.prepared import Prepared, an_empty_store, starts_with
from tests.records import contact, contacts_of, stored, write_csv
from tests.test_damage import World, two_imports_and_a_preview

pytestmark = [pytest.mark.runs_on("laptop", "postgres", "server"), starts_with(two_imports_and_a_preview)]


@pytest.fixture
def world(store: RecordStore, beginning: Prepared, tmp_path: Path) -> World:
    return World(store, tmp_path, *beginning.value)


def repaired(store: RecordStore, *, dry_run: bool = False) -> RepairReport:
    return StoreRepair(store, "mender").run(dry_run=dry_run)


def remedies(report: RepairReport) -> list[Remedy]:
    return [repair.remedy for repair in report.repairs]


def wrong(store: RecordStore) -> list[Kind]:
    return [it.kind for it in StoreCheck(store).run().wrong]


@pytest.mark.parametrize("kind", ["records", "deletions"])
def test_a_file_is_restored_from_the_trash_and_the_damaged_one_is_kept_there(world: World, kind: str) -> None:
    records, damaged = stored(world.store), world.files(kind)[0]
    whole = on_disk(damaged).read_bytes()
    Trash(world.store.settings).put(damaged, world.store.clock.now())
    on_disk(damaged).write_bytes(whole)
    world.flip(damaged)
    before = on_disk(damaged).read_bytes()
    planned = repaired(world.store, dry_run=True)
    assert remedies(planned) == [Remedy.RESTORE]
    assert on_disk(damaged).read_bytes() == before
    assert repaired(world.store).repairs == planned.repairs
    assert on_disk(damaged).read_bytes() == whole
    assert stored(world.store) == records
    assert wrong(world.store) == []
    assert repaired(world.store).repairs == ()
    kept = [on_disk(it / lake_path(damaged)).read_bytes() for it in entries(world.store.settings.trash)]
    assert sorted(kept) == sorted([before, whole]) or len(kept) == 1


def test_files_are_restored_from_a_backup(world: World, tmp_path: Path) -> None:
    store, place = world.store, str(tmp_path / "backups")
    export = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    with pytest.raises(NotFound, match="There are no backups in"):
        BackupSource(place, store.settings)
    Backup(store, BackupPlace(place, store.settings)).run()
    staged = next(file.place for file in files_below(store.settings.folder("ua", "staging")))
    damaged = [world.files("records")[0], staged, export.path]
    whole = [on_disk(it).read_bytes() for it in damaged]
    for each in damaged:
        world.flip(each)
    sources = [BackupSource(place, store.settings)]
    done = StoreRepair(store, "mender", sources=sources).run()
    assert remedies(done) == [Remedy.RESTORE] * 3
    assert [on_disk(it).read_bytes() for it in damaged] == whole
    assert wrong(store) == []


def test_the_command_looks_in_the_last_backup(world: World, tmp_path: Path) -> None:
    place, gone = tmp_path / "backups", tmp_path / "gone"

    def ran(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(main, ["repair", "--dry-run", "--json", *arguments])
        return done.exit_code, json.loads(done.stdout)

    Backup(world.store, BackupPlace(str(place), world.store.settings)).run()
    world.flip(world.files("records")[0])
    assert [it["remedy"] for it in ran()[1]["repairs"]] == ["restore"]
    assert [it["remedy"] for it in ran("--without-backup")[1]["repairs"]] == ["lose"]
    place.rename(gone)
    assert ran()[0] == 2, "nothing is given up because a disk is not mounted"
    assert [it["remedy"] for it in ran("--from", str(gone))[1]["repairs"]] == ["restore"]


@pytest.mark.runs_on("laptop")
def test_no_backup_brings_an_erased_record_back(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    rows = [contact(1), contact(2, status="wrong"), contact(3, status="wrong")]
    report = importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", rows)), OnInvalid.SKIP)
    rejects, place = report.rejects_file, str(tmp_path / "backups")
    assert rejects is not None
    Backup(store, BackupPlace(place, store.settings)).run()
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", (contact(2)["external_id"],)))
    on_disk(rejects).unlink()
    done = StoreRepair(store, "mender", sources=[BackupSource(place, store.settings)]).run()
    assert remedies(done) == []
    assert not on_disk(rejects).exists()


def lake_path(place: object) -> str:
    return f"lake/{str(place).rpartition('/lake/')[2]}"


def named_files(store: RecordStore) -> list[lake_files.LakeFile]:
    with store.reading() as connection:
        return [it for it in lake_files.listed(connection) if it.schema == "records"]


def test_a_merged_file_is_made_again_from_its_sources(world: World) -> None:
    with world.store.reading() as connection:
        now = connection.fetch_one("SELECT id FROM ducklake_current_snapshot('lake')")[0]
    Maintenance(world.store, "tester").maintain()
    records, written = stored(world.store), world.ua.count(world.store.record_type("contacts"), now)
    merged = next(it for it in named_files(world.store) if it.end is None and not it.is_delete)
    world.flip(world.store.settings.data / merged.path)
    assert remedies(repaired(world.store, dry_run=True)) == [Remedy.REBUILD]
    assert remedies(repaired(world.store)) == [Remedy.REBUILD]
    assert stored(world.store) == records
    assert world.ua.count(world.store.record_type("contacts"), now) == written
    assert wrong(world.store) == []
    report = world.ua.roll_back(RollbackRequest("ua", world.second), "tester", None)
    assert (report.counts.removed, report.counts.restored) == (20, 10)
    assert wrong(world.store) == []


def test_a_merged_file_with_deleted_rows_is_made_again_in_the_same_order(world: World) -> None:
    Maintenance(world.store, "tester").maintain()
    merged = next(it for it in named_files(world.store) if it.end is None and not it.is_delete)
    world.commit()  # deletes rows of the merged file by their places
    records = stored(world.store)
    world.flip(world.store.settings.data / merged.path)
    assert remedies(repaired(world.store)) == [Remedy.REBUILD]
    assert stored(world.store) == records
    assert wrong(world.store) == []


def test_a_list_of_deleted_rows_is_made_again_from_the_later_versions(world: World) -> None:
    records, damaged = stored(world.store), world.files("deletions")[0]
    world.flip(damaged)
    assert remedies(repaired(world.store)) == [Remedy.REBUILD]
    assert stored(world.store) == records
    assert wrong(world.store) == []


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_is_lost_is_listed_and_everything_else_works(world: World, is_gone: bool) -> None:
    path = write_csv(world.folder / "b6.csv", [contact(1)])
    world.importer.import_file(contacts_of(path, "b6"))
    third = write_csv(world.folder / "third.csv", [contact(300)])
    later = world.importer.import_file(contacts_of(third)).batch.batch_id
    created = next(it for it in named_files(world.store) if it.account == "ua" and it.records == 20)
    place = world.store.settings.data / created.path
    if is_gone:
        on_disk(place).unlink()
        world.store.__exit__()
    else:
        world.flip(place)
    planned = repaired(world.store, dry_run=True)
    assert remedies(planned) == [Remedy.LOSE]
    assert len(stored(world.store, account="b6")) == 1
    report = repaired(world.store)
    (repair,) = report.repairs
    assert (repair.remedy, repair.lost, repair.account, repair.batches) == (Remedy.LOSE, 20, "ua", (world.second,))
    assert repair.keys is not None
    keys = [
        json.loads(it)["external_id"] for it in on_disk(world.store.settings.data / repair.keys).read_text().split()
    ]
    assert keys == [f"C-{number:06}" for number in range(40, 60)]
    assert wrong(world.store) == []
    assert [it.kind for it in StoreCheck(world.store).run().notes if it.kind is Kind.LOST] == [Kind.LOST]
    printed = CliRunner().invoke(main, ["check", "--fast"]).stdout
    assert "Nothing else is missing." in printed
    assert "Every file is there" not in printed
    assert len(stored(world.store)) == 41
    (note,) = ExportWriter(world.store, "tester").export(ExportRequest("ua", "contacts")).notes
    assert "marked 20 records of contacts of ua as lost" in note
    assert f"{repair.keys} lists their keys" in note
    assert ExportWriter(world.store, "tester").export(ExportRequest("b6", "contacts")).notes == ()
    with pytest.raises(Refused, match="were lost with"):
        world.roll_back()
    world.ua.roll_back(RollbackRequest("ua", later), "tester", None)
    assert len(stored(world.store)) == 40
    again = write_csv(world.folder / "again.csv", [contact(n) for n in range(40, 60)])
    assert world.importer.import_file(contacts_of(again)).batch.counts.created == 20
    assert repaired(world.store).repairs == ()
    Maintenance(world.store, "tester").maintain()
    assert wrong(world.store) == []


def test_a_report_and_a_manifest_are_made_again_and_staged_records_are_only_listed(world: World) -> None:
    world.export()
    (manifest,) = world.store.exports()
    on_disk(manifest.manifest_path).unlink()
    page = world.ua.report(world.previewed).report_file
    assert page is not None
    on_disk(page).unlink()
    world.flip(world.ua.folder("staging") / world.previewed / "records.parquet")
    report = repaired(world.store)
    assert sorted(remedies(report)) == [Remedy.NONE, Remedy.REBUILD, Remedy.REBUILD]
    assert not report.is_whole
    assert on_disk(page).read_text().startswith("<!DOCTYPE html>")
    assert json.loads(on_disk(manifest.manifest_path).read_text())["sha256"] == manifest.sha256
    assert wrong(world.store) == [Kind.DAMAGED]
    world.importer.discard("ua", world.previewed)
    assert wrong(world.store) == []


@pytest.mark.runs_on("laptop")
@starts_with(an_empty_store)
def test_no_record_is_removed_because_the_version_before_a_rolled_back_batch_is_lost(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    """Without that version, a rollback would take the record for one that the rolled-back batch had created."""

    def imported(company: str) -> str:
        path = write_csv(tmp_path / f"{company}.csv", [contact(1, company=company)])
        return importer.import_file(contacts_of(path)).batch.batch_id

    imported("first")
    with store.reading() as connection:
        (first,) = [file for file in lake_files.listed(connection) if file.schema == "records"]
    second, third = imported("second"), imported("third")
    account = store.account("ua")
    account.roll_back(RollbackRequest("ua", second, OnModified.KEEP), "tester", None)
    (Path(str(store.settings.data)) / first.path).unlink()
    repaired(store)
    before = stored(store)

    with pytest.raises(Refused, match="lost"):
        account.roll_back(RollbackRequest("ua", third, OnModified.STOP), "tester", None)

    assert stored(store) == before != []
