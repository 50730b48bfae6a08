"""Files for browsers: reports, rejected records, exports, and empty files to fill in.

A person gets the files of their accounts. A secret address, which notices and Dagster's history have, gives one file to
whoever knows it. The address of a batch's files is made with the batch. They are removed when its time has ended.
"""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pipelines.web.visit import Site, Visit
from resources.file_storage import opened
from resources.record_store import RecordStore
from resources.record_store.refusals import no_such_export
from resources.report_writer.page import Link
from resources.running_ui import RunningUi, export_token
from resources.settings import Settings
from resources.template_writer import write_template
from schemas import load_model
from schemas.batches import Batch, ImportReport
from schemas.errors import DamagedFile, DiskFull, NotFound, RecordsError, StoreUnreachable
from schemas.exports import ExportManifest
from schemas.location import Location

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Referrer-Policy": "no-referrer",  # the address is the secret
}


def by_secret_address(site: Site) -> Callable[[Request], Response]:
    """Returns the endpoint of secret addresses, as notices and Dagster's history have them."""

    def endpoint(request: Request) -> Response:
        try:
            with site.stores.lent() as store:
                return _answer(store, **request.path_params)
        except DamagedFile:
            return PlainTextResponse("This file is damaged, so it is not shown. Make it again.\n", 500, _HEADERS)
        except (DiskFull, StoreUnreachable):
            return PlainTextResponse("This file cannot be read now. Try again later.\n", 503, _HEADERS)
        except RecordsError:
            return PlainTextResponse("There is no such file, or its time has ended.\n", 404, _HEADERS)

    return endpoint


def download(visit: Visit) -> Response:
    """Returns a file of the account: the report or the rejected records of a batch, or an export.

    Raises NotFound if the account has no such file, and DamagedFile if it was changed.
    """
    of, what = visit.request.path_params["of"], visit.request.path_params["what"]
    with visit.store() as store:
        records = store.account(visit.account)
        if what in ("export", "manifest"):
            export = records.export(of)
            if export is None:
                raise no_such_export(of)
            if what == "manifest":
                return JSONResponse(
                    export.to_dict(), headers=_HEADERS | {"Content-Disposition": "attachment; filename=manifest.json"}
                )
            return _download(store, export.path, lambda file: _sha256(file) == export.sha256)
        return _of_batch(store, records.batch(of), what)


def template(visit: Visit) -> Response:
    """Returns an empty workbook with the columns of the record type that the address names."""
    with visit.store() as store:
        name = store.record_type(visit.request.query_params.get("type", "")).name
    with tempfile.TemporaryDirectory(dir=visit.site.settings.scratch) as folder:
        path = Path(folder) / f"{name}.xlsx"
        write_template(load_model(name), path)
        content = path.read_bytes()
    headers = _HEADERS | {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _answer(store: RecordStore, of: str, token: str, what: str) -> Response:
    """Returns the file of a batch or an export. Raises NotFound, or DamagedFile if it was changed."""
    if what == "export":
        export = _export(store, of, token)
        return _download(store, export.path, lambda file: _sha256(file) == export.sha256)
    return _of_batch(store, _batch(store, of, token), what)


def _of_batch(store: RecordStore, batch: Batch, what: str) -> Response:
    records = store.account(batch.account)
    files = records.with_files(ImportReport(batch)).files
    if what == "report" and what in files:
        records.require_whole(batch.batch_id, ["reports"])
        page = records.report_page(batch.batch_id, _links(store.settings, batch, files))
        if page is not None:
            return HTMLResponse(page, headers=_HEADERS)
    if what == "rejects_file" and what in files and records.stored_file(files[what]) is not None:
        return _download(store, files[what], lambda _: True)  # a user may have edited it
    raise NotFound(f"There is no {what!r} of {batch.batch_id}.")


def _batch(store: RecordStore, batch_id: str, token: str) -> Batch:
    batch = store.account(store.owner_of(batch_id)).batch(batch_id)
    _require_same(batch.link_token, token)
    return batch


def _export(store: RecordStore, export_id: str, token: str) -> ExportManifest:
    export = store.export(export_id)
    if export is None:
        raise NotFound(f"There is no export {export_id!r}.")
    _require_same(export_token(store.settings, export), token)
    return export


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


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


def _download(store: RecordStore, place: Location, is_whole: Callable[[BufferedReader], bool]) -> Response:
    """Returns a file for the browser to save. It is opened once, so what is sent is what was compared.

    Raises NotFound if there is no regular file, or DamagedFile if it is not as it was written.
    """
    with ExitStack() as stack:
        try:
            with store.files.fetched(place) as path:  # the copy of an object has no name from here on
                file = stack.enter_context(opened(path, links=False))
        except FileNotFoundError:
            raise NotFound(f"There is no file {place}.") from None
        if not is_whole(file):
            raise DamagedFile(f"{place} has other bytes than were written.", "Make it again.")
        return _OpenFile(file, place.name, stack.pop_all())


class _OpenFile(FileResponse):
    """Sends a file of this machine that is open, whole or in part, and closes it.

    FileResponse opens a path, in a thread. The path of a descriptor leads to the same file.
    """

    def __init__(self, file: BufferedReader, name: str, closing: ExitStack) -> None:
        number = file.fileno()
        super().__init__(
            f"/dev/fd/{number}",
            headers=_HEADERS,
            media_type="application/octet-stream",
            filename=name,
            stat_result=os.fstat(number),
        )
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        with self._closing:
            await super().__call__(scope, receive, send)
