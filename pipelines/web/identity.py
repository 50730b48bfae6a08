"""Finds out who sends a request: the operator of this machine, or the person whom a login server names."""

from ipaddress import ip_address

from starlette.requests import Request

from resources.operator_file import read_operator_file
from resources.settings import Settings
from schemas.errors import Refused
from schemas.people import Person, WebFile, operator

FILE = "web.yaml"
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-user", "x-forwarded-host", "x-real-ip")
_NAME_LENGTH = 200


class NotSignedIn(Refused):
    """The request does not say, in a way that can be trusted, who sends it."""

    code = "not_signed_in"


class Identities:
    """Says who sends a request. Reads `web.yaml` again when it changes.

    If the file goes while the server runs, nobody is let in: a proxy's requests must never become the operator's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.home / FILE
        self._had_rules = self._path.exists()
        self._read: tuple[tuple[int, int] | None, WebFile | None] | None = None

    def person(self, request: Request) -> Person:
        """Returns who sends a request.

        Without `web.yaml` it is the operator, and the request must come from this machine, not through a proxy.
        Raises NotSignedIn if nobody can be named, and InvalidRequest for mistakes in `web.yaml`.
        """
        rules, sender = self._rules(), request.client.host if request.client else ""
        if rules is None and self._had_rules:
            raise NotSignedIn(
                f"Nobody is let in, because {FILE} is gone.", "Your operator can put it back, or start the pages again."
            )
        if rules is None:
            if not is_loopback(sender) or any(name in request.headers for name in _OF_PROXIES):
                raise NotSignedIn(
                    "This page is for the operator of this machine alone.",
                    "To use it through a server with a login, write web.yaml: see deploy/README.md.",
                )
            return operator(self._settings.actor)
        if not rules.trusts(sender):
            raise NotSignedIn("You are not signed in.", "Open the page at the address that your operator gave you.")
        users, groups = (request.headers.getlist(name) for name in (rules.user_header, rules.groups_header))
        if len(users) != 1 or not _is_name(users[0]):
            raise NotSignedIn("You are not signed in.", "Sign in, and open the page again.")
        named = [name.strip() for listed in groups for name in listed.split(",")]
        return rules.person(users[0].strip(), [name for name in named if name])

    def may_monitor(self, request: Request) -> bool:
        """Returns whether the sender may read the metrics: from this machine, or from an address in `monitors`.

        A proxy would lend everybody its address. So what came through one is refused.
        """
        sender = request.client.host if request.client else ""
        if any(name in request.headers for name in _OF_PROXIES):
            return False
        rules = self._rules()
        return is_loopback(sender) or (rules is not None and rules.may_monitor(sender))

    def _rules(self) -> WebFile | None:
        """Returns the content of `web.yaml`; None if there is no such file."""
        try:
            status = self._path.stat()
            state = (status.st_mtime_ns, status.st_size)
            self._had_rules = True
        except FileNotFoundError:
            state = None
        if self._read is None or self._read[0] != state:
            self._read = state, None if state is None else read_operator_file(self._path, WebFile)
        return self._read[1]


def is_loopback(address: str) -> bool:
    """Returns whether an address is one that only this machine can reach."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _is_name(text: str) -> bool:
    return bool(text.strip()) and len(text) <= _NAME_LENGTH and text.isprintable()
