"""Values that are valid and look like mistakes: each is warned of, with its code, count and first examples."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.importing.importer import Importer
from resources.record_store import RecordStore, batch_detail
from schemas.batches import OnInvalid
from schemas.characters import code_points
from schemas.contacts import Contacts
from schemas.model import Float, RecordModel, Text, field
from schemas.plausibility import (
    _DATE,
    _DAY,
    _IN_ALL,
    _IN_KEYS,
    _IN_OTHERS,
    _NOT_SEEN,
    Plausibility,
    _like_dates,
    _suspects,
)
from schemas.validation import fields_with, validate
from schemas.warnings import BatchWarning, WarningCode
from tests.records import contact, contacts_of, put, write_csv

TYPE = Contacts.record_type()


def found(field: str, *values: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the count and the examples of each warning about a column, read in two chunks."""
    plausibility = Plausibility(TYPE, (field,), fields_with(Contacts, "str_matches", "isin"))
    for part in (values[:1], values[1:]):
        texts = pa.table({field: pa.array(part, pa.string())})
        plausibility.add(texts, validate(Contacts, texts)[0])
    return {it.code.value: (it.records, it.examples) for it in plausibility.warnings()}


@pytest.mark.parametrize(
    ("field", "bad", "code"),
    [
        ("external_id", "1001.0", "looks_like_float"),
        ("phone", "301234.0", "looks_like_float"),
        ("external_id", "4.91701E+11", "scientific_notation"),
        ("phone", "5e-05", "scientific_notation"),
        ("external_id", "05-Dec", "looks_like_date"),
        ("external_id", "2-Sep", "looks_like_date"),
        ("external_id", "Dez 05", "looks_like_date"),
        ("external_id", "2026-12-05", "looks_like_date"),
        ("external_id", "2026-12-05 00:00:00", "looks_like_date"),
        *(
            ("external_id", text, "looks_like_date")
            for text in (
                "Sep-2",
                "Mar 1",
                "1-Mar-24",
                "05-Dec-2024",
                "1/2/2024",
                "05.12.2024",
                "2024/12/05",
                "02.09.",
                "10:30:00",
                "9:05",
            )
        ),
        ("external_id", "1234567890123456000", "digits_lost"),
        ("phone", "4917012345678900", "digits_lost"),
        ("external_id", '="00123"', "equals_quoted"),
        ("phone", '="+4917012345"', "equals_quoted"),
        ("external_id", "15 %", "percentage"),
        ("external_id", "\u041a-1", "look_alike"),
        ("external_id", "K\u20111", "look_alike"),
        ("company", '"Acme"', "in_quotes"),
        ("external_id", "'K-1'", "in_quotes"),
        ("phone", "'+49 30", "escaped_formula"),
        ("company", "NULL", "word_for_nothing"),
        ("company", "\\N", "word_for_nothing"),
        ("company", "nan", "word_for_nothing"),
        ("company", "#N/A", "word_for_nothing"),
        ("amount", "1.5E+2", "scientific_notation"),
        ("external_id", "4,91701E+11", "scientific_notation"),
        ("external_id", "4.91701E11", "scientific_notation"),
        ("external_id", "1.23E5", "scientific_notation"),
        ("external_id", "=00123", "equals_quoted"),
        ("external_id", "'00123", "equals_quoted"),
        ("company", "(null)", "word_for_nothing"),
        ("company", "<NA>", "word_for_nothing"),
        ("company", "undefined", "word_for_nothing"),
        ("company", "####", "word_for_nothing"),
        ("company", "#NV", "word_for_nothing"),
    ],
)
def test_a_value_that_looks_like_a_mistake_is_warned_of(field: str, bad: str, code: str) -> None:
    good = "1.5" if field == "amount" else "A-1"
    assert found(field, bad, good, bad) == {code: (2, (code_points(bad),))}


@pytest.mark.parametrize(
    ("bad", "code", "example"),
    [
        (" Acme", "edge_space", "␣Acme"),
        ("Ac\xa0me", "invisible", "Ac[U+00A0]me"),
        ("Ac\u200bme", "invisible", "Ac[U+200B]me"),
        ("Ac\0me", "invisible", "Ac[U+0000]me"),
        ("Ac\x92me", "wrong_encoding", "Ac[U+0092]me"),
        ("Jos\ufffd", "wrong_encoding", "Jos\ufffd"),
        *(
            (it.encode().decode("cp1252"), "wrong_encoding", it.encode().decode("cp1252"))
            for it in ("José", "50 °", "\u2019")
        ),
        *(
            (it.encode().decode(codec), "wrong_encoding", it.encode().decode(codec))
            for it, codec in (("żółw", "cp1250"), ("Zoë", "mac_roman"), ("Zoë", "cp437"), ("Łódź", "mac_roman"))
        ),
        ("Иван".encode().decode("cp1251", "replace"), "wrong_encoding", "Иван".encode().decode("cp1251", "replace")),
        ("Üb".encode().decode("cp1252"), "wrong_encoding", "Üb".encode().decode("cp1252")),
    ],
)
def test_a_character_that_is_not_seen_is_kept_and_warned_of(bad: str, code: str, example: str) -> None:
    assert found("company", bad, "Acme") == {code: (1, (example,))}


@pytest.mark.parametrize(
    "good",
    [
        "Zo\xeb",
        "x\ny",
        "\u5c71\u7530\u3000",
        "\u0915\u200c\u0937",
        "\u2764\ufe0f",
        "O'Hara",
        '5" pipe',
        "-5",
        "Null",
        "SÃO",
        "Â",
        "РЎ",
        "PĂIUŞ",
        "√2",
        "a ≈ b",
        "'68",
    ],
)
def test_usual_texts_give_no_warning(good: str) -> None:
    assert found("company", good.strip(), "1.0", "1E10", "15%", "v1.0") == {}


def test_a_value_that_is_rejected_for_such_a_character_gives_no_warning() -> None:
    assert found("status", "lead\xa0") == found("email", "a@ex.org\xa0") == found("external_id", "K\xa0") == {}


def test_keys_that_are_all_dates_with_years_give_no_warning() -> None:
    assert (
        found("external_id", "2026-12-05", "2026-12-06") == found("external_id", "05-ABC", "ABC-05", "1-May-be") == {}
    )
    assert found("external_id", "05-Dec", "2-Sep") == {"looks_like_date": (2, ("05-Dec", "2-Sep"))}


def test_long_numbers_that_do_not_all_end_in_zeros_give_no_warning() -> None:
    assert found("external_id", "1234567890123450", "1234567890123456") == found("external_id", "123456789012340") == {}


def test_keys_of_another_alphabet_give_no_warning() -> None:
    assert found("external_id", "\u041a\u0438\u0440\u0438\u043b\u043b-1", "\u5c71-1") == {}


@given(st.lists(st.one_of(st.text(max_size=9), st.text(st.sampled_from("\"'=+-1.0eE%NUL\\#/A \xa0\x85"), max_size=9))))
def test_every_value_that_a_pattern_finds_is_suspect(values: list[str]) -> None:
    """The look at the bytes only saves time."""
    texts = pa.array(["sliced off", *values], pa.string())[1:]
    suspects = set(_suspects(texts).to_pylist())
    for pattern in {**_IN_ALL, **_IN_OTHERS, **_NOT_SEEN}.values(), _IN_KEYS.values():
        for one in pattern:
            assert set(texts.filter(pa.compute.match_substring_regex(texts, one)).to_pylist()) <= suspects


_DATES = st.one_of(*(st.from_regex(it, fullmatch=True, alphabet=st.characters(codec="utf-8")) for it in (_DATE, _DAY)))


@given(st.lists(st.one_of(_DATES, st.text(max_size=9))))
def test_every_date_is_looked_at(values: list[str]) -> None:
    texts = pa.array(["sliced off", *values], pa.string())[1:]
    for pattern in _DATE, _DAY:
        dates = texts.filter(pa.compute.match_substring_regex(texts, pattern))
        assert {*dates.to_pylist()} <= {*_like_dates(texts).to_pylist()}


def test_keys_are_compared_with_stored_ones(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    put(store, "SELECT unnest(['1001', '1002', '00123', '0456', '456']) AS external_id, 'lead' AS status")
    ids = ["1001.0", "1002.0", "1003.0", "123", "456", "789"]
    batch = importer.preview(
        contacts_of(write_csv(tmp_path / "a.csv", [contact(1, external_id=it) for it in ids]))
    ).batch
    assert batch.warnings == (
        BatchWarning(
            WarningCode.LOOKS_LIKE_FLOAT,
            "external_id",
            3,
            "`external_id`: 3 values have .0 at the end, as if a program had read them as numbers; "
            "without it, 2 of them match a stored key.",
            ("1001.0", "1002.0", "1003.0"),
        ),
        BatchWarning(
            WarningCode.LEADING_ZEROS,
            "external_id",
            1,
            "`external_id`: 1 value has the digits of a stored one without the zeros at its beginning.",
            ("123",),
        ),
    )


def test_personal_values_are_masked_and_the_ledger_keeps_warnings(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    rows = [contact(1, phone="4.9E+11", company='"Acme"', notes=f"{'x' * 70}\xa0")]
    batch = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", rows)), OnInvalid.SKIP).batch
    examples = {it.code.value: it.examples for it in batch.warnings}
    assert examples == {
        "in_quotes": ('"Acme"',),
        "scientific_notation": ("•••",),
        "edge_space": ("•••",),
        "invisible": ("•••",),
    }
    assert store.account("ua").batch(batch.batch_id) == batch
    json_ = store.account("ua").report(batch.batch_id).to_dict()["warnings"]
    assert [list(it) for it in json_] == [["code", "field", "records", "sentence", "examples"]] * 4


def test_warnings_of_earlier_versions_are_read(importer: Importer, tmp_path: Path) -> None:
    batch = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)]))).batch
    detail = json.loads(batch_detail.to_json(batch)) | {"warnings": ["`day`: 3 dates could be either."]}
    older = replace(batch, **batch_detail.from_json(json.dumps(detail)))
    assert older.warnings == (BatchWarning(WarningCode.DATE_ORDER, None, 0, "`day`: 3 dates could be either."),)


class Measured(RecordModel):
    """Records with a field of floating-point numbers."""

    number: Text = field("The number of the sample.", example="1", required=True)
    length: Float = field("How long it is.", example="1.5")

    class Config:
        """The type's name and key."""

        name = "measured"
        metadata = {"key": ("number",)}


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [
        ("123456789012345678", True),
        ("9007199254740993", True),
        ("-9007199254740993", True),
        ("9007199254740993.0", True),
        ("1234567890.123456789", True),
        ("9007199254740992", False),
        ("12345678901234500000", False),
        ("0.10000000000000001", False),  # as C writes 0.1
        ("0.30000000000000004", False),
        ("1234567890.1234567000", False),
        ("00000000000000000000.5", False),
        ("no number, but long", False),
        ("", False),
    ],
)
def test_digits_that_a_floating_point_number_does_not_keep_are_warned_of(text: str, is_lost: bool) -> None:
    plausibility = Plausibility(Measured.record_type(), ("length",), ())
    texts = pa.table({"length": pa.array(["1.5", text, None], pa.string())})
    plausibility.add(texts, validate(Measured, texts)[0])
    has = "more digits than a floating-point number keeps, so the last ones are lost"
    expected = [BatchWarning(WarningCode.DIGITS_LOST, "length", 1, f"`length`: 1 value has {has}.", (text,))]
    assert [*plausibility.warnings()] == (expected if is_lost else [])


def test_keys_that_are_floating_point_numbers_in_parquet_are_warned_of(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    put(store, "SELECT '1001' AS external_id, 'lead' AS status")
    columns = {"external_id": [1001.0, 1002.5, 1003.0], "status": ["lead"] * 3, "phone": [301234.0, None, None]}
    pq.write_table(pa.table(columns | {"amount": [1.0, 2.0, 3.0]}), tmp_path / "in.parquet")
    batch = importer.preview(contacts_of(tmp_path / "in.parquet")).batch
    has = "the type of floating-point numbers in the file, so zeros and digits may be lost"
    assert [(it.code.value, it.sentence, it.examples) for it in batch.warnings] == [
        (
            "looks_like_float",
            f"`external_id`: 3 values have {has}; 1 of them match a stored key.",
            ("1001", "1002.5", "1003"),
        ),
        ("looks_like_float", f"`phone`: 1 value has {has}.", ("•••",)),
    ]


def test_a_text_that_would_lose_the_zeros_of_the_stored_one_is_warned_of(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    put(store, "SELECT 'C-' || unnest([1, 2, 3]) AS external_id, 'lead' AS status, '00123' AS company")
    rows = [
        contact(1, external_id=f"C-{number}", company=company)
        for number, company in enumerate(("123", "00123", "0123", "123"), 1)
    ]
    batch = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", rows))).batch
    assert [(it.code.value, it.sentence, it.examples) for it in batch.warnings] == [
        (
            "leading_zeros",
            "`company`: 1 value has the digits of a stored one without the zeros at its beginning.",
            ("123",),
        )
    ]
