"""Exports that are delivered every day: the entries of `exports.yaml`, and when they are due.

Pure functions compute the times. If clocks go forward over a local time, the delivery is due at the next time that the
day has. If a local time occurs twice, the first one counts.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.exports import SHEET_ROWS, Packing
from schemas.reading import is_time_zone

DATE = "{date}"
"""The placeholder in a destination for the local date of the delivery."""

_Value = TypeVar("_Value")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_AT = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DAY = timedelta(days=1)
_FURTHEST = 3 * _DAY
"""More than the time between two deliveries, even where a time zone has skipped a day, as Samoa's did in 2011."""

_Texts = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""A text, or a list of texts."""
_Moment = Annotated[str, BeforeValidator(lambda value: value.isoformat() if isinstance(value, datetime) else value)]
"""A timestamp or an id. YAML reads a timestamp without quotation marks as a time."""


class Delivery(BaseModel):
    """One export of an account and type, every day at a local time.

    to: a file, with {date} in its name for the local date, or an existing folder. None means the account's export
    folder.
    as_of, changed_since, encoding, delimiter, raw, sheet_rows: see ExportRequest.
    changes_only: whether to export only changes since the last delivery of the same name, account and type.
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
    as_of: _Moment | None = None
    changed_since: _Moment | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    raw: bool = False
    sheet_rows: int = SHEET_ROWS
    changes_only: bool = False
    to: str | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return _met(name, _NAME.fullmatch(name), "write 1 to 63 of a-z, 0-9, - and _, a letter or digit first")

    @field_validator("at")
    @classmethod
    def _is_a_time(cls, at: str) -> str:
        return _met(at, _AT.fullmatch(at), "write it from 00:00 to 23:59, as 07:00")

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return _met(name, is_time_zone(name), "write a time zone's name, as UTC or America/New_York")

    @field_validator("to")
    @classmethod
    def _is_a_place(cls, to: str | None) -> str | None:
        if to is None:
            return None
        _met(to, Path(to).is_absolute(), "write the whole path, from / on")
        folder = to if to.endswith("/") else str(Path(to).parent)
        return _met(to, DATE not in folder, f"{DATE} can stand in the name of the file, not of a folder")

    @model_validator(mode="after")
    def _has_one_choice_of_columns(self) -> "Delivery":
        _met(None, self.columns is None or self.preset is None, "give columns or a preset, not both")
        return self

    @model_validator(mode="after")
    def _has_one_choice_of_changes(self) -> "Delivery":
        _met(None, self.changed_since is None or not self.changes_only, "give changed_since or changes_only, not both")
        return self

    @property
    def actor(self) -> str:
        """Returns the actor of its exports in the ledger."""
        return f"schedule:{self.name}"

    @property
    def zone(self) -> ZoneInfo:
        """Returns the time zone of `at`."""
        return ZoneInfo(self.time_zone)


class DeliveryFile(BaseModel):
    """The content of `exports.yaml`: a list. Each entry is checked by itself, so one mistake stops no other entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exports: list[Any] = []


@dataclass(frozen=True)
class Due:
    """A time at which a delivery is due: the timestamp in UTC, and the local day."""

    delivery: Delivery
    day: date
    timestamp: datetime

    def __str__(self) -> str:
        """Return for example `daily at 2026-01-06 07:00 America/New_York`."""
        return f"{self.delivery.name} at {self.timestamp.astimezone(self.delivery.zone):%Y-%m-%d %H:%M} " + (
            self.delivery.time_zone
        )


def times(delivery: Delivery, after: datetime, until: datetime) -> list[Due]:
    """Return the times of a delivery later than `after` and not later than `until`, in order."""
    at, zone = time.fromisoformat(delivery.at), delivery.zone
    day, last = after.astimezone(zone).date() - _DAY, until.astimezone(zone).date()
    days = [day + number * _DAY for number in range((last - day).days + 1)]
    found = [Due(delivery, day, _in_utc(datetime.combine(day, at), zone)) for day in days]
    return [due for due in found if after < due.timestamp <= until]


def last_time(delivery: Delivery, now: datetime) -> Due:
    """Return the newest time of a delivery that is not in the future."""
    return times(delivery, now - _FURTHEST, now)[-1]


def next_time(deliveries: Sequence[Delivery], now: datetime) -> Due | None:
    """Return the first future time of any of the deliveries, or None if there are no deliveries."""
    coming = [times(delivery, now, now + _FURTHEST)[0] for delivery in deliveries]
    return min(coming, key=lambda due: due.timestamp, default=None)


def _in_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Return in UTC when a clock of the zone first shows the local time, or the next one if it skips that time."""
    before, after = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if before <= after:
        return before
    # The local time is skipped. Find the second at which the clock goes forward, by its new offset.
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
