"""Every address of the pages and of the API, asked for by each kind of person.

A new address is tried by itself: its parts are filled in by their names. A new name of a part fails here.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pipelines.web import application as pages
from pipelines.web.visit import Site
from resources.record_store import RecordStore
from tests.web.conftest import ORIGIN
from tests.web.test_people import CANARY, of, proxied

__all__ = ["proxied"]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OF_MONITORING = {"/healthz", "/readyz", "/metrics"}
OF_NO_ACCOUNT = {"/", "/static", "/{of}/{token}/{what}", "/api/accounts", "/api/openapi.json", *OF_MONITORING}


def routes(store: RecordStore) -> list[Route | Mount]:
    site = Site(store.settings)
    try:
        return pages.routes(site)
    finally:
        site.close()


def requests(store: RecordStore) -> Iterator[tuple[str, str]]:
    """Yield method and path of each request that an application of an account answers."""
    found = routes(store)
    assert {it.path for it in found if "{account}" not in it.path} == OF_NO_ACCOUNT
    for route in found:
        if isinstance(route, Route) and "{account}" in route.path:
            yield from ((method, route.path) for method in sorted(route.methods or ()))


@pytest.fixture
def ids(proxied: TestClient, store: RecordStore) -> dict[str, list[str]]:
    """What account ua has, by the name of the part of an address: each with the canary in it."""
    ann = of(proxied, "ann")
    content = f"external_id,status,notes\n{CANARY},lead,{CANARY}\nB,{CANARY},x\n".encode()
    saved, open_ = ann.upload(content, f"{CANARY}.csv"), ann.upload(content + b"C,lead,\n", f"{CANARY}.csv")
    ann.step(saved)
    (batch,) = [it.batch_id for it in store.batches("ua") if it.counts.read == 2]
    ann.post("import", saved, "save", data={"batch": batch, "leave_out": "1"})
    ann.step(saved)
    ann.step(open_)
    made = ann.post("export", data={"type": "contacts", "format": "csv"}).headers["location"].rpartition("/")[2]
    while "Download" not in ann.get("export", made).text:
        pass
    return {
        "account": ["ua"],
        "upload": [saved, open_],
        "batch": [it.batch_id for it in store.batches("ua")],
        "export": [made],
        "of": [*(it.batch_id for it in store.batches("ua")), made],
        "what": ["report", "rejects_file", "export", "manifest"],
    }


def filled(path: str, ids: dict[str, list[str]]) -> list[str]:
    """Return the path with each id in its places. A part with another name has none, so it fails."""
    found = [path]
    for name, values in ids.items():
        found = [
            it.replace(f"{{{name}}}", value) for it in found for value in (values if f"{{{name}}}" in it else [""])
        ]
    assert not [it for it in found if "{" in it], path
    return found


def asked(client: TestClient, method: str, path: str, name: str) -> Any:
    headers = {"X-Forwarded-User": name}
    if method == "PATCH":
        headers |= {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    if method == "POST":
        if path.startswith("/api"):
            return client.post(path, json={"dry_run": True} if path.endswith("rollback") else {}, headers=headers)
        headers |= FORM
    return client.request(method, path, content=b"x" if method == "PATCH" else b"", headers=headers)


def state(store: RecordStore) -> tuple[Any, dict[str, str]]:
    """Return the ledger, and all files of the home but those of the catalog."""
    home = Path(store.settings.home)
    files = {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(home.rglob("*"))
        if file.is_file() and not file.name.startswith("catalog") and "scratch" not in file.parts
    }
    return (store.batches(), store.exports()), files


def test_no_address_shows_or_changes_anything_of_another_account(
    proxied: TestClient, store: RecordStore, ids: dict[str, list[str]]
) -> None:
    """Bob is the operator of ub. What he asks of ua is answered as for an account that nobody has."""
    before = state(store)
    for method, path in requests(store):
        for place in filled(path, ids):
            answer = asked(proxied, method, place, "bob")
            missing = asked(proxied, method, place.replace("/ua", "/nobody", 1), "bob")
            assert answer.status_code == 404, (method, place, answer.text)
            assert answer.text.replace("ua", "nobody") == missing.text.replace("ua", "nobody"), (method, place)
            in_own = asked(proxied, method, place.replace("/ua", "/ub", 1), "bob")
            assert CANARY not in answer.text + in_own.text, (method, place)
            if path.count("{") > 1 and method != "HEAD":
                assert in_own.status_code >= 400, (method, place, in_own.text)
    (batches, exports), files = state(store)
    assert ([it for it in batches if it.account == "ua"], [it for it in exports if it.account == "ua"]) == before[0]
    assert {name: files[name] for name in before[1] if "/ub" not in name} == before[1]


def test_nobody_without_a_name_gets_an_answer(
    proxied: TestClient, store: RecordStore, ids: dict[str, list[str]]
) -> None:
    for method, path in requests(store):
        for place in filled(path, ids):
            for name in ("", "stranger"):
                answer = asked(proxied, method, place, name)
                assert answer.status_code in (403, 404), (method, place)
                assert CANARY not in answer.text


def test_a_viewer_changes_nothing_and_a_look_begins_no_work(
    proxied: TestClient, store: RecordStore, ids: dict[str, list[str]]
) -> None:
    waiting = of(proxied, "ann").upload(b"external_id,status\nA,wrong\n")
    before = state(store)
    for method, path in requests(store):
        for place in filled(path, ids | {"upload": [*ids["upload"], waiting]}):
            answer = asked(proxied, method, place, "vic")
            is_allowed = method in ("GET", "HEAD") or (path.startswith("/api") and path.endswith("rollback"))
            if not is_allowed:
                assert answer.status_code in (403, 404), (method, place, answer.text)
            assert answer.status_code != 500, (method, place, answer.text)
    assert state(store) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_fails_for_a_form_or_an_id_that_nobody_foresaw(
    proxied: TestClient, store: RecordStore, ids: dict[str, list[str]], method: str
) -> None:
    odd = ["..", "%2e%2e%2fua", "x" * 400, "%00", "ü", "'; DROP TABLE x; --"]
    for verb, path in requests(store):
        for text in odd if verb == method else ():
            place = path.replace("{account}", "ua")
            for name in ids:
                place = place.replace(f"{{{name}}}", text)
            query = "?page=-1&type=%00&field_0=%00&value_0=x&find=%25&rule=x"
            headers = {"X-Forwarded-User": "ann", "Content-Type": FORM["Content-Type"]}
            answer = proxied.request(verb, place + query, content="batch=%00&record=9&column=x", headers=headers)
            assert answer.status_code < 500, (verb, place, answer.text)
            assert "Traceback" not in answer.text


def test_rules_that_vanish_let_nobody_in(proxied: TestClient, store: RecordStore) -> None:
    """An editor may take web.yaml away for an instant. A proxy's requests must not become the operator's then."""
    local = TestClient(pages.application(store.settings), ORIGIN, client=("127.0.0.1", 1))
    file = store.settings.home / "web.yaml"
    content = file.read_text()
    file.unlink()

    assert local.get("/").status_code == 403
    assert proxied.get("/a/ua/history", headers={"X-Forwarded-User": "ann"}).status_code == 403
    file.write_text(content)
    assert proxied.get("/a/ua/history", headers={"X-Forwarded-User": "ann"}).status_code == 200


def test_a_form_beyond_its_limit_is_not_read(proxied: TestClient, store: RecordStore) -> None:
    headers = {"X-Forwarded-User": "ann", **FORM}
    assert proxied.post("/a/ua/export", content=b"a=" + b"x" * 5_000_000, headers=headers).status_code == 413
    answer = proxied.post("/a/ua/history/x/rollback", files={"file": ("x", b"y")}, headers={"X-Forwarded-User": "ann"})
    assert answer.status_code == 422
    deep = proxied.post(
        "/api/accounts/ua/exports", content="[" * 100_000, headers=headers | {"Content-Type": "application/json"}
    )
    assert deep.status_code == 422
