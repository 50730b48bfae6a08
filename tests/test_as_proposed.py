"""Nobody says how a table is written: then each value is read right, or it is rejected, or the file is asked about."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore, Staging
from schemas import load_record_types
from schemas.batches import ImportReport, ImportRequest
from schemas.cleaning import without_signs
from schemas.errors import InvalidRequest, Uncertain, UnreadableFile
from schemas.exports import ExportRequest
from schemas.parsing import parse_column
from schemas.reading import DateOrder, Differing
from schemas.record_type import Field, RecordType
from schemas.unclear_points import UnclearPoints
from schemas.unread_dates import TWICE
from tests.examples import tried
from tests.records import stored

DAYS = {
    None: "%Y-%m-%d",
    DateOrder.DMY: "%d.%m.%Y",
    DateOrder.MDY: "%m/%d/%Y",
    DateOrder.YMD: "%Y/%m/%d",
}
MARKS = [(",", "."), (",", " "), (",", "'"), (",", ""), (".", ","), (".", " "), (".", "'"), (".", "")]
FIELDS = ("sku", "qty", "weight", "price", "active", "seen", "made", "remark")
WORDS = (("true", "false"), ("yes", "no"), ("ja", "nein"), ("1", "0"), ("t", "f"))
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Style:
    """How a table is written.

    marks: the decimal sign, and what is between thousands. order: None means ISO 8601. zone: None means with offsets.
    above: the lines above the header. words: for true and false.
    """

    delimiter: str
    marks: tuple[str, str]
    order: DateOrder | None
    zone: str | None
    above: tuple[str, ...]
    words: tuple[str, str]

    def number(self, value: Any, form: str) -> str:
        decimal, thousands = self.marks
        return format(value, form).translate({ord(","): thousands, ord("."): decimal})

    def texts(self, row: Row) -> list[str]:
        """Return the texts of a record."""
        zone = ZoneInfo(self.zone or "UTC")
        seen = row["seen"] and row["seen"].astimezone(zone)
        texts = {
            "sku": row["sku"],
            "qty": row["qty"] is not None and self.number(row["qty"], ",d"),
            "weight": row["weight"] is not None and self.number(row["weight"], ",.3f"),
            "price": row["price"] is not None and self.number(row["price"], ",.2f"),
            "active": row["active"] is not None and self.words[not row["active"]],
            "seen": seen and f"{seen:{DAYS[self.order]} %H:%M:%S}{'' if self.zone else '+00:00'}",
            "made": row["made"] and f"{row['made']:{DAYS[self.order]}}",
            "remark": row["remark"],
        }
        return [texts[name] or "" for name in FIELDS]

    @property
    def said(self) -> dict[str, Any]:
        """Return what a person says who knows it."""
        header_row = len(self.above) + 1
        return {
            "decimal": self.marks[0],
            "date_order": self.order,
            "time_zone": self.zone,
            "delimiter": self.delimiter,
            "header_row": header_row,
        }


STYLES = st.builds(
    Style,
    st.sampled_from(",;\t|"),
    st.sampled_from(MARKS),
    st.sampled_from([*DAYS]),
    st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York"]),
    st.lists(st.sampled_from(["Stock of May", "Printed by Ana", "1.234", ""]), max_size=3).map(tuple),
    st.sampled_from(WORDS),
)
MAYBE = st.none()
QTY = st.one_of(st.integers(-5, 5), st.integers(0, 3000), st.integers(1, 9).map(lambda it: it * 1000))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "qty": st.one_of(MAYBE, QTY),
            "weight": st.one_of(MAYBE, st.integers(0, 3_000_000).map(lambda it: it / 1000), QTY.map(float)),
            "price": st.one_of(MAYBE, st.integers(-999, 999_999_999).map(lambda it: Decimal(it).scaleb(-2))),
            "active": st.one_of(MAYBE, st.booleans()),
            "seen": st.one_of(
                MAYBE, st.integers(0, 10**9).map(lambda it: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=it))
            ),
            "made": st.one_of(MAYBE, st.dates(date(1900, 1, 1), date(2100, 1, 1))),
            "remark": st.sampled_from(["", "fine", "a, b", "1;2", "x"]),
        }
    ),
    min_size=1,
    max_size=6,
).map(lambda rows: [{"sku": f"S-{at}", **row} for at, row in enumerate(rows)])


@pytest.fixture
def items(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    """A store that has the type of items too."""
    monkeypatch.setenv("RECORDS_TYPES", "tests.items:Items")
    store.initialise(load_record_types())
    return store


def as_csv(path: Path, style: Style, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for line in style.above:
            file.write(f"{line}\r\n")
        writer = csv.writer(file, delimiter=style.delimiter)
        writer.writerow(FIELDS)
        writer.writerows(map(style.texts, rows))


def as_workbook(path: Path, style: Style, rows: Sequence[Row]) -> None:
    """Write numbers, days and times as a workbook has them: it knows no decimal sign, order or offset."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in style.above:
        sheet.append([line])
    sheet.append(FIELDS)
    for row in rows:
        sheet.append([it.replace(tzinfo=None) if isinstance(it, datetime) else it for it in map(row.get, FIELDS)])
    book.save(path)


def staged(store: RecordStore, report: ImportReport) -> list[dict[str, Any]]:
    """Return the typed records of a preview that break no rule."""
    batch = report.batch
    folder = Path(str(store.account(batch.account).folder("staging"))) / batch.batch_id
    return [row for row in pq.read_table(Staging(folder, ()).records).to_pylist() if row["_valid"]]


def wrong(records: Sequence[Row], rows: Sequence[Row]) -> list[tuple[str, Any, Any]]:
    """Return the values that differ from those that were written: field, as written and as read."""
    written = {row["sku"]: row for row in rows}
    return [
        (name, written[record["sku"]][name], record[name])
        for record in records
        for name in FIELDS[:-1]
        if record[name] != written[record["sku"]][name]
    ]


@pytest.mark.parametrize(("name", "write"), [("in.csv", as_csv), ("in.xlsx", as_workbook)])
@settings(max_examples=tried(20), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(style=STYLES, rows=ROWS)
def test_what_nobody_says_is_read_right_or_asked(
    importer: Importer,
    items: RecordStore,
    tmp_path: Path,
    name: str,
    write: Callable[[Path, Style, Sequence[Row]], None],
    style: Style,
    rows: list[Row],
) -> None:
    path = tmp_path / name
    write(path, style, rows)
    with suppress(InvalidRequest, UnreadableFile):
        report = importer.preview(ImportRequest(path, "ua", "items"))
        if not report.questions:
            assert wrong(staged(items, report), rows) == []

    said = style.said if name == "in.csv" else {"header_row": len(style.above) + 1}
    report = importer.preview(ImportRequest(path, "ua", "items", **said))
    records = staged(items, report)
    assert (wrong(records, rows), report.questions) == ([], ())
    assert [it.expected for it in report.batch.problems if TWICE not in it.expected] == []
    assert len(records) == len(rows) - report.batch.counts.rejected


@pytest.mark.parametrize(
    ("numbers", "asked"),
    [
        (["1.000", "2.500"], (("1.000", "1000"), ("2.500", "2500"))),
        (["€ 1.000", "5"], (("1.000", "1000"),)),
        (["1.000", "12,5"], (("1.000", "1000"),)),
        (["1.000", "12.5"], ()),
        (["1.000", "0.10"], ()),
        (["1.000", "1234.000"], ()),
        (["1000", "12"], ()),
    ],
)
def test_a_point_that_can_stand_between_thousands_is_asked_about(
    numbers: list[str], asked: tuple[tuple[str, str], ...]
) -> None:
    texts = pa.table({"price": numbers})
    fields = ("price",)
    record_type = RecordType("x", "", (Field("price", "decimal(18,2)", currency=True),), fields, {})
    points = UnclearPoints(record_type, fields)
    typed = parse_column(without_signs(texts["price"].combine_chunks(), record_type.fields[0]), record_type.fields[0])
    points.add(texts, pa.table({"price": typed[0]}), pa.array(range(len(numbers))))
    question = points.question({"price": "Price"})
    assert (question.values if question else ()) == tuple(Differing("Price", it) for it in asked)


def test_the_answer_is_remembered_and_stored_values_answer_too(
    importer: Importer, items: RecordStore, tmp_path: Path
) -> None:
    def request(week: int, text: str, account: str = "ua", **said: Any) -> ImportRequest:
        path = tmp_path / f"{account}{week}.csv"
        path.write_text(f"sku,qty,remark\nS-1,{text},{week}\n")
        return ImportRequest(path, account, "items", **said)

    def quantity(account: str = "ua") -> int:
        return int(stored(items, "items", account)[0]["qty"])

    with pytest.raises(Uncertain, match=r"1 number like 2\.000 can have a decimal point, or .*Say which: --decimal \."):
        importer.import_file(request(1, "2.000"))
    assert stored(items, "items") == []
    importer.import_file(request(1, "2.000", decimal=","))
    importer.import_file(request(2, "3.000"))
    assert quantity() == 3000

    preview = importer.preview(request(1, "2.000", "de"))
    importer.commit("de", preview.batch.batch_id)
    remembered = importer.import_file(request(2, "3.000", "de")).batch.remembered
    assert (quantity("de"), remembered and remembered.options.decimal) == (3, ".")

    importer.import_file(request(1, "2", "fr"))
    same = importer.import_file(request(2, "2.000", "fr")).batch
    assert (same.counts.unchanged, same.questions) == (1, ())
    with pytest.raises(Uncertain):
        importer.import_file(request(3, "5.000", "fr"))


def test_an_export_of_ours_has_decimal_points(importer: Importer, items: RecordStore, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("sku,weight\nS-1,1.125\n")
    importer.import_file(ImportRequest(path, "ua", "items", decimal="."))
    export = ExportWriter(items, "tester").export(ExportRequest("ua", "items"))
    assert "1.125" in Path(str(export.path)).read_text()
    report = importer.import_file(ImportRequest(Path(str(export.path)), "ua", "items"))
    assert (report.batch.counts.unchanged, report.batch.questions) == (1, ())


_TEXTS_AND_NUMBERS: tuple[tuple[list[Any], bool], ...] = (
    (["1.000"], True),
    (["1.000", "12.5"], False),
    ([1000], False),
    ([1.125], False),
)


@pytest.mark.parametrize(
    ("format_", "quantities", "asks"),
    [
        *((name, texts, asks) for name in ("json", "parquet") for texts, asks in _TEXTS_AND_NUMBERS),
        ("json", ["1.000", 12.5], True),  # a number shows nothing about texts
        ("json", [1.125, "5"], False),
        ("json", ["1.000", "x"] + [None] * 9 + [2.25, "12.5"], False),
    ],
)
def test_texts_in_formats_with_numbers_are_asked_about_too(
    importer: Importer, items: RecordStore, tmp_path: Path, format_: str, quantities: list[Any], asks: bool
) -> None:
    path = tmp_path / f"in.{format_}"
    rows = [{"sku": f"S-{at}", "weight": it} for at, it in enumerate(quantities)]
    if format_ == "json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    questions = importer.preview(ImportRequest(path, "ua", "items")).batch.questions
    assert [it.sentence.split(" can have")[0] for it in questions] == ["1 number like 1.000"] * asks


@pytest.mark.parametrize("format_", ["json", "parquet"])
def test_an_export_of_ours_with_numbers_is_not_asked_about(
    importer: Importer, items: RecordStore, tmp_path: Path, format_: Any
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("sku,weight\nS-1,1.125\n")
    importer.import_file(ImportRequest(path, "ua", "items", decimal="."))
    export = ExportWriter(items, "tester").export(ExportRequest("ua", "items", format=format_))
    report = importer.import_file(ImportRequest(Path(str(export.path)), "ua", "items"))
    assert (report.batch.counts.unchanged, report.batch.questions) == (1, ())
