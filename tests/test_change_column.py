"""The column `_change` of an export of changes: it is no data, and deleted records do not come back."""

from pathlib import Path

import pytest

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportRequest, OnInvalid
from schemas.counts import Counts
from schemas.errors import RejectsFound
from schemas.exports import ExportRequest
from tests.editing import Row, edit
from tests.object_server import on_disk
from tests.records import change, contact, contacts_of, stored, write_csv

pytestmark = pytest.mark.runs_on("laptop")


@pytest.mark.parametrize("format_", ["csv", "json", "ndjson", "excel", "parquet"])
@pytest.mark.parametrize("is_edited", [False, True])
def test_a_record_that_was_deleted_is_refused_and_the_others_come_home(
    store: RecordStore, importer: Importer, tmp_path: Path, format_: str, is_edited: bool
) -> None:
    rows = [contact(number, company="A") for number in range(3)]
    first = importer.import_file(contacts_of(write_csv(tmp_path / "1.csv", rows))).batch.batch_id
    change(store, "DELETE FROM lake.records.contacts WHERE external_id = 'C-000001'")
    change(store, "UPDATE lake.records.contacts SET company = 'B' WHERE external_id = 'C-000002'")
    path = on_disk(ExportWriter(store, "x").export(
        ExportRequest("ua", "contacts", format=format_, changed_since=first)).path
    )  # fmt: skip
    if is_edited:

        def change_one(rows: list[Row]) -> None:
            next(row for row in rows if row["_change"] == "updated")["company"] = "C"

        path = edit(path, change_one, tmp_path / f"edited-{path.name}")

    report = importer.preview(ImportRequest(path, "ua", "contacts"))

    assert report.batch.counts == Counts(read=2, updated=int(is_edited), unchanged=1 - int(is_edited), rejected=1)
    (problem,) = report.samples
    expected = "`_change` must not be deleted: an import deletes no record, and it creates none that was deleted"
    assert problem.message(place="line").startswith(expected)
    assert {it.header: it.reason for it in report.columns}["_change"] == "ours"
    with pytest.raises(RejectsFound):
        importer.import_file(ImportRequest(path, "ua", "contacts"))
    importer.import_file(ImportRequest(path, "ua", "contacts"), OnInvalid.SKIP)
    assert [it["external_id"] for it in stored(store)] == ["C-000000", "C-000002"]


def test_another_column_of_that_name_is_ignored_or_mapped(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    def rows(*words: str) -> Path:
        return write_csv(tmp_path / "in.csv", [contact(at, _change=word) for at, word in enumerate(words)])

    assert importer.preview(contacts_of(rows("deleted", "price"))).batch.counts == Counts(read=2, created=2)
    assert importer.preview(contacts_of(rows("deleted", ""))).batch.counts == Counts(read=2, created=1, rejected=1)
    mapped = contacts_of(rows("deleted", "created"), column_map={"_change": "notes"})
    importer.import_file(mapped)
    assert [it["notes"] for it in stored(store)] == ["deleted", "created"]
