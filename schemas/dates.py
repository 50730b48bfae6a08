"""Dates in numbers whose order only their writer knows, as 31/05/2024: read by the order that is said, never guessed.

A date that is not ISO 8601 is three numbers with one of `/ . -` between them and a year of four digits: which
century a year of two digits is in would be a guess too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.batches import DateOrder
from schemas.record_type import RecordType

ISO_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
"""A calendar date of ISO 8601, as a pattern."""

_NUMBERS = (
    r"^(?P<first>[0-9]{1,4})(?P<mark>[/.\-])(?P<second>[0-9]{1,2})(?P<mark_again>[/.\-])(?P<third>[0-9]{1,4})"
    r"(?P<time>(?:[T ].*)?)$"
)
_IN_WORDS = {DateOrder.DMY: "day first", DateOrder.MDY: "month first", DateOrder.YMD: "year first"}


def as_iso(texts: pa.Array, order: DateOrder) -> pa.Array:
    """The texts, and those that begin with a date in numbers of that order with an ISO date instead."""
    if pc.all(pc.match_substring_regex(texts, f"^{ISO_DATE}")).as_py():
        return texts
    numbers = _numbers(texts)
    first, second, third = (pc.struct_field(numbers, name) for name in ("first", "second", "third"))
    year, month, day = {
        DateOrder.DMY: (third, second, first),
        DateOrder.MDY: (third, first, second),
        DateOrder.YMD: (first, second, third),
    }[order]
    written_so = pc.and_(pc.equal(pc.utf8_length(year), 4), pc.less_equal(pc.utf8_length(day), 2))
    written_so = pc.and_(written_so, pc.less_equal(pc.utf8_length(month), 2))
    iso = pc.binary_join_element_wise(year, pc.utf8_lpad(month, 2, "0"), pc.utf8_lpad(day, 2, "0"), "-")
    iso = pc.binary_join_element_wise(iso, pc.struct_field(numbers, "time"), "")
    return pc.if_else(pc.fill_null(written_so, False), iso, texts)


def needs_order(texts: pa.Array) -> pa.Array:
    """Which texts are dates in numbers, or begin with one, that an order would read.

    An ISO date that does not exist, as 2023-02-30, is none of them.
    """
    return _in_some_order(_numbers(texts), texts)


def _in_some_order(numbers: pa.Array, texts: pa.Array) -> pa.Array:
    ends = [pc.utf8_length(pc.struct_field(numbers, name)) for name in ("first", "third")]
    one_year = pc.and_(pc.equal(pc.max_element_wise(*ends), 4), pc.less_equal(pc.min_element_wise(*ends), 2))
    meant_as_iso = pc.match_substring_regex(texts, r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}")
    return pc.fill_null(pc.and_not(one_year, meant_as_iso), False)


def _numbers(texts: pa.Array) -> pa.Array:
    """The parts of texts that are three numbers with one mark twice; null for the others."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), _NUMBERS)
    same_mark = pc.equal(pc.struct_field(parts, "mark"), pc.struct_field(parts, "mark_again"))
    return pc.if_else(pc.fill_null(same_mark, False), parts, pa.scalar(None, parts.type))


@dataclass
class _Seen:
    """How many dates of a column fit an order, and the record of the first one."""

    dates: int = 0
    first: int = 0

    def add(self, fitting: pa.Array, records: pa.Array) -> None:
        fitting = pc.fill_null(fitting, False)
        number = pc.sum(fitting).as_py() or 0
        if number and not self.dates:
            self.first = pc.min(records.filter(fitting)).as_py()
        self.dates += number

    def told(self, what: str) -> str:
        """For example: 12 dates can only be day first (first: record 7)."""
        return f"{_dates(self.dates)} {what} (first: record {self.first:,})"


class DateOrders:
    """Which orders the dates of a file fit, a chunk at a time: numbers of dates and of records, no values."""

    def __init__(self, record_type: RecordType, fields: tuple[str, ...], order: DateOrder | None) -> None:
        self.order = order
        dated = [name for name in fields if record_type.field(name).type in ("date", "timestamp")]
        self._seen = {name: {fit: _Seen() for fit in (*DateOrder, None)} for name in dated}

    def add(self, texts: pa.Table, typed: pa.Table, records: pa.Array) -> None:
        """Look at the texts of a chunk, and what was read from them; without an order, ISO dates cost nothing."""
        for name, seen in self._seen.items():
            column = texts[name].combine_chunks()
            unread = pc.is_null(typed[name].combine_chunks())
            if self.order is not None:
                unread = pc.invert(pc.match_substring_regex(column, rf"^\s*{ISO_DATE}"))
            suspect = pc.fill_null(pc.and_(unread, pc.not_equal(column, "")), False)
            if not pc.any(suspect).as_py():
                continue
            column, of = column.filter(suspect), records.filter(suspect)
            numbers = _numbers(column)
            numeric = _in_some_order(numbers, column)
            numbers, of = numbers.filter(numeric), of.filter(numeric)
            first, second, third = (
                pc.cast(pc.struct_field(numbers, name), pa.int32()) for name in ("first", "second", "third")
            )
            year_first = pc.greater(pc.utf8_length(pc.struct_field(numbers, "first")), 2)
            day_first = pc.and_(pc.invert(year_first), _exists(second, first))
            month_first = pc.and_(pc.invert(year_first), _exists(first, second))
            seen[DateOrder.YMD].add(pc.and_(year_first, _exists(second, third)), of)
            seen[DateOrder.DMY].add(pc.and_not(day_first, month_first), of)
            seen[DateOrder.MDY].add(pc.and_not(month_first, day_first), of)
            seen[None].add(pc.and_(day_first, month_first), of)

    @property
    def understood(self) -> tuple[tuple[str, str], ...]:
        """The order that was said: label and value."""
        return () if self.order is None else (("Dates", f"{_IN_WORDS[self.order]}, as --date-order says; or ISO 8601"),)

    def warnings(self) -> tuple[str, ...]:
        """For each column whose dates leave a doubt, or need another order than was said, a sentence on it."""
        return tuple(f"`{name}`: {doubt}" for name, seen in self._seen.items() for doubt in self._doubts(seen))

    def _doubts(self, seen: dict[DateOrder | None, _Seen]) -> Iterator[str]:
        dmy, mdy, ymd, either = seen[DateOrder.DMY], seen[DateOrder.MDY], seen[DateOrder.YMD], seen[None]
        if ymd.dates and self.order is not DateOrder.YMD:
            yield f"{ymd.told('can only be year first')}, but not written 2024-05-31. To read them: --date-order ymd."
        fitting = [order for order in (DateOrder.DMY, DateOrder.MDY) if seen[order].dates]
        if len(fitting) == 2:
            yield (
                f"{dmy.told('can only be day first')}, {mdy.told('only month first')}. "
                "No --date-order reads them all: correct the file."
            )
        elif fitting and fitting[0] is not self.order:
            order = fitting[0]
            more = f"; {_dates(either.dates)} could be either" if either.dates else ""
            only = seen[order].told(f"can only be {_IN_WORDS[order]}")
            yield f"{only}{more}. To read them right: --date-order {order}."
        elif either.dates and self.order in (DateOrder.DMY, DateOrder.MDY) and not fitting:
            yield (
                f"{_dates(either.dates)} read {_IN_WORDS[self.order]}, as --date-order {self.order} says; "
                "none of them shows that this is right, for each could be the other way round."
            )
        elif either.dates and not fitting:
            yield f"{_dates(either.dates)} could be day first or month first. Say which: --date-order dmy or mdy."


def _exists(month: pa.Array, day: pa.Array) -> pa.Array:
    """Whether a month and a day can be those."""
    in_year = pc.and_(pc.greater_equal(month, 1), pc.less_equal(month, 12))
    return pc.and_(in_year, pc.and_(pc.greater_equal(day, 1), pc.less_equal(day, 31)))


def _dates(number: int) -> str:
    return f"{number:,} date{'' if number == 1 else 's'}"
