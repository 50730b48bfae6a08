"""Cleaning changes only texts that break a rule, and only where one value can be meant."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cleaning import CleanedValues
from schemas.contacts import Contacts
from schemas.model import Boolean, Date, Float, Money, RecordModel, Text, field
from schemas.record_type import RecordType
from schemas.validation import validate
from schemas.warnings import WarningCode


class Orders(RecordModel):
    """Orders, with a field for each way of cleaning."""

    id: Text = field("Identifier.", required=True, isin=["a", "b"])
    size: Text = field("Size.", isin=["S", "s", "L"], value_aliases={"L": ("large",)})
    code: Text = field("Code.", str_matches=r"^[A-Z]{3}$", casefold=True)
    mail: Text = field("Address.", str_matches=r"^\S+@\S+$")
    plain: Text = field("Address.", str_matches=r"^\S+@\S+$", strip=False)
    name: Text = field("Name.", strip=True, required=True)
    note: Text = field("Note.")
    country: Text = field("Country.", country=True, str_matches="^[A-Z]{2}$")
    price: Money = field("Price.", currency=True)
    tax: Float = field("Tax.", percent="fraction")
    rate: Float = field("Rate.", percent="points")
    paid: Boolean = field("Whether it is paid.", labels={"true": ("bezahlt",)}, value_aliases={"false": ("offen",)})
    day: Date = field("Day.")

    class Config:
        name = "orders"
        metadata = {"key": ("id",)}


def cleaned(name: str, *texts: str, decimal: str | None = None) -> tuple[list[Any], list[str], CleanedValues]:
    """Return the values of a column, the values with problems, and what was cleaned."""
    counts = CleanedValues()
    typed, failures = validate(Orders, pa.table({name: pa.array(texts, pa.string())}), decimal=decimal, cleaned=counts)
    return typed[name].to_pylist(), [value for it in failures for value in it.values.to_pylist()], counts


@pytest.mark.parametrize(
    ("name", "text", "value", "kinds"),
    [
        ("size", " l\n", "L", ["spaces removed", "case changed"]),
        ("size", "s", "s", []),
        ("size", "LARGE ", "L", ["spaces removed", "read by another text of the type"]),
        ("code", "abc", "ABC", ["case changed"]),
        ("mail", " a@b ", "a@b", ["spaces removed"]),
        ("mail", "   ", None, ["spaces removed"]),
        ("name", "\xa0Ada  B ", "Ada  B", ["spaces removed"]),
        ("note", " kept ", " kept ", []),
        ("country", "gb", "GB", ["case changed"]),
        ("price", "€ 1234.50", "1234.50", ["currency signs removed"]),
        ("price", "1234.5\u202fUSD", "1234.50", ["currency signs removed"]),
        ("price", "-US$5", "-5.00", ["currency signs removed"]),
        ("price", " 5 kr. ", "5.00", ["spaces removed", "currency signs removed"]),
        ("tax", "15 %", "0.15", ["percent signs read"]),
        ("tax", "-0.5%", "-0.005", ["percent signs read"]),
        ("rate", "15 %", "15.0", ["percent signs read"]),
        ("paid", "Bezahlt", "True", ["read by another text of the type"]),
        ("paid", "offen", "False", ["read by another text of the type"]),
        ("day", " 2024-05-31 ", "2024-05-31", ["spaces removed"]),
    ],
)
def test_a_harmless_difference_is_cleaned_and_counted(
    name: str, text: str, value: str | None, kinds: list[str]
) -> None:
    good = {"price": "1", "tax": "1", "rate": "1", "paid": "true", "day": "2024-01-01", "country": "DE", "code": "ABC"}
    values, problems, counts = cleaned(name, text, good.get(name, "L" if name == "size" else "x@y"), text)
    assert problems == []
    assert [str(values[0]), values[2]] == [str(value), values[0]]
    assert [str(it) for it in counts.counts] == [f"2 {name}: {kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", " a"),
        ("id", "A"),
        ("code", "aBCd"),
        ("mail", "a@b\xa0"),
        ("mail", "\u200ba@b"),
        ("plain", "a@b "),
        ("name", "  "),
        ("country", "xx"),
        ("country", "Germany"),
        ("price", "€ 5 $"),
        ("price", "5 ABC"),
        ("price", "15 %"),
        ("price", "(5)"),
        ("price", "€-"),
        ("tax", "€ 5"),
        ("tax", "1%%"),
        ("paid", "vielleicht"),
    ],
)
def test_what_could_mean_something_else_is_rejected_as_it_is(name: str, text: str) -> None:
    _, problems, counts = cleaned(name, text)
    assert problems[0] in (text, "a@b[U+00A0]", "[U+200B]a@b", "␣a")
    assert [it for it in counts.counts if it.kind != "spaces"] == []


def test_two_values_that_differ_in_case_alone_are_not_chosen_between() -> None:
    class Sizes(RecordModel):
        """Sizes."""

        id: Text = field("Identifier.", required=True)
        size: Text = field("Size.", isin=["Ab", "aB", "c"])

        class Config:
            name = "sizes"
            metadata = {"key": ("id",)}

    typed, failures = validate(Sizes, pa.table({"size": ["ab", "C"]}))
    assert [it.rows.to_pylist() for it in failures] == [[0]]
    assert typed["size"].to_pylist() == ["ab", "c"]


def test_signs_go_with_the_decimal_sign_that_was_said() -> None:
    assert str(cleaned("price", "€ 1.234,50", decimal=",")[0][0]) == "1234.50"
    assert str(cleaned("price", "1,234.50 USD", decimal=".")[0][0]) == "1234.50"
    assert cleaned("tax", "1.200,5 %", decimal=",")[0] == [12.005]


def test_signs_that_a_field_may_not_have_are_named() -> None:
    texts = pa.table({"amount": ["5 %"], "credit_limit": ["5 EUR %"], "external_id": ["a"]})
    expected = [it.expected for it in validate(Contacts, texts)[1]]
    assert expected[0].endswith(", without a percent sign")
    assert validate(Orders, pa.table({"tax": ["€ 5"]}))[1][0].expected.endswith(", without a currency sign")


@pytest.mark.parametrize(
    ("name", "text", "decimal", "expected"),
    [
        ("price", "€ 1.234", None, "must be a number of at most 16 digits and 2 decimals"),
        ("tax", "1,5 %", None, "must be a number, with a point for the decimals"),
        ("tax", "1.5", ",", "must be a number, with a comma for the decimals"),
        ("rate", "1e400", None, "must not be too large for a number of 64 bits"),
        ("rate", "1,5e400", ",", "must not be too large for a number of 64 bits"),
        ("rate", "-1e-324", None, "must not be too small for a number of 64 bits"),
        ("rate", "0x1", None, "must be a number, with a point for the decimals"),
    ],
)
def test_the_reason_that_is_named_is_the_right_one(name: str, text: str, decimal: str | None, expected: str) -> None:
    failures = validate(Orders, pa.table({name: [text]}), decimal=decimal)[1]
    assert [it.expected for it in failures] == [expected]


def test_several_currencies_in_a_column_are_a_warning() -> None:
    counts = cleaned("price", "€ 5", "$ 5", "7 €")[2]
    assert [(it.code, it.records) for it in counts.warnings()] == [(WarningCode.SEVERAL_CURRENCIES, 3)]
    assert list(cleaned("price", "€ 5", "6")[2].warnings()) == []


TEXTS = st.one_of(
    st.sampled_from(
        ["lead", "Lead", " CUSTOMER ", "gb", "DE ", " a@b.cd", "a@b.cd", "€ 5", "5 EUR", "5", "", " ", "15%"]
    ),
    st.text(max_size=6),
)
FIELDS = ("email", "country", "status", "amount", "birthday", "notes")


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)), min_size=1, max_size=5))
def test_valid_values_are_never_changed_and_cleaning_is_idempotent(rows: list[dict[str, str]]) -> None:
    texts = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in FIELDS})
    counts = CleanedValues()
    typed, failures = validate(Contacts, texts, cleaned=counts)
    broken = {(it.field, row) for it in failures for row in it.rows.to_pylist()}
    for name in ("email", "country", "status", "notes"):
        values = typed[name].to_pylist()
        pairs = [(row[name], values[at]) for at, row in enumerate(rows) if (name, at) not in broken]
        changed = sum(value is not None and value != text for text, value in pairs)
        blank = sum(value is None and text != "" for text, value in pairs)
        assert max([it.records for it in counts.counts if it.field == name], default=0) <= changed + blank
        again = CleanedValues()
        accepted = pa.table({name: pa.array([value for _, value in pairs], pa.string()).fill_null("")})
        typed_again, failures_again = validate(Contacts, accepted, cleaned=again)
        assert typed_again[name].to_pylist() == [value for _, value in pairs]
        assert [it for it in failures_again if it.rule != "required"] == []
        assert again.counts == (), "a valid value is not touched"


def test_a_type_says_how_values_are_written_and_keeps_it_as_json() -> None:
    record_type = Orders.record_type()
    assert RecordType.from_json(record_type.to_json()) == record_type
    size = record_type.field("size")
    assert (size.choices, size.casefold, size.value_aliases) == (("S", "s", "L"), True, (("large", "L"),))
    assert not record_type.field("id").casefold, "keys are never cleaned"


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"isin": ["a"], "labels": {"b": ("x",)}}, "names the value 'b', which it does not allow; valid: a"),
        ({"isin": ["a", "b"], "labels": {"a": ("x",), "b": ("X",)}}, "has 'X' for two values"),
        ({"isin": ["a", "b"], "value_aliases": {"a": ("b",)}}, "has 'b' for two values"),
        ({"currency": True}, "has currency, which is for numbers"),
        ({"percent": "half"}, "has percent, which is for numbers"),
    ],
)
def test_a_contradiction_in_a_type_is_a_sentence(made: dict[str, Any], sentence: str) -> None:
    class Wrong(RecordModel):
        """Wrong."""

        id: Text = field("Identifier.", required=True)
        value: Text = field("Value.", **made)

        class Config:
            name = "wrong"
            metadata = {"key": ("id",)}

    with pytest.raises(TypeError, match=sentence):
        Wrong.record_type()


def test_a_key_cannot_be_cleaned() -> None:
    class Wrong(RecordModel):
        """Wrong."""

        id: Text = field("Identifier.", required=True, strip=True)

        class Config:
            name = "wrong"
            metadata = {"key": ("id",)}

    with pytest.raises(TypeError, match="is a key and has strip; keys are never changed"):
        Wrong.record_type()
