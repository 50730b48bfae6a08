"""Notices: the ledger's sensor reports batches and exports, another sensor reports failed runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.deliveries import deliver_exports
from pipelines.imports import commit_batch
from pipelines.ledger_events import ledger_events
from pipelines.notices import run_failures
from pipelines.store_resource import RecordsResource
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.ledger import append_batch
from resources.running_ui import RunningUi
from schemas.batches import BatchStatus, OnInvalid
from schemas.exports import ExportRequest
from schemas.notices import first_sentence, of_batch
from schemas.retries import next_attempt
from schemas.rollbacks import RollbackRequest
from tests.http_receiver import Receiver, receiving
from tests.records import contact, contacts_of, put, write_csv

pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def receiver(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """The receiver that RECORDS_NOTIFY names."""
    with receiving() as receiver:
        monkeypatch.setenv("RECORDS_NOTIFY", receiver.url)
        yield receiver


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [contact(1, email="a@example.org"), contact(2, email="canary at example")]
    return write_csv(tmp_path / "in.csv", rows)


def tick(sensor: Any, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """Run a tick; returns its cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"records": RecordsResource()})
    result = sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    if isinstance(result, dg.SensorResult):
        assert not any("canary" in str(event) for event in result.asset_events or [])
        for wanted in result.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(wanted.partitions_def_name, list(wanted.partition_keys))
        return result.cursor
    return cursor


@pytest.mark.runs_on("laptop", "postgres")
def test_each_row_of_the_ledger_is_notified_once(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, receiver: Receiver, file: Path
) -> None:
    clean = importer.import_file(contacts_of(write_csv(file.with_name("clean.csv"), [contact(7)]))).batch.batch_id
    partial = importer.import_file(contacts_of(file), OnInvalid.SKIP).batch.batch_id
    rollback = store.account("ua").roll_back(RollbackRequest("ua", clean), "tester", None).batch_id
    store.account("ua").roll_back(RollbackRequest("ua", rollback or ""), "tester", None)
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    export = ExportWriter(store, "schedule:daily", run_id="a-run").export(ExportRequest("ua", "contacts"))

    cursor = tick(ledger_events, instance, None)
    assert tick(ledger_events, instance, cursor) == cursor

    assert receiver.titles == [
        "ua: an import of contacts left out 1 record",
        "ua: a batch of contacts was rolled back",
        "ua: a batch of contacts was rolled back",
        "ua: an export of contacts is ready",
    ]
    bodies = [message["message"].splitlines() for message in receiver.posted]
    assert bodies[0] == [
        "in.csv, 2 records: 1 created, 1 rejected.",
        f"See the problems and the file to correct: records show {partial}",
    ]
    assert bodies[1] == [
        f"tester rolled {clean} back: 1 removed.",
        f"To reverse that: records rollback {rollback}",
    ]
    assert bodies[3] == [
        f"2 records, {export.bytes} bytes, {export.seconds:,.1f} seconds; requested by schedule:daily.",
        str(export.path),
    ]
    assert "canary" not in json.dumps(receiver.posted)


def test_notices_have_the_address_of_the_page(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, receiver: Receiver, file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    partial = importer.import_file(contacts_of(file), OnInvalid.SKIP).batch
    failed = replace(partial, status=BatchStatus.FAILED, failure="It is no file of ours.", arrival_id="a-1")
    notice = of_batch(failed, timedelta(hours=24), "https://records.example.org/a/ua/history/b")
    assert notice is not None
    assert notice.title == "ua: an import of contacts failed"
    assert notice.body.splitlines()[1] == "In the browser: https://records.example.org/a/ua/history/b"
    export = ExportWriter(store, "schedule:daily", run_id="a-run").export(ExportRequest("ua", "contacts"))
    RunningUi("http://127.0.0.1:3000", "http://127.0.0.1:3001", 1).write(store.settings)
    cursor = tick(ledger_events, instance, None)
    rollback = store.account("ua").roll_back(RollbackRequest("ua", partial.batch_id), "tester", None).batch_id
    monkeypatch.setenv("RECORDS_WEB_URL", "https://records.example.org/")
    tick(ledger_events, instance, cursor)

    assert [message["message"].splitlines()[-1] for message in receiver.posted] == [
        f"In the browser: http://127.0.0.1:3001/a/ua/history/{partial.batch_id}",
        f"Download it in the browser: http://127.0.0.1:3001/a/ua/export/{export.export_id}",
        f"In the browser: https://records.example.org/a/ua/history/{rollback}",
    ]


def test_an_import_that_waits_for_approval_says_how_to_approve_it(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, receiver: Receiver, file: Path
) -> None:
    importer.preview(contacts_of(file))  # a user is looking at this one anyway
    batch = importer.preview(contacts_of(file)).batch
    with store.transaction("let it wait", "inbox") as transaction:
        waiting = replace(batch, needs_approval=True, actor="inbox", at=transaction.at)
        transaction.append(append_batch, waiting)

    tick(ledger_events, instance, None)

    (message,) = receiver.posted
    assert message["title"] == "ua: an import of contacts waits for approval"
    assert message["message"].splitlines() == [
        "in.csv, 2 records: 1 created, 1 rejected.",
        f"Look at it: records show {batch.batch_id}",
        f"Approve it until {waiting.at + timedelta(hours=24):%Y-%m-%d %H:%M} UTC: "
        f"records commit {batch.batch_id} --on-invalid skip",
        f"Or discard it: records discard {batch.batch_id}",
    ]
    complete = replace(waiting, counts=replace(batch.counts, rejected=0, created=2))
    notice = of_batch(complete, timedelta(hours=24))
    assert notice is not None
    assert f"records commit {batch.batch_id}\n" in notice.body


def test_a_receiver_that_fails_holds_up_no_event_and_is_notified_later(
    store: RecordStore,
    importer: Importer,
    instance: dg.DagsterInstance,
    receiver: Receiver,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importer.import_file(contacts_of(file), OnInvalid.SKIP)
    receiver.status = 500
    cursor = tick(ledger_events, instance, None)
    assert cursor is not None
    carried, _, reported = cursor.partition(":")
    assert (carried, reported.startswith("0 {") or int(reported.partition(" ")[0]) < int(carried)) == (carried, True)

    ExportWriter(store, "tester", run_id="a-run").export(ExportRequest("ua", "contacts"))
    later = tick(ledger_events, instance, cursor)
    assert later is not None
    assert int(later.partition(":")[0]) > int(carried)
    assert receiver.asked == 1  # it is too soon to try again

    receiver.status = 200
    monkeypatch.setattr("schemas.notice_cursor.next_attempt", min)
    healthy = tick(ledger_events, instance, later)
    assert receiver.titles == ["ua: an import of contacts left out 1 record", "ua: an export of contacts is ready"]
    assert healthy == "{0}:{0}".format(later.partition(":")[0])
    assert next_attempt is not min


def test_without_receivers_and_with_an_old_cursor_both_numbers_are_equal(
    store: RecordStore,
    importer: Importer,
    instance: dg.DagsterInstance,
    file: Path,
    request: pytest.FixtureRequest,
) -> None:
    importer.import_file(contacts_of(file), OnInvalid.SKIP)
    cursor = tick(ledger_events, instance, None)
    assert cursor is not None
    carried, _, reported = cursor.partition(":")
    assert carried == reported
    receiver: Receiver = request.getfixturevalue("receiver")
    assert tick(ledger_events, instance, carried) == carried  # as it was written before notices existed
    assert receiver.posted == []


def test_an_address_that_cannot_be_read_is_logged_and_fails_nothing(
    importer: Importer,
    instance: dg.DagsterInstance,
    receiver: Receiver,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    importer.import_file(contacts_of(file), OnInvalid.SKIP)
    monkeypatch.setenv("RECORDS_NOTIFY", "nonsense://canary-token")
    cursor = tick(ledger_events, instance, None)
    assert "RECORDS_NOTIFY, address 1 (nonsense), cannot be read." in caplog.text
    assert "canary" not in caplog.text
    monkeypatch.setenv("RECORDS_NOTIFY", receiver.url)
    tick(ledger_events, instance, cursor)
    assert receiver.titles == ["ua: an import of contacts left out 1 record"]


def fail(instance: dg.DagsterInstance, account: str, batch_id: str) -> str:
    """Run a commit that fails; returns the id of its run."""
    config = {"account": account, "batch_id": batch_id}
    done = commit_batch.execute_in_process(
        config, instance=instance, resources={"records": RecordsResource()}, raise_on_error=False
    )
    assert not done.success
    return done.run_id


def test_failed_runs_are_reported_once_from_now_on(
    store: RecordStore, instance: dg.DagsterInstance, receiver: Receiver, home: Path
) -> None:
    fail(instance, "ua", "b-history")
    cursor = tick(run_failures, instance, None)
    assert tick(run_failures, instance, cursor) == cursor
    first = fail(instance, "ua", "b-none")
    RunningUi("http://127.0.0.1:3000", "http://127.0.0.1:3001", 1).write(store.settings)
    cursor = tick(run_failures, instance, cursor)
    instance.add_run_tags(first, {"dagster/did_retry": "true"})  # this updates the run
    second = instance.create_run_for_job(deliver_exports, tags={"dagster/partition": "dl"})
    instance.report_run_failed(second)
    canceled = instance.create_run_for_job(deliver_exports)
    instance.report_run_canceled(canceled)
    cursor = tick(run_failures, instance, cursor)
    assert tick(run_failures, instance, cursor) == cursor

    assert [(message["title"], message["message"].splitlines(), message["type"]) for message in receiver.posted] == [
        (
            "ua: a run of commit_batch failed",
            ["commit: There is no batch 'b-none'.", f"http://127.0.0.1:3000/runs/{first}"],
            "failure",
        ),
        (
            "dl: a run of deliver_exports failed",
            [
                "It ended without an error, for example because it was killed.",
                f"http://127.0.0.1:3000/runs/{second.run_id}",
            ],
            "failure",
        ),
    ]


def test_a_defect_is_reported_by_its_class_and_tried_again(
    store: RecordStore, instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = tick(run_failures, instance, None)

    def broken(*_: Any) -> Any:
        raise ValueError("canary@example.org. More.")

    with monkeypatch.context() as patch:
        patch.setattr(Importer, "commit", broken)
        run_id = fail(instance, "ua", "b-none")
    receiver.status = 500
    cursor = tick(run_failures, instance, cursor)
    assert tick(run_failures, instance, cursor) == cursor
    receiver.status = 200
    monkeypatch.setattr("schemas.notice_cursor.next_attempt", min)
    tick(run_failures, instance, cursor)

    assert receiver.asked == 2
    (message,) = receiver.posted
    assert message["message"].splitlines() == ["commit: Unexpected ValueError.", f"Run {run_id}"]


def test_an_export_of_many_parts_is_one_message(
    store: RecordStore, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    put(store, "SELECT i::VARCHAR AS external_id, 'lead' AS status FROM range(40) t(i)")
    cursor = tick(ledger_events, instance, None)
    job = defs().resolve_job_def("export_contacts")
    config = {"ops": {"exports__contacts": {"config": {"part_rows": 10}}}}
    assert job.execute_in_process(config, instance=instance, partition_key="ua").success
    tick(ledger_events, instance, cursor)
    assert receiver.titles == ["ua: an export of contacts is ready"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2 of 3 deliveries failed: a, b. a: No.", "2 of 3 deliveries failed: a, b."),
        ("in.csv is none. Name another.", "in.csv is none."),
        ("It took 1.5 s", "It took 1.5 s"),
        (" One\nTwo", "One\nTwo"),
    ],
)
def test_the_first_sentence_ends_with_its_full_stop(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
