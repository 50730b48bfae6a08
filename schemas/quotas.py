"""How much room an account may take, as `quotas.yaml` in the home says, and the refusal of more."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from schemas.counts import numbered
from schemas.errors import QuotaExceeded

FILE = "quotas.yaml"

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MOST = 10**18


class Measure(StrEnum):
    """What a quota limits."""

    RECORDS = "records"
    BYTES = "bytes"
    FILES_A_DAY = "files_a_day"


def _size(value: Any) -> Any:
    """Return the number of bytes of a text such as `5 GB`. Other values stay as they are."""
    if not isinstance(value, str):
        return value
    number, unit = value.strip(), ""
    for name in ("KB", "MB", "GB", "TB"):
        if number.upper().endswith(name):
            number, unit = number[: -len(name)].strip(), name
    try:
        return round(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        sentence = "input should be a number of bytes, or a text such as 500 MB or 5 GB"
        raise PydanticCustomError("size", sentence) from None


_Number = Annotated[int, Field(ge=0, le=_MOST, strict=True)]
_Bytes = Annotated[int, Field(ge=0, le=_MOST, strict=True), BeforeValidator(_size)]


class Quota(BaseModel):
    """The limits of an account. None means no limit.

    records: of all types, in the present. bytes: of all its files: records, earlier versions, previews, exports and
    the archive. files_a_day: different files that are previewed on a day, in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    records: _Number | None = None
    bytes: _Bytes | None = None
    files_a_day: _Number | None = None

    def limit(self, measure: Measure) -> int | None:
        """Returns the limit of a measure; None if there is none."""
        found: int | None = getattr(self, measure.value)
        return found


class QuotasFile(BaseModel):
    """The content of `quotas.yaml`: the limits of all accounts, and those of some. An account's own ones replace both.

    What an account's entry leaves out is as the default says. `null` there takes the limit away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    default: Quota = Quota()
    accounts: Mapping[str, Quota] = Field(default_factory=dict)

    def of(self, account: str) -> Quota:
        """Returns the limits of an account."""
        own = self.accounts.get(account)
        if own is None:
            return self.default
        return self.default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


@dataclass(frozen=True)
class Use:
    """How much of a measure an account uses, and how much more an operation needs."""

    measure: Measure
    used: int
    more: int


_WORDS = {
    Measure.RECORDS: ("has", "record", "", "Remove records with a rollback, or import fewer."),
    Measure.BYTES: ("has", "byte", "", "Remove exports, discard previews, or wait until records maintain frees room."),
    Measure.FILES_A_DAY: ("has previewed", "file", " today", "Wait until tomorrow (UTC), or join the files."),
}


def require_within(account: str, quota: Quota, use: Use) -> None:
    """Raise QuotaExceeded if an account would have more than its quota allows."""
    limit = quota.limit(use.measure)
    if limit is None or use.used + use.more <= limit:
        return
    verb, noun, when, advice = _WORDS[use.measure]
    raise QuotaExceeded(
        f"Account {account} {verb} {numbered(use.used, noun)}{when}, and this would add {use.more:,}. "
        f"Its quota is {limit:,}.",
        f"{advice} Or raise the quota in {FILE}.",
    )
