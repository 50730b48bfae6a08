"""The jobs, run in this process on a real store."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.balance import ACCOUNTED
from pipelines.definitions import defs
from pipelines.imports import import_file
from pipelines.store_resource import RecordsResource
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.ledger import append_batch
from resources.settings import Settings
from schemas.batches import Batch, BatchStatus, ImportRequest, Mode
from schemas.counts import Counts
from schemas.exports import ExportRequest
from tests.records import contact, contacts_of, put, values, write_csv

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)

CANARIES = {
    "first_name": "Canaryfirst",
    "last_name": "Canarylast",
    "email": "canary@secret.example",
    "phone": "+99 canaryphone",
    "birthday": "1911-11-11",
    "notes": "canarynotes",
}
FLIGHTS = """\
year,month,day,sched_dep_time,sched_arr_time,carrier,flight,origin,dest,distance,hour,minute,time_hour
2013,1,1,515,819,UA,1545,EWR,IAH,1400,5,15,2013-01-01T10:00:00Z
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(
    instance: dg.DagsterInstance, job: str, config: Mapping[str, Any], partition: str | None = None
) -> dg.ExecuteInProcessResult:
    """Run a job with this config for its one op; returns the result."""
    definition = defs().resolve_job_def(job)
    (op,) = (node.name for node in definition.nodes)
    return definition.execute_in_process(
        run_config=dict(config) if definition.config_mapping else {"ops": {op: {"config": dict(config)}}},
        instance=instance,
        partition_key=partition,
        raise_on_error=False,
    )


def run_text(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    """Return everything that Dagster keeps of a run, as text."""
    entries = instance.all_logs(result.run_id)
    assert len(entries) > 5
    return "\n".join([dg.serialize_value(entry) for entry in entries] + [str(entry) for entry in entries])


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, Any]:
    """Return the message of the one step that failed, and the error's code."""
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    return data.description or "", data.metadata["code"].value


def shown_trace(result: dg.ExecuteInProcessResult) -> str | None:
    """Return what Dagster shows below the message of the failed step: a stack trace and causes, or nothing."""
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    return "".join(error.stack) + str(error.cause or "") + str(error.context or "") or None


def latest(account: str = "ua") -> Batch:
    with RecordStore(Settings.from_environment()) as store:
        return store.batches(account)[0]


@pytest.mark.runs_on("laptop", "postgres")
def test_import_records_writes_the_file_as_its_actor(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1), contact(2), contact(3, status="VIP")])

    config = {"account": "ua", "path": str(file), "on_invalid": "skip", "actor": "olga"}
    result = run(instance, "import_records", config)

    assert result.success
    batch = latest()
    assert result.output_for_node("import_file") == batch.batch_id
    assert (batch.status, batch.actor, batch.run_id) == (BatchStatus.COMMITTED, "olga", result.run_id)
    assert batch.counts == Counts(read=3, created=2, rejected=1)
    assert set(values(store, "status")) == {"C-000001", "C-000002"}


def test_without_an_actor_it_is_the_environments(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1)])

    run(instance, "import_records", {"account": "ua", "path": str(file)})

    assert latest().actor == "tester"


@pytest.mark.runs_on("laptop", "postgres")
def test_a_preview_is_committed_by_another_run_and_another_actor(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(
        tmp_path / "in.csv", [{"Kennung": "C-1", "status": "lead"}, {"Kennung": "C-1", "status": "churned"}]
    )
    config = {
        "account": "ua",
        "record_type": "contacts",
        "path": str(file),
        "mode": "insert",
        "on_duplicate": "last",
        "column_map": {"Kennung": "external_id"},
        "actor": "olga",
    }

    previewed = run(instance, "preview_import", config)

    first = latest()
    assert previewed.output_for_node("preview") == first.batch_id
    assert (first.status, first.actor, first.run_id) == (BatchStatus.PREVIEWED, "olga", previewed.run_id)
    assert first.counts == Counts(read=2, created=1, duplicate=1)
    assert first.basis is not None
    assert first.basis.mode is Mode.INSERT
    assert values(store, "status") == {}

    committed = run(instance, "commit_batch", {"account": "ua", "batch_id": first.batch_id, "actor": "ivan"})

    second = latest()
    assert committed.output_for_node("commit") == second.batch_id == first.batch_id
    assert (second.status, second.actor, second.run_id) == (BatchStatus.COMMITTED, "ivan", committed.run_id)
    assert values(store, "status") == {"C-1": "churned"}


def test_the_step_shows_the_counts_and_what_is_wrong(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1), contact(2, status="VIP")])

    result = run(instance, "preview_import", {"account": "ua", "path": str(file)})

    (output,) = [event for event in result.all_events if event.is_successful_output]
    metadata = dict(output.step_output_data.metadata)
    problems = metadata.pop("problems")
    assert isinstance(problems, dg.TableMetadataValue)
    shown = {name: value.value for name, value in metadata.items()}
    report = store.account("ua").report(latest().batch_id)
    assert isinstance(metadata["report"], dg.PathMetadataValue)
    assert shown == {
        "batch_id": latest().batch_id,
        "report": str(report.report_file),
        "rejects_file": str(report.rejects_file),
        "commit_until": report.deadlines["commit_until"].timestamp(),  # type: ignore[union-attr]
        "account": "ua",
        "status": "previewed",
        "actor": "tester",
        "file": "in.csv",
        "read": 2,
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "rejected": 1,
        "duplicate": 0,
    }
    assert [record.data for record in problems.records] == [
        {
            "field": "status",
            "rule": "isin",
            "expected": "must be one of lead, prospect, customer, churned",
            "records": 1,
        }
    ]


def test_the_options_of_an_import_reach_it_and_its_warnings_the_step(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(
        tmp_path / "in.csv", [contact(1, birthday="01/02/1990", notes="'=1", company="NULL", status="Kunde")]
    )
    config = {"account": "ua", "path": str(file), "date_order": "dmy", "unescape": True}
    config |= {"value_map": {"status": {"Kunde": "customer"}}}

    result = run(instance, "import_records", config)
    refused = run(instance, "import_records", config)
    again = run(instance, "preview_import", config | {"again": True})

    assert values(store, "notes") == {"C-000001": "=1"}
    assert values(store, "status") == {"C-000001": "customer"}
    assert str(values(store, "birthday")["C-000001"]) == "1990-02-01"
    (output,) = [event for event in result.all_events if event.is_successful_output]
    metadata = output.step_output_data.metadata
    warnings = metadata["warnings"]
    assert isinstance(warnings, dg.TableMetadataValue)
    assert [record.data for record in warnings.records] == [
        {
            "code": "word_for_nothing",
            "field": "company",
            "records": 1,
            "warning": "`company`: 1 value has a word for nothing, such as NULL; it is kept as text. For example: NULL",
        }
    ]
    assert metadata["snapshot"].value == store.reports(store.batches(status=BatchStatus.COMMITTED))[0].snapshot
    sentence, code = failure(refused)
    assert code == "already_imported"
    assert sentence.startswith(f"in.csv was imported already: batch {result.output_for_node('import_file')}, ")
    assert again.success


def test_progress_is_logged_some_seconds_apart(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1)])
    monkeypatch.setattr("pipelines.imports._LOG_SECONDS", 0.0)

    result = run(instance, "preview_import", {"account": "ua", "path": str(file)})

    logged = [entry.user_message for entry in instance.all_logs(result.run_id) if "read." in entry.user_message]
    assert logged[-1] == "1 record read."


def test_the_check_of_the_balance_can_be_run_by_hand(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    batch = importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)]))).batch
    key = dg.AssetCheckKey(dg.AssetKey(["records", "contacts"]), ACCOUNTED)
    job = defs().get_repository_def().get_job("__ASSET_JOB").get_subset(asset_check_selection={key})

    def evaluated() -> tuple[bool, Any]:
        (found,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        return found.passed, found.metadata["unbalanced"].value

    assert evaluated() == (True, "none")
    with store.transaction("plant", "tester") as transaction:
        transaction.append(append_batch, replace(batch, counts=Counts(read=2, created=1), at=transaction.at))
    assert evaluated() == (False, f"{batch.batch_id} of ua")


@pytest.mark.runs_on("laptop", "postgres")
def test_export_flights_publishes_the_partitions_records(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text(FLIGHTS)
    importer.import_file(ImportRequest(tmp_path / "in.csv", "ua", "flights"))
    instance.add_dynamic_partitions("accounts", ["ua"])

    result = run(instance, "export_flights", {"preset": "route", "actor": "olga"}, partition="ua")

    assert result.success
    (export,) = store.exports("ua")
    assert (export.rows, export.actor, export.run_id) == (1, "olga", result.run_id)
    assert export.path.read_text(encoding="utf-8") == (
        "time_hour,carrier,flight,origin,dest,distance,air_time\n2013-01-01 10:00:00+00,UA,1545,EWR,IAH,1400,\n"
    )
    (materialisation,) = result.asset_materializations_for_node("exports__flights")
    assert (materialisation.asset_key, materialisation.partition) == (dg.AssetKey(["exports", "flights"]), "ua")
    metadata: dict[str, Any] = {name: value.value for name, value in materialisation.metadata.items()}
    assert [column.name for column in metadata.pop("dagster/column_schema").columns] == list(export.columns)
    assert [record.data["carrier"] for record in metadata.pop("preview").records] == ["UA"]
    assert metadata == {
        "dagster/row_count": 1,
        "bytes": export.bytes,
        "path": str(export.path),
        "sha256": export.sha256,
        "snapshot": export.snapshot,
        "columns": "time_hour, carrier, flight, origin, dest, distance, air_time",
        "export_id": export.export_id,
        "actor": "olga",
        "manifest": export.to_dict(),
        "seconds": export.seconds,
        "rows_per_second": round(export.rows / (export.seconds or 0)),
    }
    assert json.loads(export.manifest_path.read_text()) == export.to_dict()


def export_contacts(
    instance: dg.DagsterInstance, store: RecordStore, count: int = 100, **config: Any
) -> dg.ExecuteInProcessResult:
    """Export so many contacts of account ua in parts of 30; returns the result."""
    put(store, f"SELECT 'C-' || lpad(i::VARCHAR, 5, '0') AS external_id, 'lead' AS status FROM range({count}) t(i)")
    instance.add_dynamic_partitions("accounts", ["ua"])
    return run(instance, "export_contacts", {"part_rows": 30} | config, partition="ua")


@pytest.mark.runs_on("laptop", "postgres")
def test_an_export_makes_one_step_a_part_and_observes_each(store: RecordStore, instance: dg.DagsterInstance) -> None:
    result = export_contacts(instance, store, columns=["external_id"])

    steps = [event.step_key for event in result.get_step_success_events()]
    assert steps == [
        "exports__contacts.plan_export",
        *(f"exports__contacts.make_part[00000{number}]" for number in range(1, 5)),
        "exports__contacts.publish_export",
    ]
    events = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    observed = [event.asset_observation_data.asset_observation for event in events]
    assert {(it.asset_key, it.partition) for it in observed} == {(dg.AssetKey(["exports", "contacts"]), "ua")}
    shown: list[dict[str, Any]] = [{name: value.value for name, value in it.metadata.items()} for it in observed]
    done = [it["rows_done"] for it in shown]
    assert done == sorted(done)
    assert (done[-1], {it["rows_total"] for it in shown}) == (100, {100})
    assert [it["part"] for it in shown] == [1, 2, 3, 4]
    assert all(it["rows_per_second"] > 0 for it in shown)
    assert shown[-1]["seconds_left"] == 0


def evaluated(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool | None, dict[str, Any]]]:
    """Return the result of each check in a run."""
    return {
        each.check_name: (each.passed, {name: value.value for name, value in each.metadata.items()})
        for each in result.get_asset_check_evaluations()
    }


@pytest.mark.parametrize("config", [{}, {"format": "excel", "sheet_rows": 40}, {"format": "json", "pack": "zst"}])
def test_the_checks_of_an_export_are_evaluated_for_its_account(
    store: RecordStore, instance: dg.DagsterInstance, config: dict[str, Any]
) -> None:
    result = export_contacts(instance, store, **config)

    (export,) = store.exports("ua")
    shown = {"account": "ua", "export_id": export.export_id, "rows": 100, "damaged": "none"}
    assert evaluated(result) == {
        "rows_equal_snapshot": (True, shown | {"counted": 100}),
        "checksum_holds": (True, shown | {"sha256": export.sha256, "found": export.sha256}),
        "file_reads_back": (True, shown | {"read_back": 100}),
    }


@pytest.mark.runs_on("laptop", "postgres")
def test_no_check_passes_while_the_file_of_any_account_is_damaged(
    store: RecordStore, instance: dg.DagsterInstance
) -> None:
    put(store, "SELECT 'D-1' AS external_id, 'lead' AS status", account="dl")
    theirs = ExportWriter(store, "tester").export(ExportRequest("dl", "contacts"))
    theirs.path.write_bytes(theirs.path.read_bytes() + b"more")

    result = export_contacts(instance, store)

    assert {passed for passed, _ in evaluated(result).values()} == {False}
    assert {shown["damaged"] for _, shown in evaluated(result).values()} == {f"{theirs.export_id} of dl"}

    def by_hand() -> dict[str, bool]:
        checks = [check for check in defs().asset_checks or [] if isinstance(check, dg.AssetChecksDefinition)]
        chosen = [check for check in checks if check.check_key.asset_key == dg.AssetKey(["exports", "contacts"])]
        resources = {"records": RecordsResource()}
        found = dg.materialize(
            chosen, instance=instance, resources=resources, selection=dg.AssetSelection.all_asset_checks()
        )
        return {each.check_name: bool(each.passed) for each in found.get_asset_check_evaluations()}

    # The last line has a field too many, and the digest differs. The snapshot has as many records as before.
    assert by_hand() == {"rows_equal_snapshot": True, "checksum_holds": False, "file_reads_back": False}
    theirs.path.unlink()
    assert set(by_hand().values()) == {True}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"columns": ["height"]}, "contacts has no column 'height'. Its columns: external_id, first_name"),
        ({"where": ["height > 2"]}, "contacts has no field 'height'. Its fields: external_id"),
        ({"export_id": "e-20260101-000000000-000000"}, "There is no plan of an export 'e-20260101-000000000-000000'."),
        ({"as_of": "b-20260101-000000000-000000"}, "There is no batch 'b-20260101-000000000-000000'."),
        ({"format": "parquet", "pack": "gz"}, "The format parquet does not support packing: gz was given."),
    ],
)
def test_an_invalid_export_fails_its_first_step_with_a_sentence(
    store: RecordStore, instance: dg.DagsterInstance, config: dict[str, Any], sentence: str
) -> None:
    result = export_contacts(instance, store, **config)

    (failure,) = (event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    assert failure.step_key == "exports__contacts.plan_export"
    data = failure.step_failure_data
    assert data.user_failure_data is not None
    assert (data.user_failure_data.description or "").startswith(sentence)


def test_an_export_that_was_planned_elsewhere_is_made_as_planned(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    plan = ExportWriter(store, "olga").plan(
        ExportRequest("ua", "contacts", ("external_id",), path=tmp_path / "out.csv", part_rows=1)
    )
    result = export_contacts(instance, store, export_id=plan.export_id)

    (export,) = store.exports("ua")
    assert (export.export_id, export.actor, export.run_id) == (plan.export_id, "olga", result.run_id)
    assert (tmp_path / "out.csv").read_text().split() == ["external_id", "C-1"]


def test_rejected_records_fail_the_step_with_the_errors_sentence(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1), contact(2, status="VIP")])

    result = run(instance, "import_records", {"account": "ua", "path": str(file)})

    assert not result.success
    batch_id = latest().batch_id
    assert failure(result) == (
        "1 of 2 records is rejected, so nothing was written: status must be one of lead, prospect, customer, "
        f"churned (1). See them: records show {batch_id}. Correct the file and import it again, or leave them out: "
        f"launch commit_batch with `batch_id: {batch_id}`, `on_invalid: skip`.",
        "rejects_found",
    )
    assert shown_trace(result) is None
    assert values(store, "status") == {}


def test_the_account_is_required(store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1)])
    sentences = (
        "No account was given. A name has 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit: `account`."
    )

    assert failure(run(instance, "import_records", {"path": str(file)})) == (sentences, "invalid_request")
    assert failure(run(instance, "commit_batch", {"batch_id": "b-1"})) == (sentences, "invalid_request")


def test_another_accounts_batch_is_not_there(
    store: RecordStore, importer: Importer, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    batch_id = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)]))).batch.batch_id

    not_theirs = failure(run(instance, "commit_batch", {"account": "dl", "batch_id": batch_id}))
    not_there = failure(run(instance, "commit_batch", {"account": "dl", "batch_id": "b-1"}))

    assert not_theirs == (not_there[0].replace("b-1", batch_id), "not_found")
    assert latest().status is BatchStatus.PREVIEWED


def attempts(instance: dg.DagsterInstance, file: Path) -> tuple[int, str]:
    """Return the number of retries of the step, and the code of its last error."""

    @dg.job(resource_defs={"records": RecordsResource()})
    def retried_import() -> None:
        import_file.with_retry_policy(dg.RetryPolicy(max_retries=1))()

    result = retried_import.execute_in_process(
        run_config={"ops": {"import_file": {"config": {"account": "ua", "path": str(file)}}}},
        instance=instance,
        raise_on_error=False,
    )
    retries = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]
    return len(retries), failure(result)[1]


@pytest.mark.runs_on("laptop", "postgres")
def test_only_what_is_transient_is_retried(
    store: RecordStore, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1)])
    monkeypatch.setenv("RECORDS_LOCK_SECONDS", "0.1")

    assert attempts(instance, tmp_path / "none.csv") == (0, "not_found")
    assert attempts(instance, write_csv(tmp_path / "bad.csv", [contact(1, status="VIP")])) == (0, "rejects_found")
    with store.write_lock:
        assert attempts(instance, file) == (1, "store_busy")


@pytest.mark.runs_on("laptop", "postgres")
def test_no_personal_value_is_in_any_event(
    store: RecordStore,
    importer: Importer,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    good = write_csv(tmp_path / "good.csv", [contact(1, **CANARIES)])
    wrong = CANARIES | {"email": "canary-secret-example", "birthday": "11.11.1911", "first_name": "Canaryfirst"}
    bad = write_csv(
        tmp_path / "bad.csv",
        [contact(2, **wrong), contact(3, **CANARIES), contact(3, **CANARIES | {"notes": "canarynotes 2"})],
    )
    torn = tmp_path / "torn.csv"
    torn.write_bytes(good.read_bytes() + b'C-9,"canarynotes')
    latin = tmp_path / "latin.csv"
    latin.write_bytes(good.read_bytes() + "C-9,lead,1,Canaryfirst\xe9\n".encode("latin-1"))
    wide = tmp_path / "wide.csv"
    wide.write_bytes(good.read_bytes() + b"C-9,lead,1,Canaryfirst\n" + good.read_bytes().splitlines()[1] + b",canary\n")
    files = [good, bad, torn, latin, wide]
    outcomes = []
    texts = []
    for file in files:
        for job in ("preview_import", "import_records"):
            result = run(instance, job, {"account": "ua", "path": str(file)})
            outcomes.append(result.success)
            texts.append(run_text(instance, result))
    instance.add_dynamic_partitions("accounts", ["ua"])
    exported = run(instance, "export_contacts", {}, partition="ua")
    texts.append(run_text(instance, exported))

    assert outcomes == [True, True, True, False, True, False, True, False, True, False]
    assert exported.success
    assert CANARIES["email"] in store.exports("ua")[0].path.read_text()
    captured = capfd.readouterr()
    everything = "\n".join([*texts, captured.out, captured.err]).lower()
    assert "canary" not in everything
    assert "1911-11-11" not in everything
    assert "11.11.1911" not in everything
