"""`Guard`: the checks of our web servers before they answer. No page of another site can act as the user.

Any page in a browser can send requests to this machine, and the user does not notice. The guard recognises them by
`Host`, `Origin` and `Sec-Fetch-Site`. A foreign `Host` shows DNS rebinding: another name was bound to 127.0.0.1.
See https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SAFE = ("GET", "HEAD")
_JSON = "application/json"
_OF_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""What a form of any page can send without asking the server before."""
_MESSAGES = 16
"""How many messages of a refused request's body are read. The server passes on at most 64 kB in each."""
_STRICT_REFERRERS = ("no-referrer", "same-origin")
_OWN_SITE = (None, "same-origin")
"""`Sec-Fetch-Site` of our own pages, and of clients other than browsers."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: the HTTP status, and a sentence for the reader."""

    status: int
    sentence: str


class Guard:
    """An ASGI application in front of another one. It passes on only requests that no page of another site can send.

    `hosts` are the names of the server besides those of loopback, `methods` the HTTP methods that it takes, and
    `media_types` the types of bodies. Every answer forbids frames and keeps the address of the page from other sites.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] = (),
        methods: Collection[str] = _SAFE,
        media_types: Collection[str] = (_JSON,),
    ) -> None:
        self._app = app
        self._media_types = media_types
        self._hosts = frozenset((*LOOPBACK, *hosts))
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _protect(MutableHeaders(scope=message))
            await send(message)

        refusal = self.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_protected)
            return
        response = PlainTextResponse(f"{refusal.sentence}\n", refusal.status)
        if scope["type"] == "http":
            await _take_body(receive)
            await response(scope, receive, send_protected)
        else:
            await WebSocket(scope, receive, send_protected).send_denial_response(response)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Returns why a request is refused; None if it is not."""
        headers = Headers(scope=scope)
        return (
            self._refused_host(headers)
            or _refused_origin(scope, headers)
            or (self._refused_method(scope, headers) if scope["type"] == "http" else None)
        )

    def _refused_host(self, headers: Headers) -> Refusal | None:
        given = headers.getlist("host")
        if len(given) == 1 and _host_name(given[0]) in self._hosts:
            return None
        named = f"the host {given[0]!r}" if len(given) == 1 else f"{len(given)} hosts"
        return Refusal(
            421,
            f"The request names {named}, and this server answers to {', '.join(sorted(self._hosts))}. "
            "Use one of them, or name the host in RECORDS_UI_HOSTS.",
        )

    def _refused_method(self, scope: Scope, headers: Headers) -> Refusal | None:
        method = scope["method"]
        if method not in self._methods:
            return Refusal(405, f"The method {method} is not accepted: use {' or '.join(self._methods)}.")
        if method in _SAFE:
            if scope["path"].rstrip("/") == "/graphql" and scope["query_string"]:
                return Refusal(
                    405, "GraphQL is not accepted in an address: send the query by POST, as application/json."
                )
            return None
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in self._media_types:
            accepted = " or ".join(self._media_types)
            return Refusal(415, f"A {method} of {media_type or 'no type'} is not accepted: send {accepted}.")
        if media_type in _OF_FORMS and "origin" not in headers and "sec-fetch-site" not in headers:
            return Refusal(403, "A form is accepted only from a page of this server. Programs use /api.")
        return None


async def _take_body(receive: Receive) -> None:
    """Receive a small body to its end: a client that is still sending does not read the answer."""
    for _ in range(_MESSAGES):
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def _refused_origin(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuse what a page of another origin sends, except a link that the user follows."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    is_socket = scope["type"] == "websocket"
    if origin is None and is_socket:
        return Refusal(403, "A web socket without an Origin is not opened: open it from a page of this server.")
    if origin is not None and not _is_same(origin, headers["host"]):
        return Refusal(403, f"Pages of {origin} may not use this server. Open it at its own address.")
    is_safe = not is_socket and scope["method"] in _SAFE
    if site in _OWN_SITE or (site == "none" and is_safe) or (is_safe and _is_followed_link(headers)):
        return None
    return Refusal(403, "Pages of other sites may not use this server. Open it at its own address.")


def _is_followed_link(headers: Headers) -> bool:
    """Returns whether the answer opens in a tab or is saved ("empty"). The page with the link cannot read it then."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in ("document", "empty")


def _is_same(origin: str, host: str) -> bool:
    """Returns whether an origin is that of the host, with its port: the file server at the next port is another origin.

    The scheme may be either, because a proxy in front may end TLS.
    """
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and authority == host.lower()


def _host_name(host: str) -> str | None:
    """Returns the name in a Host header, in small letters and without the port; None if it is not a name."""
    if any(character in host for character in "/?#@\\ \t"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # ValueError if it is not a number
    except ValueError:
        return None
    return parts.hostname


def _protect(headers: MutableHeaders) -> None:
    """Forbid frames, guesses about the type, and sending the address to other sites."""
    # This is a second policy if the application has one. A browser obeys both.
    policies = [*headers.getlist("Content-Security-Policy"), "frame-ancestors 'none'"]
    headers["Content-Security-Policy"] = ", ".join(policies)
    headers["X-Frame-Options"] = "DENY"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if headers.get("Referrer-Policy") not in _STRICT_REFERRERS:
        headers["Referrer-Policy"] = "same-origin"
