"""Exports: the content of the file, its order, its time; and no other content is ever under its name."""

import csv
import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, product
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow.parquet as pq
import pytest
import zstandard

from resources.checksums import checksum
from resources.export_writer import ExportWriter, SweptExports, sweep_exports
from resources.export_writer.formats import FORMATS, checked, choose_format
from resources.export_writer.formats.csv import Csv
from resources.export_writer.parts import make_part
from resources.file_storage import entries, exists, usage
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.export_source import ExportSource, Range
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.errors import (
    DiskFull,
    InvalidRequest,
    NotAccessible,
    NotFound,
    RecordsError,
    Refused,
    StoreBusy,
    Unaccounted,
)
from schemas.exports import ExportManifest, ExportRequest, Packing
from schemas.formulas import escape_formula
from schemas.rollbacks import OnModified, RollbackRequest
from tests.object_server import on_disk
from tests.prepared import Prepared, an_empty_store, starts_with
from tests.records import change, contact, contacts_of, put, write_csv
from tests.timeline import execute_on_catalog

pytestmark = pytest.mark.runs_on("laptop", "server")

by_duckdb = pytest.mark.runs_on("laptop")
"""For the content of a file, which is made on the local disk in every setting. Only its transfer depends on that.

Other tests here make and send files of each format in each setting.
"""

MIXED = """
SELECT 'C-' || lpad((i * 37 % 100)::VARCHAR, 3, '0') AS external_id, 'lead' AS status,
    CASE WHEN i % 3 = 0 THEN NULL ELSE i * 1.5 END::DECIMAL(18,2) AS amount,
    ['DE', 'FR', NULL][1 + i % 3] AS country, 'note, ' || i AS notes,
    DATE '1980-01-01' + i::INT AS birthday, TIMESTAMPTZ '2024-05-01 09:30:00Z' + to_minutes(i) AS signed_up
FROM range(100) t(i)
"""
"""A hundred contacts in no particular order."""
TABLE = "lake.records.contacts"


@pytest.fixture
def writer(store: RecordStore) -> ExportWriter:
    return ExportWriter(store, "tester")


def a_mixed_store(settings: Settings, _: Path) -> int:
    """Make a store with a hundred contacts of account ua; returns the snapshot of their commit."""
    an_empty_store(settings, settings.home)
    with RecordStore(settings) as store:
        return put(store, MIXED)


from_mixed = starts_with(a_mixed_store)


@pytest.fixture
def mixed(beginning: Prepared) -> int:
    """Return the snapshot of the hundred contacts. The tests of this fixture start from `a_mixed_store`."""
    snapshot: int = beginning.value
    return snapshot


def rows_of(manifest: ExportManifest) -> list[dict[str, str]]:
    with manifest.path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ask(**options: Any) -> ExportRequest:
    return ExportRequest(**{"account": "ua", "record_type": "contacts", "columns": ("external_id", "amount")} | options)


def naive(*parts: int) -> datetime:
    """Return a timestamp as Excel stores it, without an offset."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]


def numbers(manifest: ExportManifest) -> list[int]:
    return [int(row["external_id"].removeprefix("C-")) for row in rows_of(manifest)]


# The content of the file


def test_a_csv_is_as_rfc_4180_says(store: RecordStore, writer: ExportWriter) -> None:
    put(
        store,
        """SELECT 'C-1' AS external_id, 'a "b"' AS status, 'x;y' AS company, E'l1\\nl2' AS notes,
            'ü, ö' AS country
        UNION ALL BY NAME SELECT 'C-2' AS external_id, 's' AS status, 1234567890123456.12 AS amount""",
    )

    manifest = writer.export(ask(columns=("external_id", "status", "company", "notes", "country", "amount")))

    assert manifest.path.read_bytes().decode() == (
        'external_id,status,company,notes,country,amount\r\nC-1,"a ""b""",x;y,"l1\nl2","ü, ö",\r\n'
        "C-2,s,,,,1234567890123456.12\r\n"
    )


@from_mixed
@pytest.mark.parametrize("part_rows", [1, 7, 99, 100, 1000])
def test_parts_change_nothing_in_the_file(
    writer: ExportWriter, mixed: int, part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    monkeypatch.setattr("resources.export_writer.plan.ExportPlan.save", lambda plan, _: plans.append(plan))
    whole = writer.export(ask())
    divided = writer.export(ask(part_rows=part_rows))

    assert divided.sha256 == whole.sha256
    assert numbers(divided) == list(range(100))
    assert len(plans[1].parts) == -(-100 // part_rows)
    assert sum(part.rows for part in plans[1].parts) == 100


@from_mixed
@by_duckdb
@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (("amount desc",), lambda row: (row["amount"] == "", -float(row["amount"] or 0), row["external_id"])),
        (("country", "amount"), lambda row: (row["country"] == "", row["country"], row["amount"] == "",
                                             float(row["amount"] or 0), row["external_id"])),
        (("country desc",), lambda row: (row["country"] == "", -ord(row["country"][:1] or " "), row["external_id"])),
        (("external_id desc",), lambda row: -int(row["external_id"][2:])),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part_rows", [9, 1000])
def test_any_order_holds_across_parts_and_nulls_come_last(
    writer: ExportWriter, mixed: int, order_by: tuple[str, ...], expected: Callable[[Any], Any], part_rows: int
) -> None:
    columns = ("external_id", "amount", "country")
    rows = rows_of(writer.export(ask(order_by=order_by, part_rows=part_rows, columns=columns)))

    assert rows == sorted(rows, key=expected)
    assert {row["external_id"] for row in rows} == {f"C-{number:03}" for number in range(100)}


@from_mixed
@by_duckdb
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("external_id < C-010",), set(range(10))),
        (("external_id between C-010 and C-012",), {10, 11, 12}),
        (("external_id in C-001,C-099,X",), {1, 99}),
        (("external_id starts C-09", "amount is-null"), {it for it in range(90, 100) if (it * 73 % 100) % 3 == 0}),
        (("country != DE", "external_id < C-005"), {it for it in range(5) if (it * 73 % 100) % 3}),
        (("notes contains ', 7'", "notes = note, 7"), set()),
        (("notes = note, 7",), {7 * 37 % 100}),
        (("signed_up <= 2024-05-01T11:31:00+02:00",), {0, 37}),
        (("birthday = 1980-01-02",), {37}),
        (("amount >= 147",), {it for it in range(100) if (n := it * 73 % 100) % 3 and n * 1.5 >= 147}),
    ],
)
def test_filters_choose_records(writer: ExportWriter, mixed: int, filters: tuple[str, ...], expected: set[int]) -> None:
    assert set(numbers(writer.export(ask(filters=filters, part_rows=30)))) == expected


@from_mixed
@by_duckdb
def test_what_a_filter_says_is_never_sql(writer: ExportWriter, store: RecordStore, mixed: int) -> None:
    quoted_text = "external_id = ' OR true; DROP TABLE lake.records.contacts; --"

    assert writer.export(ask(filters=(quoted_text,))).rows == 0
    assert writer.export(ask()).rows == 100


@from_mixed
@by_duckdb
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": ("external_id", "height")}, InvalidRequest, "contacts has no column 'height'."),
        ({"columns": None, "preset": "tall"}, InvalidRequest, "contacts has no preset 'tall'."),
        ({"filters": ("height > 2",)}, InvalidRequest, "contacts has no field 'height'."),
        ({"order_by": ("height",)}, InvalidRequest, "contacts has no field 'height'."),
        ({"encoding": "klingon"}, InvalidRequest, "A file cannot be written in 'klingon'."),
        ({"delimiter": "x"}, InvalidRequest, "'x' cannot be the delimiter of a file."),
        ({"as_of": "soon"}, InvalidRequest, "'soon' is neither a time nor the id of a batch or an export."),
        ({"as_of": "b-20260101-000000000-000000"}, NotFound, "There is no batch 'b-20260101-000000000-000000'."),
        ({"account": "dl"}, NotFound, "There is no account 'dl'."),
        ({"record_type": "planes"}, NotFound, "There is no record type 'planes'."),
    ],
)
def test_an_invalid_request_is_reported_and_leaves_nothing(
    writer: ExportWriter,
    store: RecordStore,
    mixed: int,
    options: dict[str, Any],
    error: type[RecordsError],
    message: str,
) -> None:
    with pytest.raises(error) as raised:
        writer.export(ask(**options))

    assert (raised.value.message, raised.value.hint != "") == (message, True)
    assert store.exports() == []
    assert not list(store.settings.data.glob("accounts/*/exports/*"))


@from_mixed
def test_presets_are_the_types_own_or_the_accounts(writer: ExportWriter, store: RecordStore, mixed: int) -> None:
    put(store, "SELECT 'D-1' AS external_id, 'lead' AS status", account="dl")
    store.account("ua").save_preset("contacts", "short", ("notes", "external_id"), "tester")
    store.account("ua").save_preset("contacts", "short", ("external_id", "notes"), "tester")

    assert writer.export(ask(columns=None, preset="short")).columns == ("external_id", "notes")
    assert writer.export(ask(columns=None, preset="mailing")).columns[-1] == "country"
    with pytest.raises(InvalidRequest, match=r"has no preset 'short'\. Its presets: mailing, revenue\."):
        writer.export(ask(account="dl", columns=None, preset="short"))
    assert list(store.presets("ua", "contacts")) == ["mailing", "revenue", "short"]
    for name, columns in (("mailing", ("notes",)), ("Short", ("notes",)), ("x", ("height",))):
        with pytest.raises(InvalidRequest):
            store.account("ua").save_preset("contacts", name, columns, "tester")


# Formats


def test_ndjson_and_json_have_all_digits_and_every_null(store: RecordStore, writer: ExportWriter) -> None:
    put(
        store,
        """SELECT * FROM (VALUES ('C-1', 'a"\\b' || chr(10) || chr(1), 1234567890123456.12, DATE '2024-05-31',
        TIMESTAMPTZ '2024-05-31 09:30:00.5Z'), ('C-2', '光', NULL, NULL, NULL))
        AS t(external_id, status, amount, birthday, signed_up)""",
    )
    columns = ("external_id", "status", "amount", "birthday", "signed_up")
    lines = (
        '{"external_id":"C-1","status":"a\\"\\\\b\\n\\u0001","amount":1234567890123456.12,"birthday":"2024-05-31",'
        '"signed_up":"2024-05-31 09:30:00.5+00"}',
        '{"external_id":"C-2","status":"光","amount":null,"birthday":null,"signed_up":null}',
    )

    for part_rows in (1, 10):
        ndjson = writer.export(ask(columns=columns, format="ndjson", part_rows=part_rows)).path
        array = writer.export(ask(columns=columns, format="json", part_rows=part_rows)).path
        assert ndjson.read_text(encoding="utf-8") == "".join(f"{line}\n" for line in lines)
        assert array.read_text(encoding="utf-8") == f"[\n{lines[0]},\n{lines[1]}\n]\n"
        assert [it["external_id"] for it in json.loads(array.read_text())] == ["C-1", "C-2"]
    nothing = writer.export(ask(format="json", filters=("external_id = X",)))
    assert json.loads(nothing.path.read_text()) == []


@from_mixed
@pytest.mark.parametrize("format_", ["csv", "json", "ndjson"])
@pytest.mark.parametrize("packing", Packing)
def test_text_is_packed_in_members_and_is_the_same_every_time(
    writer: ExportWriter, mixed: int, format_: str, packing: Packing
) -> None:
    plain = writer.export(ask(format=format_))
    first, second = (writer.export(ask(format=format_, packing=packing, part_rows=30)) for _ in range(2))

    data = first.path.read_bytes()
    unpacker = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    unpacked = gzip.decompress(data) if packing is Packing.GZ else unpacker.read()
    assert unpacked == plain.path.read_bytes()
    assert first.sha256 == second.sha256
    assert first.path.name == f"contacts.{format_}.{packing.value}"


@by_duckdb
@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("UTF-32", "utf-32"), ("windows-1252", "cp1252")],
)
def test_csv_in_other_encodings_and_with_other_delimiters(
    store: RecordStore, writer: ExportWriter, encoding: str, codec: str
) -> None:
    put(store, "SELECT 'C-' || i AS external_id, 'ü;€' AS status FROM range(9) t(i)")

    path = writer.export(ask(columns=("external_id", "status"), encoding=encoding, delimiter="tab", part_rows=2)).path

    expected = "external_id\tstatus\r\n" + "".join(f"C-{number}\tü;€\r\n" for number in range(9))
    assert path.read_bytes().decode(codec) == expected
    assert path.read_bytes().startswith(expected[:1].encode(codec))  # with a byte order mark if the encoding has one


@by_duckdb
@pytest.mark.parametrize(("encoding", "bad"), [("cp1252", "光"), ("shift_jis", "¥")])
def test_a_character_that_an_encoding_has_not_names_record_and_column(
    store: RecordStore, writer: ExportWriter, encoding: str, bad: str, tmp_path: Path
) -> None:
    put(
        store,
        f"SELECT 'C-' || i AS external_id, 's' AS status, CASE i WHEN 7 THEN 'a{bad}' END AS notes FROM range(9) t(i)",
    )

    with pytest.raises(RecordsError) as error:
        writer.export(ask(columns=("external_id", "notes"), encoding=encoding, part_rows=3, path=tmp_path / "x.csv"))

    assert error.value.message == (f"{encoding} has no {bad!r} (U+{ord(bad):04X}): `notes` of record 8 has one.")
    assert list(tmp_path.glob("*.csv*")) == []


@from_mixed
@by_duckdb
def test_one_column_of_nulls_keeps_its_records(store: RecordStore, writer: ExportWriter, mixed: int) -> None:
    manifest = writer.export(ask(columns=("amount",)))

    with manifest.path.open(newline="") as file:
        assert sum(1 for row in csv.reader(file) if row) == 101


@from_mixed
def test_parquet_has_types_and_the_same_bytes_every_time(writer: ExportWriter, mixed: int) -> None:
    columns = ("external_id", "amount", "birthday", "signed_up")
    first, second = (writer.export(ask(format="parquet", columns=columns, part_rows=30)) for _ in range(2))

    table = pq.read_table(on_disk(first.path))
    assert [str(kind) for kind in table.schema.types] == [
        "string", "decimal128(18, 2)", "date32[day]", "timestamp[us, tz=UTC]",
    ]  # fmt: skip
    assert table.column("external_id").to_pylist() == [f"C-{number:03}" for number in range(100)]
    assert first.sha256 == second.sha256


@by_duckdb
def test_excel_has_dates_numbers_and_what_no_number_has_as_text(store: RecordStore, writer: ExportWriter) -> None:
    put(
        store,
        """SELECT * FROM (VALUES
        ('0001', '=1+1', 1250.10, DATE '1985-12-10', TIMESTAMPTZ '2024-05-31 09:30:00Z'),
        ('1234567890123456', 'http://x.org', 1234567890123456.12, DATE '1900-02-28',
            TIMESTAMPTZ '2024-05-31 09:30:00.000001Z'),
        ('C-3', 'true', 9999999999999.99, DATE '1900-03-01', TIMESTAMPTZ '1899-12-31 00:00:00Z'),
        ('C-4', ' x ', NULL, NULL, NULL)) AS t(external_id, status, amount, birthday, signed_up)""",
    )

    path = writer.export(ask(columns=None, format="excel")).path

    sheet = openpyxl.load_workbook(on_disk(path)).active
    assert sheet is not None
    header = [str(cell.value) for cell in sheet[1]]
    wanted = [header.index(name) for name in ("external_id", "status", "amount", "birthday", "signed_up")]
    assert [[row[at].value for at in wanted] for row in sheet.iter_rows(min_row=2)] == [
        ["0001", "=1+1", 1250.1, naive(1985, 12, 10), naive(2024, 5, 31, 9, 30)],
        ["1234567890123456", "http://x.org", "1234567890123456.12", "1900-02-28", "2024-05-31 09:30:00.000001Z"],
        ["C-3", "true", 9999999999999.99, naive(1900, 3, 1), "1899-12-31 00:00:00.000000Z"],
        ["C-4", " x ", None, None, None],
    ]
    assert {cell.data_type for cell in sheet["B"]} <= {"s", "inlineStr", "n"}
    assert [cell.font.b for cell in sheet[1]] == [True] * len(header)
    assert (sheet.freeze_panes, sheet["A2"].font.b) == ("A2", False)
    assert sheet.column_dimensions["A"].width > 16
    formats = [sheet.cell(2, at + 1).number_format for at in wanted[2:]]
    assert formats == ["0.00", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"]


@by_duckdb
def test_excel_has_as_text_every_integer_that_it_would_round(store: RecordStore, writer: ExportWriter) -> None:
    delays = [None, 0, -7, 10**15 - 1, 10**15, 1 - 10**15, -(10**15), 2**63 - 1, -(2**63)]
    store.add_account("ua", "tester")
    key = "TIMESTAMPTZ '2024-05-01 09:00:00Z' AS time_hour, 'UA' AS carrier, {} AS flight, 'JFK' AS origin"
    for number, delay in enumerate(delays):
        value = "NULL" if delay is None else f"'{delay}'::BIGINT"
        query = f"SELECT 'ua' AS _account, 'b' AS _batch, {key.format(number)}, {value} AS dep_delay"
        change(store, f"INSERT INTO lake.records.flights BY NAME {query}")

    manifest = writer.export(ExportRequest("ua", "flights", columns=("dep_delay",), format="excel"))

    sheet = openpyxl.load_workbook(on_disk(manifest.path)).worksheets[0]
    exact = [None, 0, -7, 10**15 - 1, str(10**15), 1 - 10**15, str(-(10**15)), str(2**63 - 1), str(-(2**63))]
    assert [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)] == exact


@from_mixed
def test_excel_is_divided_into_sheets_and_equal_cell_by_cell(writer: ExportWriter, mixed: int) -> None:
    first, second = (writer.export(ask(format="excel", sheet_rows=40, part_rows=30)).path for _ in range(2))

    book, again = openpyxl.load_workbook(on_disk(first)), openpyxl.load_workbook(on_disk(second))
    assert book.sheetnames == ["contacts 1", "contacts 2", "contacts 3"]
    cells = [[[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book]
    assert [[cell.value for cell in row] for sheet in again for row in sheet.iter_rows()] == [*chain(*cells)]
    assert [rows[0] for rows in cells] == [["external_id", "amount"]] * 3
    assert [len(rows) - 1 for rows in cells] == [40, 40, 20]
    assert [row[0] for rows in cells for row in rows[1:]] == [f"C-{number:03}" for number in range(100)]


@from_mixed
@by_duckdb
def test_excel_without_records_has_its_header(writer: ExportWriter, mixed: int) -> None:
    path = writer.export(ask(format="excel", filters=("external_id = X",))).path

    sheet = openpyxl.load_workbook(on_disk(path)).active
    assert sheet is not None
    assert [[cell.value for cell in row] for row in sheet.iter_rows(max_row=1)] == [["external_id", "amount"]]


@by_duckdb
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("'_x000B' || chr(11)", "has a control character after a text such as _x000B, which Excel would take for one"),
        ("repeat('x', 32768)", "is longer than 32,767 characters"),
        ("repeat('𝄞', 16384)", "is longer than 32,767 characters"),
    ],
)
def test_what_no_cell_can_hold_names_record_and_column(
    store: RecordStore, writer: ExportWriter, value: str, why: str, tmp_path: Path
) -> None:
    put(
        store,
        f"SELECT 'C-' || i AS external_id, 's' AS status, CASE i WHEN 7 THEN {value} END AS notes FROM range(9) t(i)",
    )
    request = ask(columns=("external_id", "notes"), format="excel", part_rows=3, path=tmp_path / "x.xlsx")

    with pytest.raises(RecordsError) as error:
        writer.export(request)

    assert error.value.message == f"No cell of Excel can hold `notes` of record 8: it {why}."
    assert error.value.quoted == "The record is C-7."
    assert list(tmp_path.glob("*.xlsx*")) == []
    assert writer.export(replace(request, format="csv", path=None)).rows == 9


@by_duckdb
def test_the_longest_text_of_a_cell_is_carried(store: RecordStore, writer: ExportWriter) -> None:
    put(store, "SELECT 'C-1' AS external_id, 's' AS status, repeat('𝄞', 16383) AS notes")

    path = writer.export(ask(columns=("external_id", "notes"), format="excel")).path

    sheet = openpyxl.load_workbook(on_disk(path)).active
    assert sheet is not None
    assert sheet["B2"].value == "𝄞" * 16383


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (None, None, ("csv", None)),
        ("x.xlsx", None, ("excel", None)),
        ("x.csv.gz", None, ("csv", Packing.GZ)),
        ("x.ndjson.zst", None, ("ndjson", Packing.ZST)),
        ("x.json", "ndjson", ("ndjson", None)),
        ("2024.05.31", "json", ("json", None)),
        ("2024.05.31", None, ("csv", None)),
        (f"{'x' * 300}.csv", None, ("csv", None)),
        ("x.tsv", "csv", ("csv", None)),
        ("x.tsv", None, "The file name 'x.tsv' ends in .tsv, which is the ending of no output format."),
        ("x.xls.gz", None, "The file name 'x.xls.gz' ends in .xls, which is the ending of no output format."),
        ("x.csv", "xls", "There is no output format 'xls'."),
        ("x.csv", "excel", "The file name 'x.csv' does not fit the format excel."),
    ],
)
def test_the_name_of_a_file_says_its_format(
    name: str | None, given: str | None, expected: tuple[str, Packing | None] | str
) -> None:
    path = None if name is None else Path(name)
    if isinstance(expected, str):
        with pytest.raises(InvalidRequest, match=re.escape(expected)):
            choose_format(path, given)
    else:
        chosen, packing = choose_format(path, given)
        assert (chosen.name, packing) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xls"}, "There is no output format 'xls'."),
        ({"format": "excel", "packing": Packing.GZ}, "The format excel does not support packing: gz was given."),
        ({"format": "parquet", "packing": Packing.ZST}, "The format parquet does not support packing: zst was given."),
        (
            {"format": "json", "encoding": "cp1252"},
            "The format json does not support other encodings: cp1252 was given.",
        ),
        ({"format": "ndjson", "delimiter": ";"}, "The format ndjson does not support other delimiters: ; was given."),
        ({"sheet_rows": 10}, "The format csv does not support sheets: 10 was given."),
        ({"format": "excel", "sheet_rows": 1_048_576}, "A sheet cannot have 1,048,576 records."),
        ({"part_rows": 0}, "A part cannot have 0 rows."),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        checked(ask(**options))

    assert error.value.message == message
    assert error.value.hint


# Time travel


@from_mixed
def test_as_of_a_batch_or_a_timestamp_is_the_state_of_then(
    store: RecordStore, writer: ExportWriter, mixed: int
) -> None:
    with store.reading() as connection:
        (at,) = connection.fetch_one("SELECT max(snapshot_time) FROM ducklake_snapshots('lake')")
    change(store, f"UPDATE {TABLE} SET amount = 0 WHERE external_id < 'C-050'")
    change(store, f"DELETE FROM {TABLE} WHERE external_id >= 'C-050'")

    then = writer.export(ask(as_of=at.isoformat()))
    assert (then.rows, then.snapshot, then.snapshot_at) == (100, mixed, at)
    assert {row["amount"] for row in rows_of(then)} > {"1.50", "147.00"}
    assert {row["amount"] for row in rows_of(writer.export(ask()))} == {"0.00"}


@from_mixed
def test_an_export_is_a_time_too_and_exact(store: RecordStore, writer: ExportWriter, mixed: int) -> None:
    then = writer.export(ask(columns=("external_id",)))
    change(store, f"DELETE FROM {TABLE} WHERE external_id = 'C-001'")
    one_time = "UPDATE ducklake_snapshot SET snapshot_time = '2026-01-05 09:30:00+00'"
    execute_on_catalog(store.settings, one_time)

    changes = writer.export(ask(columns=("external_id",), changed_since=then.export_id))
    assert [dict(row) for row in rows_of(changes)] == [{"external_id": "C-001", "_change": "deleted"}]
    assert writer.export(ask(columns=("external_id",), as_of=then.export_id)).sha256 == then.sha256
    store.add_account("dl", "tester")
    for account, export_id in (("ua", "e-20260101-000000000-000000"), ("dl", then.export_id)):
        with pytest.raises(NotFound, match=f"There is no export '{export_id}'"):
            writer.export(replace(ask(changed_since=export_id), account=account))


@from_mixed
def test_a_column_that_came_later_is_null_before(store: RecordStore, writer: ExportWriter, mixed: int) -> None:
    with store.reading() as connection:
        (at,) = connection.fetch_one("SELECT max(snapshot_time) FROM ducklake_snapshots('lake')")
    change(store, f"ALTER TABLE {TABLE} DROP COLUMN notes")
    change(store, f"ALTER TABLE {TABLE} ADD COLUMN notes VARCHAR DEFAULT 'later'")

    now, then = (writer.export(ask(columns=("external_id", "notes"), as_of=when)) for when in (None, at.isoformat()))

    assert {row["notes"] for row in rows_of(now)} == {"later"}
    assert {row["notes"][:5] for row in rows_of(then)} == {"note,"}


@from_mixed
def test_a_time_that_is_not_kept_is_refused_with_the_oldest_there_is(
    store: RecordStore, writer: ExportWriter, mixed: int
) -> None:
    change(store, f"UPDATE {TABLE} SET amount = 0")
    with store.transaction("expire", "tester") as transaction:
        oldest, at = transaction.connection.fetch_one(
            "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') ORDER BY 1 DESC LIMIT 1"
        )
    with store._lake.attached() as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => {list(range(oldest))})")

    with pytest.raises(Refused) as error:
        writer.export(ask(as_of="2024-05-31"))
    assert error.value.message == "The records as of 2024-05-31 are no longer kept."
    quoted_text = error.value.hint.removeprefix("The oldest records are: --as-of ").removesuffix(".")
    assert datetime.fromisoformat(quoted_text) == at
    assert writer.export(ask(as_of=quoted_text)).snapshot == oldest

    full = writer.export(ask(changed_since="2024-05-31"))
    assert (full.full, full.rows, full.columns) == (True, 100, ("external_id", "amount", "_change"))
    assert {row["_change"] for row in rows_of(full)} == {"full"}
    assert "The records as of 2024-05-31 have expired" in full.notes[0]


@from_mixed
@pytest.mark.parametrize("part_rows", [3, 1000])
def test_changed_since_has_what_was_created_updated_and_deleted(
    store: RecordStore, writer: ExportWriter, mixed: int, part_rows: int
) -> None:
    with store.reading() as connection:
        (since,) = connection.fetch_one("SELECT max(snapshot_time) FROM ducklake_snapshots('lake')")
    change(store, f"UPDATE {TABLE} SET amount = 7 WHERE external_id IN ('C-001', 'C-002', 'C-003')")
    change(store, f"UPDATE {TABLE} SET amount = NULL WHERE external_id = 'C-002'")  # as it was: its number is 46
    change(store, f"UPDATE {TABLE} SET notes = 'another' WHERE external_id = 'C-005'")
    change(store, f"UPDATE {TABLE} SET _batch = 'b-other' WHERE external_id = 'C-006'")
    change(store, f"DELETE FROM {TABLE} WHERE external_id IN ('C-090', 'C-091')")
    put(store, "SELECT 'C-' || i AS external_id, 'lead' AS status, 1 AS amount FROM range(200, 203) t(i)")
    change(store, f"DELETE FROM {TABLE} WHERE external_id = 'C-202'")
    put(store, "SELECT 'X' AS external_id, 'lead' AS status", account="dl")

    changes = writer.export(ask(changed_since=since.isoformat(), part_rows=part_rows))

    old = {f"C-{it:03}": f"{n * 1.5:.2f}" if n % 3 else "" for it in range(100) for n in [it * 73 % 100]}
    updated = {"C-001": "7.00", "C-003": "7.00", "C-005": old["C-005"]}
    if old["C-002"]:
        updated["C-002"] = ""
    assert [(row["external_id"], row["amount"], row["_change"]) for row in rows_of(changes)] == sorted(
        [
            *((key, amount, "updated") for key, amount in updated.items()),
            *((key, old[key], "deleted") for key in ("C-090", "C-091")),
            *((key, "1.00", "created") for key in ("C-200", "C-201")),
        ]
    )
    assert (changes.since, changes.full) == (mixed, False)
    only = writer.export(ask(changed_since=since.isoformat(), filters=("external_id >= C-090",), part_rows=part_rows))
    assert [row["_change"] for row in rows_of(only)] == ["deleted", "deleted", "created", "created"]


# Safe to open


DANGEROUS = ["=1+1", "+44-20-7946", "+49 30/12", "+1 2=", "-x", "@SUM(A1)", "\tx", "\rx", "'=1", "''@", "'-5", "'+1 2"]
HARMLESS = ["-5", "+4.5e3", "+44 20 7946", "+1 (555) 123-4567", "+44(0)20", "+44.20.7946", "'x", "x=1", "ü", " =1", "'"]


@by_duckdb
def test_formulas_are_escaped_in_csv_alone_and_raw_leaves_them(store: RecordStore, writer: ExportWriter) -> None:
    values = ", ".join(f"('C-{at:02}', {sql_text(text)})" for at, text in enumerate(DANGEROUS + HARMLESS))
    put(store, f"SELECT external_id, 's' AS status, notes FROM (VALUES {values}) t(external_id, notes)")

    def notes(**options: Any) -> list[str]:
        manifest = writer.export(ask(columns=("external_id", "notes"), **options))
        said.append(manifest.notes)
        return [row["notes"] for row in rows_of(manifest)]

    said: list[tuple[str, ...]] = []
    assert notes() == [*(f"'{text}" for text in DANGEROUS), *HARMLESS]
    assert notes(raw=True) == DANGEROUS + HARMLESS
    changed = writer.export(ask(columns=("external_id", "notes"), changed_since="1970-01-01T00:00:00Z")).notes
    assert said == [(f"Texts that a spreadsheet would compute have a ' before them: notes ({len(DANGEROUS)}).",), ()]
    assert said[0][0] in changed
    ndjson = writer.export(ask(columns=("external_id", "notes"), format="ndjson")).path
    assert [json.loads(line)["notes"] for line in ndjson.read_text().splitlines()] == DANGEROUS + HARMLESS


@by_duckdb
def test_a_text_is_escaped_exactly_where_the_rule_says_so(store: RecordStore, writer: ExportWriter) -> None:
    alphabet = "'=+-@\t\r 1.()e\u00e9A"
    texts = ["".join(text) for size in (1, 2, 3, 4) for text in product(alphabet, repeat=size)]
    characters = f"(SELECT unnest([{', '.join(map(sql_text, alphabet))}]))"
    columns = ["SELECT a AS text FROM one t(a)", "SELECT a || b FROM one t(a), one u(b)"]
    columns += [
        f"SELECT a || b || c{d} FROM one t(a), one u(b), one v(c){w}" for d, w in (("", ""), (" || d", ", one w(d)"))
    ]
    put(
        store,
        f"""WITH one AS MATERIALIZED {characters}
        SELECT 'C-' || row_number() OVER () AS external_id, 's' AS status, text AS notes
        FROM ({" UNION ALL ".join(columns)})""",
    )

    written = [row["notes"] for row in rows_of(writer.export(ask(columns=("external_id", "notes"))))]

    assert sorted(written) == sorted(map(escape_formula, texts))


def sql_text(text: str) -> str:
    return " || ".join(f"chr({ord(character)})" for character in text)


# Publication


@from_mixed
def test_the_manifest_has_the_request_and_the_result(
    store: RecordStore, writer: ExportWriter, mixed: int, tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    manifest = writer.export(ask(path=path, filters=("external_id < C-010",), part_rows=4))

    reported = json.loads((tmp_path / "out.csv.manifest.json").read_text())
    data = path.read_bytes()
    assert reported == manifest.to_dict()
    assert (reported["rows"], reported["bytes"], reported["sha256"]) == (
        10,
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert (reported["account"], reported["actor"], reported["snapshot"]) == ("ua", "tester", mixed)
    assert reported["request"]["filters"] == ["external_id < C-010"]
    assert reported["versions"].keys() == {"records", "duckdb"}
    assert store.exports("ua") == [manifest]
    assert sorted(it.name for it in tmp_path.iterdir() if it.is_file()) == ["out.csv", "out.csv.manifest.json"]
    assert not list(store.settings.data.glob("accounts/ua/exports/*"))


@pytest.fixture
def older(writer: ExportWriter, mixed: int, tmp_path: Path) -> Iterator[Path]:
    """An earlier export and its manifest; both must be unchanged at the end."""
    path = tmp_path / "out.csv"
    writer.export(ask(path=path, columns=("external_id",)))
    before = {file: file.read_bytes() for file in tmp_path.glob("out.csv*")}
    assert len(before) == 2
    yield path
    assert {file: file.read_bytes() for file in [*tmp_path.glob("*out.csv*"), *tmp_path.glob(".*")]} == before


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Limit the size of files of this process: a writer sees a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@from_mixed
@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk_leaves_an_older_file_as_it_was(
    store: RecordStore, writer: ExportWriter, older: Path, format_: str
) -> None:
    put(store, "SELECT 'B-' || i AS external_id, 's' AS status, md5(i::VARCHAR) || i AS notes FROM range(20000) t(i)")
    request = ask(columns=("external_id", "notes"), format=format_, path=older, part_rows=8000)

    with writer.planned(request) as (plan, source), small_files(300_000), pytest.raises(DiskFull) as error:
        writer.write(plan, source)

    assert "an older file of that name is unchanged" in error.value.hint
    assert not list(store.settings.data.glob("accounts/ua/exports/*"))


@from_mixed
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one store", "two stores"])
def test_two_exports_to_one_path_never_mix_file_and_manifest(
    store: RecordStore, mixed: int, tmp_path: Path, elsewhere: bool
) -> None:
    path, manifest = tmp_path / "out.csv", tmp_path / "out.csv.manifest.json"
    stores = [store.settings] * 2
    record_types = load_record_types()  # imports pandas: two threads cannot hide it at the same time
    if elsewhere:
        stores[1] = replace(store.settings, home=tmp_path / "other", data=tmp_path / "other", postgres=None)
        with RecordStore(stores[1]) as other:
            other.initialise(record_types)
            put(other, MIXED)
    turn, found = threading.Barrier(2), []

    def export(settings: Settings, *columns: str) -> None:
        with RecordStore(settings) as own:
            writer = ExportWriter(own, "tester")
            for _ in range(10):
                with writer.planned(ask(path=path, columns=columns)) as (plan, source):
                    written = writer.write(plan, source)
                turn.wait(timeout=60)
                writer.publish(plan, written)
                turn.wait(timeout=60)
                found.append(
                    (json.loads(manifest.read_bytes())["sha256"], hashlib.sha256(path.read_bytes()).hexdigest())
                )

    threads = [
        threading.Thread(target=export, args=(stores[0], "external_id")),
        threading.Thread(target=export, args=(stores[1], "external_id", "amount")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert [named for named, _ in found] == [there for _, there in found]
    assert {each for each in tmp_path.iterdir() if "out" in each.name} == {path, manifest}


@from_mixed
def test_an_export_waits_for_another_to_its_folder_and_is_then_refused(store: RecordStore, older: Path) -> None:
    with RecordStore(replace(store.settings, lock_seconds=0.1)) as impatient:
        with store.folder_lock(older.parent), pytest.raises(StoreBusy) as refused:
            ExportWriter(impatient, "tester").export(ask(path=older))
        assert refused.value.message == f"Another process has been writing to {older.parent} for 0.1 seconds."
        assert ExportWriter(impatient, "tester").export(ask(path=older.with_name("another.csv"))).rows == 100


@from_mixed
@pytest.mark.runs_on("postgres")
def test_an_export_waits_for_another_machine_of_its_store(store: RecordStore, older: Path) -> None:
    """The other machine has the folder by a network. A lock of its kernel is not seen here, a lock of the server is."""
    refused = pytest.raises(StoreBusy, match=f"has been writing to {older.parent} for 0.1 seconds")
    with (
        RecordStore(replace(store.settings, lock_seconds=0.1)) as impatient,
        store.lock(str(older.parent), 1.0),
        refused,
    ):
        ExportWriter(impatient, "tester").export(ask(path=older))


@from_mixed
@pytest.mark.parametrize("renamed", [0, 1])
def test_an_export_that_dies_leaves_no_file_with_the_manifest_of_another(
    writer: ExportWriter, mixed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """It replaces an older export, and dies before or after it has renamed the file."""
    path, manifest = tmp_path / "out.csv", tmp_path / "out.csv.manifest.json"
    writer.export(ask(path=path))
    before = {file: file.read_bytes() for file in (path, manifest)}
    left, rename = iter([*[True] * renamed, False]), os.replace

    def dies(source: Path, target: Path) -> None:
        if target in before and not next(left, True):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        writer.export(ask(path=path, columns=("external_id",)))
    after = {file: file.read_bytes() for file in tmp_path.iterdir() if "out" in file.name}
    if renamed:
        assert list(after) == [path]
        assert after[path].startswith(b"external_id\r\n")
    else:
        assert after == before


@from_mixed
def test_a_file_that_misses_its_last_bytes_is_never_published(
    store: RecordStore, writer: ExportWriter, older: Path
) -> None:
    put(store, "SELECT 'B-' || i AS external_id, 's' AS status, md5(i::VARCHAR) AS notes FROM range(20000) t(i)")
    request = ask(columns=("external_id", "notes"), path=older)
    size = writer.export(replace(request, path=None)).bytes

    with writer.planned(request) as (plan, source), small_files(size - 1), pytest.raises(DiskFull):
        writer.write(plan, source)


@from_mixed
def test_a_disk_without_room_is_refused_before_the_work(
    store: RecordStore, writer: ExportWriter, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr("resources.record_store.export_source.ExportSource.write_csv", None)

    with pytest.raises(DiskFull, match=r"Exporting 100 contacts needs about 0.0 MB in .*, and 0.0 MB are free."):
        writer.export(ask(path=older))

    assert not list(store.settings.data.glob("accounts/ua/exports/*"))


@from_mixed
@pytest.mark.parametrize("path", ["/proc/out.csv", "/dev/null", "/nowhere/out.csv"])
def test_a_destination_that_cannot_be_written_is_refused_before_the_work(
    writer: ExportWriter, mixed: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.record_store.export_source.ExportSource.count", None)

    with pytest.raises(RecordsError) as error:
        writer.export(ask(path=Path(path)))

    assert type(error.value) in (NotAccessible, InvalidRequest)
    assert "-o PATH" in error.value.hint


@from_mixed
def test_fewer_records_than_planned_are_never_published(
    writer: ExportWriter, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Csv.write_part
    monkeypatch.setattr(Csv, "write_part", lambda *given: write(*given) - 1)

    with pytest.raises(Unaccounted, match=r"Part 1 of e-.* has 99 records where 100 were planned"):
        writer.export(ask(path=older))


# Parts


def test_texts_with_a_nul_divide_parts_and_meet_filters(writer: ExportWriter, store: RecordStore) -> None:
    put(store, "SELECT 'C-' || i || chr(0) || 'x' AS external_id, 'lead' AS status FROM range(9) t(i)")

    divided, found = (
        writer.export(ask(format="json", columns=("external_id",), **wanted))
        for wanted in ({"part_rows": 2}, {"filters": ("external_id = C-3\0x",)})
    )

    reported = [json.loads(on_disk(it.path).read_text()) for it in (divided, found)]
    assert reported[0] == [{"external_id": f"C-{number}\0x"} for number in range(9)]
    assert reported[1] == [{"external_id": "C-3\0x"}]


@from_mixed
def test_a_part_is_made_once_and_made_again_only_when_it_is_damaged(writer: ExportWriter, mixed: int) -> None:
    undisturbed = writer.export(ask(part_rows=30))
    plan = writer.plan(ask(part_rows=30))
    writer.make_part(plan, 0)
    writer.make_part(plan, 2)
    damaged = on_disk(plan.parts_folder / "000002")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")

    again = ExportWriter(writer._store, "another actor", "a-run")
    manifest = again.finish(again.load("ua", plan.export_id))

    assert (manifest.sha256, manifest.rows, manifest.actor) == (undisturbed.sha256, 100, "tester")
    assert (manifest.run_id, manifest.export_id) == ("a-run", plan.export_id)
    assert [it.name for it in entries(plan.folder)] == ["contacts.csv", "contacts.csv.manifest.json"]
    assert again.finish(plan) == manifest
    assert len(writer._store.exports("ua")) == 2


@from_mixed
def test_a_part_in_the_place_of_another_is_made_again(writer: ExportWriter, mixed: int) -> None:
    undisturbed = writer.export(ask(part_rows=30))
    plan, other = writer.plan(ask(part_rows=30)), writer.plan(ask(part_rows=30, filters=("external_id != C-000001",)))
    for planned in (plan, other):
        writer.make_part(planned, 0)
        writer.make_part(planned, 1)
    for source, target in ((plan, "000001"), (other, "000000")):
        for end in ("", ".json"):
            part = on_disk(source.parts_folder / f"000000{end}")
            shutil.copy(part, on_disk(plan.parts_folder / f"{target}{end}"))

    assert writer.finish(plan).sha256 == undisturbed.sha256


@from_mixed
def test_parts_that_are_there_are_left_alone(writer: ExportWriter, mixed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = writer.plan(ask(part_rows=30))
    writer.make_part(plan, 0)
    writer.make_part(plan, 1)
    made: list[int] = []

    def counted(plan: Any, number: int, source: Any) -> Any:
        made.append(number)
        return make_part(plan, number, source)

    monkeypatch.setattr("resources.export_writer.writer.make_part", counted)
    writer.finish(writer.load("ua", plan.export_id))

    assert made == [2, 3]


def test_a_step_that_outlives_its_run_changes_nothing_of_what_another_has_published(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", map(contact, range(100)))))
    writer = ExportWriter(store, "tester")
    plan = writer.plan(ask(part_rows=30))
    late = writer.load("ua", plan.export_id)
    done = ExportWriter(store, "tester", "again").finish(plan)

    # its folder is deleted with the plan; in an object store this call makes one
    with suppress(RecordsError, duckdb.Error):
        writer.make_part(late, 1)
    assert writer.finish(late) == done

    assert store.exports() == [done]
    sweep_exports(store.settings, store.clock.now() + timedelta(hours=25))
    folder = on_disk(done.path).parent
    assert sorted(each.name for each in folder.iterdir()) == [done.path.name, done.manifest_path.name]
    assert hashlib.sha256(on_disk(done.path).read_bytes()).hexdigest() == done.sha256
    assert not any(store.settings.scratch.glob(".e-*"))


@from_mixed
@pytest.mark.parametrize(("name", "own"), [("csv", True), ("excel", True), ("excel", False)])
def test_two_processes_that_finish_one_export_publish_one_whole_file(
    store: RecordStore, mixed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, own: bool
) -> None:
    """Both are putting the parts together at the same time: for example, a run of Dagster and the web pages."""
    path = None if own else tmp_path / "out.xlsx"
    plan = ExportWriter(store, "tester").plan(ask(format=name, part_rows=30, path=path))
    kind, turn = type(FORMATS[name]), threading.Barrier(2)
    assemble = kind.assemble

    def assembled(self: Any, plan: Any, parts: Iterator[Path], to: Path, placed: Any) -> str:
        def met() -> Iterator[Path]:
            for part in parts:
                turn.wait(timeout=60)
                yield part

        return assemble(self, plan, met(), to, placed)

    monkeypatch.setattr(kind, "assemble", assembled)
    # The threads stand for processes, which do not wait for each other to name a folder for temporary files.
    monkeypatch.setattr("resources.process_state._turn", nullcontext())
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def finish(number: int) -> ExportManifest:
        with RecordStore(store.settings) as mine:
            own = ExportWriter(mine, "tester", f"run-{number}")
            return own.finish(own.load("ua", plan.export_id))

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(finish, range(2))

    assert one == other
    assert store.exports() == [one]
    assert hashlib.sha256(on_disk(one.path).read_bytes()).hexdigest() == one.sha256
    assert not [each for each in on_disk(one.path).parent.iterdir() if "partial" in each.name or "parts" in each.name]


@from_mixed
def test_the_records_are_compared_once_for_all_parts(
    writer: ExportWriter, mixed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []

    def counted(place: Any) -> str:
        compared.append(place)
        return checksum(place)

    monkeypatch.setattr("resources.checksums.checksum", counted)
    writer.finish(writer.plan(ask(part_rows=30)))

    finished = [place for place in compared if "contacts" in str(place)]
    assert len(finished) <= 2 * len(set(finished))  # for the plan, and for all of its parts


@from_mixed
def test_a_plan_survives_the_disk(writer: ExportWriter, mixed: int) -> None:
    plan = writer.plan(
        ask(
            order_by=("country", "amount desc", "signed_up"),
            filters=("amount > 3",),
            part_rows=9,
            format="json",
        )
    )

    assert writer.load("ua", plan.export_id) == plan


@from_mixed
@pytest.mark.parametrize("export_id", ["e-20260101-000000000-000000", "../../dl/exports/e-1", ""])
def test_another_accounts_plan_is_not_there(
    writer: ExportWriter, store: RecordStore, mixed: int, export_id: str
) -> None:
    put(store, "SELECT 'D-1' AS external_id, 'lead' AS status", account="dl")
    plan = writer.plan(ask(account="dl"))

    for wanted in (plan.export_id, export_id):
        with pytest.raises(NotFound, match="There is no plan of an export"):
            writer.load("ua", wanted)


@from_mixed
def test_imports_a_rollback_and_maintenance_during_an_export_do_not_show_in_it(
    store: RecordStore, writer: ExportWriter, importer: Importer, mixed: int, tmp_path: Path
) -> None:
    earlier = importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", map(contact, range(40))))).batch
    undisturbed = writer.export(ask(part_rows=30))
    plan = writer.plan(ask(part_rows=30))
    assert len(plan.parts) == 5

    writer.make_part(plan, 0)
    changed = [contact(number, status="customer", amount="0.00") for number in range(20, 60)]
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", changed)))
    writer.make_part(plan, 1)
    store.account("ua").roll_back(RollbackRequest("ua", earlier.batch_id, OnModified.OVERWRITE), "tester", None)
    writer.make_part(plan, 2)
    change(store, f"DELETE FROM {TABLE} WHERE external_id > 'C-060'")
    maintained = Maintenance(store, "tester").maintain()
    writer.make_part(plan, 3)

    assert maintained.merged + maintained.rewritten > 0
    assert writer.finish(plan).sha256 == undisturbed.sha256
    assert writer.export(ask(part_rows=30)).sha256 != undisturbed.sha256


@from_mixed
def test_progress_is_reported_after_every_part(writer: ExportWriter, mixed: int) -> None:
    reported: list[tuple[int, int]] = []

    writer.export(ask(part_rows=30), lambda done, total: reported.append((done, total)))

    assert len(reported) == 4
    assert reported == sorted(reported)
    assert reported[-1] == (100, 100)


@from_mixed
def test_a_cancelled_export_leaves_nothing(writer: ExportWriter, older: Path, store: RecordStore) -> None:
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.export(ask(path=older, part_rows=30), cancel)

    assert not list(store.settings.data.glob("accounts/ua/exports/*"))


@from_mixed
def test_parts_that_are_made_at_once_stand_in_their_order_whichever_is_ready_first(
    writer: ExportWriter, mixed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = writer.export(ask())
    write, second = ExportSource.write_csv, threading.Event()

    def write_first_last(source: ExportSource, part: Range, *given: Any) -> int:
        if part.low is None:
            assert second.wait(30), "one part was made after the other"
        rows = write(source, part, *given)
        if part.low is not None:
            second.set()
        return rows

    monkeypatch.setattr(ExportSource, "write_csv", write_first_last)

    assert writer.export(ask(part_rows=30)).sha256 == whole.sha256


@from_mixed
def test_a_cancelled_export_stops_the_parts_that_are_being_made(
    writer: ExportWriter, mixed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(done: int, total: int) -> None:
        assert begun.wait(30)
        raise KeyboardInterrupt

    def write_slowly(source: ExportSource, part: Range, *given: Any) -> int:
        if part.low is None:
            return write(source, part, *given)
        begun.set()
        source._connection.execute("SELECT sum(i % 7) FROM range(2_000_000_000) t(i)")  # takes many seconds
        ended.append(part)
        return 0

    write, begun, ended = ExportSource.write_csv, threading.Event(), list[Range]()
    monkeypatch.setattr(ExportSource, "write_csv", write_slowly)
    with pytest.raises(KeyboardInterrupt):
        writer.export(ask(part_rows=30), cancel)
    monkeypatch.setattr(ExportSource, "write_csv", write)

    assert not ended
    assert writer.export(ask(part_rows=30)).rows == 100


@from_mixed
@by_duckdb
def test_an_export_leaves_duckdb_its_cores(store: RecordStore, writer: ExportWriter, mixed: int) -> None:
    def cores() -> tuple[int]:
        with store.reading() as connection:
            found: tuple[int] = connection.fetch_one("SELECT current_setting('threads')")
            return found

    before = cores()

    writer.export(ask(part_rows=30))

    assert cores() == before


@by_duckdb
def test_parts_of_long_records_have_fewer(
    store: RecordStore, writer: ExportWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "SELECT 'C-' || i AS external_id, 's' AS status, repeat('n', i + 90) AS notes FROM range(20) t(i)")
    monkeypatch.setattr("resources.export_writer.writer._PART_BYTES", 500)

    plan = writer.plan(ask(columns=("external_id", "notes")))

    assert [part.rows for part in plan.parts] == [4, 4, 4, 4, 4]


@from_mixed
def test_a_file_can_be_read_by_others_as_the_umask_says(writer: ExportWriter, mixed: int, tmp_path: Path) -> None:
    manifest = writer.export(ask(path=tmp_path / "out.csv"))

    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(manifest.path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


# Leftovers


def aged(path: Path, to: datetime) -> None:
    """Date everything under the path to that time."""
    for each in (path, *path.rglob("*")):
        os.utime(each, (to.timestamp(), to.timestamp()))


@from_mixed
def test_parts_are_swept_after_24_hours_and_files_after_their_days(
    writer: ExportWriter, store: RecordStore, mixed: int, tmp_path: Path
) -> None:
    file = writer.export(ask()).path
    elsewhere = writer.export(ask(path=tmp_path / "mine.csv")).path
    plan = writer.plan(ask(part_rows=30, path=tmp_path / "out.csv"))
    writer.make_part(plan, 0)
    left = [
        tmp_path / f".out.csv{name}.{plan.export_id}.{more}"
        for name, more in (
            ("", "0123abcd.partial"),
            ("", "4567cdef.partial.manifest.json"),
            (".manifest.json", "partial"),
        )
    ]
    for each in left:
        each.write_text("half of it")
    now = plan.at
    aged(on_disk(plan.folder), now)

    assert sweep_exports(store.settings, now + timedelta(hours=23, minutes=59, seconds=59)) == SweptExports()
    size = usage(plan.parts_folder).bytes
    assert size > 300
    assert sweep_exports(store.settings, now + timedelta(hours=24)) == SweptExports(unfinished=1, bytes=size)
    assert (entries(plan.folder), [each for each in left if each.exists()], exists(file)) == ((), [], True)
    with pytest.raises(NotFound):
        writer.load("ua", plan.export_id)

    assert sweep_exports(store.settings, now + timedelta(days=6, hours=23)) == SweptExports()
    swept = sweep_exports(store.settings, now + timedelta(days=7, seconds=1))
    assert (swept.unfinished, swept.files, swept.bytes > 100) == (0, 1, True)
    assert (entries(file.parent), exists(elsewhere)) == ((), True)
    assert sweep_exports(store.settings, now + timedelta(days=8)) == SweptExports()


def test_other_files_than_exports_are_left_alone(store: RecordStore) -> None:
    foreign = on_disk(store.settings.folder("ua", "exports") / "keep-me")
    foreign.mkdir(parents=True)
    (foreign / "mine.txt").write_text("mine")

    assert sweep_exports(store.settings, datetime(2100, 1, 1, tzinfo=UTC)) == SweptExports()
    assert (foreign / "mine.txt").exists()


@by_duckdb
def test_libreoffice_reads_every_sheet_of_a_workbook(writer: ExportWriter, store: RecordStore, tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("no LibreOffice: apt-get install libreoffice-calc-nogui")
    put(
        store,
        "SELECT 'C-' || lpad(i::VARCHAR, 5, '0') AS external_id, 'lead' AS status, i / 4 AS amount, "
        "DATE '2024-01-01' + i::INT AS birthday FROM range(2500) t(i)",
    )
    columns = ("external_id", "amount", "birthday")
    path = writer.export(ask(format="excel", sheet_rows=1000, columns=columns, path=tmp_path)).path
    every_sheet = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
    command = [office, "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to", every_sheet]

    subprocess.run([*command, "--outdir", str(tmp_path), str(path)], check=True, capture_output=True, timeout=120)

    texts = [(tmp_path / f"contacts-contacts {number}.csv").read_text().splitlines() for number in (1, 2, 3)]
    book = openpyxl.load_workbook(on_disk(path), read_only=True)
    assert [sheet.max_row - 1 for sheet in book] == [len(lines) - 1 for lines in texts] == [1000, 1000, 500]
    book.close()
    assert {lines[0] for lines in texts} == {"external_id,amount,birthday"}
    rows = [line.split(",") for lines in texts for line in lines[1:]]
    assert [row[0] for row in rows] == [f"C-{number:05}" for number in range(2500)]
    assert rows[5] == ["C-00005", "1.25", "2024-01-06"]
