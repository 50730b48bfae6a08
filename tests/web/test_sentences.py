"""Rules and warnings on the German pages: each has a translation, and what has none stays in English."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import schemas.errors
from pipelines.web.rendering import plain
from pipelines.web.texts import languages
from resources.file_reader import FileReader
from resources.file_reader.formats import _ARCHIVES
from resources.file_reader.formats.foreign import KINDS
from resources.file_reader.header_row import SECOND_HEADER, above_header
from schemas import load_record_types, plausibility
from schemas.cleaning import CleanedValues
from schemas.dates import DateOrders
from schemas.decimals import DecimalSigns
from schemas.errors import (
    CatalogOutdated,
    CommitUnknown,
    DamagedFile,
    ForeignData,
    ImplausibleClock,
    NoDeployment,
    NotAccessible,
    OutOfMemory,
    RecordsError,
    StoreNotReady,
    Unaccounted,
)
from schemas.parsing import type_in_words
from schemas.plausibility import Plausibility
from schemas.reading import DateOrder
from schemas.record_type import RecordType
from schemas.rules import _RULES, _length, _range
from schemas.validation import BEYOND, NO_SIGN
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


_WITH_ERRORS = (
    "pipelines/web/*.py", "pipelines/web/views/*.py", "resources/uploads.py", "resources/deliveries_file.py",
    "resources/system_errors.py", "resources/file_reader/**/*.py",
    "resources/importing/*.py", "resources/export_writer/formats/*.py", "resources/export_writer/plan.py",
    "resources/record_store/refusals.py", "resources/record_store/selection.py", "resources/record_store/presets.py",
    "schemas/batches.py", "schemas/blanks.py", "schemas/filters.py", "schemas/mapping.py", "schemas/quotas.py",
    "schemas/unclear_points.py",
)  # fmt: skip
"""Where the questions and the errors are that a page can show."""
_OF_OTHERS = {
    "api.py", "health.py", "files.py", "value_mappings.py", "used_values.py", "origin.py",
    "header_row.py", "options.py",
}  # fmt: skip
"""Modules with errors for programs and for operators."""
_OF_OPERATORS = (
    StoreNotReady, ForeignData, CatalogOutdated, ImplausibleClock, DamagedFile, Unaccounted, CommitUnknown,
    NoDeployment, OutOfMemory, NotAccessible,
)  # fmt: skip
"""Errors that an operator mends."""


def sample(value: ast.expr) -> str:
    """What stands in a place of a sentence: a number, or a rule or a kind that has a translation of its own."""
    said = ast.unparse(value)
    return "must be text" if "type_in_words" in said else "a PDF" if "kind" in said else "7"


def literals(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression can be, with a number in place of each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else sample(part) for part in node.values)
        yield re.sub(r"^7 (?=[A-Z])|(?<=\.) 7$|^(Say )?7\.$", "", text)  # a value that is a sentence of its own
    elif isinstance(node, ast.IfExp):
        yield from (text for it in (node.body, node.orelse) for text in literals(it))


def questions_and_errors() -> Iterator[str]:
    """Yield each sentence of a question, and of an error that a page can show."""
    errors = {
        name
        for name, kind in vars(schemas.errors).items()
        if isinstance(kind, type) and issubclass(kind, RecordsError) and not issubclass(kind, _OF_OPERATORS)
    }
    for pattern in _WITH_ERRORS:
        for path in sorted(ROOT.glob(pattern)):
            for node in () if path.name in _OF_OTHERS else ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id in errors | {"NotSignedIn", "NotAllowed", "TooLarge", "Failed"}:
                        yield from (text for it in node.args[:2] for text in literals(it))
                    elif node.func.id == "Question":
                        yield from literals(node.args[0])
    yield from (text for what, hint in _ARCHIVES.values() for text in (f"a.zip is {what}.", hint))
    yield from (text for kind in KINDS for text in (f"a.pdf is {kind.what}.", kind.hint))
    yield from (SECOND_HEADER.sentence, above_header([3], 2, "row").sentence)
    yield above_header([3], 1, "line").sentence


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
            yield type_in_words(field, decimal=",")
        if field.type.startswith("decimal"):
            yield from (type_in_words(field) + more for more in NO_SIGN.values())
    yield from BEYOND.values()
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


def test_every_question_and_error_of_a_page_has_a_german_sentence() -> None:
    found = {it for it in map(plain, questions_and_errors()) if re.search("[A-Za-z]", it)}

    assert len(found) > 250
    assert sorted(it for it in found if not GERMAN.has(it)) == []


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
        ("x.pdf is a PDF. Its records cannot be read. Save its table as .xlsx or .csv, and import that.",
         "x.pdf ist ein PDF. Ihre Datensätze lassen sich nicht lesen. Speichern Sie die Tabelle daraus als .xlsx oder "
         ".csv, und importieren Sie diese."),
        ("empty.csv is empty.", "empty.csv ist leer."),
        ("8 of 1,300 records are rejected.", "8 von 1.300 Datensätzen sind zurückgewiesen."),
        ("Row 3 is perhaps not the header: 2 rows above it are left out.",
         "Zeile 3 ist vielleicht nicht die Kopfzeile: Was darüber steht, wird weggelassen (2 Zeilen)."),
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
