"""Text cells become values: what is accepted, what is refused; nothing is rounded or guessed."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.parsing import arrow_type, parse_column, type_in_words
from schemas.record_type import Field

TYPES = ["text", "integer", "float", "decimal(18,2)", "boolean", "date", "timestamp"]


def _parse(texts: list[str | None], kind: str, null_markers: tuple[str, ...] = ()) -> tuple[list[Any], list[int]]:
    field = Field("x", kind, null_markers=null_markers)
    values, bad = parse_column(pa.array(texts, pa.string()), field)
    assert values.type == arrow_type(field)
    assert bad.type == pa.uint64()
    return values.to_pylist(), bad.to_pylist()


ACCEPTED: dict[str, dict[str, Any]] = {
    "integer": {
        "0": 0,
        "-0": 0,
        "007": 7,
        " 12\t": 12,
        "\u00a012\u2003": 12,
        "9223372036854775807": 2**63 - 1,
        "-9223372036854775808": -(2**63),
        "5.0": 5,
        "-12.": -12,
        "+5": 5,
        "1e3": 1000,
        "1.50E+2": 150,
        "+9223372036854775807.00": 2**63 - 1,
    },
    "decimal(18,2)": {
        "1": Decimal("1.00"),
        "-1.5": Decimal("-1.50"),
        "1.50000": Decimal("1.50"),
        " 0.07 ": Decimal("0.07"),
        "9999999999999999.99": Decimal("9999999999999999.99"),
        "-9999999999999999.99": Decimal("-9999999999999999.99"),
        "+5": Decimal("5.00"),
        "1e3": Decimal("1000.00"),
        "0.5E-1": Decimal("0.05"),
    },
    "decimal(5,5)": {"0.5": Decimal("0.50000"), "-00.12345": Decimal("-0.12345"), "0": Decimal("0.00000")},
    "float": {"1": 1.0, ".5": 0.5, "5.": 5.0, "-1.5E+3": -1500.0, "1e-3": 0.001, " 2 ": 2.0, "0e-400": 0.0, "+5": 5.0},
    "boolean": {
        "TRUE": True,
        "true": True,
        "Yes": True,
        "1": True,
        "False": False,
        "nO": False,
        "0": False,
        " no ": False,
        "t": True,
        "F": False,
        "Ja": True,
        "NEIN": False,
    },
    "date": {
        "2024-02-29": date(2024, 2, 29),
        "2000-02-29": date(2000, 2, 29),
        "0001-01-01": date.min,
        "9999-12-31": date.max,
        " 2024-05-31\t": date(2024, 5, 31),
        "2024-05-31 00:00:00": date(2024, 5, 31),
        "2024-05-31T00:00": date(2024, 5, 31),
        "2024-05-31T00:00:00.000Z": date(2024, 5, 31),
    },
    "timestamp": {
        "2024-05-31T09:30:00Z": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31 09:30Z": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31T09:30:00+02:00": datetime(2024, 5, 31, 7, 30, tzinfo=UTC),
        "2024-05-31T09:30:00-0230": datetime(2024, 5, 31, 12, 0, tzinfo=UTC),
        "2024-05-31T09:30:00+14": datetime(2024, 5, 30, 19, 30, tzinfo=UTC),
        "2024-05-31T09:30:00-12:00": datetime(2024, 5, 31, 21, 30, tzinfo=UTC),
        "2024-05-31T09:30:00+13:45": datetime(2024, 5, 30, 19, 45, tzinfo=UTC),
        "2024-05-31T09:30:00.1Z": datetime(2024, 5, 31, 9, 30, 0, 100_000, tzinfo=UTC),
        "2024-05-31T09:30:00.123456Z": datetime(2024, 5, 31, 9, 30, 0, 123_456, tzinfo=UTC),
        "2024-05-31 09:30:00 UTC": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31T09:30:00utc": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31T09:30:00z": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31T09:30:00 Z": datetime(2024, 5, 31, 9, 30, tzinfo=UTC),
        "2024-05-31 09:30:00 +0200": datetime(2024, 5, 31, 7, 30, tzinfo=UTC),
        "2024-05-31T09:30:00.123456000Z": datetime(2024, 5, 31, 9, 30, 0, 123_456, tzinfo=UTC),
        "0001-01-01T00:00:00Z": datetime.min.replace(tzinfo=UTC),
        "9999-12-31T23:59:59.999999Z": datetime.max.replace(tzinfo=UTC),
    },
}

REFUSED: dict[str, list[str]] = {
    "integer": [
        *("0x10", "++5", "1e-3", "1e99", "1.5", "15e-1", "1,000", "1_000", "\u0661", "-", "--1", "1 2", "nan"),
        *("9223372036854775808", "-9223372036854775809", "9" * 50),
    ],
    "decimal(18,2)": [
        *("1.239", "1.005", "0x1", "+-5", "1e-3", "1e16", "1.", ".5", "1,5", "NaN", "inf"),
        *("10000000000000000.00", "99999999999999999", "12345678901234567.1", "9" * 50),
    ],
    "decimal(10,0)": ["0.5", "10000000000"],
    "decimal(5,5)": ["1", "1.5", ".5", "0.123456"],
    "float": [
        "++5",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "-1e400",
        "1e-400",
        "-.001e-400",
        "0x1p3",
        "1e",
        ".",
        "1_0",
        "1,5",
    ],
    "boolean": ["tt", "y", "on", "2", "01", "truee", "ye\u017f", "fal\u017fe"],
    "date": [
        *("2023-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "0000-01-01"),
        *(
            "2024-2-3",
            "20240531",
            "31.05.2024",
            "2024-05-31T00:00:01",
            "2024-05-31T00:00:00+01:00",
            "-001-01-01",
            "٢٠٢٤-05-31",
        ),
    ],
    "timestamp": [
        *("2024-05-31T09:30:00", "2024-05-31", "2024-02-30T00:00:00Z", "2024-05-31T24:00:00Z", "2024-05-31T09:60:00Z"),
        *("2024-05-31T23:59:60Z", "2024-05-31T09:30:00.1234567Z", "2024-05-31T09:30:00.123456789Z"),
        *("2024-05-31T09:30:00CET", "2024-05-31T09:30:00  Z", "2024-05-31T09:30:00+24:00", "2024-05-31T09:30:00+02:60"),
        *("2024-05-31T09:30:00+14:01", "2024-05-31T09:30:00+15", "2024-05-31T09:30:00-12:30", "2024-05-31T09:30-1300"),
        *("0000-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00"),
    ],
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_these_forms_are_accepted(kind: str) -> None:
    assert _parse(list(ACCEPTED[kind]), kind) == (list(ACCEPTED[kind].values()), [])


@pytest.mark.parametrize("kind", REFUSED)
def test_these_forms_are_refused(kind: str) -> None:
    refused = REFUSED[kind]
    assert _parse([*refused], kind) == ([None] * len(refused), list(range(len(refused))))


@pytest.mark.parametrize("kind", TYPES)
def test_the_empty_text_and_the_fields_own_null_markers_become_null(kind: str) -> None:
    assert _parse(["", "NA", "-", None], kind, null_markers=("NA", "-")) == ([None] * 4, [])


@pytest.mark.parametrize("kind", TYPES[1:])
def test_white_space_alone_or_around_a_null_marker_is_null_where_the_type_is_not_text(kind: str) -> None:
    assert _parse([" ", "\t \u00a0", " NA\t"], kind, null_markers=("NA",)) == ([None] * 3, [])
    assert _parse(["N/A", " N/A"], kind, null_markers=("N/A ",)) == ([None] * 2, [])


def test_text_is_kept_as_it_is() -> None:
    texts = [" ", "x ", " NA", "na", "=1+1", "a\r\nb", "00012"]
    assert _parse([*texts], "text", null_markers=("NA",)) == (texts, [])


def test_another_fields_null_marker_is_a_bad_number() -> None:
    assert _parse(["NA", "1"], "integer") == ([None, 1], [0])


def test_a_column_of_no_texts_has_no_values() -> None:
    assert [_parse([], kind) for kind in TYPES] == [([], [])] * len(TYPES)


def test_every_type_can_be_said_in_words() -> None:
    assert type_in_words(Field("x", "decimal(18,2)")) == "must be a number of at most 16 digits and 2 decimals"
    assert all(type_in_words(Field("x", kind)).startswith("must be ") for kind in TYPES if kind != "text")


_LIKELY = [text for forms in ACCEPTED.values() for text in forms] + [
    text for forms in REFUSED.values() for text in forms
]


@given(
    st.sampled_from(TYPES),
    st.lists(
        st.one_of(
            st.sampled_from([*_LIKELY, "", "NA"]),
            st.text(st.characters(codec="utf-8"), max_size=8),
            st.text("0123456789-.eETZ: +", max_size=12),
        )
    ),
)
def test_the_bad_positions_are_exactly_the_values_lost(kind: str, texts: list[str]) -> None:
    values, bad = _parse([*texts], kind, null_markers=("NA",))
    trimmed = texts if kind == "text" else pc.utf8_trim_whitespace(pa.array(texts, pa.string())).to_pylist()
    assert bad == [i for i, text in enumerate(trimmed) if values[i] is None and text not in ("", "NA")]
    assert all(values[i] is None for i, text in enumerate(trimmed) if text in ("", "NA"))
    if kind == "text":
        assert bad == []


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_come_back(values: list[int]) -> None:
    assert _parse([str(value) for value in values], "integer") == (values, [])


@given(st.lists(st.decimals(Decimal("-9999999999999999.99"), Decimal("9999999999999999.99"), places=2)))
def test_decimals_come_back(values: list[Decimal]) -> None:
    assert _parse([f"{value:f}" for value in values], "decimal(18,2)") == (values, [])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_come_back(values: list[float]) -> None:
    assert _parse([repr(value) for value in values], "float") == (values, [])


@given(st.lists(st.dates()))
def test_dates_come_back(values: list[date]) -> None:
    assert _parse([value.isoformat() for value in values], "date") == (values, [])


_OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.lists(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_OFFSETS)))  # noqa: DTZ001
def test_timestamps_come_back_whatever_their_offset(values: list[datetime]) -> None:
    assert _parse([value.isoformat() for value in values], "timestamp") == (values, [])


def _in_zone(texts: list[str], zone: str) -> list[Any]:
    values, _ = parse_column(pa.array(texts, pa.string()), Field("x", "timestamp"), time_zone=zone)
    return list(values.to_pylist())


@given(st.lists(st.datetimes(datetime(1850, 1, 1), datetime(9998, 1, 1))))  # noqa: DTZ001
def test_local_times_are_read_as_python_reads_them_or_not_at_all(times: list[datetime]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    right = []
    for time in times:
        first, second = (time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        exists = first.astimezone(zone).replace(tzinfo=None) == time
        right.append(first if first == second and exists else None)
    assert _in_zone([time.isoformat() for time in times], "Europe/Berlin") == right


def test_a_local_time_that_does_not_exist_or_exists_twice_is_no_value() -> None:
    texts = ["2024-03-31T02:30:00", "2024-10-27T02:30:00", "2024-05-31", "2024-05-31 10:00+00:00"]
    assert _in_zone(texts, "Europe/Berlin") == [
        None,
        None,
        datetime(2024, 5, 30, 22, tzinfo=UTC),
        datetime(2024, 5, 31, 10, tzinfo=UTC),
    ]
