"""Why a text is no date or timestamp, in words: an option would read it, or there is no such day or time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from schemas.dates import as_iso, needs_order
from schemas.parsing import needs_zone
from schemas.reading import DateOrder

NEEDS_ORDER = "in another order of day, month and year only with --date-order"
NEEDS_ZONE = "without an offset only with --time-zone"
NO_SUCH_DAY = "there is no such day"
NO_SUCH_TIME = "clocks skip this local time"
NO_SUCH_OFFSET = "no time zone has this offset"
TWICE = "this local time exists twice, because clocks are set back"

_LOCAL = r"^\s*[0-9/.\-]+([T ][0-9:.]+)?\s*$"
"""A date in any order, perhaps with a time, without an offset."""
_DAY = r"^\s*(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})(?:[T ].*)?$"


def reasons(
    texts: pa.Array, type_: str, date_order: DateOrder | None, time_zone: str | None
) -> Iterator[tuple[str, pa.Array]]:
    """Yields a reason, and for which texts it is the reason. No text has two.

    texts: none of them is a value of the type, date or timestamp.
    """
    rest = pc.is_valid(texts)
    if date_order is None:
        asked, local = needs_order(texts), _all(texts, False)
        if type_ == "timestamp" and time_zone is None:
            local = pc.match_substring_regex(texts, _LOCAL)
        yield f"{NEEDS_ORDER}, and {NEEDS_ZONE}", pc.and_(asked, local)
        yield NEEDS_ORDER, pc.and_not(asked, local)
        rest = pc.and_not(rest, asked)
    else:
        texts = as_iso(pc.utf8_trim_whitespace(texts), date_order)
    missing = pc.and_(rest, _is_no_day(texts))
    yield NO_SUCH_DAY, missing
    rest = pc.and_not(rest, missing)
    if type_ == "timestamp":
        offset = pc.and_(rest, _has_impossible_offset(texts))
        yield NO_SUCH_OFFSET, offset
        rest = pc.and_not(rest, offset)
    rest = pc.and_(rest, needs_zone(texts) if type_ == "timestamp" else _all(texts, False))
    if time_zone is None:
        yield NEEDS_ZONE, rest
    else:
        skipped = pa.array([bool(is_rest) and _is_skipped(text, time_zone) for text, is_rest in _pairs(texts, rest)])
        yield NO_SUCH_TIME, pc.and_(rest, skipped)
        yield TWICE, pc.and_not(rest, skipped)


def _is_no_day(texts: pa.Array) -> pa.Array:
    """Returns which texts begin as an ISO date does, with a day that does not exist."""
    parts = pc.extract_regex(texts, _DAY)
    year, month, day = (pc.cast(pc.struct_field(parts, name), pa.int32()) for name in ("year", "month", "day"))
    leap = pc.and_(_divides(4, year), pc.or_(pc.invert(_divides(100, year)), _divides(400, year)))
    days = pc.if_else(leap, 29, 28)
    days = pc.if_else(pc.equal(month, 2), days, pc.if_else(pc.is_in(month, pa.array([4, 6, 9, 11])), 30, 31))
    exists = pc.and_(pc.and_(pc.greater_equal(month, 1), pc.less_equal(month, 12)), pc.greater_equal(day, 1))
    exists = pc.and_(pc.and_(exists, pc.less_equal(day, days)), pc.greater_equal(year, 1))
    return pc.fill_null(pc.invert(exists), False)


def _has_impossible_offset(texts: pa.Array) -> pa.Array:
    """Returns which texts are timestamps but for their offset."""
    local = pc.replace_substring_regex(texts, r" ?[+-][0-9]{2}(:?[0-9]{2})?\s*$", "")
    return pc.and_(pc.and_(pc.not_equal(local, texts), pc.match_substring(local, ":")), needs_zone(local))


def _divides(number: int, years: pa.Array) -> pa.Array:
    return pc.equal(pc.subtract(years, pc.multiply(pc.divide(years, number), number)), 0)


def _pairs(texts: pa.Array, which: pa.Array) -> Iterator[tuple[str, bool]]:
    return zip(texts.to_pylist(), which.to_pylist(), strict=True)


def _is_skipped(text: str, time_zone: str) -> bool:
    """Returns whether no clock of the zone shows the local time."""
    try:
        local = datetime.fromisoformat(text.strip()).replace(tzinfo=ZoneInfo(time_zone))
        return local.astimezone(UTC).astimezone(ZoneInfo(time_zone)).replace(tzinfo=None) != local.replace(tzinfo=None)
    except (ValueError, OverflowError):
        return False


def _all(texts: pa.Array, value: bool) -> pa.Array:
    return pa.repeat(value, len(texts))
