"""Serves the web pages in a thread of this process."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn

from pipelines.web.application import application
from resources.settings import Settings

_ANSWER_SECONDS = 2
"""How long the end of the server waits for answers that are being sent."""
_SECONDS = 8


@contextmanager
def serving(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Serve the pages until the end of the block. It takes at most some seconds to end: see `Work.close`."""
    server = server_of(settings)
    listener.listen()  # at once, so that a request that comes before the thread is ready waits
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=_SECONDS)


def server_of(settings: Settings) -> uvicorn.Server:
    """Returns the server of the pages. It believes no header about who sends a request: see `Identities`."""
    return uvicorn.Server(
        uvicorn.Config(
            application(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_ANSWER_SECONDS,
        )
    )
