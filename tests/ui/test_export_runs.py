"""Exports in a deployment that runs: submitted by the command, killed, cancelled, and taken up again from failure."""

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipelines.deployment import Deployment
from pipelines.runs import _is_alive, is_lost
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.errors import NoDeployment
from tests.records import put
from tests.serving import COMMAND, Server, environment, kill, serving, within
from tests.test_runs import NOW, record
from tests.test_ui import STATUS

PARTS = 40
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
TAGS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`records ui` over a store in which account ua has 2,000 contacts."""
    folder = tmp_path_factory.mktemp("runs")
    fill(folder)
    with serving(folder) as server:
        yield server


def fill(folder: Path) -> None:
    with RecordStore(Settings.from_environment(environment(folder))) as store:
        store.initialise(load_record_types())
        put(store, "SELECT 'C-' || i AS external_id, 'lead' AS status, md5(i::VARCHAR) AS notes FROM range(2000) t(i)")


def status(server: Server, run_id: str) -> str:
    """How a run has ended; empty while it has not."""
    now: str = server.ask(STATUS, id=run_id)["runOrError"]["status"]
    return now if now in ("SUCCESS", "FAILURE", "CANCELED") else ""


def ended(server: Server, run_id: str) -> str:
    return within(90, partial(status, server, run_id))


def observed_parts(server: Server, run_id: str) -> list[int]:
    events = server.ask(OBSERVED, id=run_id)["logsForRun"]["events"]
    entries = [{each["label"]: each.get("intValue") for each in event["metadataEntries"]} for event in events if event]
    return [entry["part"] for entry in entries]


def process_of(server: Server, run_id: str) -> int:
    """The process of a run, in which its steps are executed, or by whose children."""
    events = server.ask(MESSAGES, id=run_id)["logsForRun"]["events"]
    told = r"Executing steps (?:in|using .*: parent) process \(pid: (\d+)\)"
    (found,) = [match for event in events if (match := re.search(told, event["message"]))]
    return int(found[1])


def launched(server: Server, path: Path, parts: int = PARTS, **tags: str) -> str:
    """A run of an export in so many parts to a file."""
    config = {"part_rows": 2000 // parts, "path": str(path)}
    params = {
        "selector": {
            "repositoryLocationName": "records",
            "repositoryName": "__repository__",
            "pipelineName": "export_contacts",
        },
        "runConfigData": {"ops": {"exports__contacts": {"config": config}}},
        "executionMetadata": {
            "tags": [{"key": f"dagster/{key}", "value": value} for key, value in ({"partition": "ua"} | tags).items()]
        },
    }
    answer = server.ask(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer["run"]["runId"]
    return run_id


def started_again(server: Server, run_id: str) -> str:
    """The run that the deployment has started because this one was killed."""

    def found() -> str:
        runs = server.ask(STARTED_AGAIN, id=run_id)["runsOrError"]["results"]
        return str(runs[0]["runId"]) if runs else ""

    return within(90, found)


def made(server: Server, path: Path) -> int:
    """How many parts of the export to a file there are."""
    for plan in (server.home / "accounts/ua/exports").glob("*/plan.json"):
        if json.loads(plan.read_text())["path"] == str(path):
            return len(list((plan.parent / "parts").glob("[0-9]*.json")))
    return 0


def test_an_export_of_many_records_is_left_to_the_deployment(server: Server, tmp_path: Path) -> None:
    here = server.records("export", "-a", "ua", "-t", "contacts", "--foreground")
    few = Server(server.process, server.url, server.home, {**server.environment, "RECORDS_BACKGROUND_ROWS": "2000"})

    told = few.records("export", "-a", "ua", "-t", "contacts", "-o", str(tmp_path / "out.csv"))

    assert told == told | {"status": "submitted", "rows": 2000, "path": str(tmp_path / "out.csv"), "sha256": None}
    assert told["url"] == f"{server.url}/runs/{told['run_id']}"
    assert ended(server, told["run_id"]) == "SUCCESS"
    (done,) = [it for it in server.records("exports")["items"] if it["export_id"] == told["export_id"]]
    assert [done[name] for name in ("status", "sha256", "run_id", "actor")] == [
        "done",
        here["sha256"],
        told["run_id"],
        "tester",
    ]
    assert (tmp_path / "out.csv").stat().st_size == done["bytes"]
    fewer = few.records("export", "-a", "ua", "-t", "contacts", "--where", "external_id != C-1")
    assert (fewer["status"], fewer["rows"]) == ("done", 1999)


def test_a_killed_and_a_cancelled_export_end_whole_when_they_are_executed_again_from_failure(
    server: Server, tmp_path: Path
) -> None:
    undisturbed = server.records("export", "-a", "ua", "-t", "contacts", "--foreground")["sha256"]
    paths = {name: tmp_path / f"{name}.csv" for name in ("killed", "cancelled", "restarted")}

    def kill_run(run_id: str) -> None:
        os.kill(process_of(server, run_id), signal.SIGKILL)

    ends: Mapping[str, Callable[[str], object]] = {
        "killed": kill_run,
        "cancelled": lambda run_id: server.ask(TERMINATE, id=run_id),
        "restarted": kill_run,
    }
    runs = {}
    for name, end in ends.items():
        tags = {} if name == "restarted" else {"max_retries": "0"}
        runs[name] = launched(server, paths[name], PARTS, **tags)
        assert within(60, lambda path=paths[name]: made(server, path) >= 3, every=0.05)  # type: ignore[misc]
        end(runs[name])
    assert [ended(server, run_id) for run_id in runs.values()] == ["FAILURE", "CANCELED", "FAILURE"]

    by_hand = ("killed", "cancelled")
    before = {name: (made(server, paths[name]), observed_parts(server, runs[name])) for name in by_hand}
    for parts, _ in before.values():
        assert 3 <= parts < PARTS
    assert [path for name in by_hand for path in tmp_path.glob(f"{name}*")] == []

    again = {"restarted": started_again(server, runs["restarted"])}
    for name in by_hand:
        answer = server.ask(REEXECUTE, id=runs[name])["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        again[name] = answer["run"]["runId"]
    for name, run_id in again.items():
        assert ended(server, run_id) == "SUCCESS"
        manifest = json.loads(Path(f"{paths[name]}.manifest.json").read_text())
        assert (manifest["rows"], manifest["sha256"], manifest["run_id"]) == (2000, undisturbed, run_id)
    for name, (parts, observed) in before.items():
        remade = observed_parts(server, again[name])
        assert {*observed, *remade} == set(range(1, PARTS + 1))
        assert len(observed) + len(remade) <= PARTS + 1  # the one at which it was ended may be told of twice
        assert len(remade) >= PARTS - parts - 1  # of the one that was being made the file may be there already


def test_a_run_that_is_lost_with_the_machine_is_taken_up_again(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "lost.csv"
    with serving(tmp_path) as server:
        run_id = launched(server, path)
        assert within(60, lambda: made(server, path) >= 3, every=0.05)
        kill(server.process)
    assert not path.exists()

    with serving(tmp_path) as server:
        again = started_again(server, run_id)
        assert ended(server, again) == "SUCCESS"
        assert status(server, run_id) == "FAILURE"
    assert json.loads(Path(f"{path}.manifest.json").read_text())["rows"] == 2000


def test_a_killed_export_whose_parts_have_processes_of_their_own_ends_whole_when_it_is_started_again(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    path = tmp_path / "many.csv"
    with serving(tmp_path, RECORDS_EXPORT_PROCESSES="2") as server:
        undisturbed = server.records("export", "-a", "ua", "-t", "contacts", "--foreground")["sha256"]
        run_id = launched(server, path, parts=4)
        assert within(60, lambda: made(server, path) >= 1, every=0.05)
        worker = psutil.Process(process_of(server, run_id))
        told = {tag["key"]: tag["value"] for tag in server.ask(TAGS, id=run_id)["runOrError"]["tags"]}
        assert told["records/process"].startswith(f"{run_id}@")
        assert told["records/process"].split(":")[1] == str(worker.pid)
        assert not is_lost(record(timedelta(hours=1), run_id, **told), NOW, _is_alive)
        steps = worker.children(recursive=True)
        worker.kill()
        again = started_again(server, run_id)
        assert ended(server, again) == "SUCCESS"
        assert status(server, run_id) == "FAILURE"
        assert is_lost(record(timedelta(0), run_id, **told), NOW, _is_alive)
        assert psutil.wait_procs(steps, timeout=60)[1] == []  # they live on for a while, and do no harm

        done = [it for it in server.records("exports")["items"] if it["path"] == str(path)]
        assert [(it["sha256"], it["run_id"]) for it in done] == [(undisturbed, again)]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == undisturbed
        executed = {
            match[1]
            for event in server.ask(MESSAGES, id=run_id)["logsForRun"]["events"]
            if (match := re.fullmatch(r'Executing step "exports__contacts\.(.*)" in subprocess\.', event["message"]))
        }
        assert {"plan_export", "make_part[000001]"} <= executed


def test_without_a_deployment_the_export_is_made_here(tmp_path: Path) -> None:
    settings = environment(tmp_path) | {"RECORDS_BACKGROUND_ROWS": "1", "RECORDS_DAGSTER_URL": "http://127.0.0.1:9"}
    with RecordStore(Settings.from_environment(settings)) as store:
        store.initialise(load_record_types())
        put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")

    command = [COMMAND, "export", "-a", "ua", "-t", "contacts", "--json"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["status"] == "done"
    assert done.stderr == "No deployment answers at http://127.0.0.1:9. The export is made here.\n"
    del settings["RECORDS_DAGSTER_URL"]
    with pytest.raises(NoDeployment, match=r"there is no ui\.json, and RECORDS_DAGSTER_URL is not set"):
        Deployment(Settings.from_environment(settings)).submit("export_contacts", "ua", {})
