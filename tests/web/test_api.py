"""The same for programs: JSON under the same rules."""

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import BatchStatus
from schemas.exports import ExportRequest
from tests.records import values
from tests.serving import within

OF = "/api/accounts/ua"
CONTENT = b"external_id,status\nA,lead\n"


def waited(client: TestClient, path: str, key: str, *until: str) -> Any:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        state = client.get(path).json()
        assert key in state, state
        if state[key] in until:
            return state
    raise AssertionError(state)


def test_a_program_imports_exports_and_rolls_back(client: TestClient, store: RecordStore) -> None:
    content = b"number,status\nA,lead\nB,customer\n"
    started = client.post(f"{OF}/uploads", json={"name": "p.csv", "bytes": len(content), "type": "contacts"}).json()
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert client.patch(started["upload"], content=content, headers=headers).status_code == 204
    state = waited(client, started["import"], "step", "failed", "previewed")
    assert state["failure"]["code"] == "invalid_request"

    client.post(f"{started['import']}/choices", json={"columns": {"number": "external_id"}})
    state = waited(client, started["import"], "step", "previewed")
    assert state["report"]["created"] == 2
    batch = state["report"]["batch_id"]
    client.post(f"{started['import']}/save", json={"batch_id": batch})
    waited(client, started["import"], "step", "saved")
    assert values(store, "status") == {"A": "lead", "B": "customer"}

    export = client.post(f"{OF}/exports", json={"type": "contacts", "columns": ["external_id"]}).json()["export_id"]
    waited(client, f"{OF}/exports/{export}", "status", "done")
    assert client.get(f"{OF}/files/{export}/export").text == "external_id\r\nA\r\nB\r\n"
    assert client.post(f"{OF}/batches/{batch}/rollback", json={"dry_run": True}).json()["removed"] == 2
    assert client.post(f"{OF}/batches/{batch}/rollback", json={}).json()["status"] == "committed"
    assert values(store, "status") == {}
    assert [it["batch_id"] for it in client.get(f"{OF}/batches").json()["items"]][-1] == batch


def begun(client: TestClient, content: bytes, sent: int) -> dict[str, str]:
    said = {"name": "p.csv", "bytes": len(content), "type": "contacts"}
    started: dict[str, str] = client.post(f"{OF}/uploads", json=said).json()
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert client.patch(started["upload"], content=content[:sent], headers=headers).status_code == 204
    return started


@pytest.mark.parametrize("part", [0.5, 1])
def test_an_upload_that_is_received_or_read_is_cancelled(client: TestClient, store: RecordStore, part: float) -> None:
    content = b"external_id,status\n" + b"".join(b"C-%d,lead\n" % row for row in range(40_000))
    started = begun(client, content, int(len(content) * part))

    cancelled = client.post(f"{started['import']}/cancel", json={})

    assert cancelled.json() == {"upload_id": started["upload_id"], "step": "cancelled"}
    assert client.get(started["import"]).status_code == 404
    within(30, lambda: not list(store.settings.home.glob("accounts/*/staging/*")))
    assert {it.status for it in store.batches()} <= {BatchStatus.DISCARDED}


def test_what_is_saved_or_exported_is_not_cancelled(client: TestClient, store: RecordStore) -> None:
    started = begun(client, CONTENT, len(CONTENT))
    batch = waited(client, started["import"], "step", "previewed")["report"]["batch_id"]
    client.post(f"{started['import']}/save", json={"batch_id": batch})
    waited(client, started["import"], "step", "saved")
    export = client.post(f"{OF}/exports", json={"type": "contacts"}).json()["export_id"]
    waited(client, f"{OF}/exports/{export}", "status", "done")

    for place in (started["import"], f"{OF}/exports/{export}"):
        refused = client.post(f"{place}/cancel", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "refused")

    assert values(store, "status") == {"A": "lead"}
    assert client.post(f"{OF}/exports/e-1/cancel", json={}).status_code == 404


def test_an_export_that_is_not_done_is_cancelled(client: TestClient, store: RecordStore, importer: Importer) -> None:
    store.add_account("ua", "tester")
    plan = ExportWriter(store, "tester").plan(ExportRequest("ua", "contacts", format="excel"))
    assert client.get(f"{OF}/exports/{plan.export_id}").json()["rows_placed"] is None

    cancelled = client.post(f"{OF}/exports/{plan.export_id}/cancel", json={})

    assert cancelled.json() == {"export_id": plan.export_id, "status": "cancelled"}
    assert client.get(f"{OF}/exports/{plan.export_id}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"{OF}/uploads", {"name": "p.csv"}, 422, "invalid_request"),
        (f"{OF}/uploads", {"name": "p.csv", "bytes": 1, "type": "x"}, 404, "not_found"),
        (f"{OF}/imports/u-1/save", {"batch_id": "b"}, 404, "not_found"),
        (f"{OF}/batches/b-1/rollback", {}, 404, "not_found"),
        (f"{OF}/exports", {"type": "contacts", "more": 1}, 422, "invalid_request"),
    ],
)
def test_a_mistake_is_an_object_with_what_to_do(
    client: TestClient, path: str, body: Any, status: int, code: str
) -> None:
    answer = client.post(path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


def test_the_description_names_what_there_is(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()

    references = set(json.dumps(described).split('"#/components/schemas/')[1:])
    assert {it.partition('"')[0] for it in references} <= described["components"]["schemas"].keys()
    assert described["openapi"].startswith("3.1")
    assert len(described["paths"]) == 14
