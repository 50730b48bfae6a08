"""`Site` and `Visit`: what the pages share, and one request to them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipelines.web.identity import Identities
from pipelines.web.rendering import render
from pipelines.web.stores import Stores
from pipelines.web.texts import Texts
from pipelines.web.work import Work
from resources.defects import defect, keep_details
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.system_errors import system_error
from resources.uploads import Uploads
from schemas.errors import NotFound, RecordsError
from schemas.people import Person, Role


class NotAllowed(RecordsError):
    """The person's role does not allow it."""

    code = "not_allowed"


def error_to_show(error: Exception, settings: Settings) -> RecordsError:
    """Returns the error to show in place of one of the system, or of a defect. Its details are kept in the home."""
    ours = system_error(error, settings.data, settings.home, settings.scratch)
    if ours is None:
        keep_details(error, settings.home)
        ours = Failed(f"This has failed: {defect(error)}.", "Try again. Your operator finds the details in the home.")
    return ours


class Failed(RecordsError):
    """Something went wrong that nobody foresaw."""

    code = "failed"


class Site:
    """What all pages share: the settings, open stores, tasks in the works, and uploads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stores = Stores(settings)
        self.work = Work(settings.home)
        self.uploads = Uploads(settings)
        self.identities = Identities(settings)

    def close(self) -> None:
        """End the tasks, and close the stores."""
        self.work.close()
        self.stores.close()


@dataclass(frozen=True)
class Visit:
    """One request: who sends it, to which account, in which language, and what a form says.

    account: empty for pages that concern no account. json: what a request of JSON says.
    """

    site: Site
    request: Request
    person: Person
    texts: Texts
    account: str = ""
    form: FormData | None = None
    json: Any = None

    @contextmanager
    def store(self) -> Iterator[RecordStore]:
        """Yields an open store for this thread."""
        with self.site.stores.lent() as store:
            yield store

    def may(self, role: str) -> bool:
        """Returns whether the person may do here what a role may do."""
        return self.person.may(Role(role), self.account)

    def require(self, role: Role) -> None:
        """Raises NotAllowed if the person may not do here what a role may do."""
        if not self.person.may(role, self.account):
            raise NotAllowed("You may look at this, but not do it.", "Ask your operator for the right to do it.")

    @property
    def is_fragment(self) -> bool:
        """Returns whether the page asks for a part of itself."""
        return self.request.headers.get("hx-request") == "true"

    def path(self, *parts: str) -> str:
        """Returns an address below the account's pages."""
        return "/".join(("/a", self.account, *parts))

    def said(self, name: str) -> str:
        """Returns what the form says under a name; "" if it says nothing."""
        value = None if self.form is None else self.form.get(name)
        return value if isinstance(value, str) else ""

    def all_said(self, name: str) -> list[str]:
        """Returns all that the form says under a name."""
        return [] if self.form is None else [value for value in self.form.getlist(name) if isinstance(value, str)]

    def page(self, template: str, *, status: int = HTTPStatus.OK, **values: Any) -> Response:
        """Returns a page."""
        return HTMLResponse(render(template, self.texts, visit=self, **values), status)

    def back(self, *parts: str) -> Response:
        """Returns an answer that leads the browser back to the page it comes from, with its query; else to a page."""
        query = urlsplit(self.request.headers.get("hx-current-url") or self.request.headers.get("referer", "")).query
        place = self.path(*parts) + (f"?{query}" if query else "")
        if self.is_fragment:
            return Response(headers={"HX-Redirect": place})
        return RedirectResponse(place, HTTPStatus.SEE_OTHER)

    def go(self, *parts: str) -> Response:
        """Returns an answer that leads the browser to another page of the account."""
        if self.is_fragment and self.request.method == "GET":
            # Whoever asks again every second would break off each redirect by the next one.
            return self.page("_go.html.jinja", address=self.path(*parts))
        if self.is_fragment:
            return Response(headers={"HX-Redirect": self.path(*parts)})
        return RedirectResponse(self.path(*parts), HTTPStatus.SEE_OTHER)


View = Callable[[Visit], Response]
"""Answers one request. It may block: it runs in a thread."""


def unknown_account(account: str) -> NotFound:
    """Returns the error for an account that does not exist, and for one that is not the person's."""
    return NotFound(f"There is no account {account!r} here.", "Choose one of your accounts.")
