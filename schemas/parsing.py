"""Text cells to typed columns, a whole column at a time, strictly.

What a text may look like is fixed per type, so that nothing is rounded, guessed or read in another
base: whole numbers and decimals in ASCII digits with a point, dates and moments as ISO 8601 or in an
order that is said, moments with their offset from UTC. What is no text may have white space around it,
and white space alone is empty; text is kept as it is.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from schemas.batches import DateOrder
from schemas.dates import ISO_DATE, as_iso
from schemas.record_type import Field

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
_OFFSET = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
_FORMS = {
    "integer": r"^-?0*[0-9]{1,19}$",
    "float": r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "boolean": rf"(?i)^({'|'.join(_TRUE + _FALSE)})$",
    "date": rf"^{ISO_DATE}$",
    "timestamp": rf"^{ISO_DATE}[T ]{_TIME}{_OFFSET}$",
}
"""As close as a pattern can come to what converts: a text that fits and does not convert costs 40 times as much."""

_IN_WORDS = {
    "integer": "must be a whole number, at most 9223372036854775807",
    "float": "must be a number, with a point for the decimals",
    "boolean": "must be true or false (or yes, no, 1, 0)",
    "date": "must be a date, written 2024-05-31",
    "timestamp": "must be a moment with its offset from UTC, written 2024-05-31T09:30:00Z or …+02:00",
}

_BY_ORDER = {DateOrder.DMY: "31/05/2024", DateOrder.MDY: "05/31/2024", DateOrder.YMD: "2024/05/31"}


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's values."""
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", field.type)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _ARROW_TYPES[field.type]


def type_in_words(field: Field, date_order: DateOrder | None = None) -> str:
    """What a value of this field's type must look like: "must be …"."""
    if date_order is not None and field.type == "date":
        return f"must be a date, written {_BY_ORDER[date_order]} or 2024-05-31"
    if date_order is not None and field.type == "timestamp":
        written = f"{_BY_ORDER[date_order]} 09:30:00Z or 2024-05-31T09:30:00+02:00"
        return f"must be a moment with its offset from UTC, written {written}"
    if field.type.startswith("decimal"):
        dtype = arrow_type(field)
        return f"must be a number of at most {dtype.precision - dtype.scale} digits and {dtype.scale} decimals"
    return _IN_WORDS[field.type]


def parse_column(
    texts: pa.Array, field: Field, *, assume_utc: bool = False, date_order: DateOrder | None = None
) -> tuple[pa.Array, pa.Array]:
    """The values of a column of texts, and the positions of texts that are no such value.

    assume_utc: a moment may lack its offset, as in Excel, which knows none; and may be a whole day.
    date_order: a date may be written in numbers of that order too; ISO 8601 is always read.

    The empty text and the field's null markers become null. A text that is no value of the field's
    type is null among the values, and its position is in the second array (uint64, ascending).
    """
    if field.type == "text":
        return _without_markers(texts, field.null_markers), pa.array([], pa.uint64())
    trimmed = _without_markers(pc.utf8_trim_whitespace(texts), [marker.strip() for marker in field.null_markers])
    given = pc.is_valid(trimmed)
    if date_order is not None and field.type in ("date", "timestamp"):
        trimmed = as_iso(trimmed, date_order)
    if assume_utc and field.type == "timestamp":
        trimmed = _with_offset(trimmed)
    well_formed = pc.match_substring_regex(trimmed, _form(field))
    candidates = pc.if_else(well_formed, trimmed, pa.scalar(None, pa.string()))
    values = _convert(candidates, field)
    lost = pc.and_(given, pc.is_null(values))
    return values, pc.indices_nonzero(lost)


def _without_markers(texts: pa.Array, markers: Sequence[str]) -> pa.Array:
    return pc.if_else(pc.is_in(texts, pa.array(["", *markers], pa.string())), pa.scalar(None, pa.string()), texts)


def _with_offset(texts: pa.Array) -> pa.Array:
    days = pc.match_substring_regex(texts, rf"^{ISO_DATE}$")
    texts = pc.if_else(days, pc.binary_join_element_wise(texts, "T00:00:00Z", ""), texts)
    naive = pc.match_substring_regex(texts, rf"^{ISO_DATE}[T ]{_TIME}$")
    return pc.if_else(naive, pc.binary_join_element_wise(texts, "Z", ""), texts)


def _form(field: Field) -> str:
    if not field.type.startswith("decimal"):
        return _FORMS[field.type]
    dtype = arrow_type(field)
    decimals = rf"(\.[0-9]{{1,{dtype.scale}}}0*)?" if dtype.scale else r"(\.0+)?"
    return rf"^-?0*[0-9]{{1,{dtype.precision - dtype.scale}}}{decimals}$"


def _convert(texts: pa.Array, field: Field) -> pa.Array:
    """Well-formed texts as values; null where a text names nothing that exists, as 2023-02-30 does."""
    if field.type == "boolean":
        lowered = pc.utf8_lower(texts)
        known = pc.is_in(lowered, pa.array(_TRUE + _FALSE))  # the form, ignoring case, takes U+017F for "s"
        return pc.if_else(known, pc.is_in(lowered, pa.array(_TRUE)), pa.scalar(None, pa.bool_()))
    values = _cast(texts, arrow_type(field))
    if field.type == "float":
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    if field.type in ("date", "timestamp"):
        # Python and the exported file have the years 1 to 9999; an offset can lead out of them.
        exists = pc.and_(pc.greater_equal(pc.year(values), 1), pc.less_equal(pc.year(values), 9999))
        return pc.if_else(exists, values, pa.scalar(None, values.type))
    return values


def _cast(texts: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Cast, halving where a text does not convert: k of n bad texts cost about k·log2(n) casts."""
    try:
        return pc.cast(texts, dtype)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, dtype)
        half = len(texts) // 2
        parts: Sequence[pa.Array] = (_cast(texts[:half], dtype), _cast(texts[half:], dtype))
        return pa.concat_arrays(parts)
