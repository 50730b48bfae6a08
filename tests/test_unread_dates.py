"""Why a text is no date or timestamp."""

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reading import DateOrder
from schemas.unread_dates import NEEDS_ORDER, NEEDS_ZONE, NO_SUCH_DAY, NO_SUCH_OFFSET, NO_SUCH_TIME, TWICE, reasons

BOTH = f"{NEEDS_ORDER}, and {NEEDS_ZONE}"


def why(text: str, type_: str = "timestamp", order: DateOrder | None = None, zone: str | None = None) -> list[str]:
    return [reason for reason, which in reasons(pa.array([text]), type_, order, zone) if which.to_pylist() == [True]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("31/05/2024 09:30", BOTH),
        ("31-05-2024", BOTH),
        ("31/05/2024 09:30Z", NEEDS_ORDER),
        ("31/05/2024 09:30-0500", NEEDS_ORDER),
        ("2024-05-31 09:30", NEEDS_ZONE),
        ("2023-02-29 09:30", NO_SUCH_DAY),
        ("2024-13-01T09:30:00Z", NO_SUCH_DAY),
        ("2024-05-31T09:30:00+15:00", NO_SUCH_OFFSET),
        ("2024-05-31 09:30 -1230", NO_SUCH_OFFSET),
    ],
)
def test_what_is_missing_and_what_does_not_exist_is_said(text: str, reason: str) -> None:
    assert why(text) == [reason]


def test_with_an_order_and_a_zone_what_does_not_exist_is_left() -> None:
    def said(text: str) -> list[str]:
        return why(text, order=DateOrder.DMY, zone="Europe/Berlin")

    assert said("31/04/2024 09:30") == [NO_SUCH_DAY]
    assert said("31/03/2024 02:30") == [NO_SUCH_TIME]
    assert said("27/10/2024 02:30") == [TWICE]
    assert said("soon") == []
    assert why("2023-02-30", "date") == [NO_SUCH_DAY]
    assert why("2023-02-28 09:30", "date") == []


@given(st.integers(0, 9999), st.integers(0, 99), st.integers(0, 99))
def test_a_day_does_not_exist_exactly_if_python_knows_none(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        date.fromisoformat(text)
    except ValueError:
        assert why(text, "date") == [NO_SUCH_DAY]
    else:
        assert why(text, "date") == []
