"""Published files that break parsers: csv-spectrum, and the big list of naughty strings."""

import csv
import gzip
import io
import json
import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl.cell import WriteOnlyCell

from pipelines.commands.batch_texts import print_report
from resources.file_reader import FileReader, ReadLimits, ReadOptions
from resources.file_reader.delimited import DelimitedFile
from resources.importing.importer import Importer
from resources.record_store import RecordStore, ledger
from resources.report_writer.page import render
from tests.records import contacts_of, values

CORPORA = Path(os.environ.get("RECORDS_CORPORA") or Path(__file__).parents[2] / "shared/corpora")
pytestmark = pytest.mark.skipif(not CORPORA.is_dir() and not os.environ.get("CI"), reason="no corpora")

SUFFIXES = ["csv", "tsv", "json", "ndjson", "xlsx", "parquet", "csv.gz"]
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def naughty() -> list[str]:
    """Return every string of the list once: 511 of 515, because four are there twice."""
    strings: list[str] = json.loads((CORPORA / "blns" / "blns.json").read_text("utf-8"))
    assert len(strings) == 515
    once = list(dict.fromkeys(strings))
    assert len(once) == 511
    return once


def test_every_file_of_csv_spectrum_is_read_as_its_json_says(tmp_path: Path) -> None:
    """All twelve files are read, with two faults of the corpus corrected.

    The JSON of location_coordinates is one object instead of a list, and has another telephone number. The files
    named after their CRLF have lost the CR in this copy; the JSON of newlines_crlf still has it.
    """
    spectrum = CORPORA / "csv_spectrum"
    equal = []
    for path in sorted((spectrum / "csvs").glob("*.csv")):
        expected = json.loads((spectrum / "json" / f"{path.stem}.json").read_text("utf-8"))
        content = path.read_bytes()
        if path.stem == "location_coordinates":
            assert expected.pop("Contact Phone Number") == "1234567890"
            expected = [{"Contact Phone Number": "2095257564", **expected}]
        if path.stem.endswith("_crlf"):
            content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        copy = tmp_path / path.name
        copy.write_bytes(content)
        file = DelimitedFile(copy, path.name, ReadOptions(), ReadLimits())
        rows = [
            dict(zip(file.headers, row, strict=True))
            for chunk in file.chunks()
            for row in zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
        ]
        assert rows == expected, path.stem
        equal.append(path.stem)
    assert len(equal) == 12


def write(path: Path, rows: list[list[str]]) -> Path:
    """Write a file of the rows in the format of its name; the first row is the header."""
    kind, content = path.name.removesuffix(".gz").rpartition(".")[2], io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="", write_through=True)
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    if kind in ("csv", "tsv"):
        csv.writer(text, delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL).writerows(rows)
    elif kind == "json":
        json.dump(records, text, ensure_ascii=False)
    elif kind == "ndjson":
        text.writelines(json.dumps(record) + "\n" for record in records)
    elif kind == "parquet":
        columns = [pa.array([row[at] for row in rows[1:]], pa.string()) for at in range(len(rows[0]))]
        pq.write_table(pa.table(columns, names=rows[0]), content)
    else:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in rows:
            sheet.append([_text_cell(sheet, cell) for cell in row])
        book.save(content)
    data = content.getvalue()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _text_cell(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # it is neither a formula nor an error
    return cell


def carried(strings: list[str], suffix: str) -> list[str]:
    """Return the strings that a file of the format can hold.

    XML 1.0 allows neither control characters nor U+FFFE. (A workbook holds them only as Excel's escape, _x0007_,
    which openpyxl does not write.)
    """
    return [text for text in strings if not _NO_XML.search(text)] if suffix == "xlsx" else strings


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.runs_on("laptop", "postgres")
def test_every_naughty_string_is_stored_as_the_bytes_it_is(
    importer: Importer, store: RecordStore, tmp_path: Path, suffix: str
) -> None:
    """Only the empty string is null. A text field of contacts has no other null marker: "NULL" is a text."""
    strings = carried(naughty(), suffix)
    assert len(naughty()) - len(strings) == (6 if suffix == "xlsx" else 0)
    rows = [[f"C-{number:03}", "lead", text] for number, text in enumerate(strings)]
    path = write(tmp_path / f"file.{suffix}", [["external_id", "status", "notes"], *rows])

    report = importer.import_file(contacts_of(path))

    assert (report.batch.counts.read, report.batch.counts.created) == (len(strings), len(strings))
    stored = values(store, "notes")
    assert {key: None if text is None else text.encode() for key, text in stored.items()} == {
        key: text.encode() or None for key, _, text in rows
    }
    assert {"NULL", "null", "None", "NaN", "undefined"} & set(strings) <= set(stored.values())


@pytest.mark.usefixtures("quick_reading")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_naughty_string_can_be_a_header(tmp_path: Path, suffix: str) -> None:
    """The empty string is excluded, because it names nothing."""
    headers = [text for text in carried(naughty(), suffix) if text]
    path = write(tmp_path / f"file.{suffix}", [headers, [str(number) for number in range(len(headers))]])
    with FileReader(path) as reader:
        (chunk,) = reader.chunks()
        assert [header.encode() for header in reader.headers] == [header.encode() for header in headers]
    (row,) = zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
    assert row == tuple(str(number) for number in range(len(headers)))


@pytest.mark.runs_on("laptop", "postgres")
def test_naughty_strings_are_names_of_files_in_the_ledger(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """The file names consist of whole strings, and together have every kind of character of the list.

    A kind is each ASCII character, and otherwise a Unicode category with a number of bytes. A file for every string
    would take a minute. A file name has neither / nor NUL, is not empty, and has at most 255 bytes.
    """
    strings = [text for text in naughty() if text and "/" not in text and len(text.encode()) <= 200]
    assert "\0" not in "".join(strings)
    assert len(strings) == 327
    seen: set[tuple[str, int]] = set()
    names = [""]
    while new := max((_kinds(text) - seen for text in strings), key=len):
        text = next(text for text in strings if _kinds(text) - seen == new)
        seen |= new
        if len((names[-1] + text).encode()) > 240:
            names.append("")
        names[-1] += text
    assert seen == _kinds("".join(strings))
    assert len(names) < 8

    for number, name in enumerate(names):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"external_id,status\nC-{number},lead\n")
        assert importer.preview(contacts_of(path)).batch.file_name.encode() == os.fsencode(path.name)
    assert {batch.file_name.removesuffix(".csv") for batch in store.batches()} == set(names)


@pytest.mark.runs_on("laptop", "postgres")
def test_every_naughty_string_is_a_name_in_ledger_report_and_terminal(
    importer: Importer, store: RecordStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each name passes through the ledger and everything after it. No terminal receives a control character."""
    names = [text for text in naughty() if text and "/" not in text]
    path = tmp_path / "file.csv"
    path.write_text("external_id,status\n1,lead\n")
    report, record_type = importer.preview(contacts_of(path)), store.record_type("contacts")
    with store.transaction("names", "tester") as transaction:
        for number, name in enumerate(names):
            batch = replace(report.batch, batch_id=f"{report.batch.batch_id}-{number}", file_name=name)
            transaction.append(ledger.append_batch, batch)
    written = {batch.batch_id: batch for batch in store.batches() if batch.batch_id != report.batch.batch_id}
    assert {batch.file_name.encode() for batch in written.values()} == {name.encode() for name in names}
    assert len(written) == len(names) > 327

    for batch in written.values():
        named = replace(report, batch=batch)
        assert "<script" not in render(named, record_type).lower()
        print_report(named, (), batch.at)
        shown = capsys.readouterr().out
        assert not [it for it in shown if unicodedata.category(it) in ("Cc", "Cf") and it != "\n"]
        visible = "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in batch.file_name)
        assert f"{visible} as contacts of ua" in shown


def _kinds(text: str) -> set[tuple[str, int]]:
    return {(it if it.isascii() and not it.isalnum() else unicodedata.category(it), len(it.encode())) for it in text}
