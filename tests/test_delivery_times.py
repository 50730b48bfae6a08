"""The times of a delivery: local times over days, changes of clocks, and days that a zone leaves out."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.exports import export
from resources.deliveries import request_of
from resources.operator_file import checked_entries, read_operator_file
from schemas.deliveries import Delivery, DeliveryFile, last_time, next_time, times
from schemas.exports import ExportRequest, Packing


def delivery(at: str = "07:00", time_zone: str = "UTC", **values: Any) -> Delivery:
    return Delivery.model_validate(
        {"name": "daily", "account": "ua", "type": "contacts", "at": at, "time_zone": time_zone, **values}
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(entry: Delivery, after: str, until: str) -> list[str]:
    return [
        f"{due.day} {due.timestamp.astimezone(entry.zone):%m-%d %H:%M%z}"
        for due in times(entry, utc(after), utc(until))
    ]


def test_it_is_the_same_local_time_every_day_on_either_side_of_a_change() -> None:
    assert local(delivery("07:00", "America/New_York"), "2026-03-06T12:00", "2026-03-09T11:00") == [
        "2026-03-07 03-07 07:00-0500",
        "2026-03-08 03-08 07:00-0400",
        "2026-03-09 03-09 07:00-0400",
    ]


def test_a_time_that_a_day_does_not_have_is_the_next_one_that_it_has() -> None:
    for at in ("02:00", "02:30", "02:59"):
        assert local(delivery(at, "America/New_York"), "2026-03-08T05:00", "2026-03-09T05:00") == [
            "2026-03-08 03-08 03:00-0400"
        ]
    assert local(delivery("02:15", "Australia/Lord_Howe"), "2026-10-03T00:00", "2026-10-04T00:00") == [
        "2026-10-04 10-04 02:30+1100"  # here clocks go forward by half an hour
    ]


def test_a_time_that_a_day_has_twice_counts_once() -> None:
    assert local(delivery("01:30", "America/New_York"), "2026-11-01T00:00", "2026-11-02T06:00") == [
        "2026-11-01 11-01 01:30-0400"
    ]


def test_a_day_that_a_zone_leaves_out_is_delivered_when_it_is_over() -> None:
    assert local(delivery("07:00", "Pacific/Apia"), "2011-12-29T16:00", "2011-12-30T17:00") == [
        "2011-12-29 12-29 07:00-1000",
        "2011-12-30 12-31 00:00+1400",
        "2011-12-31 12-31 07:00+1400",
    ]


def test_the_first_timestamp_is_excluded_and_the_last_one_is_not() -> None:
    at = utc("2026-01-05T07:00")
    second = timedelta(seconds=1)
    assert [len(times(delivery(), at - second, until)) for until in (at - second, at, at + second)] == [0, 1, 1]
    assert [len(times(delivery(), after, at + second)) for after in (at - second, at, at + second)] == [1, 0, 0]
    assert [last_time(delivery(), now).day for now in (at - second, at)] == [date(2026, 1, 4), date(2026, 1, 5)]
    assert str(next_time([delivery("06:59"), delivery(time_zone="Europe/Paris")], at)) == (
        "daily at 2026-01-06 07:00 Europe/Paris"
    )
    assert next_time([], at) is None


@given(
    zone=st.sampled_from(["America/New_York", "Europe/Dublin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Gaza"]),
    at=st.times().map(lambda time: f"{time:%H:%M}"),
    after=st.integers(0, 30 * 365 * 24 * 60).map(lambda minutes: utc("2005-01-01") + timedelta(minutes=minutes)),
    cut=st.integers(0, 20 * 24 * 60),
)
def test_every_day_has_one_delivery_however_time_is_cut_into_ticks(
    zone: str, at: str, after: datetime, cut: int
) -> None:
    entry = delivery(at, zone)
    middle, until = after + timedelta(minutes=cut), after + timedelta(days=20)
    whole = times(entry, after, until)
    assert [*times(entry, after, middle), *times(entry, middle, until)] == whole
    days = [due.day for due in whole]
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert len(days) in (19, 20, 21)
    for due in whole:
        shown = due.timestamp.astimezone(ZoneInfo(zone))
        asked = f"{due.day} {at}"
        # At its time, or at the end of the gap that contains its time: a minute earlier is before it.
        assert f"{shown:%Y-%m-%d %H:%M}" >= asked
        assert f"{(due.timestamp - timedelta(minutes=1)).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" < asked


def test_an_entry_is_an_export_like_any_other() -> None:
    entry = delivery(
        "17:30",
        pack="gz",
        columns=["email", "country"],
        where="amount > 0",
        order_by=["country"],
        to="/srv/out/contacts-{date}.ndjson",
    )
    assert request_of(entry, date(2026, 1, 5), "e-1") == ExportRequest(
        "ua",
        "contacts",
        columns=("email", "country"),
        path=request_of(entry, date(2026, 1, 5), None).path,
        format="ndjson",
        packing=Packing.GZ,
        filters=("amount > 0",),
        order_by=("country",),
        changed_since="e-1",
    )
    assert str(request_of(entry, date(2026, 1, 5), None).path) == "/srv/out/contacts-2026-01-05.ndjson"
    assert entry.actor == "schedule:daily"
    folder = delivery(format="excel", to="/srv/out/")  # a folder, never the name of a file
    assert str(request_of(folder, date(2026, 1, 5), None).path) == "/srv/out/contacts.xlsx"


def test_an_entry_takes_every_option_of_the_command() -> None:
    named = {"record_type": "type", "file_format": "format", "filters": "where", "output": "to"}
    options = {named.get(str(it.name), it.name) for it in export.params}
    assert options - {"background", "as_json"} == {*Delivery.model_fields} - {"name", "at", "time_zone", "changes_only"}


def test_what_an_entry_says_is_asked_of_the_export() -> None:
    said: dict[str, Any] = {
        "as_of": "2024-05-31T09:30:00Z",
        "changed_since": "b-1",
        "encoding": "cp1252",
        "delimiter": ";",
        "raw": True,
    }
    request = request_of(delivery(**said), date(2026, 1, 5), None)
    assert {name: getattr(request, name) for name in said} == said
    assert request_of(delivery(format="excel", sheet_rows=10), date(2026, 1, 5), None).sheet_rows == 10
    assert request_of(delivery(changes_only=True), date(2026, 1, 5), "e-1").changed_since == "e-1"
    assert delivery(as_of=datetime(2024, 5, 31, 9, 30, tzinfo=UTC)).as_of == "2024-05-31T09:30:00+00:00"


def test_the_example_of_the_page_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "pipelines" / "README.md").read_text("utf-8")
    example = page.partition("\n## Daily exports\n")[2].partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "exports.yaml").write_text(example)
    values = read_operator_file(tmp_path / "exports.yaml", DeliveryFile).exports
    entries, mistakes = checked_entries(tmp_path / "exports.yaml", "exports", values, Delivery)
    assert mistakes == []
    assert [(entry.name, entry.at, entry.time_zone) for entry in entries] == [
        ("acme-morning", "07:00", "America/New_York"),
        ("acme-changes", "17:30", "UTC"),
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"at": "7:00"}, "`exports, entry 1, at` was '7:00': write it from 00:00 to 23:59, as 07:00."),
        ({"at": "24:00"}, "`exports, entry 1, at` was '24:00': write it from 00:00 to 23:59, as 07:00."),
        ({"time_zone": "Mars/Olympus"}, "write a time zone's name, as UTC or America/New_York."),
        ({"time_zone": "../etc/passwd"}, "write a time zone's name, as UTC or America/New_York."),
        ({"changed_since": "b-1", "changes_only": "true"}, "give changed_since or changes_only, not both."),
        ({"time_zone": ""}, "write a time zone's name, as UTC or America/New_York."),
        ({"name": "A day"}, "write 1 to 63 of a-z, 0-9, - and _, a letter or digit first."),
        ({"to": "out"}, "`exports, entry 1, to` was 'out': write the whole path, from / on."),
        ({"to": "/out/{date}/a.csv"}, "{date} can stand in the name of the file, not of a folder."),
        ({"to": "/out/{date}/"}, "{date} can stand in the name of the file, not of a folder."),
        ({"columns": ["a"], "preset": "b"}, "`exports, entry 1` give columns or a preset, not both."),
        ({"columns": []}, "`exports, entry 1, columns` list should have at least 1 item"),
        ({"every": "day"}, "`exports, entry 1, every` is no setting of this file."),
    ],
)  # fmt: skip
def test_an_invalid_entry_is_reported(values: dict[str, str], sentence: str, tmp_path: Path) -> None:
    entry = {"name": "daily", "account": "ua", "type": "contacts", "at": "07:00", **values}
    entries, (mistake,) = checked_entries(tmp_path / "exports.yaml", "exports", [entry], Delivery)
    assert entries == []
    assert sentence.lower() in mistake.message.lower()
