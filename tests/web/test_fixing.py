"""Rejected rows: known repairs, rows of one key, and a workbook of what still needs attention."""

import io
import re
from pathlib import Path

from openpyxl import load_workbook

from resources.record_store import RecordStore
from tests.records import values
from tests.web.visitor import Visitor

HEADER = "external_id;status;country;amount;birthday;notes\n"
ROWS = (
    "A;lead;Germany;1,50;31/12/1980;fine\n"
    "B;lead;DE;1,50;1980.12.31;year first\n"
    "C;lead;DE;1,234.50;30/12/1980;number of others\n"
    "D;Kunnde;DE;1,50;30/12/1980;like a value\n"
    "E;lead;DE;1,50;30/12/1980;first\n"
    "F;lead;DE;1,50;30/12/1980;between\n"
    "E;lead;DE;1,50;30/12/1980;second\n"
    "G;le ad;DE;1,50;30/12/1980;a space\n"
    "H;lead;xx-yy;1,50;30/12/1980;nobody knows\n"
)


def previewed(visitor: Visitor) -> str:
    upload = visitor.upload((HEADER + ROWS).encode())
    visitor.step(upload)
    visitor.post("import", upload, "reading", data={"decimal": ",", "date_order": "dmy"})
    assert visitor.step(upload) == f"import/{upload}/preview"
    return upload


def repairs(page: str) -> dict[tuple[str, str], str]:
    """The repairs that a page offers, by field and kind, with the button's words."""
    pattern = r'name="field" value="(\w+)"><input type="hidden" name="kind" value="(\w+)"><button[^>]*>([^<]*)<'
    return {(field, kind): words for field, kind, words in re.findall(pattern, page)}


def test_known_repairs_are_made_at_once(visitor: Visitor, store: RecordStore) -> None:
    upload = previewed(visitor)
    offered = repairs(visitor.get("import", upload, "fix").text)
    assert offered.keys() == {
        ("country", "mapping"), ("birthday", "date"), ("amount", "number"), ("status", "mapping"), ("status", "spaces"),
    }  # fmt: skip
    assert set(offered.values()) == {"Fix 1 row like this"}

    for field, kind in offered:
        visitor.post("import", upload, "fix", data={"action": "repair", "field": field, "kind": kind})

    page = visitor.get("import", upload, "fix").text
    assert "5 ready · 3 need attention" in page
    assert repairs(page) == {}


def test_rows_of_one_key_stand_side_by_side_and_one_is_kept(visitor: Visitor, store: RecordStore) -> None:
    upload = previewed(visitor)
    page = visitor.get("import", upload, "fix").text
    order = re.findall(r'<tbody id="r(\d+)"', page)
    assert order.index("7") == order.index("5") + 1
    assert len(re.findall(r'class="contested"', page)) == 2
    assert "1 other row has the same key" in page

    visitor.post("import", upload, "fix", data={"record": "7", "action": "keep_only"})
    visitor.post("import", upload, "fix", data={"action": "leave_out_open"})
    batch = re.search(r'name="batch" value="([^"]+)"', visitor.get("import", upload, "preview").text)
    assert batch is not None
    left = re.search(r'name="leave_out" value="(\d+)"', visitor.get("import", upload, "preview").text)
    assert left is not None
    visitor.post("import", upload, "save", data={"batch": batch[1], "leave_out": left[1]})
    visitor.step(upload)

    assert values(store, "notes") == {"F": "between", "E": "second"}


def test_rows_with_one_problem_are_left_out(visitor: Visitor) -> None:
    upload = previewed(visitor)

    visitor.post("import", upload, "fix", data={"action": "leave_out_open", "field": "country", "rule": "str_matches"})

    assert "0 ready · 6 need attention · 2 left out" in visitor.get("import", upload, "fix").text


def test_rows_are_corrected_in_a_workbook_and_uploaded(visitor: Visitor, store: RecordStore, tmp_path: Path) -> None:
    upload = previewed(visitor)
    answer = visitor.get("import", upload, "fix", "rows.xlsx")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''people.rejects.xlsx"
    book = load_workbook(io.BytesIO(answer.content))
    sheet = book.worksheets[0]
    rows = {row[0].value: row for row in sheet.iter_rows(min_row=2)}
    assert [*rows] == ["A", "B", "C", "D", "E", "G", "H"]
    assert rows["A"][3].value == "1.50"
    rows["A"][2].value = "DE"
    file = tmp_path / "people.rejects.xlsx"
    book.save(file)

    second = visitor.upload(file.read_bytes(), file.name)
    visitor.step(second)
    page = visitor.get("import", second, "preview").text

    assert "Save 1 record" in page
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    left = re.search(r'name="leave_out" value="(\d+)"', page)
    assert batch is not None
    assert left is not None
    visitor.post("import", second, "save", data={"batch": batch[1], "leave_out": left[1]})
    visitor.step(second)
    assert [str(value) for value in values(store, "amount").values()] == ["1.50"]
    assert store.account("ua").batch(batch[1]).parent is not None


def test_a_file_like_a_corrected_one_is_read_in_its_form(visitor: Visitor) -> None:
    """The corrected rows are saved in UTF-8 with commas: that says nothing about the next file."""
    text = "external_id;status;notes\nA;lead;Zoë\nB;Kunnde;Núñez\n"
    upload = visitor.upload(text.encode("cp1252"))
    visitor.step(upload)
    visitor.post("import", upload, "reading", data={"encoding": "cp1252"})
    visitor.step(upload)
    visitor.post("import", upload, "fix", data={"action": "repair", "field": "status", "kind": "mapping"})
    page = visitor.get("import", upload, "preview").text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    left = re.search(r'name="leave_out" value="(\d+)"', page)
    visitor.post("import", upload, "save", data={"batch": batch[1], "leave_out": left[1] if left else "0"})
    visitor.step(upload)
    assert "corrected.csv" in visitor.get("history").text

    again = visitor.upload(text.replace("A;", "C;").replace("B;Kunnde", "D;lead").encode("cp1252"))

    assert visitor.step(again) == f"import/{again}/preview"


def test_what_is_fixed_and_left_out_is_counted_the_same_everywhere(visitor: Visitor, store: RecordStore) -> None:
    mails = "".join(f"C-{number},lead,{'none' if number < 4 else 'a@example.org'}\n" for number in range(6))
    upload = visitor.upload(f"external_id,status,email\n{mails}".encode())
    visitor.step(upload)
    assert "Fix 4 rows" in visitor.get("import", upload, "preview").text
    visitor.post("import", upload, "fix", data={"record": "1", "column": "2", "text": "b@example.org", "action": "set"})
    visitor.post("import", upload, "fix", data={"record": "2", "action": "leave_out"})

    page = visitor.get("import", upload, "preview").text
    assert numbers(page) == {"new": 2, "changed": 0, "unchanged": 0, "fixed": 1, "left out": 1, "need attention": 2}
    assert "Fix 2 rows" in page
    assert re.findall(r'<span class="state">(\d rows?)</span>', page) == ["2 rows"]
    assert "Leave out 2 rows that need attention" in page
    assert "Save 3 records" in page

    visitor.post("import", upload, "fix", data={"action": "leave_out_open"})
    page = visitor.get("import", upload, "preview").text
    assert "Look at the fixed rows" in page
    assert "3 rows were left out." in page
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", upload, "save", data={"batch": batch[1], "leave_out": "3"})
    visitor.step(upload)

    (second,) = store.account("ua").corrections_of(batch[1])
    event = visitor.get("history", batch[1]).text
    assert '<span class="state">4 rows</span></li>' in event
    assert "2 new, 0 changed, 1 fixed later, 3 left out." in event
    assert "In all 3 rows are saved." in event
    assert "<h2>4 rows had mistakes</h2>" in event
    assert f'href="/a/ua/history/{second.batch_id}">people.corrected.csv' in event
    assert f'href="/a/ua/history/{batch[1]}">people.csv' in visitor.get("history", second.batch_id).text
    assert f'href="/a/ua/history/{second.batch_id}">people.corrected.csv' in visitor.get("history").text
    rollback = visitor.get("history", batch[1], "rollback").text
    assert f'href="/a/ua/history/{second.batch_id}/rollback">people.corrected.csv' in rollback
    assert "as they were before" not in rollback
    assert f"/history/{batch[1]}/rollback" in visitor.get("history", second.batch_id, "rollback").text

    visitor.post("history", batch[1], "rollback", data={})
    assert "Undo of people.csv" in visitor.get("history").text


def numbers(page: str) -> dict[str, int]:
    """The numbers of a preview, by their words."""
    return {words: int(n) for n, words in re.findall(r"<li[^>]*><strong>(\d+)</strong> ([a-z ]+)</li>", page)}


def test_the_heading_and_the_filters_follow_each_fix(visitor: Visitor) -> None:
    upload = previewed(visitor)
    page = visitor.get("import", upload, "fix").text
    headers = re.findall(r'<th scope="col">([^<]*)</th>', page)
    assert headers == ["Row", "status", "country", "amount", "birthday", "external_id", "notes"]
    place = f"/a/ua/import/{upload}/fix"
    asked = {"HX-Request": "true", "HX-Current-URL": f"http://127.0.0.1{place}?rule=str_matches&field=country"}

    said = {"record": "9", "column": "2", "text": "DE", "action": "set"}
    answer = visitor.client.post(place, data=said, headers=asked).text

    assert re.search(r'<h1 id="to-fix" hx-swap-oob="true">Fix 7 rows</h1>', answer)
    assert re.search(r'<nav id="problems" class="filter" hx-swap-oob="true"', answer)
    chip = re.search(r'<a [^>]*field=country"( aria-current="true")>[^<]*<span class="state">(\d)<', answer)
    assert chip is not None
    assert chip[2] == "1"
    visitor.post("import", upload, "fix", data={"action": "leave_out_open"})
    assert "No row needs fixing any more" in visitor.get("import", upload, "fix").text
