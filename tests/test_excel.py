"""Untrusted workbooks: every cell is read with its meaning, or the file is refused."""

import io
import os
import re
import resource
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resources.file_reader.chunk import MalformedRecord
from resources.file_reader.excel import ExcelFile, ExcelLimits
from resources.file_reader.excel.numbers import number_text
from resources.file_reader.excel.styles import _format_kind
from schemas.errors import InvalidRequest, RecordsError, UnreadableFile
from tests.examples import tried

CORPORA = Path(os.environ.get("RECORDS_CORPORA") or Path(__file__).parents[2] / "shared/corpora")
WORKBOOKS = sorted(
    path
    for corpus in ("calamine_xlsx", "readxl_xlsx")
    for path in (CORPORA / corpus).rglob("*.xls?")
    if path.suffix in (".xlsx", ".xlsm")
)
needs_corpora = pytest.mark.skipif(not CORPORA.is_dir() and not os.environ.get("CI"), reason="no corpora")


class Whole:
    """Everything that the reader reads from a sheet."""

    def __init__(self, content: bytes | Path, **options: Any) -> None:
        content = content if isinstance(content, bytes) else content.read_bytes()
        self.rows: list[tuple[str, ...]] = []
        self.records: list[int] = []
        self.lines: list[int] = []
        self.malformed: list[MalformedRecord] = []
        self.problems: list[tuple[int, int, str, str]] = []
        self.chunks: list[int] = []
        with ExcelFile(io.BytesIO(content), "book.xlsx", **options) as book:
            self.headers, self.sheet, self.sheets = book.headers, book.sheet, book.sheets
            self.header_row = book.used.header_row or 0
            self.questions = book.questions
            self.date_system = book.date_system
            for chunk in book.chunks():
                assert chunk.values.column_names == [str(i) for i in range(len(book.headers))]
                rows = [tuple(row.values()) for row in chunk.values.to_pylist()]
                assert len(rows) == len(chunk.records) == len(chunk.lines)
                records = chunk.records.to_pylist()
                self.problems += [(records[cell.row], cell.column, cell.rule, cell.value) for cell in chunk.cells]
                self.rows += rows
                self.records += records
                self.lines += chunk.lines.to_pylist()
                self.malformed += chunk.malformed
                self.chunks.append(len(rows))
            self.read, self.notes = book.read, book.notes
        assert self.read == len(self.records) + len(self.malformed)
        assert sorted([*self.records, *(each.record for each in self.malformed)]) == list(range(1, self.read + 1))


def book(rows: list[list[Any]], **sheets: list[list[Any]]) -> bytes:
    """Return a workbook that openpyxl writes."""
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for row in rows:
        workbook.active.append(row)
    for name, more in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in more:
            sheet.append(row)
    saved = io.BytesIO()
    workbook.save(saved)
    return saved.getvalue()


def changed(content: bytes, parts: Mapping[str, bytes | None]) -> bytes:
    """Return the archive with other parts, or without them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in parts:
                new.writestr(name, old.read(name))
        for name, part in parts.items():
            if part is not None:
                new.writestr(name, part)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
STYLES = """<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<numFmts><numFmt numFmtId="164" formatCode='[$-409]d\\-mmm;@'/><numFmt numFmtId="165" formatCode='0.0" days"'/>
<numFmt numFmtId="166" formatCode='[Red]\\d0;[h]'/><numFmt numFmtId="167" formatCode="yyyy\\-mm\\-dd hh:mm"/></numFmts>
<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="21"/><xf numFmtId="46"/><xf numFmtId="164"/>
<xf numFmtId="165"/><xf numFmtId="166"/><xf numFmtId="10"/><xf numFmtId="167"/><xf numFmtId="49"/></cellXfs>
</styleSheet>"""
(GENERAL, DATE, TIME, ELAPSED, DAY_MONTH, DAYS, RED, PERCENT, TIMESTAMP, TEXT) = range(10)


SHARED = """<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="99" uniqueCount="1">
<si><t>header</t></si><si><r><t>tw</t></r><r><t>o</t></r><rPh sb="0" eb="1"><t>no</t></rPh></si></sst>"""
LINK = b"""<Relationship Id="s" Target="sharedStrings.xml"
Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"/></Relationships>"""


def shared(content: bytes) -> bytes:
    """Return the workbook with shared texts: header, two (openpyxl writes none)."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        links = archive.read("xl/_rels/workbook.xml.rels").replace(b"</Relationships>", LINK)
    return changed(content, {"xl/sharedStrings.xml": SHARED.encode(), "xl/_rels/workbook.xml.rels": links})


def sheet(rows: str, after: str = "") -> bytes:
    """Return a workbook with one sheet of these rows as XML, with shared texts and styles."""
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{rows}</sheetData>{after}
</worksheet>"""
    return changed(shared(book([])), {SHEET: text.encode(), "xl/styles.xml": STYLES.encode()})


def column(*cells: str, styles: str | None = STYLES) -> Whole:
    """Read the cells A2, A3, … under the header h. `{}` stands for their attribute r. `styles`: the part, if any."""
    placed = [cell.replace("{}", f'r="A{i}"') for i, cell in enumerate(cells, 2)]
    rows = "".join(f'<row r="{i}">{cell}</row>' for i, cell in enumerate(placed, 2))
    content = sheet(f'<row r="1"><c r="A1" t="str"><v>h</v></c></row>{rows}')
    return Whole(changed(content, {"xl/styles.xml": None if styles is None else styles.encode()}))


def values(*cells: str) -> list[str]:
    return [row[0] for row in column(*cells).rows]


def refusal(content: bytes, **options: Any) -> str:
    with pytest.raises(UnreadableFile) as caught:
        Whole(content, **options)
    assert caught.value.message.startswith("book.xlsx")
    assert caught.value.hint
    return caught.value.message


def in_words(value: object, computed: bool) -> str:
    """Return a value of openpyxl as the text that the reader gives for it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        exact = Decimal(f"{value:.15g}" if computed and isinstance(value, float) else repr(value))
        if not exact:
            return "0"
        if not -30 <= exact.adjusted() <= 30:
            return f"{exact.normalize():E}"
        return re.sub(r"(\.[0-9]*?)0+$", r"\1", f"{exact:f}").removesuffix(".")
    if isinstance(value, datetime | clock_time):
        text = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
        return text.removesuffix(" 00:00:00").removesuffix("000")
    if isinstance(value, timedelta):
        milliseconds = round(value / timedelta(milliseconds=1))
        seconds, rest = divmod(abs(milliseconds), 1000)
        text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if rest else "")
        return ("-" if milliseconds < 0 else "") + text
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), str(value))


class Witness:
    """The same sheet as openpyxl reads it: the first header from a row on, and records with their lines."""

    def __init__(self, content: bytes, name: str, header_row: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values, formulas = (openpyxl.load_workbook(io.BytesIO(content), data_only=only) for only in (True, False))
        rows: list[tuple[int, list[str]]] = []
        for stored, written in zip(values[name].iter_rows(), formulas[name].iter_rows(), strict=True):
            computed = [cell.data_type == "f" for cell in written]
            texts = [in_words(cell.value, of) for cell, of in zip(stored, computed, strict=True)]
            if any(texts) or any(of and cell.value is None for cell, of in zip(stored, computed, strict=True)):
                rows.append(((stored[0].row or 0), [""] * ((stored[0].column or 0) - 1) + texts))
        self.headers: tuple[str, ...] = ()
        self.rows: dict[int, tuple[str, ...]] = {}
        self.wide: dict[int, int] = {}
        for row, texts in (each for each in rows if each[0] >= header_row):
            while texts and not texts[-1]:
                texts.pop()
            if not self.headers:
                self.headers = tuple(texts)
            elif len(texts) > len(self.headers):
                self.wide[row] = len(texts)
            else:
                self.rows[row] = tuple(texts + [""] * (len(self.headers) - len(texts)))


REFUSED = {
    ("issue252.xlsx", None): "cannot be unpacked: Bad CRC-32 for file 'xl/_rels/workbook.xml.rels'",
    ("issue_530.xlsx", None): r"has a part with the unsafe name 'docProps\\app.xml'",
    ("pass_protected.xlsx", None): "is encrypted or an old .xls",
    ("errors.xlsx", "Feuil1"): "A1 is a header, and must be a value, not an error",
    ("picture_richdata.xlsx", "Sheet1"): "B2 is a header, and must be a value, not an error",
    ("pictures_in_cell_and_over_cell.xlsx", "Sheet1"): "A1 is a header, and must be a value, not an error",
}
"""The workbooks and sheets that the reader refuses, apart from sheets without any value."""

DIFFERENT: dict[tuple[str, str], dict[int, str]] = {
    # openpyxl has no day for serial 60; Excel shows 29 February 1900
    ("dates-leap-year-1900-xlsx.xlsx", "for_testing"): {5: "1900-02-29 08:00:00"},
    ("dates-leap-year-1900-xlsx.xlsx", "for_human_eyes"): {8: "1900-02-29 08:00:00"},
    # openpyxl drops the escaped underscore in _x005F_x000D_; Excel shows it as _x000D_
    ("new_line_errors.xlsx", "Blad1"): {3: 'Will show "_x000D_" in every new line in cell above'},
}
"""By file, sheet and row: the first value, where openpyxl is wrong."""

UNWITNESSED: dict[str, tuple[str, int, dict[str, str]]] = {
    "empty_s_attribute.xlsx": ("Sheet1", 4, {"Name": "John", "Value": "1"}),  # a style named ""
    "issue_174.xlsx": ("Sheet1", 1, {"Your Ref #": "123", "Weight": "1.5"}),  # a million rows by its dimension
    "issue_419.xlsx": ("Sheet1", 0, {"Hello": ""}),  # xl/SharedStrings.xml by another case
    "los-angeles-arrests-xlsx.xlsx": ("Sheet1", 193, {"BKG_NUM": "4894831", "ARR_DIV": "4210"}),  # no styles
    "minimal_package.xlsx": ("Sheet1", 193, {"BKG_NUM": "4894831", "ARR_DIV": "4210"}),  # the same
    "pivots.xlsx": ("PivotSheet1", 2, {"Row Labels": "yellow"}),  # a pivot table
    "strict_iso_paths.xlsx": ("ml_out", 75, {"Item": "150-031260-001_B", "Thickness": "1.5"}),  # strict names
}
"""What openpyxl cannot read, and why: first sheet, number of records, and the first record, looked up by hand."""


HEADER_ROWS = {
    "Ekaterinburg_IP_9": 4, "deaths": 5, "header-row": 9, "issue_261": 7, "issue_261_fixed_by_excel": 7, "pivots": 3,
    "los-angeles-arrests-xlsx": 3, "minimal_package": 3, "skipping": 3, "table-multiple": 1,
}  # fmt: skip
"""The row of the header in first sheets with titles or notes above it, and in some without, looked up by hand."""


def sheets_of(path: Path) -> list[str]:
    try:
        with ExcelFile(io.BytesIO(path.read_bytes()), path.name) as book:
            return list(book.sheets)
    except UnreadableFile:
        return list(openpyxl.load_workbook(path, read_only=True).sheetnames)


@needs_corpora
def test_the_corpora_are_whole() -> None:
    assert len(WORKBOOKS) == 69 + 43


@needs_corpora
@pytest.mark.parametrize("path", WORKBOOKS, ids=lambda path: path.stem)
def test_the_workbooks_of_others_are_read_as_openpyxl_reads_them(path: Path) -> None:
    """Every cell of every sheet agrees with openpyxl; each refusal has its known reason and is quick."""
    content = path.read_bytes()
    if (path.name, None) in REFUSED:
        assert REFUSED[path.name, None] in refusal(content)
        return
    for name in sheets_of(path):
        started = time.process_time()
        try:
            whole = Whole(content, sheet=name)
        except UnreadableFile as error:
            whole, why = None, error.message
        assert time.process_time() - started < 2
        if whole is None:
            assert REFUSED.get((path.name, name), f"has no header: sheet {name!r} is empty") in why
        if name == sheets_of(path)[0] and path.stem in HEADER_ROWS:
            assert whole is not None
            assert whole.header_row == HEADER_ROWS[path.stem]
        if path.name in UNWITNESSED:
            assert whole is not None
            first, read, some = UNWITNESSED[path.name]
            if name == first:
                assert whole.read == read
                record = dict(zip(whole.headers, (whole.rows or [("",) * 20])[0], strict=False))
                assert {header: record[header] for header in some} == some
            continue
        witness = Witness(content, name, whole.header_row if whole else 1)
        if whole is None:
            assert witness.headers == () or (path.name, name) in REFUSED
            continue
        assert whole.headers == witness.headers
        mine = dict(zip(whole.lines, whole.rows, strict=True))
        for line, text in DIFFERENT.get((path.name, name), {}).items():
            assert mine.pop(line)[0] == text
            del witness.rows[line]
        assert mine == witness.rows
        assert {each.line: each.fields for each in whole.malformed} == witness.wide


@needs_corpora
def test_both_date_systems_name_the_same_days() -> None:
    of_1900, of_1904 = (Whole(CORPORA / "calamine_xlsx" / name) for name in ("date.xlsx", "date_1904.xlsx"))
    assert (of_1900.date_system, of_1904.date_system) == (1900, 1904)
    assert of_1900.headers == of_1904.headers == ("2021-01-01", "15")
    assert of_1900.rows == of_1904.rows
    assert of_1904.notes[1] == "Its dates count from 1904."


@needs_corpora
@pytest.mark.parametrize("part", [SHEET, "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml", "_rels/.rels"])
@pytest.mark.parametrize("body", sorted((CORPORA / "defusedxml_xml").glob("*.xml")), ids=lambda path: path.stem)
def test_no_part_may_declare_a_document_type_or_be_something_else(body: Path, part: str) -> None:
    started = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refusal(changed(shared(book([["a"], ["b"]])), {part: body.read_bytes()}))
    declares = b"<!DOCTYPE" in body.read_bytes()
    assert (f"declares a document type (DOCTYPE) in {part}" in message) == declares
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def number(text: str, style: int = GENERAL) -> str:
    return f'<c {{}} s="{style}"><v>{text}</v></c>'


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("12", "12"), ("-0", "0"), ("0.50", "0.5"), ("+7.", "7"), ("1E+3", "1000"), ("1.5E-7", "0.00000015"),
        (" 3 ", "3"), ("007", "7"), ("1.1000000000000001", "1.1"), ("0.30000000000000004", "0.30000000000000004"),
        ("0.12345678901234568", "0.12345678901234568"), ("1234567890123456789", "1234567890123456789"),
        ("12345678901234567890.5", "12345678901234567890.5"), ("1.2345678901234567E+19", "12345678901234567000"),
        ("1E+308", "1E+308"), ("-2.50E-300", "-2.5E-300"), ("4.1000000000000001E-2", "0.041"),
    ],
)  # fmt: skip
def test_a_number_is_a_plain_decimal(stored: str, text: str) -> None:
    assert values(number(stored), f"<c {{}}><v>{stored}</v></c>", number(stored, TEXT)) == [text] * 3


def test_the_result_of_a_formula_has_the_digits_that_excel_shows() -> None:
    assert values("<c {}><f>0.1+0.2</f><v>0.30000000000000004</v></c>") == ["0.3"]
    assert values(number("0.12", PERCENT)) == ["0.12"]


@pytest.mark.parametrize("stored", ["abc", "1,5", "1_0", "INF", "NaN", "٣", "1E+99999999", "1e", "0x1"])
def test_an_invalid_number_is_a_problem(stored: str) -> None:
    whole = column(number(stored), number(stored, DATE), number("1"))
    assert whole.rows == [(stored,), (stored,), ("1",)]
    assert whole.problems == [(1, 0, "not_a_number", stored), (2, 0, "not_a_number", stored)]


@pytest.mark.parametrize(
    ("stored", "style", "text"),
    [
        ("45443", DATE, "2024-05-31"), ("45443.395833333336", DATE, "2024-05-31 09:30:00"), ("59", DATE, "1900-02-28"),
        ("1", DATE, "1900-01-01"), ("61", DATE, "1900-03-01"), ("2958465", DATE, "9999-12-31"),
        ("0.39583333333333331", TIME, "09:30:00"), ("0", TIME, "00:00:00"), ("1.5", TIME, "1900-01-01 12:00:00"),
        ("1.5", ELAPSED, "36:00:00"), ("-0.25", ELAPSED, "-06:00:00"), ("45443", DAY_MONTH, "2024-05-31"),
        ("45443", DAYS, "45443"), ("45443", RED, "45443"), ("45443.000005787", TIMESTAMP, "2024-05-31 00:00:00.500"),
        ("45443.9999999999", TIMESTAMP, "2024-06-01"),
    ],
)  # fmt: skip
def test_the_number_format_makes_a_date(stored: str, style: int, text: str) -> None:
    assert values(number(stored, style)) == [text]


def formats(*numbers: int, others: str = "", codes: str = "", last: bool = True) -> str:
    """Return a part of styles: the formats of cells, custom codes, and what else it holds before or after them."""
    styles = "".join(f'<xf numFmtId="{number}"/>' for number in numbers)
    own = f"{codes}<cellXfs>{styles}</cellXfs>"
    content = own + others if last else others + own
    return f'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{content}</styleSheet>'


def code(text: str) -> str:
    return f"<numFmts><numFmt numFmtId='164' formatCode='{text}'/></numFmts>"


OF_OTHERS = [
    "<dxfs><dxf><numFmt numFmtId='14' formatCode='0.00%'/></dxf><dxf><numFmt numFmtId='2' formatCode='yyyy'/></dxf>"
    "<dxf><numFmt numFmtId='165' formatCode='yyyy'/></dxf></dxfs>",
    "<extLst><ext><o:dxfs xmlns:o='other'><dxf><numFmt numFmtId='14' formatCode='0'/></dxf></o:dxfs></ext></extLst>",
    "<cellStyleXfs><xf numFmtId='9'/><xf numFmtId='14'/></cellStyleXfs>",
]


@pytest.mark.parametrize("others", OF_OTHERS)
@pytest.mark.parametrize("last", [True, False])
def test_formats_that_no_cell_refers_to_do_not_count(others: str, last: bool) -> None:
    """Formats of conditional formatting made dates numbers, and numbers dates."""
    part = formats(0, 14, 2, 164, 165, others=others, codes=code("d.m."), last=last)
    whole = column(*(number("45443", style) for style in range(5)), styles=part)
    assert [row[0] for row in whole.rows] == ["45443", "2024-05-31", "45443", "2024-05-31", "45443"]


@pytest.mark.parametrize("part", ["[", "[h", "[$-409]", "[Red]", '"', "_", "[hh]:"])
def test_a_number_format_is_read_in_time_in_proportion_to_its_length(part: str) -> None:
    def seconds(length: int) -> float:
        codes = [f"{number:04}{part * (length // len(part))}0" for number in range(20)]
        times = []
        for _ in range(5):
            _format_kind.cache_clear()
            started = time.process_time()
            for each in codes:
                _format_kind(each)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(16_000) < 64 * max(seconds(1_000), 1e-4)


def test_a_number_format_may_be_an_alternative() -> None:
    """Excel writes so what older versions cannot show."""
    inner = code("yyyy").removeprefix("<numFmts>").removesuffix("</numFmts>")
    alternative = f"<a:AlternateContent xmlns:a='a'><a:Choice>{inner}</a:Choice></a:AlternateContent>"
    for codes in (alternative.replace(inner, code("yyyy")), f"<numFmts>{alternative}</numFmts>"):
        assert column(number("45443", 1), styles=formats(0, 164, codes=codes)).rows == [("2024-05-31",)]


def test_built_in_formats_are_those_of_the_specification() -> None:
    """ECMA-376 part 1, 18.8.30. Where languages differ, a number below 1 is a time, and a higher one a date."""
    dates = {*range(14, 18), 22, *range(27, 32), 36, 50, 51, 54, 57, 58, *range(71, 75), 77, 81}
    times = {*range(18, 22), *range(32, 36), 45, 47, 52, 53, 55, 56, 75, 76, 78, 80}
    elapsed = {46, 79}
    cells = [number(text, style) for style in range(164) for text in ("45443.5", "0.5")]
    found = [row[0] for row in column(*cells, styles=formats(*range(164))).rows]
    for style in range(164):
        day, half = found[2 * style : 2 * style + 2]
        if style in elapsed:
            assert (day, half) == ("1090644:00:00", "12:00:00")
        elif style in dates | times:
            assert (day, half) == ("2024-05-31 12:00:00", "1900-01-00 12:00:00" if style in dates else "12:00:00")
        else:
            assert (day, half) == ("45443.5", "0.5")


_NUMBERS = st.floats().map(repr) | st.integers().map(str) | st.decimals().map(str) | st.floats(-1e5, 3e6).map(repr)


@settings(max_examples=tried(100))
@given(st.lists(_NUMBERS, min_size=1), st.sampled_from([GENERAL, DATE, TIME, ELAPSED]), st.sampled_from("'\""))
def test_a_number_of_any_style_is_a_number_a_date_a_time_or_a_problem(
    stored: list[str], style: int, quote: str
) -> None:
    """What Python or Arrow print for other values, such as nan, is never read."""
    whole = column(*(number(text, style).replace('"', quote) for text in stored))
    rejected = {record for record, *_ in whole.problems}
    for record, (text,) in zip(whole.records, whole.rows, strict=True):
        plain = r"-?\d+(\.\d+)?|-?\d(\.\d+)?E[+-]\d+|(\d{4}-\d\d-\d\d)?( ?-?\d\d+:\d\d:\d\d(\.\d{3})?)?"
        assert record in rejected or re.fullmatch(plain, text, re.ASCII)


@pytest.mark.parametrize("text", ["bbbb", "b2yyyy", "d/m/bb"])
def test_a_year_of_another_calendar_makes_a_date(text: str) -> None:
    assert column(number("45443", 0), styles=formats(164, codes=code(text))).rows == [("2024-05-31",)]


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        (None, "The workbook has no part of styles, or its link to it is broken."),
        ("<styleSheet><cellXfs>", "The styles of the workbook are damaged: xl/styles.xml is not XML."),
        ("", "The styles of the workbook are damaged: xl/styles.xml is not XML."),
    ],
)
def test_styles_that_cannot_be_read_are_said_where_a_cell_has_one(part: str | None, fault: str) -> None:
    cells = number("45443", DATE), number("7", TIME), number("8"), "<c><v>9</v></c>", "<c s='1' t='str'><v>x</v></c>"
    whole = column(*cells, styles=part)
    assert [row[0] for row in whole.rows] == ["45443", "7", "8", "9", "x"]
    read_as = (
        "2 cells have a style that the workbook lacks: read as plain numbers. A date among them is one like 45443."
    )
    assert whole.notes[1:] == (fault, read_as)
    assert len(column(number("8"), "<c><v>9</v></c>", styles=part).notes) == 1


def test_days_that_never_were_are_problems() -> None:
    whole = column(
        number("60", DATE), number("0", DATE), number("-1", DATE), number("2958466", DATE), number("61", DATE)
    )
    assert [row[0] for row in whole.rows] == ["1900-02-29", "1900-01-00", "-1", "2958466", "1900-03-01"]
    assert [(record, rule) for record, _, rule, _ in whole.problems] == [(i, "no_such_date") for i in (1, 2, 3, 4)]


def test_iso_dates_are_dates() -> None:
    cells = [f'<c {{}} t="d"><v>{text}</v></c>' for text in ("2024-05-31", "2024-05-31T00:00:00", "2024-05-31T09:30")]
    whole = column(*cells, '<c {} t="d"><v>09:30:15.250</v></c>', '<c {} t="d"><v>soon</v></c>')
    assert [row[0] for row in whole.rows] == ["2024-05-31", "2024-05-31", "2024-05-31 09:30:00", "09:30:15.25", "soon"]
    assert whole.problems == [(5, 0, "no_such_date", "soon")]


def test_text_is_kept_to_the_last_space() -> None:
    assert values(
        '<c {} t="s"><v>1</v></c>',
        '<c {} t="str"><f>A1</f><v> a  </v></c>',
        '<c {} t="inlineStr"><v>9</v><is><t> b</t></is></c>',
        '<c {} t="inlineStr"><is><t> b</t></is><v>9</v></c>',
        '<c {} t="inlineStr"><is><r><rPr><b/></rPr><t>x </t></r><r><t><![CDATA[<y>]]></t></r>'
        "<rPh sb='0' eb='1'><t>no</t></rPh></is></c>",
        '<c {} t="str"><v>_x0041__x005F_x000D_ _xD83D__xDE00_ _xD83D_</v></c>',
        '<c {} t="b"><v>1</v></c>',
        '<c {} t="b"><v>0</v></c>',
        "\n  <c {}>\n  <v>5</v>\n  </c>\n",
    ) == ["two", " a  ", " b", " b", "x <y>", "A_x000D_ \U0001f600 _xD83D_", "true", "false", "5"]


@pytest.mark.parametrize("space", ["\n", "\r\n\t ", " "], ids=["line end", "indentation", "space"])
@pytest.mark.parametrize("inside", [True, False])
def test_white_space_between_tags_means_nothing_and_inside_a_text_it_counts(space: str, inside: bool) -> None:
    some = space if inside else ""
    texts = "".join(f"{some}<si>{some}<t>{text}</t>{some}</si>" for text in ("a", "b", "c", "d", " e\n"))
    header = "".join(f'<c r="{name}1" t="s"><v>{at}</v></c>' for at, name in enumerate("ABCD"))
    cells = (
        '<c r="A2"><v/>', '</c><c r="B2" t="inlineStr">', "<is>", '<t xml:space="preserve"> x\n</t>', "</is>",
        '</c><c r="C2" t="inlineStr">', "<is>", "<t/>", "</is>", '</c><c r="D2" t="s">', "<v>4</v>", "</c>",
    )  # fmt: skip
    rows = f'{some}<row r="1">{header}</row>{some}<row r="2">{some}{space.join(cells)}{some}</row>{space}'
    start = '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    content = changed(sheet(rows), {"xl/sharedStrings.xml": f"{start}{texts}{space}</sst>".encode()})
    assert Whole(content).rows == [("", " x\n", "", " e\n")]


def test_errors_and_formulas_without_a_value_are_problems() -> None:
    whole = column(
        '<c {} t="e"><f>1/0</f><v>#DIV/0!</v></c>',
        "<c {}><f>A1+1</f></c>",
        "<c {}><f>B1</f><v></v></c>",
        '<c {} t="str"><f>""</f><v></v></c>',  # In Excel the text is empty, and so is the row.
        '<c {} t="e"><v>#N/A</v></c>',
    )
    assert whole.rows == [("#DIV/0!",), ("",), ("",), ("#N/A",)]
    assert whole.lines == [2, 3, 4, 6]
    assert whole.problems == [
        (1, 0, "error_cell", "#DIV/0!"),
        (2, 0, "formula_without_value", "=A1+1"),
        (3, 0, "formula_without_value", "=B1"),
        (4, 0, "error_cell", "#N/A"),
    ]


def test_rows_are_numbered_and_padded_and_problems_keep_their_place_across_chunks() -> None:
    rows: list[list[Any]] = [[None], ["a", None, "c", None]]
    for i in range(1, 2001):
        rows += [[i, None, "#N/A" if i % 3 == 0 else None], [None, ""]]
        if i % 10 == 0:
            rows.append([None, None, None, None, "#N/A", i])
    whole = Whole(book(rows), chunk_rows=100, block_bytes=5000)
    assert whole.headers == ("a", "", "c")
    assert len(whole.chunks) > 2
    assert (whole.read, len(whole.malformed)) == (2200, 200)
    assert whole.malformed[0] == MalformedRecord(11, 23, 6, ("", "", "", "", "#N/A", "10"))
    assert whole.rows[:3] == [("1", "", ""), ("2", "", ""), ("3", "", "#N/A")]
    assert whole.lines[:11] == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 24]
    errors = [record for record, row in zip(whole.records, whole.rows, strict=True) if row[2]]
    assert len(errors) == 666
    assert whole.problems == [(record, 2, "error_cell", "#N/A") for record in errors]
    assert whole.notes == (
        "Sheet 'Sheet' was read.",
        "The header is row 2.",
        "2,000 blank rows between others were passed over.",
    )


def test_references_may_be_missing() -> None:
    rows = '<row><c t="str"><v>h</v></c></row><row><c><v>1</v></c></row><row><c r="A5"><v>2</v></c></row>'
    whole = Whole(sheet(rows + "<row><c><v>3</v></c></row>"))
    assert (whole.headers, whole.rows, whole.lines) == (("h",), [("1",), ("2",), ("3",)], [2, 5, 6])


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: re.sub(rb"<(/?)([a-zA-Z])", rb"<\1x:\2", text).replace(b"xmlns=", b"xmlns:x="),
        lambda text: text.replace(b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
                                  b"http://purl.oclc.org/ooxml/spreadsheetml/main"),
        lambda text: text.decode().encode("utf-16") if b"encoding" not in text else text,
    ],
    ids=["prefix", "strict", "utf-16"],
)  # fmt: skip
def test_namespaces_and_encodings_make_no_difference(rewrite: Callable[[bytes], bytes]) -> None:
    content = shared(book([["a", "b"], ["x", 1], [date(2024, 5, 31), True]]))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: rewrite(archive.read(name)) for name in (SHEET, "xl/sharedStrings.xml", "xl/styles.xml")}
    assert Whole(changed(content, dict(parts))).rows == [("x", "1"), ("2024-05-31", "true")]


def test_the_first_visible_sheet_is_read_unless_another_is_named() -> None:
    content = book([["a"], [1]], Second=[["b"], [2]], Third=[])
    hidden = re.compile(rb'(name="Sheet"[^>]*state=")visible')
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        hiding = changed(content, {"xl/workbook.xml": hidden.sub(rb"\1hidden", archive.read("xl/workbook.xml"))})
    assert (Whole(content).sheet, Whole(hiding).sheet, Whole(content, sheet="second").rows) == (
        "Sheet",
        "Second",
        [("2",)],
    )
    assert Whole(hiding).notes == (
        "Sheet 'Second' of 3 was read.",
        "1 other sheet has values and was not read: 'Sheet'.",
    )
    with pytest.raises(InvalidRequest, match="has no sheet 'x'") as raised:
        Whole(content, sheet="x")
    assert raised.value.quoted == "Its sheets: 'Sheet', 'Second', 'Third'."
    assert refusal(content, sheet="Third") == "book.xlsx has no header: sheet 'Third' is empty."


def test_merged_cells_are_reported() -> None:
    merged = '<mergeCells><mergeCell ref="A2:B3"/></mergeCells>'
    whole = Whole(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>', merged))
    assert (whole.headers, whole.rows) == (("header",), [])
    read = "Merged cells (A2:B3): Excel shows only the first cell of a range. All were read as they are."
    assert whole.notes[1] == read


HEADER = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('<row r="3"><c r="A3"><v>1</v></c></row><row r="2"/>', "row 2 comes after row 3"),
        ('<row r="2"/><row r="2"/>', "row 2 comes after row 2"),
        ('<row r="x"/>', "the row after row 1 has an invalid number"),
        ('<row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>1</v></c></row>', "cell A2 comes after B2"),
        ('<row r="2"><c r="A2"><v>1</v></c><c r="A2"/></row>', "cell A2 comes after A2"),
        ('<row r="2"><c r="A3"><v>1</v></c></row>', "cell A3 lies in row 2"),
        ('<row r="2"><c r="2A"><v>1</v></c></row>', "a cell of row 2 has an invalid reference"),
        ('<row r="2"><c r="XFE2"><v>1</v></c></row>', "a cell of row 2 lies beyond the last column, XFD"),
        (
            '<row r="999999999"><c r="A999999999"><v>1</v></c></row>',
            "row 999,999,999 lies beyond the last row, 1,048,576",
        ),
        ('<row r="10003"><c r="A10003"><v>1</v></c></row>', "row 10,003 has a value after 10,001 empty rows"),
        (
            '<row r="2"><c r="A2" t="s"><v>2</v></c></row>',
            "A2 names a shared text that is not there",
        ),
        (
            '<row r="2"><c r="A2" t="s"><v>-1</v></c></row>',
            "A2 names a shared text that is not there",
        ),
        ('<row r="2"><c r="A2" t="z"><v>2</v></c></row>', "A2 is of a type that Excel does not have"),
        ('<row r="2"><c r="A2"><c/></c></row>', "a cell has its values in an unusual place or namespace (<c>)"),
        ('<row r="2"><y:c xmlns:y="y"/></row>', "a cell has its values in an unusual place or namespace (<y:c>)"),
        (f'<row r="2"><c r="A2" t="str"><v>{"x" * 32_768}</v></c></row>', "A2 has more than 32,767 characters"),
        (f'<row r="2"><c r="A2" t="str"><v>{"x" * 3_000_000}</v></c></row>', "a cell has more than 32,767 characters"),
        (
            f'<row r="2"><c r="A2">{"<z>" * 70}{"</z>" * 70}</c></row>',
            "a cell is nested more than 64 deep",
        ),
        (f"<row r='2' z='{'x' * 3_000_000}'/>", "has a tag or comment of more than 65,536 bytes"),
        (
            '<row r="2"><c r="A2"><v>&a;</v></c></row>',
            "is damaged: xl/worksheets/sheet1.xml is not XML: undefined entity",
        ),
        ('<row r="2"><c r="A2"><v>1</c></row>', "is damaged: xl/worksheets/sheet1.xml is not XML: mismatched tag"),
    ],
)
def test_an_invalid_sheet_is_refused_with_its_place(rows: str, message: str) -> None:
    started = time.process_time()
    assert message in refusal(sheet(HEADER + rows))
    assert time.process_time() - started < 2


def test_empty_rows_to_the_end_of_the_sheet_are_reported() -> None:
    whole = Whole(
        sheet(HEADER + '<row r="2"><c r="A2"><v>1</v></c></row><row r="1048576"><c r="A1048576" s="1"/></row>')
    )
    assert (whole.rows, whole.notes[1:]) == ([("1",)], ("Rows 3 to 1,048,576 are empty.",))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ExcelLimits(entries=3), "parts, more than 3"),
        (ExcelLimits(unpacked_bytes=2000), "unpacks to more than 2,000 bytes"),
        (ExcelLimits(rows=2), "row 3 lies beyond the last row, 2"),
        (ExcelLimits(columns=1), "a cell of row 1 lies beyond the last column, A"),
        (ExcelLimits(cells=3), "row 3 is beyond 3 cells"),
        (ExcelLimits(cell_characters=4), "has a text of more than 4 characters (shared string 1)"),
        (ExcelLimits(shared_string_bytes=10), "has more than 10 bytes of shared strings"),
    ],
)
def test_limits_are_kept(limits: ExcelLimits, message: str) -> None:
    assert message in refusal(shared(book([["h", "i"], ["a", "b"], ["c", "d"]])), limits=limits)


def test_a_zip_bomb_is_refused_before_it_has_unpacked() -> None:
    content = sheet(HEADER, " " * (40 << 20))
    assert len(content) < 100_000
    started = time.process_time()
    assert "is a ZIP bomb: xl/worksheets/sheet1.xml unpacks to 500 times its size" in refusal(content)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", ["xl\\x.xml", "../x.xml", "/x.xml", "c:x.xml", "XL/Workbook.xml"])
def test_an_archive_with_unsafe_or_repeated_names_is_refused(name: str) -> None:
    assert "and programs disagree" in (message := refusal(changed(book([["a"]]), {name: b"x"}))) or "unsafe" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_is_none_or_damaged_is_refused() -> None:
    content = book([["a"], *([f"text {i}"] for i in range(5000))])
    assert "is not an Excel workbook" in refusal(b"")
    assert "is not an Excel workbook" in refusal(b"a,b\n1,2\n")
    assert "is encrypted or an old .xls" in refusal(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000))
    assert "is not an Excel workbook" in refusal(changed(content, {"xl/workbook.xml": None, "_rels/.rels": None}))
    assert "is damaged: the part of sheet 'Sheet' is missing" in refusal(changed(content, {SHEET: None}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.getinfo(SHEET).header_offset + 2000
    damaged = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    assert "is damaged: " in refusal(damaged)
    for end in range(0, len(content), 997):
        assert refusal(content[:end])


def test_parts_that_a_sheet_does_not_need_may_be_missing() -> None:
    rows = '<row r="1"><c r="A1" t="str"><v>h</v></c></row><row r="2"><c r="A2" s="1"><v>45443</v></c></row>'
    whole = Whole(changed(sheet(rows), {"xl/styles.xml": None, "xl/sharedStrings.xml": None}))
    assert whole.rows == [("45443",)]


def test_the_file_stays_open_and_a_reader_may_be_left_in_the_middle() -> None:
    file = io.BytesIO(book([["a"], *([i] for i in range(50_000))]))
    with ExcelFile(file, "book.xlsx", chunk_rows=10) as opened:
        assert next(opened.chunks()).records[0].as_py() == 1
    assert not file.closed


@pytest.mark.parametrize("position", range(0, 4000, 131))
def test_bytes_that_are_changed_are_noticed_or_make_no_difference(position: int) -> None:
    content = bytearray(book([["a", "b"], ["x", 1.5], [date(2024, 5, 31), True]]))
    whole = Whole(bytes(content)).rows
    content[position % len(content)] ^= 0x55
    with suppress(RecordsError):
        assert Whole(bytes(content)).rows == whole


CELL = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
        lambda text: not text.startswith("=") and "_x" not in text and "\ufffe" not in text and "\uffff" not in text
    ),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.decimals(-(10**9), 10**9, places=4),
    st.booleans(),
    st.dates(date(1900, 1, 1)),
    st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001
        lambda timestamp: timestamp.replace(microsecond=0)
    ),
    st.none(),
)


@settings(max_examples=tried(60))
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8))
@example([[" a ", 10**15 - 1, Decimal("-0.1000")], [None, None, None], [date(1900, 2, 28), date(1900, 3, 1), True]])
def test_what_openpyxl_writes_comes_back(table: list[list[Any]]) -> None:
    def text(value: Any) -> str:
        if isinstance(value, Decimal):
            return number_text(str(value)) or ""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        return in_words(value, computed=False) if not isinstance(value, str) else value

    content = book([["a", "b", "c"], *table])
    expected = [(line, tuple(map(text, row))) for line, row in enumerate(table, 2) if any(map(text, row))]
    whole = Whole(content)
    assert list(zip(whole.lines, whole.rows, strict=True)) == expected
    assert whole.problems == []
