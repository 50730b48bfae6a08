"""The check in Dagster: a store in order passes, and a damaged one fails the run with a sentence."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.health import check_store
from pipelines.store_resource import RecordsResource
from resources.record_store import RecordStore
from tests.prepared import Prepared, starts_with
from tests.test_damage import World, two_imports_and_a_preview

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
    pytest.mark.runs_on("laptop"),
    starts_with(two_imports_and_a_preview),
]


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return check_store.execute_in_process(
        resources={"records": RecordsResource()}, instance=instance, raise_on_error=False
    )


def test_damage_fails_the_run_and_says_what_to_do(store: RecordStore, beginning: Prepared, tmp_path: Path) -> None:
    world = World(store, tmp_path, *beginning.value)
    with dg.DagsterInstance.ephemeral() as instance:
        passed = run(instance)
        assert passed.success
        (event,) = [it for it in passed.all_events if it.event_type_value == "STEP_OUTPUT"]
        shown = {name: it.value for name, it in event.event_specific_data.metadata.items()}  # type: ignore[union-attr]
        assert (shown["wrong"], shown["records"], shown["batches"]) == (0, 60, 2)
        damaged = world.files("records")[0]
        world.flip(damaged)
        failed = run(instance)
        assert not failed.success
        (failure,) = [it for it in failed.all_events if it.event_type_value == "STEP_FAILURE"]
        description = failure.step_failure_data.user_failure_data.description  # type: ignore[union-attr]
    assert description is not None
    assert description.startswith(
        f"1 thing in the store must be mended: lake/records/contacts/_account=ua/{damaged.name}"
    )
    assert description.endswith("See what can be done: records repair --dry-run")
