"""A store is moved to another place with its whole history. It is complete and compared, or it is not a store."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipelines.commands.cli import main
from pipelines.commands.terminal import ProgressBar
from resources.export_writer import ExportWriter
from resources.file_reader import reader
from resources.file_storage import FileStorage
from resources.importing.importer import Importer
from resources.migration import migration
from resources.migration.catalog_copy import CatalogCopy
from resources.migration.catalog_rows import STAGED, NewCatalog
from resources.migration.migration import INCOMPLETE, Migration
from resources.record_store import RecordStore, sqlite_file
from resources.running_ui import RunningUi
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.batches import BatchStatus, OnInvalid
from schemas.errors import (
    InvalidRequest,
    NotAccessible,
    NotFound,
    Refused,
    StoreBusy,
    StoreNotReady,
    StoreUnreachable,
    Unaccounted,
)
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackCounts, RollbackRequest
from tests.faults.steps import run as run_and_kill
from tests.faults.steps import settings_of
from tests.forked_reading import FORKED
from tests.object_server import SECRET, ObjectServer, on_disk
from tests.postgres import PASSWORD, Postgres, database_of
from tests.records import contact, contacts_of, put, stored, write_csv
from tests.timeline import execute_on_catalog

pytestmark = pytest.mark.xdist_group("migration")  # because of the history


@dataclass(frozen=True)
class History:
    """A home with a store that has one of everything, and the ids of what was done there.

    `first` was committed. Another batch was committed and rolled back. `live` was committed after maintenance.
    `previewed` waits.
    """

    home: Path
    first: str
    live: str
    previewed: str
    exported: str
    before_live: list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A place to migrate to, and the settings of a user there."""

    to: str
    data: str
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment | {"RECORDS_ACTOR": "tester"})


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> History:
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
        rolled_back = importer.import_file(contacts_of(file(*range(3, 8), company="mistaken"))).batch.batch_id
        ua.roll_back(RollbackRequest("ua", rolled_back), "tester", None)
        importer.import_file(
            contacts_of(write_csv(folder / "bad.csv", [contact(20), contact(21, status="?")])), OnInvalid.SKIP
        )
        exported = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts")).export_id
        with store.transaction("many presets", "tester") as transaction:  # too many for the catalog, so a file has them
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
        put(store, "SELECT 'nul' AS external_id, 'lead' AS status, 'Zoë' || chr(0) AS company", "dl", "b-nul")
    for path in ("inbox/ua/contacts/to come.csv", "archive/ua/contacts/b-1/in.csv", "quarantine/ua/x/WHY.txt"):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(path)
    unfinished = home / "accounts" / "ua" / "exports" / "e-1"
    (unfinished / "parts").mkdir(parents=True)
    for left in (unfinished / "plan.json", unfinished / "parts" / "0", home / "accounts" / "ua" / ".x.1.partial"):
        left.write_text("of a run that has not ended")
    (home / "inbox" / "ua" / "contacts" / "link.csv").symlink_to("/etc/hostname")
    (home / "exports.yaml").write_text("exports: []\n")
    return History(home, first, live, previewed, exported, before_live)


@pytest.fixture
def source(history: History, home: Path) -> Iterator[RecordStore]:
    """The store of the history, on a laptop; a copy for this test alone."""
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
    """A folder that does not exist yet, for all of a store."""
    place = str(tmp_path / "elsewhere")
    return Place(place, place, {"RECORDS_HOME": place})


def content(store: RecordStore) -> list[Any]:
    """Return all that a store reports of itself, except its place."""
    data = str(store.settings.data).rstrip("/")
    exports = [replace(it, path=str(it.path).removeprefix(data)) for it in store.exports()]  # type: ignore[arg-type]
    types = [stored(store, "contacts", account) for account in store.accounts()]
    return [store.batches(), exports, store.accounts(), store.record_types(), store.presets("ua", "contacts"), *types]


def files(home: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a home, except files of open databases, locks, and what monitoring reads."""
    return {
        str(path.relative_to(home)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock", "measurements.json"))
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
    """Check that a user at the new place can do everything that was possible before."""
    with RecordStore(place.settings) as store:
        (batch,) = (it for it in store.batches() if it.batch_id == history.previewed)
        assert batch.status is BatchStatus.PREVIEWED
        importer, ua = Importer(store, "tester"), store.account("ua")
        assert ua.roll_back(RollbackRequest("ua", history.live), "tester", None).counts == RollbackCounts(
            removed=6, restored=2
        )
        assert stored(store) == history.before_live
        assert importer.commit("ua", history.previewed).batch.counts.created == 3


def test_a_store_moves_up_and_back_with_its_history(
    source: RecordStore, history: History, server: Place, laptop: Place
) -> None:
    before, exported = content(source), export_as_of(source, history.first)

    up = Migration(source, server.to, server.data).run()

    with RecordStore(server.settings) as store:
        assert content(store)[1:] == content(source)[1:]
        assert content(store)[0] == before[0]
        assert export_as_of(store, history.first) == exported
        assert (up.accounts, up.record_types, up.batches, up.exports) == (2, 2, 6, 2)
        assert up.compared > 3
        down = Migration(store, laptop.to, laptop.data).run()
    works_as(server, history)
    assert (down.batches, down.exports) == (6, 3)
    with RecordStore(laptop.settings) as store:
        assert content(store)[0] == before[0]
        assert export_as_of(store, history.first) == exported
    works_as(laptop, history)
    with RecordStore(laptop.settings) as store:
        assert Maintenance(store, "tester").maintain().orphans.number == 0


def test_the_source_is_as_it_was_and_goes_on(source: RecordStore, history: History, laptop: Place) -> None:
    before, home = files(source.settings.home), source.settings.home
    with closing(sqlite3.connect(source.settings.catalog)) as catalog:
        rows = list(catalog.iterdump())

    far: list[tuple[int, int | None]] = []
    report = Migration(source, laptop.to, laptop.data).run(lambda done, total: far.append((done, total)))

    assert len(far) == report.files
    assert far == sorted(far)
    assert far[-1] == (report.bytes, report.bytes)
    assert files(home) == before
    with closing(sqlite3.connect(source.settings.catalog)) as catalog:
        assert list(catalog.iterdump()) == rows
    assert source.add_account("later", "tester")
    with RecordStore(laptop.settings) as store:
        assert "later" not in store.accounts()
    works_as(replace(laptop, environment={"RECORDS_HOME": str(home)}), history)


def test_only_whole_files_are_copied(source: RecordStore, laptop: Place) -> None:
    os.utime(source.settings.home / "inbox/ua/contacts/to come.csv", (1_700_000_000, 1_700_000_000))
    here = {
        path: digest
        for path, digest in files(source.settings.home).items()
        if not path.startswith(("catalog", "tmp", "lake", "store.json"))
        and ".partial" not in path
        and "/e-1/" not in path
    }
    assert len(here) > 10
    del here["inbox/ua/contacts/link.csv"]

    migrate(source, laptop)

    home = laptop.settings.home
    there = {
        path: digest for path, digest in files(home).items() if not path.startswith(("catalog", "lake", "store.json"))
    }
    assert there == here
    assert (home / "inbox/ua/contacts/to come.csv").stat().st_mtime == 1_700_000_000
    assert files(home / "lake").items() <= files(source.settings.home / "lake").items()
    assert not (home / STAGED).exists()
    assert not list(home.glob(f"{INCOMPLETE}*"))
    assert not list(source.settings.scratch.iterdir())


def test_the_tables_are_as_ducklake_makes_them(
    source: RecordStore, server: Place, postgres: Postgres, tmp_path: Path, quick_reading: None
) -> None:
    """DuckLake must find what it writes itself, above all rows that lie in the catalog."""
    native, moved, again = postgres.create(), database_of(server.to), postgres.create()
    made = replace(source.settings, postgres=postgres.address(native), data=tmp_path / "native")
    with RecordStore(made) as store:
        store.initialise(load_record_types())
        Importer(store, "tester").import_file(contacts_of(write_csv(tmp_path / "one.csv", [contact(1)])))
        ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
        store.account("ua").save_preset("contacts", "own", ["external_id"], "tester")
        migrate(store, Place(postgres.address(again), str(tmp_path / "again"), {}))  # from a server to a server
    migrate(source, replace(server, data=str(tmp_path / "moved")))

    for facts in (
        "SELECT DISTINCT regexp_replace(table_name, '[0-9_]+$', ''), column_name, ordinal_position, data_type, "
        "is_nullable FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3",
        # The indexes on rows of the ledger have the numbers of their tables in their names.
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE 'records%' ORDER BY 1",
        # `records init` makes the part of the history that readers see.
        "SELECT nspname::text FROM pg_namespace WHERE nspname NOT LIKE 'pg_t%' AND nspname <> 'records_history' "
        "ORDER BY 1",
    ):
        assert postgres.execute(facts, moved) == postgres.execute(facts, native)
        assert postgres.execute(facts, again) == postgres.execute(facts, native)
    postgres.drop(native)
    postgres.drop(again)


def _migrate(to: str, data: str, store: RecordStore) -> None:
    migration._AT_ONCE = 1  # so that steps are counted one after another
    Migration(store, to, data).run()


@pytest.fixture(scope="module")
def steps(history: History, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the number of steps of a migration to a folder."""
    folder = tmp_path_factory.mktemp("counted")
    home = shutil.copytree(history.home, folder / "home", symlinks=True)
    return run_and_kill(partial(_migrate, str(folder / "there"), str(folder / "there")), settings_of(home))


@pytest.mark.parametrize("share", [0.0, 0.45, 0.85, 1.0])
def test_a_migration_that_is_killed_leaves_a_store_or_none_and_goes_on(
    source: RecordStore, history: History, laptop: Place, steps: int, share: float
) -> None:
    home = source.settings.home
    before = files(home)

    run_and_kill(partial(_migrate, laptop.to, laptop.data), source.settings, 1 + round(share * (steps - 1)))

    assert files(home).items() >= before.items()
    if share < 0.5:
        assert is_no_store(laptop)
        migrate(source, laptop)
    else:
        with pytest.raises(Refused, match="There is a store already"):
            migrate(source, laptop)
    works_as(laptop, history)


def test_what_fails_before_the_end_leaves_no_store_on_a_server(
    source: RecordStore, history: History, server: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = replace(
        server, data=str(tmp_path / "data"), environment=server.environment | {"RECORDS_DATA": str(tmp_path / "data")}
    )
    before = files(source.settings.home)

    def lost() -> None:
        raise StoreBusy("The lock was lost.", "Try again.")

    for of, name in ((NewCatalog, "_load"), (source.write_lock, "prove")):
        with monkeypatch.context() as patch, pytest.raises(StoreBusy):  # noqa: PT012
            patch.setattr(of, name, lambda *_: lost())
            migrate(source, server)
        assert is_no_store(server)
    assert files(source.settings.home) == before
    migrate(source, server)
    works_as(server, history)


def test_a_file_that_was_copied_badly_is_found(
    source: RecordStore, laptop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away, damaged = FileStorage.put, list[Path]()

    def damage(storage: FileStorage, made: Path, final: Path) -> None:
        put_away(storage, made, final)
        if final.suffix == ".parquet" and not damaged:
            damaged.append(final)
            data = bytearray(final.read_bytes())
            data[len(data) // 2] ^= 1
            final.write_bytes(data)

    with monkeypatch.context() as patch, pytest.raises(Unaccounted, match="has other bytes than were written"):  # noqa: PT012
        patch.setattr(FileStorage, "put", damage)
        migrate(source, laptop)
    assert is_no_store(laptop)
    migrate(source, laptop)
    with RecordStore(laptop.settings) as store:
        assert content(store) == content(source)


def test_a_disk_that_fails_at_the_end_is_a_sentence_and_leaves_no_store(
    source: RecordStore, laptop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "end_log", fails)
        with pytest.raises(NotAccessible, match="the disk fails, or is full"):
            migrate(source, laptop)
    assert is_no_store(laptop)
    migrate(source, laptop)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE ducklake_data_file SET end_snapshot = begin_snapshot + 1 WHERE table_id > 7", "contacts of "),
        ("UPDATE {accounts} SET account = 'x' WHERE account = 'dl'", "ledger of accounts"),
    ],
)
def test_a_catalog_that_shows_something_else_is_found(
    source: RecordStore, laptop: Place, monkeypatch: pytest.MonkeyPatch, statement: str, said: str
) -> None:
    compare, staged = CatalogCopy._compare, replace(laptop.settings, home=laptop.settings.home / STAGED)

    def changed(*arguments: Any) -> Any:
        ((accounts,),) = execute_on_catalog(
            staged,
            "SELECT i.table_name FROM ducklake_inlined_data_tables i JOIN ducklake_table t USING (table_id) "
            "WHERE t.table_name = 'accounts'",
        )
        execute_on_catalog(staged, statement.format(accounts=accounts))
        return compare(*arguments)

    monkeypatch.setattr(CatalogCopy, "_compare", changed)
    with pytest.raises(Unaccounted, match=said):
        migrate(source, laptop)
    assert is_no_store(laptop)


def test_a_place_that_is_not_empty_is_refused_and_left_alone(
    source: RecordStore, server: Place, laptop: Place, tmp_path: Path
) -> None:
    places = {}
    for number, path in enumerate(("mine.txt", "lake/mine", "catalog.sqlite", f"{INCOMPLETE}of-another", "inbox.yaml")):
        place = tmp_path / f"place-{number}"
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("mine")
        places[place] = path
        data = place if number % 2 else tmp_path / "other"
        with pytest.raises(Refused, match="There is a store already" if number == 2 else "is not empty"):
            Migration(source, str(place), str(data)).run()
        assert files(place) == {path: sha256(b"mine").hexdigest()}
    on_disk(server.settings.data / "mine").write_bytes(b"mine")
    with pytest.raises(Refused, match=r"is not empty\. It has s3://.*/mine"):
        migrate(source, server)
    with RecordStore(laptop.settings) as store:
        store.initialise(load_record_types())
    with pytest.raises(Refused, match="There is a store already"):
        migrate(source, laptop)
    assert not (tmp_path / "other").exists()


def test_an_invalid_place_is_refused(source: RecordStore, server: Place, postgres: Postgres, tmp_path: Path) -> None:
    postgres.execute("CREATE ROLE guest LOGIN")
    for to, data, error, said in (
        (f"mysql://u:{PASSWORD}@host/db", "/there", InvalidRequest, "--to is neither"),
        (f"postgresql://u:{PASSWORD}%zz@host/db?no=1", "/there", InvalidRequest, "--to is not an address"),
        (f"postgresql://u:{PASSWORD}@/db?host=/nowhere", "/there", StoreUnreachable, "--to names"),
        ("/there", "ftp://there", InvalidRequest, "--data is 'ftp://there'"),
        (str(tmp_path / "x"), "s3://no-such-bucket/x", StoreUnreachable, "the bucket of --data"),
        (
            server.to.replace("postgres:", "guest:", 1),
            str(tmp_path / "x"),
            StoreUnreachable,
            "refuses to make the cata",
        ),
        (str(tmp_path / "x"), str(source.settings.accounts / "x"), InvalidRequest, "among the files of the store"),
    ):
        with pytest.raises(error, match=said) as raised:
            Migration(source, to, data).run()
        assert PASSWORD not in str(raised.value)
    assert not (tmp_path / "x").exists()
    nowhere = replace(source.settings, home=tmp_path / "nowhere", data=tmp_path / "nowhere")
    with RecordStore(nowhere) as store, pytest.raises(StoreNotReady, match="There is no store in"):
        migrate(store, server)
    assert not nowhere.home.exists()


def test_what_changes_meanwhile_is_not_missed(
    source: RecordStore, history: History, laptop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away, arrived = FileStorage.put, source.settings.home / "inbox" / "ua" / "contacts" / "to come.csv"

    def grow(storage: FileStorage, made: Path, final: Path) -> None:
        put_away(storage, made, final)
        if final.name == arrived.name:
            with arrived.open("a") as file:
                file.write("more")

    with monkeypatch.context() as patch, pytest.raises(Refused, match="Files of the store changed"):  # noqa: PT012
        patch.setattr(FileStorage, "put", grow)
        migrate(source, laptop)
    assert is_no_store(laptop)
    arrived.rename(arrived.with_name("in work.csv"))
    with pytest.raises(Refused, match=r"is not empty. It has .*to come\.csv"):
        migrate(source, laptop)
    (laptop.settings.inbox / "ua" / "contacts" / "to come.csv").unlink()
    migrate(source, laptop)
    works_as(laptop, history)


def test_no_process_writes_meanwhile(source: RecordStore, laptop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordStore(replace(source.settings, lock_seconds=0.0)) as other:
        make = CatalogCopy.make

        def beside(copy: CatalogCopy, store_id: str) -> Any:
            with pytest.raises(StoreBusy):
                other.add_account("late", "tester")
            assert other.accounts() == ["dl", "ua"]
            return make(copy, store_id)

        monkeypatch.setattr(CatalogCopy, "make", beside)
        migrate(source, laptop)
    RunningUi("http://127.0.0.1:1", "http://127.0.0.1:2", os.getpid()).write(source.settings)
    with pytest.raises(Refused, match=f"serves this store .process {os.getpid()}"):
        migrate(source, laptop)


def test_a_source_that_lacks_a_file_is_said(source: RecordStore, laptop: Place) -> None:
    lost = next(source.settings.home.glob("lake/records/**/*.parquet"))
    lost.unlink()
    with pytest.raises(NotFound, match=f"{lost.name} is missing, and a snapshot"):
        migrate(source, laptop)
    assert is_no_store(laptop)


def _interrupted(_: CatalogCopy, store_id: str) -> None:
    raise KeyboardInterrupt


def test_the_command_says_what_to_set_and_no_secret(
    source: RecordStore, server: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*arguments: str) -> Result:
        return CliRunner(env={"RECORDS_MIGRATE_TO": server.to}).invoke(main, ["migrate", *arguments])

    with monkeypatch.context() as patch:
        patch.setattr(CatalogCopy, "make", _interrupted)
        interrupted = command("--data", server.data, "--json")
    assert "the target is not a store yet" in json.loads(interrupted.stdout)["error"]["message"]
    done = command("--data", server.data, "--json")
    again = command("--data", str(tmp_path / "data"))
    back = command("--to", str(tmp_path / "back"), "--data", str(tmp_path / "data"))

    assert (done.exit_code, again.exit_code, back.exit_code) == (0, 3, 0), done.stderr + back.stderr
    report = json.loads(done.stdout)
    assert {"accounts", "record_types", "batches", "snapshots", "files", "bytes", "seconds", "to", "data"} <= set(
        report
    )
    assert report["data"] == server.data.rstrip("/")
    assert report["environment"] == {"RECORDS_CATALOG": report["to"], "RECORDS_DATA": report["data"]}
    assert report["by_hand"] == [str(source.settings.home / "exports.yaml")]
    for line in (f"RECORDS_HOME={tmp_path / 'back'}", "unset RECORDS_CATALOG", f"RECORDS_DATA={tmp_path / 'data'}"):
        assert f"  {line}\n" in back.stdout
    said = "".join(it.output for it in (interrupted, done, again, back))
    assert PASSWORD not in said
    assert SECRET not in said


def test_an_export_is_found_in_a_home_that_was_moved_by_hand(source: RecordStore, tmp_path: Path) -> None:
    source.settings.home.rename(tmp_path / "moved")
    with RecordStore(replace(source.settings, home=tmp_path / "moved", data=tmp_path / "moved")) as store:
        (manifest,) = store.exports()
        assert sha256(manifest.path.read_bytes()).hexdigest() == manifest.sha256
        assert store.latest_exports("contacts") == [manifest]


def test_progress_is_reported_in_bytes_also_for_an_empty_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBar("Copying", exact=True, of_bytes=True) as progress:
        progress(0, 5_000_000)
        progress(2_000_000, 5_000_000)
    assert "2.0 MB of 5.0 MB, " in capsys.readouterr().err
