"""Uploads: a file arrives in pieces, each at the offset where the last one ended, as in the protocol tus.

A connection may break at any time. The browser asks for the offset (HEAD), and continues there (PATCH).
A browser without scripts sends the whole file with a form.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pipelines.web.visit import Site, Visit, unknown_account
from resources.quotas import Quotas
from resources.uploads import OffsetMismatch
from schemas.errors import InvalidRequest, RecordsError
from schemas.people import Role
from schemas.uploads import Upload

PIECE = "application/offset+octet-stream"
_OFFSET, _LENGTH = "Upload-Offset", "Upload-Length"
_WRITTEN_AT_ONCE = 1 << 20


def start(visit: Visit) -> Response:
    """Begins an upload as the JSON says: name, bytes and type. Answers with its address."""
    said = visit.json
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not isinstance(said.get("bytes"), int):
        raise InvalidRequest("The request names no file.", "Send JSON with name, bytes and type.")
    upload = begin(visit, str(said.get("type", "")), said["name"], said["bytes"])
    place = visit.path("uploads", upload.upload_id)
    return JSONResponse({"upload": place, "page": visit.path("import", upload.upload_id)}, 201, {"Location": place})


def send_form(visit: Visit) -> Response:
    """Takes a whole file from a form, and leads to its page."""
    file = None if visit.form is None else visit.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise InvalidRequest("No file was chosen.", "Choose a file first.")
    upload = begin(visit, visit.said("type"), file.filename, file.size or 0)
    with visit.site.uploads.receiving(upload, 0) as part:
        while block := file.file.read(_WRITTEN_AT_ONCE):
            part.write(block)
    return visit.go("import", upload.upload_id)


def begin(visit: Visit, record_type: str, name: str, size: int) -> Upload:
    """Returns a new upload of the account.

    Raises NotFound for an unknown type, QuotaExceeded without room, and what `Uploads.start` raises.
    """
    with visit.store() as store:
        known = store.record_type(record_type)
        Quotas(store, visit.account).require_file(size)
        return visit.site.uploads.start(visit.account, known.name, name, size, visit.person.name, store.clock.now())


def piece(site: Site) -> Callable[[Request], Awaitable[Response]]:
    """Returns the endpoint that says how much of a file has arrived (HEAD), and takes more of it (PATCH)."""

    async def endpoint(request: Request) -> Response:
        try:
            upload = await run_sync(_admitted, site, request)
            if request.method == "HEAD":
                return _state(site, upload)
            return await _received(site, upload, request)
        except OffsetMismatch as error:
            return Response(str(error), HTTPStatus.CONFLICT, {_OFFSET: str(error.offset)})
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except RecordsError as error:
            missing = error.code in ("not_found", "not_signed_in", "not_allowed")
            status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.CONFLICT
            if error.transient:
                status = HTTPStatus.LOCKED
            return JSONResponse({"code": error.code, "message": error.message, "hint": error.hint}, status)

    return endpoint


def _admitted(site: Site, request: Request) -> Upload:
    person = site.identities.person(request)
    account = request.path_params["account"]
    if not person.may(Role.IMPORTER, account):
        raise unknown_account(account)
    return site.uploads.find(account, request.path_params["upload"])


async def _received(site: Site, upload: Upload, request: Request) -> Response:
    given = request.headers.get(_OFFSET, "")
    if not given.isascii() or not given.isdigit() or request.headers.get("content-type") != PIECE:
        raise InvalidRequest("The piece does not say where it begins.", f"Send {PIECE} with the header {_OFFSET}.")
    receiving = site.uploads.receiving(upload, int(given))
    part = await run_sync(receiving.__enter__)
    failure: BaseException | None = None
    try:
        waiting = bytearray()
        async for block in request.stream():
            waiting += block
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await run_sync(part.write, bytes(waiting))
                waiting.clear()
        await run_sync(part.write, bytes(waiting))
    except BaseException as error:
        failure = error
        raise
    finally:
        details: tuple[Any, ...] = (None,) * 3 if failure is None else (type(failure), failure, failure.__traceback__)
        await run_sync(receiving.__exit__, *details)
    return _state(site, upload, HTTPStatus.NO_CONTENT)


def _state(site: Site, upload: Upload, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {_OFFSET: str(site.uploads.received(upload)), _LENGTH: str(upload.bytes), "Cache-Control": "no-store"}
    return Response(status_code=status, headers=headers)
