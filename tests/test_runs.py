"""Runs with a process that is gone."""

import os
import subprocess
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from pipelines.runs import lost_processes, process_of
from resources.machines.database import WorkTables
from resources.machines.heartbeats import Watch, beating, beats_of, is_running, process_name
from resources.settings import Settings
from tests.serving import within

HERE, THERE, NONE = "here:1:2.00", "there:1:2.00", "none of r"


class Clock:
    """A clock that only one process reads."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize(
    ("process", "beats", "running", "lost_after"),
    [
        (HERE, None, True, None),
        (HERE, None, False, 0),
        (THERE, None, None, None),  # without counters there is one machine, which had another name
        (NONE, None, None, 40),  # a run notes its process at once
        (HERE, {HERE: 7}, False, 40),  # another machine may have the same name
        (THERE, {THERE: 7}, None, 40),
        (THERE, {}, None, 40),
        (HERE, {}, True, None),
        (HERE, {}, False, 0),
    ],
)
def test_a_run_is_lost_if_its_process_is_gone_or_its_counter_stands_still(
    process: str, beats: Mapping[str, int] | None, running: bool | None, lost_after: int | None
) -> None:
    clock = Clock()
    watch = Watch(40, clock)
    lost_at = None
    while lost_at is None and clock.time <= 200:
        if lost_processes([process], beats, watch, lambda _: running):
            lost_at = int(clock.time)
        clock.time += 20
    assert lost_at == lost_after


def test_a_counter_that_goes_on_is_not_still_nor_is_one_during_a_short_silence() -> None:
    clock = Clock()
    watch = Watch(40, clock)
    for beat in range(20):
        assert watch.still({THERE: beat}) == set()
        clock.time += 39
    for _ in range(9):  # many looks, but not for long
        assert watch.still({THERE: 19}) == set()
    clock.time += 1000
    watch.forget()  # the database did not answer meanwhile
    assert watch.still({THERE: 19}) == set()
    clock.time += 1000
    assert watch.still({THERE: 19}) == set()  # a long pause of the watcher itself is no third look
    assert watch.still({THERE: 19}) == {THERE}


@pytest.mark.runs_on("postgres")
def test_a_worker_with_many_short_steps_is_never_still(settings: Settings) -> None:
    clock, process = Clock(), process_name()
    watch, tables = Watch(40, clock), WorkTables(settings)
    for _ in range(20):  # each step ends before its second beat, and the run never looks between two steps
        with beating(settings, process):
            assert watch.still(beats_of(tables, [process])) == set()
        clock.time += 4
    tables.close()


def test_a_retry_has_no_process_until_it_notes_its_own() -> None:
    def run(**tags: str) -> Any:
        return SimpleNamespace(run_id="r", tags=tags)

    assert process_of(run(**{".dagster/records-process": f"r@{HERE}"})) == HERE
    assert process_of(run(**{".dagster/records-process": f"parent@{HERE}"})) == NONE
    assert process_of(run()) == NONE


def test_a_process_is_known_again_by_the_time_it_started() -> None:
    name = process_name()
    host, number, created = name.rsplit(":", 2)

    assert number == str(os.getpid())
    assert is_running(name) is True
    assert is_running(f"{host}:{number}:{float(created) - 1:.2f}") is False
    assert is_running(f"another machine:{number}:{created}") is None
    with subprocess.Popen(["true"]) as ended:
        gone = process_name(ended.pid)
        assert within(10, lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE, every=0.01)
        assert is_running(gone) is False
    assert is_running(gone) is False
