"""The sensor that reports the ledger's events to Dagster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.balance import ACCOUNTED, evaluation
from pipelines.export_checks import check_export
from pipelines.ledger_events import ledger_events
from pipelines.store_resource import RecordsResource
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.ledger import append_batch
from resources.running_ui import RunningUi
from schemas.batches import OnInvalid
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackRequest
from tests.records import Row, contact, contacts_of, put, write_csv

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    """Run the sensor and add the partitions that it requests, as the daemon does. Returns the sensor's result."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"records": RecordsResource()})
    result: Any = ledger_events(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result


def news(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    result = tick(instance, cursor)
    assert isinstance(result, dg.SensorResult)
    return result


def shown(event: Event) -> tuple[type[Event], str, str | None, dict[str, Any]]:
    values = {name: value.value for name, value in event.metadata.items()}
    return type(event), event.asset_key.to_user_string(), event.partition, values


def events_of_assets(result: dg.SensorResult) -> list[dg.AssetMaterialization | dg.AssetObservation]:
    return [event for event in result.asset_events if not isinstance(event, dg.AssetCheckEvaluation)]


def evaluations(result: dg.SensorResult) -> list[dg.AssetCheckEvaluation]:
    return [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]


def batch_ids(result: dg.SensorResult) -> list[Any]:
    return [event.metadata["batch_id"].value for event in events_of_assets(result)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows: list[Row] = [contact(1), contact(2), contact(3, email="canary at example")]
    return write_csv(tmp_path / "in.csv", rows, ["external_id", "status", "amount", "email"])


def test_without_a_store_it_waits(home: Path, instance: dg.DagsterInstance) -> None:
    result = tick(instance)

    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "There is no store yet: records init."
    assert not home.exists()


@pytest.mark.runs_on("laptop", "postgres")
def test_an_empty_ledger_is_skipped(store: RecordStore, instance: dg.DagsterInstance) -> None:
    result = tick(instance)

    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "The ledger has nothing new."


@pytest.mark.runs_on("laptop", "postgres")
def test_a_preview_is_an_observation_and_a_commit_a_materialisation(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    preview = importer.preview(contacts_of(file))
    batch_id = preview.batch.batch_id
    importer.commit("ua", batch_id, OnInvalid.SKIP)

    result = news(instance)

    previewed, committed = map(shown, events_of_assets(result))
    counts = {"read": 3, "created": 2, "updated": 0, "unchanged": 0, "rejected": 1, "duplicate": 0}
    common = {"batch_id": batch_id, "account": "ua", "actor": "tester", "file": "in.csv", **counts}
    assert previewed[:3] == (dg.AssetObservation, "records/contacts", "ua")
    assert committed[:3] == (dg.AssetMaterialization, "records/contacts", "ua")
    (problem,) = previewed[3].pop("problems").records
    assert committed[3].pop("problems").records == [problem]
    assert problem.data == {
        "field": "email",
        "rule": "str_matches",
        "expected": "must be an e-mail address",
        "records": 1,
    }
    report = store.account("ua").report(batch_id)
    assert report.report_file is not None
    assert report.rejects_file is not None
    common |= {"report": str(report.report_file), "rejects_file": str(report.rejects_file)}
    assert preview.open_until is not None
    assert report.open_until is not None
    assert previewed[3] == common | {"status": "previewed", "commit_until": preview.open_until.timestamp()}
    assert committed[3] == common | {
        "status": "committed",
        "dagster/row_count": 2,
        "snapshot": report.snapshot,
        "rollback_until": report.open_until.timestamp(),
        "committed_at": report.batch.at.timestamp(),
    }
    at = f"{report.batch.at:%Y-%m-%d %H:%M:%S} UTC"
    assert [event.description for event in events_of_assets(result)] == [
        f"in.csv: previewed {preview.batch.at:%Y-%m-%d %H:%M:%S} UTC",
        f"in.csv: committed {at}",
    ]


def test_a_rollback_names_the_file_and_what_it_restored(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    batch_id = importer.import_file(contacts_of(file), OnInvalid.SKIP).batch.batch_id
    store.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None)

    *_, rollback, rolled_back = events_of_assets(news(instance))

    assert [(event.description or "").partition(" 20")[0] for event in (rollback, rolled_back)] == [
        "rollback of in.csv: committed",
        "in.csv: rolled back",
    ]
    metadata = shown(rollback)[3]
    assert (metadata["file"], metadata["undone"], metadata["removed"]) == ("in.csv", batch_id, 2)
    assert "created" not in metadata


def test_old_and_new_values_are_shown_but_those_of_personal_fields(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    before, after = ({"email": f"{name}@example.org", "status": name} for name in ("lead", "customer"))
    for fields in (before, after):
        importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(1, **fields)])))

    *_, changed = events_of_assets(news(instance))

    rows = [record.data for record in shown(changed)[3]["changes"].records]
    assert rows == [
        {"record": 1, "field": "email", "old": "•••", "new": "•••"},
        {"record": 1, "field": "status", "old": "lead", "new": "customer"},
    ]


def test_the_files_of_a_batch_are_links_while_the_ui_runs(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    batch = importer.preview(contacts_of(file)).batch
    RunningUi("http://127.0.0.1:3000", "http://127.0.0.1:3001", 1).write(store.settings)

    (event,) = events_of_assets(news(instance))

    base = f"http://127.0.0.1:3001/{batch.batch_id}/{batch.link_token}"
    metadata = shown(event)[3]
    assert metadata["report_link"] == f"{base}/report"
    assert metadata["rejects_file_link"] == f"{base}/rejects_file"


def test_an_export_is_a_link_while_the_ui_runs(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    importer.import_file(contacts_of(file), OnInvalid.SKIP)
    ui = RunningUi("http://127.0.0.1:3000", "http://127.0.0.1:3001", 1)
    ui.write(store.settings)
    export = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))

    *_, event = events_of_assets(news(instance))

    assert shown(event)[3]["file_link"] == ui.export_link(store.settings, export)


def test_the_balance_is_checked_at_preview_and_commit(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    ours = importer.import_file(contacts_of(file), OnInvalid.SKIP)

    first, second = evaluations(news(instance))

    counts = {"read": 3, "created": 2, "updated": 0, "unchanged": 0, "rejected": 1, "duplicate": 0, "accounted": 3}
    common = {"account": "ua", "batch_id": ours.batch.batch_id, "unbalanced": "none", **counts}
    key = dg.AssetCheckKey(dg.AssetKey(["records", "contacts"]), ACCOUNTED)
    assert (first.passed, first.asset_check_key) == (second.passed, second.asset_check_key) == (True, key)
    assert shown(first)[3] == common | {"status": "previewed"}
    assert shown(second)[3] == common | {"status": "committed", "written": 2, "snapshot": ours.snapshot}


def test_no_account_passes_while_a_batch_of_another_is_unbalanced(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    theirs = importer.preview(contacts_of(file, account="dl")).batch
    with store.transaction("plant", "tester") as transaction:
        transaction.append(append_batch, replace(theirs, counts=replace(theirs.counts, read=4), at=transaction.at))
    importer.preview(contacts_of(file))

    reported = news(instance)
    importer.discard("dl", theirs.batch_id)
    importer.preview(contacts_of(file))
    later = news(instance, reported.cursor)
    for event in [*reported.asset_events, *later.asset_events]:
        instance.report_runless_asset_event(event)  # as the daemon does

    assert [(it.metadata["account"].value, it.passed) for it in evaluations(reported)] == [
        ("dl", False),
        ("dl", False),
        ("ua", False),
    ]
    assert {it.metadata["unbalanced"].value for it in evaluations(reported)} == {f"{theirs.batch_id} of dl"}
    assert [(it.metadata["account"].value, it.passed) for it in evaluations(later)] == [("ua", True)]
    key = dg.AssetCheckKey(dg.AssetKey(["records", "contacts"]), ACCOUNTED)
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert [record.status.value for record in history] == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]


def test_a_commit_that_wrote_other_than_it_says_fails_the_check(
    importer: Importer, store: RecordStore, file: Path
) -> None:
    report = importer.import_file(contacts_of(file), OnInvalid.SKIP)
    batch = replace(report.batch, counts=replace(report.batch.counts, created=1, rejected=2))

    evaluated = evaluation(store, replace(report, batch=batch), [])

    numbers = shown(evaluated)[3]
    assert (evaluated.passed, numbers["written"], numbers["accounted"]) == (False, 2, 3)


@pytest.mark.runs_on("laptop", "postgres")
def test_the_row_count_is_that_of_the_commit_and_of_the_account(
    importer: Importer, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for account, numbers in (("ua", range(3)), ("ua", range(2, 5)), ("dl", range(1))):
        rows = map(contact, numbers)
        importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", rows), account))

    commits = [it for it in news(instance).asset_events if isinstance(it, dg.AssetMaterialization)]

    assert [(it.partition, it.metadata["dagster/row_count"].value) for it in commits] == [
        ("ua", 3),
        ("ua", 5),
        ("dl", 1),
    ]


def test_a_discarded_preview_is_an_observation(importer: Importer, instance: dg.DagsterInstance, file: Path) -> None:
    importer.discard("ua", importer.preview(contacts_of(file)).batch.batch_id)

    events = list(map(shown, events_of_assets(news(instance))))

    assert [(kind, values["status"]) for kind, _, _, values in events] == [
        (dg.AssetObservation, "previewed"),
        (dg.AssetObservation, "discarded"),
    ]


def test_a_failure_is_an_observation_that_says_why(
    importer: Importer, store: RecordStore, instance: dg.DagsterInstance, file: Path
) -> None:
    importer.fail(contacts_of(file), "0" * 64, "in.csv is empty. Send it again.")

    result = news(instance)

    ((kind, key, partition, values),) = map(shown, events_of_assets(result))
    assert (kind, key, partition) == (dg.AssetObservation, "records/contacts", "ua")
    assert (values["status"], values["failure"]) == ("failed", "in.csv is empty. Send it again.")
    assert evaluations(result) == []


def test_an_export_by_the_command_is_a_materialisation(store: RecordStore, instance: dg.DagsterInstance) -> None:
    store.add_account("ua", "tester")
    manifest = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", preset="mailing"))

    reported = news(instance)
    (event,) = events_of_assets(reported)
    kind, key, partition, metadata = shown(event)

    assert (kind, key, partition) == (dg.AssetMaterialization, "exports/contacts", "ua")
    assert metadata == metadata | {
        "dagster/row_count": 0,
        "bytes": manifest.bytes,
        "path": str(manifest.path),
        "sha256": manifest.sha256,
        "snapshot": manifest.snapshot,
        "columns": "external_id, first_name, last_name, email, country",
        "export_id": manifest.export_id,
        "actor": "tester",
        "manifest": manifest.to_dict(),
    }
    assert [(check.check_name, check.passed, check.metadata["export_id"].value) for check in evaluations(reported)] == [
        (name, True, manifest.export_id) for name in ("rows_equal_snapshot", "checksum_holds", "file_reads_back")
    ]


def test_an_exports_preview_shows_no_personal_value_and_its_filters_none(
    store: RecordStore, instance: dg.DagsterInstance
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status, 'ada@example.org' AS email, 'GB' AS country")
    filters = ("email = ada@example.org", "country = GB")
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", preset="mailing", filters=filters))

    (event,) = events_of_assets(news(instance))
    _, _, _, metadata = shown(event)

    assert [record.data for record in metadata["preview"].records] == [
        {"external_id": "C-1", "first_name": "", "last_name": "", "email": "•••", "country": "GB"}
    ]
    assert metadata["manifest"]["request"]["filters"] == ["email = •••", "country = GB"]


def test_an_export_by_a_run_is_not_reported_twice(store: RecordStore, instance: dg.DagsterInstance) -> None:
    store.add_account("ua", "tester")
    ExportWriter(store, "tester", run_id="a-run").export(ExportRequest("ua", "contacts"))

    result = news(instance)

    assert list(result.asset_events) == []
    assert isinstance(tick(instance, result.cursor), dg.SkipReason)


def test_a_tick_reads_back_no_more_exported_records_than_it_may(
    store: RecordStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.ledger_events._RECORDS_A_TICK", 3)
    put(store, "SELECT i::VARCHAR AS external_id, 'lead' AS status FROM range(4) t(i)")
    writer = ExportWriter(store, "tester")
    exports = [
        writer.export(ExportRequest("ua", "contacts", filters=(f"external_id < {below}",)))
        for below in (2, 4, 1, 2, 1)  # the number of records of each export
    ]

    reported: list[list[tuple[int, int]]] = []
    requests: list[dg.RunRequest] = []
    cursor = None
    while isinstance(result := tick(instance, cursor), dg.SensorResult):
        checked = [event.metadata["export_id"].value for event in evaluations(result)]
        shown_ids = [event.metadata["export_id"].value for event in events_of_assets(result)]
        reported.append(
            [
                (exports[at].rows, checked.count(exports[at].export_id))
                for at in range(5)
                if exports[at].export_id in shown_ids
            ]
        )
        requests += result.run_requests or []
        cursor = result.cursor

    assert reported == [[(2, 3), (4, 0), (1, 3)], [(2, 3), (1, 3)]]
    assert [request.run_key for request in requests] == [exports[1].export_id]
    assert requests[0].run_config == {"account": "ua", "export_id": exports[1].export_id}


def test_a_run_checks_an_export_that_a_tick_has_no_time_for(store: RecordStore, instance: dg.DagsterInstance) -> None:
    store.add_account("ua", "tester")
    manifest = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    manifest.path.write_text("damaged")

    done = check_export.execute_in_process(
        {"account": "ua", "export_id": manifest.export_id}, instance=instance, resources={"records": RecordsResource()}
    )

    found = {it.check_name: it.passed for it in done.get_asset_check_evaluations()}
    assert found == {"rows_equal_snapshot": False, "checksum_holds": False, "file_reads_back": False}


@pytest.mark.runs_on("laptop", "postgres")
def test_new_accounts_become_partitions_once(store: RecordStore, instance: dg.DagsterInstance) -> None:
    def asked() -> list[tuple[str, list[str]]]:
        requests = news(instance).dynamic_partitions_requests or []
        return [(request.partitions_def_name, list(request.partition_keys)) for request in requests]

    store.add_account("ua", "tester")
    store.add_account("dl", "tester")
    assert asked() == [("accounts", ["dl", "ua"])]
    assert isinstance(tick(instance), dg.SkipReason)
    store.add_account("aa", "tester")
    assert asked() == [("accounts", ["aa"])]


def test_reported_rows_are_not_reported_again(importer: Importer, instance: dg.DagsterInstance, file: Path) -> None:
    first = importer.preview(contacts_of(file)).batch.batch_id
    reported = news(instance)
    assert batch_ids(reported) == [first]
    assert isinstance(tick(instance, reported.cursor), dg.SkipReason)

    second = importer.preview(contacts_of(file)).batch.batch_id
    later = news(instance, reported.cursor)

    assert batch_ids(later) == [second]
    assert isinstance(tick(instance, later.cursor), dg.SkipReason)


@pytest.mark.runs_on("laptop", "postgres")
def test_more_rows_than_a_tick_takes_are_all_reported_once_and_in_order(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.ledger_events._ROWS_A_TICK", 2)
    expected: list[str] = []
    for number in range(3):
        expected.append(importer.preview(contacts_of(file)).batch.batch_id)
        export = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
        expected.append(export.export_id)
        if number == 1:
            ExportWriter(store, "tester", run_id="a-run").export(ExportRequest("ua", "contacts"))

    reported: list[list[Any]] = []
    cursor = None
    while isinstance(result := tick(instance, cursor), dg.SensorResult):
        events = events_of_assets(result)
        ids = [(event.metadata.get("batch_id") or event.metadata["export_id"]).value for event in events]
        reported.append(ids)
        cursor = result.cursor

    assert [len(ids) for ids in reported] == [2, 2, 1, 1]
    assert [one for ids in reported for one in ids] == expected
