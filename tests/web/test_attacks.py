"""What a page of another site, a hostile file or a forged address can do: nothing."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.web.conftest import ORIGIN
from tests.web.visitor import Visitor

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
    ],
)
def test_a_page_of_another_site_changes_nothing(client: TestClient, headers: dict[str, str]) -> None:
    form = client.post("/a/ua/export", data={"type": "contacts"}, headers=headers)
    upload = client.post("/a/ua/uploads", json={"name": "x", "bytes": 1, "type": "contacts"}, headers=headers)

    assert form.status_code in (403, 421)
    assert upload.status_code in (403, 421)


def test_a_form_without_an_origin_is_refused(client: TestClient) -> None:
    client.headers.pop("origin")

    assert client.post("/a/ua/export", data={"type": "contacts"}).status_code == 403
    assert (
        client.post("/a/ua/export", content="type=contacts", headers={"Content-Type": "text/plain"}).status_code == 415
    )


def test_nothing_is_read_from_somebody_who_may_not_send_it(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=x", "X-Forwarded-For": "203.0.113.9"}
    assert client.post("/a/ua/import", content=body(), headers=headers).status_code == 403
    too_large = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(10**12)}
    assert client.post("/a/ua/import", content=b"", headers=too_large).status_code == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    assert client.request(method, "/a/ua/import", headers={"Origin": ORIGIN}).status_code == 405


@pytest.mark.parametrize("account", ["..", "%2e%2e", "..%2fetc", "UA", "a b", "ua%00", "x" * 300, "ü"])
def test_a_name_cannot_lead_anywhere(client: TestClient, account: str) -> None:
    answer = client.get(f"/a/{account}/import")

    assert answer.status_code in (307, 404, 422)
    assert "Traceback" not in answer.text


def test_scripts_in_a_file_are_text(visitor: Visitor) -> None:
    content = f"external_id,status,{SCRIPT}\n{SCRIPT},{SCRIPT},x\n".encode()
    upload = visitor.upload(content, name=f"{SCRIPT}.csv")
    visitor.step(upload)

    pages = [
        visitor.get("import"),
        *(visitor.get("import", upload, step) for step in ("reading", "columns", "preview", "fix")),
        visitor.get("history"),
    ]

    for page in pages:
        assert page.status_code == 200
        assert SCRIPT not in page.text
        assert "script&gt;" in page.text


def test_a_page_allows_no_script_style_or_frame_of_others(visitor: Visitor) -> None:
    answer = visitor.get("import")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert " style=" not in answer.text
    assert "<script>" not in answer.text


def test_a_page_is_small(visitor: Visitor) -> None:
    page = visitor.get("import")
    parts = [visitor.client.get(path) for path in ("/static/page.css", "/static/page.js", "/static/htmx.min.js")]

    sent = [int(answer.headers["content-length"]) for answer in (page, *parts)]
    assert all(answer.headers["content-encoding"] == "gzip" for answer in parts)
    assert sum(sent) < 60_000
