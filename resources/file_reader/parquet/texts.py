"""Columns of any type as text that `schemas.parsing` reads as the same value.

A cell without such a text has a problem.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import CellProblem

_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_LAST_DAY = (date.max - date(1970, 1, 1)).days
_PER_DAY = {"days": 1} | {unit: 86_400 * 1000**power for power, unit in enumerate(("s", "ms", "us", "ns"))}

_UUID_BYTES = 16
_WHOLE_FROM = 1 << 24
"""From here on, each number of 32 bits is whole, and its shortest text is another whole number: 123456790, say."""

_Unfit = Callable[[pa.Array, str, str, Callable[[int], str]], None]
"""Records problems: which rows have one, the rule, what they must be, and how to show a row's value."""


def value_lengths(column: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]] | None":
    """Returns the bytes of each value; None if all are short."""
    if pa.types.is_dictionary(column.type):
        lengths = value_lengths(column.dictionary)
        if lengths is None or not len(lengths):
            return None
        indices = column.indices.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), lengths[indices], 0)
    if is_text(column.type) or _is_binary(column.type):
        return pc.binary_length(column).fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    return None


def is_text(kind: pa.DataType) -> bool:
    """Returns whether a type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_uuid(kind: pa.DataType) -> bool:
    """Returns whether a type is that of UUIDs."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def _uuids(column: pa.Array) -> pa.Array:
    """Returns UUIDs as text: 123e4567-e89b-12d3-a456-426614174000."""
    whole = pc.fill_null(column, bytes(_UUID_BYTES)).cast(pa.binary())
    digits = b"".join(whole.to_pylist()).hex()
    places = range(0, len(digits), 2 * _UUID_BYTES)
    texts = [
        f"{it[:8]}-{it[8:12]}-{it[12:16]}-{it[16:20]}-{it[20:]}"
        for it in (digits[at : at + 2 * _UUID_BYTES] for at in places)
    ]
    return pc.if_else(column.is_valid(), pa.array(texts, pa.string()), None)


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    variable = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return bool(variable or types.is_fixed_size_binary(kind))


def enum_column(column: pa.Array) -> pa.Array:
    """Returns a column of the annotation ENUM as text: Arrow reads it as bytes."""
    if pa.types.is_dictionary(column.type):
        column.validate(full=True)
        column = column.dictionary_decode()
    return column.cast(pa.string())


def text_column(column: pa.Array, position: int, cells: list[CellProblem]) -> pa.Array:
    """Returns the column as text. A value without a text is "", and is added to the cells."""
    if is_uuid(column.type):
        return _uuids(column.storage).fill_null("")
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column.validate(full=True)
        return text_column(column.dictionary_decode(), position, cells)

    def unfit(rows: pa.Array, rule: str, expected: str, show: Callable[[int], str]) -> None:
        cells.extend(
            CellProblem(row, position, rule, expected, show(row)[:60]) for row in pc.indices_nonzero(rows).to_pylist()
        )

    def shown(row: int) -> str:
        return str(column[row].as_py())

    if is_text(kind):
        column.validate(full=True)
        texts = column.cast(pa.string())
    elif _is_binary(kind):
        unfit(column.is_valid(), "not_text", "must be text", lambda row: "0x" + column[row].as_py()[:29].hex())
        texts = pa.nulls(len(column), pa.string())
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        texts = column.cast(pa.string())
    elif pa.types.is_decimal(kind):
        texts = _written_out(column, column.cast(pa.string()))
    elif pa.types.is_floating(kind):
        numbers = column.cast(pa.float64()) if pa.types.is_float16(kind) else column
        finite = pc.is_finite(numbers)
        unfit(pc.invert(finite).fill_null(False), "number_out_of_range", "must be a number", shown)
        numbers = pc.if_else(finite, numbers, pa.scalar(None, numbers.type))
        texts = numbers.cast(pa.string())
        if pa.types.is_float32(kind):
            is_large = pc.greater_equal(pc.abs(numbers), _WHOLE_FROM)
            texts = pc.if_else(is_large, numbers.cast(pa.float64()).cast(pa.string()), texts)
        texts = _written_out(numbers, texts)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        texts = _dates(column, unfit)
    elif pa.types.is_time(kind):
        column, _ = _within(column, 0, _PER_DAY[kind.unit], "time_out_of_range", "must be before 24:00:00", unfit)
        texts = _without_zeros(column.cast(pa.string()))
    elif pa.types.is_nested(kind):
        unfit(column.is_valid(), "nested_value", "must be a single value", lambda _: f"a value of type {kind}")
        texts = pa.nulls(len(column), pa.string())
    else:
        unfit(column.is_valid(), "unknown_type", "must be text, a number, a date or a timestamp", lambda _: str(kind))
        texts = pa.nulls(len(column), pa.string())
    return texts.fill_null("")


def _written_out(numbers: pa.Array, texts: pa.Array) -> pa.Array:
    """Returns the texts of numbers without exponents: 1e+20 as 100000000000000000000."""
    short = pc.match_substring(texts, "e", ignore_case=True)
    if not pc.any(short).as_py():
        return texts
    long = [format(Decimal(text), "f") for text in texts.filter(short).to_pylist()]
    return pc.replace_with_mask(texts, short.fill_null(False), pa.array(long, pa.string()))


def _within(
    column: pa.Array, first: int, end: int, rule: str, expected: str, unfit: _Unfit
) -> "tuple[pa.Array, np.ndarray[tuple[int], np.dtype[np.int64]]]":
    """Returns the column without the values outside a range, which are unfit, and its values as numbers.

    Arrow prints a value that it cannot express as `<value out of range: …>`.
    """
    stored = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
    values = stored.fill_null(0).to_numpy(zero_copy_only=False)
    exists = pa.array((values >= first) & (values < end))
    unfit(pc.invert(exists), rule, expected, lambda row: f"{values[row]} {_unit(column.type)}")
    return pc.if_else(exists, column, pa.scalar(None, column.type)), values


def _unit(kind: pa.DataType) -> str:
    """Returns what a date, time or timestamp counts."""
    if pa.types.is_date(kind):
        return "days" if pa.types.is_date32(kind) else "ms"
    return str(kind.unit)


def _dates(column: pa.Array, unfit: _Unfit) -> pa.Array:
    """Returns dates and timestamps of the years 1 to 9999 as ISO 8601; those with a time zone in UTC."""
    kind = column.type
    per_day = _PER_DAY[_unit(kind)]
    first, end = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day
    column, values = _within(column, first, end, "date_out_of_range", "must be in the years 1 to 9999", unfit)
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(pa.string())
    naive = column.cast(pa.int64()).cast(pa.timestamp(kind.unit))  # in UTC, so that no time zone is looked up by name
    if kind.unit == "ns":
        fine = pa.array(values % 1000 != 0)
        expected = "must have at most 6 decimals of a second"
        unfit(pc.and_(fine, column.is_valid()), "too_precise", expected, lambda row: str(naive.cast(pa.string())[row]))
        naive = pc.if_else(fine, pa.scalar(None, naive.type), naive)
    texts = naive.cast(pa.timestamp("us")).cast(pa.string())
    texts = _without_zeros(pc.replace_substring(texts, " ", "T"))
    return pc.binary_join_element_wise(texts, "Z", "") if kind.tz else texts


def _without_zeros(times: pa.Array) -> pa.Array:
    """Returns times without needless zeros: 09:30:00.500000 as 09:30:00.5, and 09:30:00.000000 as 09:30:00."""
    return pc.replace_substring_regex(times, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
