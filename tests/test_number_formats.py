"""What a number format shows of a number: LibreOffice shows the same texts, unless a comment says otherwise."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.number_formats import shown_number, shown_numbers

SHOWN = [
    ("42", "00000", "00042"),
    ("0", "00000", "00000"),
    ("-42", "00000", "-00042"),
    ("1234567", "00000", "1234567"),
    ("491701234567", '"+"0', "+491701234567"),
    ("42", "\\C\\-000000", "C-000042"),
    ("1", '"C-"000000', "C-000001"),
    ("301234567", "0##########", "0301234567"),
    ("30123456789", "0##########", "30123456789"),
    ("123456", "000-000", "123-456"),
    ("1234567", "000-000", "1234-567"),
    ("42", "000\\ 000", "000 042"),
    ("15551234567", "+0 (000) 000-0000", "+1 (555) 123-4567"),
    ("5551234", "###-####", "555-1234"),
    ("0.15", "0%", "15%"),
    ("0.125", "0.0%", "12.5%"),
    ("12.345", "0.00", "12.35"),
    ("1.005", "0.00", "1.01"),
    ("2.5", "0", "3"),
    ("-2.5", "0", "-3"),
    ("7", "0.00", "7.00"),
    ("0.5", "#.##", ".5"),
    ("5", "0.0#", "5.0"),
    ("1.25", "0.0##", "1.25"),
    ("7", "0.##", "7."),  # LibreOffice shows no point
    ("1234567.5", "#,##0.00", "1,234,567.50"),
    ("123", "#,##0", "123"),
    ("0", "#,##0", "0"),
    ("42", "000,000", "000,042"),
    ("1500000", '0.0,,"M"', "1.5M"),
    ("1234.5", '#,##0.00 "€"', "1,234.50 €"),
    ("1234.5", "#,##0.00 [$€-407]", "1,234.50 €"),
    ("1234.5", "[$$-409]#,##0", "$1,235"),
    ("-5", "0;(0)", "(5)"),
    ("-5", "0.0_);[Red](0.0)", "(5.0)"),
    ("0", '0;-0;"none "0', "none 0"),
    ("0", "0;(0)", "0"),
    ("100000", "0.00E+00", "1.00E+05"),
    ("0.00012", "0.0E+00", "1.2E-04"),
    ("999999", "0.0E+00", "1.0E+06"),
    ("100000", "0E-0", "1E5"),
    ("12345678901234567890", "0", "12345678901234567890"),  # programs show 15 digits, and zeros
]


@pytest.mark.parametrize(("number", "code", "text"), SHOWN)
def test_a_number_is_shown_as_its_format_says(number: str, code: str, text: str) -> None:
    assert shown_number(number, code) == text
    assert shown_numbers(pa.array([number, "1", number]), code).to_pylist()[::2] == [text, text]


@pytest.mark.parametrize(
    "code",
    [
        "# ?/?",
        "##0.0E+0",
        "[>100]0;0.0",
        "* 0",
        "yyyy",
        "0;;",
        "0.0-0",
        "",
        "x0",
        "currency",
        '"open',
        "0" * 256,
        '"nil"',
    ],
)
def test_of_another_format_nothing_is_known(code: str) -> None:
    assert shown_number("-5", code) is None
    assert shown_numbers(pa.array(["-5"]), code).null_count == 1


@pytest.mark.parametrize("text", ["1E+40", "x", "", "#N/A", "true"])
def test_of_what_is_no_plain_number_nothing_is_known(text: str) -> None:
    assert shown_number(text, "0") is None


def test_a_rounded_zero_below_zero_is_not_known() -> None:
    """Excel shows -0.00, others 0.00."""
    assert shown_number("-0.001", "0.00") is None


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=3),
    st.text(st.sampled_from('0#?,.%E+-;"\\_*[]$€ xR'), max_size=12),
)
def test_any_code_gives_a_text_or_nothing(number: Decimal, code: str) -> None:
    text = f"{number:f}"
    shown = shown_number(text, code)
    assert shown is None or isinstance(shown, str)
    assert shown_numbers(pa.array([text]), code).to_pylist() == [shown]


@given(st.integers(0, 10**60), st.integers(1, 20))
@example(10**40 + 1, 5)
def test_zeros_give_a_number_at_least_as_many_digits(number: int, zeros: int) -> None:
    assert shown_number(str(number), "0" * zeros) == str(number).zfill(zeros)
