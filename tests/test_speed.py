"""The time of small actions, and the libraries that they do not load."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from tests.records import contact, contacts_of, write_csv

pytestmark = [pytest.mark.alone, pytest.mark.runs_on("laptop")]

COMMAND = str(Path(sys.executable).with_name("records"))
HEAVY = ["dagster", "pandas", "pandera"]
IMPORTED = f"""
import json, sys
from pipelines.commands.cli import main
try:
    main()
finally:
    print("\\n" + json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


@pytest.fixture
def five_thousand(store: RecordStore, importer: Importer, tmp_path: Path) -> Path:
    """A folder; account ua of the environment's store has 5,000 contacts."""
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", map(contact, range(5000)))))
    return tmp_path


def imported_by(*arguments: str) -> list[str]:
    """Run the command, which must succeed; returns the heavy packages that it has imported at its end."""
    command = [sys.executable, "-c", IMPORTED, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    names: list[str] = json.loads(ended.stderr.splitlines()[-1])
    return names


def fastest(limit: float, what: Callable[[], object], runs: int = 20) -> float:
    """Return the seconds of the fastest run, of at most `runs`. One run within the limit is enough."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        what()
        best = min(best, time.perf_counter() - started)
        if best <= limit:
            break
    return best


def test_the_witness_sees_what_a_process_imports(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1)])
    assert "dagster" not in imported_by("init")
    assert imported_by("preview", str(file), "-a", "ua", "-t", "contacts") == ["pandas", "pandera"]


def test_quick_commands_import_nothing_heavy(five_thousand: Path) -> None:
    assert imported_by("types") == []
    assert imported_by("batches") == []
    assert imported_by("export", "-a", "ua", "-t", "contacts", "-o", str(five_thousand / "out.csv")) == []
    with (five_thousand / "out.csv").open() as file:
        assert sum(1 for _ in file) == 5001


def test_an_export_of_5000_contacts_takes_at_most_a_second(five_thousand: Path) -> None:
    """On a slow or busy machine it takes at most twice as long as the history of batches; `make bench` measures it."""
    command = [COMMAND, "export", "-a", "ua", "-t", "contacts", "-o", str(five_thousand / "out.csv")]
    took = fastest(1.0, lambda: subprocess.run(command, capture_output=True, check=True), runs=10)

    history = fastest(took / 2, lambda: subprocess.run([COMMAND, "batches"], capture_output=True, check=True), runs=5)
    assert took <= max(1.0, 2 * history)


@pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)
@pytest.mark.parametrize(
    ("job", "config", "sentence"),
    [
        ("preview_import", {"path": "in.csv"}, "No account was given."),
        ("import_records", {"account": "ua"}, "`path` is empty."),
        ("commit_batch", {"account": "ua", "batch_id": "b-1"}, "There is no batch 'b-1'."),
        ("roll_back_batch", {"account": "dl", "batch_id": "b-1"}, "There is no batch 'b-1'."),
        ("export_contacts", {"columns": ["nme"]}, "contacts has no column 'nme'."),
        ("export_contacts", {"saved_preset": "news"}, "contacts has no preset 'news'."),
        ("export_contacts", {"preset": "mailing", "saved_preset": "news"}, "Both `preset` and `saved_preset` were"),
        ("export_contacts", {"part_rows": -1}, "A part cannot have -1 rows."),
        ("export_contacts", {"where": ["amount ~ 3"]}, "'amount ~ 3' is not a filter."),
    ],
)
def test_what_a_job_cannot_do_its_first_step_says_within_a_second(
    store: RecordStore, job: str, config: dict[str, Any], sentence: str
) -> None:
    store.add_account("ua", "tester")
    run_config = config if job != "export_contacts" else {"ops": {"exports__contacts": {"config": config}}}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("accounts", ["ua"])

        def seconds() -> float:
            result = (
                defs()
                .resolve_job_def(job)
                .execute_in_process(
                    run_config=run_config,
                    instance=instance,
                    partition_key="ua" if job == "export_contacts" else None,
                    raise_on_error=False,
                )
            )
            (failed,) = [event for event in result.all_events if event.is_step_failure]
            failure = failed.step_failure_data.user_failure_data
            assert failure is not None
            assert (failure.description or "").startswith(sentence)
            times = {entry.dagster_event_type: entry.timestamp for entry in instance.all_logs(result.run_id)}
            return times[dg.DagsterEventType.STEP_FAILURE] - times[dg.DagsterEventType.STEP_START]

        assert any(seconds() < 1.0 for _ in range(2))


def test_the_definitions_load_within_5_seconds() -> None:
    load = "from pipelines.definitions import defs; defs().get_repository_def()"
    command = [sys.executable, "-c", load]

    assert fastest(5.0, lambda: subprocess.run(command, check=True, env=os.environ)) <= 5.0
