"""Workbooks that exceed a limit are refused by the limit's name, before they use up the resource."""

import io
import struct
import zipfile

import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.file_reader.excel import ExcelFile, ExcelLimits, excel_file
from resources.file_reader.excel.text_spool import TextSpool
from schemas.errors import RecordsError
from tests.examples import tried
from tests.test_excel import HEADER, SHEET, STYLES, Whole, book, changed, refusal, shared, sheet

NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LONG = "x" * 32_000


def with_texts(rows: str, *texts: str) -> bytes:
    """Return a workbook with these rows and shared texts, as XML."""
    items = "".join(f"<si><t>{text}</t></si>" for text in texts)
    return changed(sheet(rows), {"xl/sharedStrings.xml": f'<sst xmlns="{NAMESPACE}">{items}</sst>'.encode()})


@pytest.mark.parametrize("row", ['<row r="{}"/>', '<row r="{}" s="1" customFormat="1"></row>', "<row r='{}'/>"])
def test_rows_with_nothing_are_no_records_and_no_long_row(row: str) -> None:
    """A million of these elements without an end tag once passed as one row of 16 MiB."""
    empty = "".join(row.format(n) for n in range(3, 3000))
    first = '<row r="2"><c r="A2"><v>1</v></c></row>'
    whole = Whole(sheet(HEADER + first + empty), block_bytes=1000, limits=ExcelLimits(element_bytes=5000))
    assert (whole.rows, whole.notes[1:]) == ([("1",)], ())
    limits = ExcelLimits(empty_rows=1000, element_bytes=5000)
    assert Whole(sheet(HEADER + first + empty), limits=limits).notes[1:] == ("Rows 3 to 2,999 are empty.",)
    last = '<row r="3000"><c r="A3000"><v>1</v></c></row>'
    assert "row 3,000 has a value after 2,997 empty rows" in refusal(
        sheet(HEADER + first + empty + last), limits=limits
    )


def test_a_header_that_does_not_come_is_not_waited_for() -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v></v></c></row>' for n in range(1, 200))
    assert "rows 1 to 101 have no value" in refusal(sheet(rows), limits=ExcelLimits(empty_rows=100))


@pytest.mark.parametrize("quote", ['"', "'"], ids=["canonical", "fallback"])
def test_one_long_text_that_all_rows_share_is_read_in_bounded_pieces(quote: str) -> None:
    """A megabyte of a sheet can refer to a text of 32 KB thirty thousand times."""
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>1</v></c></row>' for n in range(2, 3002))
    content = with_texts(HEADER + rows.replace('"', quote), "h", LONG)
    sizes = []
    with ExcelFile(io.BytesIO(content), "book.xlsx", chunk_rows=1) as opened:
        for chunk in opened.chunks():
            assert set(chunk.values["0"].unique().to_pylist()) <= {LONG}
            sizes.append(len(chunk.records))
    assert sum(sizes) == opened.read == 3000
    assert max(sizes) * len(LONG) < 64 << 20


@pytest.mark.parametrize("quote", ['"', "'"], ids=["canonical", "fallback"])
@pytest.mark.parametrize("headers", [1, 600], ids=["beyond the header", "below it"])
def test_a_row_may_hold_so_much_text(headers: int, quote: str) -> None:
    header = '<row r="1">' + "<c t='s'><v>1</v></c>" * headers + "</row>"
    wide = '<row r="2">' + "<c t='s'><v>0</v></c>" * 600 + "</row>"
    content = with_texts((header + wide).replace("'", quote), LONG, "h")
    assert "row 2 has more than 16,777,216 characters of text" in refusal(content)
    assert "row 2 has more than 16,777,216 characters of text" in refusal(with_texts(wide.replace("'", quote), LONG))


IDLE = {
    "cells": {SHEET: f"<row>{'<c/>' * 1001}</row>"},
    "elements": {SHEET: f"<row><c><x>{'<y/>' * 1001}</x></c></row>"},
    "before the rows": {"before": "<x/>" * 1001},
    "after the rows": {"after": "<x/>" * 1001},
    "shared texts": {"xl/sharedStrings.xml": "<si/>" * 1001},
    "inside a shared text": {"xl/sharedStrings.xml": f"<si>{'<r/>' * 1001}</si>"},
    "styles": {"xl/styles.xml": "<x/>" * 1001},
}


@pytest.mark.parametrize("parts", IDLE.values(), ids=IDLE)
def test_tags_that_hold_no_value_are_counted(parts: dict[str, str]) -> None:
    of_part = {
        "xl/sharedStrings.xml": f'<sst xmlns="{NAMESPACE}">{{}}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{NAMESPACE}">{{}}</styleSheet>',
    }
    content = sheet(HEADER.replace("s", "str", 1) + parts.get(SHEET, ""), parts.get("after", ""))
    xml = {part: of_part[part].format(text).encode() for part, text in parts.items() if part in of_part}
    if "before" in parts:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            xml[SHEET] = archive.read(SHEET).replace(b"<sheetData>", parts["before"].encode() + b"<sheetData>")
    assert "has more than 1,000 tags without a value" in refusal(
        changed(content, dict(xml)), limits=ExcelLimits(idle_tags=1000)
    )


def test_tags_around_values_are_not_idle() -> None:
    rows = "".join(f"<row r='{n}'><c r='A{n}'><f>1+1</f><v>2</v></c></row>" for n in range(2, 5000))
    assert Whole(sheet(HEADER + rows), limits=ExcelLimits(idle_tags=15_000), block_bytes=1000).read == 4998


@pytest.mark.parametrize("cell", ["<c t='e'><v>#N/A</v></c>", f"<c><f>{'1+' * 1000}1</f></c>"])
def test_cells_that_are_no_values_are_counted(cell: str) -> None:
    rows = "".join(f'<row r="{n}">{cell}</row>' for n in range(2, 200))
    message = "cells that are errors or not values"
    assert message in refusal(sheet(HEADER + rows), limits=ExcelLimits(problem_cells=100))
    assert Whole(sheet(HEADER + rows), limits=ExcelLimits(problem_cells=10_000)).read == 198


def test_problems_are_passed_on_in_chunks_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 formulas without a value, of 32 KB each, make 1.6 GB of problems and no text."""
    monkeypatch.setattr(excel_file, "_CHUNK_TEXT", 1 << 20)
    rows = "".join(f'<row r="{n}"><c><f>{n}+{LONG}</f></c></row>' for n in range(2, 202))
    with ExcelFile(io.BytesIO(sheet(HEADER + rows)), "book.xlsx") as opened:
        sizes = [sum(len(cell.value) for cell in chunk.cells) for chunk in opened.chunks()]
    assert opened.read == 200
    assert max(sizes) < 3 << 20


def test_a_number_that_begins_with_zeros_without_end_is_no_date() -> None:
    """The reader caches dates by their text: 50,000 of 32 KB would be 1.6 GB."""
    whole = Whole(sheet(HEADER + f"<row r='2'><c r='A2' s='1'><v>{'0' * 2000}45443</v></c></row>"))
    assert whole.rows == [("0" * 2000 + "45443",)]
    assert [(record, rule) for record, _, rule, _ in whole.problems] == [(1, "not_a_number")]


@pytest.mark.parametrize("number", ["1_0", " 1", "+1", "١", "1.0", "1" * 5000])  # noqa: RUF001
def test_a_shared_text_is_named_by_digits_alone(number: str) -> None:
    rows = f"<row r='2'><c r='A2' t='s'><v>{number}</v></c></row>"
    assert "A2 names a shared text that is not there" in refusal(with_texts(HEADER + rows, *"abcdefghijklm"))


@pytest.mark.parametrize("quote", ["'", '"'])
def test_the_number_of_a_shared_text_may_be_written_as_xml_allows(quote: str) -> None:
    rows = "".join(
        f"<row r='{row}'><c r='A{row}' t='s'><v>{number}</v></c></row>".replace("'", quote)
        for row, number in enumerate(("&#50;", "&#x32;", "00000000002", "2"), 2)
    )
    assert Whole(with_texts(HEADER + rows, "h", "one", "two")).rows == [("two",)] * 4


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("number", ["3", "2147483648", str(2**63), str(2**64), "9" * 30, "9" * 5000, "&#57;" * 30])
def test_a_shared_text_beyond_all_is_refused(number: str, quote: str) -> None:
    row = f"<row r='2'><c r='A2' t='s'><v>{number}</v></c></row>".replace("'", quote)
    refused = "book.xlsx, sheet 'Sheet': A2 names a shared text that is not there, and the workbook has 2."
    assert refusal(with_texts(HEADER + row, "h", "one")) == refused


def _many(name: str) -> bytes:
    content = sheet(HEADER)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {each: archive.read(each).decode() for each in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")}
    workbook, links = parts.values()
    one = workbook[workbook.index("<sheet ") : workbook.index("</sheets>")]
    changes = {
        "styles": {"xl/styles.xml": STYLES.replace("<cellXfs>", "<cellXfs>" + "<xf/>" * 50)},
        "formats": {
            "xl/styles.xml": STYLES.replace(
                "<numFmts>", "<numFmts>" + "".join(f'<numFmt numFmtId="{n}"/>' for n in range(200, 250))
            )
        },
        "sheets": {
            "xl/workbook.xml": workbook.replace(
                one, "".join(one.replace('name="Sheet"', f'name="S{n}"') for n in range(50))
            )
        },
        "links": {
            "xl/_rels/workbook.xml.rels": links.replace("</Relationships>", "<Relationship/>" * 50 + "</Relationships>")
        },
    }
    return changed(content, {part: text.encode() for part, text in changes[name].items()})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("styles", "has more than 40 styles in xl/styles.xml"),
        ("formats", "has more than 40 styles in xl/styles.xml"),
        ("sheets", "has more than 40 sheets"),
        ("links", "has more than 40 links in xl/_rels/workbook.xml.rels"),
    ],
)
def test_lists_that_are_kept_in_memory_end(name: str, message: str) -> None:
    assert message in refusal(_many(name), limits=ExcelLimits(styles=40, entries=40))


def test_a_directory_of_the_archive_that_is_too_long_is_not_read() -> None:
    """zipfile would make an object for each of a million entries before it could report their number."""
    content = book([["a"], ["b"]])
    end = content.rfind(b"PK\x05\x06")
    _, start = struct.unpack("<II", content[end + 12 : end + 20])
    more = content[start:end] * 100
    longer = content[:start] + more + content[end : end + 12] + struct.pack("<IIH", len(more), start, 0)
    assert "has a ZIP directory of more than 9,999 bytes" in refusal(longer, limits=ExcelLimits(directory_bytes=9999))
    assert "has more than one part" in refusal(longer)


@pytest.mark.parametrize("rows", [1, 3000])
def test_how_much_of_the_sheet_is_read_grows_to_all_of_it(rows: int) -> None:
    content = book([["a"], *([f"text {n}"] for n in range(rows))])
    with ExcelFile(io.BytesIO(content), "book.xlsx", chunk_rows=200, block_bytes=1) as opened:
        shares = [opened.share_read, *(opened.share_read for _ in opened.chunks()), opened.share_read]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1.0
    assert (len(set(shares)) > 2) == (rows > 1)


@given(st.lists(st.lists(st.text(max_size=5), max_size=6), max_size=5))
def test_texts_come_back_from_the_disk(batches: list[list[str]]) -> None:
    spool = TextSpool()
    for batch in batches:
        spool.put(pa.array(["before", *batch, "after"]).slice(1, len(batch)))
    assert spool.size == sum(len(text.encode()) + 4 for batch in batches for text in batch)
    texts = spool.texts()
    texts.validate(full=True)
    assert texts.to_pylist() == [text for batch in batches for text in batch]
    spool.forget()
    assert texts.to_pylist() == [text for batch in batches for text in batch]


def test_texts_that_were_looked_at_are_forgotten() -> None:
    spool, process = TextSpool(), psutil.Process()
    for number in range(64):
        spool.put(pa.array([f"{number:04}" * 256] * 1000))
    texts = spool.texts()
    before = process.memory_info().rss
    assert len(texts.unique()) == 64
    looked_at = process.memory_info().rss
    spool.forget()
    assert looked_at - before > 50e6
    assert process.memory_info().rss - before < 10e6


_REAL = changed(
    book([["a", "b", "c"], ["x", 1.5, True], ["=A1", None, "y"]]),
    {"xl/sharedStrings.xml": None, "docProps/core.xml": None, "docProps/app.xml": None, "xl/theme/theme1.xml": None},
)


@settings(max_examples=tried(150))
@given(st.data())
def test_a_workbook_that_is_damaged_anywhere_is_refused_with_a_message_or_read(data: st.DataObject) -> None:
    """Damage parts and the headers of the archive. Any unexpected exception would end the reading process."""
    content = shared(_REAL)
    if data.draw(st.booleans()):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            part = data.draw(st.sampled_from(archive.namelist()))
            content = changed(content, {part: _damaged(data, archive.read(part))})
    else:
        content = _damaged(data, content)
    try:
        Whole(content, block_bytes=100)
    except RecordsError as error:
        assert error.message.startswith("book.xlsx")  # noqa: PT017


_SECRET = "Iris"
_CONTENTS = st.lists(
    st.sampled_from([
        "0", "1", "7", "-", ".", "e", "+", " ", "9" * 20, "0" * 20, "45443.5", "1e400", "1e-400", "NaN", "inf", "true",
        "2024-05-31T24:00:00", "&#50;", "&#x32;", "&amp;", "&#0;", "&x;", "_x0032_", "_xD800_", "\u0663",
        "\ufffe", "\r",        "<!--1-->", "<![CDATA[1]]>", "<?x 1?>", "<r>1</r>", "<t>1</t>", _SECRET, "9" * 5000,
    ]),
    max_size=3,
).map("".join)  # fmt: skip
_ATTRIBUTES = st.lists(
    st.sampled_from([
        "t='s'", "t='n'", "t='str'", "t='inlineStr'", "t='b'", "t='e'", "t='d'", "t='x'", "t=''", "t='&#115;'", "s='0'",
        "s='1'", "s='2'", "s='3'", "s='9'", "s='-1'", "s='\u0661'", "x=' t=&apos;s&apos;'", f"x='{_SECRET}'",
    ]),
    max_size=3,
    unique=True,
).map(" ".join)  # fmt: skip
_REFERENCES = st.sampled_from(["A{}", "B{}", "a{}", "A0{}", "A&#5{};", "XFE{}", "{}", "A", "A" + "9" * 30, "A{} "])
_HOLDERS = st.sampled_from(
    ["<v>{}</v>", "<v>{}</v><v>1</v>", "<f>A1</f><v>{}</v>", "<f>{}</f>", "<is><t>{}</t></is>", "<is>{}</is>", "{}", ""]
)


@settings(max_examples=tried(150))
@given(
    st.lists(st.tuples(_REFERENCES, _ATTRIBUTES, _HOLDERS, _CONTENTS), min_size=1, max_size=3),
    st.sampled_from(["{}", "0{}", "&#5{};", "9" * 30, ""]),
    st.booleans(),
)
def test_a_hostile_cell_is_refused_without_its_content_or_read(
    cells: list[tuple[str, str, str, str]], number: str, double: bool
) -> None:
    """Any other exception would end the reading process, with a message for developers."""
    rows = ""
    for at, (reference, attributes, holder, content) in enumerate(cells, 2):
        cell = f"<c r='{reference.format(at)}' {attributes}>{holder.format(content)}</c>"
        rows += f"<row r='{number.format(at)}'>{cell}</row>"
    book = with_texts(HEADER + (rows.replace("'", '"') if double else rows), "h", "one", "_x0041_", "")
    try:
        Whole(book)
    except RecordsError as error:
        assert error.message.startswith("book.xlsx")  # noqa: PT017
        assert _SECRET not in str(error)  # noqa: PT017


def _damaged(data: st.DataObject, content: bytes) -> bytes:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 8)))
        other = data.draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b"\xff\xff\xff\xff", b"<", b">", b"/", b'"', b"<c/>", b"<row/>", b"</row>", b"&#0;"]),
            )
        )
        content = content[:start] + other + content[end:]
    return content
