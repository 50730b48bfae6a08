"""Filters on records, `field op value`, and orders to put them in: from the words of a person to typed values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, DecimalException
from typing import Any

from schemas.errors import InvalidRequest
from schemas.record_type import Field, RecordType

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "contains", "starts", "is-null", "between")
_FORM = re.compile(
    r"\s*(?P<field>\w+)\s*(?P<operator>!=|<=|>=|=|<|>|\s[a-z-]+)(?:\s+|(?<=[=<>])|$)(?P<value>.*)", re.DOTALL
)
_OF_TEXT = ("contains", "starts")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Filter:
    """A condition on one field. `values` are of the field's type: one, or as many as `in` lists, or two of `between`.

    For `is-null` the value is whether the field must be null, or must not.
    """

    field: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """A field to sort by. Nulls come last, whichever way."""

    field: str
    descending: bool = False


def parse_filter(text: str, record_type: RecordType) -> Filter:
    """The filter that a text like `amount >= 100` means.

    `in` takes values with commas between, `between` two of them with "and" or a comma between; what has a comma in
    itself stands in double quotes. `is-null` takes none, or false for its opposite. Raises InvalidRequest, with what
    is valid, for anything else.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{text!r} is no filter.", f'Write "field op value", where op is one of {" ".join(OPERATORS)}.'
        )
    field = field_of(found["field"], record_type)
    operator, value = found["operator"].strip(), found["value"].strip()
    if operator not in OPERATORS:
        raise InvalidRequest(f"{operator!r} is no operator.", f"The operators: {', '.join(OPERATORS)}.")
    if operator == "is-null":
        if value.lower() not in ("", *_TRUE, *_FALSE):
            raise InvalidRequest(f"{text!r} is no filter.", f'Write "{field.name} is-null" or "… is-null false".')
        return Filter(field.name, operator, (value.lower() not in _FALSE,))
    if operator in _OF_TEXT and field.type != "text":
        raise InvalidRequest(
            f"{operator} is for text, and {field.name} is of type {field.type}.", "Compare it with =, <, >, between."
        )
    if not value:
        raise InvalidRequest(f"{text!r} has no value.", f'For what is empty: "{field.name} is-null".')
    texts = _values(operator, value)
    if operator == "between" and len(texts) != 2:
        raise InvalidRequest(f"{text!r} has not two values.", f'Write "{field.name} between LOW and HIGH".')
    return Filter(field.name, operator, tuple(parse_value(each, field) for each in texts))


def parse_order(texts: Sequence[str], record_type: RecordType) -> tuple[Order, ...]:
    """The fields to sort by, each with " desc" behind it or not; after them the key, so that the order is one only."""
    orders = []
    for text in texts:
        name, *how = text.split() or [""]
        if how not in ([], ["asc"], ["desc"]):
            raise InvalidRequest(f"{text!r} is no order.", 'Write "field" or "field desc".')
        orders.append(Order(field_of(name, record_type).name, how == ["desc"]))
    given = [order.field for order in orders]
    if len(set(given)) < len(given):
        raise InvalidRequest(f"A field is named twice in the order {', '.join(texts)}.", "Name each once.")
    return (*orders, *(Order(name) for name in record_type.key if name not in given))


def field_of(name: str, record_type: RecordType) -> Field:
    """The field of that name, or InvalidRequest with the names there are."""
    if name not in record_type.field_names:
        raise InvalidRequest(
            f"{record_type.name} has no field {name!r}.", f"Its fields: {', '.join(record_type.field_names)}."
        )
    return record_type.field(name)


def parse_value(text: str, field: Field) -> Any:
    """The text as a value of the field's type; InvalidRequest, with the form it must have, when it is none."""
    try:
        return _parsed(text, field.type)
    except (ValueError, DecimalException):
        raise InvalidRequest(
            f"{text!r} is no value of {field.name}, which is of type {field.type}.",
            f"Write it as {field.example}." if field.example else "See records types.",
        ) from None


def value_text(value: Any) -> str:
    """The text that `parse_value` makes that value of."""
    return (
        value.isoformat() if isinstance(value, date) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def parse_moment(text: str) -> datetime:
    """The moment that an ISO 8601 text names; without an offset it is in UTC, and a day is its first moment."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{text!r} is neither a moment nor the id of a batch or an export.",
            "Write a moment as 2024-05-31T09:30:00Z, or take an id from: records batches, records exports.",
        ) from None


def _values(operator: str, text: str) -> list[str]:
    if operator == "between" and len(ends := re.split(r"\s+and\s+", text, flags=re.IGNORECASE)) == 2:
        return [_unquoted(end) for end in ends]
    if operator not in ("in", "between"):
        return [_unquoted(text)]
    listed = re.findall(r'\s*("(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)', text)
    return [_unquoted(each) for each in listed if each]


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _parsed(text: str, kind: str) -> Any:
    if kind == "text":
        return text
    text = text.strip()
    if kind == "boolean":
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ValueError
        return text.lower() in _TRUE
    if kind == "date":
        return date.fromisoformat(text)
    if kind == "timestamp":
        moment = datetime.fromisoformat(text)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    if not (_WHOLE if kind == "integer" else _NUMBER).fullmatch(text):
        raise ValueError
    if kind == "integer":
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError
        return number
    return float(text) if kind == "float" else Decimal(text)
