"""An object store answers wrongly: the operation reports it, or its result is right."""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.faults.harness import actions
from tests.faults.harness.damage import attempt
from tests.faults.harness.testbed import Fault, Testbed, require

_OPERATIONS = ("export csv", "export parquet", "commit", "rollback", "maintain", "import")
_CHANGING = _OPERATIONS[2:]
_HOW = ("flipped", "flipped", "cut off", "500", "503", "reset", "late")
_LATE = 3.0


class Proxy(ThreadingHTTPServer):
    """Forwards everything to an object store, and answers one GET, by its number, in a wrong way."""

    daemon_threads = True

    def __init__(self, address: str, number: int = 0, how: str = "", place: float = 0.5) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.behind = urlsplit(address).netloc
        self.number, self.how, self.place = number, how, place
        self.gets = 0
        self.turn = threading.Lock()

    @property
    def address(self) -> str:
        """Return the address on which it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: the process that was cut off reports the error."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        """Forward the request; the answer is wrong if it is the chosen one with a body."""
        status, headers, body = self._passed_on()
        how = ""
        if self.command == "GET" and body and "?" not in self.path:
            with self.server.turn:
                self.server.gets += 1
                how = self.server.how if self.server.gets == self.server.number else ""
        if how == "late":
            time.sleep(_LATE)
        elif how == "reset":
            self.close_connection = True
            self.connection.close()
            return
        elif how in ("500", "503"):
            status, headers, body = int(how), [], b""
        elif how == "flipped":
            at = int(self.server.place * (len(body) - 1))
            body = body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if how == "cut off" else body)
        if how == "cut off":
            self.close_connection = True

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815

    def _passed_on(self) -> tuple[int, list[tuple[str, str]], bytes]:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b"".join(self._chunks())
        behind = http.client.HTTPConnection(self.server.behind, timeout=30)
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "expect"):
                behind.putheader(name, value)
        behind.putheader("Content-Length", str(len(content)))
        behind.endheaders(content or None)
        answer = behind.getresponse()
        body = answer.read()
        behind.close()
        return answer.status, answer.getheaders(), body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


@contextmanager
def proxied(testbed: Testbed, **options: Any) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Yield a running proxy, and the environment of a process that goes through it."""
    proxy = Proxy(testbed.objects.environment["AWS_ENDPOINT_URL"], **options)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy, testbed.objects.environment | {"AWS_ENDPOINT_URL": proxy.address}
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def wrong_answers(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Give one wrong answer to one of the GETs that an operation needs."""
    for number in range(count):
        operation, how = _OPERATIONS[number % len(_OPERATIONS)], chance.choice(_HOW)
        right = _right(testbed, operation)
        get = chance.randint(1, max(right[2], 1))
        happens = partial(_happens, testbed, operation, how, get, chance.random(), right)
        yield Fault(f"{number}: {operation}, GET {get} of {right[2]} is {how}", happens)


def _happens(
    testbed: Testbed, operation: str, how: str, number: int, at: float, right: tuple[Any, Any, int]
) -> list[str]:
    with testbed.copy("objects") as (place, template):
        with proxied(testbed, number=number, how=how, place=at) as (_, environment):
            outcome = testbed.call(attempt, operation, place, environment=environment, seconds=120.0)
        state = testbed.call(actions.state, place, environment=testbed.environment(place))
        if not state.ended_well:
            return [f"{how}: {outcome}; then the store: {state}"]
        if outcome.error and not outcome.refused:
            return [f"not a message of the project: {outcome}"]
        if outcome.died:
            return [outcome.died]
        if outcome.ended_well and outcome.value != right[0]:
            return ["ended well with other values"]
        after = right[1] if outcome.ended_well else template.before.records
        return [] if state.value.records == after else [f"{outcome}, and the records are others"]


def _right(testbed: Testbed, operation: str) -> tuple[Any, Any, int]:
    """Return the result through a proxy that changes nothing, the records then, and the number of GETs."""

    def make() -> tuple[Any, Any, int]:
        with testbed.copy("objects") as (place, _), proxied(testbed) as (proxy, environment):
            value = require(testbed.call(attempt, operation, place, environment=environment, seconds=120.0))
            gets = proxy.gets
            state = require(testbed.call(actions.state, place, environment=testbed.environment(place)))
            return value, state.records, gets

    return testbed.once(("objects", operation), make)
