"""Erasures: no byte of a store has what was erased, and everything else is as it was."""

import csv
import errno
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from resources.erasure import file_cutter
from resources.erasure.account_deletion import AccountDeletion
from resources.erasure.derived_files import beyond_reach, lists_of_lost_keys
from resources.erasure.erased_records import ErasedRecords
from resources.erasure.eraser import Eraser
from resources.erasure.source_files import SourceFiles
from resources.export_writer import ExportWriter
from resources.file_storage import size_of
from resources.health.check import StoreCheck
from resources.importing.importer import Importer
from resources.inbox.arrived_file import arrived_file
from resources.record_store import RecordStore, lake_files, ledger
from resources.record_store.catalog import catalog_of
from resources.settings import EXECUTORS, Settings
from resources.upkeep.maintenance import Maintenance
from schemas.arrivals import Outcome
from schemas.batches import BatchStatus, ImportRequest, OnInvalid
from schemas.checks import Kind
from schemas.erasure import ErasureRequest, Found, Touched
from schemas.errors import InvalidRequest, NotFound, Refused
from schemas.exports import ExportRequest
from schemas.rollbacks import OnModified, RollbackRequest
from tests.canaries import COLUMNS, KEYS, WORDS, open_previews, other, person, put_canaries, snapshots_of_others
from tests.every_byte import places_with
from tests.inbox import arrive, import_all, lands, take
from tests.object_server import on_disk
from tests.postgres import Postgres, database_of
from tests.records import Row, contact, contacts_of, stored, values, write_csv

REQUEST = ErasureRequest("ua", "contacts", KEYS[:2], {"external_id": KEYS[2]})


def _require_no_canary(store: RecordStore, request: pytest.FixtureRequest) -> None:
    settings = store.settings
    for root in (settings.home, on_disk(settings.data)):
        assert places_with(root, WORDS) == []
    if settings.postgres is not None:
        server: Postgres = request.getfixturevalue("postgres")
        server.execute("SELECT pg_switch_wal()")
        server.execute("CHECKPOINT")
        server.execute("SELECT pg_switch_wal()")
        server.execute("CHECKPOINT")
        others = server.folders_of_others(database_of(settings.postgres))
        assert [it for it in places_with(server.folder / "data", WORDS) if not it.startswith(others)] == []


def _require_whole(store: RecordStore) -> None:
    """Compare each file of the lake with its checksum, and all that the catalog says of it with its content."""
    with store.reading() as connection:
        paths = [file.path for file in lake_files.named(connection)]
        lake_files.compare(connection, store.settings.data, paths, anew=True)
        assert lake_files.unknown(connection, lake_files.existing(store.settings.data, lake_files.EVERYWHERE)) == set()
        for file in lake_files.named(connection):
            assert size_of(store.settings.data / file.path) == file.bytes


@pytest.mark.runs_on("laptop", "postgres", "server")
def test_what_was_erased_is_in_no_byte_and_all_else_is_as_it_was(
    store: RecordStore, settings: Settings, setting: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    records = 100_000 if setting == "laptop" else 200
    outside = tmp_path / "outside"
    for folder in (outside, tmp_path / "files"):
        folder.mkdir()
    with_canaries = put_canaries(store, tmp_path / "files", outside, records)
    before, previews = snapshots_of_others(store), open_previews(store)
    assert len(places_with(on_disk(settings.data), WORDS)) > 20
    with RecordStore(settings) as idle:  # it knows the statistics of the columns from before
        idle.add_account("idle", "tester")
        eraser = Eraser(store, "tester")
        plan = eraser.plan(REQUEST)
        report = eraser.erase(REQUEST)
        idle.add_account("idle-2", "tester")
        Importer(idle, "tester").import_file(
            contacts_of(write_csv(tmp_path / "files" / "idle.csv", [other(3 * records)]), "va")
        )
        store.vacuum()
        _require_no_canary(store, request)
    after = snapshots_of_others(store)
    assert {number: after[number] for number in before} == before
    _require_whole(store)
    assert StoreCheck(store).run().wrong == ()
    places = {it.place: it for it in report.touched}
    assert [it.place for it in plan.touched if it.removed + it.rewritten] == [
        it.place for it in report.touched if it.removed + it.rewritten
    ]
    assert places[Found.ARCHIVE].rewritten == 7
    assert places[Found.ARCHIVE].removed == 2, "a list within an object, and a damaged file"
    assert places[Found.INBOX].rewritten == 2
    assert any("delivered.csv" in sentence for sentence in report.beyond)
    assert with_canaries.kept_preview in open_previews(store)
    assert set(previews) - set(open_previews(store)) == set(report.discarded)
    assert report.receipt is not None

    # The rollbacks of the others work, and say that they cross an erasure. They bring nobody back.
    for batch_id in (with_canaries.created, with_canaries.updated):
        rolled_back = store.account("ua").roll_back(
            RollbackRequest("ua", batch_id, OnModified.OVERWRITE), "tester", None
        )
        assert rolled_back.erased
        assert "erased" in rolled_back.erased[0]
    notes = values(store, "notes")
    assert len(notes) >= records
    assert not set(KEYS) & notes.keys()
    assert notes[other(20)["external_id"]] is None
    Importer(store, "tester").commit("ua", with_canaries.kept_preview, OnInvalid.SKIP)
    if setting == "laptop":
        Maintenance(store, "tester").maintain()
        _require_no_canary(store, request)

    # Batches that lost their reports to the erasure, and go on after it, need none.
    assert StoreCheck(store).run().wrong == ()

    # A later import of a key is a new record.
    Importer(store, "tester").import_file(contacts_of(write_csv(tmp_path / "again.csv", [person(1)])))
    assert KEYS[0] in values(store, "notes")


def test_logs_on_other_machines_are_named_if_steps_run_there(settings: Settings) -> None:
    named = {it: "on other machines" in " ".join(beyond_reach(replace(settings, executor=it))) for it in EXECUTORS}
    assert named == {"in_process": False, "multiprocess": False, "celery": True, "k8s": True}


def test_nothing_is_written_if_nothing_is_found(store: RecordStore) -> None:
    Importer(store, "tester")
    store.add_account("ua", "tester")
    seen = store.batches()
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("nobody",)))
    assert report.is_empty
    assert (report.erasure_id, report.not_found) == (None, ("nobody",))
    assert store.batches() == seen
    assert catalog_of(store.settings).exists()
    assert all(batch.status is not BatchStatus.DISCARDED for batch in store.batches())


def test_a_file_that_waits_and_cannot_be_written_without_a_record_stops_the_erasure(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "first.csv", [contact(1), contact(2)])
    importer.import_file(contacts_of(file))
    place = Path(str(store.settings.inbox)) / "ua" / "contacts" / "nested.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"data": {"items": [dict(contact(1)), dict(contact(3))]}}), "utf-8")
    request = ErasureRequest("ua", "contacts", (contact(1)["external_id"],))
    for what in (Eraser(store, "tester").plan, Eraser(store, "tester").erase):
        with pytest.raises(Refused, match=r"nested\.json waits for its import"):
            what(request)
    assert len(stored(store)) == 2, "nothing was erased"
    place.unlink()
    report = Eraser(store, "tester").erase(request)
    assert [row["external_id"] for row in stored(store)] == [contact(2)["external_id"]]
    assert contact(1)["external_id"] not in json.dumps(report.to_dict())


@pytest.mark.runs_on("laptop", "server")
def test_files_that_get_the_same_name_are_all_kept(store: RecordStore) -> None:
    """Two files wait that are named for their people, one of them is in processing, and a third has the masked name."""
    store.add_account("ua", "tester")
    files: list[tuple[str, Row]] = [("C-000001.csv", contact(11)), ("C-000003.csv", contact(12))]
    others = lands(store, "(erased).csv", [contact(13)])
    for name, row in files:
        lands(store, name, [contact(1), contact(3), row])
    bundle = "processing/a-20260105-093000000-abcdef/ua/contacts"
    for name, row in files:
        write_csv(_folder(store, bundle) / name, [contact(1), contact(3), row])
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("C-000001", "C-000003")))
    assert {path.name: _keys(path) for path in others.parent.iterdir()} == {
        "(erased).csv": ["C-000013"],
        "(erased)-2.csv": ["C-000011"],
        "(erased)-3.csv": ["C-000012"],
    }
    assert {path.name: _keys(path) for path in _folder(store, bundle).iterdir()} == {
        "(erased).csv": ["C-000011"],
        "(erased)-2.csv": ["C-000012"],
    }


@pytest.mark.parametrize("is_cut", [False, True], ids=["before the cut", "after the cut"])
@pytest.mark.runs_on("laptop", "server")
def test_a_file_that_is_replaced_during_an_erasure_is_searched_again(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    """Its new records are all kept, and those to erase are found at their new places, or the file has none of them."""
    store.add_account("ua", "tester")
    names = ["a.csv", "b.csv", "all.csv", "of C-000001.csv"]
    waiting = [lands(store, name, [contact(1), contact(2)]) for name in names]
    lands(store, "all.csv", [contact(1)])  # it would be removed
    new = {"a.csv": [3, 4, 1], "b.csv": [5, 6], "all.csv": [1, 7], "of C-000001.csv": [8, 9, 1]}

    def replace() -> None:
        for path in waiting:
            if new.get(path.name):
                lands(store, path.name, map(contact, new.pop(path.name)))

    def mask_reasons(files: SourceFiles) -> Touched:
        replace()
        return Touched(Found.QUARANTINE)

    def copystat(*_: object) -> None:
        replace()

    if is_cut:
        del new["all.csv"]
        monkeypatch.setattr(shutil, "copystat", copystat)
    else:
        monkeypatch.setattr(SourceFiles, "mask_reasons", mask_reasons)
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("C-000001",)))
    assert not any("arrived during the whole erasure" in it for it in report.beyond)
    assert {path.name: _keys(path) for path in waiting[0].parent.iterdir()} == {
        "a.csv": ["C-000003", "C-000004"],
        "b.csv": ["C-000005", "C-000006"],
        "of (erased).csv": ["C-000008", "C-000009"],
        **({} if is_cut else {"all.csv": ["C-000007"]}),
    }


def test_a_waiting_file_that_cannot_be_cut_just_now_stays(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_account("ua", "tester")
    waiting = lands(store, "a.csv", [contact(1), contact(2)])

    def mask_reasons(files: SourceFiles) -> Touched:
        monkeypatch.setattr(file_cutter, "_CUTTERS", {"delimited": _fill_disk})
        return Touched(Found.QUARANTINE)

    monkeypatch.setattr(SourceFiles, "mask_reasons", mask_reasons)
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("C-000001",)))
    assert _keys(waiting) == ["C-000001", "C-000002"]
    assert [it for it in report.beyond if it.startswith(f"{waiting} came during the erasure")]


def _fill_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.runs_on("laptop", "server")
def test_a_file_with_a_key_in_its_name_alone_gets_another_name(
    store: RecordStore, request: pytest.FixtureRequest
) -> None:
    """One waits, one is in processing, one in the archive, and two are in quarantine, of which one cannot be read."""
    store.add_account("ua", "tester")
    name = f"of {KEYS[0]}.csv"
    lands(store, name, [contact(1)])
    lands(store, f"{KEYS[0]}.csv", [contact(2, amount="x")])
    (_folder(store, "inbox/ua/contacts") / f"{KEYS[0]}.xlsx").write_bytes(b"damaged")
    arrive(store)
    lands(store, name, [contact(4)])
    write_csv(_folder(store, "processing/a-20260105-093000000-abcdef/ua/contacts") / name, [contact(5)])
    before = _contents(store)
    eraser, wanted = Eraser(store, "tester"), ErasureRequest("ua", "contacts", KEYS[:1])
    for report in (eraser.plan(wanted), eraser.erase(wanted)):
        rewritten = {it.place: it.rewritten for it in report.touched}
        assert (rewritten[Found.INBOX], rewritten[Found.ARCHIVE]) == (2, 1)
        assert rewritten[Found.QUARANTINE] >= 2, "reasons beside the files are masked, too"
    assert _contents(store) == before, "each file has another name, and the same bytes"
    _require_no_canary(store, request)
    for batch in store.batches("ua"):
        assert arrived_file(store.settings, batch) is not None
    assert StoreCheck(store).run().wrong == ()


def _contents(store: RecordStore) -> list[tuple[str, bytes]]:
    """Return the folder and the bytes of each file of the inbox, without the reasons in quarantine."""
    folders = [on_disk(store.settings.data / it) for it in ("inbox", "processing", "archive", "quarantine")]
    files = [it for folder in folders for it in folder.rglob("*") if it.is_file() and it.name != "WHY.txt"]
    return sorted((str(it.parent), it.read_bytes()) for it in files)


def _folder(store: RecordStore, place: str) -> Path:
    folder = on_disk(store.settings.data / place)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keys(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["external_id"] for row in csv.DictReader(file)]


def test_a_file_keeps_every_other_byte(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    content = 'external_id;status;notes\r\nA-1;lead;"two\r\nlines"\r\nA-2;lead;ä\r\nA-3;lead;"a ""quoted"" end"\r\n'
    (tmp_path / "file.csv").write_bytes(content.encode("utf-8-sig"))
    batch = importer.import_file(contacts_of(tmp_path / "file.csv")).batch
    archived = Path(str(store.settings.archive)) / "ua" / "contacts" / batch.batch_id / "file.csv"
    archived.parent.mkdir(parents=True)
    archived.write_bytes(content.encode("utf-8-sig"))
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("A-1", "A-4")))
    assert report.not_found == ("A-4",)
    assert "A-4" not in json.dumps(report.to_dict())
    assert archived.read_bytes() == content.replace('A-1;lead;"two\r\nlines"\r\n', "").encode("utf-8-sig")
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", (), {"notes": 'a "quoted" end'}))
    assert archived.read_bytes() == "external_id;status;notes\r\nA-2;lead;ä\r\n".encode("utf-8-sig")
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("A-2",)))
    assert not archived.exists(), "it had nothing else"


@pytest.mark.runs_on("laptop", "postgres")
def test_a_value_that_looks_like_the_account_leaves_its_files_where_the_ledger_finds_them(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    def imported(name: str, *rows: Row) -> ImportRequest:
        return contacts_of(write_csv(tmp_path / name, rows), "contoso")

    importer.import_file(imported("1.csv", contact(1), contact(2)))
    export = ExportWriter(store, "tester").export(ExportRequest("contoso", "contacts"))
    importer.import_file(imported("2.csv", contact(3, company="Contoso", notes="contacts", city="exports")))
    other_rejects = importer.import_file(imported("of Contoso.csv", contact(4), contact(5, amount="x")), OnInvalid.SKIP)
    preview = importer.preview(imported("3.csv", contact(9))).batch
    outside = tmp_path / "contoso" / "to Contoso.csv"
    outside.parent.mkdir()
    ExportWriter(store, "tester").export(ExportRequest("contoso", "contacts", path=outside))
    report = Eraser(store, "tester").erase(ErasureRequest("contoso", "contacts", (contact(3)["external_id"],)))

    assert StoreCheck(store).run().wrong == ()
    delivered, own = store.exports("contoso")
    assert own.path == export.path
    assert str(delivered.path) == str(outside.parent / "to (erased).csv")
    assert any("to Contoso.csv" in sentence for sentence in report.beyond)
    assert importer.commit("contoso", preview.batch_id).batch.status is BatchStatus.COMMITTED
    renamed = store.account("contoso").report(other_rejects.batch.batch_id)
    assert renamed.rejects_file is not None
    assert renamed.rejects_file.name == "of (erased).rejects.csv"
    assert (
        importer.import_file(contacts_of(on_disk(renamed.rejects_file), "contoso"), OnInvalid.SKIP).batch.parent
        is not None
    )


def test_what_only_the_ledger_has_is_erased(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    """A record that was rejected, in a batch without files any more, has left its key in the name of the file."""
    importer.import_file(
        contacts_of(write_csv(tmp_path / "first.csv", [contact(1, company="w"), contact(2, company="x")]))
    )
    named = write_csv(
        tmp_path / "complaint of C-000777.csv", [contact(2, company="y"), contact(777, company="z", amount="canary")]
    )
    importer.import_file(contacts_of(named), OnInvalid.SKIP)
    for kind in ("staging", "rejects", "reports"):
        shutil.rmtree(on_disk(store.settings.folder("ua", kind)))
    eraser, request = Eraser(store, "tester"), ErasureRequest("ua", "contacts", ("C-000777",))
    seen = store.batches("ua")
    assert eraser.plan(ErasureRequest("ua", "contacts", ("C-000778",))).is_empty
    assert not eraser.plan(request).is_empty
    assert not eraser.plan(ErasureRequest("ua", "contacts", (), {"notes": "complaint"})).is_empty
    assert eraser.plan(ErasureRequest("ua", "contacts", (), {"notes": "complaint", "company": "v"})).is_empty
    assert eraser.erase(ErasureRequest("ua", "contacts", ("C-000778",))).erasure_id is None
    assert store.batches("ua") == seen, "nothing was written"
    assert eraser.erase(request).erasure_id is not None
    assert store.batches("ua")[0].file_name == "complaint of (erased).csv"
    assert places_with(store.settings.home, [b"C-000777"]) == []
    assert eraser.plan(request).is_empty


def test_another_record_of_a_similar_key_stays(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    rows = [person(1, external_id=key, notes=key) for key in ("abc", "ABC", "'abc", "=abc")]
    importer.import_file(contacts_of(write_csv(tmp_path / "first.csv", rows, COLUMNS)))
    waiting = Path(str(store.settings.inbox)) / "ua" / "contacts" / "waits.csv"
    waiting.parent.mkdir(parents=True)
    write_csv(waiting, rows, COLUMNS)
    before = waiting.read_text()
    malformed = "ABC,lead\n"
    waiting.write_text(before + malformed)
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("abc", "=abc")))
    assert sorted(values(store, "notes")) == ["'abc", "ABC"]
    kept = before.splitlines(keepends=True)
    assert waiting.read_text() == "".join([kept[0], kept[2], kept[3], malformed])
    assert [it for it in report.beyond if it.startswith(f"{waiting} has a row without a valid key")]


@pytest.mark.parametrize("key", ["abc ", " abc", "abc\u00a0", "\u200babc", "a\u00adbc", "a\u200bbc ", "\tabc"])
def test_a_row_with_an_unseen_character_in_its_key_is_named(store: RecordStore, key: str) -> None:
    """An import rejects such a key, and for a person it is the key of the record."""
    store.add_account("ua", "tester")
    waiting = lands(store, "waits.csv", [contact(1, external_id=key), contact(2)])
    clean = lands(store, "clean.csv", [contact(1, external_id="abcd "), contact(2)])
    before = waiting.read_bytes()
    report = Eraser(store, "tester").plan(ErasureRequest("ua", "contacts", ("abc",)))
    assert [it for it in report.beyond if it.startswith(f"{waiting} has a row without a valid key")]
    assert not [it for it in report.beyond if it.startswith(str(clean))]
    assert waiting.read_bytes() == before


def test_a_rejects_file_has_its_keys_escaped(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    rows = [person(number, external_id=key, amount="x") for number, key in ((1, "=abc"), (2, "=def"))]
    rejected = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", rows, COLUMNS)), OnInvalid.SKIP)
    assert rejected.rejects_file is not None
    path = on_disk(rejected.rejects_file)
    assert "'=abc" in path.read_text("utf-8-sig")
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", ("=abc",)))
    assert "=abc" not in path.read_text("utf-8-sig")
    assert "'=def" in path.read_text("utf-8-sig")


def test_lists_of_lost_keys_are_read_by_type_and_damaged_lines_are_searched(store: RecordStore) -> None:
    """A list has the keys as DuckDB writes them: 2013-01-01T10:00:00.000000Z, for example."""
    store.add_account("ua", "tester")
    lost = on_disk(store.settings.folder("ua", "lost"))
    lost.mkdir(parents=True)
    for name, flight, more in (
        ("with", 1545, ""),
        ("without", 7, "5\n[]\n{\n"),
        ("damaged", 7, '{"carrier": "UA", 2013'),
    ):
        columns = (
            f"TIMESTAMPTZ '2013-01-01 11:00:00+01' AS time_hour, 'UA' AS carrier, {flight} AS flight, 'EWR' AS origin"
        )
        duckdb.execute(f"COPY (SELECT {columns}) TO '{lost / name}' (FORMAT json)")
        with (lost / name).open("a", encoding="utf-8") as file:
            file.write(more)
    with store.reading() as connection:
        record_type = ledger.record_types(connection)["flights"]
    key = (datetime(2013, 1, 1, 10, tzinfo=UTC), "UA", 1545, "EWR")
    found = lists_of_lost_keys(store.settings, "ua", ErasedRecords(record_type, [key], {}))
    assert [place.name for place in found] == ["with"]
    (lost / "damaged").write_text('{"external_id": "E-1", ', "utf-8")
    with store.reading() as connection:
        record_type = ledger.record_types(connection)["contacts"]
    found = lists_of_lost_keys(store.settings, "ua", ErasedRecords(record_type, [("E-1",)], {}))
    assert [place.name for place in found] == ["damaged"]


def test_what_moves_or_is_previewed_after_the_search_is_erased_too(
    store: RecordStore,
    importer: Importer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The sensor takes a file, and a person previews another one, while the erasure masks the ledger."""
    importer.import_file(contacts_of(write_csv(tmp_path / "first.csv", [person(1), other(2)], COLUMNS)))
    waiting = on_disk(store.settings.inbox) / "ua" / "contacts" / "waits.csv"
    taken = on_disk(store.settings.processing) / "a-20260105-093000000-abcdef" / "ua" / "contacts" / "waits.csv"
    nested = waiting.with_name("nested.json")
    for place in (waiting, taken):
        place.parent.mkdir(parents=True)
    write_csv(waiting, [other(3), person(1, notes="the canary waits")], COLUMNS)
    later = write_csv(tmp_path / "of CANARY-1.csv", [person(1, notes="a later canary"), other(4)], COLUMNS)
    previewed = []

    def mask_reasons(files: SourceFiles) -> Touched:
        waiting.rename(taken)
        previewed.append(importer.preview(contacts_of(later)).batch.batch_id)
        nested.write_text(json.dumps({"data": {"items": [dict(person(1)), dict(other(3))]}}), "utf-8")
        return Touched(Found.QUARANTINE)

    monkeypatch.setattr(SourceFiles, "mask_reasons", mask_reasons)
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", KEYS[:1]))
    assert report.discarded == tuple(previewed)
    with taken.open(encoding="utf-8", newline="") as file:
        assert [row["external_id"] for row in csv.DictReader(file)] == [other(3)["external_id"]]
    assert [it for it in report.beyond if it.startswith(f"{nested} came during the erasure")]
    nested.unlink()
    _require_no_canary(store, request)


def test_the_receipt_names_what_belongs_to_nobody_and_exports_from_before_an_earlier_erasure(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    people = write_csv(tmp_path / "people.csv", [person(1), other(2)], COLUMNS)
    importer.import_file(contacts_of(people))
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", path=tmp_path / "delivered.csv"))
    lands(store, "x.csv", [person(1)], "unknown/contacts")
    lands(store, "y.csv", [person(1)], "ua/unknown")
    take(store)
    request = ErasureRequest("ua", "contacts", KEYS[:1])
    for _ in range(2):
        beyond = "\n".join(Eraser(store, "tester").erase(request).beyond)
        assert "delivered.csv" in beyond
        for name in ("x.csv", "y.csv"):
            assert f"{name} is in quarantine and belongs to no account and type" in beyond
        importer.import_file(replace(contacts_of(people), again=True))


@pytest.mark.runs_on("laptop", "server")
def test_a_copy_from_before_an_erasure_is_not_imported_after_it(
    store: RecordStore, settings: Settings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A file in an object store is copied to this machine first. Then the erasure cuts the object."""
    store.add_account("ua", "tester")
    lands(store, "arrived.csv", [person(1, notes="the canary waits"), other(3)])
    take(store)
    import_file = Importer.import_file

    def erase_first(*arguments: Any) -> Any:
        with RecordStore(settings) as another:
            Eraser(another, "tester").erase(ErasureRequest("ua", "contacts", KEYS[:1]))
        return import_file(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Importer, "import_file", erase_first)
        (outcome,) = import_all(store).values()
    assert outcome.outcome is Outcome.POSTPONED
    import_all(store)
    assert values(store, "notes").keys() == {other(3)["external_id"]}
    _require_no_canary(store, request)


def test_a_key_beside_the_records_of_a_file_is_named(store: RecordStore, tmp_path: Path) -> None:
    store.add_account("ua", "tester")
    inbox = _folder(store, "inbox/ua/contacts")
    (inbox / "titled.csv").write_text(f"# about {KEYS[0]}\nexternal_id,status\n{KEYS[0]},lead\nC-7,lead\n", "utf-8")
    (inbox / "remark.csv").write_text(f"external_id,status,notes\nC-7,lead,see {KEYS[0]}\n", "utf-8")
    (inbox / "without.csv").write_text("external_id,status\nC-7,lead\n", "utf-8")
    book = openpyxl.Workbook()
    first = book.create_sheet("people", 0)
    first.append(["external_id", "status"])
    first.append(["C-7", "lead"])
    book.create_sheet("more").append([KEYS[0]])
    book.save(inbox / "sheets.xlsx")
    report = Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", KEYS[:1]))
    named = {Path(it.partition(" has a key outside")[0]).name for it in report.beyond if " has a key outside" in it}
    assert named == {"titled.csv", "remark.csv", "sheets.xlsx"}


@pytest.mark.runs_on("laptop", "server")
def test_a_manifest_with_a_filter_that_names_an_erased_record_goes_with_its_export(
    store: RecordStore, importer: Importer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "others.csv", [other(1)], COLUMNS)))
    early = ExportRequest("ua", "contacts", filters=(f"external_id != {KEYS[0]}",))
    ExportWriter(store, "tester").export(early)
    kept = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    importer.import_file(contacts_of(write_csv(tmp_path / "people.csv", [person(1)], COLUMNS)))
    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", KEYS[:1]))
    _require_no_canary(store, request)
    assert size_of(kept.path) is not None
    assert StoreCheck(store).run().wrong == ()


@pytest.mark.parametrize("is_deleted", [False, True], ids=["erase", "delete the account"])
@pytest.mark.runs_on("laptop", "server")
def test_an_import_that_has_read_its_file_during_an_erasure_reads_it_again(
    store: RecordStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    is_deleted: bool,
) -> None:
    store.add_account("ua", "tester")
    lands(store, "arrived.csv", [person(1, notes="the canary waits"), other(3)])
    take(store)
    staged, read = Importer._staged, []

    def erase_after_reading(*arguments: Any) -> Any:
        found = staged(*arguments)
        read.append(found.counts.read)
        if len(read) == 1:
            with RecordStore(settings) as another:
                if is_deleted:
                    AccountDeletion(another, "ua", "tester").delete()
                else:
                    Eraser(another, "tester").erase(ErasureRequest("ua", "contacts", KEYS[:1]))
        return found

    monkeypatch.setattr(Importer, "_staged", erase_after_reading)
    (outcome,) = import_all(store).values()
    assert outcome.outcome is Outcome.POSTPONED
    assert "records were erased while its file was read" in outcome.sentence
    import_all(store)
    if is_deleted:
        assert read == [2]
        assert store.accounts() == []
    else:
        assert read == [2, 1]
        assert values(store, "notes").keys() == {other(3)["external_id"]}
    _require_no_canary(store, request)
    assert StoreCheck(store).run().wrong == ()


@pytest.mark.parametrize(
    ("keys", "matching", "message"),
    [
        ((), {}, "No record is named"),
        (("",), {}, "is empty"),
        ((), {"mail": "x"}, "has no field 'mail'"),
        ((), {"amount": "x"}, "is not a value of amount"),
    ],
)
def test_a_wrong_request_is_refused(
    store: RecordStore, keys: tuple[str, ...], matching: dict[str, str], message: str
) -> None:
    store.add_account("ua", "tester")
    with pytest.raises(InvalidRequest, match=message):
        Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", keys, matching))
    with pytest.raises(InvalidRequest, match="several fields"):
        Eraser(store, "tester").erase(ErasureRequest("ua", "flights", ("UA",)))


@pytest.mark.runs_on("laptop", "postgres")
def test_a_deleted_account_leaves_nothing_and_its_name_is_free(
    store: RecordStore, importer: Importer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    people = [person(1), person(2, amount="canary"), *map(other, range(3, 100))]
    importer.import_file(contacts_of(write_csv(tmp_path / "people.csv", people, COLUMNS)), OnInvalid.SKIP)
    for number in (3, 4):  # the second change retires the file of deletions of the first one
        importer.import_file(contacts_of(write_csv(tmp_path / "changed.csv", [other(number, notes="changed")])))
    Maintenance(store, "tester").maintain()
    with store.reading() as connection:
        assert any(it.endswith("-delete.parquet") for it in lake_files.retired(connection))
    importer.preview(contacts_of(write_csv(tmp_path / "preview.csv", [person(3)], COLUMNS)))
    importer.import_file(contacts_of(write_csv(tmp_path / "others.csv", [other(1), other(2)], COLUMNS), "va"))
    store.account("ua").save_preset("contacts", "canary", ["external_id"], "tester")
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", path=tmp_path / "delivered.csv"))
    (store.settings.home / "exports.yaml").write_text(
        "exports:\n- {name: daily, account: ua, type: contacts, at: '07:00'}\n"
    )
    kept = stored(store, account="va")
    plan = AccountDeletion(store, "ua", "tester").plan()
    assert len(store.batches("ua")) == 4, "a plan changes nothing"
    report = AccountDeletion(store, "ua", "tester").delete()
    assert report.records == plan.records
    assert any("delivered.csv" in sentence for sentence in report.beyond)
    assert any("has the export daily of the account" in sentence for sentence in report.beyond)
    _require_no_canary(store, request)
    assert store.accounts() == ["va"]
    assert stored(store, account="va") == kept
    _require_whole(store)
    assert [it for it in StoreCheck(store).run().findings if it.kind is not Kind.DEPLOYMENT] == []
    with pytest.raises(NotFound):
        AccountDeletion(store, "ua", "tester").delete()
    assert store.add_account("ua", "tester")
    assert store.batches("ua") == []
    assert store.exports("ua") == []
    assert "canary" not in store.presets("ua", "contacts")
    assert not importer.import_file(contacts_of(tmp_path / "others.csv")).erased, "it is a new account"
