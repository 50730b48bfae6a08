"""A server on loopback that accepts or refuses what Apprise posts, or does not answer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what was posted to it. It answers 200 or another status; with 0 it does not answer until it is closed."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.asked = 0
        self.status = 200
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked += 1
                if receiver.status == 0:
                    receiver.closing.wait(30)
                    return
                if receiver.status == 200:
                    receiver.posted.append(json.loads(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Return its address for Apprise, with a secret in it."""
        return f"json://user:canary-password@127.0.0.1:{self.server.server_address[1]}/canary-token/?rto=8"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.posted]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
