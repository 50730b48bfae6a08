"""Exports on the pages: saved choices, parts of files, and daily exports that are changed or missing."""

import io
import os
import re
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from openpyxl import load_workbook

from pipelines.web.work import Cancelled
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.exports import ExportRequest
from tests.records import contact, contacts_of, write_csv
from tests.web.visitor import Visitor


@pytest.fixture(autouse=True)
def some_records(importer: Importer, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(number) for number in range(50)])))


def test_a_choice_of_columns_is_saved_and_used(visitor: Visitor) -> None:
    form = {"type": "contacts", "column": ["status", "external_id"], "place_status": "1", "place_external_id": "2"}
    assert visitor.post("export", data={**form, "action": "keep", "save_as": ""}).status_code == 422

    saved = visitor.post("export", data={**form, "action": "keep", "save_as": "Für Sales"})

    page = visitor.client.get(saved.headers["location"]).text
    assert re.findall(r'name="column" value="(\w+)" checked', page) == ["status", "external_id"]
    assert "Files that were exported" not in page


def test_a_part_of_a_file_is_downloaded(visitor: Visitor) -> None:
    made = visitor.post("export", data={"type": "contacts", "format": "csv", "column": ["external_id"]})
    export = made.headers["location"].rpartition("/")[2]
    until = time.monotonic() + 60
    while "Download" not in visitor.get("export", export).text and time.monotonic() < until:
        pass
    whole = visitor.get("files", export, "export")

    part = visitor.client.get(f"/a/ua/files/{export}/export", headers={"Range": "bytes=5-14"})

    assert (part.status_code, part.content) == (206, whole.content[5:15])
    assert part.headers["content-range"] == f"bytes 5-14/{len(whole.content)}"
    assert visitor.get("files", export, "manifest").json()["rows"] == 50


def test_what_a_daily_export_has_is_changed_and_all_else_stays(visitor: Visitor, store: RecordStore) -> None:
    file: Path = store.settings.home / "exports.yaml"
    file.write_text(
        "exports:\n  # for the sales team\n  - name: daily\n    account: ua\n    type: contacts\n    at: '07:00'\n"
        "    order_by: [status]  # they like it so\n    where: [status = lead]\n"
    )
    file.chmod(0o640)
    page = visitor.get("export", type="contacts", delivery="daily").text
    assert "<option selected>status</option>" in page
    assert 'value="lead"' in page

    form = {
        "action": "replace", "name": "daily", "type": "contacts", "format": "excel", "column": ["external_id"],
        "field_0": "status", "operator_0": "!=", "value_0": "lead", "at": "06:30", "time_zone": "Europe/Berlin",
    }  # fmt: skip
    visitor.post("scheduled", data=form)

    text = file.read_text()
    assert "# for the sales team" in text
    assert "order_by: [status]" in text
    assert "# they like it so" in text
    assert "status != lead" in text
    assert "06:30" in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert visitor.post("scheduled", data={**form, "name": "of-others"}).status_code == 404


def test_conditions_that_the_form_cannot_show_stay(visitor: Visitor, store: RecordStore) -> None:
    file: Path = store.settings.home / "exports.yaml"
    conditions = [f"amount != {number}" for number in range(6)]
    file.write_text(f"exports:\n  - {{name: daily, account: ua, type: contacts, at: '07:00', where: {conditions}}}\n")
    page = visitor.get("export", type="contacts", delivery="daily").text
    assert "These conditions stay as they are" in page

    visitor.post("scheduled", data={
        "action": "replace", "name": "daily", "type": "contacts", "format": "csv", "column": ["external_id"],
        "keeps_conditions": "yes", "at": "07:00", "time_zone": "UTC",
    })  # fmt: skip

    assert "amount != 5" in file.read_text()


def test_a_daily_export_that_was_not_made_is_shown(visitor: Visitor, store: RecordStore) -> None:
    file: Path = store.settings.home / "exports.yaml"
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    file.write_text(f"exports:\n  - {{name: daily, account: ua, type: contacts, at: '{an_hour_ago:%H:%M}'}}\n")
    assert "This file is missing" not in visitor.get("scheduled").text

    os.utime(file, (0, 0))

    assert "This file is missing. It was due" in visitor.get("scheduled").text


def test_the_page_says_how_many_records_are_in_the_file_that_is_put_together(
    visitor: Visitor, store: RecordStore
) -> None:
    writer, seen = ExportWriter(store, "tester"), []
    plan = writer.plan(ExportRequest("ua", "contacts", format="excel", part_rows=20))

    def placed(rows: int) -> None:
        seen.append((rows, re.findall(r"(\d+) of 50 records (\w+)", visitor.get("export", plan.export_id).text)))

    writer.finish(plan, None, placed)

    assert seen == [(rows, [(str(rows), "are")]) for rows in (0, 16, 33, 50)]  # after each part
    assert "50 of 50 records" not in visitor.get("export", plan.export_id).text


def test_an_export_is_cancelled_while_its_file_is_put_together(store: RecordStore) -> None:
    writer = ExportWriter(store, "tester")
    plan = writer.plan(ExportRequest("ua", "contacts", format="excel"))

    def placed(rows: int) -> None:
        if rows:
            raise Cancelled

    with pytest.raises(Cancelled):
        writer.finish(plan, None, placed)

    assert store.exports("ua") == []
    assert not list(store.settings.home.rglob("book-*"))


def test_a_value_that_cannot_be_is_shown_at_its_condition(visitor: Visitor) -> None:
    form = {
        "type": "contacts", "format": "csv", "column": ["status", "external_id"], "field_0": "status",
        "operator_0": "=", "value_0": "lead", "field_1": "amount", "operator_1": ">=", "value_1": "much",
    }  # fmt: skip

    answer = visitor.post("export", data=form)

    assert answer.status_code == 422
    assert re.search(
        r'name="value_1" value="much"[^>]*aria-invalid="true"[^>]*> <span class="problem"[^>]*>'
        r"&#39;much&#39; is not a value of amount, which must be a number of at most 16 digits and 2 decimals.",
        answer.text,
    )
    assert 'name="value_0" value="lead"' in answer.text
    assert 'value="csv" checked' in answer.text
    assert re.findall(r'name="column" value="(\w+)" checked', answer.text) == ["status", "external_id"]


def test_a_condition_that_no_record_fulfils_names_the_values(visitor: Visitor) -> None:
    asked = {"type": "contacts", "field_0": "status", "value_0": "Kunde", "field_1": "country", "value_1": "Germany"}

    answer = visitor.client.get("/a/ua/export", params=asked, headers={"HX-Request": "true"}).text

    assert "0 records" in answer
    assert "The values of status: lead, prospect, customer, churned" in answer
    assert "country: must be two capital letters, as GB" in answer


def test_an_example_is_an_empty_file_to_fill_in(visitor: Visitor) -> None:
    assert '/a/ua/template?type=contacts"' in visitor.get("import").text

    answer = visitor.get("template", type="contacts")

    sheet = load_workbook(io.BytesIO(answer.content)).worksheets[0]
    assert answer.headers["content-disposition"] == 'attachment; filename="contacts.xlsx"'
    assert [cell.value for cell in sheet[1]][:2] == ["external_id", "first_name"]
    assert sheet.max_row == 1
    assert visitor.get("template", type="none").status_code == 404


def test_a_daily_export_with_a_value_that_cannot_be_is_shown_at_its_condition(visitor: Visitor) -> None:
    form = {"type": "contacts", "field_0": "amount", "value_0": "much", "at": "07:00", "time_zone": "UTC"}

    answer = visitor.post("scheduled", data={**form, "action": "add"})

    assert answer.status_code == 422
    assert 'name="value_0" value="much" aria-label="Value" aria-invalid="true"' in answer.text
    assert "No export is made every day yet." in visitor.get("scheduled").text
