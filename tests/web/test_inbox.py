"""Files of the inbox on the pages: each opens the steps of an import."""

import re

from resources.record_store import RecordStore
from schemas.batches import BatchStatus
from tests.inbox import arrive, lands
from tests.object_server import on_disk
from tests.records import contact, values
from tests.web.visitor import Visitor


def test_a_file_that_waits_opens_the_steps(visitor: Visitor, store: RecordStore) -> None:
    store.add_account("ua", "tester")
    lands(store, "in.csv", [contact(1, email="a@example.org"), contact(2, email="no address")])
    arrive(store)
    (batch,) = store.batches("ua")
    page = visitor.get("inbox").text
    assert "Waits for you" in page
    assert "Look at it and save it" in page

    upload = visitor.post("inbox", batch.batch_id).headers["location"].rpartition("/")[2]
    assert visitor.step(upload) == f"import/{upload}/preview"
    assert visitor.post("inbox", batch.batch_id).headers["location"].endswith(upload)
    assert "no address" in visitor.get("import", upload, "fix").text
    visitor.post("import", upload, "columns", data={"blank": "keep", "was_blank": "clear"})
    assert visitor.step(upload) == f"import/{upload}/preview"
    assert store.account("ua").batch(batch.batch_id).status is BatchStatus.DISCARDED
    assert "Waits for you" in visitor.get("inbox").text
    saved = re.search(r'name="batch" value="([^"]+)"', visitor.get("import", upload, "preview").text)
    assert saved is not None
    visitor.post("import", upload, "save", data={"batch": saved[1], "leave_out": "1"})
    visitor.step(upload)

    assert len(values(store, "status")) == 1
    assert re.findall(r'class="state">([^<]*)<', visitor.get("inbox").text) == ["Saved"]


def test_a_file_that_could_not_be_read_opens_the_steps(visitor: Visitor, store: RecordStore) -> None:
    store.add_account("ua", "tester")
    folder = on_disk(store.settings.inbox / "ua/contacts")
    folder.mkdir(parents=True)
    (folder / "in.csv").write_text("Nr,status\nA,lead\n", "utf-8")
    arrive(store)
    (batch,) = store.batches("ua")
    page = visitor.get("inbox").text
    assert "It could not be read. No column stands for external_id, which identifies contacts." in page
    assert "records " not in re.sub(r"<[^>]*>", "", page)

    upload = visitor.post("inbox", batch.batch_id).headers["location"].rpartition("/")[2]
    assert visitor.step(upload) == f"import/{upload}/columns"
    form = {"header": ["Nr", "status"], "field": ["external_id", "status"], "proposed": ["", "status"]}
    visitor.post("import", upload, "columns", data=form)

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "Waits for you" in visitor.get("inbox").text
