"""Reports and rejects files for the browser: on loopback, to whoever knows a batch's unguessable path.

The path is made with the batch, and dies with it: a batch that is over has no files any more.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from pipelines.web.guard import Guard
from resources.file_storage import blocks_of, is_local
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import ImportReport
from schemas.errors import DamagedFile, RecordsError
from schemas.location import Location

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Referrer-Policy": "no-referrer",  # the address is the secret
}


@contextmanager
def serving(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """The files are served by a thread of this process."""
    config = uvicorn.Config(application(settings), log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    listener.listen()  # at once, so that whoever asks before the thread is ready waits for it
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def application(settings: Settings) -> ASGIApp:
    """What answers GET alone, to requests that name this machine by its loopback names."""

    def answer(request: Request) -> Response:
        try:
            file = _file(settings, **request.path_params)
        except DamagedFile:
            return PlainTextResponse(
                "This file is damaged, so it is not shown: preview the file again.\n", 500, _HEADERS
            )
        if file is None:
            return PlainTextResponse("There is no such file, or its time has ended.\n", 404, _HEADERS)
        is_page = file.suffix == ".html"
        media_type, name = ("text/html", None) if is_page else ("application/octet-stream", file.name)
        if is_local(file):
            return FileResponse(file, headers=_HEADERS, media_type=media_type, filename=name)
        named = {} if name is None else {"Content-Disposition": _attachment(name)}
        return StreamingResponse(blocks_of(file), headers=_HEADERS | named, media_type=media_type)

    return Guard(Starlette(routes=[Route("/{batch_id}/{path}/{what}", answer, methods=["GET"])]))


def _attachment(name: str) -> str:
    """As FileResponse says it."""
    quoted = quote(name)
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=utf-8''{quoted}"


def _file(settings: Settings, batch_id: str, path: str, what: str) -> Location | None:
    """The file of a batch, for one who knows its path. Raises DamagedFile if it is not as it was written."""
    try:
        with RecordStore(settings) as store:
            records = store.account(store.owner_of(batch_id))
            batch = records.batch(batch_id)
            known = batch.link_token
            if known is None or not secrets.compare_digest(known.encode(), path.encode()):
                return None
            records.require_whole(batch_id, ("rejects", "reports"))
            return records.with_files(ImportReport(batch)).files.get(what)
    except DamagedFile:
        raise
    except RecordsError:
        return None
