"""What is rejected goes back to the person: in the file's own columns and format, ready to correct."""

import csv
import json
import os
from pathlib import Path

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import Counts, OnInvalid
from schemas.formulas import escape_formula, unescape_formula
from tests.records import Row, contact, contacts_of, values, write_csv


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_rejects_file_has_the_records_as_they_came_and_all_that_is_wrong(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        'status;external_id;amount;extra\nlead;C-1;1;x\n"no\nbody";C-2;-1;"y;z"\nlead;C-3\nlead;C-4;1;x;y;z\n'
    )

    report = importer.preview(contacts_of(path))

    assert report.batch.counts == Counts(read=4, created=1, rejected=3)
    assert report.rejects_file is not None
    assert report.rejects_file.name == "in.rejects.csv"
    wrong, short, long = rows_of(report.rejects_file)
    batch_id = report.batch.batch_id
    assert wrong == {
        "status": "no\nbody",
        "external_id": "C-2",
        "amount": "-1",
        "extra": "y;z",
        "_batch": batch_id,
        "_record": "2",
        "_line": "3",
        "_problems": "amount must be 0 or more [greater_than_or_equal_to]: -1; "
        "status must be one of lead, prospect, customer, churned [isin]: no\nbody",
    }
    assert [short[name] for name in ("status", "external_id", "amount", "_line")] == ["lead", "C-3", "", "5"]
    assert (long["external_id"], long["extra"], str(list(long.values())[-1])) == ("C-4", "x", "['y', 'z']")


def test_a_corrected_rejects_file_imports_and_names_its_parent(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    bad = [contact(1), contact(2, amount="x", company="=1+1", notes="'-quoted"), contact(3, status="VIP")]
    path = write_csv(tmp_path / "in.csv", [{"company": "", "notes": "", **row} for row in bad])
    parent = importer.import_file(contacts_of(path), OnInvalid.SKIP)
    assert parent.rejects_file is not None
    rows = rows_of(parent.rejects_file)
    assert (rows[0]["company"], rows[0]["notes"]) == ("'=1+1", "''-quoted")
    corrected = [{**row, "amount": "2.50", "status": "lead"} for row in rows]

    child = importer.import_file(contacts_of(write_csv(tmp_path / "corrected.csv", corrected)))

    assert child.batch.counts == Counts(read=2, created=2)
    assert child.to_dict()["parent"] == parent.batch.batch_id
    assert values(store, "company") == {"C-000001": None, "C-000002": "=1+1", "C-000003": None}
    assert values(store, "notes")["C-000002"] == "'-quoted"


def test_every_reject_is_in_the_file_and_nothing_else(importer: Importer, tmp_path: Path) -> None:
    rows: list[Row] = [contact(n, amount="-1" if n % 3 == 0 else "1") for n in range(30_000)]
    report = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", rows)))
    assert report.rejects_file is not None
    assert [row["_record"] for row in rows_of(report.rejects_file)] == [str(n + 1) for n in range(0, 30_000, 3)]


def test_a_file_without_rejects_has_no_rejects_file(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    report = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)])))
    assert report.rejects_file is None
    assert not store.account("ua").folder("rejects").exists()


def test_rejects_come_back_in_the_format_they_came_in(importer: Importer, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('[{"external_id": "C-1", "status": "lead"}, {"external_id": "C-2", "status": 5}]')
    report = importer.preview(contacts_of(tmp_path / "in.json"))
    assert report.rejects_file is not None
    (row,) = json.loads(report.rejects_file.read_text())
    assert (row["external_id"], row["status"], row["_record"]) == ("C-2", "5", "2")

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (["external_id", "status", "notes"], ["C-1", "lead", "x"], ["C-2", "VIP", "=1+1"]):
        sheet.append(cells)
    sheet["C3"].data_type = "s"
    book.save(tmp_path / "in.xlsx")
    report = importer.preview(contacts_of(tmp_path / "in.xlsx"))
    assert report.rejects_file is not None
    back = openpyxl.load_workbook(report.rejects_file).worksheets[0]
    assert [[cell.value for cell in row][:3] for row in back.iter_rows()] == [
        ["external_id", "status", "notes"],
        ["C-2", "VIP", "'=1+1"],
    ]


@pytest.mark.parametrize(
    "name", [b"\xff" * 200, "ß".encode() * 120, b".", b"a'b*[x]"], ids=["bytes", "long", "dot", "odd"]
)
def test_a_rejects_file_can_be_named_for_any_file(importer: Importer, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name + b".csv")
    report = importer.preview(contacts_of(write_csv(path, [contact(1, amount="x")])))
    assert report.rejects_file is not None
    assert len(rows_of(report.rejects_file)) == 1
    json.dumps(report.to_dict(), ensure_ascii=False).encode()


def test_control_characters_go_back_into_a_workbook(importer: Importer, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (["external_id", "status", "notes"], ["C-2", "VIP", "a_x000B_b"]):
        sheet.append(cells)
    book.save(tmp_path / "in.xlsx")
    report = importer.preview(contacts_of(tmp_path / "in.xlsx"))
    assert report.rejects_file is not None
    again = importer.preview(contacts_of(report.rejects_file))
    assert again.batch.counts == Counts(read=1, rejected=1)


def test_changed_values_are_shown_old_and_new(importer: Importer, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, company="X", country="GB")])))
    path = write_csv(tmp_path / "b.csv", [contact(1, company="", country="DE")])
    report = importer.preview(contacts_of(path))
    assert [(it.record, it.key, it.field, it.old, it.new) for it in report.changes] == [
        (1, "C-000001", "company", "X", None),
        (1, "C-000001", "country", "GB", "DE"),
    ]


@given(st.one_of(st.text(), st.text(st.sampled_from("'=+-@\t\r1.e"), max_size=6)))
@example("-5")
@example("+1e5")
@example("'")
def test_escaping_a_formula_is_undone_exactly(text: str) -> None:
    escaped = escape_formula(text)
    assert unescape_formula(escaped) == text
    assert escaped[:1] not in tuple("=@\t\r")
    if escaped[:1] in tuple("+-"):
        float(escaped)
