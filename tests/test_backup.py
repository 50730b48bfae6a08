"""A backup equals a snapshot that existed, beside writers; it is restored whole, or there is no store."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from resources import file_storage
from resources.backup import Backup, BackupPlace, Restore, backup, last_backup
from resources.backup import place as place_module
from resources.backup import restore as restore_module
from resources.backup.restore import INCOMPLETE
from resources.erasure.account_deletion import AccountDeletion
from resources.erasure.eraser import Eraser, without_backups
from resources.export_writer import ExportWriter
from resources.file_storage import files_below
from resources.health.check import StoreCheck
from resources.importing.importer import Importer
from resources.migration.catalog_rows import unload
from resources.record_store import RecordStore, lake_files, ledger, ledger_files
from resources.record_store.lake import Connection
from resources.record_store.ledger_erasure import erasures
from resources.settings import Settings
from resources.store_files import own_files
from resources.upkeep.maintenance import Maintenance
from schemas.backups import BackupReport, Manifest
from schemas.batches import BatchStatus, OnInvalid
from schemas.erasure import ErasureRequest
from schemas.errors import (
    CatalogOutdated,
    DamagedFile,
    DiskFull,
    ForeignData,
    InvalidRequest,
    NotFound,
    Refused,
    StoreBusy,
    StoreNotReady,
    StoreUnreachable,
    Unaccounted,
)
from schemas.exports import ExportRequest
from schemas.files import StoredFile
from schemas.rollbacks import RollbackRequest
from tests.faults.steps import processes, settings_of
from tests.faults.steps import run as run_and_kill
from tests.full_disk import small_disk
from tests.object_server import ObjectServer, on_disk
from tests.postgres import Postgres
from tests.prepared import Prepared, an_empty_store, starts_with
from tests.records import contact, contacts_of, put, stored, write_csv
from tests.test_damage import flip

HOME_FILES = ("inbox.yaml", "web.yaml", "links.key")


def one_of_everything(settings: Settings, folder: Path) -> tuple[str, str]:
    """Fill a store. Returns a batch that can be rolled back, and a preview."""
    an_empty_store(settings, folder)
    names = iter(range(100))

    def file(*numbers: int, **fields: str) -> Path:
        return write_csv(folder / f"{next(names)}.csv", [contact(n, **fields) for n in numbers])

    with RecordStore(settings) as store:
        importer, ua = Importer(store, "tester"), store.account("ua")
        importer.import_file(contacts_of(file(*range(6), company="old")))
        mistaken = importer.import_file(contacts_of(file(*range(3, 8), company="mistaken"))).batch.batch_id
        ua.roll_back(RollbackRequest("ua", mistaken), "tester", None)
        importer.import_file(
            contacts_of(write_csv(folder / "bad.csv", [contact(20), contact(21, status="?")])), OnInvalid.SKIP
        )
        ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
        ua.save_preset("contacts", "own", ["external_id", "company"], "tester")
        put(store, "SELECT 'nul' AS external_id, 'lead' AS status, 'Zoë' || chr(0) AS company", "dl", "b-nul")
        live = importer.import_file(contacts_of(file(*range(4, 12), company="new"))).batch.batch_id
        previewed = importer.preview(contacts_of(file(*range(30, 33)))).batch.batch_id
        for path in ("inbox/ua/contacts/to come.csv", "archive/ua/contacts/b-1/in.csv", "quarantine/ua/x/WHY.txt"):
            place = on_disk(settings.data / path)
            place.parent.mkdir(parents=True)
            place.write_text(path)
            os.utime(place, (1_700_000_000, 1_700_000_000))
    for name in HOME_FILES:
        (settings.home / name).write_text(f"# {name}\n")
    return live, previewed


pytestmark = [starts_with(one_of_everything), pytest.mark.runs_on("laptop")]
everywhere = pytest.mark.runs_on("laptop", "postgres", "server")


@dataclass(frozen=True)
class There:
    """An empty place to restore to."""

    settings: Settings

    def __post_init__(self) -> None:
        assert not self.settings.home.exists()

    def is_no_store(self) -> bool:
        with RecordStore(self.settings) as store, pytest.raises((StoreNotReady, ForeignData)):
            store.accounts()
        return True


@pytest.fixture
def bk(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def there(settings: Settings, setting: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[There]:
    """An empty place of the same kind as the store's."""
    home = tmp_path / "there"
    environment = {"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester"}
    postgres: Postgres | None = None if setting == "laptop" else request.getfixturevalue("postgres")
    objects: ObjectServer | None = request.getfixturevalue("objects") if setting == "server" else None
    database = "" if postgres is None else postgres.create()
    if postgres is not None:
        environment["RECORDS_CATALOG"] = postgres.address(database)
    if objects is not None:
        environment["RECORDS_DATA"] = f"{objects.create()}/there"
    yield There(Settings.from_environment(environment))
    if postgres is not None:
        postgres.drop(database)


def back_up(store: RecordStore, place: Path | str, **options: Any) -> BackupReport:
    return Backup(store, BackupPlace(str(place), store.settings)).run(**options)


def restore(place: Path | str, target: Settings, at: str | None = None, **options: Any) -> Any:
    return Restore(BackupPlace(str(place), target), target, **options).run(at)


def manifest_of(place: Path | str, report: BackupReport, settings: Settings) -> Manifest:
    return BackupPlace(str(place), settings).manifest(report.backup)


def content(store: RecordStore) -> list[Any]:
    """Return what a store reports of itself, except its place."""
    data = str(store.settings.data)
    exports = [replace(it, path=str(it.path).removeprefix(data)) for it in store.exports()]  # type: ignore[arg-type]
    types = [stored(store, "contacts", account) for account in store.accounts()]
    return [store.batches(), exports, store.accounts(), store.record_types(), store.presets("ua", "contacts"), *types]


def own(settings: Settings) -> dict[str, bytes]:
    """Return the bytes of each file beside the lake."""
    roots = (settings.accounts, settings.inbox, settings.archive, settings.quarantine)
    return {
        settings.path_below_data(file.place): on_disk(file.place).read_bytes()
        for root in roots
        for file in files_below(root)
    }


@everywhere
def test_a_store_is_restored_as_it_was_and_works(
    store: RecordStore, beginning: Prepared, there: There, bk: Path
) -> None:
    live, previewed = beginning.value
    before = content(store)

    report = back_up(store, bk)
    again = back_up(store, bk)
    restored = restore(bk, there.settings)

    assert (report.new_files, again.new_files, again.new_bytes) == (report.files, 0, 0)
    assert restored.backup == again.backup
    assert restored.records == sum(manifest_of(bk, report, store.settings).contents.records.values()) == 14
    assert own(there.settings) == own(store.settings)
    assert [(there.settings.home / name).read_text() for name in HOME_FILES] == [f"# {name}\n" for name in HOME_FILES]
    last = last_backup(store.settings)
    assert last is not None
    assert (last.backup, last.place, last.snapshot) == (again.backup, str(bk), again.snapshot)
    assert last.verified_at >= last.at > report.at
    with RecordStore(there.settings) as other, store.reading() as connection:
        assert content(other) == before
        with other.reading() as there_too:
            assert lake_files.named(there_too) == lake_files.named(connection)
            assert ledger.newest(there_too) == ledger.newest(connection)
        other.initialise([])
        assert Maintenance(other, "tester").maintain().orphans.number == 0
        assert other.account("ua").roll_back(RollbackRequest("ua", live), "tester", None).counts.removed > 0
        assert Importer(other, "tester").commit("ua", previewed).batch.status is BatchStatus.COMMITTED


def test_a_laptop_is_restored_to_a_server_from_an_object_store(
    store: RecordStore, postgres: Postgres, objects: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in objects.environment.items():
        monkeypatch.setenv(name, value)
    bucket, database = objects.create(), postgres.create()
    assert back_up(store, f"{bucket}/backups").new_files > 20
    assert back_up(store, f"{bucket}/backups").new_files == 0
    server = Settings.from_environment(
        {
            "RECORDS_HOME": str(tmp_path / "server"),
            "RECORDS_CATALOG": postgres.address(database),
            "RECORDS_DATA": f"{bucket}/data",
            "RECORDS_ACTOR": "tester",
        }
    )

    restore(f"{bucket}/backups", server)

    with RecordStore(server) as other:
        assert content(other)[2:] == content(store)[2:]
    postgres.drop(database)


@pytest.mark.runs_on("postgres")
def test_a_server_is_restored_to_a_laptop(store: RecordStore, bk: Path, tmp_path: Path) -> None:
    back_up(store, bk)
    laptop = Settings.from_environment({"RECORDS_HOME": str(tmp_path / "laptop"), "RECORDS_ACTOR": "tester"})

    restore(bk, laptop)

    with RecordStore(laptop) as other:
        assert content(other)[2:] == content(store)[2:]
        other.add_account("new", "tester")


@everywhere
def test_a_backup_beside_four_writers_equals_a_snapshot_that_existed(
    store: RecordStore, there: There, bk: Path, tmp_path: Path
) -> None:
    back_up(store, bk)
    context = processes()
    ended, written = context.Event(), context.Semaphore(0)
    writers = [
        context.Process(target=_write, args=(store.settings, tmp_path, number, ended, written)) for number in range(4)
    ]
    for writer in writers:
        writer.start()
    try:
        for _ in writers:
            assert written.acquire(timeout=60)
        reports = [back_up(store, bk) for _ in range(2)]
        assert all(writer.is_alive() for writer in writers)
    finally:
        ended.set()
        for writer in writers:
            writer.join()

    assert [writer.exitcode for writer in writers] == [0] * 4
    assert reports[0].snapshot < reports[1].snapshot
    assert max(report.lock_seconds for report in reports) < 5
    restore(bk, there.settings)
    with RecordStore(there.settings) as other:
        with other.reading() as connection:
            found = _everything(connection)
        with store.reading(reports[1].snapshot) as connection:
            assert _everything(connection) == found
        wrong = [it.sentence for it in StoreCheck(other).run().wrong if it.batches != ("b-nul",)]
        assert wrong == [], "only the record that the fixture wrote without a batch"


def _write(settings: Settings, folder: Path, number: int, ended: Event, written: Semaphore) -> None:
    """Import one file after another until the others have ended. Releases `written` after the first."""
    with RecordStore(settings) as writer:
        for turn in count():
            file = write_csv(folder / f"w{number}-{turn}.csv", [contact(turn)])
            Importer(writer, "tester").import_file(contacts_of(file, f"w{number}"))
            writer.account("ua").save_preset("contacts", f"p{number}-{turn}", ["status"], "tester")
            written.release()
            if ended.is_set():
                return


def _everything(connection: Connection) -> list[Any]:
    tables = ("records.contacts", "ledger.batches", "ledger.presets", "ledger.files", "ledger.accounts")
    return [connection.execute(f"FROM lake.{name} ORDER BY ALL").fetch_all() for name in tables]


@pytest.mark.runs_on("laptop", "postgres")
def test_what_is_committed_after_the_lock_is_not_in_the_backup(
    store: RecordStore, there: There, bk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def later(*arguments: Any) -> Any:
        with RecordStore(store.settings) as other:
            put(other, "SELECT 'late' AS external_id, 'lead' AS status", "late", "b-late")
            other.account("ua").save_preset("contacts", "late", ["status"], "tester")
        return unload(*arguments)

    before = content(store)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "unload", later)
        back_up(store, bk)
    assert "late" in store.presets("ua", "contacts")
    restore(bk, there.settings)
    with RecordStore(there.settings) as other:
        assert content(other) == before


def test_only_new_files_are_copied(store: RecordStore, bk: Path, there: There) -> None:
    first = back_up(store, bk)
    times = {path: path.stat().st_mtime_ns for path in (bk / "files").rglob("*") if path.is_file()}
    put(store, "SELECT 'new' AS external_id, 'lead' AS status", "ua", "b-new")

    second = back_up(store, bk)

    new = {path for path in (bk / "files").rglob("*") if path.is_file()} - times.keys()
    assert 0 < second.new_files == len(new) < first.files
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())
    assert [restore(bk, there.settings, first.backup).snapshot, second.snapshot] == [first.snapshot, second.snapshot]


def test_only_the_newest_are_kept(store: RecordStore, bk: Path, there: There) -> None:
    first = back_up(store, bk)
    reports = []
    for number in range(3):
        put(store, f"SELECT 'n{number}' AS external_id, 'lead' AS status", "ua", f"b-{number}")
        reports.append(back_up(store, bk))
    (bk / "files" / "stray").write_text("left by a killed backup")

    last = back_up(store, bk, keep=2)

    assert set(last.pruned) == {first.backup, *(report.backup for report in reports[:2])}
    assert last.freed > 0
    place = BackupPlace(str(bk), store.settings)
    assert place.ids() == [reports[2].backup, last.backup]
    named = {file.place for each in place.ids() for file in place.manifest(each).files}
    assert set(place.listing()) == named
    assert [it.damage for it in place.listed(verify=True)] == [None, None]
    restore(bk, there.settings, reports[2].backup)


def test_nothing_is_pruned_while_a_manifest_cannot_be_read(store: RecordStore, bk: Path) -> None:
    reports = [back_up(store, bk) for _ in range(3)]
    flip(bk / "backups" / f"{reports[2].backup}.json")
    before = {path for path in bk.rglob("*") if path.is_file()}
    with pytest.raises(DamagedFile, match="is complete, but no earlier one was removed"):
        back_up(store, bk, keep=2)
    assert before <= {path for path in bk.rglob("*") if path.is_file()}


def test_a_flipped_bit_of_any_file_is_found_before_anything_is_restored(
    store: RecordStore, bk: Path, there: There
) -> None:
    report = back_up(store, bk)
    files = sorted(path for path in bk.rglob("*") if path.is_file() and path.stat().st_size)
    kinds = {path.relative_to(bk).parts[0] for path in files} | {it.parts[-4] for it in files}
    assert {"backups.json", "backups", "files", "contacts", "staging", "rejects", "exports"} <= kinds
    for number, damaged in enumerate(files):
        whole = damaged.read_bytes()
        flip(damaged, number / len(files))
        with pytest.raises((DamagedFile, Refused)):
            restore(bk, there.settings)
        assert not there.settings.home.exists(), damaged
        damaged.write_bytes(whole)
    damaged = next(bk.glob("files/lake/records/**/xxh3-*"))
    whole = damaged.read_bytes()
    flip(damaged)
    listed = CliRunner().invoke(main, ["backups", str(bk), "--verify", "--json"])
    assert listed.exit_code in (1, 3)
    damaged.write_bytes(whole)
    damaged.rename(bk / "elsewhere")
    with pytest.raises(DamagedFile, match="is missing"):
        restore(bk, there.settings)
    (bk / "elsewhere").rename(damaged)
    assert restore(bk, there.settings).backup == report.backup


def test_a_file_that_the_place_has_lost_is_copied_again(store: RecordStore, bk: Path, there: There) -> None:
    back_up(store, bk)
    next(bk.glob("files/lake/records/**/xxh3-*")).unlink()
    assert back_up(store, bk).new_files == 1
    restore(bk, there.settings)


def test_files_and_folders_are_flushed_before_the_manifest(
    store: RecordStore, bk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, publish, sync = list[Path](), BackupPlace.publish, file_storage.sync

    def recorded(place: Path) -> None:
        flushed.append(place)
        sync(place)

    def checked(place: BackupPlace, manifest: Manifest) -> None:
        folders = {folder for file in manifest.files for folder in (bk / file.place).parents}
        assert {folder for folder in folders if bk in folder.parents or folder == bk} <= {*flushed}
        assert len([it for it in flushed if it.parent.name == "unfinished"]) == len(manifest.files)
        publish(place, manifest)
        assert flushed[-1] == bk / "backups"

    monkeypatch.setattr(file_storage, "sync", recorded)
    monkeypatch.setattr(BackupPlace, "publish", checked)
    assert back_up(store, bk).new_files > 0


def _back_up(place: str, store: RecordStore) -> None:
    for module in (backup, place_module):
        setattr(module, "AT_ONCE", 1)  # noqa: B010  # so that steps are counted one after another
    back_up(store, place, keep=1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_killed_backup_is_none_or_whole_and_the_next_completes_it(
    store: RecordStore, bk: Path, there: There, share: float, tmp_path: Path
) -> None:
    before, home = content(store), store.settings.home
    steps = _steps(store.settings, tmp_path)

    run_and_kill(partial(_back_up, str(bk)), settings_of(home), 1 + round(share * (steps - 1)))

    place = BackupPlace(str(bk), store.settings)
    if (bk / "backups.json").exists():
        for each in place.ids():
            place.require_whole(place.manifest(each))
    back_up(store, bk, keep=1)
    assert len(place.ids()) == 1
    assert not list((bk / "unfinished").glob("*"))
    restore(bk, there.settings)
    with RecordStore(there.settings) as other:
        assert content(other) == before


def _steps(settings: Settings, folder: Path) -> int:
    home = shutil.copytree(settings.home, folder / "counted", symlinks=True)
    return run_and_kill(partial(_back_up, str(folder / "counting")), settings_of(home))


def _restore(place: str, home: str, _: RecordStore) -> None:
    for module in (restore_module, place_module):
        setattr(module, "AT_ONCE", 1)  # noqa: B010
    restore(place, settings_of(Path(home)))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0])
def test_a_killed_restore_is_no_store_or_whole_and_the_same_command_completes_it(
    store: RecordStore, bk: Path, there: There, share: float, tmp_path: Path
) -> None:
    before, home = content(store), store.settings.home
    back_up(store, bk)
    steps = run_and_kill(partial(_restore, str(bk), str(tmp_path / "counted")), settings_of(home))

    run_and_kill(
        partial(_restore, str(bk), str(there.settings.home)), settings_of(home), 1 + round(share * (steps - 1))
    )

    if not (there.settings.home / "catalog.sqlite").exists():
        assert there.is_no_store()
    if not (there.settings.home / "catalog.sqlite").exists() or list(there.settings.home.glob(f"{INCOMPLETE}*")):
        restore(bk, there.settings)
    with RecordStore(there.settings) as other:
        assert content(other) == before
    assert not list(there.settings.home.glob(f"{INCOMPLETE}*"))
    with pytest.raises(Refused, match="There is a store already"):
        restore(bk, there.settings)


def test_a_full_disk_is_a_sentence_and_leaves_the_earlier_backups(
    store: RecordStore, tmp_path: Path, there: There
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        bk = disk.folder / "backups"
        first = back_up(store, bk)
        put(store, "SELECT 'new' AS external_id, 'lead' AS status", "ua", "b-new")
        disk.fill()
        with pytest.raises(DiskFull):
            back_up(store, bk)
        disk.free()
        assert BackupPlace(str(bk), store.settings).ids() == [first.backup]
        second = back_up(store, bk)
        assert restore(bk, there.settings).backup == second.backup


def test_a_place_that_is_not_this_stores_is_refused_and_left_alone(
    store: RecordStore, bk: Path, tmp_path: Path, there: There
) -> None:
    home = store.settings.home
    for inside in (home, home / "backups", home.parent, tmp_path / "link"):
        if inside.name == "link":
            inside.symlink_to(home)
        with pytest.raises(InvalidRequest, match="are one inside the other"):
            back_up(store, inside)
    assert not (home / "backups").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(Refused, match=r"is not empty\. It has .*mine\.txt"):
        back_up(store, other)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]
    back_up(store, bk)
    restore(bk, there.settings, new_id=True)
    with RecordStore(there.settings) as second, pytest.raises(Refused, match="has the backups of another store"):
        back_up(second, bk)
    for empty in ("", " "):
        with pytest.raises(InvalidRequest, match=r"No place of the backups is given: it is empty\."):
            back_up(store, empty)
    with pytest.raises(InvalidRequest, match="The place of the backups is 'ftp://x'"):
        back_up(store, "ftp://x")
    with pytest.raises(NotFound, match="There are no backups in"):
        restore(other, there.settings)
    with pytest.raises(NotFound, match="There is no folder"):
        restore(tmp_path / "nowhere", there.settings)


@pytest.mark.parametrize("name", ["backups.json", "backups/*.json"])
def test_another_form_of_backups_is_refused_with_a_sentence(
    store: RecordStore, bk: Path, there: There, name: str
) -> None:
    back_up(store, bk)
    (described,) = bk.glob(name)
    described.write_text(described.read_text().replace('"format": 1', '"format": 0', 1))
    with pytest.raises(Refused, match="has version 0 of the form of backups, and this program reads version 1"):
        restore(bk, there.settings)
    with pytest.raises(Refused, match="has version 0"):
        back_up(store, bk)


def test_a_damaged_or_missing_file_of_the_store_makes_no_backup(store: RecordStore, bk: Path) -> None:
    lost = next(store.settings.home.glob("lake/records/**/*.parquet"))
    flip(lost)
    with pytest.raises(DamagedFile, match="has other bytes than were written"):
        back_up(store, bk)
    lost.unlink()
    with pytest.raises(NotFound, match="is missing, and a snapshot of the store needs it"):
        back_up(store, bk)
    assert BackupPlace(str(bk), store.settings).ids() == []
    assert last_backup(store.settings) is None


def test_a_backup_and_an_erasure_wait_for_each_other(store: RecordStore, bk: Path) -> None:
    request = ErasureRequest("ua", "contacts", (contact(1)["external_id"],))
    with RecordStore(replace(store.settings, lock_seconds=0.1)) as impatient:
        with without_backups(store), pytest.raises(StoreBusy, match="or an erasure of this store is running"):
            back_up(impatient, bk)
        with store.lock("backup", 1.0):
            with pytest.raises(StoreBusy, match="A backup of this store is running"):
                Eraser(impatient, "tester").erase(request)
            with pytest.raises(StoreBusy, match="A backup of this store is running"):
                AccountDeletion(impatient, "ua", "tester").delete()
        with store.reading() as connection:
            assert erasures(connection) == []
        Eraser(impatient, "tester").plan(request)


def test_what_still_arrives_is_left_out(store: RecordStore, bk: Path) -> None:
    folder = store.settings.home / "inbox" / "ua" / "contacts"
    for name in ("young.csv", "large.csv.part", ".hidden"):
        (folder / name).write_text("x")
    os.utime(folder / "large.csv.part", (1, 1))
    report = back_up(store, bk)
    assert report.left_out == tuple(f"inbox/ua/contacts/{name}" for name in (".hidden", "large.csv.part", "young.csv"))
    paths = {file.path for file in manifest_of(bk, report, store.settings).files}
    assert "inbox/ua/contacts/to come.csv" in paths
    assert not paths & set(report.left_out)


def test_a_file_that_moves_on_is_in_the_backup_once(
    store: RecordStore, bk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = store.settings.home / "inbox" / "ua" / "contacts" / "to come.csv"
    taken = store.settings.home / "processing" / "a-1" / "ua" / "contacts" / "to come.csv"
    calls = list[int]()

    def moving(settings: Settings) -> Any:
        listed = own_files(settings)
        calls.append(1)
        if len(calls) == 1:
            taken.parent.mkdir(parents=True)
            inbox.rename(taken)
        return listed

    monkeypatch.setattr(backup, "own_files", moving)
    report = back_up(store, bk)
    paths = [file.path for file in manifest_of(bk, report, store.settings).files if file.path.endswith("to come.csv")]
    assert paths == ["processing/a-1/ua/contacts/to come.csv"]


def test_a_file_is_found_by_path_and_checksum(store: RecordStore, bk: Path) -> None:
    back_up(store, bk)
    place = BackupPlace(str(bk), store.settings)
    with store.reading() as connection:
        paths = [file.path for file in lake_files.named(connection)]
        known = ledger_files.files(connection, paths)
    for path in paths:
        found = place.find(known[path])
        assert found is not None
        assert found.read_bytes() == (store.settings.data / path).read_bytes()
    path = paths[0]
    other = StoredFile(path, 1, "xxh3:" + "0" * 32)
    assert place.find(other) is None
    assert place.find(StoredFile(path)) is None
    assert place.find(replace(other, earlier=(str(known[path].checksum),))) == place.find(known[path])
    found = place.find(known[path])
    assert found is not None
    flip(found)
    assert place.find(known[path]) is None


def test_a_lost_catalog_is_restored_over_its_data(store: RecordStore, bk: Path) -> None:
    before = content(store)
    back_up(store, bk)
    home = store.settings.home
    catalog = home / "catalog.sqlite"

    def lose() -> None:
        for path in home.glob("catalog.sqlite*"):
            path.unlink()

    with pytest.raises(Refused, match="There is a store already"):
        restore(bk, store.settings, catalog_only=True)
    lose()
    lost = next(home.glob("lake/records/**/*.parquet"))
    lost.unlink()
    report = restore(bk, store.settings, catalog_only=True)
    assert (report.files, lost.exists()) == (1, True)
    with RecordStore(store.settings) as again:
        assert content(again) == before
        put(again, "SELECT 'later' AS external_id, 'lead' AS status", "ua", "b-later")
    lose()
    restore(bk, store.settings, catalog_only=True)
    with RecordStore(store.settings) as again:
        with pytest.raises(CatalogOutdated):
            again.accounts()
        again.accept_catalog()
        assert content(again) == before
    assert catalog.exists()
    lose()
    with pytest.raises(ForeignData):
        restore(bk, store.settings, catalog_only=True)
    with pytest.raises(InvalidRequest, match="--new-id and --catalog-only"):
        restore(bk, store.settings, catalog_only=True, new_id=True)
    (home / "store.json").unlink()
    with pytest.raises(Refused, match=r"There is no store.json"):
        restore(bk, store.settings, catalog_only=True)


def test_a_restore_names_the_erasures_that_the_backup_does_not_know(
    store: RecordStore, bk: Path, there: There, tmp_path: Path
) -> None:
    before = back_up(store, bk)
    erased = Eraser(store, "the eraser").erase(ErasureRequest("ua", "contacts", (contact(5)["external_id"],)))
    back_up(store, bk)

    report = restore(bk, there.settings, before.backup)

    assert [it for it in report.erased if f"({erased.erasure_id})" in it] == list(report.erased)
    assert "Records of contacts were erased on" in report.erased[0]
    assert "by the eraser" in report.erased[0]
    newest = Settings.from_environment({"RECORDS_HOME": str(tmp_path / "newest"), "RECORDS_ACTOR": "tester"})
    assert restore(bk, newest).erased == ()


def test_a_place_to_restore_to_must_be_empty(store: RecordStore, bk: Path, there: There) -> None:
    first, second = back_up(store, bk), back_up(store, bk)
    for path in ("lake/x.parquet", "inbox/ua/contacts/x.csv", f"{INCOMPLETE}{first.backup}", "store.json"):
        (there.settings.home / path).parent.mkdir(parents=True, exist_ok=True)
        (there.settings.home / path).write_text("mine")
        with pytest.raises(Refused, match="The place to restore to is not empty"):
            restore(bk, there.settings, second.backup)
        (there.settings.home / path).unlink()
    (there.settings.home / "web.yaml").write_text("mine")
    report = restore(bk, there.settings)
    assert report.kept == (str(there.settings.home / "web.yaml"),)
    assert (there.settings.home / "web.yaml").read_text() == "mine"


def test_a_restore_that_differs_is_no_store(
    store: RecordStore, bk: Path, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(backup, "record_numbers", lambda _: {("contacts", "ua"): 1})
        back_up(store, bk)
    with pytest.raises(Unaccounted, match="other numbers of records"):
        restore(bk, there.settings)
    assert there.is_no_store()


def test_an_object_store_that_fails_at_times_loses_nothing(
    store: RecordStore, objects: ObjectServer, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in objects.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnreachable, match="The place of the backups, s3://no-such-bucket/x, cannot be reached"):
        back_up(store, "s3://no-such-bucket/x")
    bucket = objects.create()
    first = back_up(store, f"{bucket}/backups")
    put(store, "SELECT 'new' AS external_id, 'lead' AS status", "ua", "b-new")

    def fails(*_: Any) -> None:
        raise StoreUnreachable("The object store does not answer.", "Try again.")

    with monkeypatch.context() as patch:
        patch.setattr(BackupPlace, "publish", fails)
        with pytest.raises(StoreUnreachable):
            back_up(store, f"{bucket}/backups")
    place = BackupPlace(f"{bucket}/backups", store.settings)
    assert place.ids() == [first.backup]
    second = back_up(store, f"{bucket}/backups")
    assert second.new_files > 0
    (new, *_) = {*place.manifest(second.backup).files} - {*place.manifest(first.backup).files}
    flip(place.place / new.place)
    with pytest.raises(DamagedFile):
        restore(f"{bucket}/backups", there.settings)
    assert restore(f"{bucket}/backups", there.settings, first.backup).snapshot == first.snapshot


def test_the_commands_print_what_they_did(
    store: RecordStore, bk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = command("backup", str(bk), "--keep", "3")
    assert {"backup", "place", "snapshot", "at", "files", "bytes", "new_files", "seconds", "lock_seconds"} <= set(made)
    (listed,) = command("backups", str(bk))["items"]
    assert (listed["backup"], listed["snapshot"], listed["damage"]) == (made["backup"], made["snapshot"], None)
    monkeypatch.setenv("RECORDS_HOME", str(tmp_path / "there"))
    assert command("restore", str(bk), "--at", made["backup"])["records"] == 14
    for arguments, said in (
        (["backup", str(bk)], "each was read back"),
        (["backups", str(bk), "--verify"], "verified now"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert said in result.output
