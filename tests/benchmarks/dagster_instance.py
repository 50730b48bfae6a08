"""Measures a running `records ui`: how long imports and rollbacks take, and whether its memory grows.

`python -m tests.benchmarks.dagster_instance` prints a table. It starts the servers itself, on loopback.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.contacts_file import write_contacts
from tests.serving import Server, children, serving

_RECORDS = 10_000
_RUNS = 3
_TICKS, _FIRST_TICKS = 300, 50
_GROWTH = 1.05
_JOB = {"repositoryLocationName": "records", "repositoryName": "__repository__"}
_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData!) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_SENSOR = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { ticks(limit: 1000) { tickId } } } }
}
"""


def main() -> None:
    """Print the three numbers beside their targets."""
    with tempfile.TemporaryDirectory(prefix="records-") as folder:
        with serving(Path(folder)) as server:
            landed, rolled_back = zip(*(_day(server, number) for number in range(_RUNS)), strict=True)
        ticking = f"{Path(__file__).with_name('ticking')}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        with serving(Path(folder), PYTHONPATH=ticking) as server:
            before = _ticked(server)
            first, last = (_memory_at(server, before + ticks) for ticks in (_FIRST_TICKS, _TICKS))
    print("| What | Measured | Target |\n| --- | --- | --- |")
    _print(f"from a file's landing to its committed batch, {_RECORDS:,} records", landed, 20)
    _print("from the launch of a rollback to its success", rolled_back, 10)
    shown = f"{first / 1e6:,.0f} MB after {_FIRST_TICKS} ticks, {last / 1e6:,.0f} MB after {_TICKS}: {last / first:.3f}"
    print(f"| memory of all servers at a tick a second | {shown} | ≤ {_GROWTH}: {_verdict(last <= _GROWTH * first)} |")


def _day(server: Server, number: int) -> tuple[float, float]:
    """Return the seconds from a file's arrival to its batch, and from the launch of its rollback to the success."""
    account = f"account-{number}"
    server.records("accounts", "add", account)
    inbox = server.home / "inbox" / account / "contacts"
    _until(inbox.is_dir)
    part = inbox / "contacts.csv.part"
    write_contacts(part, _RECORDS)
    time.sleep(12)  # wait until the sensor has seen it
    started = time.monotonic()
    part.rename(inbox / "contacts.csv")
    (batch,) = _until(lambda: server.records("batches", "-a", account, "--status", "committed")["items"])
    landed = time.monotonic() - started

    config = {"account": account, "batch_id": batch["batch_id"]}
    started = time.monotonic()
    run = server.ask(_LAUNCH, selector=_JOB | {"pipelineName": "roll_back_batch"}, config=config)["launchRun"]["run"]
    _until(lambda: server.ask(_STATUS, id=run["runId"])["runOrError"]["status"] == "SUCCESS")
    return landed, time.monotonic() - started


def _memory_at(server: Server, ticks: int) -> int:
    """Return the private bytes of the servers after so many ticks of the inbox sensor."""
    _until(lambda: _ticked(server) >= ticks, seconds=3600)
    return sum(process.memory_full_info().uss for process in children(server.process))


def _ticked(server: Server) -> int:
    selector = {"repositoryLocationName": "records", "repositoryName": "__repository__", "sensorName": "file_arrival"}
    return len(server.ask(_SENSOR, selector=selector)["sensorOrError"]["sensorState"]["ticks"])


def _until(what: Callable[[], Any], seconds: float = 120) -> Any:
    """Return the first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Nothing has come of it within {seconds:g} seconds.")
        time.sleep(0.1)
    return answer


def _print(what: str, seconds: tuple[float, ...], target: float) -> None:
    median = statistics.median(seconds)
    shown = f"{median:.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
    print(f"| {what} | {shown} | ≤ {target} s: {_verdict(median <= target)} |")


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
