"""A real `records ui` for tests, and what tests ask of it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.forked_commands import COMMAND_LINE

COMMAND = str(Path(sys.executable).with_name("records"))
T = TypeVar("T")
PATIENCE = 4
"""How many times as long as on a quiet machine a test waits: other machines of this size share their cores."""

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
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass(frozen=True)
class Server:
    """A running `records ui`, and the environment of it and of the command."""

    process: "subprocess.Popen[str]"
    url: str
    home: Path
    environment: Mapping[str, str]

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def ended(self, run_id: str) -> str:
        """Return the status with which a run has ended; empty while it runs."""
        status: str = self.ask(STATUS, id=run_id)["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else ""

    def records(self, *arguments: str) -> Any:
        """Run the command beside the server; returns what it prints. It must succeed."""
        command = [COMMAND, *arguments, "--json"]
        done = COMMAND_LINE.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def materialisations(self, record_type: str, account: str) -> list[dict[str, Any]]:
        """Return the metadata of each materialisation of records/<type> in the account's partition."""
        key = {"path": ["records", record_type]}
        found = self.ask(MATERIALISATIONS, key=key, account=account)["assetOrError"].get("assetMaterializations", [])
        assert {each["partition"] for each in found} <= {account}
        return [{entry["label"]: _value(entry) for entry in each["metadataEntries"]} for each in found]


def _value(entry: dict[str, Any]) -> Any:
    return next((entry[kind] for kind in ("intValue", "text", "path") if kind in entry), None)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of this process, with a home of its own and no other setting of the project."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RECORDS_", "DAGSTER_"))}
    return inherited | {"RECORDS_HOME": str(folder / "home"), "RECORDS_ACTOR": "tester", "HOME": str(folder)}


def within(seconds: float, what: Callable[[], T], *, every: float = 0.5) -> T:
    """Return the first answer that is not empty, or the last one when the time is up.

    The seconds are those of a quiet machine.
    """
    deadline = time.monotonic() + PATIENCE * seconds
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


@contextmanager
def serving(folder: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Run `records ui` in the folder as a script's `records ui &` does: with SIGINT ignored."""
    process_environment = environment(folder) | settings
    process = subprocess.Popen(
        [COMMAND, "ui", "--port", "0", "--json", *options],
        cwd=folder,
        env=process_environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield Server(process, url, folder / "home", process_environment)
    finally:
        kill(process)
        if process.stdout is not None:
            process.stdout.close()


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return all descendants of a process."""
    return psutil.Process(process.pid).children(recursive=True)


def words_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; no words if it has ended."""
    with suppress(psutil.NoSuchProcess):  # also of one that nobody has waited for yet
        return process.cmdline()
    return []


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill the process and its descendants at once, as when the machine stops."""
    left = [*children(process), psutil.Process(process.pid)] if process.poll() is None else []
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def require_end(server: Server, killed: str) -> None:
    """Kill one of the servers, a process with this word; the others must end, and the command must fail."""
    started = children(server.process)
    (victim,) = (each for each in started if killed in words_of(each))
    victim.kill()

    assert server.process.wait(timeout=PATIENCE * 60) == 1
    _, alive = psutil.wait_procs(started, timeout=PATIENCE * 5)
    assert alive == []
    assert not (server.home / "ui.json").exists()
