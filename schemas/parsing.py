"""Converts text cells to typed columns, a whole column at a time, strictly.

Each type has a strict form and a few other spellings of it, so nothing is rounded or guessed. Numbers have ASCII digits
and a point. Dates and timestamps are ISO 8601, or in an order that the user gives. Timestamps have an offset from UTC,
or are in a time zone that the user gives.

Values of all types but text may have white space around them; white space alone means empty. Text is not changed.
"""

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from schemas.dates import ISO_DATE, as_iso
from schemas.reading import COMMA, DateOrder
from schemas.record_type import Field
from schemas.spellings import respelled, with_point
from schemas.time_zones import local_in_utc

_TRUE = ("true", "yes", "1")
_FALSE = ("false", "no", "0")

_ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_OFFSET = r"(Z|\+(0[0-9]|1[0-3])(:?[0-5][0-9])?|\+14(:?00)?|-(0[0-9]|1[01])(:?[0-5][0-9])?|-12(:?00)?)"
"""From -12:00 to +14:00, as time zones have."""
_ZERO = r"^-?[0.]+([eE]|$)"
_FORMS = {
    "integer": r"^-?0*[0-9]{1,19}$",
    "float": r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "boolean": rf"(?i)^({'|'.join(_TRUE + _FALSE)})$",
    "date": rf"^{ISO_DATE}$",
    "timestamp": rf"^{ISO_DATE}[T ]{_TIME}{_OFFSET}$",
}
"""Patterns of texts that convert. They are as exact as possible, because a failed conversion costs 40 times as much."""

_IN_WORDS = {
    "integer": "must be a whole number, at most 9223372036854775807",
    "float": "must be a number, with a point for the decimals",
    "date": "must be a date, written 2024-05-31",
    "timestamp": "must be a time with its offset from UTC, written 2024-05-31T09:30:00Z or …+02:00",
}

_BY_ORDER = {DateOrder.DMY: "31/05/2024", DateOrder.MDY: "05/31/2024", DateOrder.YMD: "2024/05/31"}


def arrow_type(field: Field) -> pa.DataType:
    """Returns the Arrow type of a field's values."""
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", field.type)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _ARROW_TYPES[field.type]


def type_in_words(field: Field, date_order: DateOrder | None = None, decimal: str | None = None) -> str:
    """Returns the form of a value of this field's type: "must be …"."""
    if decimal == COMMA and field.type == "float":
        return "must be a number, with a comma for the decimals"
    if date_order is not None and field.type == "date":
        return f"must be a date, written {_BY_ORDER[date_order]} or 2024-05-31"
    if date_order is not None and field.type == "timestamp":
        written = f"{_BY_ORDER[date_order]} 09:30:00Z or 2024-05-31T09:30:00+02:00"
        return f"must be a time with its offset from UTC, written {written}"
    if field.type.startswith("decimal"):
        dtype = arrow_type(field)
        return f"must be a number of at most {dtype.precision - dtype.scale} digits and {dtype.scale} decimals"
    if field.type == "boolean":
        own = [text for text, _ in (*field.value_aliases, *field.labels)]
        return f"must be true or false (or {', '.join(['yes', 'no', '1', '0', *own])})"
    return _IN_WORDS[field.type]


def parse_column(
    texts: pa.Array,
    field: Field,
    *,
    time_zone: str | None = None,
    date_order: DateOrder | None = None,
    decimal: str | None = None,
    strict: bool = False,
) -> tuple[pa.Array, pa.Array]:
    """Returns the values of a column of texts, and the positions of texts that are not values of the field's type.

    time_zone: the time zone of timestamps without an offset, for example UTC for those of Excel. They may be whole
        days. A local time that does not exist or exists twice, when clocks are changed, is not a value.
    date_order: an order in which dates may be written, besides ISO 8601.
    strict: whether other spellings of a value, such as 5.0 for an integer, are not read.
    decimal: the decimal sign of numbers that may have thousands separators; see `with_point`.

    The empty text and the field's null markers become null. A text that is not a value of the field's type becomes null
    too, and its position is in the second array (uint64, ascending).
    """
    if field.type == "text":
        return _without_markers(texts, field.null_markers), pa.array([], pa.uint64())
    trimmed = _without_markers(pc.utf8_trim_whitespace(texts), [marker.strip() for marker in field.null_markers])
    given = pc.is_valid(trimmed)
    if date_order is not None and field.type in ("date", "timestamp"):
        trimmed = as_iso(trimmed, date_order)
    if decimal is not None and field.is_number:
        trimmed = with_point(trimmed, decimal)
    if time_zone is not None and field.type == "timestamp":
        trimmed = _with_offset(trimmed, time_zone)
    well_formed = pc.match_substring_regex(trimmed, _form(field))
    if not strict and not pc.all(well_formed).as_py():
        trimmed = pc.if_else(well_formed, trimmed, respelled(trimmed, field.type))
        well_formed = pc.match_substring_regex(trimmed, _form(field))
    candidates = pc.if_else(well_formed, trimmed, pa.scalar(None, pa.string()))
    values = _convert(candidates, field)
    lost = pc.and_(given, pc.is_null(values))
    return values, pc.indices_nonzero(lost)


def _without_markers(texts: pa.Array, markers: Sequence[str]) -> pa.Array:
    return pc.if_else(pc.is_in(texts, pa.array(["", *markers], pa.string())), pa.scalar(None, pa.string()), texts)


def beyond_floats(texts: pa.Array, decimal: str | None = None) -> Iterator[tuple[str, pa.Array]]:
    """Yields "large" and "small", and which texts are numbers too large or too small for 64 bits.

    texts: none of them is a value of a field of floating-point numbers.
    """
    numbers = pc.utf8_trim_whitespace(texts)
    numbers = respelled(numbers if decimal is None else with_point(numbers, decimal), "float")
    numbers = pc.if_else(pc.match_substring_regex(numbers, _FORMS["float"]), numbers, pa.scalar(None, pa.string()))
    values = _cast(numbers, pa.float64())
    yield "large", pc.fill_null(pc.is_inf(values), False)
    yield "small", pc.fill_null(pc.equal(values, 0), False)


def needs_zone(texts: pa.Array) -> pa.Array:
    """Returns which texts are timestamps if the time zone is given."""
    return pc.fill_null(pc.match_substring_regex(texts, rf"^\s*{ISO_DATE}([T ]{_TIME})?\s*$"), False)


def _with_offset(texts: pa.Array, time_zone: str) -> pa.Array:
    """Returns the texts, with times and days without an offset as times in UTC."""
    days = pc.match_substring_regex(texts, rf"^{ISO_DATE}$")
    texts = pc.if_else(days, pc.binary_join_element_wise(texts, "T00:00:00", ""), texts)
    naive = pc.match_substring_regex(texts, rf"^{ISO_DATE}[T ]{_TIME}$")
    utc = texts
    if time_zone != "UTC" and pc.any(naive).as_py():
        local = _cast(pc.if_else(naive, texts, pa.scalar(None, pa.string())), pa.timestamp("us"))
        utc = pc.cast(local_in_utc(local, time_zone), pa.string())
    return pc.if_else(naive, pc.coalesce(pc.binary_join_element_wise(utc, "Z", ""), texts), texts)


def _form(field: Field) -> str:
    if not field.type.startswith("decimal"):
        return _FORMS[field.type]
    dtype = arrow_type(field)
    decimals = rf"(\.[0-9]{{1,{dtype.scale}}}0*)?" if dtype.scale else r"(\.0+)?"
    digits = dtype.precision - dtype.scale
    whole = rf"0*[0-9]{{1,{digits}}}" if digits else "0+"
    return rf"^-?{whole}{decimals}$"


def _convert(texts: pa.Array, field: Field) -> pa.Array:
    """Returns well-formed texts as values, and null for a date that does not exist, such as 2023-02-30."""
    if field.type == "boolean":
        lowered = pc.utf8_lower(texts)
        known = pc.is_in(lowered, pa.array(_TRUE + _FALSE))  # without case, the pattern also matches U+017F as "s"
        return pc.if_else(known, pc.is_in(lowered, pa.array(_TRUE)), pa.scalar(None, pa.bool_()))
    values = _cast(texts, arrow_type(field))
    if field.type == "float":
        # 1e400 would be infinite, and 1e-400 would be zero.
        is_held = pc.and_(pc.is_finite(values), pc.or_(pc.not_equal(values, 0), pc.match_substring_regex(texts, _ZERO)))
        return pc.if_else(is_held, values, pa.scalar(None, pa.float64()))
    if field.type in ("date", "timestamp"):
        # Python and the exported file allow the years 1 to 9999. An offset can lead to another year.
        exists = pc.and_(pc.greater_equal(pc.year(values), 1), pc.less_equal(pc.year(values), 9999))
        return pc.if_else(exists, values, pa.scalar(None, values.type))
    return values


def _cast(texts: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Returns the texts as values, and null for bad ones. It halves: k of n bad ones cost about k·log2(n) casts."""
    try:
        return pc.cast(texts, dtype)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, dtype)
        half = len(texts) // 2
        parts: Sequence[pa.Array] = (_cast(texts[:half], dtype), _cast(texts[half:], dtype))
        return pa.concat_arrays(parts)
