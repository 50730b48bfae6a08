"""What the guard forwards and what it refuses, as ASGI calls."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from pipelines.web.guard import Guard
from resources.settings import Settings
from schemas.errors import InvalidRequest

HOST = "127.0.0.1:3000"
ORIGIN = f"http://{HOST}"
JSON = {"Content-Type": "application/json"}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
POLICY = "script-src 'nonce-1'"
METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True)
class Answer:
    """The answer to the client, and whether the application behind the guard was reached."""

    status: int
    headers: dict[str, str]
    body: str
    reached: bool


def call(kind: str, path: str, headers: dict[str, str] | list[tuple[str, str]], **scope: Any) -> Answer:
    """Return the answer to one request; the status of an opened web socket is 101."""
    reached: list[str] = []

    def page(request: Request) -> Response:
        reached.append(request.method)
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "strict-origin-when-cross-origin"}
        return PlainTextResponse("Welcome", headers=headers)

    async def socket(socket: WebSocket) -> None:
        reached.append("socket")
        await socket.accept()

    routes = [Route("/{path:path}", page, methods=METHODS), WebSocketRoute("/graphql", socket)]
    guard = Guard(Starlette(routes=routes), ["records.example.org"], METHODS)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    sent_scope = {
        "type": kind,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(guard(sent_scope | scope, receive, send))
    if sent[0]["type"] == "websocket.accept":
        return Answer(101, {}, "", bool(reached))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], given, body.decode(), bool(reached))


def http(method: str, path: str = "/graphql", query: str = "", **headers: str) -> Answer:
    """Headers are written with _ for -. The Host is one of ours unless another is given."""
    named = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    return call("http", path, named, method=method, query_string=query.encode())


MUTATION = "query=mutation%20%7B%20launchRun%20%7D"


@pytest.mark.parametrize(
    ("status", "method", "path", "query", "headers"),
    [
        # Requests that a browser can send for a page of another site
        (405, "GET", "/graphql", MUTATION, {}),
        (405, "HEAD", "/graphql", MUTATION, {}),
        (405, "GET", "/graphql", MUTATION, {"Sec-Fetch-Site": "cross-site"} | NAVIGATION),
        (405, "GET", "/graphql", "operationName=x", {"Accept": "text/html"}),
        (405, "GET", "/graphql/", MUTATION, {}),
        (403, "GET", "/graphql", MUTATION, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
        (403, "POST", "/graphql", "", {"Origin": "https://evil.test", "Content-Type": "text/plain"}),
        (403, "POST", "/graphql", "", {"Origin": "https://evil.test"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "http://127.0.0.1:8080"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "http://127.0.0.1"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "http://localhost:3000"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "http://127.0.0.1:30000"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "file://127.0.0.1:3000"} | JSON),
        (403, "POST", "/graphql", "", {"Origin": "null"} | JSON),
        (403, "POST", "/graphql", "", {"Sec-Fetch-Site": "cross-site"} | JSON),
        (403, "POST", "/graphql", "", {"Sec-Fetch-Site": "same-site"} | JSON),
        (403, "POST", "/graphql", "", {"Sec-Fetch-Site": "none"} | JSON),
        (403, "POST", "/graphql", "", {"Sec-Fetch-Site": "cross-site"} | NAVIGATION | JSON),
        (403, "OPTIONS", "/graphql", "", {"Origin": "https://evil.test"}),
        (403, "GET", "/", "", {"Origin": "https://evil.test"}),
        (403, "GET", "/", "", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
        (403, "GET", "/", "", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}),
        (403, "GET", "/", "", NAVIGATION | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}),
        (403, "GET", "/", "", NAVIGATION | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "object"}),
        # Types that a browser sends without permission, from any page
        (415, "POST", "/graphql", "", {"Content-Type": "text/plain"}),
        (415, "POST", "/graphql", "", {"Content-Type": "text/plain; charset=application/json"}),
        (415, "POST", "/graphql", "", {"Content-Type": "application/x-www-form-urlencoded", "Origin": ORIGIN}),
        (415, "POST", "/graphql", "", {"Content-Type": "multipart/form-data; boundary=x", "Origin": ORIGIN}),
        (415, "POST", "/graphql", MUTATION, {"Origin": ORIGIN}),
        (415, "POST", "/report_asset_materialization/records/contacts", "partition=ua", {}),
        (405, "PUT", "/graphql", "", {"Origin": ORIGIN} | JSON),
        (405, "DELETE", "/logs/x", "", {}),
        # Names that an attacker may bind to this machine
        *(
            (421, "GET", "/", "", {"Host": host})
            for host in (
                *("evil.test", "evil.test:3000", "127.0.0.1.evil.test:3000", "localhost.", "127.0.0.2", "0.0.0.0:3000"),
                *("evil.test@127.0.0.1", "127.0.0.1:x", "127.0.0.1/evil.test", "::1", "[::2]:3000", "", "127.0.0.1 x"),
                *("www.records.example.org", "example.org", "[::1", "2130706433"),
            )
        ),
        (421, "POST", "/graphql", "", {"Host": "evil.test:3000", "Origin": "http://evil.test:3000"} | JSON),
    ],
)
def test_what_a_foreign_page_can_send_is_refused_with_a_sentence(
    status: int, method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    answer = http(method, path, query, **headers)

    assert (answer.status, answer.reached) == (status, False)
    assert answer.body.endswith(".\n") or method == "HEAD"
    require_protected(answer)


def test_a_request_names_one_host() -> None:
    assert call("http", "/", [], method="GET").status == 421
    assert call("http", "/", [("Host", HOST), ("Host", "evil.test")], method="GET").status == 421


@pytest.mark.parametrize(
    ("method", "path", "query", "headers"),
    [
        ("POST", "/graphql", "", JSON),  # our own command, or curl
        ("POST", "/graphql", "", {"Content-Type": "Application/JSON; charset=utf-8"}),
        ("POST", "/graphql", "", {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"} | JSON),
        ("POST", "/graphql", "", {"Host": "LOCALHOST:3000", "Origin": "http://localhost:3000"} | JSON),
        ("POST", "/graphql", "", {"Host": "[::1]:3000", "Origin": "http://[::1]:3000"} | JSON),
        ("POST", "/graphql", "", {"Host": "records.example.org", "Origin": "https://records.example.org"} | JSON),
        ("GET", "/", "", {}),
        ("GET", "/graphql", "", {"Accept": "text/html"}),  # the page to try out queries
        ("GET", "/runs", "q=tag%3Aa", {"Sec-Fetch-Site": "none"} | NAVIGATION),
        ("GET", "/runs/1", "", {"Sec-Fetch-Site": "cross-site"} | NAVIGATION),  # a link in a message
        ("GET", "/b/path/report", "", {"Sec-Fetch-Site": "same-site"} | NAVIGATION),  # from Dagster to the files
        ("GET", "/b/path/x", "", {"Sec-Fetch-Site": "same-site"} | NAVIGATION | {"Sec-Fetch-Dest": "empty"}),  # saved
        ("HEAD", "/", "", {"Host": "127.0.0.1"}),
        ("GET", "/x.js", "", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "script"}),
    ],
)
def test_its_own_pages_and_clients_that_are_no_browsers_are_answered(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    answer = http(method, path, query, **headers)

    assert (answer.status, answer.reached) == (200, True)
    require_protected(answer)
    assert answer.headers["content-security-policy"] == f"{POLICY}, frame-ancestors 'none'"


def require_protected(answer: Answer) -> None:
    """No frame shows the answer, and no other site receives its address."""
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (101, {"Host": HOST, "Origin": ORIGIN}),
        (101, {"Host": "records.example.org", "Origin": "https://records.example.org"}),
        (403, {"Host": HOST}),
        (403, {"Host": HOST, "Origin": "http://evil.test"}),
        (403, {"Host": HOST, "Origin": "http://127.0.0.1:8080"}),
        (403, {"Host": HOST, "Origin": "http://localhost:3000"}),
        (403, {"Host": HOST, "Origin": "null"}),
        (403, {"Host": HOST, "Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}),
        (421, {"Host": "evil.test:3000", "Origin": "http://evil.test:3000"}),
    ],
)
def test_a_web_socket_is_opened_by_its_own_pages_alone(status: int, headers: dict[str, str]) -> None:
    answer = call("websocket", "/graphql", headers)

    assert (answer.status, answer.reached) == (status, status == 101)


def test_the_names_of_the_ui_are_a_setting() -> None:
    def hosts(text: str) -> tuple[str, ...]:
        return Settings.from_environment({"RECORDS_UI_HOSTS": text}).ui_hosts

    assert hosts("") == ()
    assert hosts(" Records.Example.org , ops-1,[FD00::1], ") == ("records.example.org", "ops-1", "fd00::1")
    for wrong in ("https://records.example.org", "records.example.org:443", "*.example.org", "*", "a b", "fd00::1"):
        with pytest.raises(InvalidRequest, match=r"RECORDS_UI_HOSTS has .* not a host name"):
            hosts(wrong)
