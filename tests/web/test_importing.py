"""From a file to its import, correction, rollback and export, by plain forms."""

import re
import time
from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from pipelines.web.application import application
from resources.record_store import RecordStore
from tests.http_receiver import receiving
from tests.records import values
from tests.web.conftest import ORIGIN
from tests.web.visitor import Visitor

GERMAN = (
    "Nr;Vorname;E-Mail;Status;Umsatz;Geburtstag\n"
    "K-1;José;a@example.org;lead;1.234,50;13/11/1980\n"
    "K-2;Müller;b@example.org;lead;7,25;14/11/1980\n"
    "K-3;Zoë;no-address;lead;8,00;15/11/1980\n"
).encode("cp1252")
COLUMNS = {
    "header": ["Nr", "Vorname", "E-Mail", "Status", "Umsatz", "Geburtstag"],
    "field": ["external_id", "first_name", "email", "status", "amount", "birthday"],
    "proposed": ["", "first_name", "email", "status", "amount", "birthday"],
}


def test_a_file_is_read_mapped_corrected_saved_and_undone(visitor: Visitor, store: RecordStore) -> None:
    upload = visitor.upload(GERMAN)
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert re.findall(r'name="encoding" value="(\w+)"', page)[0] == "cp1252"
    assert "Müller" in page

    assert visitor.post("import", upload, "reading", data={"encoding": "cp1252"}).status_code == 303
    visitor.step(upload)
    assert "external_id" in visitor.get("import", upload, "columns").text
    assert visitor.post("import", upload, "columns", data=COLUMNS).status_code == 303
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert "13/11/1980 is 13 November 1980" in page
    assert "1.234,50 is 1234.50" in page

    visitor.post("import", upload, "reading", data={"date_order": "dmy", "decimal": ","})
    assert visitor.step(upload) == f"import/{upload}/preview"
    page = visitor.get("import", upload, "preview").text
    assert "Nothing is saved yet" in page
    assert "must be an e-mail address" in page
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    assert values(store, "first_name") == {}

    assert "no-address" in visitor.get("import", upload, "fix").text
    column = COLUMNS["header"].index("E-Mail")
    fixing = {"record": "3", "column": str(column), "action": "set", "text": "c@example.org"}
    assert visitor.post("import", upload, "fix", data=fixing).status_code == 303
    assert "1 ready" in visitor.get("import", upload, "fix").text

    visitor.post("import", upload, "save", data={"batch": batch[1]})
    assert visitor.step(upload) == f"history/{batch[1]}"
    assert values(store, "first_name") == {"K-1": "José", "K-2": "Müller", "K-3": "Zoë"}
    assert [str(value) for value in values(store, "amount").values()] == ["1234.50", "7.25", "8.00"]
    history = visitor.get("history").text
    assert "people.csv" in history
    assert "people.corrected.csv" in history

    assert "2 records will be removed" in visitor.get("history", batch[1], "rollback").text
    rolled_back = visitor.post("history", batch[1], "rollback")
    assert values(store, "first_name") == {"K-3": "Zoë"}
    visitor.post(*rolled_back.headers["location"].removeprefix("/a/ua/").split("/"), "rollback")
    assert len(values(store, "first_name")) == 3


def test_the_next_file_like_it_needs_no_answer(visitor: Visitor) -> None:
    test = visitor.upload(GERMAN)
    visitor.step(test)
    visitor.post("import", test, "reading", data={"encoding": "cp1252", "date_order": "dmy", "decimal": ","})
    visitor.post("import", test, "columns", data=COLUMNS)
    visitor.step(test)
    page = visitor.get("import", test, "preview").text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", test, "save", data={"batch": batch[1], "leave_out": "1"})
    assert visitor.step(test).startswith("history/")

    following = visitor.upload(GERMAN.replace(b"no-address", b"c@example.org"))

    assert visitor.step(following) == f"import/{following}/preview"


def test_what_would_change_is_paged_and_searched(visitor: Visitor) -> None:
    header = "external_id,status,notes\n"
    first = visitor.upload((header + "".join(f"C-{n},lead,old {n}\n" for n in range(120))).encode())
    page = visitor.get(*visitor.step(first).split("/")).text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", first, "save", data={"batch": batch[1]})
    visitor.step(first)

    second = visitor.upload((header + "".join(f"C-{n},lead,new {n}\n" for n in range(120))).encode())
    visitor.step(second)

    assert "<del>old 0</del></td><td><ins>new 0</ins>" in visitor.get("import", second, "preview").text
    assert "<del>old 119</del>" in visitor.get("import", second, "preview", page="3").text
    found = visitor.get("import", second, "preview", find="new 77").text
    assert re.findall(r"<ins>(.*?)</ins>", found) == ["new 77"]
    assert 'data-query="?page=1&amp;find=new%2077"' in found
    assert 'data-query=""' in visitor.get("import", second, "preview").text


def test_only_what_was_seen_is_saved(visitor: Visitor, store: RecordStore) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\nB,wrong\n")
    page = visitor.get(*visitor.step(upload).split("/")).text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None

    assert visitor.post("import", upload, "save", data={"batch": "b-20260101-000000000-000000"}).status_code == 409
    assert visitor.post("import", upload, "save", data={"batch": batch[1]}).status_code == 422
    assert values(store, "status") == {}
    visitor.post("import", upload, "save", data={"batch": batch[1], "leave_out": "1"})
    visitor.step(upload)
    assert values(store, "status") == {"A": "lead"}


def test_an_export_is_made_and_downloaded(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status,notes\nA,lead,x\nB,customer,y\n")
    page = visitor.get(*visitor.step(upload).split("/")).text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", upload, "save", data={"batch": batch[1]})
    visitor.step(upload)

    form = {
        "type": "contacts",
        "format": "csv",
        "column": ["notes", "external_id"],
        "place_notes": "1",
        "place_external_id": "2",
        "field_0": "status",
        "operator_0": "=",
        "value_0": "customer",
    }
    made = visitor.post("export", data=form)
    export = made.headers["location"].rpartition("/")[2]
    until = time.monotonic() + 60
    while "Download" not in visitor.get("export", export).text and time.monotonic() < until:
        pass
    answer = visitor.get("files", export, "export")

    assert answer.text == "notes,external_id\r\ny,B\r\n"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_daily_export_is_added_changed_and_removed(visitor: Visitor, store: RecordStore) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\n")
    visitor.step(upload)
    file: Path = store.settings.home / "exports.yaml"
    file.write_text("# Ask Olga before you change this.\nexports: []\n")

    visitor.post(
        "scheduled",
        data={"action": "add", "type": "contacts", "format": "excel", "column": ["external_id"], "at": "07:00",
              "time_zone": "Europe/Berlin", "delivery_name": "Für den Vertrieb"},
    )  # fmt: skip
    assert "07:00, Europe/Berlin" in visitor.get("scheduled").text
    visitor.post(
        "scheduled", data={"action": "change", "name": "ua-fur-den-vertrieb", "at": "08:30", "time_zone": "UTC"}
    )
    assert "08:30, UTC" in visitor.get("scheduled").text
    visitor.post("scheduled", data={"action": "remove", "name": "ua-fur-den-vertrieb"})

    assert "08:30" not in visitor.get("scheduled").text
    assert file.read_text().startswith("# Ask Olga before you change this.\n")


def test_texts_that_are_like_a_value_are_offered(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status\nA,Kunde\nB, Lead\n")
    visitor.step(upload)
    page = visitor.get("import", upload, "preview").text
    assert ">Kunde is customer<" in page
    assert "1 status: case changed" in page

    visitor.post("import", upload, "reading", data={"value": ["status:Kunde=customer"]})

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "Save 2 records" in visitor.get("import", upload, "preview").text


def test_another_row_can_name_the_columns(visitor: Visitor) -> None:
    upload = visitor.upload(b"Customers\n\nexternal_id,status\nA,lead\nB,lead\n")
    visitor.step(upload)
    page = visitor.get("import", upload, "reading").text
    assert "Row 4 names the columns" in page

    visitor.post("import", upload, "reading", data={"header_row": "4"})

    assert visitor.step(upload) == f"import/{upload}/columns"
    assert ">A<" in visitor.get("import", upload, "columns").text


def test_empty_cells_can_keep_what_is_stored(visitor: Visitor) -> None:
    first = visitor.upload(b"external_id,status,notes\nA,lead,old\n")
    page = visitor.get(*visitor.step(first).split("/")).text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", first, "save", data={"batch": batch[1]})
    visitor.step(first)
    second = visitor.upload(b"external_id,status,notes\nA,customer,\n")
    visitor.step(second)
    assert "What would become empty" in visitor.get("import", second, "preview").text

    visitor.post("import", second, "reading", data={"blank": "keep"})

    visitor.step(second)
    page = visitor.get("import", second, "preview").text
    assert "What would become empty" not in page
    assert "<del>lead</del></td><td><ins>customer</ins>" in page


def test_somebody_is_asked_to_approve_with_the_address_of_the_page(store: RecordStore) -> None:
    with receiving() as receiver:
        settings = replace(store.settings, notify=(receiver.url,))
        with TestClient(application(settings), ORIGIN, headers={"Origin": ORIGIN}, client=("127.0.0.1", 1)) as client:
            visitor = Visitor(client, "ua")
            client.follow_redirects = False
            upload = visitor.upload(b"external_id,status\nA,lead\n")
            visitor.step(upload)
            assert visitor.post("import", upload, "ask").status_code == 303
            assert "has asked for approval" in visitor.get("import", upload, "preview").text

    (posted,) = receiver.posted
    assert posted["title"] == "ua: tester asks for approval of an import of contacts"
    assert f"{ORIGIN}/a/ua/import/{upload}/preview" in posted["message"]


def test_corrections_outlive_another_answer_about_the_file(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status,notes\nA,wrong,x\nB,wrong,y\n")
    visitor.step(upload)
    visitor.get("import", upload, "fix")
    visitor.post("import", upload, "fix", data={"record": "1", "column": "1", "action": "set", "text": "lead"})

    visitor.post("import", upload, "reading", data={"blank": "keep"})
    visitor.step(upload)

    assert "1 row is fixed" in visitor.get("import", upload, "preview").text
    assert "1 ready" in visitor.get("import", upload, "fix").text


def test_what_somebody_saves_elsewhere_writes_no_corrections(visitor: Visitor, store: RecordStore) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\nB,wrong\n")
    visitor.step(upload)
    visitor.get("import", upload, "fix")
    visitor.post("import", upload, "fix", data={"record": "2", "column": "1", "action": "set", "text": "lead"})
    (batch,) = store.batches("ua")

    visitor.post("history", batch.batch_id, "save", data={"leave_out": "1"})
    visitor.step(upload)

    assert values(store, "status") == {"A": "lead"}


def test_a_file_that_waits_is_not_saved_while_it_can_be_read_in_several_ways(
    visitor: Visitor, store: RecordStore
) -> None:
    upload = visitor.upload("external_id,status,notes\nA,lead,Müñoz\n".encode("cp1252"))
    visitor.step(upload)
    (batch,) = store.batches("ua")
    assert "several encodings" in visitor.get("history", batch.batch_id).text

    assert visitor.post("history", batch.batch_id, "save").status_code == 409
    assert values(store, "status") == {}
    visitor.post("history", batch.batch_id, "save", data={"accept": "yes"})
    assert values(store, "notes") == {"A": "Müñoz"}


def saved(visitor: Visitor, content: bytes, name: str = "people.csv") -> str:
    """Upload a file and save it. Returns the id of its batch."""
    upload = visitor.upload(content, name)
    page = visitor.get(*visitor.step(upload).split("/")).text
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch is not None
    visitor.post("import", upload, "save", data={"batch": batch[1]})
    visitor.step(upload)
    return batch[1]


def test_a_file_that_is_imported_already_leads_to_its_import_and_can_be_imported_again(visitor: Visitor) -> None:
    batch = saved(visitor, b"external_id,status\nA,lead\n")
    upload = visitor.upload(b"external_id,status\nA,lead\n", "again.csv")
    assert visitor.step(upload) == f"import/{upload}/reading"
    assert "Waits for your answer" in visitor.get("import").text
    page = visitor.get("import", upload, "reading").text
    assert "<h1>This file is imported already</h1>" in page
    assert f'href="/a/ua/history/{batch}">people.csv' in page
    assert "fieldset" not in page

    visitor.post("import", upload, "reading", data={"again": "yes"})

    assert visitor.step(upload) == f"import/{upload}/preview"


def test_the_choices_for_records_that_were_new_contradict_nothing(visitor: Visitor) -> None:
    first = saved(visitor, b"external_id,status\nA,lead\nB,lead\n")
    later = saved(visitor, b"external_id,status\nA,customer\n", "later.csv")

    page = visitor.get("history", first, "rollback").text
    assert "These records were new with this import, so they stay as they are now." in page
    assert "Its other values go back" not in page
    page = visitor.get("history", later, "rollback").text
    assert "1 record will be as it was before." in page
    assert "will be removed" not in page


def test_a_rolled_back_import_keeps_the_time_of_its_save(visitor: Visitor, store: RecordStore) -> None:
    batch = saved(visitor, b"external_id,status\nA,lead\n")
    at = store.account("ua").batch(batch).committed_at
    visitor.post("history", batch, "rollback", data={})
    assert at is not None

    page = visitor.get("history").text

    assert page.count(f'datetime="{at:%Y-%m-%dT%H:%M:%SZ}"') >= 1
    assert re.search(
        r">people.csv</a>\s*<span>by \S+ · contacts · <time datetime=\"" + f"{at:%Y-%m-%dT%H:%M:%SZ}", page
    )
    assert "Undo of people.csv" in page


def test_a_preview_that_was_left_can_be_gone_on_with_and_removed(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\n")
    visitor.step(upload)

    assert re.search(f'class="button" href="/a/ua/import/{upload}">Go on', visitor.get("history").text)
    assert f'action="/a/ua/import/{upload}/remove"' in visitor.get("import").text
