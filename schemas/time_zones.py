"""Local times of a time zone, in UTC."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

_FIRST, _LAST = datetime(1970, 1, 1), datetime(2037, 1, 1)  # noqa: DTZ001  # local times
"""Arrow 26 knows the rules of these years alone: it reads 2038-04-01 in Berlin an hour late (found here)."""


def local_in_utc(local: pa.Array, name: str) -> pa.Array:
    """Returns local times of a zone in UTC, both as timestamps in microseconds without a zone.

    A time that does not exist or exists twice, because clocks are changed, becomes null.
    """
    known = pc.fill_null(pc.and_(pc.greater_equal(local, _FIRST), pc.less(local, _LAST)), True)
    within = pc.if_else(known, local, pa.scalar(None, local.type))
    first, last = (pc.assume_timezone(within, name, ambiguous=it, nonexistent=it) for it in ("earliest", "latest"))
    once = pc.if_else(pc.equal(first, last), first, pa.scalar(None, first.type))
    utc = pc.cast(pc.cast(once, pa.timestamp("us", "UTC")), local.type)
    if pc.all(known).as_py():
        return utc
    zone, others = ZoneInfo(name), pc.invert(known)
    return pc.replace_with_mask(
        utc, others, pa.array([_in_utc(time, zone) for time in local.filter(others).to_pylist()], local.type)
    )


def _in_utc(local: datetime, zone: ZoneInfo) -> datetime | None:
    try:
        first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        exists = first.astimezone(zone).replace(tzinfo=None) == local
    except OverflowError:  # at the ends of Python's years
        return None
    return first.replace(tzinfo=None) if first == second and exists else None
