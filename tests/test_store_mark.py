"""A catalog and data that do not belong together are refused before anything is read, written or deleted."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.file_storage import files_below, read, remove
from resources.importing.importer import Importer
from resources.record_store import RecordStore, ledger_files
from resources.record_store.announced_lock import WRITERS
from resources.record_store.store_mark import MARK, Mark, StoreMark
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.errors import CatalogOutdated, CommitUnknown, DamagedFile, ForeignData, StoreBusy, StoreNotReady
from schemas.rollbacks import RollbackRequest
from tests.object_server import on_disk
from tests.records import contact, contacts_of, put, stored, write_csv
from tests.timeline import execute_on_catalog


def data_files(settings: Settings) -> dict[str, bytes]:
    """Return the files among the data with their content, without the mark."""
    files = [file.place for root in (settings.lake, settings.accounts) for file in files_below(root)]
    return {str(file): read(file) for file in files}


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Settings:
    """Another catalog, by mistake, over the same data."""
    return replace(settings, home=tmp_path / "other", postgres=None)


@pytest.mark.runs_on("laptop", "server")
def test_a_second_catalog_cannot_take_the_data(store: RecordStore, other: Settings) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    before = data_files(store.settings)
    with RecordStore(other) as second:
        with pytest.raises(ForeignData, match="here is no catalog yet"):
            second.initialise(load_record_types())
        with pytest.raises(StoreNotReady, match="There is no store"):
            Maintenance(second, "tester").maintain()
        assert not second.exists, "nothing was made that would have to be removed"
    assert data_files(store.settings) == before
    assert len(stored(store)) == 1


@pytest.mark.runs_on("laptop", "server")
def test_two_stores_are_not_mixed(store: RecordStore, settings: Settings, tmp_path: Path) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    apart = replace(settings, home=tmp_path / "apart", postgres=None, data=tmp_path / "apart")
    with RecordStore(apart) as second:
        second.initialise(load_record_types())
    mixed = replace(settings, home=apart.home, postgres=None)
    before = data_files(settings)
    with RecordStore(mixed) as confused:
        for action in (
            lambda: confused.initialise(load_record_types()),
            confused.batches,
            lambda: confused.add_account("ua", "tester"),
            lambda: Maintenance(confused, "tester").maintain(),
        ):
            with pytest.raises(ForeignData, match="Nothing was read or written"):
                action()
    assert data_files(settings) == before


def test_files_without_an_id_are_not_taken(settings: Settings, home: Path) -> None:
    foreign = home / "lake" / "records" / "contacts" / "ducklake-1.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"a foreign file")
    with RecordStore(settings) as store, pytest.raises(ForeignData, match="there are files already"):
        store.initialise(load_record_types())
    assert foreign.read_bytes() == b"a foreign file"
    assert not (home / "catalog.sqlite").exists()


@pytest.mark.runs_on("laptop", "postgres")
def test_a_store_of_an_earlier_version_gets_an_id_when_its_files_are_there(store: RecordStore) -> None:
    """An earlier version made neither the mark nor the id in the catalog."""
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    settings = store.settings
    remove(settings.data / "store.json")
    execute_on_catalog(settings, "DELETE FROM ducklake_metadata WHERE key = 'records_store'")
    with RecordStore(settings) as old:
        with pytest.raises(StoreNotReady, match="records init"):
            old.batches()
        (file,) = [file.place for file in files_below(settings.lake / "records")]
        hidden = on_disk(file).rename(on_disk(file).with_suffix(".hidden"))
        with pytest.raises(ForeignData, match="which the catalog names, is missing"):
            old.initialise(load_record_types())
        hidden.rename(on_disk(file))
        old.initialise(load_record_types())
        assert len(stored(old)) == 1


def restored(settings: Settings, backup: Path, action: Callable[[], object]) -> None:
    """Restore the catalog as it was before an action."""
    names = [path.name for path in settings.home.glob("catalog.sqlite*")]
    for name in names:
        shutil.copy(settings.home / name, backup / name)
    action()
    for path in settings.home.glob("catalog.sqlite*"):
        path.unlink()
    for name in names:
        shutil.copy(backup / name, settings.home / name)


@pytest.fixture
def outdated(settings: Settings, empty_store: Path, tmp_path: Path) -> Settings:
    """A store with a restored catalog, which has only the first of two imports."""
    shutil.copytree(empty_store, settings.home)
    files = [write_csv(tmp_path / f"{n}.csv", [contact(n)]) for n in (1, 2)]

    def imports(file: Path) -> None:
        with RecordStore(settings) as store:
            Importer(store, "tester").import_file(contacts_of(file))

    imports(files[0])
    backup = tmp_path / "backup"
    backup.mkdir()
    restored(settings, backup, lambda: imports(files[1]))
    return settings


def test_a_catalog_that_is_older_than_its_data_is_refused_until_it_is_accepted(
    outdated: Settings, quick_reading: None, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    with RecordStore(outdated) as store:
        for action in (store.batches, lambda: Maintenance(store, "tester").maintain(), store.accounts):
            with pytest.raises(CatalogOutdated, match="records accept catalog"):
                action()
        outdated_by = store.outdated_catalog()
        assert outdated_by is not None
        assert outdated_by.data_snapshot > outdated_by.catalog_snapshot
        assert outdated_by.unknown_files == 1
        before = data_files(outdated)
        store.accept_catalog()
        assert store.outdated_catalog() is None
    with RecordStore(outdated) as store:
        assert len(stored(store)) == 1
        Importer(store, "tester").import_file(contacts_of(write_csv(tmp_path / "3.csv", [contact(3)])))
        report = Maintenance(store, "tester").maintain()
        assert len(report.unknown) == 1
        assert {path: content for path, content in data_files(outdated).items() if path in before} == before


def test_the_newer_catalog_does_not_fit_data_of_which_an_older_one_was_accepted(
    outdated: Settings, tmp_path: Path
) -> None:
    with RecordStore(outdated) as store:
        mark = store._mark.read()
        store.accept_catalog()
        assert mark is not None
    execute_on_catalog(outdated, "UPDATE ducklake_metadata SET value = ? WHERE key = 'records_store'", [mark.store])
    with RecordStore(outdated) as store, pytest.raises(ForeignData, match="the data are of the store"):
        store.accounts()


@pytest.mark.parametrize("step", ["first mark", "catalog", "last mark"])
def test_accepting_that_was_killed_goes_on(outdated: Settings, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = StoreMark.write

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def killed_at_mark(place: StoreMark, mark: Mark) -> None:
        if (step == "last mark") == (mark.accepted is None):
            raise KeyboardInterrupt
        write(place, mark)

    with monkeypatch.context() as patch:
        if step == "catalog":
            patch.setattr("resources.record_store.identity.set_store", killed)
        else:
            patch.setattr(StoreMark, "write", killed_at_mark)
        with RecordStore(outdated) as store, pytest.raises(KeyboardInterrupt):
            store.accept_catalog()
    with RecordStore(outdated) as store:
        assert store.outdated_catalog() is not None
        store.accept_catalog()
    with RecordStore(outdated) as store:
        assert store.accounts() == ["ua"]


@pytest.mark.runs_on("laptop", "postgres")
def test_a_mark_that_cannot_be_read_is_said(store: RecordStore) -> None:
    place = on_disk(store.settings.data / "store.json")
    mark = json.loads(place.read_text())
    for content in ("", "{", "[]", json.dumps(mark | {"snapshot": "many"})):
        place.write_text(content)
        with RecordStore(store.settings) as again, pytest.raises(DamagedFile, match="must name the store of the data"):
            again.accounts()
    place.unlink()
    with RecordStore(store.settings) as again:
        with pytest.raises(StoreNotReady):
            again.accounts()
        again.initialise(load_record_types())
        assert again.accounts() == []


def test_init_that_was_killed_is_completed_by_the_next(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("identity.set_store", "store_mark.StoreMark.create", "tables.create_table"):
        with monkeypatch.context() as patch:
            patch.setattr(f"resources.record_store.{place}", killed)
            with RecordStore(settings) as store, pytest.raises(KeyboardInterrupt):
                store.initialise(load_record_types())
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        assert store.accounts() == []


@pytest.mark.runs_on("laptop", "server")
def test_every_file_that_the_catalog_names_is_known_with_its_checksum(store: RecordStore, tmp_path: Path) -> None:
    from resources.record_store import lake_files

    importer, ua = Importer(store, "tester"), store.account("ua")
    for number in range(3):
        path = write_csv(tmp_path / f"{number}.csv", [contact(n, company=f"{number}") for n in range(number, 9)])
        batch = importer.import_file(contacts_of(path)).batch.batch_id
    ua.roll_back(RollbackRequest("ua", batch), "tester", None)
    Maintenance(store, "tester").maintain()
    with store.reading() as connection:
        named = [file.path for file in lake_files.named(connection)]
        known = ledger_files.files(connection, named)
        lake_files.compare(connection, store.settings.data, named, anew=True)
    assert known.keys() == set(named)
    for file in known.values():
        if "/records/" in file.path and not file.path.endswith("-delete.parquet"):
            assert file.account == "ua"
            assert set(file.batches) <= {batch.batch_id for batch in store.batches()}


@pytest.mark.runs_on("laptop", "postgres")
def test_the_mark_says_when_the_store_was_last_used(store: RecordStore) -> None:
    store.add_account("ua", "tester")
    mark = StoreMark(store.settings.data).read()
    assert mark is not None
    assert abs(mark.seen.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert mark.writing is None


@pytest.mark.runs_on("laptop", "postgres")
def test_files_of_a_commit_that_was_not_confirmed_are_put_back(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckLake deletes these files, though the catalog may still name them."""
    commit = RecordStore._execute_commit

    def unconfirmed(of: RecordStore, connection: Any) -> None:
        commit(of, connection)
        for file in files_below(of.settings.lake / "records"):
            remove(file.place)
        raise CommitUnknown("The catalog did not confirm a commit.")

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "_execute_commit", unconfirmed)
        with pytest.raises(CommitUnknown):
            put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    assert len(stored(store)) == 1
    put(store, "SELECT 'C-2' AS external_id, 'lead' AS status")
    assert len(stored(store)) == 2
    assert list(files_below(store.settings.data / "committing")) == []


@pytest.mark.runs_on("laptop", "server")
def test_a_refused_transaction_leaves_the_mark_as_it_was(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    batch_id = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)]))).batch.batch_id
    mark = StoreMark(store.settings.data)
    before = mark.read()
    with pytest.raises(ZeroDivisionError), store.transaction("an edit", "tester"):
        raise ZeroDivisionError
    assert mark.read() == before

    store.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None)
    before = mark.read()
    store.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None)
    assert mark.read() == before


def leave_a_file(path: Path) -> None:
    """Write a file as a writer does that fails afterwards."""
    path.parent.mkdir(parents=True)
    path.touch()
    raise ZeroDivisionError


def test_the_mark_keeps_its_size_after_many_writers_that_left_files(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    place = store.settings.data / MARK
    for number in range(60):
        folder = f"lake/records/contacts/_account={'a' * 60}{number}"
        left = store.settings.home / folder / "ducklake-left.parquet"
        pattern = f"{folder}/ducklake-*.parquet"
        with pytest.raises(ZeroDivisionError), store.transaction("an edit", "tester", writes=[pattern]):
            leave_a_file(left)
        assert len(read(place)) == 4096
    assert "ducklake-*" in read(place).decode()

    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))

    assert len(stored(store)) == 1
    assert "ducklake-*" not in read(place).decode()


@pytest.mark.runs_on("laptop", "server")
def test_a_copied_home_waits_for_the_writer_of_the_data_and_is_then_refused(settings: Settings, tmp_path: Path) -> None:
    settings = sqlite_store(settings, tmp_path)
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
        shutil.copytree(settings.home, tmp_path / "copy")
        with RecordStore(replace(settings, home=tmp_path / "copy", lock_seconds=0.1)) as copied:
            with store.transaction("an edit", "tester") as transaction:
                transaction.connection.execute("UPDATE lake.records.contacts SET status = 'customer'")
                with pytest.raises(StoreBusy):
                    put(copied, "SELECT 'C-2' AS external_id, 'lead' AS status")
            with pytest.raises(CatalogOutdated):
                put(copied, "SELECT 'C-2' AS external_id, 'lead' AS status")
        assert [record["status"] for record in stored(store)] == ["customer"]


@pytest.mark.runs_on("server")
def test_the_announcement_of_a_killed_writer_stops_copies_of_its_home_only(settings: Settings, tmp_path: Path) -> None:
    settings = sqlite_store(settings, tmp_path)
    writers = settings.data / WRITERS
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        shutil.copytree(settings.home, tmp_path / "copy")
        names = settings.home / "catalog.sqlite.writer"
        names.write_text("left")  # as a killed writer leaves it, and its object
        on_disk(writers).mkdir(exist_ok=True)
        (on_disk(writers) / "left").touch()
        with RecordStore(replace(settings, home=tmp_path / "copy")) as copied:
            with pytest.raises(StoreBusy, match="A copy of the catalog") as refused:
                copied.add_account("ua", "tester")
            assert f"{writers}/left" in str(refused.value.hint)
        assert store.add_account("ua", "tester")
    assert list(files_below(writers)) == []


def sqlite_store(settings: Settings, tmp_path: Path) -> Settings:
    """Return the settings of another store, with a catalog in SQLite and data apart from it."""
    data = tmp_path / "data" if settings.postgres is None else settings.data / "apart"
    return replace(settings, home=tmp_path / "apart", postgres=None, data=data)
