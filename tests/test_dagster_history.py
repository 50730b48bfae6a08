"""Erasures in the storage of Dagster: no byte of it has what was erased, and its runs and events can still be read."""

import json
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import Connection, Table

from pipelines import dagster_history as dagster_history_module
from pipelines.dagster_history import DagsterHistory, dagster_history
from resources.erasure.account_deletion import AccountDeletion
from resources.erasure.eraser import Eraser
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.ledger_erasure import Values
from schemas.batches import BatchStatus, OnInvalid
from schemas.erasure import ErasureRequest, Found
from schemas.errors import StoreUnreachable
from tests.canaries import COLUMNS, KEYS, WORDS, other, person
from tests.every_byte import places_with
from tests.postgres import Postgres
from tests.records import change, contacts_of, put, write_csv
from tests.test_jobs import run
from tests.test_ledger_events import news

pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)
REQUEST = ErasureRequest("ua", "contacts", KEYS)
KEY = KEYS[0]


@pytest.fixture
def dagster_home(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a Dagster that `records ui` has made."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = store.settings.home / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.add_dynamic_partitions("accounts", ["ua", "va"])
        yield instance


def put_canaries(store: RecordStore, instance: dg.DagsterInstance, folder: Path) -> list[tuple[str, bool]]:
    """Put canaries through the jobs, and wherever else Dagster takes texts. Returns the runs, and which succeeded."""
    people = [person(1), person(2, amount="canary"), person(3), other(4), other(5, status="CANARY-1")]
    file = write_csv(folder / f"{KEY} of a customer.csv", people, COLUMNS)
    later = write_csv(folder / "later.csv", [person(1, company="A later canary"), other(4, notes="later")], COLUMNS)
    where = {"where": [f"external_id = {KEY}", "company = Canary 1 & Söhne"]}
    results = [
        run(
            instance,
            "import_records",
            {"account": "ua", "path": str(file), "on_invalid": "skip", "value_map": {"status": {KEY: "churned"}}},
        ),
        run(instance, "import_records", {"account": "ua", "path": str(later)}),
        run(instance, "import_records", {"account": "ua", "path": str(folder / f"no {KEY}.csv")}),
        run(instance, "export_contacts", where, partition="ua"),
        run(instance, "export_contacts", {"where": [f"amount = {KEY}"]}, partition="ua"),
    ]
    batch_id = store.batches("ua", status=BatchStatus.COMMITTED)[0].batch_id
    change(store, f"UPDATE lake.records.contacts SET phone = '+49309999' WHERE external_id = '{KEY}'")
    results.append(run(instance, "roll_back_batch", {"account": "ua", "batch_id": batch_id}))
    Importer(store, "tester").import_file(
        contacts_of(write_csv(folder / f"{KEYS[1]}.csv", [person(1, company="The last canary")], COLUMNS[::-1])),
        OnInvalid.SKIP,
    )
    for event in news(instance).asset_events:
        if isinstance(event, dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation):
            instance.report_runless_asset_event(event)
    run_id = results[0].run_id
    instance.add_run_tags(run_id, {"team/note": f"about {KEY}"})
    instance.run_storage.set_cursor_values({"cursor": f'{{"{KEY}.csv": 1}}'})
    logs = Path(instance.storage_directory()) / run_id / "compute_logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "step.err").write_text(f"ValueError: {KEYS[2]}\nanother line\n", "utf-8")
    return [(result.run_id, result.success) for result in results]


@pytest.mark.runs_on("laptop")
def test_what_was_erased_is_in_no_byte_of_dagster_and_its_history_can_be_read(
    store: RecordStore, dagster_home: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(store, "SELECT 'N-' || i AS external_id, 'lead' AS status FROM range(100000) t(i)", account="ua")
    runs = put_canaries(store, instance, tmp_path)
    assert {succeeded for _, succeeded in runs} == {True, False}
    events = {run_id: len(instance.all_logs(run_id)) for run_id, _ in runs}
    asset = dg.AssetKey(["records", "contacts"])
    assert len(places_with(dagster_home, WORDS)) > 5
    unfinished = instance.create_run_for_job(
        _job, run_config={"ops": {"x": {"config": {}}}}, tags={"note": KEY}, status=dg.DagsterRunStatus.STARTED
    )

    with dagster_history(store.settings) as history:
        planned = Eraser(store, "tester", history).plan(REQUEST)
        assert places_with(dagster_home, [b"a later canary"]) != [], "a plan changes nothing"
        report = Eraser(store, "tester", history).erase(REQUEST)
        assert [it for it in report.beyond if unfinished.run_id in it and "erase again when it has ended" in it]
        assert len(places_with(dagster_home, WORDS)) == 1, "of the run that has not ended"
        instance.report_run_canceled(unfinished)
        Eraser(store, "tester", history).erase(REQUEST)

    assert places_with(dagster_home, WORDS) == []
    touched = {it.place: it.rewritten for it in report.touched}
    assert touched[Found.RUNS] >= {it.place: it.rewritten for it in planned.touched}[Found.RUNS] > 10
    assert {run_id: len(instance.all_logs(run_id)) for run_id, _ in runs} == events
    for run_id, succeeded in runs:
        found = instance.get_run_by_id(run_id)
        assert found is not None
        assert found.is_success == succeeded
    latest = instance.get_latest_materialization_event(asset)
    assert latest is not None
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.partition == "ua"
    assert "(erased)" in str(instance.get_run_by_id(runs[0][0]))
    log = Path(instance.storage_directory()) / runs[0][0] / "compute_logs" / "step.err"
    assert log.read_text("utf-8") == "ValueError: (erased)\nanother line\n"


@dg.op(config_schema=dict)
def x(_: dg.OpExecutionContext) -> None:
    """Do nothing, with any configuration."""


@dg.job
def _job() -> None:
    x()


CURSORS = {
    "run_failures": "0",
    "ledger_events": '57:57 {"mail": [57, 0, null]}',
    "file_arrival": '{"ua/contacts/a contact of Uaville.csv": [57, 1, 2]}',
}


def put_cursors(instance: dg.DagsterInstance) -> None:
    """Keep a cursor of each sensor, as its ticks do."""
    module = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="pipelines.definitions"))
    for name, cursor in CURSORS.items():
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(module, "__repository__"), name)
        data = SensorInstigatorData(cursor=cursor, min_interval=15)
        instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data))


@pytest.mark.runs_on("laptop")
def test_values_that_look_like_what_dagster_needs_are_masked_only_where_people_write(
    store: RecordStore, importer: Importer, dagster_home: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A record has the numbers of cursors, the name of its account, and words of configurations and classes."""
    words = {"notes": "account", "first_name": "text", "last_name": "Uaville", "phone": "skip", "email": ""}
    record = person(1, external_id="E-1", amount="0", credit_limit="57", company="ua", **words)
    importer.import_file(contacts_of(write_csv(tmp_path / "uaville.csv", [record], COLUMNS)))
    config = {"account": "ua", "path": "/in/Uaville.csv", "on_invalid": "skip", "value_map": {"status": {"text": "x"}}}
    done = instance.create_run_for_job(
        _job, run_config={"ops": {"x": {"config": config}}}, tags={"records/account": "ua", "note": "ua"}
    )
    instance.report_run_canceled(done)
    put_cursors(instance)
    shown = {"file": dg.MetadataValue.text("Uaville"), "rows": dg.MetadataValue.int(57)}
    instance.report_runless_asset_event(dg.AssetMaterialization("records", partition="ua", metadata=shown))
    with dagster_history(store.settings) as history:
        Eraser(store, "tester", history).erase(ErasureRequest("ua", "contacts", (record["external_id"],)))

    found = {it.instigator_name: it.instigator_data for it in instance.all_instigator_state()}
    kept = {name: it.cursor for name, it in found.items() if isinstance(it, SensorInstigatorData)}
    assert kept == CURSORS | {"file_arrival": '{"ua/contacts/a contact of (erased).csv": [57, 1, 2]}'}
    again = instance.get_run_by_id(done.run_id)
    assert again is not None
    masked = {"path": "/in/(erased).csv", "value_map": {"status": {"(erased)": "x"}}}
    assert again.run_config == {"ops": {"x": {"config": config | masked}}}
    assert (again.tags["records/account"], again.tags["note"]) == ("ua", "(erased)")
    assert instance.get_run_tags(tag_keys=["records/account", "note"]) == [
        ("note", {"(erased)"}),
        ("records/account", {"ua"}),
    ]
    event = instance.get_latest_materialization_event(dg.AssetKey("records"))
    assert event is not None
    assert event.asset_materialization is not None
    assert {name: it.value for name, it in event.asset_materialization.metadata.items()} == {
        "file": "(erased)",
        "rows": 57,
    }


@pytest.mark.runs_on("laptop")
def test_a_row_that_dagster_changes_meanwhile_is_read_again(
    dagster_home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.run_storage.set_cursor_values({"a": f'{{"{KEY}.csv": 1}}'})
    (database,) = dagster_home.rglob("runs.db")
    read = dagster_history_module._rows

    def rows(connection: Connection, table: Table, columns: tuple[str, ...]) -> Iterator[Any]:
        for row in read(connection, table, columns):
            if table.name == "kvs":
                with sqlite3.connect(database) as other:
                    other.execute("UPDATE kvs SET value = ?", [f'{{"{KEY}.csv": 2}}'])
            yield row

    monkeypatch.setattr(dagster_history_module, "_rows", rows)
    assert DagsterHistory(instance).erase(Values([KEY])).number == 1
    assert instance.run_storage.get_cursor_values({"a"}) == {"a": '{"(erased).csv": 2}'}


@pytest.mark.runs_on("laptop")
def test_a_storage_that_is_locked_is_named_without_a_text_of_its_rows(
    dagster_home: Path, instance: dg.DagsterInstance
) -> None:
    instance.run_storage.set_cursor_values({"a": f'{{"{KEY}.csv": 1}}'})
    (database,) = dagster_home.rglob("runs.db")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnreachable, match="cannot be changed") as caught:
            DagsterHistory(instance).erase(Values([KEY]))
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.runs_on("laptop")
def test_a_deleted_account_leaves_dagster(
    store: RecordStore, dagster_home: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    people = write_csv(tmp_path / f"{KEY}.csv", [person(1), person(2, amount="canary")], COLUMNS)
    deleted = run(instance, "import_records", {"account": "ua", "path": str(people), "on_invalid": "skip"}).run_id
    kept = write_csv(tmp_path / "va.csv", [other(1)], COLUMNS)
    of_another = run(instance, "import_records", {"account": "va", "path": str(kept)}).run_id
    instance.report_runless_asset_event(
        dg.AssetMaterialization(["records", "contacts"], partition="ua", metadata={"file": f"{KEY}.csv"})
    )
    instance.report_runless_asset_event(
        dg.AssetMaterialization(["records", "contacts"], partition="va", metadata={"file": "va.csv"})
    )
    assert places_with(dagster_home, WORDS) != []

    with dagster_history(store.settings) as history:
        AccountDeletion(store, "ua", "tester", history).delete()

    assert [it.run_id for it in instance.get_runs()] == [of_another]
    assert instance.get_dynamic_partitions("accounts") == ["va"]
    assert instance.all_logs(deleted) == []
    assert instance.get_latest_materialization_event(dg.AssetKey(["records", "contacts"])) is not None
    assert places_with(dagster_home, WORDS) == []


@pytest.mark.runs_on("laptop")
def test_a_deleted_account_takes_no_name_of_its_files_from_others(
    store: RecordStore, importer: Importer, dagster_home: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for number, name in enumerate(["contacts.csv", "import"]):
        importer.import_file(contacts_of(write_csv(tmp_path / name, [person(number + 1)], COLUMNS)))
    store.add_account("va", "tester")
    config = {"account": "va", "path": "/srv/in/contacts.csv", "column_map": {"import": "notes"}}
    table = [
        dg.TableRecord({"file": "contacts.csv", "account": account, "sentence": "import"}) for account in ("ua", "va")
    ]
    shown: dict[str, Any] = {"note": "an import of contacts.csv", "files": dg.MetadataValue.table(table)}
    ids = []
    for account, tags in (("va", {"records/account": "va", "note": "import"}), ("ua", {})):
        ids.append(
            instance.create_run_for_job(
                _job, run_config={"ops": {"x": {"config": config | {"account": account}}}}, tags=tags
            )
        )
        instance.report_run_canceled(ids[-1])
    instance.report_engine_event("An import of contacts.csv", ids[1])
    instance.report_runless_asset_event(dg.AssetMaterialization("records", partition="va", metadata=shown))
    look = {f"{account}/contacts/contacts.csv": [57, 1, 2] for account in ("ua", "va", "uua")}
    instance.run_storage.set_cursor_values({"look": json.dumps(look)})

    with dagster_history(store.settings) as history:
        report = AccountDeletion(store, "ua", "tester", history).delete()

    of_other, unbegun = (instance.get_run_by_id(it.run_id) for it in ids)
    assert of_other is not None
    assert of_other.run_config == {"ops": {"x": {"config": config}}}
    assert of_other.tags["note"] == "import"
    assert unbegun is not None
    assert "/srv/in/(erased)" in str(unbegun.run_config)
    event = instance.get_latest_materialization_event(dg.AssetKey("records"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["note"].value == "an import of contacts.csv"
    assert isinstance(metadata["files"], dg.TableMetadataValue)
    assert [it.data for it in metadata["files"].records] == [
        {"file": "(erased)", "account": "ua", "sentence": "(erased)"},
        {"file": "contacts.csv", "account": "va", "sentence": "import"},
    ]
    assert json.loads(dict(instance.run_storage.get_cursor_values({"look"}))["look"]) == {
        path: state for path, state in look.items() if not path.startswith("ua/")
    }
    assert [it for it in report.beyond if "What Dagster has of no account" in it]


@pytest.mark.runs_on("postgres")
def test_the_storage_of_a_server_is_erased_too(store: RecordStore, dagster_home: Path, postgres: Postgres) -> None:
    database = postgres.create()
    storage = (
        f'storage: {{postgres: {{postgres_url: "{postgres.address(database).replace(chr(58), "+psycopg2:", 1)}"}}}}'
    )
    (dagster_home / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{storage}\n")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.report_runless_asset_event(
            dg.AssetObservation("records", partition="ua", metadata={"changes": f"Ça: {KEYS[2]}", "file": KEY})
        )
        done = instance.create_run_for_job(
            _job, run_config={"ops": {"x": {"config": {"where": [f"external_id = {KEY}"]}}}}, tags={"note": KEY}
        )
        instance.report_run_canceled(done)
        store.add_account("ua", "tester")
        report = Eraser(store, "tester", DagsterHistory(instance)).erase(REQUEST)
        again = instance.get_run_by_id(done.run_id)
    assert {it.place: it.rewritten for it in report.touched}[Found.RUNS] == 3
    assert again is not None
    assert again.run_config == {"ops": {"x": {"config": {"where": ["external_id = (erased)"]}}}}
    tables = postgres.execute("SELECT relname FROM pg_stat_user_tables", database)
    texts = [str(postgres.execute(f"SELECT * FROM {table}", database)) for (table,) in tables]
    assert [text for text in texts if "anary" in text.lower()] == []
    postgres.drop(database)


def test_a_storage_that_cannot_be_opened_stops_the_erasure(store: RecordStore, dagster_home: Path) -> None:
    (dagster_home / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_url: 'postgresql://u:p@127.0.0.1:1/x'}}\n"
    )
    with pytest.raises(StoreUnreachable, match="cannot be opened"), dagster_history(store.settings):
        pass
