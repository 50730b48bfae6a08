"""What is said for one file holds for the file of next week, with no option at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportRequest, OnInvalid
from schemas.footers import Footer
from schemas.reading import DateOrder, ShortRows
from tests.records import stored


def _csv(text: str) -> Callable[[Path, int], Path]:
    """Return what writes the file of a week: a record is different each week, and so is its key."""

    def write(folder: Path, week: int) -> Path:
        path = folder / f"week{week}.csv"
        path.write_text(text.format(week), encoding="utf-8")
        return path

    return write


def _two_lists(folder: Path, week: int) -> Path:
    path = folder / f"week{week}.json"
    people = [{"external_id": f"C-{week}", "status": "lead"}]
    path.write_text(json.dumps({"old": [*people, {"external_id": "X", "status": "lead"}], "new": people}))
    return path


def _two_sheets(folder: Path, week: int) -> Path:
    book = openpyxl.Workbook()
    for name in ("Old", "New"):
        sheet = book.create_sheet(name)
        sheet.append(["external_id", "status", "notes"])
        sheet.append([f"C-{week}", "lead", name])
    del book["Sheet"]
    path = folder / f"week{week}.xlsx"
    book.save(path)
    return path


SHORT = "external_id,status,notes\nC-{0},lead\nD-{0},lead,x\n"
TOTAL = "external_id,status,amount\nC-{0},lead,5.50\nTotal,,5.50\n"
TITLE = "Contacts,,\nexternal_id,status,notes\nC-{0},lead,x\nD-{0},lead,y\n"
AMOUNT = 'external_id,status,amount\nC-{0},lead,"1.234,50"\n'
LOCAL = "external_id,status,signed_up\nC-{0},lead,2024-05-01 09:30\n"
BLANK = "external_id,status,notes\nC-0,lead,\nC-{0},lead,x\n"
BORN = "external_id,status,birthday\nC-{0},lead,31/05/1990\n"
BARS = "external_id^status^notes\nC-{0}^lead^x\n"


@pytest.mark.parametrize(
    ("said", "write", "field", "value"),
    [
        ({"short_rows": ShortRows.FILL}, _csv(SHORT), "notes", None),
        ({"footer": Footer.SKIP}, _csv(TOTAL), "amount", "5.50"),
        ({"header_row": 2}, _csv(TITLE), "notes", "x"),
        ({"decimal": ","}, _csv(AMOUNT), "amount", "1234.50"),
        ({"time_zone": "Europe/Berlin"}, _csv(LOCAL), "signed_up", "2024-05-01 07:30:00+00:00"),
        ({"blank": "keep"}, _csv(BLANK), "notes", "x"),
        ({"date_order": DateOrder.DMY}, _csv(BORN), "birthday", "1990-05-31"),
        ({"delimiter": "^"}, _csv(BARS), "notes", "x"),
        ({"at": "new"}, _two_lists, "notes", None),
        ({"sheet": "New"}, _two_sheets, "notes", "New"),
    ],
    ids=lambda it: next(iter(it)) if isinstance(it, dict) else "",
)
def test_what_was_said_holds_for_the_next_file_and_for_its_rejects(
    importer: Importer,
    store: RecordStore,
    tmp_path: Path,
    said: dict[str, Any],
    write: Callable[[Path, int], Path],
    field: str,
    value: str | None,
) -> None:
    (name,) = said
    importer.import_file(ImportRequest(_csv("external_id,status,notes\nC-0,lead,old\n")(tmp_path, 0), "ua", "contacts"))
    first = importer.import_file(ImportRequest(write(tmp_path, 1), "ua", "contacts", **said)).batch
    second = importer.import_file(ImportRequest(write(tmp_path, 2), "ua", "contacts"), OnInvalid.ABORT).batch

    assert second.remembered is not None
    assert second.remembered.remembered_from == first.batch_id
    assert second.remembered.options.said()[name] == said[name]
    assert [it for it in second.remembered.from_earlier.flags if it.startswith(f"--{name.replace('_', '-')} ")]
    assert (second.questions, second.counts.rejected, second.counts.created) == ((), 0, first.counts.created)
    (record,) = (it for it in stored(store) if it["external_id"] == "C-2")
    assert record[field] is None if value is None else str(record[field]) == value
    if name == "blank":
        assert {it["external_id"]: it["notes"] for it in stored(store)}["C-0"] == "old"
