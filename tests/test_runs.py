"""Runs with a process that is gone."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest

from pipelines.runs import _is_alive, _name, is_lost
from tests.serving import within

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def record(started: timedelta | None = None, run_id: str = "r", **tags: str) -> Any:
    """Return a run that started so long ago."""
    at = None if started is None else (NOW - started).timestamp()
    return SimpleNamespace(dagster_run=SimpleNamespace(run_id=run_id, tags=tags), start_time=at)


@pytest.mark.parametrize(
    ("run", "alive", "lost"),
    [
        (record(timedelta(days=1), **{".dagster/records-process": "r@here:1:2.00"}), True, False),
        (record(timedelta(seconds=1), **{".dagster/records-process": "r@here:1:2.00"}), False, True),
        (record(timedelta(days=1), **{".dagster/records-process": "r@there:1:2.00"}), None, False),
        (record(timedelta(seconds=1), **{".dagster/records-process": "parent@here:1:2.00"}), False, False),
        (record(timedelta(seconds=61), **{".dagster/records-process": "parent@here:1:2.00"}), False, True),
        (record(timedelta(seconds=60)), None, False),
        (record(timedelta(seconds=61)), None, True),
        (record(), None, False),
    ],
)
def test_a_run_is_lost_when_its_process_is_gone_or_was_never_recorded(
    run: dg.RunRecord, alive: bool, lost: bool
) -> None:
    assert is_lost(run, NOW, lambda process: alive) is lost


def test_a_process_is_known_again_by_the_time_it_started() -> None:
    name = _name(os.getpid())
    host, number, created = name.rsplit(":", 2)

    assert _is_alive(name) is True
    assert _is_alive(f"{host}:{number}:{float(created) - 1:.2f}") is False
    assert _is_alive(f"another machine:{number}:{created}") is None
    with subprocess.Popen(["true"]) as ended:
        gone = _name(ended.pid)
        assert within(10, lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE, every=0.01)
        assert _is_alive(gone) is False
    assert _is_alive(gone) is False
