"""A store moved to another place, with its whole history: complete and compared, or not a store."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from resources import migration
from resources.export_writer import ExportWriter
from resources.file_reader import reader
from resources.file_storage import FileStorage
from resources.importer import Importer
from resources.maintenance import Maintenance
from resources.migration import MARK, Migration
from resources.record_store import RecordStore
from resources.record_store.catalog_copy import STAGED, CatalogCopy
from resources.running_ui import RunningUi
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import BatchStatus, OnInvalid
from schemas.errors import (
    InvalidRequest,
    RecordsError,
    Refused,
    StoreBusy,
    StoreNotReady,
    StoreUnreachable,
    Unaccounted,
)
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackCounts, RollbackRequest
from tests.faults.steps import run as run_and_kill
from tests.forked_reading import FORKED
from tests.object_server import SECRET, ObjectServer, on_disk
from tests.postgres import PASSWORD, Postgres
from tests.records import contact, contacts_of, put, stored, write_csv
from tests.serving import COMMAND
from tests.timeline import execute_on_catalog


@dataclass(frozen=True)
class History:
    """A home whose store has one of everything, and what was done there.

    `first` was committed, `undone` committed and taken back, `live` committed after maintenance; `previewed` waits.
    """

    home: Path
    first: str
    live: str
    previewed: str
    exported: str
    before_live: list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A place to migrate to, and the settings of who works there."""

    to: str
    data: str
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment | {"RECORDS_ACTOR": "tester"})


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("history")
    home = shutil.copytree(empty_store, folder / "home")
    names = iter(range(100))

    def file(*numbers: int, **fields: str) -> Path:
        return write_csv(folder / f"{next(names)}.csv", [contact(n, **fields) for n in numbers])

    settings = Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester"})
    with pytest.MonkeyPatch.context() as patch, RecordStore(settings) as store:
        patch.setattr(reader, "subprocess", FORKED)
        importer, ua = Importer(store, "tester"), store.account("ua")
        first = importer.import_file(contacts_of(file(*range(6), company="old"))).batch.batch_id
        undone = importer.import_file(contacts_of(file(*range(3, 8), company="mistaken"))).batch.batch_id
        ua.roll_back(RollbackRequest("ua", undone), "tester", None)
        importer.import_file(contacts_of(file(8, 9, company="Zoë"), "dl"))
        importer.import_file(
            contacts_of(write_csv(folder / "bad.csv", [contact(20), contact(21, status="?")])), OnInvalid.SKIP
        )
        exported = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts")).export_id
        with store.transaction("many presets", "tester") as transaction:  # too many for the catalog: they have a file
            transaction.connection.execute(
                "INSERT INTO lake.ledger.presets SELECT ? + n, ?, 'ua', 'contacts', 'p' || n, ['status'], 'tester' "
                "FROM range(150) t(n)",
                [transaction.seq, transaction.at],
            )
        ua.save_preset("contacts", "own", ["external_id", "company"], "tester")
        assert Maintenance(store, "tester").maintain().written > 0
        before_live = stored(store)
        live = importer.import_file(contacts_of(file(*range(4, 12), company="new"))).batch.batch_id
        previewed = importer.preview(contacts_of(file(*range(30, 33)))).batch.batch_id
        put(store, "SELECT 'nul' AS external_id, 'lead' AS status, 'a' || chr(0) || 'b' AS company", "dl", "b-nul")
    for path in ("inbox/ua/contacts/to come.csv", "archive/ua/contacts/b-1/in.csv", "quarantine/ua/x/WHY.txt"):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(path)
    unfinished = home / "accounts" / "ua" / "exports" / "e-1"
    (unfinished / "parts").mkdir(parents=True)
    for path in (unfinished / "plan.json", unfinished / "parts" / "0", home / "accounts" / "ua" / ".x.1.partial"):
        path.write_text("of a run that has not ended")
    (home / "inbox" / "ua" / "contacts" / "link.csv").symlink_to("/etc/hostname")
    (home / "exports.yaml").write_text("exports: []\n")
    yield History(home, first, live, previewed, exported, before_live)


@pytest.fixture
def source(history: History, home: Path) -> Iterator[RecordStore]:
    """The store of the history, on a laptop, of which this test has the only copy."""
    shutil.copytree(history.home, home, symlinks=True)
    with RecordStore(Settings.from_environment()) as store:
        yield store


@pytest.fixture
def server(
    postgres: Postgres, objects: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Place]:
    """An empty database and an empty bucket."""
    for name, value in objects.environment.items():
        monkeypatch.setenv(name, value)
    database, bucket = postgres.create(), objects.create()
    to = postgres.address(database)
    yield Place(
        to, bucket, {"RECORDS_HOME": str(tmp_path / "at-server"), "RECORDS_CATALOG": to, "RECORDS_DATA": bucket}
    )
    postgres.drop(database)
    objects.drop(bucket)


@pytest.fixture
def laptop(tmp_path: Path) -> Place:
    """A folder that is not there yet, for all of a store."""
    place = str(tmp_path / "elsewhere")
    return Place(place, place, {"RECORDS_HOME": place})


def told(store: RecordStore) -> list[Any]:
    """All that a store tells of itself, but for where it is."""
    data = str(store.settings.data).rstrip("/")
    exports = [replace(it, path=str(it.path).removeprefix(data)) for it in store.exports()]  # type: ignore[arg-type]
    types = [stored(store, "contacts", account) for account in store.accounts()]
    return [store.batches(), exports, store.accounts(), store.record_types(), store.presets("ua", "contacts"), *types]


def files(home: Path) -> dict[str, str]:
    """The SHA-256 of each file of a home, but for those that say that somebody has it open, or had."""
    return {
        str(path.relative_to(home)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def export_as_of(store: RecordStore, batch_id: str) -> tuple[int, str]:
    manifest = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", as_of=batch_id))
    return manifest.snapshot, manifest.sha256


def migrate(source: RecordStore, place: Place) -> None:
    Migration(source, place.to, place.data).run()


def is_no_store(place: Place) -> bool:
    with RecordStore(place.settings) as store, pytest.raises(StoreNotReady):
        store.accounts()
    return True


def works_as(place: Place, history: History) -> None:
    """Whoever goes on at a place can do whatever they could do before."""
    with RecordStore(place.settings) as store:
        (batch,) = (it for it in store.batches() if it.batch_id == history.previewed)
        assert batch.status is BatchStatus.PREVIEWED
        importer, ua = Importer(store, "tester"), store.account("ua")
        assert ua.roll_back(RollbackRequest("ua", history.live), "tester", None).counts == RollbackCounts(
            removed=6, restored=2
        )
        assert stored(store) == history.before_live
        assert importer.commit("ua", history.previewed).batch.counts.created == 3
        assert Maintenance(store, "tester").maintain().orphans.number == 0


def test_a_store_moves_up_and_back_with_its_history(
    source: RecordStore, history: History, server: Place, laptop: Place
) -> None:
    before, exported = told(source), export_as_of(source, history.first)

    up = Migration(source, server.to, server.data).run()

    with RecordStore(server.settings) as store:
        assert told(store)[1:] == told(source)[1:]
        assert told(store)[0] == before[0]
        assert export_as_of(store, history.first) == exported
        assert (up.accounts, up.record_types, up.batches, up.exports) == (2, 2, 7, 2)
        assert up.compared > 3
        down = Migration(store, laptop.to, laptop.data).run()
    works_as(server, history)
    assert (down.batches, down.exports) == (7, 3)
    with RecordStore(laptop.settings) as store:
        assert told(store)[0] == before[0]
        assert export_as_of(store, history.first) == exported
    works_as(laptop, history)


def test_the_source_is_as_it_was_and_goes_on(source: RecordStore, history: History, laptop: Place) -> None:
    before, home = files(source.settings.home), source.settings.home
    with closing(sqlite3.connect(source.settings.catalog)) as catalog:
        rows = list(catalog.iterdump())

    migrate(source, laptop)

    assert files(home) == before
    with closing(sqlite3.connect(source.settings.catalog)) as catalog:
        assert list(catalog.iterdump()) == rows
    assert source.add_account("later", "tester")
    with RecordStore(laptop.settings) as store:
        assert "later" not in store.accounts()
    works_as(replace(laptop, environment={"RECORDS_HOME": str(home)}), history)


def test_what_is_copied_is_what_whole_files_there_are(source: RecordStore, laptop: Place) -> None:
    source.settings.inbox.joinpath("ua/contacts/to come.csv").touch()
    os.utime(source.settings.inbox / "ua/contacts/to come.csv", (1_700_000_000, 1_700_000_000))
    here = {
        path: digest
        for path, digest in files(source.settings.home).items()
        if not path.startswith(("catalog", "tmp", "lake")) and ".partial" not in path and "/e-1/" not in path
    }
    assert len(here) > 10
    del here["inbox/ua/contacts/link.csv"]

    migrate(source, laptop)

    home = laptop.settings.home
    there = {path: digest for path, digest in files(home).items() if not path.startswith(("catalog", "lake"))}
    assert there == here
    assert (home / "inbox/ua/contacts/to come.csv").stat().st_mtime == 1_700_000_000
    assert files(home / "lake").items() <= files(source.settings.home / "lake").items()
    assert not (home / STAGED).exists()
    assert not list(home.glob(f"{MARK}*"))
    assert not list(source.settings.scratch.iterdir())


def test_the_tables_are_as_ducklake_makes_them(
    source: RecordStore, server: Place, postgres: Postgres, empty_database: tuple[str, Path], home: Path
) -> None:
    """So that DuckLake finds what it writes itself, above all in rows that lie in the catalog."""
    native = postgres.create(empty_database[0])
    with RecordStore(replace(source.settings, postgres=postgres.address(native), home=home / "native")) as store:
        put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
        Importer(store, "tester").import_file(contacts_of(write_csv(home / "one.csv", [contact(1)])))
        ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
        store.account("ua").save_preset("contacts", "own", ["external_id"], "tester")
    migrate(source, replace(server, data=str(home / "moved")))

    def columns(database: str) -> set[tuple[object, ...]]:
        return set(
            postgres.execute(
                "SELECT regexp_replace(table_name, '[0-9_]+$', ''), column_name, ordinal_position, data_type, "
                "is_nullable FROM information_schema.columns WHERE table_schema = 'public'",
                database,
            )
        )

    (database,) = [server.to.split("/")[-2].split("?")[0]]
    assert columns(database) == columns(native)
    keys = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    assert postgres.execute(keys, database) == postgres.execute(keys, native)
    assert postgres.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'records%'", database) == []
    postgres.drop(native)


def _migrate(to: str, data: str, store: RecordStore) -> None:
    migration._AT_ONCE = 1  # so that steps are counted one after another
    Migration(store, to, data).run()


@pytest.fixture(scope="module")
def steps(history: History, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many a migration to a folder takes."""
    folder = tmp_path_factory.mktemp("counted")
    home = shutil.copytree(history.home, folder / "home", symlinks=True)
    return run_and_kill(partial(_migrate, str(folder / "there"), str(folder / "there")), home)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45, 0.7, 1.0])
def test_a_migration_that_is_killed_leaves_a_store_or_none_and_goes_on(
    source: RecordStore, history: History, laptop: Place, steps: int, share: float
) -> None:
    home, before = source.settings.home, files(source.settings.home)

    run_and_kill(partial(_migrate, laptop.to, laptop.data), home, 1 + round(share * (steps - 1)))

    assert files(home).items() >= before.items()
    if share < 0.5:
        assert is_no_store(laptop)
        migrate(source, laptop)
    else:
        with pytest.raises(Refused, match="There is a store already"):
            migrate(source, laptop)
    works_as(laptop, history)
