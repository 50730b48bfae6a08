"""Empty files to fill in: what they hold, that other programs keep it, and that they come back as valid imports."""

import csv
import shutil
import subprocess
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.utils import get_column_letter

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.template_writer import write_template
from schemas import load_model
from schemas.counts import Counts
from schemas.errors import InvalidRequest
from schemas.model import Boolean, Date, Float, Integer, RecordModel, Text, field
from tests.records import contacts_of, stored

ROW: dict[str, Any] = {
    "external_id": "00042",
    "last_name": "Ünal",
    "phone": "+44 20 7946 0000",
    "country": "GB",
    "status": "customer",
    "amount": 1250.5,
    "birthday": date(1985, 12, 10),
    "signed_up": datetime(2024, 5, 1, 9, 30),  # noqa: DTZ001  # a cell has no time zone
}
FILLED = ROW | {"amount": "1250.50", "birthday": "1985-12-10", "signed_up": "2024-05-01 09:30:00+00:00"}


class Parts(RecordModel):
    """Parts of every type."""

    sku: Text = field("Number.", example="P-1", required=True)
    size: Text = field("Size.", isin=["1, 2", 'a "b"', "=1+1"])
    colour: Text = field("Colour.", isin=[f"colour {number}" for number in range(100)])
    pieces: Integer = field("Pieces.")
    weight: Float = field("Weight.")
    active: Boolean = field("Whether it is sold.")
    since: Date = field("First day.")

    class Config:
        """The type's name and key."""

        name = "choices"
        metadata = {"key": ("sku",)}


def rules(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return the kind and source of each rule for cells, by its header."""
    sheet = openpyxl.load_workbook(path).worksheets[0]
    return {
        str(sheet.cell(1, next(iter(rule.sqref.ranges)).min_col).value): (rule.type, rule.formula1)
        for rule in sheet.data_validations.dataValidation
    }


def converted(path: Path, suffix: str = "xlsx") -> Path:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("no LibreOffice: apt-get install libreoffice-calc-nogui")
    folder = path.parent / "converted"
    command = [office, f"-env:UserInstallation=file://{path.parent}/profile", "--headless", "--convert-to", suffix]
    subprocess.run([*command, "--outdir", str(folder), str(path)], check=True, capture_output=True, timeout=120)
    return folder / f"{path.stem}.{suffix}"


def test_a_workbook_has_headers_notes_formats_and_drop_downs(tmp_path: Path) -> None:
    path = tmp_path / "contacts.xlsx"
    columns = write_template(load_model("contacts"), path)

    book = openpyxl.load_workbook(path)
    (sheet,) = book.worksheets
    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [list(columns)]
    assert columns == load_model("contacts").record_type().field_names
    notes = {cell.value: cell.comment.text for cell in sheet[1] if cell.comment}
    assert notes["status"] == (
        "Where the contact is in its life cycle.\nRequired.\nMust be one of lead, prospect, customer, churned.\n"
        "Example: customer"
    )
    assert len(notes) == len(columns)
    formats = {
        str(cell.value): sheet.column_dimensions[get_column_letter(cell.column or 0)].number_format for cell in sheet[1]
    }
    shown = {name: formats[name] for name in ("external_id", "phone", "amount", "birthday", "signed_up")}
    assert shown == {
        "external_id": "@",
        "phone": "@",
        "amount": "0.00",
        "birthday": "yyyy-mm-dd",
        "signed_up": "yyyy-mm-dd hh:mm:ss",
    }
    assert rules(path) == {
        "status": ("list", '"lead,prospect,customer,churned"'),
        "amount": ("decimal", "-1E+300"),
        "credit_limit": ("decimal", "-1E+300"),
        "birthday": ("date", "1"),
        "signed_up": ("date", "1"),
    }


def test_choices_that_fit_no_list_stand_on_a_hidden_sheet(tmp_path: Path) -> None:
    path = tmp_path / "parts.xlsx"
    write_template(Parts, path)

    book = openpyxl.load_workbook(path)
    first, hidden = book.worksheets
    assert (first.title, first.sheet_state, hidden.sheet_state) == ("choices", "visible", "hidden")
    assert rules(path) == {
        "size": ("list", f"{hidden.title}!$A$1:$A$3"),
        "colour": ("list", f"{hidden.title}!$B$1:$B$100"),
        "pieces": ("whole", "-999999999999999"),
        "weight": ("decimal", "-1E+300"),
        "active": ("list", '"TRUE,FALSE"'),
        "since": ("date", "1"),
    }
    assert [cell.value for cell in hidden["A"]][:3] == ["1, 2", 'a "b"', "=1+1"]
    assert hidden["A3"].data_type == "s"
    assert rules(converted(path)).keys() == rules(path).keys()


def test_a_workbook_that_libreoffice_saved_has_its_drop_downs_and_comes_back(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = tmp_path / "contacts.xlsx"
    write_template(load_model("contacts"), path)
    assert importer.preview(contacts_of(path)).batch.counts == Counts(), "nothing of it is a record"
    saved = converted(path)
    assert rules(saved)["status"] == ("list", '"lead,prospect,customer,churned"')
    assert len([cell for cell in openpyxl.load_workbook(saved).worksheets[0][1] if cell.comment]) == 13

    book = openpyxl.load_workbook(saved)
    for cell in book.worksheets[0][1]:
        book.worksheets[0].cell(2, cell.column or 0, ROW.get(str(cell.value)))
    book.save(saved)
    filled = converted_again(saved)

    batch = importer.import_file(contacts_of(filled)).batch
    assert (batch.counts, batch.warnings) == (Counts(read=1, created=1), ())
    (record,) = stored(store)
    assert {name: str(record[name]) for name in FILLED} == FILLED


def converted_again(path: Path) -> Path:
    """Return the workbook as LibreOffice saves it once more, with the column's formats on its cells."""
    return converted(path.rename(path.with_name("filled.xlsx")))


def test_a_csv_file_has_the_header_row_and_comes_back(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    columns = write_template(load_model("contacts"), path)
    assert path.read_text("utf-8-sig") == ",".join(columns) + "\n"
    assert importer.preview(contacts_of(path)).batch.counts == Counts()

    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, columns).writerow(FILLED)

    assert importer.import_file(contacts_of(path)).batch.counts == Counts(read=1, created=1)
    (record,) = stored(store)
    assert {name: str(record[name]) for name in FILLED} == FILLED


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("contacts.txt", "does not say the format. End it with .xlsx or .csv."),
        ("there.csv", "exists already. Give another name"),
        ("nowhere/contacts.csv", "does not exist. Make it, or give another path."),
    ],
)
def test_no_other_file_is_made_or_replaced(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(InvalidRequest) as refusal:
        write_template(load_model("contacts"), tmp_path / name)
    assert message in str(refusal.value)
    assert [it.read_text() for it in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx"])
def test_a_template_appears_under_its_name_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resources.template_writer.move", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_template(load_model("contacts"), tmp_path / name)
    assert [*tmp_path.iterdir()] == []
