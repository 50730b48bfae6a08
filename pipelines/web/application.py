"""The web pages: addresses, and what happens to each request before and after its page."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.web import api, files, texts
from pipelines.web.guard import Guard
from pipelines.web.health import Health
from pipelines.web.identity import NotSignedIn
from pipelines.web.rendering import STATIC
from pipelines.web.views import exports, fixing, history, home, imports, inbox, scheduled, uploads
from pipelines.web.visit import NotAllowed, Site, View, Visit, error_to_show, unknown_account
from resources.record_store.refusals import check_account
from resources.settings import Settings
from resources.uploads import TooLarge
from schemas.errors import (
    AlreadyImported,
    DiskFull,
    InvalidRequest,
    NotFound,
    OtherFormat,
    RecordsError,
    Refused,
    StoreBusy,
    StoreUnreachable,
)
from schemas.people import Person, Role

METHODS = ("GET", "HEAD", "POST", "PATCH")
MEDIA_TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    uploads.PIECE,
)
_FIELDS = 40_000
"""The most fields of one form: the mapping of 10,000 columns has three for each."""

_FORM_BYTES = 4_000_000
"""The most bytes of a form beside the file in it, and of JSON."""

_STATUS: dict[type[RecordsError], HTTPStatus] = {
    NotSignedIn: HTTPStatus.FORBIDDEN,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    AlreadyImported: HTTPStatus.CONFLICT,
    Refused: HTTPStatus.CONFLICT,
    StoreBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    OtherFormat: HTTPStatus.SERVICE_UNAVAILABLE,
    DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'"
)


def application(settings: Settings) -> ASGIApp:
    """Returns the web pages of a store, as an ASGI application behind the guard."""
    site = Site(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_sync(site.close)

    app = Starlette(routes=routes(site), lifespan=lifespan)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    return Guard(_with_policy(app), settings.ui_hosts, METHODS, MEDIA_TYPES)


def routes(site: Site) -> list[Route | Mount]:
    """Returns all addresses. `tests/web/test_isolation.py` asks for each of them in the name of each kind of person."""

    def page(path: str, view: View, *, role: Role | None = Role.VIEWER, methods: tuple[str, ...] = ("GET",)) -> Route:
        takes_file = view is uploads.send_form
        return Route(path, _answered(site, view, role, takes_file=takes_file), methods=list(methods))

    health = Health(site)
    post, importer = ("POST",), Role.IMPORTER
    of_account, of_upload, of_batch = "/a/{account}", "/a/{account}/import/{upload}", "/a/{account}/history/{batch}"
    return [
        Route("/healthz", health.alive, methods=["GET"]),
        Route("/readyz", health.ready, methods=["GET"]),
        Route("/metrics", health.metrics, methods=["GET"]),
        page("/", home.accounts, role=None),
        page("/", home.open_account, role=None, methods=post),
        page(of_account, imports.first),
        page(f"{of_account}/import", imports.drop),
        page(f"{of_account}/import", uploads.send_form, role=importer, methods=post),
        page(f"{of_account}/uploads", uploads.start, role=importer, methods=post),
        Route(f"{of_account}/uploads/{{upload}}", uploads.piece(site), methods=["HEAD", "PATCH"]),
        page(f"{of_account}/template", files.template),
        page(of_upload, imports.overview),
        page(f"{of_upload}/reading", imports.reading),
        page(f"{of_upload}/reading", imports.say_reading, role=importer, methods=post),
        page(f"{of_upload}/columns", imports.columns),
        page(f"{of_upload}/columns", imports.say_columns, role=importer, methods=post),
        page(f"{of_upload}/preview", imports.preview),
        page(f"{of_upload}/fix", fixing.grid, role=importer),
        page(f"{of_upload}/fix", fixing.correct, role=importer, methods=post),
        page(f"{of_upload}/fix/rows.xlsx", fixing.download, role=importer),
        page(f"{of_upload}/save", imports.save, role=importer, methods=post),
        page(f"{of_upload}/ask", imports.ask_for_approval, role=importer, methods=post),
        page(f"{of_upload}/remove", imports.remove, role=importer, methods=post),
        page(f"{of_account}/history", history.listed),
        page(of_batch, history.details),
        page(f"{of_batch}/save", history.save, role=importer, methods=post),
        page(f"{of_batch}/discard", history.discard, role=importer, methods=post),
        page(f"{of_batch}/rollback", history.plan_rollback),
        page(f"{of_batch}/rollback", history.roll_back, role=importer, methods=post),
        page(f"{of_account}/export", exports.choose),
        page(f"{of_account}/export", exports.start, role=importer, methods=post),
        page(f"{of_account}/export/{{export}}", exports.details),
        page(f"{of_account}/export/{{export}}/go-on", exports.go_on, role=importer, methods=post),
        page(f"{of_account}/export/{{export}}/cancel", exports.cancel, role=importer, methods=post),
        page(f"{of_account}/scheduled", scheduled.listed),
        page(f"{of_account}/scheduled", scheduled.change, role=Role.OPERATOR, methods=post),
        page(f"{of_account}/inbox", inbox.listed),
        page(f"{of_account}/inbox/{{batch}}", inbox.open_file, role=importer, methods=post),
        page(f"{of_account}/files/{{of}}/{{what}}", files.download),
        *(
            Route(f"/api{it.path}", _answered(site, it.answer, it.role, api.failure), methods=[it.method])
            for it in api.OPERATIONS
        ),
        Route("/api/accounts/{account}/uploads/{upload}", uploads.piece(site), methods=["HEAD", "PATCH"]),
        Route("/api/openapi.json", lambda _: JSONResponse(api.description()), methods=["GET"]),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/{of}/{token}/{what}", files.by_secret_address(site), methods=["GET"]),
    ]


def _answered(
    site: Site,
    view: View,
    role: Role | None,
    fail: Callable[[RecordsError, int], Response] | None = None,
    *,
    takes_file: bool = False,
) -> Callable[[Request], Awaitable[Response]]:
    """Returns the endpoint of a page.

    role: what a person must have in the account; None without an account. fail: how an error is answered; as a page
    if it is None. takes_file: whether its form may have a file.
    """

    async def endpoint(request: Request) -> Response:
        visit = Visit(site, request, Person("", ()), _texts(request))
        if request.method == "POST":  # nothing of the body is read for somebody who may not send it
            refusal = await run_sync(_view, lambda _: None, visit, role, fail)
            if refusal is not None:
                return refusal
        form, said = None, None
        if request.method == "POST" and "form" in request.headers.get("content-type", ""):
            length = request.headers.get("content-length", "")
            most = _FORM_BYTES + (site.settings.upload_mb * 1_000_000 if takes_file else 0)
            if not length.isdigit() or int(length) > most:
                return _too_large(visit, most)
            try:
                form = await request.form(max_files=int(takes_file), max_fields=_FIELDS)
            except HTTPException as error:
                refused = InvalidRequest(f"The form cannot be read: {error.detail}", "Open the page again.")
                return failure(visit, refused, HTTPStatus.UNPROCESSABLE_ENTITY)
            except OSError as error:  # a large file goes through the folder for temporary files
                return failure(visit, shown := error_to_show(error, site.settings), _status(shown))
        elif request.method == "POST":
            said = await _json(request)
        try:
            answer = await run_sync(_view, view, replace(visit, form=form, json=said), role, fail)
            assert answer is not None  # noqa: S101 - a view answers
            return answer
        finally:
            if form is not None:
                await form.close()

    return endpoint


async def _json(request: Request) -> Any:
    """Returns the JSON of a request's body; None if it is none, or too large."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _FORM_BYTES:
            return None
    with suppress(ValueError, RecursionError):
        return json.loads(bytes(body))
    return None


def _too_large(visit: Visit, most: int) -> Response:
    error = TooLarge(
        f"The form is larger than {most // 1_000_000:,} MB, or does not say how large it is.", "Send less at once."
    )
    return failure(visit, error, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _view(
    view: Callable[[Visit], Response | None],
    visit: Visit,
    role: Role | None,
    fail: Callable[[RecordsError, int], Response] | None,
) -> Response | None:
    """Returns the answer of a view, or that of its error."""
    settings = visit.site.settings
    try:
        visit = admitted(visit, role)
        return view(visit)
    except RecordsError as error:
        failed, status = error, _status(error)
    except Exception as error:
        failed = error_to_show(error, settings)
        status = _status(failed, HTTPStatus.INTERNAL_SERVER_ERROR)
    return failure(visit, failed, status) if fail is None else fail(failed, status)


def _status(error: RecordsError, default: HTTPStatus = HTTPStatus.BAD_REQUEST) -> HTTPStatus:
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), default)


def admitted(visit: Visit, role: Role | None) -> Visit:
    """Returns the visit with the person who makes it, and the account. Raises an error if the person may not."""
    visit = replace(visit, person=visit.site.identities.person(visit.request))
    if role is None:
        return visit
    account = visit.request.path_params["account"]
    if visit.person.role_in(account) is None:
        raise unknown_account(account)
    check_account(account)
    visit = replace(visit, account=account)
    visit.require(role)
    return visit


def failure(visit: Visit, error: RecordsError, status: HTTPStatus) -> Response:
    """Returns the page of an error, with what to do next."""
    response = visit.page("failure.html.jinja", error=error, status=status)
    if visit.is_fragment:  # htmx shows no answer with an error otherwise
        response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "main", "innerHTML"
    return response


def _texts(request: Request) -> texts.Texts:
    return texts.chosen(request.headers.get("accept-language", ""))


def _with_policy(app: ASGIApp) -> ASGIApp:
    """Returns the application with what its answers allow: no script, style or picture but its own, and no storing."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "content-security-policy" not in headers:
                    headers["Content-Security-Policy"] = _POLICY
                if scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                elif "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await app(scope, receive, send_with_policy)

    return wrapped
