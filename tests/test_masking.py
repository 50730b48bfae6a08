"""What a message says about a value that it may not show."""

import pytest

from schemas.batches import RowProblem
from schemas.masking import masked_value, safe_hint

ADDRESS, NUMBER = "must be an e-mail address", "must be a whole number, at most 9223372036854775807"


@pytest.mark.parametrize(
    ("value", "expected", "hint"),
    [
        ("ada.example.org", ADDRESS, "no @"),
        ("ada@example.org ", ADDRESS, "ends with a space"),
        (" ada@example.org", ADDRESS, "begins with a space"),
        ("ada@example@org.uk", ADDRESS, "more than one @"),
        ("ada@example", ADDRESS, "no dot after the @"),
        ("ada b@example.org", ADDRESS, "a space inside"),
        ("12 apples", NUMBER, "has letters"),
        ("a\nb", "must have at most 2 characters", "has a line break"),
        ("a\u200bb", "must have at most 2 characters", "has an invisible character"),
        ("VIP", "must be one of lead, prospect", ""),
    ],
)
def test_a_hint_says_what_is_wrong_and_quotes_nothing(value: str, expected: str, hint: str) -> None:
    assert safe_hint(value, expected) == hint
    assert masked_value(value, expected) == (f"••• ({hint})" if hint else "•••")


def test_a_value_is_shown_with_its_unseen_characters() -> None:
    found = RowProblem(1, 2, "status", "isin", "must be one of A", "A\u200b\xa0 ")
    assert found.message() == "`status` must be one of A; record 1 (line 2) has A[U+200B][U+00A0]␣"
