"""Dates in numbers: they are read by the given order, and their column shows doubts about the order."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import Contacts
from schemas.dates import DateOrders
from schemas.parsing import parse_column
from schemas.reading import DateOrder
from schemas.record_type import Field, RecordType
from schemas.validation import validate
from tests.test_validation import _contacts, _plain

DAY, AT = Field("day", "date"), Field("at", "timestamp")
TYPE = RecordType("things", "", (DAY, AT), ("day",), {})
WRITTEN = {DateOrder.DMY: "{d}/{m}/{y:04}", DateOrder.MDY: "{m}.{d}.{y:04}", DateOrder.YMD: "{y:04}-{m}-{d}"}
REFUSED = [
    *(
        "31/05-2024",
        "31/05/24",
        "24/05/31",
        "1/1/20244",
        "001/1/2024",
        "1//2024",
        "1/1/2024x",
        "31 05 2024",
        "31052024",
    ),
    *("31/02/2024", "29/02/2023", "0/1/2024", "1/0/2024", "32/1/2024", "31/05/2024 09:30", "1/1/0000", "\u0661/1/2024"),
    *("May 31 2024", "+1/1/2024", "1/-1/2024"),
]


def days(texts: list[str], order: DateOrder | None) -> list[date | None]:
    found: list[date | None] = parse_column(pa.array(texts, pa.string()), DAY, date_order=order)[0].to_pylist()
    return found


def warnings(order: DateOrder | None, *chunks: list[str], field: Field = DAY) -> tuple[str, ...]:
    """Return the warnings about a file of these chunks."""
    orders, records = DateOrders(TYPE, (field.name,), order), 0
    for texts in chunks:
        values, _ = parse_column(pa.array(texts, pa.string()), field, date_order=order)
        of = pa.array(range(records + 1, records + len(texts) + 1), pa.int64())
        orders.add(pa.table({field.name: pa.array(texts, pa.string())}), pa.table({field.name: values}), of)
        records += len(texts)
    return tuple(warning.sentence for warning in orders.warnings())


@given(st.sampled_from(DateOrder), st.lists(st.dates()))
def test_dates_of_the_order_and_iso_dates_come_back(order: DateOrder, values: list[date]) -> None:
    texts = [WRITTEN[order].format(d=value.day, m=value.month, y=value.year) for value in values]
    padded = [WRITTEN[order].format(d=f"{it.day:02}", m=f"{it.month:02}", y=it.year) for it in values]
    assert days([*texts, *padded, *map(str, values)], order) == values * 3


@pytest.mark.parametrize("order", [None, *DateOrder])
def test_an_invalid_date_is_refused(order: DateOrder | None) -> None:
    assert days(REFUSED, order) == [None] * len(REFUSED)


def test_without_an_order_only_iso_is_read() -> None:
    assert days(["31/05/2024", "05/31/2024", "2024/05/31", "2024-5-31", "2024-05-31"], None) == [
        *[None] * 4,
        date(2024, 5, 31),
    ]


def test_the_date_of_a_timestamp_is_read_by_the_order_and_its_offset_is_still_needed() -> None:
    texts = ["1.2.2024 09:30Z", "01/02/2024T09:30:00.5+02:00", "01/02/2024 09:30"]
    values, bad = parse_column(pa.array(texts), AT, date_order=DateOrder.DMY)
    assert values.to_pylist() == [
        datetime(2024, 2, 1, 9, 30, tzinfo=UTC),
        datetime(2024, 2, 1, 7, 30, 0, 500_000, tzinfo=UTC),
        None,
    ]
    assert bad.to_pylist() == [2]
    excel, _ = parse_column(pa.array(texts[2:]), AT, time_zone="UTC", date_order=DateOrder.MDY)
    assert excel.to_pylist() == [datetime(2024, 1, 2, 9, 30, tzinfo=UTC)]


def test_a_date_that_an_order_would_read_differs_from_one_that_none_would() -> None:
    ask = "must be a date, written 2024-05-31 (in another order of day, month and year only with --date-order)"
    texts = _contacts(5, birthday=["31/05/1990", "x", "1990-05-31", "31/05/90", "1990/05/31"])
    _, failures = validate(Contacts, texts)
    assert _plain(failures) == [
        ("birthday", "type", ask, [0, 4], ["31/05/1990", "1990/05/31"]),
        ("birthday", "type", "must be a date, written 2024-05-31", [1, 3], ["x", "31/05/90"]),
    ]
    _, failures = validate(Contacts, texts, date_order=DateOrder.DMY)
    assert _plain(failures) == [
        (
            "birthday",
            "type",
            "must be a date, written 31/05/2024 or 2024-05-31",
            [1, 3, 4],
            ["x", "31/05/90", "1990/05/31"],
        )
    ]


EITHER = "1 date could be day first or month first. Say which: --date-order dmy or mdy."
DAY_FIRST = "1 date can only be day first (first: record 1). To read them right: --date-order dmy."
MONTH_FIRST = "1 date can only be month first (first: record 1). To read them right: --date-order mdy."
MONTH_FIRST_OR_EITHER = (
    "1 date can only be month first (first: record 2); 1 date could be either. To read them right: --date-order mdy."
)
YEAR_FIRST = (
    "1 date can only be year first (first: record 2), but not written 2024-05-31. To read them: --date-order ymd."
)
TWO_ORDERS = (
    "2 dates can only be day first (first: record 1), 1 date only month first (first: record 2). "
    "No --date-order reads them all: correct the file."
)


@pytest.mark.parametrize(
    ("order", "texts", "sentences"),
    [
        (None, ["2024-05-31", "", " ", "x", "31/05/24", "45/45/2024", "2024-02-30"], []),
        (None, ["01/02/2024"], [EITHER]),
        (None, ["31/05/2024", "2024-05-31"], [DAY_FIRST]),
        (None, ["5.31.2024"], [MONTH_FIRST]),
        (None, ["01/02/2024", "05/31/2024"], [MONTH_FIRST_OR_EITHER]),
        (None, ["31/05/2024", "05/31/2024", "30/05/2024"], [TWO_ORDERS]),
        (None, ["", "2024/05/31"], [YEAR_FIRST]),
        (DateOrder.YMD, ["2024/05/31", "2024-05-31"], []),
        (DateOrder.YMD, ["01/02/2024"], [EITHER]),
        (DateOrder.DMY, ["01/02/2024", "31/05/2024", "2024-05-31"], []),
        (DateOrder.DMY, ["01/02/2024", "2024-05-31"], []),
        (DateOrder.DMY, ["01/02/2024", "05/31/2024"], [MONTH_FIRST_OR_EITHER]),
        (DateOrder.DMY, ["01/02/2024", "2024.5.31"], [YEAR_FIRST]),
        (DateOrder.MDY, ["31/05/2024", "05/31/2024", "30/05/2024"], [TWO_ORDERS]),
    ],
)
def test_a_column_that_leaves_a_doubt_is_warned_of(
    order: DateOrder | None, texts: list[str], sentences: list[str]
) -> None:
    expected = tuple(f"`day`: {sentence}" for sentence in sentences)
    assert warnings(order, texts) == expected
    assert warnings(order, *([text] for text in texts)) == expected, "however the file comes in chunks"


def test_the_dates_of_timestamps_are_checked_too() -> None:
    assert warnings(None, ["31/05/2024 09:30Z", "31/05/2024x"], field=AT) == (
        "`at`: 1 date can only be day first (first: record 1). To read them right: --date-order dmy.",
    )
