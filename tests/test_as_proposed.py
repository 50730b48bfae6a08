"""Nobody says how a table is written: then each value is read right, or it is rejected, or the file is asked about."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas import load_record_types
from schemas.batches import ImportReport, ImportRequest, OnInvalid
from schemas.errors import InvalidRequest, Uncertain, UnreadableFile
from schemas.reading import DateOrder
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
NUMBERS = count(1)


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


def wrong(store: RecordStore, account: str, rows: Sequence[Row]) -> list[tuple[str, Any, Any]]:
    """Return the stored values that differ from those that were written: field, as written and as stored."""
    written = {row["sku"]: row for row in rows}
    return [
        (name, written[record["sku"]][name], record[name])
        for record in stored(store, "items", account)
        for name in FIELDS[:-1]
        if record[name] != written[record["sku"]][name]
    ]


@pytest.mark.parametrize(("name", "write"), [("in.csv", as_csv), ("in.xlsx", as_workbook)])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
    account, path = f"a-{next(NUMBERS)}", tmp_path / name
    write(path, style, rows)
    try:
        importer.import_file(ImportRequest(path, account, "items"), OnInvalid.SKIP)
    except (Uncertain, InvalidRequest, UnreadableFile):
        assert stored(items, "items", account) == []
    assert wrong(items, account, rows) == []

    account = f"a-{next(NUMBERS)}"
    said = style.said if name == "in.csv" else {"header_row": style.said["header_row"]}
    report: ImportReport = importer.import_file(ImportRequest(path, account, "items", **said), OnInvalid.SKIP)
    assert wrong(items, account, rows) == []
    ambiguous = [it for it in report.batch.problems if "this local time exists twice" not in it.expected]
    assert ambiguous == []
