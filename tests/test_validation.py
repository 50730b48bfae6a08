"""Validation finds each planted error and no other."""

import time
import unicodedata
from typing import Any

import pandera.pandas as pandera
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.characters import is_unseen
from schemas.contacts import Contacts
from schemas.model import Integer, RecordModel, Text, field
from schemas.rules import rule_in_words
from schemas.validation import SEEN, SEEN_KEY, Failures, validate
from tests.examples import tried

GOOD = {
    "external_id": "C-1",
    "first_name": "Ada",
    "email": "ada@example.org",
    "country": "GB",
    "status": "customer",
    "amount": "1250.00",
    "credit_limit": "0",
    "birthday": "1985-12-10",
    "signed_up": "2024-05-01T09:30:00Z",
}

EMAIL = "must be an e-mail address"
COUNTRY = "must be two capital letters, as GB"
STATUS = "must be one of lead, prospect, customer, churned"
LENGTH = "must have 1 to 64 characters"
MONEY = "must be a number of at most 16 digits and 2 decimals"


def _contacts(size: int, **columns: list[str]) -> pa.Table:
    """Return so many valid contacts, except for the given columns."""
    return pa.table({name: pa.array(columns.get(name, [value] * size), pa.string()) for name, value in GOOD.items()})


def _plain(failures: list[Failures]) -> list[tuple[str | None, str, str, list[int], list[Any]]]:
    return [(it.field, it.rule, it.expected, it.rows.to_pylist(), it.values.to_pylist()) for it in failures]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("K-1 ", "K-1␣"),
        ("  K 1", "␣␣K 1"),
        ("K-1\xa0", "K-1[U+00A0]"),
        ("K\u202f1", "K[U+202F]1"),
        ("\u3000K-1", "[U+3000]K-1"),
        ("K-1\n", "K-1[U+000A]"),
        ("K\x85", "K[U+0085]"),
        ("\ufeffK", "[U+FEFF]K"),
        ("K\u200b1", "K[U+200B]1"),
        ("क\u200cष", "क[U+200C]ष"),
        ("❤\ufe0f", "❤[U+FE0F]"),
        ("C\0", "C[U+0000]"),
    ],
)
def test_a_key_with_a_character_that_is_not_seen_is_rejected_and_shown(key: str, text: str) -> None:
    typed, failures = validate(Contacts, _contacts(3, external_id=["K 1", key, "山田\u3000é"]))
    assert _plain(failures) == [("external_id", "unseen", SEEN_KEY, [1], [text])]
    assert typed["external_id"].to_pylist() == ["K 1", key, "山田\u3000é"], "no text is changed"


ANY_CHARACTER = st.one_of(st.characters(codec="utf-8"), st.sampled_from("\u2000\u200d\u3164\ufe0f \u3000"))


@given(st.text(ANY_CHARACTER, min_size=1, max_size=64))
def test_a_key_is_accepted_if_all_of_it_is_seen(key: str) -> None:
    """Fonts draw a box for unassigned and private characters. Between others, U+0020 and U+3000 are seen."""
    drawn = ("Cn", "Co")
    inside = key.strip().replace(" ", "").replace("\u3000", "")
    hidden = key != key.strip() or any(is_unseen(it) and unicodedata.category(it) not in drawn for it in inside)
    _, failures = validate(Contacts, _contacts(1, external_id=[key]))
    assert [it.rule for it in failures] == (["unseen"] if hidden else [])


def test_fields_with_a_pattern_see_invisible_characters_and_others_keep_them() -> None:
    emails = ["a\xa0@ex.org", "\u200ba@ex.org", "a@ex\x8e.org", "a\u3000@ex.org", "zoë@ex.org"]
    texts = _contacts(5, email=emails, first_name=[f" {email}" for email in emails])
    texts = texts.set_column(0, "external_id", pa.array([f"C-{number}" for number in range(5)]))
    typed, failures = validate(Contacts, texts)
    shown_ = ["a[U+00A0]@ex.org", "[U+200B]a@ex.org", "a@ex[U+008E].org"]
    assert _plain(failures) == [("email", "unseen", SEEN, [0, 1, 2], shown_)]
    assert typed["first_name"].to_pylist() == [f" {email}" for email in emails]


def test_good_records_have_no_failures_and_typed_values() -> None:
    typed, failures = validate(Contacts, _contacts(3))
    assert failures == []
    assert typed.num_rows == 3
    assert {
        name: str(typed.schema.field(name).type) for name in ("external_id", "amount", "birthday", "signed_up")
    } == {
        "external_id": "string",
        "amount": "decimal128(18, 2)",
        "birthday": "date32[day]",
        "signed_up": "timestamp[us, tz=UTC]",
    }


@pytest.mark.parametrize("row", [0, 999], ids=["first", "last"])
@pytest.mark.parametrize(
    ("name", "bad", "rule", "expected"),
    [
        ("external_id", "", "required", "must not be empty"),
        ("external_id", "x" * 65, "str_length", LENGTH),
        ("email", "ada", "str_matches", EMAIL),
        ("email", "ada@exam\nple.org", "str_matches", EMAIL),
        ("country", "g", "str_matches", COUNTRY),
        ("country", "GBR", "str_matches", COUNTRY),
        ("status", "", "required", "must not be empty"),
        ("status", "Kunde", "isin", STATUS),
        ("amount", "-0.01", "greater_than_or_equal_to", "must be 0 or more"),
        ("credit_limit", "-5", "greater_than_or_equal_to", "must be 0 or more"),
        ("amount", "1.239", "type", MONEY),
        ("birthday", "1985-02-30", "type", "must be a date, written 2024-05-31 (there is no such day)"),
    ],
)
def test_a_broken_rule_is_found_where_it_was_planted(row: int, name: str, bad: str, rule: str, expected: str) -> None:
    column = [GOOD[name]] * 1000
    column[row] = bad
    _, failures = validate(Contacts, _contacts(1000, **{name: column}))
    assert _plain(failures) == [(name, rule, expected, [row], [bad])]


def test_equal_neighbours_are_each_reported() -> None:
    countries = ["GB", "xx", "xx", "xx", "GB", "xx", "xx"]
    _, failures = validate(Contacts, _contacts(7, country=countries))
    assert _plain(failures) == [("country", "str_matches", COUNTRY, [1, 2, 3, 5, 6], ["xx"] * 5)]


def test_everything_wrong_with_a_chunk_is_reported_at_once() -> None:
    texts = _contacts(3, country=["xx", "GB", "xx"], amount=["-1", "many", "2"], status=["gone", "lead", ""])
    _, failures = validate(Contacts, texts)
    assert sorted(_plain(failures)) == [
        ("amount", "greater_than_or_equal_to", "must be 0 or more", [0], ["-1"]),
        ("amount", "type", MONEY, [1], ["many"]),
        ("country", "str_matches", COUNTRY, [0, 2], ["xx", "xx"]),
        ("status", "isin", STATUS, [0], ["gone"]),
        ("status", "required", "must not be empty", [2], [""]),
    ]


class Readings(RecordModel):
    """Readings of a meter."""

    meter: Text = field("Meter.", required=True)
    value: Integer = field("Value.", required=True, ge=0, null_markers=("NA",))

    class Config:
        name = "readings"
        metadata = {"key": ("meter",)}


def test_a_required_value_of_the_wrong_type_breaks_no_other_rule() -> None:
    texts = pa.table({"meter": ["a", "b", "c", "d", "e"], "value": ["1", "many", "", "-1", "NA"]})
    typed, failures = validate(Readings, texts)
    assert typed.to_pydict() == {"meter": ["a", "b", "c", "d", "e"], "value": [1, None, None, -1, None]}
    assert sorted(_plain(failures)) == [
        ("value", "greater_than_or_equal_to", "must be 0 or more", [3], ["-1"]),
        ("value", "required", "must not be empty", [2, 4], ["", "NA"]),
        ("value", "type", "must be a whole number, at most 9223372036854775807", [1], ["many"]),
    ]


@settings(max_examples=tried(40))
@given(st.lists(st.sampled_from(["1", "0", "many", "-1", "", "NA", "1.5"]), min_size=1))
def test_whatever_is_planted_comes_back(values: list[str]) -> None:
    _, failures = validate(Readings, pa.table({"meter": ["a"] * len(values), "value": values}))
    rules = {"many": "type", "1.5": "type", "-1": "greater_than_or_equal_to", "": "required", "NA": "required"}
    planted = {(rules[value], row, value) for row, value in enumerate(values) if value in rules}
    found = [
        (it.rule, row, value)
        for it in failures
        for row, value in zip(it.rows.to_pylist(), it.values.to_pylist(), strict=True)
    ]
    assert set(found) == planted
    assert len(found) == len(planted)


def test_only_the_mapped_fields_are_checked() -> None:
    typed, failures = validate(Contacts, pa.table({"country": ["GB", "xx"], "external_id": ["C-1", "C-2"]}))
    assert typed.to_pydict() == {"country": ["GB", "xx"], "external_id": ["C-1", "C-2"]}
    assert _plain(failures) == [("country", "str_matches", COUNTRY, [1], ["xx"])]


def test_no_records_have_no_failures() -> None:
    typed, failures = validate(Contacts, _contacts(0))
    assert (typed.num_rows, failures) == (0, [])


def test_a_required_column_of_200_000_empty_texts_is_reported_in_full_and_soon() -> None:
    size, started = 200_000, time.process_time()
    _, failures = validate(Contacts, _contacts(size, status=[""] * size))
    assert [(it.field, it.rule, it.rows.to_pylist()) for it in failures] == [("status", "required", list(range(size)))]
    assert time.process_time() - started < 5


def test_600_000_nulls_in_one_chunk_take_seconds_at_most() -> None:
    """pandera#652: lazy validation of many nulls did not end in useful time."""
    size, started = 600_000, time.process_time()
    texts = pa.table({name: pa.repeat("", size) for name in ("external_id", "email", "status", "amount")})
    _, failures = validate(Contacts, texts)
    assert [(it.field, it.rule, len(it.rows)) for it in failures] == [
        ("external_id", "required", size),
        ("status", "required", size),
    ]
    assert time.process_time() - started < 10


def test_a_check_that_cannot_run_stops_the_validation() -> None:
    class Broken(RecordModel):
        """A check that raises."""

        id: Text = field("Id.", required=True)

        @pandera.check("id", name="broken")
        def broken(cls, values: Any) -> Any:  # noqa: N805
            raise ZeroDivisionError

        class Config:
            name = "broken"
            metadata = {"key": ("id",)}

    with pytest.raises(TypeError, match="of id did not run"):
        validate(Broken, pa.table({"id": ["a"]}))


Check = pandera.Check


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Check.equal_to(3), "must be 3"),
        (Check.not_equal_to(3), "must not be 3"),
        (Check.greater_than(1), "must be more than 1"),
        (Check.greater_than_or_equal_to(0), "must be 0 or more"),
        (Check.less_than(1), "must be less than 1"),
        (Check.less_than_or_equal_to(1), "must be 1 or less"),
        (Check.in_range(1, 5), "must be from 1 to 5"),
        (Check.in_range(1, 5, include_min=False), "must be more than 1 and 5 or less"),
        (Check.in_range(1, 5, include_max=False), "must be 1 or more and less than 5"),
        (Check.isin(["b", "a"]), "must be one of b, a"),
        (Check.notin(["b", "a"]), "must not be one of b, a"),
        (Check.str_matches("^a"), "must match ^a"),
        (Check.str_contains("a"), "must contain a"),
        (Check.str_startswith("a"), "must start with a"),
        (Check.str_endswith("a"), "must end with a"),
        (Check.str_length(1, 5), "must have 1 to 5 characters"),
        (Check.str_length(min_value=1000), "must have at least 1,000 characters"),
        (Check.str_length(max_value=1000), "must have at most 1,000 characters"),
        (Check.str_length(exact_value=3), "must have 3 characters"),
        (Check.ge(0, error="must not be a debt"), "must not be a debt"),
        (Check(bool, name="even"), "must pass even"),
        (Check(bool, name="even", description="must be even"), "must be even"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_rule_in_words(check: pandera.Check, words: str) -> None:
    assert rule_in_words(check) == words
