"""The whole story by plain forms, with PostgreSQL as the catalog and objects as the data."""

import re
import time

import pytest

from resources.record_store import RecordStore
from tests.records import values
from tests.web.test_importing import COLUMNS, GERMAN
from tests.web.visitor import Visitor

pytestmark = pytest.mark.runs_on("server")


def saved(visitor: Visitor, upload: str, **more: str) -> str:
    """Save an upload that has a preview. Returns the batch."""
    visitor.step(upload)
    found = re.search(r'name="batch" value="([^"]+)"', visitor.get("import", upload, "preview").text)
    assert found is not None
    assert visitor.post("import", upload, "save", data={"batch": found[1], **more}).status_code == 303
    assert visitor.step(upload) == f"history/{found[1]}"
    return found[1]


def test_the_whole_story_on_a_server(visitor: Visitor, store: RecordStore) -> None:
    upload = visitor.upload(GERMAN, "kunden.csv")
    visitor.step(upload)
    visitor.post("import", upload, "reading", data={"encoding": "cp1252"})
    visitor.step(upload)
    visitor.post("import", upload, "columns", data=COLUMNS)
    visitor.step(upload)
    visitor.post("import", upload, "reading", data={"date_order": "dmy", "decimal": ","})
    visitor.step(upload)
    visitor.get("import", upload, "fix")
    fixing = {"record": "3", "column": "2", "action": "set", "text": "c@example.org"}
    assert visitor.post("import", upload, "fix", data=fixing).status_code == 303
    batch = saved(visitor, upload)
    assert values(store, "first_name") == {"K-1": "José", "K-2": "Müller", "K-3": "Zoë"}
    history = visitor.get("history").text
    assert "kunden.csv" in history
    assert "kunden.corrected.csv" in history

    form = {"type": "contacts", "format": "csv", "column": ["external_id", "amount"]}
    export = visitor.post("export", data=form).headers["location"].rpartition("/")[2]
    until = time.monotonic() + 60
    while "Download" not in visitor.get("export", export).text and time.monotonic() < until:
        pass
    exported = visitor.get("files", export, "export")
    assert exported.text == "external_id,amount\r\nK-1,1234.50\r\nK-2,7.25\r\nK-3,8.00\r\n"
    assert visitor.get("files", export, "manifest").json()["rows"] == 3

    later = b"external_id,status,company\nK-1,customer,Ada Ltd\n"
    saved(visitor, visitor.upload(later, "later.csv"))
    question = visitor.get("history", batch, "rollback").text
    assert 'value="merge"' in question
    assert visitor.post("history", batch, "rollback").headers["location"].endswith(f"{batch}/rollback")
    assert values(store, "status")["K-2"] == "lead"
    merged = visitor.post("history", batch, "rollback", data={"on_modified": "merge"}).headers["location"]
    left = values(store, "company")
    assert (left["K-1"], "K-2" in left, "K-3" in left) == ("Ada Ltd", False, True)

    rollback = merged.rpartition("/")[2]
    visitor.post("history", rollback, "rollback", data={"on_modified": "overwrite"})
    assert set(values(store, "first_name")) == {"K-1", "K-2", "K-3"}
    assert values(store, "first_name")["K-2"] == "Müller"

    daily = {"action": "add", "type": "contacts", "format": "excel", "column": ["external_id"], "at": "07:00",
             "time_zone": "Europe/Berlin", "delivery_name": "daily"}  # fmt: skip
    assert visitor.post("scheduled", data=daily).status_code == 303
    assert "07:00, Europe/Berlin" in visitor.get("scheduled").text
