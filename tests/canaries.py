"""A store with three people who have a canary in every field, in every kind of file that a store can have."""

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from resources.export_writer import ExportWriter
from resources.importing.corrections import Corrections
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.trash import Trash
from resources.upkeep.maintenance import Maintenance
from resources.uploads import Uploads
from schemas.batches import BatchStatus, OnInvalid
from schemas.exports import ExportRequest, Packing
from schemas.rollbacks import OnModified, RollbackRequest
from schemas.values import MappedValue
from tests.inbox import arrive
from tests.object_server import on_disk
from tests.records import Row, contact, contacts_of, write_csv

KEYS = ("CANARY-1", "canary.2", "ÇANARY 3")
WORDS = (b"canary", "çanary".encode(), "Çanary".encode(), b"anary", b"9876543", b"1911-11-1", b"49309999")
"""What must be in no byte afterwards: every value of theirs has one of these words."""


def person(number: int, **fields: str) -> Row:
    """Return one of the three people."""
    return {
        "external_id": KEYS[number - 1],
        "first_name": f"Canary{number}",
        "last_name": f"von Canary {number}",
        "company": f"Canary {number} & Söhne",
        "email": f"mail{number}@canary.example",
        "phone": f"+49309999{number}",
        "country": "",
        "status": "customer",
        "amount": f"9876543.2{number}",
        "credit_limit": f"9876543.3{number}",
        "birthday": f"1911-11-1{number}",
        "signed_up": f"1911-11-1{number}T01:02:03Z",
        "notes": f"A canary {number} sings",
        **fields,
    }


COLUMNS = tuple(person(1))


def other(number: int, **fields: str) -> Row:
    """Return a contact that stays, with all columns."""
    return {**dict.fromkeys(COLUMNS, ""), **contact(number), "email": f"n{number}@example.org", **fields}


@dataclass(frozen=True)
class WithCanaries:
    """The batches that a test rolls back, by what they did, and the preview without canaries."""

    updated: str
    created: str
    kept_preview: str


def put_canaries(store: RecordStore, folder: Path, outside: Path, records: int) -> WithCanaries:
    """Fill a store. `outside` takes an export. Returns its batches."""
    importer = Importer(store, "tester")
    people = [person(number) for number in (1, 2, 3)]

    def imported(name: str, rows: list[Row], *, on_invalid: OnInvalid = OnInvalid.SKIP) -> str:
        return importer.import_file(contacts_of(write_csv(folder / name, rows, COLUMNS)), on_invalid).batch.batch_id

    rows = [other(n) for n in range(records)]
    imported("base.csv", [*rows[: records // 2], *people, *rows[records // 2 :]])
    updated = imported(
        "updated.csv",
        [
            person(1, notes="The canary 1 sleeps"),
            *(other(n, notes="later") for n in range(50)),
            person(2, amount=""),
        ],
    )
    first = imported("gone.csv", [person(3, first_name="Canary-changed"), other(7, notes="not for long")])
    created = imported("created.csv", [other(records + n) for n in range(20)])
    store.account("ua").roll_back(RollbackRequest("ua", first, OnModified.STOP), "tester", None)
    rejected = importer.import_file(
        contacts_of(
            write_csv(
                folder / "Canary-1 of a customer.csv",
                [person(2, status="CANARYSTATUS"), other(8, status="custmer"), person(3, amount="canary")],
            )
        ),
        OnInvalid.SKIP,
    )
    corrected = folder / "corrected.csv"
    assert rejected.rejects_file is not None
    corrected.write_bytes(
        on_disk(rejected.rejects_file).read_bytes().replace(b"CANARYSTATUS", b"churned").replace(b"custmer", b"lead")
    )
    importer.import_file(contacts_of(corrected), OnInvalid.SKIP)
    store.account("ua").record_values("contacts", [MappedValue("status", "CANARYSTATUS", "churned")], "tester")
    Maintenance(store, "tester").maintain()
    _export(store, outside)
    _arrive(store, folder)
    importer.import_file(contacts_of(write_csv(folder / "va.csv", rows[:20]), "va"))
    importer.preview(
        contacts_of(write_csv(folder / "with.csv", [person(1, notes="the new canary"), other(3)], COLUMNS))
    )
    kept = importer.preview(
        contacts_of(write_csv(folder / "without.csv", [other(60, notes="new"), other(61)], COLUMNS))
    )
    _upload(store, folder, importer)
    _leave_behind(store, folder)
    return WithCanaries(updated, created, kept.batch.batch_id)


def _export(store: RecordStore, outside: Path) -> None:
    writer = ExportWriter(store, "tester")
    for request in (
        ExportRequest("ua", "contacts"),
        ExportRequest("ua", "contacts", format="parquet"),
        ExportRequest("ua", "contacts", format="excel", filters=("external_id = CANARY-1",)),
        ExportRequest("ua", "contacts", packing=Packing.ZST),
        ExportRequest("ua", "contacts", path=outside / "delivered.csv"),
    ):
        writer.export(request)


def _arrive(store: RecordStore, folder: Path) -> None:
    """Let a file of each format arrive with a person among others, one that fails, and one that waits."""
    place = on_disk(store.settings.inbox / "ua" / "contacts")
    place.mkdir(parents=True, exist_ok=True)

    def rows(number: int) -> list[Row]:
        return [
            other(1000 + number),
            person(1 + number % 3, notes=f"canary, arrived\nin {number}"),
            other(2000 + number),
        ]

    plain = write_csv(folder / "plain.csv", rows(1), COLUMNS).read_bytes()
    (place / "latin.csv").write_bytes(plain.decode().replace(",", ";").encode("cp1252").replace(b";\x20arr", b", arr"))
    (place / "packed.csv.gz").write_bytes(gzip.compress(write_csv(folder / "g.csv", rows(2), COLUMNS).read_bytes()))
    (place / "packed.csv.zst").write_bytes(
        zstandard.compress(write_csv(folder / "z.csv", rows(3), COLUMNS).read_bytes())
    )
    (place / "lines.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows(4)), "utf-8")
    (place / "array.json").write_text(json.dumps(rows(5), ensure_ascii=False, indent=1), "utf-8")
    (place / "nested.json").write_text(json.dumps({"data": {"items": rows(6)}}), "utf-8")
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows(7)]), place / "columns.parquet", compression="zstd")
    _write_workbook(place / "sheet.xlsx", rows(8))
    (place / "broken.csv").write_bytes(b"external_id,status\x00\x01\nCANARY-1,\x00lead\n\xff\xfe\x00canary.2")
    write_csv(place / "wrong.csv", [other(1, amount="x"), person(2, amount="canary amount")], COLUMNS)
    arrive(store)
    place.mkdir(parents=True, exist_ok=True)
    write_csv(place / "waits.csv", rows(9), COLUMNS)
    bundle = on_disk(store.settings.processing) / "a-20260105-093000000-abcdef" / "ua" / "contacts"
    bundle.mkdir(parents=True)
    write_csv(bundle / "taken.csv", rows(10), COLUMNS)


def _write_workbook(path: Path, rows: list[Row]) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append(list(row.values()))
    book.save(path)


def _upload(store: RecordStore, folder: Path, importer: Importer) -> None:
    uploads = Uploads(store.settings)
    for name, rows in (("with", [person(1), person(2, amount="canary"), other(9)]), ("without", [other(9)])):
        content = write_csv(folder / f"upload-{name}.csv", rows, COLUMNS).read_bytes()
        upload = uploads.start("ua", "contacts", f"upload-{name}.csv", len(content), "tester", store.now())
        with uploads.receiving(upload, 0) as piece:
            piece.write(content)
        if name == "with":
            report = importer.preview(contacts_of(uploads.file(upload)))
            detailed = store.account("ua").report(report.batch.batch_id)
            own = uploads.file(upload).parent.parent
            corrections = Corrections(store, detailed, own / f"{report.batch.batch_id}.corrections")
            corrections.correct(2, list(COLUMNS).index("notes"), "a corrected canary", "tester")
            store.account("ua").write_changes(report.batch.batch_id, own / "changes.parquet")


def _leave_behind(store: RecordStore, folder: Path) -> None:
    """Put files with canaries where killed processes, and the trash, have them."""
    now = store.now()
    archived = sorted(on_disk(store.settings.archive).rglob("*.ndjson"))[0]
    copy = on_disk(store.settings.data) / "archive" / "ua" / "contacts" / "b-20260101-000000000-abcdef" / archived.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(archived.read_bytes())
    Trash(store.settings).put(
        store.settings.archive / "ua" / "contacts" / "b-20260101-000000000-abcdef" / archived.name, now
    )
    left = store.settings.scratch / "fetched-0123456789abcdef" / "canary.csv"
    left.parent.mkdir(parents=True)
    left.write_text("canary")
    for path in (left, left.parent):
        os.utime(path, (1, 1))
    errors = store.settings.home / "errors"
    errors.mkdir(exist_ok=True)
    (errors / "e-1.txt").write_text("ValueError: 'A canary 1 sings'")


def snapshots_of_others(store: RecordStore, account: str = "ua") -> dict[int, list[tuple[Any, ...]]]:
    """Return the records of all others in every snapshot that can be read."""
    found = {}
    with store.reading() as connection:
        numbers = connection.execute("SELECT snapshot_id FROM ducklake_snapshots('lake') ORDER BY 1").fetch_all()
    for (number,) in numbers:
        if number < 3:
            continue  # before the tables
        with store.reading(number) as connection:
            found[number] = connection.execute(
                "SELECT * FROM lake.records.contacts WHERE NOT list_contains(?, external_id) ORDER BY ALL", [list(KEYS)]
            ).fetch_all()
    return found


def open_previews(store: RecordStore) -> list[str]:
    """Return the ids of the previews that can be committed."""
    return [batch.batch_id for batch in store.batches("ua", status=BatchStatus.PREVIEWED)]
