"""Decimal signs: which numbers are read with which, what is said of the others, and that nothing is read in silence."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportRequest
from schemas.decimals import DecimalSigns
from schemas.errors import InvalidRequest
from schemas.parsing import parse_column
from schemas.record_type import Field, RecordType
from schemas.warnings import WarningCode
from tests.records import stored

AMOUNT = Field("amount", "decimal(18,2)")
TYPE = RecordType("x", "", (AMOUNT,), ("amount",), {})


def read(sign: str | None, *texts: str) -> list[Any]:
    values, _ = parse_column(pa.array(texts), AMOUNT, decimal=sign)
    return list(values.to_pylist())


def test_the_sign_decides_what_a_number_is() -> None:
    texts = (
        "1.234,50",
        "1 234,50",
        "1\u202f234,50",
        "1'234,50",
        "1234,5",
        "1.234",
        "-12,3",
        "+5",
        "1234.50",
        "1.23,4",
        "1.2345,0",
    )
    right = [
        *map(Decimal, ("1234.50", "1234.50", "1234.50", "1234.50", "1234.50", "1234", "-12.30", "5")),
        None,
        None,
        None,
    ]
    assert read(",", *texts) == right
    assert read(",", "0.123", "000.123", "012.345", "0,95") == [None, None, None, Decimal("0.95")]
    assert read(",", "1e3", "1,5E+2", "25e-1", "1.234e1", "1.5e1") == [
        *map(Decimal, ("1000", "150", "2.5")),
        None,
        None,
    ]
    turned = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    assert read(".", *turned) == [*right[:8], *([None] * 3)]
    assert read(None, *texts) == [None] * 5 + [None, None, Decimal(5), Decimal("1234.50"), None, None]


@given(
    st.decimals(Decimal("-9999999999999999.99"), Decimal("9999999999999999.99"), places=2),
    st.sampled_from([(",", "."), (",", " "), (",", "'"), (",", "\xa0"), (".", ","), (".", " "), (",", ""), (".", "")]),
)
def test_numbers_written_in_a_style_come_back(value: Decimal, style: tuple[str, str]) -> None:
    sign, thousands = style
    text = f"{value:,.2f}".replace(",", "T").replace(".", sign).replace("T", thousands)
    assert read(sign, text) == [value]


COMMA = "can only have a decimal comma (first: record 1)"
POINT = "can only have a decimal point and thousands separators (first: record 1)"


@pytest.mark.parametrize(
    ("sign", "texts", "sentence"),
    [
        (None, ["1.234,50", "12,5"], f"2 numbers {COMMA}. With --decimal , they are read."),
        (None, ["1,234.50"], f"1 number {POINT}. With --decimal . they are read."),
        (None, ["1,234"], "1 number could have a decimal comma or thousands separators. Say which: --decimal , or"),
        (None, ["1,5", "1,234"], f"1 number {COMMA}; 1 number could be either. With --decimal , they are read."),
        (None, ["1,5", "1,234.5"], "1 number with a decimal comma (first: record 1), 1 number with a decimal point"),
        (",", ["1234.50", "1,5"], None),
        (",", ["1,234.50"], f"1 number {POINT}. With --decimal . they are read."),
        (None, ["abc", "", "1e99", "12345678901234567890"], None),
    ],
)
def test_numbers_of_another_sign_are_warned_of(sign: str | None, texts: list[str], sentence: str | None) -> None:
    signs = DecimalSigns(TYPE, ("amount",), sign)
    values, _ = parse_column(pa.array(texts), AMOUNT, decimal=sign)
    signs.add(pa.table({"amount": texts}), pa.table({"amount": values}), pa.array(range(1, len(texts) + 1)))
    found = [it.sentence.removeprefix("`amount`: ") for it in signs.warnings()]
    assert len(found) == (sentence is not None)
    assert sentence is None or found[0].startswith(sentence)


def test_a_german_file_is_read_with_the_options_that_its_preview_names_and_next_week_without(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def file(week: int) -> Path:
        path = tmp_path / f"{week}.csv"
        path.write_text(f"external_id;status;amount;birthday\nG-{week};lead;1.234,50;31.12.1985\n")
        return path

    preview = importer.preview(ImportRequest(file(1), "ua", "contacts"))
    warned = {it.code: it.sentence for it in preview.batch.warnings}
    assert warned[WarningCode.DECIMAL_STYLE].endswith("With --decimal , they are read.")
    assert warned[WarningCode.DATE_ORDER].endswith("--date-order dmy.")
    assert [it.examples for it in preview.batch.warnings if it.field == "amount"] == [("1.234,50",)]
    importer.import_file(ImportRequest(file(1), "ua", "contacts", decimal=",", date_order="dmy"))  # type: ignore[arg-type]
    importer.import_file(ImportRequest(file(2), "ua", "contacts"))
    assert [(it["amount"], f"{it['birthday']}") for it in stored(store)] == [(Decimal("1234.50"), "1985-12-31")] * 2


def test_a_decimal_sign_is_for_delimited_text_alone(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    records = [{"external_id": f"J-{amount}", "status": "lead", "amount": amount} for amount in (1.234, 1.5)]
    path.write_text(json.dumps(records))
    preview = importer.preview(ImportRequest(path, "ua", "contacts", decimal=","))
    assert (preview.batch.counts.rejected, preview.samples[0].value) == (1, "1.234"), "numbers of JSON have a point"
    assert preview.batch.warnings == ()
    path.write_text(json.dumps([{"external_id": "J-3", "status": "lead", "amount": "1,5"}]))
    (warning,) = importer.preview(ImportRequest(path, "ua", "contacts")).batch.warnings
    assert warning.sentence.startswith("`amount`: 1 text like a number with a decimal comma or thousands separators.")
    with pytest.raises(InvalidRequest, match="';' is no decimal sign"):
        ImportRequest(path, "ua", "contacts", decimal=";")
