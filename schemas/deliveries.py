"""Exports that are delivered every day: what an entry of `exports.yaml` says, and when it is due.

Times are decided by pure functions: a local time that a day does not have, as when clocks go forward, is the next one
that it has; one that it has twice counts once, the first.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.exports import Packing

DATE = "{date}"
"""What stands in a destination for the local date of the delivery."""

_Value = TypeVar("_Value")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_AT = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DAY = timedelta(days=1)
_FURTHEST = 3 * _DAY
"""Two times of a delivery are never so far apart, though a time zone may leave out a day, as Samoa's has."""

_Texts = Annotated[list[str], BeforeValidator(lambda told: [told] if isinstance(told, str) else told)]
"""One text or several."""


class Delivery(BaseModel):
    """One export of an account and type, every day at a local time.

    `to` is a file, with {date} in its name for the local date, or a folder that exists; None is the account's export
    folder. `changes_only`: only what changed since the last delivery of the same name, account and type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    account: str
    type: str
    at: str
    time_zone: str = "UTC"
    format: str | None = None
    pack: Packing | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    preset: str | None = None
    where: _Texts = []
    order_by: _Texts = []
    changes_only: bool = False
    to: str | None = None

    @field_validator("name")
    @classmethod
    def _can_be_a_name(cls, name: str) -> str:
        return _met(name, _NAME.fullmatch(name), "write 1 to 63 of a-z, 0-9, - and _, a letter or digit first")

    @field_validator("at")
    @classmethod
    def _is_a_time(cls, at: str) -> str:
        return _met(at, _AT.fullmatch(at), "write it from 00:00 to 23:59, as 07:00")

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        with suppress(KeyError, ValueError, OSError):  # of no such zone, of no name, of a folder
            ZoneInfo(name)
            return name
        raise _mistake("write a time zone's name, as UTC or America/New_York")

    @field_validator("to")
    @classmethod
    def _is_a_place(cls, to: str | None) -> str | None:
        if to is None:
            return None
        _met(to, Path(to).is_absolute(), "write the whole path, from / on")
        folder = to if to.endswith("/") else str(Path(to).parent)
        return _met(to, DATE not in folder, f"{DATE} can stand in the name of the file, not of a folder")

    @model_validator(mode="after")
    def _can_be_asked_for(self) -> "Delivery":
        _met(None, self.columns is None or self.preset is None, "give columns or a preset, not both")
        return self

    @property
    def actor(self) -> str:
        """As whom the ledger tells of its exports."""
        return f"schedule:{self.name}"

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.time_zone)


class DeliveryFile(BaseModel):
    """What `exports.yaml` has: a list. Each of its entries is looked at alone, for one mistake not to stop the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exports: list[Any] = []


@dataclass(frozen=True)
class Due:
    """A time of a delivery: the moment, in UTC, and the local day that it is of."""

    delivery: Delivery
    day: date
    moment: datetime

    def __str__(self) -> str:
        """As in: daily at 2026-01-06 07:00 America/New_York."""
        return f"{self.delivery.name} at {self.moment.astimezone(self.delivery.zone):%Y-%m-%d %H:%M} " + (
            self.delivery.time_zone
        )


def times(delivery: Delivery, after: datetime, until: datetime) -> list[Due]:
    """The times of a delivery that are later than one moment and not later than another, in order."""
    at, zone = time.fromisoformat(delivery.at), delivery.zone
    day, last = after.astimezone(zone).date() - _DAY, until.astimezone(zone).date()
    days = [day + number * _DAY for number in range((last - day).days + 1)]
    found = [Due(delivery, day, _moment(datetime.combine(day, at), zone)) for day in days]
    return [due for due in found if after < due.moment <= until]


def last_time(delivery: Delivery, now: datetime) -> Due:
    """The newest time of a delivery that has come."""
    return times(delivery, now - _FURTHEST, now)[-1]


def next_time(deliveries: Sequence[Delivery], now: datetime) -> Due | None:
    """The first time to come of any of the deliveries; None where there are none."""
    coming = [times(delivery, now, now + _FURTHEST)[0] for delivery in deliveries]
    return min(coming, key=lambda due: due.moment, default=None)


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """When a clock of the zone shows that time first, or else the first time that it shows after it, in UTC."""
    before, after = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if before <= after:
        return before
    # Left out: the clock goes forward somewhere in between, and has its new offset from then on.
    offset = before.astimezone(zone).utcoffset()
    seconds = range(int((before - after).total_seconds()) + 1)
    return after + timedelta(
        seconds=bisect_left(
            seconds, 1, key=lambda second: (after + timedelta(seconds=second)).astimezone(zone).utcoffset() == offset
        )
    )


def _met(value: _Value, condition: object, wanted: str) -> _Value:
    if not condition:
        raise _mistake(wanted)
    return value


def _mistake(wanted: str) -> PydanticCustomError:
    return PydanticCustomError("mistake", "{wanted}", {"wanted": wanted})
