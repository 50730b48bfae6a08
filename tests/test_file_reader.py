"""Untrusted CSV: every record with its number and line, or no record at all."""

import csv
import gc
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import resources.file_reader.delimited
from resources.file_reader import FileReader, MalformedRecord
from schemas.errors import NotFound, UnreadableFile


class Whole:
    """All that a reader says of a file."""

    def __init__(self, path: Path) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.records: list[int] = []
        self.lines: list[int] = []
        self.malformed: list[MalformedRecord] = []
        self.chunks = 0
        with FileReader(path) as reader:
            self.headers = reader.headers
            for chunk in reader.chunks():
                self.chunks += 1
                assert chunk.values.num_rows == len(chunk.records) == len(chunk.lines)
                if chunk.values.num_rows:
                    assert chunk.values.column_names == [str(i) for i in range(len(reader.headers))]
                    self.rows += zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
                self.records += chunk.records.to_pylist()
                self.lines += chunk.lines.to_pylist()
                self.malformed += chunk.malformed
        self.read, self.sha256 = reader.read, reader.sha256


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes | str], Path]:
    def write(content: bytes | str) -> Path:
        path = tmp_path / "file.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.file_reader.delimited, "_BLOCK", 4096)


def _refusal(path: Path) -> str:
    message = ""
    try:
        Whole(path)
    except UnreadableFile as error:
        message = error.message
    gc.collect()  # a file left open would warn now
    return message


Write = Callable[[bytes | str], Path]


def test_records_and_lines_are_numbered_through_quoted_line_breaks_and_blank_lines(file: Write) -> None:
    whole = Whole(file('a,b\r\n"x\r\ny",2\r\n\r\n\r\n3,"p\n\nq"\r\n"",4'))
    assert whole.headers == ("a", "b")
    assert whole.rows == [("x\r\ny", "2"), ("3", "p\n\nq"), ("", "4")]
    assert (whole.records, whole.lines, whole.malformed, whole.read) == ([1, 2, 3], [2, 6, 9], [], 3)


def test_a_header_may_come_after_blank_lines_and_hold_line_breaks(file: Write) -> None:
    whole = Whole(file('\n\r\n"a\nb",c\n1,2\n'))
    assert (whole.headers, whole.rows, whole.records, whole.lines) == (("a\nb", "c"), [("1", "2")], [1], [5])


@pytest.mark.parametrize("header", ["a,b", '"a","b"'])
def test_a_byte_order_mark_is_no_part_of_the_header(file: Write, header: str) -> None:
    path = file(f"\ufeff{header}\r\n1,\ufeff2\r\n")
    whole = Whole(path)
    assert (whole.headers, whole.rows, whole.lines) == (("a", "b"), [("1", "\ufeff2")], [2])
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
def test_a_header_alone_is_a_file_of_no_records(file: Write, end: str) -> None:
    path = file(f"a,b{end}")
    whole = Whole(path)
    assert (whole.headers, whole.rows, whole.read, whole.malformed) == (("a", "b"), [], 0, [])
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_three_lines_of_one_column_are_a_header_and_two_records(file: Write) -> None:
    """duckdb#25827: the sniffer finds no record here."""
    whole = Whole(file("c0\nv0\na;b"))
    assert (whole.headers, whole.rows, whole.read) == (("c0",), [("v0",), ("a;b",)], 2)


def test_in_one_column_an_empty_value_is_quoted_and_a_blank_line_is_nothing(file: Write) -> None:
    whole = Whole(file('a\n1\n\n""\n2\n'))
    assert (whole.rows, whole.lines) == ([("1",), ("",), ("2",)], [2, 4, 5])


def test_a_quotation_mark_inside_an_unquoted_field_is_a_character(file: Write) -> None:
    whole = Whole(file('a,b\n5" nail,x""y\n "q",\x00\n'))
    assert whole.rows == [('5" nail', 'x""y'), (' "q"', "\x00")]


@pytest.mark.usefixtures("small_blocks")
def test_malformed_records_are_counted_and_later_ones_keep_their_numbers(file: Write) -> None:
    """At the start, at the end, in a row, for longer than a block, and of many lines."""
    records: list[tuple[str, int]] = [("1", 1), ('"",2,3', 3)]
    for i in range(3000):
        records.append((f"{i},b", 2))
        if i % 7 == 0:
            records += [("x,y,z", 3), ('"one\nfield"', 1)]
    records += [("x", 1)] * 5000 + [("end,b", 2)] + [("a,b,c,d", 4)] * 3
    text, line, expected = "a,b\n", 2, []
    for record, fields in records:
        expected.append((line, fields))
        text += record + "\n"
        line += record.count("\n") + 1
    path = file(text)
    whole = Whole(path)
    numbered = [(i, line, fields) for i, (line, fields) in enumerate(expected, 1)]
    assert whole.chunks > 5
    assert whole.read == len(records)
    assert list(zip(whole.records, whole.lines, strict=True)) == [(i, at) for i, at, fields in numbered if fields == 2]
    assert whole.malformed == [MalformedRecord(i, at, fields) for i, at, fields in numbered if fields != 2]
    assert whole.rows == [(*record.split(","),) for record, fields in records if fields == 2]
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_malformed_records_alone_is_read(file: Write) -> None:
    whole = Whole(file("a,b\n1\n1,2,3\n"))
    assert (whole.rows, whole.read) == ([], 2)
    assert whole.malformed == [MalformedRecord(1, 2, 1), MalformedRecord(2, 3, 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.csv is empty."),
        (b"\xef\xbb\xbf", "file.csv is empty."),
        (b"\n\r\n\n", "file.csv is empty."),
        (b"b,a,b,a,c\n1,2,3,4,5\n", "file.csv has more than one column 'a', 'b'."),
        ("na\u00efve,b\n".encode("latin-1"), "file.csv is not UTF-8: in line 1 the byte 0xef does not belong."),
        (b'a\r\n"x\r\ny"\r\n\xe9\r\n', "file.csv is not UTF-8: in line 4 the byte 0xe9 does not belong."),
        (
            b"a,b\n" + b"1,2\n" * 9998 + b"\xe9,2\n",
            "file.csv is not UTF-8: in line 10,000 the byte 0xe9 does not belong.",
        ),
        (b"a,b\n1,\xc3", "file.csv is not UTF-8: in line 2 the byte 0xc3 does not belong."),
        ("a,b\n".encode("utf-16"), "file.csv is not UTF-8: in line 1 the byte 0xff does not belong."),
        (b'a,b\n1,2\n3,"4\n5,6\n', "file.csv is not CSV: line 3: unexpected end of data."),
        (b'a,b\n1,2\n3,"4"x\n5,6\n', "file.csv is not CSV: line 3: ',' expected after '\"'."),
        (b'"a"x,b\n1,2\n', "file.csv is not CSV: line 1: ',' expected after '\"'."),
    ],
)
@pytest.mark.parametrize("block", [4096, 16 << 20])
def test_what_is_not_csv_in_utf8_is_refused_with_its_line(
    file: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, block: int
) -> None:
    monkeypatch.setattr(resources.file_reader.delimited, "_BLOCK", block)
    assert _refusal(file(content)) == message


@pytest.mark.usefixtures("small_blocks")
def test_an_open_quote_that_swallows_the_rest_of_the_file_is_refused_with_a_line_before_it(file: Write) -> None:
    message = _refusal(file(b"a,b\n" + b"1,2\n" * 5000 + b'3,"4\n' + b"5,6\n" * 5000))
    before = int(message.removeprefix("file.csv is not CSV: after line ").partition(":")[0].replace(",", ""))
    assert 1 < before <= 5001


@pytest.mark.parametrize("name", ["", "none.csv", "none/none.csv"], ids=["directory", "missing", "missing folder"])
def test_what_is_no_file_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        FileReader(tmp_path / name)


@pytest.mark.usefixtures("small_blocks")
def test_a_reader_may_be_left_in_the_middle(file: Write) -> None:
    path = file(b"a,b\n" + b"1,2\n" * 20_000)
    for _ in range(20):
        with FileReader(path) as reader:
            first = next(reader.chunks())
            assert first.records[0].as_py() == 1
        assert reader.sha256 == ""
    gc.collect()


CELLS = st.text(
    st.one_of(st.sampled_from(',"\r\n; \t'), st.characters(codec="utf-8", exclude_characters="\0")), max_size=8
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """A header of unique names that are not empty, and rows as wide."""
    names = CELLS.filter(lambda name: name != "" and not name.startswith("\ufeff"))  # that would be a mark, not a name
    headers = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    return [headers, *draw(st.lists(st.lists(CELLS, min_size=len(headers), max_size=len(headers)), max_size=12))]


@settings(deadline=None)
@given(tables(), st.sampled_from(["\r\n", "\n"]), st.booleans())
@example([["a", "b"], ["\r", "\n"], ["", ""], ['"', ","]], "\n", False)
def test_what_python_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], line_end: str, mark: bool
) -> None:
    # Before 3.13 the writer leaves a lone carriage return unquoted where lines end in "\n": quote everything there.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if line_end == "\n" else csv.QUOTE_MINIMAL
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=line_end, quoting=quoting).writerows(table)
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(written.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    whole = Whole(path)
    assert [list(whole.headers), *map(list, whole.rows)] == table
    assert whole.records == list(range(1, len(table)))
    assert (whole.read, whole.malformed) == (len(table) - 1, [])
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


class _Spoiling:
    """Arrow's reader, one of whose rows is dropped, doubled or split in two."""

    def __init__(self, reader: Any, how: str, victim: int) -> None:
        self.reader, self.how, self.victim = reader, how, victim

    def __enter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches()

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        before = 0
        for batch in self.reader:
            at = self.victim - before
            before += batch.num_rows
            yield self._spoilt(batch, at) if 0 <= at < batch.num_rows else batch

    def _spoilt(self, batch: pa.RecordBatch, at: int) -> pa.RecordBatch:
        rows = batch.to_pylist()
        row = rows[at]
        rows[at : at + 1] = {
            "drop": [],
            "double": [row, row],
            "split": [{**row, "1": ""}, {**row, "0": ""}],
        }[self.how]
        return pa.RecordBatch.from_pylist(rows, batch.schema)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("tail", [b"", b"x\n"], ids=["", "malformed last"])
@pytest.mark.parametrize("victim", [1, 2500, 5000], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", ["drop", "double", "split"])
def test_a_record_more_or_less_in_one_of_the_parsers_stops_the_reading(
    file: Write, monkeypatch: pytest.MonkeyPatch, how: str, victim: int, tail: bytes
) -> None:
    path = file(b"a,b\n" + b"1,2\n" * 5000 + tail)
    assert Whole(path).read == 5000 + bool(tail)
    genuine = pyarrow.csv.open_csv
    monkeypatch.setattr(pyarrow.csv, "open_csv", lambda *a, **options: _Spoiling(genuine(*a, **options), how, victim))
    assert _refusal(path).startswith("file.csv can be read in two ways near record ")
