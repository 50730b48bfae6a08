"""The rejects file: rejected records in the columns and format of the original file, ready to correct."""

import csv
import gzip
import io
import json
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.cell import WriteOnlyCell

from resources.file_reader import FileReader
from resources.file_reader.excel import ExcelFile
from resources.file_reader.excel.rejects import RejectsWorkbook
from resources.file_reader.excel.texts import decode
from resources.importing.importer import Importer
from resources.importing.rejects_writer import _problems, write_rejects
from resources.record_store import RecordStore
from resources.record_store.problems import PROBLEMS, ProblemFile
from schemas.batches import OnInvalid
from schemas.counts import Counts
from schemas.errors import Uncertain
from schemas.formulas import escape_formula, unescape_formula
from tests.examples import tried
from tests.object_server import on_disk
from tests.records import Row, contact, contacts_of, values, write_csv


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_a_rejects_file_has_the_records_as_they_came_and_all_that_is_wrong(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        'status;external_id;amount;extra\nlead;C-1;1;x\n"no\nbody";C-2;-1;"y;z"\nlead;C-3\nlead;C-4;1;x;y;z\n'
    )

    report = importer.preview(contacts_of(path))

    assert report.batch.counts == Counts(read=4, created=1, rejected=3)
    assert report.rejects_file is not None
    assert report.rejects_file.name == "in.rejects.csv"
    wrong, short, long = rows_of(on_disk(report.rejects_file), ";")
    batch_id = report.batch.batch_id
    assert wrong == {
        "status": "no\nbody",
        "external_id": "C-2",
        "amount": "-1",
        "extra": "y;z",
        "_batch": batch_id,
        "_record": "2",
        "_line": "3",
        "_problems": "amount must be 0 or more [greater_than_or_equal_to]: -1; "
        "status must be one of lead, prospect, customer, churned [isin]: no\nbody",
    }
    assert [short[name] for name in ("status", "external_id", "amount", "_line")] == ["lead", "C-3", "", "5"]
    assert (long["external_id"], long["extra"], str(list(long.values())[-1])) == ("C-4", "x", "['y', 'z']")


def test_a_corrected_rejects_file_imports_and_names_its_parent(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    bad = [contact(1), contact(2, amount="x", company="=1+1", notes="'-quoted"), contact(3, status="VIP")]
    path = write_csv(tmp_path / "in.csv", [{"company": "", "notes": "", **row} for row in bad])
    parent = importer.import_file(contacts_of(path), OnInvalid.SKIP)
    assert parent.rejects_file is not None
    rows = rows_of(on_disk(parent.rejects_file))
    assert (rows[0]["company"], rows[0]["notes"]) == ("'=1+1", "''-quoted")
    corrected = [{**row, "amount": "2.50", "status": "lead"} for row in rows]

    child = importer.import_file(contacts_of(write_csv(tmp_path / "corrected.csv", corrected)))

    assert child.batch.counts == Counts(read=2, created=2)
    assert child.to_dict()["parent"] == parent.batch.batch_id
    assert values(store, "company") == {"C-000001": None, "C-000002": "=1+1", "C-000003": None}
    assert values(store, "notes")["C-000002"] == "'-quoted"


def test_a_line_that_is_not_sure_stands_behind_the_columns_and_is_no_record_unless_corrected(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text('external_id,status\nC-1,lead\nC-2,"le"ad\nexternal_id,status\nC-3,lead\n')
    with pytest.raises(Uncertain, match="1 line with a quotation mark out of place is rejected, from line 3 on"):
        importer.import_file(contacts_of(path), OnInvalid.SKIP)
    (preview,) = store.batches("ua")
    parent = importer.commit("ua", preview.batch_id, OnInvalid.SKIP)
    assert parent.batch.counts == Counts(read=4, created=2, rejected=2)
    assert parent.rejects_file is not None
    rejects = on_disk(parent.rejects_file)
    stray, repeated = csv.reader(rejects.read_text("utf-8-sig").splitlines()[1:])
    assert (stray[:2], stray[3:5], stray[6:]) == (["", ""], ["2", "3"], ['C-2,"le"ad'])
    assert stray[5] == "must have quotation marks only around whole fields [quotation_mark]: one elsewhere"
    assert (repeated[:2], repeated[6:]) == (["", ""], ["external_id,status"])
    again = importer.preview(contacts_of(rejects)).batch
    assert again.counts == Counts(read=2, rejected=2)


def test_every_reject_is_in_the_file_and_nothing_else(importer: Importer, tmp_path: Path) -> None:
    rows: list[Row] = [contact(n, amount="-1" if n % 3 == 0 else "1") for n in range(30_000)]
    report = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", rows)))
    assert report.rejects_file is not None
    assert [row["_record"] for row in rows_of(on_disk(report.rejects_file))] == [
        str(n + 1) for n in range(0, 30_000, 3)
    ]


def test_the_problems_of_600_000_records_are_joined_in_little_memory(tmp_path: Path) -> None:
    """Memory stays within 256 MB, though there are as many groups as records."""
    size = 600_000
    problems = pa.table(
        {
            "record": pa.concat_arrays([pa.array(range(size), pa.int64()), pa.array([5], pa.int64())]),
            "line": pa.array(range(1, size + 2), pa.int64()),
            "field": pa.array(["status"] * size + ["amount"]),
            "rule": pa.array(["required"] * (size + 1)),
            "expected": pa.array(["must not be empty"] * (size + 1)),
            "value": pa.array([""] * (size + 1)),
        },
        PROBLEMS,
    )
    with ProblemFile(tmp_path / "problems.parquet") as file:
        file.add_all(problems.to_batches())
    listed = list(_problems(tmp_path / "problems.parquet"))
    assert [record for record, _, _ in listed] == list(range(size))
    assert listed[5][2] == "amount must not be empty [required]; status must not be empty [required]"
    assert {text for _, _, text in listed[6:]} == {"status must not be empty [required]"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["problems.parquet"]


def test_a_corrected_rejects_file_is_mapped_as_its_file_was(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("Nr,Zustand\nC-1,lead\nC-2,VIP\n")
    mapped = {"Nr": "external_id", "Zustand": "status"}
    parent = importer.import_file(contacts_of(file, column_map=mapped), OnInvalid.SKIP)
    assert parent.rejects_file is not None
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(on_disk(parent.rejects_file).read_text("utf-8-sig").replace("VIP", "customer"))

    report = importer.import_file(contacts_of(corrected))

    assert report.batch.counts == Counts(read=1, created=1)
    assert {it.header: it.reason for it in report.columns if it.field} == dict.fromkeys(mapped, "remembered")


def test_a_file_without_rejects_has_no_rejects_file(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    report = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)])))
    assert report.rejects_file is None
    assert not store.account("ua").folder("rejects").exists()


def _write(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write the rows in the format and packing that the name says."""
    kind, content = path.name.removesuffix(".gz").rpartition(".")[2], io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="", write_through=True)
    if kind == "csv":
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    elif kind == "json":
        json.dump(rows, text)
    elif kind == "ndjson":
        text.writelines(json.dumps(row) + "\n" for row in rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), content)
    else:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
            sheet.append([_text_cell(sheet, cell) for cell in row])
        book.save(content)
    data = content.getvalue()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _text_cell(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell


def _read(path: Path) -> list[dict[str, str]]:
    """Read the rows of a rejects file by another library than the product's reader."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    if kind == "json":
        rows: list[dict[str, str]] = json.loads(data)
        return rows
    if kind == "ndjson":
        return [json.loads(line) for line in data.decode().splitlines()]
    if kind == "parquet":
        table = pq.read_table(io.BytesIO(data))
        assert set(table.schema.types) == {pa.string()}
        return [{name: str(text) for name, text in row.items()} for row in table.to_pylist()]
    header, *cells = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0].iter_rows(values_only=True)
    return [{str(name): str(text or "") for name, text in zip(header, row, strict=True)} for row in cells]


@pytest.mark.parametrize("suffix", ["csv.gz", "json", "ndjson.gz", "parquet", "xlsx"])
def test_rejects_come_back_in_the_format_they_came_in_and_are_imported_when_corrected(
    importer: Importer, store: RecordStore, tmp_path: Path, suffix: str
) -> None:
    texts = ["=1+1", "'=x", "'plain", "+49 30", 'ü\n"q"', "-5"]
    rows = [
        {"external_id": f"C-{n}", "status": "lead" if n % 2 else "VIP", "company": "X", "notes": text}
        for n, text in enumerate(texts * 2)
    ]
    parent = importer.import_file(contacts_of(_write(tmp_path / f"in.{suffix}", rows)), OnInvalid.SKIP)
    assert parent.batch.counts == Counts(read=12, created=6, rejected=6)
    assert parent.rejects_file is not None
    assert parent.rejects_file.name == f"in.rejects.{suffix}"
    wrong = _read(on_disk(parent.rejects_file))
    assert [row["_record"] for row in wrong] == [str(n + 1) for n in range(0, 12, 2)]
    escaped = suffix.startswith(("csv", "xlsx"))
    assert wrong[0]["notes"] == ("'=1+1" if escaped else "=1+1")
    assert wrong[0]["_problems"] == "status must be one of lead, prospect, customer, churned [isin]: VIP"

    again = importer.preview(contacts_of(on_disk(parent.rejects_file)))
    assert again.batch.counts == Counts(read=6, rejected=6)
    corrected = _write(tmp_path / f"corrected.{suffix}", [{**row, "status": "lead"} for row in wrong])
    child = importer.import_file(contacts_of(corrected))

    assert child.batch.counts == Counts(read=6, created=6)
    assert child.to_dict()["parent"] == again.to_dict()["parent"] == parent.batch.batch_id
    assert values(store, "notes") == {row["external_id"]: row["notes"] for row in rows}


def test_a_value_without_an_equivalent_text_is_shown_in_the_rejects_and_not_cleared(
    importer: Importer, tmp_path: Path
) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text('{"external_id": "C-1", "status": "lead", "amount": 1e400, "notes": ["a", 1]}\n')
    report = importer.preview(contacts_of(path))
    assert report.rejects_file is not None
    (row,) = _read(on_disk(report.rejects_file))
    assert (row["amount"], row["notes"]) == ("1e400", '["a", 1]')
    assert importer.preview(contacts_of(on_disk(report.rejects_file))).batch.counts == Counts(read=1, rejected=1)


@pytest.mark.parametrize(
    "name", [b"\xff" * 200, "ß".encode() * 120, b".", b"a'b*[x]"], ids=["bytes", "long", "dot", "odd"]
)
def test_a_rejects_file_can_be_named_for_any_file(importer: Importer, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name + b".csv")
    report = importer.preview(contacts_of(write_csv(path, [contact(1, amount="x")])))
    assert report.rejects_file is not None
    assert len(rows_of(on_disk(report.rejects_file))) == 1
    json.dumps(report.to_dict(), ensure_ascii=False).encode()


def test_rejects_files_of_long_names_have_names_of_their_own(importer: Importer, tmp_path: Path) -> None:
    """The second and third are the rejects files of the first and second, put back with an error left."""
    names = [f"{'x' * 120}.csv"]
    for number in range(4):
        path = write_csv(tmp_path / names[-1], [contact(number, amount="x")])
        report = importer.preview(contacts_of(path))
        assert report.rejects_file is not None
        names.append(report.rejects_file.name)
    path = write_csv(tmp_path / f"{'x' * 120}y.csv", [contact(9, amount="x")])
    other = importer.preview(contacts_of(path)).rejects_file
    assert other is not None
    names.append(other.name)
    assert len(set(names)) == len(names)
    assert all(name.endswith(".rejects.csv") and len(name) <= 112 for name in names[1:])


def _texts_of(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Read the headers and rows of a workbook, without cells beyond the header."""
    with path.open("rb") as content, ExcelFile(content, path.name, header_row=1) as book:
        (chunk,) = book.chunks()
        assert not chunk.malformed
        assert not chunk.cells
        return book.headers, [list(row.values()) for row in chunk.values.to_pylist()]


_WORKBOOK_TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\x00\x01\x08\x0b\x1a\x1f\x7f\x85\r\n\t\ufffe\uffff_xX0123456789abcdefABCDEF'=#&<"),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=tried(60))
@given(st.lists(_WORKBOOK_TEXT, min_size=1, max_size=5), _WORKBOOK_TEXT)
@example(["_x0041_", "_x0041\x01", "_x005F_x0041_", "_x0041_x0042_", "_xD83D_", "\x1f\ufffe_"], "\x00_x000D_\r")
@example(["#N/A", "=1+1", "TRUE", "1", "  ", "\n", "2024-05-31", "'=x"], "=SUM(A1)")
@example(["x" * 32_767, "\x01" * 32_767, "_x0041_" * 4681], "h")
def test_a_workbook_of_rejects_carries_every_text(texts: list[str], header: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rejects.xlsx"
        with RejectsWorkbook(path, ["first", header]) as file:
            for text in texts:
                file.writerow(["r", text])
        headers, rows = _texts_of(path)
    assert (headers, rows) == (("first", header), [["r", text] for text in texts])


def test_what_no_xml_can_carry_comes_back_from_a_corrected_workbook(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """Control characters, and texts that look like their escapes, like formulas or like errors; also as headers."""
    texts = ["a\x0bb", "\x1a\x1f", "_x0041_", "=1+1", "#N/A", "'=x", "\ufffe", "x" * 32_767, "=" + "y" * 32_766]
    with RejectsWorkbook(tmp_path / "in.xlsx", ["external_id", "status", "notes", "=odd\x01"]) as file:
        for number, text in enumerate(texts):
            file.writerow([f"C-{number}", "VIP", text, ""])
    report = importer.preview(contacts_of(tmp_path / "in.xlsx"))
    assert report.rejects_file is not None
    headers, rows = _texts_of(on_disk(report.rejects_file))
    assert headers[3] == "=odd\x01"
    assert [unescape_formula(row[2]) for row in rows] == texts
    with RejectsWorkbook(tmp_path / "corrected.xlsx", headers) as file:
        for row in rows:
            file.writerow([row[0], "lead", *row[2:]])
    child = importer.import_file(contacts_of(tmp_path / "corrected.xlsx"))
    assert child.to_dict()["parent"] == report.batch.batch_id
    assert values(store, "notes") == {f"C-{number}": text for number, text in enumerate(texts)}


def test_a_row_up_to_the_last_column_goes_back_with_what_has_room(tmp_path: Path) -> None:
    with RejectsWorkbook(tmp_path / "rejects.xlsx", ["h"]) as file:
        file.writerow([str(n) for n in range(16_388)])
    with (tmp_path / "rejects.xlsx").open("rb") as content, ExcelFile(content, "rejects.xlsx", header_row=1) as book:
        (chunk,) = book.chunks()
    (wide,) = chunk.malformed
    assert wide.values[-2:] == ("16382", "… and 5 more cells; see the file that was sent")


@pytest.mark.parametrize(
    ("value", "count", "more"),
    [("x" * 32_760, 1, 1), ("x" * 4000, 8, 0), ("x" * 4000, 9, 1), ("x" * 4000, 20, 12), ("\x0b_x0041_" * 500, 9, 1)],
    ids=["one that is longer", "just fits", "the last is cut", "many", "texts that the sheet spells longer"],
)
def test_problems_that_no_cell_of_excel_holds_are_cut_visibly(
    tmp_path: Path, value: str, count: int, more: int
) -> None:
    """Excel holds 32,767 characters in a cell, and openpyxl silently cuts off the others."""
    problems = pa.table(
        {
            "record": pa.array([1] * count, pa.int64()),
            "line": pa.array([2] * count, pa.int64()),
            "field": [f"f{n:02}" for n in range(count)],
            "rule": ["r"] * count,
            "expected": ["must"] * count,
            "value": [value] * count,
        },
        PROBLEMS,
    )
    with ProblemFile(tmp_path / "problems.parquet") as file:
        file.add_all(problems.to_batches())
    book = openpyxl.Workbook()
    assert book.active is not None
    for cells in (["h"], ["v"]):
        book.active.append(cells)
    book.save(tmp_path / "in.xlsx")

    with FileReader(tmp_path / "in.xlsx") as reader:
        path = write_rejects(reader, tmp_path / "problems.parquet", tmp_path / "rejects", "B")
    stored = openpyxl.load_workbook(path).worksheets[0]["E2"].value

    assert isinstance(stored, str)
    shown = decode(stored)
    assert len(shown) <= 32_767
    full = "; ".join(f"f{n:02} must [r]: {value}" for n in range(count))
    uncut = shown.removesuffix(f"… and {more:,} more; see the report")
    assert (uncut != shown, uncut != full) == (more > 0, more > 0)
    assert full.startswith(uncut)


@pytest.mark.runs_on("laptop", "postgres")
def test_changed_values_are_shown_old_and_new(importer: Importer, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, company="X", country="GB")])))
    path = write_csv(tmp_path / "b.csv", [contact(1, company="", country="DE")])
    report = importer.preview(contacts_of(path))
    assert [(it.record, it.key, it.field, it.old, it.new) for it in report.changes] == [
        (1, "C-000001", "company", "X", None),
        (1, "C-000001", "country", "GB", "DE"),
    ]


@given(st.one_of(st.text(), st.text(st.sampled_from("'=+-@\t\r1.e"), max_size=6)))
@example("-5")
@example("+1e5")
@example("+44 (0)20 7946-0000")
@example("+44-20-7946")
@example("'")
def test_escaping_a_formula_is_reversed_exactly(text: str) -> None:
    escaped = escape_formula(text)
    assert unescape_formula(escaped) == text
    assert escaped[:1] not in tuple("=@\t\r")
    if escaped[:1] in tuple("+-") and not is_phone(escaped):
        float(escaped)


def is_phone(text: str) -> bool:
    """Returns whether a text has nothing but a + and the characters of numbers, and two numbers side by side."""
    numbers = text.replace("(", " ").replace(")", " ").split()
    apart = any(one[-1].isdigit() and other[0].isdigit() for one, other in pairwise(numbers)) or text.count(".") > 1
    return text.startswith("+") and apart and all(it in "+0123456789 ().-" for it in text) and text.count("+") == 1
