"""The sensor that starts expire_batches: once for each due batch, and again after a failure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.expiry import batch_expiry, expire_batches
from pipelines.store_resource import RecordsResource
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.retries import next_attempt
from tests.records import contact, contacts_of, write_csv

pytestmark = [
    pytest.mark.runs_on("laptop", "server"),
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def batch_id(importer: Importer, tmp_path: Path) -> str:
    return importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)]))).batch.batch_id


@pytest.fixture
def over(importer: Importer, settings: Settings, tmp_path: Path) -> str:
    """A batch with a window that ended at its commit."""
    previewed = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)]))).batch.batch_id
    with RecordStore(replace(settings, rollback_hours=0.0)) as store:
        return Importer(store, "tester").commit("ua", previewed).batch.batch_id


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context(instance) as context:
        decided = batch_expiry(context, records=RecordsResource())
        assert isinstance(decided, dg.RunRequest | dg.SkipReason)
        return decided


def test_nothing_is_started_before_the_time_of_a_batch_has_ended(
    home: Path, instance: dg.DagsterInstance, request: pytest.FixtureRequest
) -> None:
    assert tick(instance) == dg.SkipReason("There is no store yet: records init.")
    request.getfixturevalue("batch_id")
    assert tick(instance) == dg.SkipReason("The time of no batch has ended.")


def test_a_run_that_failed_is_followed_by_another_and_one_under_way_by_none(
    store: RecordStore, over: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tick(instance)
    assert isinstance(first, dg.RunRequest)
    assert first.run_key == f"{over}:0"
    run = instance.create_run_for_job(expire_batches, run_config=first.run_config, tags=first.tags)
    assert tick(instance) == dg.SkipReason(f"A run for {over} is under way.")
    instance.report_run_failed(run)
    assert tick(instance) == dg.SkipReason(f"1 runs for {over} have failed. The next one waits.")

    monkeypatch.setattr("pipelines.expiry.next_attempt", min)
    second = tick(instance)
    assert isinstance(second, dg.RunRequest)
    assert second.run_key == f"{over}:1"
    result = expire_batches.execute_in_process(
        second.run_config, instance=instance, resources={"records": RecordsResource()}
    )
    assert result.success
    (expired,) = store.batches()
    assert (expired.status, expired.actor, expired.run_id) == (
        BatchStatus.EXPIRED,
        "sensor:batch_expiry",
        result.run_id,
    )
    assert tick(instance) == dg.SkipReason("The time of no batch has ended.")


def test_attempts_are_ever_further_apart_and_an_hour_at_most() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    assert next_attempt([at]) == at + timedelta(minutes=1)
    assert next_attempt([at, at + timedelta(minutes=5)]) == at + timedelta(minutes=7)
    assert next_attempt([at] * 500) == at + timedelta(minutes=60)
