"""A store of an older format is changed by `records init` alone, and one of a newer format is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipelines.commands.cli import main
from resources.backup import Backup, BackupPlace, Restore
from resources.export_writer import ExportWriter
from resources.file_storage import entries
from resources.health.check import StoreCheck
from resources.health.repair import StoreRepair
from resources.importing.importer import Importer
from resources.migration import Migration
from resources.record_store import RecordStore
from resources.record_store.store_format import CHANGES, FORMAT
from resources.record_store.tables import set_format
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.batches import BatchStatus
from schemas.checks import Kind
from schemas.errors import OtherFormat
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackRequest
from tests.conftest import StoppedClock
from tests.older_stores import FIRST, LATER, MADE_AT, unpack
from tests.records import contact, contacts_of, put, stored, values, write_csv
from tests.test_source import on_a_terminal

Row = tuple[Any, ...]

OF_NUMBER = ((), ("presets",), ("files",), ("value_mappings",), ("erasures", "losses"))
"""The tables that the ledger has since each format."""


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def columns(store: RecordStore) -> set[Row]:
    """Return table, name and type of each column of the ledger."""
    with store._lake.attached(read_only=True) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'ledger' "
            "AND database_name = 'lake'"
        )
        return set(found.fetch_all())


def change_to(store: RecordStore, number: int) -> None:
    """Write another number, and remove the tables of later formats."""
    with store.transaction("another number", "tester", writes=()) as transaction:
        for names in OF_NUMBER[number + 1 :]:
            for name in names:
                transaction.connection.execute(f"DROP TABLE lake.ledger.{name}")
        set_format(transaction.connection, number)


def everything(store: RecordStore, folder: Path) -> list[Callable[[], object]]:
    """Return a use of the store of each kind."""
    path = write_csv(folder / "in.csv", [contact(1)])
    place = folder / "moved"
    return [
        store.batches,
        lambda: store.add_account("other", "tester"),
        lambda: Importer(store, "tester").preview(contacts_of(path, "demo")),
        lambda: ExportWriter(store, "tester").export(ExportRequest("demo", "contacts")),
        lambda: Maintenance(store, "tester").maintain(),
        lambda: StoreRepair(store, "tester").run(),
        lambda: Migration(store, str(place), str(place)).run(),
        lambda: store.initialise(load_record_types()),
    ]


@pytest.fixture(params=[FIRST, LATER])
def older(request: pytest.FixtureRequest, home: Path, settings: Settings, quick_reading: None) -> Iterator[RecordStore]:
    """A store that an older program made, an hour later."""
    unpack(request.param, home)
    clock = StoppedClock()
    clock.time = MADE_AT
    with RecordStore(settings, clock=clock) as store:
        yield store


def test_numbers_are_without_gaps() -> None:
    assert [change.number for change in CHANGES] == list(range(1, FORMAT + 1))


def test_an_older_store_is_refused_until_it_is_changed_and_works_then(
    older: RecordStore, empty_store: Path, tmp_path: Path
) -> None:
    before = columns(older)
    for use in everything(older, tmp_path):
        with pytest.raises(OtherFormat, match=rf"has format 0, and this program needs format {FORMAT}\..*records init"):
            use()
    assert (columns(older), older.state().format) == (before, 0), "nothing was changed"

    done = command("init", "--yes")
    assert (done.exit_code, done.stdout.splitlines()[: len(CHANGES)]) == (
        0,
        [f"The store has format {it.number} now: {it.sentence}" for it in CHANGES],
    )
    assert done.stderr.splitlines() == [f"Changing the store to format {it.number}…" for it in CHANGES]
    with RecordStore(replace(older.settings, home=empty_store, data=empty_store)) as new:
        assert columns(older) == columns(new), "the changes lead to what a new store has"

    second, first = older.batches("demo")
    assert [second.file_name, first.file_name] == ["second.csv", "first.csv"]
    path = write_csv(tmp_path / "third.csv", [contact(3)])
    third = Importer(older, "tester").import_file(contacts_of(path, "demo")).batch
    assert (third.status, third.counts.created) == (BatchStatus.COMMITTED, 1)
    assert values(older, "status", account="demo")["C-2"] == "lead"
    older.account("demo").roll_back(RollbackRequest("demo", second.batch_id), "tester", None)
    rolled_back = values(older, "status", account="demo")
    assert ("C-4" in rolled_back, rolled_back["C-2"], len(rolled_back)) == (False, "customer", 4)
    report = ExportWriter(older, "tester").export(ExportRequest("demo", "contacts"))
    assert (report.rows, len(older.exports("demo"))) == (4, 2)
    assert not StoreCheck(older).run().wrong


def test_init_says_what_it_changes_and_asks(home: Path, quick_reading: None) -> None:
    unpack(LATER, home)
    sentence = f"The store has format 0, and this program needs format {FORMAT}. New in it:"
    hints = (
        "First end all programs that use the store. Back it up: records backup PLACE.",
        "Older programs must not use the store afterwards. The way back: restore that backup to an empty place: "
        "records restore PLACE. Then install the older program.",
    )
    refused = command("init")
    assert (refused.exit_code, refused.stderr) == (
        3,
        f"Error: {sentence} {' '.join(change.sentence for change in CHANGES)}\n"
        f"Nothing was changed. {' '.join(hints)} Then: records init --yes\n",
    )
    shown, code = on_a_terminal(["init"], {"Change the store now?": "n\n"})
    lines = shown.splitlines()
    listed = [f"  {change.number}  {change.sentence}" for change in CHANGES]
    assert (lines[: len(listed) + 3], code) == ([sentence, *listed, *hints], 1)
    with RecordStore(Settings.from_environment()) as store:
        assert store.state().format == 0
    shown, code = on_a_terminal(["init"], {"Change the store now?": "y\n"})
    assert (code, f"Changing the store to format {FORMAT}…" in shown) == (0, True)
    with RecordStore(Settings.from_environment()) as store:
        assert store.state().format == FORMAT


def test_a_store_without_an_id_is_copied_instead_of_backed_up(home: Path) -> None:
    unpack(FIRST, home)
    refused = command("init")
    assert f"Copy {home}. Older programs" in refused.stderr
    assert "put that copy in its place again" in refused.stderr
    kept = command("backup", str(home.parent / "backups"))
    assert (kept.exit_code, "has format 0" in kept.stderr) == (1, True)
    checked = command("check")
    assert (checked.exit_code, "other_format" in checked.stdout, "Nothing else was checked" in checked.stdout) == (
        3,
        True,
        True,
    )


def test_an_older_store_is_checked_and_backed_up_and_restored_in_its_format(
    home: Path, settings: Settings, quick_reading: None, tmp_path: Path
) -> None:
    unpack(LATER, home)
    with RecordStore(settings) as store:
        report = StoreCheck(store).run()
        assert (report.wrong, report.records, report.files > 10) == ((), 4, True)
        notes = [it.sentence for it in report.notes if it.kind is Kind.OLDER_FORMAT]
        assert notes == [
            f"The store in {home} has format 0, and this program needs format {FORMAT}. To change it: records init."
        ]
        before = columns(store)
        Backup(store, BackupPlace(str(tmp_path / "backups"), settings)).run()
        with pytest.raises(OtherFormat):
            store.batches()
    there = replace(settings, home=tmp_path / "there", data=tmp_path / "there")
    restored = CliRunner().invoke(main, ["--home", str(there.home), "restore", str(tmp_path / "backups")])
    assert restored.exit_code == 0, restored.output
    assert "It has the older format 0. The program that made it can use it as it is." in restored.stdout
    with RecordStore(there) as store:
        assert (store.state().format, columns(store)) == (0, before)
        store.initialise(load_record_types(), change_format=True)
        assert len(stored(store, account="demo")) == 4


@pytest.mark.runs_on("laptop", "postgres")
def test_a_numbered_store_gets_the_changes_that_it_lacks(store: RecordStore) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    new = columns(store)
    change_to(store, 2)
    with RecordStore(store.settings) as other:
        with pytest.raises(OtherFormat, match=f"has format 2, and this program needs format {FORMAT}"):
            other.add_account("other", "tester")
        assert not StoreCheck(other, fast=True).run().wrong
        done = other.initialise(load_record_types(), change_format=True)
        assert done == [f"The store has format {it.number} now: {it.sentence}" for it in CHANGES[2:]]
        assert (columns(other), other.state().format) == (new, FORMAT)
        assert other.add_account("other", "tester")
        assert len(stored(other)) == 1


@pytest.mark.runs_on("laptop", "postgres")
def test_a_newer_store_is_refused(store: RecordStore, tmp_path: Path) -> None:
    set_to = FORMAT + 1
    change_to(store, set_to)
    with RecordStore(store.settings) as newer:
        uses: list[Callable[[], object]] = [
            *everything(newer, tmp_path),
            newer.accept_catalog,
            newer.accept_clock,
            lambda: newer.initialise(load_record_types(), change_format=True),
            Backup(newer, BackupPlace(str(tmp_path / "backups"), newer.settings)).run,
        ]
        for use in uses:
            with pytest.raises(
                OtherFormat, match=f"has format {set_to}, and this program knows formats up to {FORMAT}"
            ):
                use()
        (finding,) = StoreCheck(newer).run().wrong
        assert (finding.kind, newer.state().format) == (Kind.OTHER_FORMAT, set_to)


def test_a_store_that_is_open_while_its_format_changes_writes_no_more(store: RecordStore) -> None:
    store.accounts()
    with RecordStore(store.settings) as other:
        change_to(other, FORMAT + 1)
    with pytest.raises(OtherFormat):
        store.add_account("other", "tester")


def test_a_backup_of_a_newer_store_is_refused_before_anything_is_written(store: RecordStore, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"), store.settings)
    made = Backup(store, place).run()
    manifest = place.chosen(made.backup)
    assert manifest.store_format == FORMAT
    place.publish(replace(manifest, store_format=FORMAT + 1))
    target = replace(store.settings, home=tmp_path / "there", data=tmp_path / "there")
    with pytest.raises(OtherFormat, match=f"knows formats up to {FORMAT}"):
        Restore(place, target).run()
    assert [it.name for it in entries(target.home)] in ([], ["scratch"])


def test_the_clock_of_an_older_store_can_be_accepted(home: Path, settings: Settings) -> None:
    """Otherwise neither the clock nor the format could be put right first."""
    unpack(LATER, home)
    clock = StoppedClock()
    clock.time = MADE_AT
    with RecordStore(settings, clock=clock) as store:
        assert store.accept_clock() == MADE_AT
