"""Two parsers read each workbook. If one finds more, less or something elsewhere, the file is refused."""

import io
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from resources.file_reader.chunk import MalformedRecord, TextChunk
from resources.file_reader.excel import ExcelFile, ExcelLimits
from resources.file_reader.excel.canonical import CanonicalParser
from resources.file_reader.excel.rows import RowParser
from resources.importing.importer import Importer
from schemas.errors import UnreadableFile
from tests.object_server import on_disk
from tests.records import contacts_of
from tests.test_excel import Whole, shared, sheet

_ROWS = 400
Row = tuple[str, ...]


def _row(number: int, quote: str) -> str:
    """A text, a number, a shared text, a date and a blank; `quote` is the quotation mark of the attributes."""
    cells = [
        f'<c r="A{number}" t="inlineStr"><is><t>text</t></is></c>',
        f'<c r="B{number}"><v>{number}</v></c>' if number % 3 else "",
        f'<c r="C{number}" t="s"><v>1</v></c>',
        f'<c r="D{number}" s="1"><v>45443</v></c>',
    ]
    return f'<row r="{number}">{"".join(cells)}</row>'.replace('"', quote)


def _book(quote: str, more: str = "", after: str = "") -> bytes:
    """Return records in the rows from 2, in the usual form or in another that XML allows; then `more` rows."""
    header = "".join(f'<c r="{letter}1" t="str"><v>{letter}</v></c>' for letter in "ABCDE")
    rows = "".join(_row(n, quote) for n in range(2, _ROWS + 2))
    return sheet(f'<row r="1">{header}</row>{rows}' + more.replace('"', quote), after)


def _dropped(row: Row) -> list[Row]:
    return []


def _doubled(row: Row) -> list[Row]:
    return [row, row]


def _split(row: Row) -> list[Row]:
    return [(*row[:2], "", "", ""), ("", "", *row[2:])]


def _shifted(row: Row) -> list[Row]:
    return [("", *row[:-1])]


def _changed(row: Row) -> list[Row]:
    return [("Text", *row[1:])]


class _Defective:
    """Changes one record in a parser's chunks; it counts the records as they pass."""

    def __init__(self, how: Callable[[Row], list[Row]], victim: int) -> None:
        self._how, self._victim = how, victim
        self.done = False

    def chunk(self, parser: Any, chunk: TextChunk) -> TextChunk:
        records = chunk.records.to_pylist()
        if self.done or self._victim not in records:
            return chunk
        self.done = True
        rows: list[tuple[int, Row]] = []
        for record, line, row in zip(records, chunk.lines.to_pylist(), chunk.values.to_pylist(), strict=True):
            texts = tuple(row.values())
            rows += [(line, each) for each in (self._how(texts) if record == self._victim else [texts])]
        parser._progress.read += len(rows) - len(records)
        columns = zip(*(row for _, row in rows), strict=True)
        return TextChunk(
            pa.table({str(at): pa.array(column, pa.string()) for at, column in enumerate(columns)}),
            pa.array(range(records[0], records[0] + len(rows)), pa.int64()),
            pa.array([line for line, _ in rows], pa.int64()),
        )


def _read(content: bytes, block_bytes: int, delivered: list[int]) -> None:
    """Append what is delivered to the list, even if the file is refused."""
    with ExcelFile(io.BytesIO(content), "book.xlsx", block_bytes=block_bytes, chunk_rows=1) as book:
        for chunk in book.chunks():
            delivered += chunk.records.to_pylist()


@pytest.mark.parametrize("block_bytes", [4000, 1 << 20], ids=["many blocks", "one block"])
@pytest.mark.parametrize("victim", [1, _ROWS // 2, _ROWS], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", [_dropped, _doubled, _split, _shifted, _changed])
@pytest.mark.parametrize("by_arrow", [True, False], ids=["canonical", "fallback"])
def test_a_record_that_the_delivering_parser_spoils_fails_the_file(
    monkeypatch: pytest.MonkeyPatch, by_arrow: bool, how: Callable[[Row], list[Row]], victim: int, block_bytes: int
) -> None:
    content = _book('"' if by_arrow else "'")
    assert Whole(content, block_bytes=block_bytes).read == _ROWS
    defective = _Defective(how, victim)
    of_arrow, of_expat = CanonicalParser.read, RowParser.feed

    def read(parser: CanonicalParser, data: bytes) -> Any:
        found = of_arrow(parser, data)
        return defective.chunk(parser, found) if isinstance(found, TextChunk) else found

    def feed(parser: RowParser, rows: bytes) -> Iterator[TextChunk]:
        for chunk in of_expat(parser, rows):
            yield defective.chunk(parser, chunk)

    if by_arrow:
        monkeypatch.setattr(CanonicalParser, "read", read)
    else:
        monkeypatch.setattr(RowParser, "feed", feed)
    delivered: list[int] = []
    with pytest.raises(UnreadableFile) as caught:
        _read(content, block_bytes, delivered)
    assert defective.done
    assert caught.value.message == (
        f"book.xlsx, sheet 'Sheet': row {victim + 1:,} (record {victim:,}) can be read in two ways."
    )
    assert victim not in delivered


@pytest.mark.parametrize("quote", ['"', "'"], ids=["canonical", "fallback"])
def test_a_row_wider_than_the_header_keeps_its_texts(quote: str) -> None:
    wide = '<row r="402"><c r="A402"><v>7</v></c><c r="G402" t="s"><v>1</v></c></row>'
    whole = Whole(_book(quote, wide))
    assert whole.malformed == [MalformedRecord(_ROWS + 1, _ROWS + 2, 7, ("7", "", "", "", "", "", "two"))]


@pytest.mark.parametrize("quote", ['"', "'"], ids=["canonical", "fallback"])
def test_rows_that_are_wide_with_nothing_are_refused(quote: str) -> None:
    """A row of 40 bytes that names the last column has 16,384 fields, and a sheet may have a million such rows."""
    wide = "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(402, 502))
    content = _book(quote, wide)
    assert len(Whole(content).malformed) == 100
    message = r"row 463 is beyond 1,000,000 cells of rows that are wider than the header"
    with pytest.raises(UnreadableFile, match=message):
        Whole(content, limits=ExcelLimits(wide_cells=1_000_000))


def test_the_rejects_file_shows_what_a_row_has_beyond_the_header(importer: Importer, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for cells in (["external_id", "status", "amount"], ["C-1", "lead", 1], ["C-2", "lead", 2, None, "beyond"]):
        book.active.append(cells)
    book.save(tmp_path / "in.xlsx")
    report = importer.preview(contacts_of(tmp_path / "in.xlsx"))
    assert report.rejects_file is not None
    header, row = openpyxl.load_workbook(on_disk(report.rejects_file)).worksheets[0].iter_rows(values_only=True)
    assert [cell for cell in header if cell][:3] == ["external_id", "status", "amount"]
    assert row[:3] == ("C-2", "lead", "2")
    assert row[-1] == "beyond"


@pytest.mark.parametrize("quote", ['"', "'"], ids=["canonical", "fallback"])
@pytest.mark.parametrize("filtered", [True, False])
def test_hidden_rows_are_read_and_reported(quote: str, filtered: bool) -> None:
    hidden = '<row r="402" hidden="1"><c r="A402"><v>7</v></c></row><row r="403" hidden="true"/>'
    whole = Whole(_book(quote, hidden, '<autoFilter ref="A1:E402"/>' if filtered else ""))
    why = ", which has a filter" if filtered else ""
    assert (whole.read, whole.rows[-1][0]) == (_ROWS + 1, "7")
    assert whole.notes[1:] == (f"1 row is hidden in the sheet{why}; it was read as well.",)


def test_other_sheets_with_values_are_named_and_empty_ones_are_not() -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["a"])
    for number in range(7):
        book.create_sheet(f"More {number}").append([date(2024, 5, 31) if number % 2 else "x"])
    book.create_sheet("Empty")
    saved = io.BytesIO()
    book.save(saved)
    assert Whole(shared(saved.getvalue())).notes == (
        "Sheet 'Sheet' of 9 was read.",
        "7 other sheets have values and were not read: 'More 0', 'More 1', 'More 2', 'More 3', 'More 4', ….",
    )
