"""`records ui`: real servers, a real import, and what Dagster shows of it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.records import contact, write_csv

pytestmark = pytest.mark.xdist_group("ui")

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
COMMAND = str(BIN / "records")
T = TypeVar("T")

MATERIALISATIONS = """
query ($key: AssetKeyInput!, $account: String!) {
  assetOrError(assetKey: $key) {
    ... on Asset {
      assetMaterializations(partitions: [$account]) {
        partition
        metadataEntries {
          label
          ... on IntMetadataEntry { intValue }
          ... on TextMetadataEntry { text }
          ... on PathMetadataEntry { path }
        }
      }
    }
  }
}
"""
LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData!) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOCATIONS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


@dataclass(frozen=True)
class Server:
    """A running `records ui`, and the environment in which it and the command work."""

    process: "subprocess.Popen[str]"
    url: str
    home: Path
    environment: Mapping[str, str]

    def ask(self, query: str, **variables: Any) -> Any:
        """The data that GraphQL answers."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def records(self, *arguments: str) -> Any:
        """What the command prints that succeeds beside the server."""
        command = [COMMAND, *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def materialisations(self, record_type: str, account: str) -> list[dict[str, Any]]:
        """The metadata of each materialisation of records/<type> in the account's partition."""
        key = {"path": ["records", record_type]}
        found = self.ask(MATERIALISATIONS, key=key, account=account)["assetOrError"].get("assetMaterializations", [])
        assert {each["partition"] for each in found} <= {account}
        return [{entry["label"]: _value(entry) for entry in each["metadataEntries"]} for each in found]


def _value(entry: dict[str, Any]) -> Any:
    return next((entry[kind] for kind in ("intValue", "text", "path") if kind in entry), None)


def environment(folder: Path) -> dict[str, str]:
    """The environment of this process, with a home of its own and no other setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECORDS_", "DAGSTER_"))}
    return kept | {"RECORDS_HOME": str(folder / "home"), "RECORDS_ACTOR": "tester", "HOME": str(folder)}


def within(seconds: float, what: Callable[[], T], *, every: float = 0.5) -> T:
    """The first answer that is not empty; the last one when the time is up."""
    deadline = time.monotonic() + seconds
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`records ui` as a script's `records ui &` starts it: with SIGINT ignored."""
    folder = tmp_path_factory.mktemp("ui")
    process = subprocess.Popen(
        [COMMAND, "ui", "--port", "0", "--json"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield Server(process, url, folder / "home", environment(folder))
    finally:
        left = [*children(process), psutil.Process(process.pid)] if process.poll() is None else []
        for each in left:
            each.kill()
        process.communicate()


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_home_tells_where_the_ui_is(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert json.loads((server.home / "ui.json").read_text()) == {"url": server.url, "pid": server.process.pid}


def test_the_code_location_is_called_records(server: Server) -> None:
    assert server.ask(LOCATIONS)["repositoriesOrError"]["nodes"] == [
        {"name": "__repository__", "location": {"name": "records"}}
    ]


def test_an_import_by_the_command_shows_on_the_accounts_partition(server: Server, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1), contact(2)])

    imported = server.records("import", str(file), "-a", "ua", "-t", "contacts")
    shown = within(60, lambda: server.materialisations("contacts", "ua"))

    assert shown == [
        {
            "batch_id": imported["batch_id"],
            "account": "ua",
            "status": "committed",
            "actor": "tester",
            "file": "in.csv",
            "read": 2,
            "created": 2,
            "updated": 0,
            "unchanged": 0,
            "rejected": 0,
            "duplicate": 0,
            "report": imported["report_file"],
            "rollback_until": None,  # a moment, which this query does not ask for
            "snapshot": imported["snapshot"],
            "dagster/row_count": 2,
        }
    ]


def test_an_import_that_is_launched_in_the_ui_writes_the_records(server: Server, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "launched.csv", [contact(1), contact(2), contact(3)])
    config = {"account": "dl", "record_type": "contacts", "path": str(file), "actor": "olga"}
    job = {
        "repositoryLocationName": "records",
        "repositoryName": "__repository__",
        "pipelineName": "import_records",
    }

    launched = server.ask(LAUNCH, selector=job, config={"ops": {"import_file": {"config": config}}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]

    def ended() -> str:
        status: str = server.ask(STATUS, id=run_id)["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else ""

    assert within(90, ended) == "SUCCESS"
    (batch,) = server.records("batches", "-a", "dl")["items"]
    assert [batch[name] for name in ("status", "actor", "created", "run_id")] == ["committed", "olga", 3, run_id]
    (shown,) = within(60, lambda: server.materialisations("contacts", "dl"))
    assert (shown["batch_id"], shown["dagster/row_count"]) == (batch["batch_id"], 3)


def test_a_file_that_is_put_into_the_inbox_is_imported(server: Server) -> None:
    server.records("accounts", "add", "aa")
    folder = server.home / "inbox" / "aa" / "contacts"
    within(60, folder.exists)
    write_csv(folder / "in.csv.part", [contact(1), contact(2)]).rename(folder / "in.csv")

    def committed() -> list[Any]:
        return [it for it in server.records("batches", "-a", "aa")["items"] if it["status"] == "committed"]

    (batch,) = within(90, committed)
    assert [batch[name] for name in ("actor", "file", "created")] == ["inbox", "in.csv", 2]
    archived = server.home / "archive" / "aa" / "contacts" / batch["batch_id"] / "in.csv"
    assert within(30, archived.exists)
    assert list(folder.iterdir()) == []


def test_a_port_that_is_taken_and_a_home_that_is_served_are_refused(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    for wanted, why in ((port, f"Port {port} is in use."), ("0", f"The UI of this home runs already: {server.url}.")):
        command = [COMMAND, "ui", "--port", wanted, "--json"]
        ended = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, json.loads(ended.stdout)["error"]["message"]) == (2, why)
    assert json.loads((server.home / "ui.json").read_text())["url"] == server.url


def test_an_interrupt_ends_everything(server: Server) -> None:
    started = children(server.process)
    assert len(started) >= 3  # web server, daemon, code server

    server.process.send_signal(signal.SIGINT)

    assert server.process.wait(timeout=25) == 0  # after 30 s the servers would be killed
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert not (server.home / "ui.json").exists()


def quiet_dagster(folder: Path) -> dict[str, str]:
    """An environment in which Dagster's own commands tell nobody that they were used."""
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return environment(folder) | {"DAGSTER_HOME": str(folder), "VIRTUAL_ENV": str(BIN.parent)}


def test_the_workspace_loads(tmp_path: Path) -> None:
    command = [str(BIN / "dagster"), "definitions", "validate", "-w", "workspace.yaml"]

    ended = subprocess.run(command, cwd=ROOT, env=quiet_dagster(tmp_path), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "Validation successful for code location records." in ended.stdout + ended.stderr


def test_dg_sees_the_project(tmp_path: Path) -> None:
    command = [str(BIN / "dg"), "list", "defs", "--json"]

    ended = subprocess.run(command, cwd=ROOT, env=quiet_dagster(tmp_path), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert [asset["asset_key"] for asset in json.loads(ended.stdout)["assets"]] == [
        "exports/contacts",
        "exports/flights",
        "records/contacts",
        "records/flights",
    ]
