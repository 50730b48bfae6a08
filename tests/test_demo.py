"""`records demo`: the main job on real data, as a stranger's first command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings

COMMAND = str(Path(sys.executable).with_name("records"))
AIRLINES = ["9e", "aa", "as", "b6", "dl", "ev", "f9", "fl", "ha", "mq", "oo", "ua", "us", "vx", "wn", "yv"]
FLIGHTS = 336_776


def demo() -> tuple[list[tuple[int, str]], dict[str, Any]]:
    """Rows and outcome of each step, and the whole report."""
    ended = subprocess.run([COMMAND, "demo", "--json"], capture_output=True, text=True, check=True)
    report = json.loads(ended.stdout)
    return [(step["rows"], step["outcome"]) for step in report["steps"]], report


@pytest.mark.runs_on("laptop", "server")
def test_the_demo_takes_all_flights_in_and_out_and_in_again(home: Path, setting: str) -> None:
    steps, report = demo()

    united = report["export"]["rows"]
    assert report["accounts"] == AIRLINES
    assert steps == [
        (FLIGHTS, "16 files"),
        (FLIGHTS, "336,776 created"),
        (FLIGHTS, "336,776 created"),
        (united, f"{united:,} unchanged"),
        (united, report["export"]["path"]),
        (united, f"{united:,} unchanged"),
    ]
    assert (report["export"]["account"], united) == ("ua", 58_665)
    # The promise is 45 s on two idle cores, which a test cannot ask for; the sum of the steps is what it can see.
    assert sum(step["seconds"] for step in report["steps"]) < 120
    with RecordStore(Settings.from_environment()) as store, store.reading() as connection:
        counted = connection.fetch_one(
            "SELECT count(*), count(DISTINCT _account), bool_and(_account = lower(carrier)) FROM lake.records.flights"
        )
    assert counted == (FLIGHTS, 16, True)

    if setting == "server":  # to repeat it takes seconds
        return
    steps_again, _ = demo()

    assert steps_again[1] == (FLIGHTS, "336,776 unchanged")
    assert steps_again[2] == (FLIGHTS, "336,776 unchanged")
