"""The parts that read a row cell by cell: the text of a cell, and the records made of rows."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from resources.file_reader.chunk import CellProblem, MalformedRecord
from resources.file_reader.excel.cells import CellTexts, InvalidCell, ProblemText
from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.package import Package
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.records import RecordCollector
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Kind
from resources.file_reader.excel.text_spool import TextSpool
from schemas.errors import UnreadableFile

KINDS: dict[str | None, Kind] = {None: "number", "1": "date", "2": "time", "3": "elapsed"}


@pytest.fixture
def progress() -> Iterator[Progress]:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("part", b"")
    limits = ExcelLimits(cell_characters=20, columns=5, empty_rows=3, row_characters=30)
    package = Package(content, "book.xlsx", limits)
    yield Progress(package, "Sheet", limits)
    package.close()


@pytest.fixture
def texts(progress: Progress) -> CellTexts:
    spool = TextSpool()
    spool.put(pa.array(["zero", "one"]))
    return CellTexts(progress, SharedStrings(spool, False, 4), KINDS, False)


@pytest.mark.parametrize(
    ("value", "cell_type", "style", "formula", "expected"),
    [
        (None, None, None, None, ""),
        ("", "str", None, "A1", ""),
        ("12", None, None, None, "12"),
        ("012", "n", None, None, "12"),
        ("1.1000000000000001", None, None, None, "1.1"),
        ("0.30000000000000004", None, None, "0.1+0.2", "0.3"),
        ("1", "s", None, None, "one"),
        ("a_x000D_", "str", None, None, "a\r"),
        ("45443", None, "1", None, "2024-05-31"),
        ("0.5", None, "2", None, "12:00:00"),
        ("1.5", None, "3", None, "36:00:00"),
        ("7", None, "unheard of", None, "7"),
        ("1", "b", None, None, "true"),
        ("2024-05-31T00:00:00", "d", None, None, "2024-05-31"),
    ],
)
def test_a_cell_has_the_text_that_its_type_and_style_say(
    texts: CellTexts, value: str | None, cell_type: str | None, style: str | None, formula: str | None, expected: str
) -> None:
    assert texts.text(value, cell_type, style, formula) == expected
    assert texts.text(value, cell_type, style, formula) == expected  # the date now comes from the cache


@pytest.mark.parametrize(
    ("value", "cell_type", "style", "formula", "text", "rule", "shown"),
    [
        (None, None, None, "1+1", "", "formula_without_value", "=1+1"),
        ("x", None, None, None, "x", "not_a_number", "x"),
        ("x", None, "1", None, "x", "not_a_number", "x"),
        ("60", None, "1", None, "1900-02-29", "no_such_date", "1900-02-29"),
        ("#N/A", "e", None, None, "#N/A", "error_cell", "#N/A"),
        ("never", "d", None, None, "never", "no_such_date", "never"),
    ],
)
def test_a_cell_without_an_equivalent_text_is_a_problem(
    texts: CellTexts, value: str, cell_type: str, style: str, formula: str, text: str, rule: str, shown: str
) -> None:
    found = texts.text(value, cell_type, style, formula)
    assert isinstance(found, ProblemText)
    assert (found.text, found.rule, found.value) == (text, rule, shown)
    assert found.expected.startswith("must ")


@pytest.mark.parametrize(
    ("value", "cell_type", "why"),
    [
        ("2", "s", "names a shared text that is not there, and the workbook has 2"),
        ("-1", "s", "names a shared text that is not there, and the workbook has 2"),
        ("x" * 21, "str", "has more than 20 characters"),
        ("x" * 21, "n", "has more than 20 characters"),
        ("x", "z", "is of a type that Excel does not have"),
    ],
)
def test_a_cell_that_refuses_the_sheet_says_why(texts: CellTexts, value: str, cell_type: str, why: str) -> None:
    with pytest.raises(InvalidCell) as raised:
        texts.text(value, cell_type, None, None)
    assert raised.value.why == why


def test_cells_of_an_unknown_style_are_counted(texts: CellTexts, progress: Progress) -> None:
    for style in ("9", "9", "1"):
        texts.text("7", None, style, None)
    assert progress.unknown_styles == 2


def _row(collector: RecordCollector, row: int, cells: dict[int, str | ProblemText], *, hidden: bool = False) -> None:
    collector.begin_row()
    for column, text in cells.items():
        if isinstance(text, str):
            collector.add(column, text)
        else:
            collector.add_problem(column, text)
    collector.end_row(row, hidden=hidden)


def test_rows_become_a_header_records_and_malformed_records(progress: Progress) -> None:
    collector = RecordCollector(progress)
    wrong = ProblemText("#N/A", "error_cell", "must be a value, not an error", "#N/A")
    _row(collector, 1, {})
    _row(collector, 2, {1: "a", 3: "c"})
    assert (progress.headers, progress.header_row, collector.is_empty) == (("a", "", "c"), 2, True)
    _row(collector, 3, {2: "x"}, hidden=True)
    _row(collector, 5, {1: wrong, 3: "y"})
    _row(collector, 6, {1: wrong, 3: "z", 5: "beyond"})
    collector.begin_row()
    collector.add(2, "open")
    collector.add_problem(3, replace(wrong, text=""))
    assert (collector.cells, collector.open_characters) == (2 * 3 + 2 + 5, 4)

    chunk = collector.take()
    assert chunk.values.to_pydict() == {"0": ["", "#N/A"], "1": ["x", ""], "2": ["", "y"]}
    assert (chunk.records.to_pylist(), chunk.lines.to_pylist()) == ([1, 2], [3, 5])
    assert chunk.cells == (CellProblem(1, 0, wrong.rule, wrong.expected, wrong.value),)
    assert chunk.malformed == (MalformedRecord(3, 6, 5, ("#N/A", "", "z", "", "beyond")),)
    assert (collector.values, progress.read, progress.hidden, progress.last_filled) == (6, 3, 1, 6)

    collector.end_row(7, hidden=False)
    rest = collector.take()
    assert (rest.values.to_pydict(), rest.lines.to_pylist()) == ({"0": [""], "1": ["open"], "2": [""]}, [7])
    assert rest.cells == (CellProblem(0, 2, wrong.rule, wrong.expected, wrong.value),)


def test_a_problem_in_the_header_a_gap_and_a_long_row_are_refused(progress: Progress) -> None:
    wrong = ProblemText("", "formula_without_value", "must have a value", "=1")
    with pytest.raises(UnreadableFile, match=r"sheet 'Sheet': B1 is a header, and must have a value."):
        _row(RecordCollector(progress), 1, {1: "a", 2: wrong})
    collector = RecordCollector(progress)
    progress.last_filled = 0
    _row(collector, 1, {1: "a"})
    with pytest.raises(UnreadableFile, match=r"row 6 has a value after 4 empty rows."):
        _row(collector, 6, {1: "x"})
    with pytest.raises(UnreadableFile, match=r"row 2 has more than 30 characters of text."):
        _row(collector, 2, {1: "x" * 15, 2: "y" * 16})
