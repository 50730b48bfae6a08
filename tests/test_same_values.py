"""The same values are the same records, whatever the format of their file."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
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

from resources.file_reader import ReadLimits, ReadOptions
from resources.file_reader.formats import recognise
from schemas.parsing import arrow_type, parse_column
from schemas.reading import DateOrder
from schemas.record_type import Field
from tests.examples import tried

Rows = Sequence[Mapping[str, Any]]

FIRST, LAST = (int(datetime(year, 3, 1, tzinfo=UTC).timestamp()) for year in (1900, 9999))
LETTERS = st.sampled_from("aZé日ß")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.builds("{}{}{}".format, LETTERS, st.text("ab ,;\"'\n=é日😀", max_size=8), LETTERS),
    "integer": st.integers(-(10**15) + 1, 10**15 - 1),  # Excel keeps 15 digits
    "decimal(18,2)": st.integers(-(10**13), 10**13).map(lambda cents: Decimal(cents).scaleb(-2)),
    "float": st.integers(-(10**12), 10**12).map(lambda thousandths: thousandths / 1000),
    "boolean": st.booleans(),
    "date": st.dates(date(1900, 3, 1)),
    "timestamp": st.integers(FIRST, LAST).map(
        lambda seconds: datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    ),
}
FIELDS = {name: Field(name, name) for name in VALUES}
ROWS = st.lists(
    st.fixed_dictionaries({name: values | st.none() for name, values in VALUES.items()}), min_size=1, max_size=8
)


def _iso(value: Any) -> str:
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else str(value)


def _as_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["key", *VALUES])
        writer.writerows(
            [number, *("" if it is None else _iso(it) for it in map(row.get, VALUES))]
            for number, row in enumerate(rows)
        )


def _as_workbook(path: Path, rows: Rows) -> None:
    book = openpyxl.Workbook()
    (sheet,) = book.worksheets
    sheet.append(["key", *VALUES])
    for number, row in enumerate(rows):
        sheet.append([number, *map(row.get, VALUES)])
        for cell in sheet[sheet.max_row]:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # openpyxl takes =a for a formula
    book.save(path)


def _as_json(path: Path, rows: Rows, write: Callable[[list[dict[str, Any]]], str]) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return float(value)
        return _iso(value) if isinstance(value, date) else value

    objects = [{"key": n} | {name: plain(value) for name, value in row.items()} for n, row in enumerate(rows)]
    path.write_text(write(objects), "utf-8")


def _as_parquet(path: Path, rows: Rows) -> None:
    columns = {"key": pa.array(range(len(rows)))}
    for name, field in FIELDS.items():
        values = [row[name] for row in rows]
        if name == "timestamp":
            values = [None if value is None else value.replace(tzinfo=UTC) for value in values]
        columns[name] = pa.array(values, arrow_type(field))
    pq.write_table(pa.table(columns), path)


FORMATS: dict[str, Callable[[Path, Rows], None]] = {
    "in.csv": _as_csv,
    "in.xlsx": _as_workbook,
    "in.json": lambda path, rows: _as_json(path, rows, json.dumps),
    "in.ndjson": lambda path, rows: _as_json(path, rows, lambda them: "\n".join(map(json.dumps, them))),
    "results.json": lambda path, rows: _as_json(path, rows, lambda them: json.dumps({"results": them})),
    "in.parquet": _as_parquet,
}


def _read(path: Path) -> dict[str, list[Any]]:
    """Return the typed values of each field."""
    format_ = recognise(path, path.name)
    said = ReadOptions(encoding="utf-8", delimiter=",")
    opened: Any = format_.open(path, path.name, said, ReadLimits())
    chunks = list(opened.chunks())
    found = {}
    for name, field in FIELDS.items():
        texts = pa.concat_arrays([chunk.values.column(opened.headers.index(name)).combine_chunks() for chunk in chunks])
        values, bad = parse_column(texts, field, time_zone=format_.time_zone)
        assert (path.name, name, texts.take(bad).to_pylist()) == (path.name, name, [])
        found[name] = values.to_pylist()
    if hasattr(opened, "__exit__"):
        opened.__exit__(None, None, None)
    return found


@settings(max_examples=tried(60))
@given(
    st.lists(VALUES["decimal(18,2)"], min_size=1, max_size=5),
    st.lists(st.integers(FIRST, LAST), min_size=1, max_size=5),
    st.sampled_from([(",", "."), (",", " "), (",", ""), (".", ","), (".", "'"), (".", "")]),
    st.sampled_from(DateOrder),
    st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Tokyo"]),  # without hours that are there twice or not at all
)
def test_numbers_dates_and_times_in_each_style_that_can_be_said_are_read(
    amounts: list[Decimal], times: list[int], marks: tuple[str, str], order: DateOrder, zone: str
) -> None:
    decimal, thousands = marks
    written = [f"{it:,.2f}".translate({ord(","): thousands, ord("."): decimal}) for it in amounts]
    read, bad = parse_column(pa.array(written), FIELDS["decimal(18,2)"], decimal=decimal)
    assert (len(bad), read.to_pylist()) == (0, amounts)

    instants = [datetime.fromtimestamp(max(seconds, 0), UTC) for seconds in times]
    form = {DateOrder.DMY: "%d.%m.%Y", DateOrder.MDY: "%m/%d/%Y", DateOrder.YMD: "%Y/%m/%d"}[order]
    read, bad = parse_column(pa.array([f"{it:{form}}" for it in instants]), FIELDS["date"], date_order=order)
    assert (len(bad), read.to_pylist()) == (0, [it.date() for it in instants])
    local = [f"{it.astimezone(ZoneInfo(zone)):{form} %H:%M:%S}" for it in instants]
    read, bad = parse_column(pa.array(local), FIELDS["timestamp"], date_order=order, time_zone=zone)
    assert (len(bad), read.to_pylist()) == (0, instants)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@settings(max_examples=tried(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_the_same_values_of_each_type_are_read_from_each_format(tmp_path: Path, rows: Rows) -> None:
    expected = {
        name: [it.replace(tzinfo=UTC) if isinstance(it, datetime) else it for it in (row[name] for row in rows)]
        for name in FIELDS
    }
    for name, write in FORMATS.items():
        write(tmp_path / name, rows)
        assert (name, _read(tmp_path / name)) == (name, expected)
