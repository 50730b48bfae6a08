"""Rules and warnings on the German pages: each has a translation, and what has none stays in English."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.web.rendering import plain
from pipelines.web.texts import languages
from resources.file_reader import FileReader
from schemas import load_record_types, plausibility
from schemas.cleaning import CleanedValues
from schemas.dates import DateOrders
from schemas.decimals import DecimalSigns
from schemas.parsing import type_in_words
from schemas.plausibility import Plausibility
from schemas.reading import DateOrder
from schemas.record_type import RecordType
from schemas.rules import _RULES, _length, _range
from schemas.validation import NO_SIGN
from schemas.warnings import WarningCode

ROOT = Path(__file__).parent.parent.parent
GERMAN = languages()["de"].translated
_OF_CELLS = re.compile(r'"(must (?:[^"{}\\]|\\.)*)"')
_IN_CODE = (
    "schemas/validation.py", "schemas/contacts.py", "resources/importing/failed_rows.py",
    "resources/importing/last_lines.py", "resources/importing/change_column.py",
    "resources/file_reader/json_records/walk.py", "resources/file_reader/parquet/texts.py",
    "resources/file_reader/excel/cells.py", "resources/file_reader/excel/dates.py",
    "resources/record_store/comparison.py",
)  # fmt: skip


def rules() -> Iterator[str]:
    """Yield every rule in words: of pandera, of the types, and those that the code writes itself."""
    limits = {"value": 1, "min_value": 2, "max_value": 3, "pattern": "^x$", "string": "x"}
    limits |= {"allowed_values": ["a", "b"], "forbidden_values": ["c"]}
    for words in _RULES.values():
        yield words(limits)
    for both in ({}, {"include_min": False}, {"include_max": False}, {"include_min": False, "include_max": False}):
        yield _range({"min_value": 1, "max_value": 2} | both)
    for length in ({"exact_value": 1200}, {"min_value": 1}, {"max_value": 2}, {"min_value": 1, "max_value": 2}):
        yield _length(length)
    for field in of_all_types().fields:
        if field.type != "text":
            yield type_in_words(field)
            yield from (type_in_words(field, order) for order in DateOrder)
        if field.type.startswith("decimal"):
            yield from (type_in_words(field) + more for more in NO_SIGN.values())
    for name in _IN_CODE:
        text = (ROOT / name).read_text("utf-8")
        yield from (it for it in _OF_CELLS.findall(text.replace("'must", '"must').replace("',", '",')) if " " in it)
    yield "must have 1,200 fields, as the header has"


def of_all_types() -> RecordType:
    (contacts,) = [it for it in load_record_types() if it.name == "contacts"]
    return contacts


def warnings() -> Iterator[tuple[WarningCode, str]]:
    """Yield warnings of every code, as the code writes them."""
    record_type = of_all_types()
    found = Plausibility(record_type, record_type.field_names, ())
    for code in plausibility._HAVE:
        found.add_examples(record_type.key[0], code, 1, ["x"])
        found.add_examples("notes", code, 1_200, ["x"])
    found.floats = ("notes",)
    yield from ((it.code, it.sentence) for it in found.warnings(stored=3))

    cleaned = CleanedValues({})
    cleaned._currencies["amount"] = Counter({"€": 2, "$": 1})
    yield from ((it.code, it.sentence) for it in cleaned.warnings())

    for texts in (["1,5"], ["1.234,5", "1,234.5"], ["1,234"], ["1,5", "1,234"], ["1'234.50"]):
        for said in (True, False):
            signs = DecimalSigns(record_type, ("amount",), None, can_be_said=said)
            signs.add(*columns("amount", texts))
            yield from ((it.code, it.sentence) for it in signs.warnings())
    for texts in (["13/01/2024"], ["01/13/2024"], ["13/01/2024", "01/13/2024"], ["01/02/2024"], ["2024/13/01"],
                  ["2024/05/31"], ["13/01/2024", "01/02/2024"]):  # fmt: skip
        orders = DateOrders(record_type, ("birthday",), None)
        orders.add(*columns("birthday", texts))
        yield from ((it.code, it.sentence) for it in orders.warnings())


def columns(name: str, texts: list[str]) -> tuple[pa.Table, pa.Table, pa.Array]:
    values = pa.table({name: pa.nulls(len(texts), pa.string())})
    return pa.table({name: pa.array(texts, pa.string())}), values, pa.array(range(1, len(texts) + 1))


def test_every_rule_has_a_german_sentence() -> None:
    found = {plain(it) or it for it in rules()}

    assert len(found) > 60
    assert {it for it in found if not GERMAN.has(it)} == set()


def test_how_a_file_is_read_is_said_in_german(tmp_path: Path) -> None:
    rows = "id;name\n1;Zo\xeb\n2;Bj\xf6rn\n"
    contents = {
        "a.csv": rows.encode("cp1252"), "b.csv": rows.encode("utf-16"), "c.csv": ("Contacts\n\n" + rows).encode(),
        "d.json": b'[{"id": 1}]', "e.json": b'{"results": [{"id": 1}, {"id": 2}]}', "f.json": b'{"id": 1}\n{"id": 2}\n',
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with FileReader(tmp_path / name) as reader:
            found = [part for said in reader.understood for part in said if part.strip('"') and not part.isdigit()]
        assert {it for it in found if not GERMAN.has(it)} == set()


def test_every_warning_has_a_german_sentence() -> None:
    found = list(warnings())

    assert {plain(it) for _, it in found if not GERMAN.has(plain(it))} == set()
    assert {code for code, _ in found} == set(WarningCode) - {WarningCode.FOOTER, WarningCode.SHOWN_OTHERWISE}


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("must have 1,200 characters", "muss 1.200 Zeichen haben"),
        ("must be one of lead, {x}", "muss eine dieser Angaben sein: lead, {x}"),
        ("must be a date, written 2024-05-31 (there is no such day)",
         "muss ein Datum sein, geschrieben 2024-05-31 (diesen Tag gibt es nicht)"),
        ("`notes`: 1 value has white space at an edge; it is kept.",
         "`notes`: 1 Werte mit Leerzeichen am Rand; es bleibt erhalten."),
        ("The last 2 lines look like no records, and are rejected.",
         "Die letzten 2 Zeilen sehen nicht nach Datensätzen aus und werden zurückgewiesen."),
        ("`a`: the workbook shows 1,000 numbers as another text.",
         "`a`: die Arbeitsmappe zeigt 1.000 Zahlen als anderen Text."),
        ("`a`: 1 number has a format that is not known here; the stored number is read.",
         "`a`: 1 Zahlen haben ein Format, das hier nicht bekannt ist; die gespeicherte Zahl wird gelesen."),
        ("must be liked by our accountant", "must be liked by our accountant"),
    ],
)  # fmt: skip
def test_a_sentence_keeps_its_values(english: str, german: str) -> None:
    assert GERMAN(english) == german


def test_an_english_page_has_the_sentences_as_they_are() -> None:
    assert languages()["en"].translated("must be 0 or more") == "must be 0 or more"
    assert plain("`a`: 1 value has an apostrophe before = + - or @, as exports write it; --unescape removes it.") == (
        "`a`: 1 value has an apostrophe before = + - or @, as exports write it."
    )
