"""Dates in other orders than ISO 8601, such as 31/05/2024. The user gives the order; it is never guessed.

Such a date has three numbers, with one of `/ . -` between them. Its year has four digits, because the century of a
year of two digits would be a guess too.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from schemas.counts import numbered
from schemas.fits import Fit
from schemas.reading import DateOrder
from schemas.record_type import RecordType
from schemas.warnings import BatchWarning, WarningCode

ISO_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
"""A calendar date of ISO 8601, as a pattern."""

_NUMBERS = (
    r"^(?P<first>[0-9]{1,4})(?P<mark>[/.\-])(?P<second>[0-9]{1,2})(?P<mark_again>[/.\-])(?P<third>[0-9]{1,4})"
    r"(?P<time>(?:[T ].*)?)$"
)
_IN_WORDS = {DateOrder.DMY: "day first", DateOrder.MDY: "month first", DateOrder.YMD: "year first"}


def as_iso(texts: pa.Array, order: DateOrder) -> pa.Array:
    """Returns the texts, with an ISO date in place of a date in numbers of that order at their beginning."""
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
    """Returns which texts begin with a date in numbers that can be read if its order is given.

    An ISO date that does not exist, such as 2023-02-30, is not one of them.
    """
    return _in_some_order(_numbers(texts), texts)


def _in_some_order(numbers: pa.Array, texts: pa.Array) -> pa.Array:
    ends = [pc.utf8_length(pc.struct_field(numbers, name)) for name in ("first", "third")]
    one_year = pc.and_(pc.equal(pc.max_element_wise(*ends), 4), pc.less_equal(pc.min_element_wise(*ends), 2))
    meant_as_iso = pc.match_substring_regex(texts, r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}")
    return pc.fill_null(pc.and_not(one_year, meant_as_iso), False)


def _numbers(texts: pa.Array) -> pa.Array:
    """Returns the parts of texts that are three numbers with the same mark twice, and null for other texts."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), _NUMBERS)
    same_mark = pc.equal(pc.struct_field(parts, "mark"), pc.struct_field(parts, "mark_again"))
    return pc.if_else(pc.fill_null(same_mark, False), parts, pa.scalar(None, parts.type))


class DateOrders:
    """Counts which orders the dates of a file fit, a chunk at a time. It keeps the first value of each."""

    def __init__(self, record_type: RecordType, fields: tuple[str, ...], order: DateOrder | None) -> None:
        self.order = order
        dated = [name for name in fields if record_type.field(name).type in ("date", "timestamp")]
        self._fits = {name: {fit: Fit("date") for fit in (*DateOrder, None)} for name in dated}

    def add(self, texts: pa.Table, typed: pa.Table, records: pa.Array) -> None:
        """Count the texts of a chunk. `typed` has the values that were read from them.

        Without an order only the texts that were not read are looked at, so ISO dates cost nothing.
        """
        for name, fits in self._fits.items():
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
            numbers, column, of = numbers.filter(numeric), column.filter(numeric), of.filter(numeric)
            first, second, third = (
                pc.cast(pc.struct_field(numbers, name), pa.int32()) for name in ("first", "second", "third")
            )
            year_first = pc.greater(pc.utf8_length(pc.struct_field(numbers, "first")), 2)
            day_first = pc.and_(pc.invert(year_first), _exists(second, first))
            month_first = pc.and_(pc.invert(year_first), _exists(first, second))
            fits[DateOrder.YMD].add(pc.and_(year_first, _exists(second, third)), column, of)
            fits[DateOrder.DMY].add(pc.and_not(day_first, month_first), column, of)
            fits[DateOrder.MDY].add(pc.and_not(month_first, day_first), column, of)
            fits[None].add(pc.and_(day_first, month_first), column, of)

    @property
    def understood(self) -> tuple[tuple[str, str], ...]:
        """Returns the order that was given and how many dates could be in another one, as label and value."""
        if self.order is None:
            return ()
        either = 0 if self.order is DateOrder.YMD else sum(fits[None].values for fits in self._fits.values())
        unclear = f"; {numbered(either, 'date')} could be the other way round" if either else ""
        return (("Dates", f"{_IN_WORDS[self.order]}, as --date-order says, or ISO 8601{unclear}"),)

    def warnings(self) -> tuple[BatchWarning, ...]:
        """Returns a warning for each column with dates of unclear order, or of another order than was given."""
        return tuple(
            BatchWarning(WarningCode.DATE_ORDER, name, dates, f"`{name}`: {sentence}", examples)
            for name, fits in self._fits.items()
            for dates, sentence, examples in self._doubts(fits)
        )

    def _doubts(self, fits: dict[DateOrder | None, Fit]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Yields how many dates are in doubt, why, and the first of them."""
        dmy, mdy, ymd, either = fits[DateOrder.DMY], fits[DateOrder.MDY], fits[DateOrder.YMD], fits[None]
        if ymd.values and self.order is not DateOrder.YMD:
            year_first = ymd.sentence("can only be year first")
            sentence = f"{year_first}, but not written 2024-05-31. To read them: --date-order ymd."
            yield ymd.values, sentence, (ymd.example,)
        fitting = [order for order in (DateOrder.DMY, DateOrder.MDY) if fits[order].values]
        if len(fitting) == 2:
            both = f"{dmy.sentence('can only be day first')}, {mdy.sentence('only month first')}"
            sentence = f"{both}. No --date-order reads them all: correct the file."
            yield dmy.values + mdy.values, sentence, (dmy.example, mdy.example)
        elif fitting and fitting[0] is not self.order:
            order = fitting[0]
            more = f"; {either.number} could be either" if either.values else ""
            only = fits[order].sentence(f"can only be {_IN_WORDS[order]}")
            sentence = f"{only}{more}. To read them right: --date-order {order}."
            yield fits[order].values + either.values, sentence, (fits[order].example,)
        elif either.values and self.order not in (DateOrder.DMY, DateOrder.MDY) and not fitting:
            yield (
                either.values,
                f"{either.number} could be day first or month first. Say which: --date-order dmy or mdy.",
                (either.example,),
            )


def _exists(month: pa.Array, day: pa.Array) -> pa.Array:
    """Returns whether the numbers can be a month and a day."""
    in_year = pc.and_(pc.greater_equal(month, 1), pc.less_equal(month, 12))
    return pc.and_(in_year, pc.and_(pc.greater_equal(day, 1), pc.less_equal(day, 31)))
