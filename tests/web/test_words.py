"""Every page for people: no word of machinery, and a way on from each refusal."""

import re
from dataclasses import replace
from http import HTTPStatus

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from pipelines.web import texts
from pipelines.web.application import application, failure
from pipelines.web.identity import NotSignedIn
from pipelines.web.visit import NotAllowed, Site, Visit
from resources.record_store import RecordStore
from resources.uploads import TooLarge
from schemas.errors import DiskFull, NotFound, RecordsError, StoreBusy, StoreNotReady, StoreUnreachable, WindowOver
from schemas.people import operator
from tests.inbox import arrive, lands
from tests.records import contact
from tests.web.conftest import ORIGIN
from tests.web.visitor import Visitor

MACHINERY = re.compile(
    r"partition|materiali[sz]|snapshot|\brun id\b|\brun_id\b|(?<!\w)--[a-z]|RECORDS_|parquet file|traceback|"
    r"\.records/|/accounts/|/tmp/|/home/|\brecords (preview|import|commit|show|rollback|init)\b|"
    r"ducklake|duckdb|sqlite|dagster",
    re.IGNORECASE,
)


def words(page: str) -> str:
    """What a person reads or hears of a page."""
    said = " ".join(re.findall(r'(?:aria-label|title|placeholder)="([^"]*)"', page))
    return re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL) + said


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_page_has_a_word_of_machinery(store: RecordStore, visitor: Visitor, language: str) -> None:
    visitor.client.headers["Accept-Language"] = language
    store.add_account("ua", "tester")
    lands(store, "in.csv", [contact(1, email="a@example.org"), contact(2, email="no address")])
    lands(store, "wrong.csv", [{"Nr": "A"}])
    arrive(store)
    rows = "A;Kunnde;1,50;31/12/1980;x\nB;lead;7.961,39;12/13/1980;x\nB;lead;2;12/11/1980;y\nTotal;;9;;\n"
    upload = visitor.upload(f"external_id;status;amount;birthday;notes\n{rows}".encode())
    visitor.step(upload)
    made = visitor.post("export", data={"type": "contacts", "format": "csv"}).headers["location"].removeprefix("/a/ua/")
    visitor.post(
        "scheduled", data={"action": "add", "type": "contacts", "at": "07:00", "time_zone": "UTC", "format": "csv"}
    )
    waiting = [batch.batch_id for batch in store.batches("ua")]
    places = [
        ("import",), *(("import", upload, step) for step in ("reading", "columns", "preview", "fix")), ("history",),
        *(("history", batch) for batch in waiting), ("export",), tuple(made.split("/")), ("scheduled",), ("inbox",),
        ("import", "u-none"), ("history", "b-none"), ("history", waiting[0], "rollback"),
    ]  # fmt: skip
    for place in places:
        answer = visitor.get(*place)
        if answer.status_code == 303:
            continue
        found = [match.group() for match in MACHINERY.finditer(words(answer.text))]
        assert found == [], (place, found)
    assert visitor.client.get("/").status_code == 200


@pytest.mark.parametrize(("language", "again"), [("en", "Try again"), ("de", "Noch einmal versuchen")])
@pytest.mark.parametrize(
    "kind",
    [NotSignedIn, NotAllowed, NotFound, StoreBusy, StoreUnreachable, StoreNotReady, DiskFull, TooLarge, WindowOver],
)
def test_each_refusal_says_what_to_do(kind: type[RecordsError], language: str, again: str) -> None:
    error = kind("Something is so.", "Say --so.")
    scope = {
        "type": "http", "method": "GET", "path": "/a/ua/history", "headers": [], "query_string": b"",
        "server": ("127.0.0.1", 80), "scheme": "http",
    }  # fmt: skip
    visit = Visit(Site.__new__(Site), Request(scope), operator("ann"), texts.languages()[language], "ua")

    page = bytes(failure(visit, error, HTTPStatus.BAD_REQUEST).body).decode()

    do = texts.languages()[language](f"failure.do.{error.code}")
    assert do in page
    assert "--so" not in page
    assert (again in page) == error.transient


def test_pages_of_refusals_have_their_status(store: RecordStore, visitor: Visitor) -> None:
    assert visitor.get("history", "b-none").status_code == 404
    settings = replace(store.settings, upload_mb=0)
    with TestClient(application(settings), ORIGIN, headers={"Origin": ORIGIN}, client=("127.0.0.1", 1)) as client:
        answer = client.post("/a/ua/uploads", json={"name": "x.csv", "bytes": 1, "type": "contacts"})
        assert answer.status_code == 413
        assert "This file is too large" in answer.text
