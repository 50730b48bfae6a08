"""Uploads: a file arrives in pieces, each at the offset where the last one ended, as in the protocol tus.

A connection may break at any time. The browser asks for the offset (HEAD), and continues there (PATCH).
A browser without scripts sends the whole file with a form.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from anyio import fail_after
from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pipelines.web.visit import Site, Visit, error_to_show, unknown_account
from resources.quotas import Quotas
from resources.uploads import OffsetMismatch
from schemas.errors import DiskFull, InvalidRequest, RecordsError
from schemas.people import Role
from schemas.uploads import Upload

PIECE = "application/offset+octet-stream"
_OFFSET, _LENGTH = "Upload-Offset", "Upload-Length"
_WRITTEN_AT_ONCE = 1 << 20
_SILENT_SECONDS = 20.0
"""How long a connection may be silent. One that broke without a sign would keep others from sending the file."""


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
        except (ClientDisconnect, TimeoutError):
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)
        except RecordsError as error:
            return _refused(error)
        except OSError as error:
            return _refused(error_to_show(error, site.settings))

    return endpoint


def _refused(error: RecordsError) -> Response:
    is_missing = error.code in ("not_found", "not_signed_in", "not_allowed")
    status = HTTPStatus.NOT_FOUND if is_missing else HTTPStatus.CONFLICT
    if isinstance(error, DiskFull):
        status = HTTPStatus.INSUFFICIENT_STORAGE
    elif error.transient:
        status = HTTPStatus.LOCKED
    return JSONResponse({"code": error.code, "message": error.message, "hint": error.hint}, status)


def _admitted(site: Site, request: Request) -> Upload:
    person = site.identities.person(request)
    account = request.path_params["account"]
    if not person.may(Role.IMPORTER, account):
        raise unknown_account(account)
    return site.uploads.find(account, request.path_params["upload"])


async def _received(site: Site, upload: Upload, request: Request) -> Response:
    given = request.headers.get(_OFFSET, "")
    is_number = given.isascii() and given.isdigit() and len(given) < 20
    if not is_number or request.headers.get("content-type") != PIECE:
        raise InvalidRequest("The piece does not say where it begins.", f"Send {PIECE} with the header {_OFFSET}.")
    receiving = site.uploads.receiving(upload, int(given))
    part = await run_sync(receiving.__enter__)
    waiting = bytearray()

    def written() -> bytearray:
        nonlocal waiting
        data, waiting = waiting, bytearray()
        return data

    def end(error: BaseException) -> None:
        if isinstance(error, ClientDisconnect | TimeoutError | CancelledError):  # what has arrived counts
            with suppress(RecordsError, OSError):
                part.write(written())
        receiving.__exit__(type(error), error, error.__traceback__)

    try:
        blocks = aiter(request.stream())
        while True:
            with fail_after(_SILENT_SECONDS):
                block = await anext(blocks, None)
            if block is None:
                break
            waiting += block
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await run_sync(part.write, written())
        await run_sync(part.write, written())
    except CancelledError as error:  # the server ends, so nothing can be awaited any more
        end(error)
        raise
    except BaseException as error:
        await run_sync(end, error)
        raise
    await run_sync(receiving.__exit__, None, None, None)
    return _state(site, upload, HTTPStatus.NO_CONTENT)


def _state(site: Site, upload: Upload, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {_OFFSET: str(site.uploads.received(upload)), _LENGTH: str(upload.bytes), "Cache-Control": "no-store"}
    return Response(status_code=status, headers=headers)
