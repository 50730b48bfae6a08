"""Reads filters (`field op value`), orders and timestamps that users write, as typed values."""

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
_DOUBLE = re.compile(r"\s*\w+\s*==")
"""What other languages write for `=`. It would look for a value that begins with `=`."""
_OF_TEXT = ("contains", "starts")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Filter:
    """A condition on one field.

    values: values of the field's type. `between` has two, `in` has one or more, the others have one. For `is-null` the
    value is a boolean: whether the field must be null.
    """

    field: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """A field to sort by. Nulls come last in both directions."""

    field: str
    descending: bool = False


def parse_filter(text: str, record_type: RecordType) -> Filter:
    """Returns the filter of a text such as `amount >= 100`. Raises InvalidRequest if the text is not a filter.

    `in` takes values with commas between them. `between` takes two values with "and" or a comma between them. A value
    that contains a comma must be in double quotes. `is-null` takes no value, or false for its opposite.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{text!r} is not a filter.", f'Write "field op value", where op is one of {" ".join(OPERATORS)}.'
        )
    field = field_of(found["field"], record_type)
    if _DOUBLE.match(text):
        rest = text.partition("==")[2].strip()
        raise InvalidRequest(
            f"{text!r} has two equals signs.",
            f'Write "{field.name} = {rest}". A value that begins with = is in double quotes: {field.name} = "={rest}".',
        )
    operator, value = found["operator"].strip(), found["value"].strip()
    if operator not in OPERATORS:
        raise InvalidRequest(f"{operator!r} is not an operator.", f"The operators: {', '.join(OPERATORS)}.")
    if operator == "is-null":
        if value.lower() not in ("", *_TRUE, *_FALSE):
            raise InvalidRequest(f"{text!r} is not a filter.", f'Write "{field.name} is-null" or "… is-null false".')
        return Filter(field.name, operator, (value.lower() not in _FALSE,))
    if operator in _OF_TEXT and field.type != "text":
        raise InvalidRequest(
            f"{operator} is for text, and {field.name} holds no text.", "Compare it with =, <, >, between."
        )
    if not value:
        raise InvalidRequest(f"{text!r} has no value.", f'To find empty values: "{field.name} is-null".')
    texts = _values(operator, value)
    if operator == "between" and len(texts) != 2:
        raise InvalidRequest(f"{text!r} does not have two values.", f'Write "{field.name} between LOW and HIGH".')
    return Filter(field.name, operator, tuple(parse_value(each, field) for each in texts))


def parse_order(texts: Sequence[str], record_type: RecordType) -> tuple[Order, ...]:
    """Returns the order of fields that may have " desc" after them. The key follows, so that the order is total."""
    orders = []
    for text in texts:
        name, *how = text.split() or [""]
        if how not in ([], ["asc"], ["desc"]):
            raise InvalidRequest(f"{text!r} is not an order.", 'Write "field" or "field desc".')
        orders.append(Order(field_of(name, record_type).name, how == ["desc"]))
    given = [order.field for order in orders]
    if len(set(given)) < len(given):
        raise InvalidRequest(f"A field is named twice in the order {', '.join(texts)}.", "Name each once.")
    return (*orders, *(Order(name) for name in record_type.key if name not in given))


def field_of(name: str, record_type: RecordType) -> Field:
    """Returns the field of that name. Raises InvalidRequest with the valid names if there is none."""
    if name not in record_type.field_names:
        raise InvalidRequest(
            f"{record_type.name} has no field {name!r}.", f"Its fields: {', '.join(record_type.field_names)}."
        )
    return record_type.field(name)


def parse_value(text: str, field: Field) -> Any:
    """Returns the text as a value of the field's type. Raises InvalidRequest with the valid form if it is not one."""
    try:
        return _parsed(text, field.type)
    except (ValueError, DecimalException):
        from schemas.parsing import type_in_words  # imports PyArrow

        raise InvalidRequest(
            f"{text!r} is not a value of {field.name}, which {type_in_words(field)}.",
            f"Write it as {field.example}." if field.example else "See records types.",
        ) from None


def value_text(value: Any) -> str:
    """Returns the text from which `parse_value` makes the value."""
    return (
        value.isoformat() if isinstance(value, date) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def parse_timestamp(text: str) -> datetime:
    """Returns the timestamp of an ISO 8601 text. Without an offset it is in UTC; a day means its beginning."""
    try:
        return _in_utc(text)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{text!r} is neither a time nor the id of a batch or an export.",
            "Write a time as 2024-05-31T09:30:00Z, or take an id from: records batches, records exports.",
        ) from None


def _in_utc(text: str) -> datetime:
    timestamp = datetime.fromisoformat(text)
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


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
        return _in_utc(text)
    if not (_WHOLE if kind == "integer" else _NUMBER).fullmatch(text):
        raise ValueError
    if kind == "integer":
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError
        return number
    return float(text) if kind == "float" else Decimal(text)
