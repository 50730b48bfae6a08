"""The schedule of daily exports and its job: what is due runs once, and a failure stops no other delivery."""

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.deliveries import daily_exports, deliver_exports
from pipelines.store_resource import RecordsResource
from resources.deliveries import Deliveries
from resources.record_store import RecordStore
from tests.conftest import StoppedClock
from tests.object_server import on_disk
from tests.records import change, put

pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)

DAILY = "- {name: daily, account: ua, type: contacts, at: 07:00, time_zone: America/New_York, where: amount >= 1}\n"
EVENING = "- {name: evening, account: ua, type: contacts, at: 17:30, format: json, changes_only: true}\n"
WRITTEN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def persistent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that can be opened twice, as a schedule does."""
    folder = str(tmp_path_factory.mktemp("dagster"))
    with dg.DagsterInstance.local_temp(folder, {"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def instance(persistent: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    yield persistent
    persistent.wipe()


@pytest.fixture
def account(store: RecordStore, clock: StoppedClock) -> RecordStore:
    """A store with a stopped clock and three contacts of one account."""
    store.clock = clock
    put(store, "SELECT i::VARCHAR AS external_id, 'lead' AS status, i AS amount FROM range(3) t(i)")
    return store


def write(home: Path, *entries: str, at: datetime = WRITTEN) -> None:
    path = home / "exports.yaml"
    path.write_text("exports:\n" + "".join(entries))
    os.utime(path, (at.timestamp(), at.timestamp()))


def tick(instance: dg.DagsterInstance, now: str) -> dg.RunRequest | str:
    """Return the requested run, or the reason for none."""
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    with dg.build_schedule_context(instance, scheduled_execution_time=at) as context:
        decided: Any = daily_exports(context, records=RecordsResource())
    if isinstance(decided, dg.RunRequest):
        return decided
    assert isinstance(decided, dg.SkipReason)
    return decided.skip_message or ""


def asked(decided: dg.RunRequest | str) -> list[str]:
    assert isinstance(decided, dg.RunRequest), decided
    names: list[str] = decided.run_config["names"]
    return names


def run(instance: dg.DagsterInstance, *names: str, due_at: str) -> dg.ExecuteInProcessResult:
    config = {"names": list(names), "due_at": due_at}
    return deliver_exports.execute_in_process(
        config, instance=instance, resources={"records": RecordsResource()}, raise_on_error=False
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_store_or_a_file_nothing_is_due(
    home: Path, instance: dg.DagsterInstance, request: pytest.FixtureRequest
) -> None:
    assert tick(instance, "2026-01-05T12:00") == "There is no store yet: records init."
    request.getfixturevalue("account")
    assert tick(instance, "2026-01-05T12:00") == "exports.yaml asks for no export."


def test_one_run_serves_all_that_is_due_and_a_skip_names_the_next(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, DAILY, EVENING, EVENING.replace("evening", "dusk"))

    assert tick(instance, "2026-01-05T11:55") == "The next one: daily at 2026-01-05 07:00 America/New_York."
    due = tick(instance, "2026-01-05T12:00")
    both = tick(instance, "2026-01-05T17:30")

    assert asked(due) == ["daily"]
    assert asked(both) == ["daily", "evening", "dusk"]  # the first one was never made
    assert isinstance(both, dg.RunRequest)
    assert both.run_key == "2026-01-05T17:30:00+00:00"
    assert both.tags == {
        ".dagster/records-deliveries": "daily,evening,dusk",
        ".dagster/records-due-at": "2026-01-05T17:30:00+00:00",
    }


def test_an_entry_is_not_due_for_a_time_before_it_was_written(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, EVENING)
    assert tick(instance, "2026-01-05T10:00") == "The next one: evening at 2026-01-05 17:30 UTC."
    write(home, EVENING, at=datetime(2026, 1, 4, 17, 29, tzinfo=UTC))
    assert asked(tick(instance, "2026-01-05T10:00")) == ["evening"]


@pytest.mark.runs_on("laptop", "postgres")
def test_what_was_missed_is_made_up_once_and_the_ledger_says_that_it_was(
    account: RecordStore, clock: StoppedClock, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, EVENING)
    clock.time = datetime(2026, 1, 9, 8, 0, tzinfo=UTC)  # after days without a daemon
    assert asked(tick(instance, "2026-01-09T08:00")) == ["evening"]

    Deliveries(account).deliver("evening", clock.now(), None)

    write(home, EVENING, at=datetime(2026, 1, 9, 7, 0, tzinfo=UTC))  # an edit does not reset this
    assert tick(instance, "2026-01-09T08:05") == "The next one: evening at 2026-01-09 17:30 UTC."
    assert asked(tick(instance, "2026-01-09T17:30")) == ["evening"]


def test_another_account_under_the_same_name_is_another_delivery(
    account: RecordStore, clock: StoppedClock, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, EVENING)
    clock.time = datetime(2026, 1, 5, 17, 30, 3, tzinfo=UTC)
    Deliveries(account).deliver("evening", clock.now(), None)
    account.add_account("dl", "tester")
    write(home, EVENING.replace("account: ua", "account: dl"))
    assert asked(tick(instance, "2026-01-05T17:35")) == ["evening"]
    assert Deliveries(account).deliver("evening", clock.now(), None).since is None


def test_a_run_under_way_is_left_alone_and_one_that_failed_is_followed_by_another(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, DAILY, EVENING)
    first = tick(instance, "2026-01-05T12:00")
    assert isinstance(first, dg.RunRequest)
    made = instance.create_run_for_job(deliver_exports, run_config=first.run_config, tags=first.tags)
    coming = "The next one: evening at 2026-01-05 17:30 UTC."
    assert tick(instance, "2026-01-05T12:05") == f"A run for daily is under way. {coming}"
    instance.report_run_failed(made)
    assert tick(instance, "2026-01-05T12:00:59") == f"daily has failed 1 times. The next attempt waits. {coming}"
    assert asked(tick(instance, "2026-01-05T12:05")) == ["daily"]
    assert asked(tick(instance, "2026-01-06T12:00")) == ["daily", "evening"]


@pytest.mark.runs_on("laptop", "postgres")
def test_only_changes_are_those_since_the_last_delivery(account: RecordStore, home: Path) -> None:
    write(home, "- {name: csv, account: ua, type: contacts, at: 07:00, changes_only: true, columns: [external_id]}\n")
    due_at = datetime(2026, 1, 6, 7, tzinfo=UTC)

    def delivered() -> tuple[bool, list[dict[str, str]]]:
        manifest = Deliveries(account).deliver("csv", due_at, None)
        assert manifest.actor == "schedule:csv"
        return manifest.full, rows(on_disk(manifest.path))

    assert delivered() == (False, [{"external_id": it} for it in "012"])
    assert delivered() == (False, [])
    change(account, "DELETE FROM lake.records.contacts WHERE external_id = '0'")
    change(account, "UPDATE lake.records.contacts SET amount = 9 WHERE external_id = '1'")
    assert delivered() == (
        False,
        [{"external_id": "0", "_change": "deleted"}, {"external_id": "1", "_change": "updated"}],
    )
    change(account, "DELETE FROM lake.records.contacts WHERE external_id = '1'")
    last = account.account("ua").last_export("contacts", "schedule:csv")
    assert last is not None
    with account._lake.attached() as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{last.snapshot}])")
    assert delivered() == (True, [{"external_id": "2", "_change": "full"}])


def test_a_run_delivers_each_and_fails_for_those_that_cannot_be(
    account: RecordStore, home: Path, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "out"
    there.mkdir()
    monkeypatch.setenv("RECORDS_EXPORT_ROOTS", str(there))
    to = f", to: '{there}/ua-{{date}}.csv'}}"
    write(
        home,
        DAILY.replace("}", to),
        DAILY.replace("daily", "nowhere").replace("}", f", to: {there}/missing/ua.csv}}"),
        EVENING,
    )

    done = run(instance, "nowhere", "gone", "daily", "evening", due_at="2026-01-06T11:59")

    assert not done.success
    failure = done.failure_data_for_node("deliver")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == (
        "2 of 4 deliveries failed: nowhere, gone. "
        f"nowhere: The folder '{there}/missing' does not exist. Create it, or name another: -o PATH. "
        f"gone: {home}/exports.yaml has no valid export 'gone'. Its exports: daily, nowhere, evening."
    )
    table: Any = failure.user_failure_data.metadata["deliveries"]
    assert [(row.data["name"], row.data["rows"]) for row in table.records] == [("daily", 2), ("evening", 3)]
    assert [row["external_id"] for row in rows(there / "ua-2026-01-05.csv")] == ["1", "2"]
    exports = account.exports("ua")
    assert {(export.actor, export.run_id) for export in exports} == {
        ("schedule:daily", done.run_id),
        ("schedule:evening", done.run_id),
    }
    shown = instance.fetch_materializations(dg.AssetKey(["exports", "contacts"]), limit=9).records
    assert [event.partition_key for event in shown] == ["ua", "ua"]
    checked = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(["exports", "contacts"]), "file_reads_back"), limit=9
    )
    assert [record.status.value for record in checked] == ["SUCCEEDED", "SUCCEEDED"]


def test_a_run_without_names_fails_and_one_that_delivers_all_succeeds(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, DAILY)
    assert not run(instance, due_at="").success
    assert run(instance, "daily", due_at="").success


def test_a_defect_is_reported_by_its_class_alone(
    account: RecordStore, home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, DAILY, EVENING)
    ordinary, secret = Deliveries.deliver, "canary@example.org"

    def broken(deliveries: Deliveries, name: str, now: datetime, run_id: str | None) -> Any:
        if name == "daily":
            raise ValueError(secret)
        return ordinary(deliveries, name, now, run_id)

    monkeypatch.setattr(Deliveries, "deliver", broken)
    done = run(instance, "daily", "evening", due_at="")

    failure = done.failure_data_for_node("deliver")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == (
        "1 of 2 deliveries failed: daily. daily: ValueError: see the run's log."
    )
    logged = "\n".join(str(record) for record in instance.all_logs(done.run_id))
    assert "in broken" in logged
    assert "canary" not in logged


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("- {name: a, account: aa, type: contacts, at: 07:00}", "export 'a': There is no account 'aa'."),
        ("- {name: a, account: A!, type: contacts, at: 07:00}", "export 'a': 'A!' is not a valid name of an account."),
        ("- {name: a, account: ua, type: contact, at: 07:00}", "export 'a': There is no record type 'contact'."),
        (
            "- {name: a, account: ua, type: contacts, at: 07:00, format: xls}",
            "export 'a': There is no output format 'xls'.",
        ),
        (
            "- {name: a, account: ua, type: contacts, at: 07:00, to: /out/a.csv, format: json}",
            "export 'a': The file name 'a.csv' does not fit the format json.",
        ),
        (
            "- {name: a, account: ua, type: contacts, at: 07:00, format: excel, pack: gz}",
            "export 'a': The format excel does not support packing: gz was given.",
        ),
        ("- {name: a, account: ua, type: contacts, at: 07:00, preset: p}", "contacts has no preset 'p'."),
        ("- {name: a, account: ua, type: contacts, at: 07:00, columns: [x]}", "has no column 'x'."),
        ("- {name: a, account: ua, type: contacts, at: 07:00, where: [amount]}", "'amount' is not a filter."),
        ("- {name: a, account: ua, type: contacts, at: 07:00, order_by: x}", "has no field 'x'."),
        ("- {name: a, account: ua, type: contacts}", "`exports, entry 2, at` is missing."),
        ("- {name: daily, account: ua, type: contacts, at: 07:00}", "two exports named 'daily'. The first one is used"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_and_the_other_entries_stay_valid(
    entry: str, sentence: str, account: RecordStore, home: Path
) -> None:
    write(home, DAILY, entry)
    deliveries = Deliveries(account)
    assert list(deliveries.entries) == ["daily"]
    (mistake,) = deliveries.mistakes
    assert mistake.message.startswith(str(home / "exports.yaml"))
    assert sentence in mistake.message


def test_a_destination_outside_the_allowed_folders_is_a_mistake(
    account: RecordStore, home: Path, tmp_path: Path
) -> None:
    to = tmp_path / "ua.csv"
    write(home, DAILY.replace("}", f", to: {to}}}"))
    (mistake,) = Deliveries(account).mistakes
    assert mistake.message.startswith(
        f"{home / 'exports.yaml'}, export 'daily': {str(to)!r} is not in a folder to which exports through Dagster "
        "may be written"
    )
    roomy = replace(account.settings, export_roots=(tmp_path / "elsewhere", tmp_path))
    with RecordStore(roomy) as store:
        assert list(Deliveries(store).entries) == ["daily"]


def test_a_mistake_fails_the_tick_once_the_other_entries_are_served(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, DAILY, "- {name: a, account: aa, type: contacts, at: 07:00}")
    assert asked(tick(instance, "2026-01-05T12:00")) == ["daily"]
    with pytest.raises(dg.Failure) as failed:
        tick(instance, "2026-01-05T10:00")
    assert (failed.value.description or "").splitlines() == [
        f"{home}/exports.yaml, export 'a': There is no account 'aa'. List the accounts: records accounts list.",
        "The next one: daily at 2026-01-05 07:00 America/New_York.",
    ]


def test_a_run_for_a_file_with_a_mistake_says_which(
    account: RecordStore, home: Path, instance: dg.DagsterInstance
) -> None:
    write(home, DAILY.replace("ua", "nobody"))
    failure = run(instance, "daily", due_at="2026-01-06T11:59").failure_data_for_node("deliver")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "has no valid export 'daily'. " in str(failure.user_failure_data.description)
    assert "There is no account 'nobody'." in str(failure.user_failure_data.description)


def test_a_file_that_is_no_yaml_fails_the_tick(account: RecordStore, home: Path, instance: dg.DagsterInstance) -> None:
    write(home, "- {name: a}\n", "- {name: [")
    with pytest.raises(dg.Failure, match=r"exports\.yaml is not valid YAML in line 3"):
        tick(instance, "2026-01-05T12:00")


@pytest.mark.runs_on("laptop", "postgres")
def test_the_daemon_and_the_ledger_have_seconds_between_them(
    account: RecordStore, clock: StoppedClock, home: Path, instance: dg.DagsterInstance
) -> None:
    """An export planned in the second of its time counts for that time, and one before it does not."""
    write(home, EVENING)
    for seconds, due in ((-1, True), (0, False), (1, False)):
        clock.time = datetime(2026, 1, 5, 17, 30, tzinfo=UTC) + timedelta(seconds=seconds)
        Deliveries(account).deliver("evening", clock.now(), None)
        assert isinstance(tick(instance, "2026-01-05T17:35"), dg.RunRequest) is due
