"""Tables as people lay them out: titles, empty columns, totals. Each is imported as its preview proposes, once."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from resources.file_reader.header_row import SECOND_HEADER, HeaderRow, find_header_row
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportReport, ImportRequest, OnInvalid
from schemas.errors import InvalidRequest, Uncertain
from schemas.reading import DateOrder
from tests.records import stored

NAMES = ["", "Customer ID", "First name", "Phone", "Status", "Date of birth", "", "Revenue"]


def test_a_row_of_names_below_the_header_row_is_asked_about() -> None:
    rows = (("id", "name"), ("Identifier", "Full name"), ("K-1", "Ann"), ("K-2", "Bob"))
    header = find_header_row(enumerate(rows, 1))
    assert header == HeaderRow(1, 0, (SECOND_HEADER,))
    assert find_header_row(enumerate((rows[0], ("text", "text"), ("a", "b")), 1)) == header
    assert find_header_row(enumerate((rows[0], *rows[2:]), 1)) == HeaderRow(1)


def test_a_header_row_is_found_by_the_columns_that_it_names() -> None:
    def found(*rows: Sequence[str]) -> tuple[int, int, tuple[str, ...]]:
        header = find_header_row(enumerate(rows, 1))
        assert header is not None
        return header.number, header.above, header.questions[0].candidates if header.questions else ()

    names, records = ("id", "name", "n"), (("C-1", "A", "5"), ("C-2", "B", "6"))
    texts = (("x", "A", "Rome"), ("y", "B", "Oslo"))
    assert find_header_row([]) is None
    assert find_header_row([(1, ()), (2, (" ", ""))]) is None
    assert found(names, *records) == (1, 0, ())
    assert found(("id", "name", "town"), *texts) == (1, 0, ())
    assert found(("id",), ("a",), ("b",)) == (1, 0, ())
    assert found(("Contacts",), ("of\n2024",), names, *records) == (3, 2, ())
    assert found(("Contacts",), ("",), ("", "id", "name"), ("", "x", "A"), ("", "y", "B")) == (3, 1, ())
    assert found(("Contacts",), ("id", "name"), ("x", "A"), ("y", "B")) == (2, 1, ("2", "1"))
    assert found(("by", "Ana"), ("id", "name", "n", "m"), ("C-1", "A", "5", "2"), ("C-2", "B", "6", "7")) == (2, 1, ())
    assert found(("Contact", "", "Address"), ("id", "name", "street", "zip"), *[("C-1", "A", "x", "1")] * 2) == (
        2,
        1,
        (),
    )
    assert found(("by", "Ana"), ("on", "Monday"), (), ("id", "name"), ("C-1", "A"), ("C-2", "B")) == (4, 2, ("4", "1"))
    assert found(("id", "name"), *[("C-1", "A", "note")] * 3) == (1, 0, ())


def workbook(path: Path, title: Sequence[Sequence[Any]], records: int, seed: int = 0) -> Path:
    """Write contacts below a title, with an empty column at the left and one between, and two totals at the end."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Customers"
    for row in [*title, NAMES]:
        sheet.append([*row])
    for n in range(records):
        born = date(1950 + n % 50, 1 + n % 12, 1 + n % 28)
        sheet.append([None, f"C-{n:05}", f"Ann {n}", 301_000_000 + n, "lead", born, None, (n + seed) / 4])
        sheet.cell(sheet.max_row, 4).number_format = "0000000000"
        sheet.cell(sheet.max_row, 6).number_format = "dd/mm/yyyy"
    sheet.append([None, "Total", None, None, None, None, None, f"=SUM(H5:H{records})"])
    sheet.append([None, "Average", None, None, None, None, None, 1250])
    sheet.merge_cells("A1:H1")
    book.create_sheet("Codes").append(["Code", "Meaning"])
    book.save(path)
    return path


def test_a_workbook_with_titles_and_totals_is_imported_as_proposed_and_next_week_with_no_option(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def request(path: Path, **options: Any) -> ImportRequest:
        return ImportRequest(path, "ua", "contacts", **options)

    title = [["Customers of the northern region"], ["Printed by", "Ana Roth"], []]
    path = workbook(tmp_path / "week1.xlsx", title, 5000)
    preview = importer.preview(request(path))
    understood = dict(preview.batch.understood)
    assert understood["Rows above the header, left out"] == "2"
    assert "The header is row 4." in [value for _, value in preview.batch.understood]
    assert preview.batch.questions == ()
    assert (preview.batch.counts.read, preview.batch.counts.rejected) == (5002, 2)
    assert [(sample.rule, sample.line) for sample in preview.samples] == [("footer", 5005), ("footer", 5006)]
    warning, footer = preview.batch.warnings
    assert (footer.code, footer.records, footer.examples) == ("footer", 2, ("Total", "Average"))
    assert (warning.code, warning.field, warning.records) == ("shown_otherwise", "phone", 5000)
    assert "--as-shown" in warning.sentence

    first = importer.import_file(request(path, as_shown=True), OnInvalid.SKIP)
    assert (first.batch.counts.created, first.batch.counts.rejected) == (5000, 2)
    row = next(row for row in stored(store) if row["external_id"] == "C-00007")
    assert (row["phone"], row["birthday"], str(row["amount"])) == ("0301000007", date(1957, 8, 8), "1.75")

    path = workbook(tmp_path / "week2.xlsx", [["Customers"], *title], 5000, seed=1)
    second = importer.import_file(request(path), OnInvalid.SKIP)
    assert (second.batch.counts.updated, second.batch.counts.rejected) == (5000, 2)
    assert [it.code for it in second.batch.warnings] == ["footer"]
    assert second.rejects_file is not None
    again = importer.preview(request(Path(str(second.rejects_file))))
    assert (again.batch.parent, again.batch.counts.read) == (second.batch.batch_id, 2)
    assert again.batch.remembered is not None
    assert again.batch.remembered.options.as_shown


def test_a_header_row_that_is_asked_is_remembered_by_its_names_wherever_it_is(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    header = ["external_id", "status", "first_name"]

    def book(name: str, *rows: Sequence[str]) -> ImportRequest:
        made = openpyxl.Workbook()
        cover = made.active
        assert cover is not None
        for row in rows:
            cover.append([*row])
        made.create_sheet("Data").append(header)
        made.save(tmp_path / name)
        return ImportRequest(tmp_path / name, "ua", "contacts")

    first = book("1.xlsx", ["Contacts"], header, ["a", "lead", "Ana"], ["b", "leed", "Bo"])
    with pytest.raises(
        Uncertain, match=r"Row 2 is perhaps not the header: 1 row above it is left out\. .* --header-row 2"
    ):
        importer.import_file(first)
    report: ImportReport = importer.import_file(replace(first, header_row=2), OnInvalid.SKIP)
    assert report.batch.remembered is not None
    assert report.batch.remembered.options.header_row == 2
    second = importer.import_file(book("2.xlsx", ["Contacts"], ["of May"], header, ["c", "lead", "Cy"]))
    assert second.batch.remembered is not None
    assert (second.batch.counts.created, second.batch.remembered.options.header_row) == (1, 3)
    assert report.rejects_file is not None
    corrected = importer.preview(ImportRequest(Path(str(report.rejects_file)), "ua", "contacts"))
    assert (corrected.batch.parent, corrected.batch.questions) == (report.batch.batch_id, ())
    assert corrected.batch.remembered is not None
    assert corrected.batch.remembered.options.header_row == 2

    with pytest.raises(InvalidRequest) as refused:
        importer.preview(replace(book("3.xlsx", ["About"], ["Nothing", "here"], ["Ask", "Ana"]), again=True))
    assert "No column stands for external_id" in refused.value.message
    assert refused.value.quoted.endswith(
        "Its sheets: 'Sheet' begins with 'About', 'Nothing | here'; "
        "'Data' begins with 'external_id | status | first_name'."
    )


CRM_HEADERS = [
    "Record ID", "First Name", "Last Name", "Company Name", "Email", "Phone Number", "Country", "Lifecycle Stage",
    "Revenue", "Credit Limit", "Birthday", "Create Date", "Notes", "Newsletter", "Tag", "Tag",
    *(f"Custom property {n}" for n in range(1, 25)),
]  # fmt: skip


def crm_export(path: Path, week: int, records: int = 30_000) -> Path:
    """Write contacts as a German CRM exports them, 200 of them with a mistake."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(CRM_HEADERS)
        for n in range(records):
            wrong = n % (records // 200) == 0
            born = "31/02/1980" if wrong else f"{1 + n % 28:02}/{1 + n % 12:02}/{1950 + n % 50}"
            row = [f"{10_000 + n}", f"Ann {n}", "Müller", "Kim; Lee & Co", f"a{n}@example.org", f"+49 30 {n:07}", "DE"]
            row += ["lead", f"{1 + n % 9}.{n % 900 + 100},{week}0", f"{n % 900},50", born, "2024-05-31T09:30:00Z", ""]
            writer.writerow([*row, "Yes" if n % 2 else "No", "a", "b", *[""] * 22, "x ", ""])
    return path


def test_an_export_of_a_crm_is_imported_as_proposed_and_next_week_with_no_option(
    importer: Importer, tmp_path: Path
) -> None:
    def request(path: Path, **options: Any) -> ImportRequest:
        return ImportRequest(path, "ua", "contacts", **options)

    path = crm_export(tmp_path / "week1.csv", 1)
    preview = importer.preview(request(path))
    assert preview.batch.questions == ()
    assert dict(preview.batch.understood)["Columns of the same name, numbered"] == "Tag, Tag (2)"
    assert {it.field: it.sentence.rpartition(". ")[2] for it in preview.batch.warnings} == {
        "birthday": "To read them right: --date-order dmy.",
        "amount": "With --decimal , they are read.",
        "credit_limit": "With --decimal , they are read.",
    }
    assert [it.examples for it in preview.batch.warnings if it.field == "amount"] == [("1.100,10",)]
    first = importer.import_file(request(path, decimal=",", date_order=DateOrder.DMY), OnInvalid.SKIP)
    assert (first.batch.counts.created, first.batch.counts.rejected) == (29_800, 200)
    assert first.batch.warnings == ()

    second = importer.import_file(request(crm_export(tmp_path / "week2.csv", 2)), OnInvalid.SKIP)
    assert (second.batch.counts.updated, second.batch.counts.rejected) == (29_800, 200)
    assert (second.batch.questions, second.batch.warnings) == ((), ())
    with Path(str(second.rejects_file)).open(encoding="utf-8-sig", newline="") as file:
        assert next(csv.reader(file, delimiter=";"))[:40] == CRM_HEADERS


def test_a_header_row_that_comes_again_in_a_workbook_is_no_record(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def imported(name: str, *rows: Sequence[str]) -> ImportReport:
        book = openpyxl.Workbook()
        assert isinstance(book.active, Worksheet)
        for row in rows:
            book.active.append([*row])
        book.save(tmp_path / name)
        return importer.preview(ImportRequest(tmp_path / name, "ua", "contacts"))

    names = ("external_id", "status", "company")
    same = imported("same.xlsx", names, ("A-1", "lead", "x"), names, ("A-2", "lead", "#N/A"))
    assert (same.batch.counts.created, same.batch.counts.rejected, same.batch.questions) == (1, 2, ())
    assert {it.line: it.rule for it in same.samples} == {3: "repeated_header", 4: "error_cell"}
    other = imported("other.xlsx", names, ("A-1", "lead", "x"), names[::-1], ("y", "lead", "A-2"))
    assert [it.sentence for it in other.questions] == ["Row 3 looks like the header of another table."]
