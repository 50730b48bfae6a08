"""What a monitoring system asks the web pages: `/healthz`, `/readyz` and `/metrics`."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.deployment import Deployment, address_of
from pipelines.web.metrics import Metrics
from pipelines.web.visit import Site
from resources.disk_space import free_bytes
from resources.file_storage import is_local
from resources.record_store.store_mark import StoreMark
from resources.settings import Settings
from schemas.errors import NoDeployment, RecordsError, StoreNotReady

_ROOM = 1_000_000_000
"""The bytes that must be free: an import needs them for its staged records, and the catalog to grow."""


@dataclass(frozen=True)
class Part:
    """A part of a deployment, and why it is not ready; None if it is. state: what it says then."""

    name: str
    failure: str | None
    state: str = "ok"


class Health:
    """Answers for one process of the pages. Its answers name no account, unless a setting asks for it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._metrics = Metrics(site.settings)

    def alive(self, _: Request) -> Response:
        """Answer that this process runs."""
        return PlainTextResponse("ok\n")

    def ready(self, _: Request) -> Response:
        """Answer whether each part of the deployment works, one a line; 503 if one does not."""
        parts = self.parts()
        lines = [f"{part.name}: {part.failure or part.state}\n" for part in parts]
        return PlainTextResponse("".join(lines), 503 if any(part.failure for part in parts) else 200)

    def metrics(self, request: Request) -> Response:
        """Answer the metrics, in the text form of Prometheus, to those who may read them."""
        if not self._site.identities.may_monitor(request):
            return PlainTextResponse(
                "The metrics are for this machine, and for the addresses in `monitors` of web.yaml.\n", 403
            )
        try:
            with self._site.stores.lent() as store:
                content, media_type = self._metrics.text(store)
        except RecordsError as error:
            return PlainTextResponse(f"{error.code}\n", 503)
        return Response(content, media_type=media_type)

    def parts(self) -> list[Part]:
        """Returns the parts of the deployment with their states."""
        settings = self._site.settings
        checks: list[tuple[str, Callable[[], None]]] = [
            ("catalog", self._catalog),
            ("data", lambda: _data(settings)),
            ("daemon", lambda: _daemon(settings)),
            ("disk", lambda: _disk(settings)),
        ]
        expected = {"daemon": "ok" if address_of(settings) is not None else "none expected"}
        return [Part(name, _failure(check), expected.get(name, "ok")) for name, check in checks]

    def _catalog(self) -> None:
        with self._site.stores.lent() as store, store.reading():
            store.require_format()


def _data(settings: Settings) -> None:
    if StoreMark(settings.data).read() is None:
        raise StoreNotReady("There is no store.json beside the data.", "")


def _daemon(settings: Settings) -> None:
    """Ask Dagster's web server for the heartbeats. Without one in the settings or in ui.json there is no daemon."""
    if address_of(settings) is None:
        return
    silent = Deployment(settings).silent_daemons()
    if silent:
        raise NoDeployment(f"There is no heartbeat of {', '.join(silent)}.")


def _disk(settings: Settings) -> None:
    for folder in {settings.home, *((settings.data,) if is_local(settings.data) else ())}:
        if free_bytes(folder) < _ROOM:
            raise RecordsError(f"Fewer than {_ROOM:,} bytes are free.")


def _failure(check: Callable[[], None]) -> str | None:
    """Returns why a check fails, without names of places; None if it does not."""
    try:
        check()
    except RecordsError as error:
        return f"{error.code}. {error.message}" if isinstance(error, NoDeployment) else error.code
    except Exception as error:
        return type(error).__name__
    return None
