"""The same for programs: JSON under the same rules."""

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from resources.record_store import RecordStore
from tests.records import values

OF = "/api/accounts/ua"


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
    assert len(described["paths"]) == 12
