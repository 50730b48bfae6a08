"""A check finds each kind of damage, changes nothing, and finds nothing wrong beside writers."""

import json
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from resources.backup import Backup, BackupPlace, Restore
from resources.erasure.eraser import Eraser
from resources.file_storage import files_below
from resources.health import surroundings
from resources.health.check import StoreCheck
from resources.health.repair import StoreRepair
from resources.health.surroundings import lacking
from resources.importing.importer import Importer
from resources.migration import Migration
from resources.record_store import RecordStore, extensions
from resources.record_store.extensions import extension_path
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas.batches import OnInvalid
from schemas.checks import CheckReport, Kind, Remedy
from schemas.erasure import ErasureRequest
from tests.any_user import as_any_user
from tests.faults.harness import damage as damages
from tests.inbox import arrive, lands
from tests.object_server import on_disk
from tests.prepared import Prepared, starts_with
from tests.records import change, contact, contacts_of, put, write_csv
from tests.test_damage import World, flip, two_imports_and_a_preview

EVERYWHERE = pytest.mark.runs_on("laptop", "postgres", "server")
pytestmark = [pytest.mark.runs_on("laptop"), starts_with(two_imports_and_a_preview)]


@pytest.fixture
def world(store: RecordStore, beginning: Prepared, tmp_path: Path) -> World:
    return World(store, tmp_path, *beginning.value)


def checked(store: RecordStore, *, fast: bool = False) -> CheckReport:
    return StoreCheck(store, fast=fast).run()


def wrong(store: RecordStore, *, fast: bool = False) -> list[tuple[Kind, str | None]]:
    """Return what is wrong, by kind and name of the file."""
    return [(it.kind, it.path and Path(it.path).name) for it in checked(store, fast=fast).wrong]


@EVERYWHERE
def test_a_store_in_order_has_nothing_wrong(world: World) -> None:
    world.export()
    lands(world.store, "arrived.csv", [contact(200)])
    arrive(world.store)
    Maintenance(world.store, "tester").maintain()
    world.roll_back()
    report = checked(world.store)
    assert report.wrong == ()
    assert (report.records, report.batches) == (41, 3)
    assert report.bytes > 0
    fast = checked(world.store, fast=True)
    assert fast.wrong == ()
    assert (fast.files, fast.bytes) == (report.files, report.bytes)


@EVERYWHERE
@pytest.mark.parametrize("kind", ["records", "deletions"])
def test_a_flipped_bit_is_found_and_a_fast_check_finds_other_sizes(world: World, kind: str) -> None:
    damaged = world.files(kind)[0]
    world.flip(damaged)
    (finding,) = checked(world.store).wrong
    assert (finding.kind, finding.account) == (Kind.DAMAGED, "ua")
    assert finding.path is not None
    assert finding.path.endswith(damaged.name)
    assert finding.batches
    assert wrong(world.store, fast=True) == []
    on_disk(damaged).write_bytes(on_disk(damaged).read_bytes()[:-7])
    assert wrong(world.store, fast=True) == [(Kind.DAMAGED, damaged.name)]
    on_disk(damaged).unlink()
    assert wrong(world.store, fast=True) == wrong(world.store) == [(Kind.MISSING, damaged.name)]


def files_of_the_preview(world: World) -> list[str]:
    places = [world.ua.folder(kind) / world.previewed for kind in ("staging", "reports")]
    return [str(file.place) for place in places for file in files_below(place)]


def test_every_file_of_a_preview_and_the_descriptions_of_types_are_compared(world: World) -> None:
    described = [str(it.place) for it in files_below(world.store.settings.lake / "ledger")]
    for place in map(Path, [*files_of_the_preview(world), *described]):
        flip(place)
        found = wrong(world.store)
        assert (Kind.DAMAGED, place.name) in found
        assert {kind for kind, _ in found} <= {Kind.DAMAGED, Kind.UNREADABLE}
        flip(place)
    assert wrong(world.store) == []


@EVERYWHERE
def test_exports_and_their_manifests_are_compared(world: World) -> None:
    world.export()
    (manifest,) = world.store.exports()
    world.flip(manifest.path)
    assert wrong(world.store) == [(Kind.DAMAGED, manifest.path.name)]
    world.flip(manifest.path)
    note = on_disk(manifest.manifest_path)
    whole, chance = note.read_bytes(), random.Random(3)
    for damage in (
        damages.flip,
        damages.cut_off,
        damages.zero,
        lambda content, *_: content.replace(b"tester", b"tesuer"),
    ):
        note.write_bytes(damage(whole, chance, b""))
        assert wrong(world.store) == [(Kind.DAMAGED, note.name)]
        assert [it.remedy for it in StoreRepair(world.store, "mender").run().repairs] == [Remedy.REBUILD]
        assert note.read_bytes() == whole
    note.unlink()
    assert wrong(world.store) == [(Kind.MISSING, note.name)]


def test_the_manifest_of_a_moved_store_or_of_an_earlier_version_is_no_damage(world: World) -> None:
    world.export()
    (manifest,) = world.store.exports()
    note = on_disk(manifest.manifest_path)
    said = json.loads(note.read_bytes())
    path = f"/elsewhere/{world.store.settings.path_below_data(manifest.path)}"
    said |= {"path": path, "manifest": f"{path}.manifest.json"}
    del said["full"], said["request"]["escaped"]
    note.write_text(json.dumps(said), "utf-8")
    assert wrong(world.store) == []
    flip(note, 0.3)
    assert wrong(world.store) == [(Kind.DAMAGED, note.name)]


@EVERYWHERE
def test_an_arrived_file_is_in_exactly_one_place_with_the_bytes_of_the_ledger(world: World) -> None:
    lands(world.store, "arrived.csv", [contact(200)])
    arrive(world.store)
    (archived,) = [it.place for it in files_below(world.store.settings.archive)]
    world.flip(archived)
    assert wrong(world.store) == [(Kind.DAMAGED, "arrived.csv")]
    world.flip(archived)
    place = on_disk(archived)
    content = place.read_bytes()
    place.unlink()
    assert wrong(world.store) == [(Kind.MISPLACED, None)]
    place.write_bytes(content)
    batch = next(it for it in world.store.batches() if it.arrival_id)
    twice = on_disk(world.store.settings.quarantine / "ua" / "contacts" / str(batch.arrival_id) / "arrived.csv")
    twice.parent.mkdir(parents=True)
    twice.write_bytes(content)
    assert [kind for kind, _ in wrong(world.store)] == [Kind.MISPLACED]


def test_an_erasure_excuses_only_what_is_gone_from_places_that_it_touched(world: World) -> None:
    lands(world.store, "arrived.csv", [contact(200)])
    arrive(world.store)
    (archived,) = [on_disk(it.place) for it in files_below(world.store.settings.archive)]
    world.export()
    (manifest,) = world.store.exports()
    Importer(world.store, "tester").import_file(contacts_of(write_csv(world.folder / "in.csv", [contact(300)])))
    assert Eraser(world.store, "eraser").erase(ErasureRequest("ua", "contacts", ("C-000300",))).touched
    page = world.ua.report(world.previewed).report_file
    assert page is not None
    assert wrong(world.store) == []
    flip(archived)
    on_disk(manifest.path).unlink()
    on_disk(page).unlink()
    assert sorted(wrong(world.store)) == [(Kind.DAMAGED, archived.name), (Kind.MISSING, manifest.path.name)], (
        "the erasure removed a report, so one may be missing"
    )
    archived.unlink()
    assert (Kind.MISPLACED, None) in wrong(world.store)


def test_records_of_no_batch_and_other_numbers_than_the_ledger_says_are_found(world: World) -> None:
    put(world.store, "SELECT 'C-9' AS external_id, 'lead' AS status", batch_id="b-unknown")
    (finding,) = checked(world.store).wrong
    assert finding.kind is Kind.UNKNOWN_BATCH
    assert finding.sentence == "1 record of contacts of ua name the batch b-unknown, which the ledger does not have."


def test_a_batch_that_cannot_be_rolled_back_a_gap_and_a_wrong_balance_are_found(world: World) -> None:
    change(world.store, f"UPDATE lake.ledger.batches SET read = read + 1 WHERE batch_id = '{world.second}'")
    change(world.store, "DELETE FROM lake.ledger.accounts")
    assert {it.kind for it in checked(world.store).wrong} == {Kind.UNBALANCED, Kind.GAP}
    with world.store.catalog_change() as connection:
        connection.execute(
            "DELETE FROM __ducklake_metadata_lake.ducklake_snapshot_changes WHERE commit_extra_info LIKE ?",
            [f"%{world.second}%"],
        )
    assert Kind.SNAPSHOT in {it.kind for it in checked(world.store).wrong}


def test_leftovers_and_files_of_others_are_notes(world: World) -> None:
    lake = Path(str(world.store.settings.lake))
    (lake / "records" / "contacts" / "ducklake-of-somebody.parquet").write_bytes(b"PAR1")
    left = Path(str(world.ua.folder("exports"))) / ".a.csv.e.partial"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"x")
    os.utime(left, (1, 1))
    report = checked(world.store)
    assert report.wrong == ()
    assert {Kind.SUPERFLUOUS} <= {it.kind for it in report.notes} <= {Kind.SUPERFLUOUS, Kind.LEFTOVER, Kind.DEPLOYMENT}


def test_a_damaged_mark_of_the_store_is_one_finding(world: World) -> None:
    mark = Path(str(world.store.settings.data)) / "store.json"
    mark.write_text("{}")
    report = checked(world.store)
    assert [it.kind for it in report.wrong] == [Kind.DAMAGED]
    assert "Nothing else was checked." in report.wrong[0].sentence


def test_sqlite_finds_zeroed_pages_of_the_catalog_and_the_check_says_how_to_restore_it(world: World) -> None:
    catalog = world.store.settings.catalog
    world.store.__exit__()
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ((size,),) = connection.execute("PRAGMA page_size")
        of = "SELECT rootpage FROM sqlite_master WHERE name = 'ducklake_file_column_stats'"
        ((page,),) = connection.execute(of)
    whole, place = catalog.read_bytes(), (page - 1) * size
    catalog.write_bytes(whole[:place] + bytes(size) + whole[place + size :])
    (finding,) = checked(world.store).wrong
    assert (finding.kind, finding.path) == (Kind.DAMAGED, None)
    assert "records restore PLACE --catalog-only" in finding.sentence
    printed = CliRunner().invoke(main, ["check"])
    assert (printed.exit_code, "1 thing to mend." in printed.stdout) == (3, True)
    assert "records repair" not in printed.stdout
    catalog.write_bytes(whole)
    assert wrong(world.store) == []


def test_a_catalog_older_than_its_data_names_the_command_that_accepts_it(world: World) -> None:
    settings = world.store.settings
    world.store.__exit__()
    earlier = {path: path.read_bytes() for path in settings.home.glob("catalog.sqlite*")}
    with RecordStore(settings) as store:
        Importer(store, "tester").import_file(contacts_of(write_csv(world.folder / "in.csv", [contact(300)])))
    for path in settings.home.glob("catalog.sqlite*"):
        path.unlink()
    for path, content in earlier.items():
        path.write_bytes(content)
    printed = CliRunner().invoke(main, ["check"])
    said = " ".join(printed.stdout.split())
    assert (printed.exit_code, "records accept catalog" in said) == (3, True)
    assert "records repair" not in said


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("fast", [True, False])
def test_a_check_changes_nothing_and_needs_no_right_to_write_to_the_data(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings, fast: bool
) -> None:
    flip(world.files("records")[0])
    world.store.__exit__()
    before = snapshot_of(settings.home)
    with RecordStore(settings) as store:
        checked(store, fast=fast)
    assert {
        path: it for path, it in snapshot_of(settings.home).items() if not path.endswith(("-shm", "-wal"))
    } == before


def test_beside_writers_and_maintenance_nothing_seems_wrong(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended, errors = threading.Event(), list[Exception]()

    def write() -> None:
        with RecordStore(settings) as store:
            try:
                for number in range(6):
                    path = write_csv(
                        tmp_path / f"{number}.csv", [contact(number * 10 + n, company=str(number)) for n in range(30)]
                    )
                    Importer(store, "writer").import_file(contacts_of(path))
                    if number % 2:
                        Maintenance(store, "writer").maintain()
            except Exception as error:
                errors.append(error)
            finally:
                ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    rounds = 0
    while not ended.is_set() or not rounds:
        assert checked(world.store).wrong == ()
        rounds += 1
    thread.join()
    assert errors == []
    assert checked(world.store).wrong == ()


def test_a_file_that_is_retired_and_removed_during_the_check_is_not_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview is discarded, and its staged records removed, after the check has listed what it needs."""
    check = StoreCheck(world.store)
    compared: Callable[..., object] = check._compare

    def discarded_first(*arguments: object) -> object:
        world.importer.discard("ua", world.previewed)
        return compared(*arguments)

    monkeypatch.setattr(check, "_compare", discarded_first)
    assert check.run().wrong == ()


@pytest.mark.parametrize("damage", [damages.flip, damages.cut_off, damages.zero, damages.another])
def test_each_way_of_damage_is_found_in_each_kind_of_file(
    world: World, settings: Settings, damage: Callable[[bytes, random.Random, bytes], bytes]
) -> None:
    path = write_csv(world.folder / "rejected.csv", [contact(1, status="unknown")])
    world.importer.preview(contacts_of(path))
    touched, chance = set[str](), random.Random(20)
    for target in damages.TARGETS:
        found = sorted(settings.home.parent.glob(target.pattern))
        if not target.is_begun:
            content = found[0].read_bytes()
            other = found[-1].read_bytes() if found[1:] else content[::-1]
            found[0].write_bytes(damage(content, chance, other))
            touched.add(found[0].name)
    assert len(touched) >= 6
    assert {name for kind, name in wrong(world.store) if kind is Kind.DAMAGED} == touched


def test_a_rejects_file_that_is_corrected_in_its_place_and_imported_is_no_damage(world: World) -> None:
    path = write_csv(world.folder / "rejected.csv", [contact(n, status="unknown") for n in (300, 301)])
    rejects = world.importer.import_file(contacts_of(path), OnInvalid.SKIP).rejects_file
    assert rejects is not None
    place = on_disk(rejects)
    place.write_text(place.read_text("utf-8").replace("unknown", "lead"), "utf-8")
    assert world.importer.import_file(contacts_of(place)).batch.counts.created == 2
    for fast in (False, True):
        report = checked(world.store, fast=fast)
        assert report.wrong == ()
        (note,) = (it for it in report.notes if it.kind is Kind.EDITED)
        assert note.sentence == f"{note.path} was edited since it was written."
    assert StoreRepair(world.store, "mender").run().repairs == ()
    backups, there = world.folder / "backups", Settings(world.folder / "there", world.folder / "there", "restorer")
    Backup(world.store, BackupPlace(str(backups), world.store.settings)).run()
    Restore(BackupPlace(str(backups), there), there).run()
    assert (there.data / str(note.path)).read_text("utf-8") == place.read_text("utf-8")
    moved = world.folder / "moved"
    Migration(world.store, str(moved), str(moved)).run()
    assert (moved / str(note.path)).read_text("utf-8") == place.read_text("utf-8")
    assert Eraser(world.store, "eraser").erase(ErasureRequest("ua", "contacts", (contact(300)["external_id"],))).touched
    assert b"C-000300" not in place.read_bytes()
    assert not [it for it in checked(world.store).findings if it.kind is Kind.EDITED or it.kind.is_wrong]


def test_a_file_that_this_user_may_not_read_is_named_and_stops_no_backup_and_no_erasure(world: World) -> None:
    Importer(world.store, "tester").import_file(contacts_of(write_csv(world.folder / "in.csv", [contact(300)])))
    settings, backups = world.store.settings, world.folder / "backups"
    folder = Path(str(settings.quarantine)) / "ua" / "contacts" / "a-20260101-000000000-000000"
    closed, opened = folder / "C-000300.csv", folder / "other.csv"
    folder.mkdir(parents=True)
    for file in (closed, opened):
        write_csv(file, [contact(300), contact(301)])
    closed.chmod(0)
    path = settings.path_below_data(closed)
    with as_any_user():
        (finding,) = checked(world.store).wrong
        assert (finding.kind, finding.path) == (Kind.UNREADABLE, path)
        assert "may not be read by this user" in finding.sentence
        report = Backup(world.store, BackupPlace(str(backups), settings)).run()
        assert (report.unreadable, report.left_out) == ((path,), ())
        done = CliRunner().invoke(main, ["backup", str(backups)])
        assert (done.exit_code, path in done.stdout.replace("\n", "")) == (3, True)
        assert StoreRepair(world.store, "mender").run().repairs == ()
        erased = Eraser(world.store, "eraser").erase(ErasureRequest("ua", "contacts", ("C-000300",)))
        assert any("so it was not searched" in sentence and "a-2026" in sentence for sentence in erased.beyond)
        assert erased.receipt is not None
        receipt = Path(erased.receipt).read_text("utf-8")
        assert "so it was not searched" in receipt
        assert "C-000300" not in receipt
        nothing = Eraser(world.store, "eraser").plan(ErasureRequest("ua", "contacts", ("C-999",)))
        assert any("so it was not searched" in sentence for sentence in nothing.beyond)
    assert b"C-000300" in closed.read_bytes()
    assert b"C-000300" not in opened.read_bytes()
    restored = BackupPlace(str(backups), settings).chosen(None)
    assert settings.path_below_data(opened) in {file.path for file in restored.files}


@pytest.mark.parametrize("root", ["quarantine", "inbox"])
def test_a_folder_that_this_user_may_not_read_is_named_too(world: World, root: str) -> None:
    folder = Path(str(world.store.settings.data)) / root / "ua" / "contacts"
    folder.mkdir(parents=True)
    folder.chmod(0)
    path, place = f"{root}/ua/contacts", BackupPlace(str(world.folder / "backups"), world.store.settings)
    with as_any_user():
        assert [(it.kind, it.path) for it in checked(world.store).wrong] == [(Kind.UNREADABLE, path)]
        assert Backup(world.store, place).run().unreadable == (path,)
        plan = Eraser(world.store, "eraser").plan(ErasureRequest("ua", "contacts", (contact(1)["external_id"],)))
        assert any(f"{path} may not be read" in sentence for sentence in plan.beyond)
    folder.chmod(0o700)


def test_a_rejects_file_that_cannot_be_read_is_damaged(world: World) -> None:
    path = write_csv(world.folder / "rejected.csv", [contact(1, status="unknown")])
    rejects = world.importer.preview(contacts_of(path)).rejects_file
    assert rejects is not None
    on_disk(rejects).chmod(0)
    with as_any_user():
        assert wrong(world.store) == [(Kind.DAMAGED, rejects.name)]


def test_the_commands_print_one_object_and_end_with_3_while_something_is_wrong(world: World) -> None:
    page = world.ua.report(world.previewed).report_file
    assert page is not None
    on_disk(page).unlink()

    def ran(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(main, [*arguments, "--json"])
        return done.exit_code, json.loads(done.stdout)

    code, report = ran("check")
    assert (code, report["wrong"]) == (3, 1)
    assert [it["kind"] for it in report["findings"] if it["wrong"]] == ["missing"]
    code, planned = ran("repair", "--dry-run")
    assert (code, planned["dry_run"], [it["remedy"] for it in planned["repairs"]]) == (0, True, ["rebuild"])
    assert not on_disk(page).exists()
    code, done = ran("repair")
    assert (code, done["dry_run"], done["repairs"]) == (0, False, planned["repairs"])
    assert ran("check", "--fast")[0] == 0
    code, room = ran("space")
    assert (code, room["accounts"][0]["account"]) == (0, "ua")


def test_an_extension_that_was_changed_after_duckdb_signed_it_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(*, fast: bool) -> list[str]:
        return [it.sentence for it in lacking(world.store.settings, fast=fast) if "signed" in it.sentence]

    monkeypatch.setattr(surroundings, "is_signed", extensions.is_signed)  # tests replace it by a quicker one
    assert looks(fast=False) == []

    changed = tmp_path / "ducklake.duckdb_extension"
    changed.write_bytes(extension_path("ducklake").read_bytes())
    flip(changed)
    monkeypatch.setattr(
        extensions, "extension_path", lambda name: changed if name == "ducklake" else extension_path(name)
    )
    (sentence,) = looks(fast=False)
    assert sentence.endswith("pip install --force-reinstall duckdb-extension-ducklake.")
    assert looks(fast=True) == []
