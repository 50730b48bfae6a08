"""What other programs write is read as it was written, or asked about, or refused: never as something else in silence.

Files are read without a word about how they are written. So encoding, dialect and format are what the reader finds.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from resources.file_reader import ReadLimits, ReadOptions
from resources.file_reader.delimited import DelimitedFile
from resources.file_reader.delimited.encoding import _CANDIDATES as OLDER
from resources.file_reader.excel import ExcelFile
from resources.file_reader.formats import recognise
from resources.file_reader.formats.format import OpenedFile
from resources.file_reader.json_records import JsonFile
from resources.file_reader.parquet import ParquetFile
from schemas.errors import UnreadableFile
from tests.examples import tried

UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
Table = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Read:
    """How a file was read. `rows` begin with the header. `asked`: the options about which the reader asks."""

    rows: Sequence[tuple[str, ...] | None]
    asked: list[str | None]


def read(path: Path) -> Read:
    format_ = recognise(path, path.name).name
    if format_ == "delimited":
        return of_file(DelimitedFile(path, path.name, ReadOptions(), ReadLimits()))
    opening = {"excel": ExcelFile, "json": JsonFile, "ndjson": JsonFile, "parquet": ParquetFile}[format_]
    with path.open("rb") as content, opening(content, path.name) as file:
        return of_file(file)


def of_file(file: OpenedFile) -> Read:
    rows: dict[int, tuple[str, ...] | None] = {0: file.headers}
    for chunk in file.chunks():
        values = zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
        rows |= dict(zip(chunk.records.to_pylist(), values, strict=True))
        rows |= {bad.record: None for bad in chunk.malformed}
    return Read([rows[number] for number in sorted(rows)], [question.option for question in file.questions])


def is_as_written(result: "Read | None", written: "Written") -> bool:
    """Return whether each record is read as it was written or rejected, or the file is refused or asked about."""
    if result is None or result.asked:
        return True
    rows = [row for row in rows_of(written.table) if any(row) or len(row) == 1]  # several empty values count as blank
    return len(result.rows) == len(rows) and all(it in (None, row) for it, row in zip(result.rows, rows, strict=True))


@cache
def characters_of(encoding: str) -> st.SearchStrategy[str]:
    """Return the characters of an encoding, without those that come back as another one."""
    if encoding in UNICODE:
        return st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    found = []
    for character in map(chr, range(1, 0x10000)):
        with suppress(UnicodeError):
            if character.encode(encoding).decode(encoding) == character:
                found.append(character)
    return st.sampled_from(found)


@cache
def tables(encoding: str = "utf-8", without: str = "") -> st.SearchStrategy[list[list[str]]]:
    """Return tables of text without some characters. Their headers are different, and have no line ends."""
    special = "".join(it for it in "\"',;\t|\\\r\n =-0ab" if it not in without)
    character = st.one_of(characters_of(encoding), st.sampled_from(special)).filter(lambda it: it not in without)
    cell = st.text(character, max_size=8)
    header = cell.filter(lambda text: not {*text} & {*"\r\n"} and text.strip() != "")

    def of_width(width: int) -> st.SearchStrategy[list[list[str]]]:
        rows = st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=6)
        headers = st.lists(header, min_size=width, max_size=width, unique=True)
        return st.builds(lambda first, rest: [first, *rest], headers, rows)

    return st.integers(1, 4).flatmap(of_width)


@dataclass(frozen=True)
class Written:
    """A table as Python writes it."""

    table: list[list[str]]
    encoding: str
    dialect: dict[str, Any]
    content: bytes


DIALECTS: list[dict[str, Any]] = [
    {"quotechar": '"', "doublequote": True},
    {"quotechar": '"', "doublequote": False, "escapechar": "\\"},
    {"quotechar": "'", "doublequote": True},
]


def is_clear(table: Table, dialect: dict[str, Any]) -> bool:
    """Return whether a reader can tell the dialect.

    An escaped quotation mark at the end of a value, or before a line end, a delimiter or another mark, is written as
    one that ends a value after a backslash. In one column, apostrophes may be parts of the values.
    """
    if dialect["quotechar"] == "'":
        return len(table[0]) > 1
    return dialect["doublequote"] or not any(re.search(r'"([\r\n,;\t|"]|$)', cell) for row in table for cell in row)


@st.composite
def delimited(draw: st.DrawFn, encodings: Sequence[str]) -> Written:
    dialect: dict[str, Any] = {
        "delimiter": draw(st.sampled_from(",;\t|")),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        **draw(st.sampled_from(DIALECTS)),
    }
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    # Before 3.13 the writer leaves a line end unquoted that is not its own: quote everything there.
    # With backslashes it leaves a field unquoted that has an escaped quotation mark, which is no dialect of files.
    # Apostrophes are known as quotation marks only if they are around enough values.
    quotes_all = dialect["lineterminator"] != "\r\n" or dialect != {**dialect, **DIALECTS[0]}
    dialect["quoting"] = csv.QUOTE_ALL if quotes_all else quoting
    encoding = draw(st.sampled_from(encodings))
    table = draw(tables(encoding).filter(lambda it: is_clear(it, dialect)))
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(table)
    try:
        return Written(table, encoding, dialect, text.getvalue().encode(encoding))
    except UnicodeEncodeError:
        reject()


def rows_of(table: Table) -> list[tuple[str, ...]]:
    return [tuple(row) for row in table]


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def found(written: Written, path: Path) -> Read | None:
    """Return how a text is read; None if it is refused."""
    path.write_bytes(written.content)
    with suppress(UnreadableFile):
        return read(path)
    return None


OFTEN = settings(max_examples=tried(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@OFTEN
@given(delimited(UNICODE))
def test_text_in_unicode_is_read_as_written(tmp_path_factory: pytest.TempPathFactory, written: Written) -> None:
    result = found(written, tmp_path_factory.getbasetemp() / "unicode.csv")
    assert is_as_written(result, written)


@OFTEN
@given(delimited(OLDER).filter(lambda it: it.content.isascii() or not is_utf8(it.content)))
def test_text_in_an_older_encoding_is_read_as_written_or_asked_about(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    """What is UTF-8 throughout is read as that: text in another encoding is hardly ever UTF-8 by chance."""
    result = found(written, tmp_path_factory.getbasetemp() / "older.csv")
    assert is_as_written(result, written)


NOT_IN_XML = "".join(map(chr, [*range(1, 9), *range(11, 32), 0xFFFE, 0xFFFF]))


def as_json(table: Table, path: Path) -> None:
    headers, *rows = table
    path.write_text(json.dumps([dict(zip(headers, row, strict=True)) for row in rows]))


def as_ndjson(table: Table, path: Path) -> None:
    headers, *rows = table
    lines = [json.dumps(dict(zip(headers, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def as_parquet(table: Table, path: Path) -> None:
    headers, *rows = table
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(dict(zip(headers, columns, strict=True))), path)


def as_workbook(table: Table, path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for number, row in enumerate(table, 1):
        for column, text in enumerate(row, 1):
            if text:
                cell = sheet.cell(number, column)
                cell.value = text
                cell.data_type = "s"  # not a formula
    book.save(path)


@pytest.mark.parametrize(("write", "suffix"), [(as_json, "json"), (as_ndjson, "ndjson"), (as_parquet, "parquet")])
@settings(max_examples=tried(60))
@given(table=tables())
def test_json_and_parquet_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[[Table, Path], None], suffix: str, table: list[list[str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"written.{suffix}"
    write(table, path)
    assert read(path) == Read(rows_of(table), [])


@settings(max_examples=tried(60))
@given(table=tables(without=NOT_IN_XML))
def test_workbooks_are_read_as_written(tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "written.xlsx"
    as_workbook(table, path)
    found = read(path)
    assert found.rows == [row for row in rows_of(table) if any(row)]
