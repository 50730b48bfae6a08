"""A preview finds each planted error and no other, and shortens no record."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from resources.file_reader import ReadLimits, ReadOptions
from resources.file_reader.delimited import DelimitedFile
from resources.importing.importer import Importer
from resources.record_store import RecordStore, Staging
from schemas.batches import ImportReport
from schemas.counts import Counts
from schemas.errors import UnreadableFile
from tests.object_server import on_disk
from tests.records import contacts_of

HEADER = "external_id,email,phone,country,status,amount,credit_limit,birthday,signed_up,notes"
GOOD = "C-{},a@b.org,,GB,lead,1.50,0,1985-12-10,2024-05-01T09:30:00Z,"
WIDTH = 128
PLANTED = [
    {
        "external_id": ("required", ""),
        "email": ("str_matches", "a.b.org"),
        "country": ("str_matches", "g1"),
        "status": ("required", ""),
        "amount": ("greater_than_or_equal_to", "-0.01"),
        "credit_limit": ("type", "1.239"),
        "birthday": ("type", "1985-02-30"),
        "signed_up": ("type", "2024-05-01T09:30:00"),
    },
    {
        "external_id": ("str_length", "C" * 58 + "-{}"),
        "email": ("str_matches", "a@b.org x"),
        "country": ("str_matches", "GBR"),
        "status": ("isin", "VIP"),
        "amount": ("type", "many"),
        "credit_limit": ("greater_than_or_equal_to", "-5"),
        "birthday": ("type", "31.12.1985"),
        "signed_up": ("type", "yesterday"),
    },
]
"""Every rule of every mapped field."""


def _line(values: list[str]) -> str:
    """Lines of equal length, so that a planted error moves nothing to another chunk."""
    line = ",".join(values)
    assert len(line) < WIDTH
    return line + "n" * (WIDTH - 1 - len(line)) + "\n"


@pytest.mark.usefixtures("ordinary_opening")
def test_each_planted_error_is_in_the_problems_and_no_other(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """600,000 empty phones are not an error, and neither are equal neighbours."""
    names, size = HEADER.split(","), 600_000
    lines = [_line(GOOD.format(f"{number:07}").split(",")) for number in range(size)]
    path = tmp_path / "in.csv"
    path.write_text(HEADER + "\n" + "".join(lines))
    chunks = [
        (chunk.records[0].as_py(), chunk.records[-1].as_py())
        for chunk in DelimitedFile(path, path.name, ReadOptions(), ReadLimits()).chunks()
    ]
    assert len(chunks) > 8
    expected = set()

    def plant(record: int, errors: dict[str, tuple[str, str]]) -> None:
        values = dict(zip(names, GOOD.format(f"{record - 1:07}").split(","), strict=True))
        for field, (rule, value) in errors.items():
            values[field] = value.format(f"{record - 1:07}")
            expected.add((record, record + 1, field, rule, values[field]))
        lines[record - 1] = _line(list(values.values()))

    for number, (first, last) in enumerate(chunks):
        plant(first, PLANTED[number % 2])
        plant(last, PLANTED[(number + 1) % 2])
    for record in range(300_000, 300_005):
        plant(record, {"country": ("str_matches", "xx")})
    path.write_text(HEADER + "\n" + "".join(lines))

    report = importer.preview(contacts_of(path))

    wrong = len({record for record, *_ in expected})
    assert report.batch.counts == Counts(read=size, created=size - wrong, rejected=wrong)
    problems = _problems(store, report)
    assert set(problems) == expected
    assert len(problems) == len(expected)


def test_a_required_column_that_is_empty_is_reported_for_each_record_beside_what_else_is_wrong(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    size, path = 60_000, tmp_path / "in.csv"
    countries = ["xx" if number in (0, 1, 2, size - 1) else "GB" for number in range(size)]
    rows = "".join(f"C-{number},,{country}\n" for number, country in enumerate(countries))
    path.write_text(f"external_id,status,country\n{rows}")

    report = importer.preview(contacts_of(path))

    assert report.batch.counts == Counts(read=size, rejected=size)
    problems = _problems(store, report)
    assert [it for it in problems if it[2] != "status"] == [
        (record, record + 1, "country", "str_matches", "xx") for record in (1, 2, 3, size)
    ]
    assert sorted(it for it in problems if it[2] == "status") == [
        (record, record + 1, "status", "required", "") for record in range(1, size + 1)
    ]


def _problems(store: RecordStore, report: ImportReport) -> list[tuple[Any, ...]]:
    """Return the rows of the problems file: record, line, field, rule, value."""
    staging = Staging(on_disk(store.account("ua").folder("staging") / report.batch.batch_id), ())
    table = pq.read_table(staging.problems)
    return list(zip(*(table[it].to_pylist() for it in ("record", "line", "field", "rule", "value")), strict=True))


def test_what_is_odd_about_a_file_is_reported_and_nothing_is_shortened(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"

    def problems(content: str, **column_map: str) -> list[tuple[Any, ...]]:
        path.write_bytes(content.encode())
        report = importer.preview(contacts_of(path, column_map=column_map))
        found = _problems(store, report)
        assert report.batch.counts.rejected == len({record for record, *_ in found})
        assert report.batch.counts.read == content.count("\n") + (not content.endswith("\n")) - 1
        return found

    # duckdb#25827: the sniffer finds no record in a file of three lines
    assert problems("c0\nv0\na;b", c0="external_id") == [
        (1, 2, "status", "required", None),
        (2, 3, "status", "required", None),
    ]
    assert problems("external_id,status\nC-1,lead\nC-2,lead,\n") == [(2, 3, None, "field_count", "3 fields")]
    assert problems('external_id,sta"tus\nC-1,VIP\n') == [(1, 2, "status", "isin", "VIP")]
    assert importer.preview(contacts_of(path)).columns[1].header == 'sta"tus', "the mark is part of the name"
    assert problems('external_id,status\nC-1,lead\nC-2,"lead\n') == [(2, 3, None, "quotation_mark", "one elsewhere")]
    assert problems("external_id,status\nC-1,lead\nexternal_id,status\n") == [
        (2, 3, None, "repeated_header", "the names of the columns")
    ]
    assert problems("external_id,status\nC-1,lead\nEXTERNAL_ID, Status\n") == [
        (2, 3, None, "repeated_header", "the names of the columns")
    ]
    path.write_text("external_id,status\x85C-1,lead\x85")
    with pytest.raises(UnreadableFile, match=r"has no line end, and it has U\+0085"):
        importer.preview(contacts_of(path))
    path.write_text('external_id,"sta"tus\nC-1,lead\n')
    with pytest.raises(UnreadableFile, match="in the record that begins on line 1"):
        importer.preview(contacts_of(path))
