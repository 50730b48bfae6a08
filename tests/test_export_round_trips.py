"""An export of any records, in any format, imports back without a change."""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportReport, ImportRequest
from schemas.characters import unseen_in_keys
from schemas.counts import Counts
from schemas.exports import ExportManifest, ExportRequest, Packing
from tests.examples import tried
from tests.object_server import on_disk
from tests.records import change, put


@dataclass(frozen=True)
class Way:
    """A way to write a file, and the options to read it again."""

    format: str = "csv"
    packing: Packing | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    raw: bool = False
    needs_encoding: bool = False
    """Whether the import needs the encoding as an option."""


WAYS = {
    "csv": Way(),
    "csv for Excel": Way("csv", Packing.GZ, "utf-8-sig", ";"),
    "csv in utf-16 with tabs": Way("csv", Packing.ZST, "utf-16", "tab"),
    "csv raw": Way("csv", None, "utf-32", "|", raw=True),
    "csv in cp1252": Way(encoding="cp1252", needs_encoding=True),
    "csv in shift_jis": Way(encoding="shift_jis", needs_encoding=True),
    "json": Way("json", Packing.ZST),
    "ndjson": Way("ndjson", Packing.GZ),
    "excel": Way("excel"),
    "parquet": Way("parquet"),
}

SPECIAL = (
    *(
        "=1+1",
        "'=1",
        "''",
        "-5",
        "+4",
        "\tx",
        "\r",
        "a\r\nb",
        "\n",
        '"',
        ",",
        "00123",
        "1e5",
        "true",
        "null",
        "_x0041_",
    ),
    *("\x0b", "a\x00b", "\x01\x1f\r", "\ufffe\uffff", "_x000B_\x0b", "_x000B _\x7f"),
    *(" x ", "#N/A", "12345678901234567890", "2024-05-31", "{", "[1]", "sep=;", "\ufeff", "\xa0", "𝄞", "\u2028"),
)
TIMESTAMPS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def _is_key(text: str) -> bool:
    return not len(unseen_in_keys(pa.array([text])))


def records_for(way: Way) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw contacts with texts that can be written in that way."""
    codec = way.encoding if way.needs_encoding else "utf-8"
    characters = st.characters(codec=codec, exclude_characters="\x00¥‾")  # Shift-JIS loses the last two
    special = [text for text in SPECIAL if text.encode(codec, "ignore").decode(codec) == text]
    texts = st.none() | st.text(characters, min_size=1, max_size=12) | st.sampled_from(special)
    return st.lists(
        st.fixed_dictionaries(
            {
                "external_id": st.text(characters, min_size=1, max_size=12).filter(_is_key),
                "status": st.sampled_from(["lead", "prospect", "customer", "churned"]),
                "company": texts,
                "notes": texts,
                "amount": st.none() | st.decimals(Decimal(0), Decimal("9999999999999999.99"), places=2),
                "birthday": st.none() | st.dates(),
                "signed_up": st.none() | TIMESTAMPS,
            }
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda record: unicodedata.normalize("NFC", record["external_id"]),
    )


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("external_id", "status", "company", "notes")),
        ("amount", pa.decimal128(18, 2)),
        ("birthday", pa.date32()),
        ("signed_up", pa.timestamp("us", "UTC")),
    ]
)


def export(store: RecordStore, way: Way, **options: Any) -> ExportManifest:
    request = ExportRequest(
        account="ua",
        record_type="contacts",
        format=way.format,
        packing=way.packing,
        encoding=way.encoding,
        delimiter=way.delimiter,
        raw=way.raw,
        part_rows=7,
        **options,
    )
    return ExportWriter(store, "tester").export(request)


def import_back(store: RecordStore, manifest: ExportManifest, way: Way, **options: Any) -> ImportReport:
    request = ImportRequest(
        on_disk(manifest.path),
        "ua",
        "contacts",
        encoding=way.encoding if way.needs_encoding else None,
        again=True,
        **options,
    )
    return Importer(store, "tester").preview(request)


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=tried(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_exported_imports_back_as_no_change(
    store: RecordStore, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    way = WAYS[name]
    records = data.draw(records_for(way))
    file = tmp_path / "records.parquet"
    pq.write_table(pa.Table.from_pylist(records, SCHEMA), file)
    change(store, "DELETE FROM lake.records.contacts WHERE _account = 'ua'")
    put(store, f"SELECT * FROM read_parquet('{file}')")

    report = import_back(store, export(store, way), way)

    assert report.batch.counts == Counts(read=len(records), unchanged=len(records)), report.samples


DANGEROUS = "SELECT 'C-' || i AS external_id, 'lead' AS status, repeat('''', i) || '=1' AS notes FROM range(3) t(i)"


def notes(store: RecordStore) -> list[str]:
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT notes FROM lake.records.contacts WHERE _account = 'ua' ORDER BY 1"
        ).fetch_all()
    return [note for (note,) in rows]


def test_the_quote_is_removed_from_our_own_files_alone_and_that_is_reported(store: RecordStore, tmp_path: Path) -> None:
    put(store, DANGEROUS)
    ours = export(store, WAYS["csv"])
    label, value = "Texts like '=1+1", "lose the ', because this is an export of ours"

    report = import_back(store, ours, WAYS["csv"])
    assert report.batch.counts == Counts(read=3, unchanged=3)
    assert (label, value) in report.batch.understood

    theirs = tmp_path / "theirs.csv"
    theirs.write_bytes(ours.path.read_bytes() + b"\r\n")  # the same records with another sha256
    for unescape, counts in ((False, Counts(read=3, updated=3)), (True, Counts(read=3, unchanged=3))):
        request = ImportRequest(theirs, "ua", "contacts", again=True, unescape=unescape)
        report = Importer(store, "tester").preview(request)
        assert report.batch.counts == counts
        assert (label in dict(report.batch.understood)) == unescape


@pytest.mark.runs_on("laptop", "postgres")
def test_a_raw_export_is_taken_as_it_is(store: RecordStore) -> None:
    put(store, DANGEROUS)

    report = import_back(store, export(store, WAYS["csv raw"]), WAYS["csv raw"])

    assert report.batch.counts == Counts(read=3, unchanged=3)
    assert "Texts like '=1+1" not in dict(report.batch.understood)


def test_each_sheet_of_a_workbook_imports_back(store: RecordStore) -> None:
    put(
        store,
        "SELECT 'C-' || i AS external_id, 'lead' AS status, DATE '2024-01-01' + i::INT AS birthday FROM range(9) t(i)",
    )
    way = WAYS["excel"]
    manifest = export(store, way, sheet_rows=5)

    for sheet, rows in (("contacts 1", 5), ("contacts 2", 4)):
        assert import_back(store, manifest, way, sheet=sheet).batch.counts == Counts(read=rows, unchanged=rows)


@pytest.mark.runs_on("laptop", "postgres")
def test_timestamps_at_midnight_and_the_first_and_last_days_come_back(store: RecordStore) -> None:
    days = [
        date(1, 1, 2),
        date(1899, 12, 31),
        date(1900, 1, 1),
        date(1900, 2, 28),
        date(1900, 3, 1),
        date(9999, 12, 30),
    ]
    timestamps = [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(milliseconds=each)
        for day in days
        for each in (0, 1, 999, 1000)
    ]
    values = ", ".join(
        f"('C-{at:02}', 'lead', TIMESTAMPTZ '{timestamp.isoformat()}', DATE '{timestamp.date()}')"
        for at, timestamp in enumerate(timestamps)
    )
    put(store, f"SELECT * FROM (VALUES {values}) t(external_id, status, signed_up, birthday)")

    for name in ("csv", "json", "excel", "parquet"):
        report = import_back(store, export(store, WAYS[name]), WAYS[name])
        assert report.batch.counts == Counts(read=24, unchanged=24), (name, report.samples)
