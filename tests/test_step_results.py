"""What steps of a run pass on lies in the store, where every machine finds it, for a week."""

import json
import os
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from pipelines.step_results import StepResults
from resources.file_storage import local, read
from resources.record_store import RecordStore
from resources.upkeep.leftovers import sweep_steps
from tests.conftest import StoppedClock

RUN = "00000000-0000-4000-8000-000000000001"


@pytest.mark.runs_on("laptop", "server")
def test_a_result_is_written_as_json_below_the_data_and_read_again(store: RecordStore) -> None:
    results = StepResults()
    with dg.build_output_context(
        step_key="exports__contacts.make_part[000001]", name="result", run_id=RUN, mapping_key="000001"
    ) as written:
        results.handle_output(written, ["e-1", 7])
        place = store.settings.steps / RUN / "exports__contacts.make_part-000001.result.000001"
        assert json.loads(read(place)) == ["e-1", 7]
        with dg.build_input_context(upstream_output=written) as wanted:
            assert results.load_input(wanted) == ["e-1", 7]
        with pytest.raises(TypeError, match="not JSON serializable"):
            results.handle_output(written, object())


def test_results_of_old_runs_are_removed_and_nothing_else(store: RecordStore, clock: StoppedClock) -> None:
    old = datetime.now(UTC) - timedelta(days=8)
    for name, at in ((RUN, old), (RUN.replace("1", "2"), datetime.now(UTC)), ("notes", old)):
        folder = local(store.settings.steps) / name
        folder.mkdir(parents=True)
        file = folder / "plan.result"
        file.write_text("1")
        for each in (file, folder):
            os.utime(each, (at.timestamp(), at.timestamp()))

    assert sweep_steps(store).number == 1

    assert {it.name for it in local(store.settings.steps).iterdir()} == {RUN.replace("1", "2"), "notes"}
