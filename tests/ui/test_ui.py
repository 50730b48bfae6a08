"""`records ui`: real servers, a real import, and what Dagster shows of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.records import contact, write_csv
from tests.serving import COMMAND, Server, children, environment, require_end, serving, within, words_of

pytestmark = pytest.mark.xdist_group("servers")

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

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
REPOSITORY = {"repositoryLocationName": "records", "repositoryName": "__repository__"}
IMPORT = REPOSITORY | {"pipelineName": "import_records"}
START_SENSOR = "mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) { __typename } }"
ADD_ACCOUNT = """
mutation ($repository: RepositorySelector!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "accounts", partitionKey: "zz") { __typename }
}
"""
LOCATIONS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


@pytest.fixture(scope="module")
def served(server: Server) -> str:
    """What the home says of the server, before viewers have another one."""
    return (server.home / "ui.json").read_text()


@pytest.fixture(scope="module")
def viewer(server: Server, served: str) -> Iterator[Server]:
    """A server for viewers, beside the other one."""
    with serving(server.home.parent, "--read-only") as viewer:
        yield viewer


@pytest.fixture(scope="module")
def imported(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Import two contacts of account ua by the command; returns what it prints."""
    file = write_csv(tmp_path_factory.mktemp("imported") / "in.csv", [contact(1), contact(2)])
    printed: dict[str, Any] = server.records("import", str(file), "-a", "ua", "-t", "contacts")
    return printed


def test_the_home_has_the_address_of_the_ui(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    printed = json.loads((server.home / "ui.json").read_text())
    assert printed == {"url": server.url, "files": printed["files"], "pid": server.process.pid}
    assert printed["files"].startswith("http://127.0.0.1:")


def test_the_code_location_is_called_records(server: Server) -> None:
    assert server.ask(LOCATIONS)["repositoriesOrError"]["nodes"] == [
        {"name": "__repository__", "location": {"name": "records"}}
    ]


def test_an_import_by_the_command_shows_on_the_accounts_partition(server: Server, imported: dict[str, Any]) -> None:
    shown = within(60, lambda: server.materialisations("contacts", "ua"))

    assert shown == [
        {
            "batch_id": imported["batch_id"],
            "account": "ua",
            "status": "committed",
            "actor": "tester",
            "file": "in.csv",
            "committed_at": None,  # a timestamp, which this query does not ask for
            "read": 2,
            "created": 2,
            "updated": 0,
            "unchanged": 0,
            "rejected": 0,
            "duplicate": 0,
            "report": imported["report_file"],
            "report_link": None,  # this query does not request it, nor timestamps
            "page": None,  # a link as well
            "rollback_until": None,
            "snapshot": imported["snapshot"],
            "dagster/row_count": 2,
        }
    ]


def test_an_import_that_is_launched_in_the_ui_writes_the_records(server: Server, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "launched.csv", [contact(1), contact(2), contact(3)])
    config = {"account": "dl", "record_type": "contacts", "path": str(file), "actor": "olga"}

    launched = server.ask(LAUNCH, selector=IMPORT, config=config)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]

    assert within(90, partial(server.ended, run_id)) == "SUCCESS"
    (batch,) = server.records("batches", "-a", "dl")["items"]
    assert [batch[name] for name in ("status", "actor", "created", "run_id")] == ["committed", "olga", 3, run_id]
    (shown,) = within(60, lambda: server.materialisations("contacts", "dl"))
    assert (shown["batch_id"], shown["dagster/row_count"]) == (batch["batch_id"], 3)


def test_a_file_that_is_put_into_the_inbox_is_imported(server: Server) -> None:
    server.records("accounts", "add", "aa")
    folder = server.home / "inbox" / "aa" / "contacts"
    within(60, folder.exists)
    write_csv(folder / "in.csv.part", [contact(1), contact(2)]).rename(folder / "in.csv")

    archived = within(90, lambda: [*server.home.glob("archive/aa/contacts/*/in.csv")])
    (batch,) = server.records("batches", "-a", "aa")["items"]
    assert [batch[name] for name in ("status", "actor", "file", "created")] == ["committed", "inbox", "in.csv", 2]
    assert archived == [server.home / "archive" / "aa" / "contacts" / batch["batch_id"] / "in.csv"]
    assert list(folder.iterdir()) == []


def test_a_port_that_is_taken_and_a_home_that_is_served_are_refused(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    for wanted, why in (
        (port, f"Port {port} is in use."),
        ("0", f"The UI of this home is running already: {server.url}."),
    ):
        command = [COMMAND, "ui", "--port", wanted, "--json"]
        ended = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, json.loads(ended.stdout)["error"]["message"]) == (2, why)
    assert json.loads((server.home / "ui.json").read_text())["url"] == server.url


@dataclass(frozen=True)
class Asked:
    """Send a raw request; returns the answer."""

    status: int
    headers: Mapping[str, str]
    body: str


def ask_raw(url: str, method: str, path: str, body: str | None = None, **headers: str) -> Asked:
    """Send a request with these headers alone, written with _ for -; returns the answer."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    try:
        return Asked(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        )
    finally:
        connection.close()


RUNS = "{ runsOrError { ... on Runs { results { runId } } } }"
ATTACK = (
    'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "records", '
    'repositoryName: "__repository__", pipelineName: "preview_import"}, runConfigData: "{}"}) { __typename } }'
)


@pytest.mark.parametrize("which", ["the UI", "viewers"])
def test_no_page_of_another_site_is_answered(which: str, server: Server, request: pytest.FixtureRequest) -> None:
    asked: Server = server if which == "the UI" else request.getfixturevalue("viewer")
    host, json_type, evil = urlsplit(asked.url).netloc, {"Content_Type": "application/json"}, "http://evil.test"
    before, body = server.ask(RUNS), json.dumps({"query": ATTACK})
    refused = [
        ask_raw(asked.url, "GET", f"/graphql?query={quote(ATTACK)}"),
        ask_raw(asked.url, "POST", "/graphql", body, Content_Type="text/plain", Origin=evil),
        ask_raw(asked.url, "POST", "/graphql", body, Content_Type="text/plain"),
        ask_raw(asked.url, "POST", f"/graphql?query={quote(ATTACK)}"),
        ask_raw(asked.url, "POST", "/graphql", body, Origin=evil, **json_type),
        ask_raw(asked.url, "POST", "/graphql", body, Host="evil.test", Origin=evil, **json_type),
        ask_raw(asked.url, "POST", "/graphql", body, Sec_Fetch_Site="cross-site", **json_type),
        ask_raw(asked.url, "POST", "/report_asset_materialization/records/contacts?partition=ua"),
        ask_raw(asked.url, "GET", "/", Host="evil.test"),
        ask_raw(asked.url, "GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"),
    ]
    assert [each.status for each in refused] == [405, 403, 415, 415, 403, 421, 403, 415, 421, 403]
    for each in refused:
        assert each.body.count("\n") == 1, each.body
    socket = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    socket |= {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Protocol": "graphql-ws"}
    opened = [
        ask_raw(asked.url, "GET", "/graphql", **socket, **each).status
        for each in ({"Origin": f"http://{host}"}, {"Origin": evil}, {"Origin": "http://localhost:1"}, {})
    ]
    assert opened == [101, 403, 403, 403]
    assert server.ask(RUNS) == before
    page = ask_raw(asked.url, "GET", "/runs")
    assert page.status == 200
    assert "nonce-" in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].endswith(", frame-ancestors 'none'")
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "same-origin"


def test_viewers_see_what_there_is_and_can_change_nothing(
    server: Server, served: str, viewer: Server, imported: dict[str, Any]
) -> None:
    assert viewer.url != server.url
    (seen,) = within(60, lambda: viewer.materialisations("contacts", "ua"))
    assert (seen["batch_id"], seen["file"]) == (imported["batch_id"], "in.csv")
    refused = [viewer.ask(LAUNCH, selector=IMPORT, config={"account": "ua"})["launchRun"]["__typename"]]
    refused += viewer.ask(START_SENSOR, sensor=REPOSITORY | {"sensorName": "lost_runs"})["startSensor"].values()
    refused += viewer.ask(ADD_ACCOUNT, repository=REPOSITORY)["addDynamicPartition"].values()
    assert refused == ["UnauthorizedError"] * 3
    started = children(viewer.process)
    assert not any("dagster._daemon.cli:cli" in words_of(each) for each in started)

    viewer.process.send_signal(signal.SIGTERM)

    assert viewer.process.wait(timeout=28) == 0
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert (server.home / "ui.json").read_text() == served


def test_no_port_of_the_servers_is_without_the_guard(server: Server) -> None:
    """Every port of `records ui` and its children refuses a foreign host, or does not speak HTTP."""
    processes = [psutil.Process(server.process.pid), *children(server.process)]
    listening = {
        connection.laddr
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    files = json.loads((server.home / "ui.json").read_text())["files"]
    assert {address.port for address in listening} == {urlsplit(url).port for url in (server.url, files)}
    for url in (server.url, files):
        assert ask_raw(url, "GET", "/", Host="evil.test").status == 421


def test_there_are_no_pages_of_a_home_without_a_store(tmp_path: Path) -> None:
    command = [COMMAND, "ui", "--read-only", "--json"]
    ended = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (ended.returncode, json.loads(ended.stdout)["error"]["code"]) == (1, "store_not_ready")
    assert not (tmp_path / "home").exists()


def test_when_the_daemon_is_killed_all_end(tmp_path: Path) -> None:
    """A web server that lives on would show an outdated state. tests/browser kills the web server in this way."""
    with RecordStore(Settings.from_environment(environment(tmp_path))) as store:
        store.initialise(load_record_types())
    with serving(tmp_path) as server:
        require_end(server, "dagster._daemon.cli:cli")


def test_an_interrupt_ends_everything(server: Server) -> None:
    started = children(server.process)
    assert len(started) >= 3  # web server, daemon, code server

    server.process.send_signal(signal.SIGINT)

    assert server.process.wait(timeout=25) == 0  # after 30 s the servers would be killed
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert not (server.home / "ui.json").exists()


def quiet_dagster(folder: Path) -> dict[str, str]:
    """An environment in which Dagster's own commands send no usage data."""
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
