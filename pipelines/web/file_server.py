"""Serves reports, rejects files and exports to browsers on this machine.

Each file has a secret address. Any process that knows the address gets the file. The address of a batch's files is made
with the batch. The files of a batch are removed when its time has ended.
"""

import hashlib
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from pipelines.web.guard import Guard
from resources.checksums import sha256_of
from resources.file_storage import blocks_of, exists, is_local
from resources.record_store import RecordStore
from resources.report_writer.page import Link
from resources.running_ui import RunningUi, export_token
from resources.settings import Settings
from schemas.batches import Batch, ImportReport
from schemas.errors import DamagedFile, NotFound, RecordsError
from schemas.exports import ExportManifest
from schemas.location import Location

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Referrer-Policy": "no-referrer",  # the address is the secret
}


@contextmanager
def serving(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Serve the files in a thread of this process until the end of the block."""
    config = uvicorn.Config(application(settings), log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    listener.listen()  # at once, so that a request that comes before the thread is ready waits
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def application(settings: Settings) -> ASGIApp:
    """Returns the server. It answers only GET, and only requests that name this machine by a loopback name."""

    def answer(request: Request) -> Response:
        try:
            with RecordStore(settings) as store:
                return _answer(store, **request.path_params)
        except DamagedFile:
            return PlainTextResponse("This file is damaged, so it is not shown. Make it again.\n", 500, _HEADERS)
        except RecordsError:
            return PlainTextResponse("There is no such file, or its time has ended.\n", 404, _HEADERS)

    return Guard(Starlette(routes=[Route("/{of}/{token}/{what}", answer, methods=["GET"])]))


def _answer(store: RecordStore, of: str, token: str, what: str) -> Response:
    """Returns the file of a batch or an export. Raises NotFound, or DamagedFile if it was changed."""
    if what == "export":
        return _download(_export(store, of, token).path)
    batch = _batch(store, of, token)
    records = store.account(batch.account)
    records.require_whole(batch.batch_id, ("rejects", "reports"))
    files = records.with_files(ImportReport(batch)).files
    if what == "report":
        page = records.report_page(batch.batch_id, _links(store.settings, batch, files))
        if page is not None:
            return HTMLResponse(page, headers=_HEADERS)
    if what == "rejects_file" and what in files:
        return _download(files[what])
    raise NotFound(f"There is no {what!r} of {of}.")


def _batch(store: RecordStore, batch_id: str, token: str) -> Batch:
    batch = store.account(store.owner_of(batch_id)).batch(batch_id)
    _require_same(batch.link_token, token)
    return batch


def _export(store: RecordStore, export_id: str, token: str) -> ExportManifest:
    """Returns an export. Raises NotFound, or DamagedFile if the file has changed since it was written."""
    export = store.export(export_id)
    if export is None:
        raise NotFound(f"There is no export {export_id!r}.")
    _require_same(export_token(store.settings, export), token)
    if not exists(export.path):
        raise NotFound(f"The file of {export_id} is gone.")
    if _sha256(export.path) != export.sha256:
        raise DamagedFile(f"{export.path} has other bytes than were written.", "Export the records again.")
    return export


def _sha256(file: Location) -> str:
    if is_local(file):
        return sha256_of(file)
    digest = hashlib.sha256()
    for block in blocks_of(file):
        digest.update(block)
    return digest.hexdigest()


def _require_same(known: str | None, given: str) -> None:
    """Raises NotFound if the secret part of an address is wrong."""
    if known is None or not secrets.compare_digest(known.encode(), given.encode()):
        raise NotFound("There is nothing at this address.")


def _links(settings: Settings, batch: Batch, files: dict[str, Location]) -> tuple[Link, ...]:
    """Returns the links of a report: the rejects file, and the history and the run in Dagster's UI."""
    links = [Link("Rejected records", "rejects_file")] if "rejects_file" in files else []
    running = RunningUi.of(settings)
    if running is not None:
        history = f"{running.url}/assets/records/{batch.record_type}?view=partitions&partition={batch.account}"
        links.append(Link("History of these records", history))
        if batch.run_id is not None:
            links.append(Link("The run in Dagster", f"{running.url}/runs/{batch.run_id}"))
    return tuple(links)


def _download(file: Location) -> Response:
    """Returns a file for the browser to save."""
    media_type = "application/octet-stream"
    if is_local(file):
        return FileResponse(file, headers=_HEADERS, media_type=media_type, filename=file.name)
    disposition = {"Content-Disposition": _attachment(file.name)}
    return StreamingResponse(blocks_of(file), headers=_HEADERS | disposition, media_type=media_type)


def _attachment(name: str) -> str:
    """Returns the header that FileResponse writes for a file name."""
    quoted = quote(name)
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=utf-8''{quoted}"
