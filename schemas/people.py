"""Who may do what in the web pages: people, roles and accounts, as `web.yaml` gives them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

EVERY_ACCOUNT = "*"


class Role(StrEnum):
    """What a person may do with an account. Each role may also do what the roles before it may do."""

    VIEWER = "viewer"
    """See imports and their history, and download exports."""
    IMPORTER = "importer"
    """Import and export files, and roll back their own imports."""
    APPROVER = "approver"
    """Save files that wait for approval, and roll back any import."""
    OPERATOR = "operator"
    """Set up what is exported every day."""

    def includes(self, other: "Role") -> bool:
        """Returns whether this role may do what another one may."""
        ranks = [*Role]
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True)
class Grant:
    """A role in one account, or in every account if that is `*`."""

    account: str
    role: Role


@dataclass(frozen=True)
class Person:
    """Somebody who uses the web pages. The ledger records `name` as the actor."""

    name: str
    grants: tuple[Grant, ...]

    @property
    def has_every_account(self) -> bool:
        """Returns whether the person may use every account."""
        return any(grant.account == EVERY_ACCOUNT for grant in self.grants)

    def role_in(self, account: str) -> Role | None:
        """Returns the person's highest role in an account; None if the account is not theirs."""
        roles = [grant.role for grant in self.grants if grant.account in (account, EVERY_ACCOUNT)]
        return max(roles, key=[*Role].index, default=None)

    def may(self, role: Role, account: str) -> bool:
        """Returns whether the person may do in an account what a role may do."""
        own = self.role_in(account)
        return own is not None and own.includes(role)

    def accounts(self, known: Iterable[str]) -> list[str]:
        """Returns the names of the person's accounts, sorted. `known` are those of the store."""
        named = {grant.account for grant in self.grants} - {EVERY_ACCOUNT}
        return sorted({*named, *(known if self.has_every_account else ())})


def _network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError:
        raise PydanticCustomError("network", "input should be an address such as 10.0.0.5 or 10.0.0.0/8") from None


_Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]


class Entry(BaseModel):
    """The role of some people in some accounts: people by name, or by a group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] | Literal["*"]
    role: Role

    @model_validator(mode="after")
    def _names_somebody(self) -> "Entry":
        if not self.users and not self.groups:
            raise PydanticCustomError("people", "an entry should name users or groups")
        return self


class WebFile(BaseModel):
    """The content of `web.yaml`.

    proxies: the addresses of the servers that log people in. Only requests from there are answered.
    monitors: the addresses that may read the metrics, besides this machine.
    user_header, groups_header: the headers in which they name the person, and the person's groups with commas between.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    proxies: Annotated[tuple[_Network, ...], Field(min_length=1)]
    user_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"
    people: tuple[Entry, ...] = ()
    monitors: tuple[_Network, ...] = ()

    def trusts(self, address: str) -> bool:
        """Returns whether a request from this address says truly who sends it."""
        return _is_in(address, self.proxies)

    def may_monitor(self, address: str) -> bool:
        """Returns whether a request from this address may read the metrics."""
        return _is_in(address, self.monitors)

    def person(self, user: str, groups: Sequence[str]) -> Person:
        """Returns the person with this name and these groups. Nobody whom the file does not name has an account."""
        grants = [
            Grant(account, entry.role)
            for entry in self.people
            if user in entry.users or not set(groups).isdisjoint(entry.groups)
            for account in ((EVERY_ACCOUNT,) if entry.accounts == EVERY_ACCOUNT else entry.accounts)
        ]
        return Person(user, tuple(grants))


def _is_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        sender = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(sender, "ipv4_mapped", None) or sender
    return any(mapped in network for network in networks if network.version == mapped.version)


def operator(name: str) -> Person:
    """Returns the operator, who may do everything."""
    return Person(name, (Grant(EVERY_ACCOUNT, Role.OPERATOR),))
