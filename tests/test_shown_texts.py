"""Numbers of a workbook in fields of text: warned of if they are shown otherwise, and read so if the user says so."""

import io
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.imports import PreviewConfig
from resources.file_reader.chunk import TEXT_WITH_POINT
from resources.file_reader.excel import ExcelFile
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.arrivals import CommitPolicy
from schemas.batches import ImportRequest, OnInvalid
from tests.records import stored

CODES = ("General", "00000", '"+"0', "0.00", "# ?/?", "@", "yyyy-mm-dd")


def workbook(path: Path, *rows: tuple[tuple[object, str], ...], headers: tuple[str, ...]) -> Path:
    """Write a workbook of cells, each a value and its number format."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(headers))
    for number, row in enumerate(rows, 2):
        for column, (value, code) in enumerate(row, 1):
            cell = sheet.cell(number, column)
            cell.value = value  # type: ignore[assignment]
            cell.number_format = code
    book.save(path)
    return path


def contacts(path: Path, *keys: tuple[object, str]) -> Path:
    rows = [(key, ("lead", "General"), (491701234567, '"+"0'), (0.5, "0%")) for key in keys]
    return workbook(path, *rows, headers=("external_id", "status", "phone", "amount"))


def request(path: Path, **options: object) -> ImportRequest:
    return ImportRequest(path, "ua", "contacts", **options)  # type: ignore[arg-type]


def test_a_number_that_is_shown_otherwise_is_read_as_stored_and_warned_of(importer: Importer, tmp_path: Path) -> None:
    file = contacts(tmp_path / "in.xlsx", (42, "00000"), (7, "00000"), ("00001", "00000"), (12345, "00000"), (5, "@"))
    batch = importer.preview(request(file)).batch
    assert {(it.code.value, it.field, it.records, it.examples) for it in batch.warnings} == {
        ("shown_otherwise", "external_id", 2, ("42 shown as 00042", "7 shown as 00007")),
        ("shown_otherwise", "phone", 5, ("•••",)),
    }, "amounts are numbers, and a text is what it is"
    assert batch.warnings[0].sentence == (
        "`external_id`: the workbook shows 2 numbers as another text; --as-shown reads that text."
    )
    assert not CommitPolicy().commits(batch.counts, batch.warnings)


def test_the_texts_that_are_shown_are_read_and_this_is_remembered(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    first = importer.import_file(request(contacts(tmp_path / "1.xlsx", (42, "00000")), as_shown=True)).batch
    second = importer.import_file(request(contacts(tmp_path / "2.xlsx", (43, "00000")))).batch
    third = importer.preview(request(contacts(tmp_path / "3.xlsx", (44, "00000")), as_shown=False)).batch
    assert [(row["external_id"], row["phone"], str(row["amount"])) for row in stored(store)] == [
        ("00042", "+491701234567", "0.50"),
        ("00043", "+491701234567", "0.50"),
    ]
    assert first.warnings == second.warnings == ()
    assert ("Numbers in fields of text", "as the workbook shows them, as --as-shown says") in second.understood
    assert [it.code.value for it in third.warnings] == ["shown_otherwise"] * 2


def test_a_format_that_is_not_known_stays_a_warning(importer: Importer, tmp_path: Path) -> None:
    file = contacts(tmp_path / "in.xlsx", (0.5, "# ?/?"), (42, "00000"))
    batch = importer.preview(request(file, as_shown=True)).batch
    (warning,) = batch.warnings
    assert (warning.sentence, warning.examples) == (
        "`external_id`: 1 number has a format that is not known here; the stored number is read.",
        ("0.5 with the format # ?/?",),
    )


def test_the_rejects_file_has_the_texts_that_were_read(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    rows = [((number, "00000"), (status, "General")) for number, status in ((1, "lead"), (2, "VIP"))]
    file = workbook(tmp_path / "in.xlsx", *rows, headers=("external_id", "status"))
    report = importer.import_file(request(file, as_shown=True), OnInvalid.SKIP)
    assert report.rejects_file is not None
    sheet = openpyxl.load_workbook(str(report.rejects_file)).active
    assert sheet is not None
    assert [row[0] for row in sheet.iter_rows(values_only=True)] == ["external_id", "00002"]
    sheet["B2"] = "lead"
    assert sheet.parent is not None
    sheet.parent.save(tmp_path / "corrected.xlsx")
    importer.import_file(request(tmp_path / "corrected.xlsx"))
    assert [row["external_id"] for row in stored(store)] == ["00001", "00002"]


def test_a_workbook_of_the_default_format_has_no_number_formats(tmp_path: Path) -> None:
    content = contacts(tmp_path / "in.xlsx").read_bytes()
    plain = workbook(tmp_path / "plain.xlsx", ((1, "General"), ("x", "@")), headers=("a", "b"))
    with ExcelFile(io.BytesIO(plain.read_bytes()), "plain.xlsx") as book:
        assert book.number_formats == ()
        assert [chunk.formats.to_pylist() for chunk in book.chunks() if chunk.formats is not None] == [[[]]]
    assert content


NUMBERS_AS_TEXT = ("1.000", "€ 12.5", "0.5", "-1.5 %")
"""Texts that are marked: they look like numbers with a point."""
CELL = st.one_of(
    st.tuples(st.none(), st.sampled_from(CODES)),
    st.tuples(
        st.sampled_from([0, 7, 42, -3, 0.5, 1234.5, True, "00042", "x", "a.b", "a@1.5", "1.5.", *NUMBERS_AS_TEXT]),
        st.sampled_from(CODES),
    ),
)


@pytest.mark.parametrize("form", ["canonical", "unusual"])
@given(rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=40))
def test_both_parsers_find_the_format_of_each_number(
    tmp_path_factory: pytest.TempPathFactory, form: str, rows: list[tuple[tuple[object, str], ...]]
) -> None:
    """An attribute of rows with a line end in it is unusual: then expat parses them."""
    path = tmp_path_factory.mktemp("book") / "in.xlsx"
    expected = []
    for row in rows:
        cells = [
            (column, "text" if value in NUMBERS_AS_TEXT else code)
            for column, (value, code) in enumerate(row)
            if (type(value) in (int, float) and code in CODES[1:5]) or value in NUMBERS_AS_TEXT
        ]
        expected += [cells] if any(value is not None for value, _ in row) else []
    data = workbook(path, *rows, headers=("a", "b", "c")).read_bytes()
    with ExcelFile(io.BytesIO(data if form == "canonical" else unusual(data)), "in.xlsx") as book:
        codes = book.number_formats
        found = [
            [(cell["column"], "text" if cell["format"] == TEXT_WITH_POINT else codes[cell["format"]]) for cell in cells]
            for chunk in book.chunks()
            for cells in (chunk.formats.to_pylist() if chunk.formats is not None else [])
        ]
    assert found == expected


def unusual(data: bytes) -> bytes:
    """Return the workbook with a comment in each row, which only the parser of any row understands."""
    import zipfile

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, part.replace(b"</row>", b"<!-- --></row>") if "sheet1" in name else part)
    return made.getvalue()


def test_dagster_and_the_inbox_can_say_it() -> None:
    assert PreviewConfig(path="in.xlsx", as_shown=True).request().options.as_shown is True
    assert PreviewConfig(path="in.xlsx").request().options.as_shown is None
    assert CommitPolicy(as_shown=True).options.as_shown is True


@pytest.mark.parametrize("form", ["canonical", "unusual"])
@pytest.mark.parametrize(
    ("amounts", "asked"),
    [
        (("1.000", "2.500"), "2 numbers like 1.000"),
        ((1, "2.340", 12.5), "1 number like 2.340"),  # a number shows nothing about texts
        (("1.000", "12.5"), ""),
        ((1.234, 2), ""),
        (("1000", 2.125), ""),
    ],
)
def test_a_text_like_a_number_with_an_unclear_point_is_asked_about(
    importer: Importer, tmp_path: Path, form: str, amounts: tuple[object, ...], asked: str
) -> None:
    rows = [((f"K-{at}", "@"), ("lead", "@"), (amount, "General")) for at, amount in enumerate(amounts)]
    path = workbook(tmp_path / "in.xlsx", *rows, headers=("external_id", "status", "credit_limit"))
    if form == "unusual":
        path.write_bytes(unusual(path.read_bytes()))
    report = importer.preview(request(path))
    assert [it.sentence[: len(asked)] for it in report.questions] == ([asked] if asked else [])
    assert [it.option for it in report.questions] == [None] * bool(asked)
