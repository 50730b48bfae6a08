"""Exports in a running deployment: submitted by the command, killed, cancelled, and resumed after a failure."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import dagster as dg
import psutil
import pytest
from starlette.testclient import TestClient

from pipelines.deployment import Deployment
from pipelines.runs import lost_processes
from pipelines.web.application import application
from resources.export_writer import ExportWriter
from resources.export_writer.plan import ExportPlan
from resources.machines.heartbeats import Watch
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.errors import NoDeployment
from schemas.exports import ExportRequest
from tests.forked_commands import COMMAND_LINE
from tests.records import put
from tests.serving import COMMAND, Server, environment, kill, serving, within

pytestmark = pytest.mark.xdist_group("servers")

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
STARTED_AGAIN = """
query ($id: String!) {
  runsOrError(filter: {tags: [{key: "dagster/parent_run_id", value: $id}]}) { ... on Runs { results { runId } } }
}
"""
REEXECUTE = """
mutation ($id: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
MESSAGES = """
query ($id: ID!) {
  logsForRun(runId: $id, limit: 1000) { ... on EventConnection { events { ... on MessageEvent { message } } } }
}
"""
OBSERVED = """
query ($id: ID!) {
  logsForRun(runId: $id, limit: 1000) {
    ... on EventConnection {
      events {
        ... on ObservationEvent { metadataEntries { label ... on IntMetadataEntry { intValue } } }
      }
    }
  }
}
"""


class Obstacle:
    """Blocks a part of an export: a run that looks for the note of the part waits on a pipe of that name."""

    def __init__(self, plan: ExportPlan, part: int) -> None:
        self._note = plan.work / f"{part - 1:06}.json"
        self._writer = -1
        os.mkfifo(self._note)

    def wait(self) -> None:
        """Wait until a run has reached it. The run waits there until `open`; no other run finds the obstacle."""
        self._writer = within(60, self._come, every=0.05)
        assert self._writer > 0, "no run has come to the part"
        self._note.unlink()

    def open(self) -> None:
        """Let the waiting run go on; it finds that the part is not made."""
        os.close(self._writer)

    def _come(self) -> int:
        with suppress(OSError):  # no process reads it yet
            return os.open(self._note, os.O_WRONLY | os.O_NONBLOCK)
        return 0


def ended(server: Server, run_id: str) -> str:
    """Return the status with which a run has ended."""
    return within(90, partial(server.ended, run_id))


def observed_parts(server: Server, run_id: str) -> list[int]:
    events = server.ask(OBSERVED, id=run_id)["logsForRun"]["events"]
    entries = [{each["label"]: each.get("intValue") for each in event["metadataEntries"]} for event in events if event]
    return [entry["part"] for entry in entries]


def process_of(server: Server, run_id: str) -> int:
    """Return the process of a run, which executes its steps itself or in its children."""
    events = server.ask(MESSAGES, id=run_id)["logsForRun"]["events"]
    pattern = r"Executing steps (?:in|using .*: parent) process \(pid: (\d+)\)"
    (found,) = [match for event in events if (match := re.search(pattern, event["message"]))]
    return int(found[1])


def kill_at(obstacle: Obstacle, server: Server, run_id: str) -> None:
    """Kill the process of the run at the obstacle; the run must fail."""
    obstacle.wait()
    os.kill(process_of(server, run_id), signal.SIGKILL)
    obstacle.open()
    assert ended(server, run_id) == "FAILURE"


def planned(server: Server, path: Path, parts: int = 6) -> ExportPlan:
    """Plan an export to a file, in so many parts."""
    request = ExportRequest("ex", "contacts", path=path, part_rows=1200 // parts)
    with RecordStore(Settings.from_environment(server.environment)) as store:
        plan = ExportWriter(store, "tester").plan(request)
    assert len(plan.parts) == parts
    return plan


def launched(server: Server, plan: ExportPlan, **tags: str) -> str:
    """Launch a run that makes the planned export."""
    params = {
        "selector": {
            "repositoryLocationName": "records",
            "repositoryName": "__repository__",
            "pipelineName": "export_contacts",
        },
        "runConfigData": {"ops": {"exports__contacts": {"config": {"export_id": plan.export_id}}}},
        "executionMetadata": {
            "tags": [{"key": f"dagster/{key}", "value": value} for key, value in ({"partition": "ex"} | tags).items()]
        },
    }
    answer = server.ask(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer["run"]["runId"]
    return run_id


def executed_again(server: Server, run_id: str) -> str:
    """Let an operator restart the failed run; returns the new run."""
    answer = server.ask(REEXECUTE, id=run_id)["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    again: str = answer["run"]["runId"]
    return again


def started_again(server: Server, run_id: str) -> str:
    """Return the run that the deployment has started because this one was killed."""

    def found() -> str:
        runs = server.ask(STARTED_AGAIN, id=run_id)["runsOrError"]["results"]
        return str(runs[0]["runId"]) if runs else ""

    return within(90, found)


def made(plan: ExportPlan) -> list[int]:
    """Return the parts of the export that exist."""
    return sorted(int(note.stem) + 1 for note in plan.work.glob("[0-9]*.json"))


@pytest.fixture(scope="module")
def parallel(folder: Path) -> Iterator[Server]:
    """A deployment of the same home, used instead of the shared one; each part has a process of its own."""
    with serving(folder, RECORDS_EXECUTOR="multiprocess", RECORDS_PROCESSES="2") as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> str:
    """Return the SHA-256 of the file that is exported without a deployment."""
    with RecordStore(Settings.from_environment(environment(folder))) as store:
        return ExportWriter(store, "tester").export(ExportRequest("ex", "contacts")).sha256


def test_a_killed_export_with_a_process_for_each_part_ends_whole_when_it_is_started_again(
    parallel: Server, undisturbed: str, tmp_path: Path
) -> None:
    plan = planned(parallel, tmp_path / "many.csv", parts=3)
    obstacle = Obstacle(plan, 2)
    run_id = launched(parallel, plan)
    obstacle.wait()
    assert within(60, lambda: 1 in made(plan), every=0.05)
    worker = psutil.Process(process_of(parallel, run_id))
    with dg.DagsterInstance.from_config(str(parallel.home / "dagster")) as instance:
        run = instance.get_run_by_id(run_id)
    assert run is not None
    tags = dict(run.tags)  # the web server hides this one
    assert tags[".dagster/records-process"].startswith(f"{run_id}@")
    assert tags[".dagster/records-process"].split(":")[1] == str(worker.pid)
    name = tags[".dagster/records-process"].partition("@")[2]
    assert lost_processes([name], None, Watch()) == []
    steps = worker.children(recursive=True)
    worker.kill()
    again = started_again(parallel, run_id)
    assert ended(parallel, again) == "SUCCESS"
    assert ended(parallel, run_id) == "FAILURE"
    assert lost_processes([name], None, Watch()) == [name]
    assert [step for step in steps if step.is_running()]  # they live on
    obstacle.open()
    assert psutil.wait_procs(steps, timeout=60)[1] == []

    done = [it for it in parallel.records("exports")["items"] if it["path"] == str(plan.path)]
    assert [(it["sha256"], it["run_id"]) for it in done] == [(undisturbed, again)]
    assert hashlib.sha256(plan.path.read_bytes()).hexdigest() == undisturbed  # and they do no harm
    executed = {
        match[1]
        for event in parallel.ask(MESSAGES, id=run_id)["logsForRun"]["events"]
        if (match := re.fullmatch(r'Executing step "exports__contacts\.(.*)" in subprocess\.', event["message"]))
    }
    assert {"plan_export", "make_part[000001]"} <= executed


def test_an_export_with_a_process_for_each_part_is_cancelled(parallel: Server, tmp_path: Path) -> None:
    plan = planned(parallel, tmp_path / "cancelled.csv", parts=3)
    obstacle = Obstacle(plan, 2)
    run_id = launched(parallel, plan)
    obstacle.wait()
    parallel.ask(TERMINATE, id=run_id)
    assert ended(parallel, run_id) == "CANCELED"
    obstacle.open()
    assert list(tmp_path.iterdir()) == []


def test_the_pages_follow_and_cancel_a_run_also_after_they_were_started_again(parallel: Server, tmp_path: Path) -> None:
    plan = planned(parallel, tmp_path / "page.csv", parts=3)
    obstacle = Obstacle(plan, 2)
    settings = Settings.from_environment(parallel.environment)
    run = Deployment(settings).submit_export(plan)
    obstacle.wait()
    assert within(60, lambda: 1 in made(plan), every=0.05)
    origin, place = "http://127.0.0.1", f"/a/ex/export/{plan.export_id}"
    sender = {"headers": {"Origin": origin}, "follow_redirects": False, "client": ("127.0.0.1", 1)}
    for _ in range(2):
        with TestClient(application(settings), origin, **sender) as client:  # type: ignore[arg-type]
            state = client.get(f"/api/accounts/ex/exports/{plan.export_id}").json()
            assert (state["status"], state["rows"]) == ("making", 1200)
            assert plan.parts[0].rows <= state["rows_done"] < 1200
            assert "go-on" not in client.get(place).text  # the run goes on by itself

    with TestClient(application(settings), origin, **sender) as client:  # type: ignore[arg-type]
        assert client.post(f"{place}/cancel", data={"sure": "yes"}).status_code == 303
        assert ended(parallel, run.run_id) == "CANCELED"
        obstacle.open()
        assert client.get(place).status_code == 404
    assert not Deployment(settings).is_exporting(plan.export_id)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_lost_with_the_machine_is_taken_up_again(
    parallel: Server, undisturbed: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plan = planned(parallel, tmp_path / "lost.csv", parts=3)
    obstacle = Obstacle(plan, 2)
    run_id = launched(parallel, plan)
    obstacle.wait()
    kill(parallel.process)
    obstacle.open()
    assert not plan.path.exists()

    server: Server = request.getfixturevalue("server")
    again = started_again(server, run_id)
    assert ended(server, again) == "SUCCESS"
    assert ended(server, run_id) == "FAILURE"
    manifest = json.loads(Path(f"{plan.path}.manifest.json").read_text())
    assert (manifest["rows"], manifest["sha256"], manifest["run_id"]) == (1200, undisturbed, again)


def test_an_export_of_many_records_is_left_to_the_deployment(server: Server, undisturbed: str, tmp_path: Path) -> None:
    few = Server(server.process, server.url, server.home, {**server.environment, "RECORDS_BACKGROUND_ROWS": "1200"})

    printed = few.records("export", "-a", "ex", "-t", "contacts", "-o", str(tmp_path / "out.csv"))

    assert printed == printed | {"status": "submitted", "rows": 1200, "path": str(tmp_path / "out.csv"), "sha256": None}
    assert printed["url"] == f"{server.url}/runs/{printed['run_id']}"
    assert ended(server, printed["run_id"]) == "SUCCESS"
    (done,) = [it for it in server.records("exports")["items"] if it["export_id"] == printed["export_id"]]
    assert [done[name] for name in ("status", "sha256", "run_id", "actor")] == [
        "done",
        undisturbed,
        printed["run_id"],
        "tester",
    ]
    assert (tmp_path / "out.csv").stat().st_size == done["bytes"]
    fewer = few.records("export", "-a", "ex", "-t", "contacts", "--where", "external_id != C-1")
    assert (fewer["status"], fewer["rows"]) == ("done", 1199)
    here = few.records("export", "-a", "ex", "-t", "contacts", "--foreground")
    assert (here["status"], here["sha256"]) == ("done", undisturbed)


def test_a_killed_export_ends_whole_when_the_deployment_starts_it_again(
    server: Server, undisturbed: str, tmp_path: Path
) -> None:
    plan = planned(server, tmp_path / "restarted.csv")
    obstacle = Obstacle(plan, 4)
    run_id = launched(server, plan)
    kill_at(obstacle, server, run_id)
    assert made(plan) == observed_parts(server, run_id) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []

    again = started_again(server, run_id)

    assert ended(server, again) == "SUCCESS"
    require_whole(plan, undisturbed, again)
    assert observed_parts(server, again) == [4, 5, 6]


def test_a_cancelled_and_then_killed_export_ends_whole_when_it_is_executed_again_from_failure(
    server: Server, undisturbed: str, tmp_path: Path
) -> None:
    plan = planned(server, tmp_path / "out.csv")
    obstacle = Obstacle(plan, 4)
    cancelled = launched(server, plan, max_retries="0")
    obstacle.wait()
    server.ask(TERMINATE, id=cancelled)
    assert ended(server, cancelled) == "CANCELED"
    obstacle.open()
    assert made(plan) == observed_parts(server, cancelled) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []

    obstacle = Obstacle(plan, 5)
    killed = executed_again(server, cancelled)
    kill_at(obstacle, server, killed)
    assert made(plan) == [1, 2, 3, 4]
    assert observed_parts(server, killed) == [4]
    assert list(tmp_path.iterdir()) == []

    again = executed_again(server, killed)

    assert ended(server, again) == "SUCCESS"
    require_whole(plan, undisturbed, again)
    assert observed_parts(server, again) == [5, 6]


def require_whole(plan: ExportPlan, sha256: str, run_id: str) -> None:
    """Check that the file of the export is right, and that the run has published it."""
    manifest = json.loads(Path(f"{plan.path}.manifest.json").read_text())
    assert (manifest["rows"], manifest["sha256"], manifest["run_id"]) == (1200, sha256, run_id)
    assert hashlib.sha256(plan.path.read_bytes()).hexdigest() == sha256


def test_without_a_deployment_the_export_is_made_here(tmp_path: Path) -> None:
    settings = environment(tmp_path) | {"RECORDS_BACKGROUND_ROWS": "1", "RECORDS_DAGSTER_URL": "http://127.0.0.1:9"}
    with RecordStore(Settings.from_environment(settings)) as store:
        store.initialise(load_record_types())
        put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")

    command = [COMMAND, "export", "-a", "ua", "-t", "contacts", "--json"]
    done = COMMAND_LINE.run(command, env=settings, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["status"] == "done"
    assert done.stderr == "No deployment answers at http://127.0.0.1:9. The export is made in this process.\n"
    del settings["RECORDS_DAGSTER_URL"]
    with pytest.raises(NoDeployment, match=r"there is no ui\.json, and RECORDS_DAGSTER_URL is not set"):
        Deployment(Settings.from_environment(settings)).submit("export_contacts", "ua", {})
