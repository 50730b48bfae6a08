"""Filters and orders: a user's words become typed values, or the error says what is valid."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from schemas import load_model
from schemas.errors import InvalidRequest
from schemas.filters import Order, parse_filter, parse_order, parse_timestamp, parse_value, value_text
from schemas.record_type import RecordType


@pytest.fixture(scope="module")
def contacts() -> RecordType:
    return load_model("contacts").record_type()


@pytest.mark.parametrize(
    ("text", "field", "operator", "values"),
    [
        ("status = lead", "status", "=", ("lead",)),
        ("status=lead", "status", "=", ("lead",)),
        ('notes = "=1+1"', "notes", "=", ("=1+1",)),
        ("notes contains ==", "notes", "contains", ("==",)),
        ("status != lead", "status", "!=", ("lead",)),
        ("amount >= 100", "amount", ">=", (Decimal(100),)),
        ("amount<-1.5", "amount", "<", (Decimal("-1.5"),)),
        ("country in DE, FR", "country", "in", ("DE", "FR")),
        ('company in "Bücher, Töchter", "a ""b"""', "company", "in", ("Bücher, Töchter", 'a "b"')),
        ("notes contains a = b", "notes", "contains", ("a = b",)),
        ('notes starts " x"', "notes", "starts", (" x",)),
        ("notes is-null", "notes", "is-null", (True,)),
        ("notes is-null false", "notes", "is-null", (False,)),
        ("birthday between 1980-01-01 and 1989-12-31", "birthday", "between", (date(1980, 1, 1), date(1989, 12, 31))),
        ("amount between 1, 2", "amount", "between", (Decimal(1), Decimal(2))),
        ("signed_up > 2024-05-01T09:30:00+02:00", "signed_up", ">", (datetime(2024, 5, 1, 7, 30, tzinfo=UTC),)),
        ("external_id = '; DROP TABLE x --", "external_id", "=", ("'; DROP TABLE x --",)),
    ],
)
def test_a_filter_is_typed_by_its_field(
    contacts: RecordType, text: str, field: str, operator: str, values: tuple[Any, ...]
) -> None:
    parsed = parse_filter(text, contacts)

    assert (parsed.field, parsed.operator, parsed.values) == (field, operator, values)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("amount", "'amount' is not a filter.", 'Write "field op value", where op is one of = != < <= > >= in'),
        ("height > 2", "contacts has no field 'height'.", "Its fields: external_id, first_name"),
        ("amount like 2", "'like' is not an operator.", "The operators: =, !=, <, <=, >, >=, in, contains, starts"),
        (
            "amount > much",
            "'much' is not a value of amount, which must be a number of at most 16 digits and 2 decimals.",
            "Write it as 1250.00.",
        ),
        (
            "birthday = 31/12/1980",
            "'31/12/1980' is not a value of birthday, which must be a date, written 2024-05-31.",
            "1985-12-10",
        ),
        ("amount contains 5", "contains is for text, and amount holds no text.", "Compare it with"),
        ("amount between 5", "'amount between 5' does not have two values.", "between LOW and HIGH"),
        (
            "status == lead",
            "'status == lead' has two equals signs.",
            'Write "status = lead". A value that begins with =',
        ),
        ("amount==5", "'amount==5' has two equals signs.", 'Write "amount = 5".'),
        ("status =", "'status =' has no value.", '"status is-null"'),
        ("status is-null maybe", "'status is-null maybe' is not a filter.", '"status is-null"'),
    ],
)
def test_an_invalid_filter_is_reported_with_what_is_valid(
    contacts: RecordType, text: str, message: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse_filter(text, contacts)

    assert error.value.message == message
    assert hint in error.value.hint


def test_an_order_ends_with_the_key_so_that_it_is_one_only(contacts: RecordType) -> None:
    assert parse_order((), contacts) == (Order("external_id"),)
    assert parse_order(("country", "amount desc"), contacts) == (
        Order("country"),
        Order("amount", descending=True),
        Order("external_id"),
    )
    assert parse_order(("external_id desc",), contacts) == (Order("external_id", descending=True),)


@pytest.mark.parametrize("texts", [("height",), ("amount down",), ("amount", "amount desc"), ("",)])
def test_an_invalid_order_is_refused(contacts: RecordType, texts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        parse_order(texts, contacts)


def test_timestamps_without_an_offset_are_in_utc() -> None:
    assert parse_timestamp("2024-05-31") == datetime(2024, 5, 31, tzinfo=UTC)
    assert parse_timestamp("2024-05-31T09:30:00+02:00") == datetime(2024, 5, 31, 7, 30, tzinfo=UTC)
    with pytest.raises(InvalidRequest, match="'yesterday' is neither a time nor the id of a batch or an export"):
        parse_timestamp("yesterday")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", ' a"b,\n'),
        ("amount", Decimal("-1.50")),
        ("birthday", date(1, 1, 1)),
        ("signed_up", datetime(2024, 5, 31, 9, 30, 0, 123456, tzinfo=UTC)),
    ],
)
def test_values_survive_as_text(contacts: RecordType, field: str, value: Any) -> None:
    assert parse_value(value_text(value), contacts.field(field)) == value
