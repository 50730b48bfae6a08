"""Who may see and do what: accounts, roles, and headers that anybody could send."""

from collections.abc import Iterator

import pytest
import yaml
from starlette.testclient import TestClient

from pipelines.web import api
from pipelines.web.application import application
from resources.record_store import RecordStore
from schemas.people import Role
from tests.inbox import arrive, lands
from tests.records import contact
from tests.web.conftest import ORIGIN
from tests.web.visitor import Visitor

CANARY = "canary-4711"
RULES = {
    "proxies": ["10.0.0.5"],
    "people": [
        {"users": ["ann"], "accounts": ["ua"], "role": "approver"},
        {"users": ["ian"], "accounts": ["ua"], "role": "importer"},
        {"users": ["vic"], "accounts": ["ua"], "role": "viewer"},
        {"users": ["bob"], "accounts": ["ub"], "role": "operator"},
        {"groups": ["support"], "accounts": "*", "role": "viewer"},
    ],
}


@pytest.fixture
def proxied(store: RecordStore) -> Iterator[TestClient]:
    """A client behind the login server that web.yaml names."""
    (store.settings.home / "web.yaml").write_text(yaml.safe_dump(RULES))
    with TestClient(
        application(store.settings),
        ORIGIN,
        headers={"Origin": ORIGIN},
        follow_redirects=False,
        client=("10.0.0.5", 50_000),
    ) as client:
        yield client


def of(client: TestClient, name: str, account: str = "ua", **headers: str) -> Visitor:
    return Visitor(client, account, {"X-Forwarded-User": name, **headers})


def test_each_role_may_do_its_part(proxied: TestClient) -> None:
    upload = of(proxied, "ian").upload(b"external_id,status\nA,lead\n")
    of(proxied, "ian").step(upload)
    forms = {
        ("import", upload, "ask"): Role.IMPORTER,
        ("export",): Role.IMPORTER,
        ("scheduled",): Role.OPERATOR,
    }
    for parts, least in forms.items():
        for name, role in {"vic": Role.VIEWER, "ian": Role.IMPORTER, "ann": Role.APPROVER}.items():
            is_allowed = role.includes(least)
            assert (of(proxied, name).post(*parts).status_code != 403) == is_allowed, (parts, name)
    assert of(proxied, "vic").get("history").status_code == 200


def test_nobody_rolls_back_what_another_importer_did(proxied: TestClient, store: RecordStore) -> None:
    upload = of(proxied, "ann").upload(b"external_id,status\nA,lead\n")
    of(proxied, "ann").step(upload)
    (batch,) = [it.batch_id for it in store.batches("ua")]
    of(proxied, "ann").post("import", upload, "save", data={"batch": batch})
    of(proxied, "ann").step(upload)

    assert of(proxied, "ian").post("history", batch, "rollback").status_code == 403
    assert of(proxied, "ann").post("history", batch, "rollback").status_code == 303
    assert {it.actor for it in store.batches("ua")} == {"ann"}


def test_a_file_of_the_inbox_is_saved_by_approvers_alone(proxied: TestClient, store: RecordStore) -> None:
    store.add_account("ua", "tester")
    lands(store, "in.csv", [contact(1, email="a@example.org"), contact(2, email="no address")])
    arrive(store)
    (batch,) = store.batches("ua")
    assert of(proxied, "ian").post("inbox", batch.batch_id).status_code == 403
    upload = of(proxied, "ann").post("inbox", batch.batch_id).headers["location"].rpartition("/")[2]
    form = {"batch": batch.batch_id, "leave_out": "1"}

    assert of(proxied, "ian").post("import", upload, "save", data=form).status_code == 403
    assert of(proxied, "ian").post("import", upload, "columns").status_code == 403
    assert of(proxied, "ann").post("import", upload, "save", data=form).status_code == 303


def test_an_account_of_others_is_not_there(proxied: TestClient, store: RecordStore) -> None:
    upload = of(proxied, "ann").upload(f"external_id,status,notes\n{CANARY},lead,{CANARY}\nB,{CANARY},x\n".encode())
    of(proxied, "ann").step(upload)
    (batch,) = [it.batch_id for it in store.batches("ua")]
    of(proxied, "ann").post("import", upload, "save", data={"batch": batch, "leave_out": "1"})
    of(proxied, "ann").step(upload)
    made = of(proxied, "ann").post("export", data={"type": "contacts", "format": "csv"})
    export = made.headers["location"].rpartition("/")[2]
    ids = {"upload": upload, "batch": batch, "export": export, "of": batch, "what": "report", "account": "ua"}
    pages = [
        "/a/{account}/import", "/a/{account}/import/{upload}", "/a/{account}/import/{upload}/preview",
        "/a/{account}/import/{upload}/reading", "/a/{account}/import/{upload}/columns",
        "/a/{account}/import/{upload}/fix",
        "/a/{account}/history", "/a/{account}/history/{batch}", "/a/{account}/history/{batch}/rollback",
        "/a/{account}/export", "/a/{account}/export/{export}", "/a/{account}/files/{of}/report",
        "/a/{account}/files/{of}/rejects_file", "/a/{account}/files/{export}/export", "/a/{account}/scheduled",
        "/a/{account}/inbox", *(f"/api{it.path}" for it in api.OPERATIONS if it.method == "GET"),
    ]  # fmt: skip
    bob = {"X-Forwarded-User": "bob"}

    for page in pages:
        of_others = proxied.get(page.format(**ids), headers=bob)
        missing = proxied.get(page.format(**ids | {"account": "nobody"}), headers=bob)
        in_own = proxied.get(page.format(**ids | {"account": "ub"}), headers=bob)
        assert CANARY not in of_others.text + in_own.text, page
        if "{account}" in page:
            assert of_others.status_code == 404
            assert of_others.text.replace("ua", "nobody") == missing.text
    head = proxied.head(f"/a/ua/uploads/{upload}", headers=bob)
    assert head.status_code == 404
    piece = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", **bob}
    assert proxied.patch(f"/a/ua/uploads/{upload}", content=b"x", headers=piece).status_code == 404
    for parts in (("import", upload, "save"), ("history", batch, "rollback"), ("history", batch, "discard")):
        assert of(proxied, "bob").post(*parts).status_code == 404
        assert of(proxied, "bob", "ub").post(*parts).status_code == 404


def test_a_group_gives_its_role_in_every_account(proxied: TestClient) -> None:
    sue = of(proxied, "sue", **{"X-Forwarded-Groups": "sales, support"})
    of(proxied, "ann").step(of(proxied, "ann").upload(b"external_id,status\nA,lead\n"))

    assert sue.get("import").status_code == 200
    assert sue.post("export").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-User", "")],
        [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "bob")],
        [("X-Forwarded-User", "stranger")],
    ],
)
def test_who_is_not_named_sees_nothing(proxied: TestClient, headers: list[tuple[str, str]]) -> None:
    answer = proxied.get("/a/ua/history", headers=headers)

    assert answer.status_code in (403, 404)


def test_a_header_counts_only_from_the_login_server(store: RecordStore) -> None:
    (store.settings.home / "web.yaml").write_text(yaml.safe_dump(RULES))
    for address in ("10.0.0.6", "127.0.0.1"):
        with TestClient(application(store.settings), ORIGIN, client=(address, 1)) as other:
            assert of(other, "ann").get("history").status_code == 403


def test_without_rules_only_this_machine_is_answered(store: RecordStore) -> None:
    with TestClient(application(store.settings), ORIGIN, client=("192.168.1.7", 1)) as other:
        assert other.get("/").status_code == 403
    with TestClient(application(store.settings), ORIGIN, client=("127.0.0.1", 1)) as here:
        assert here.get("/").status_code == 200
        assert here.get("/", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403


def test_a_mistake_in_the_rules_lets_nobody_in(proxied: TestClient, store: RecordStore) -> None:
    (store.settings.home / "web.yaml").write_text("people: [{users: [ann], accounts: [ua], role: king}]\n")

    answer = of(proxied, "ann").get("history")

    assert answer.status_code == 422
    assert "king" in answer.text
