"""Tags of runs, and a sensor that fails runs without a process."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import dagster as dg
import psutil

from resources.clock import SystemClock

ACCOUNT, BATCH = "records/account", "records/batch"
HIDDEN = ".dagster/records-"
"""The beginning of tags that are only for our sensors. Dagster's pages do not show them."""

_PROCESS = f"{HIDDEN}process"
_UNTAGGED_FOR = timedelta(seconds=60)
"""How long a started run may lack the tag of its process, which is the first thing that it writes."""
_RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def tag_run(context: dg.OpExecutionContext, **tags: str) -> None:
    """Tag the run, so that people can search for it: records/account=ua."""
    context.instance.add_run_tags(context.run_id, {f"records/{name}": value for name, value in tags.items() if value})


def tag_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag the run with this process. Its steps may be executed in others."""
    instance.add_run_tags(run_id, {_PROCESS: f"{run_id}@{_name(os.getpid())}"})


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fail runs that are shown as started but have no process any more. Dagster starts them again.",
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Fail runs of this machine that have lost their process. The deployment's run_retries start them again.

    Runs of another machine end with the deployment's `max_runtime_seconds`, unless a sensor there fails them.
    """
    now = SystemClock().now()
    found = context.instance.get_run_records(dg.RunsFilter(statuses=_RUNNING))
    lost = [record.dagster_run for record in found if is_lost(record, now, _is_alive)]
    for run in lost:
        context.instance.report_run_failed(
            run, "The process of this run is gone: it was killed, or the machine restarted."
        )
    return dg.SkipReason(f"{len(lost)} of {len(found)} running runs were lost." if lost else "No run is lost.")


def is_lost(record: dg.RunRecord, now: datetime, is_alive: Callable[[str], bool | None]) -> bool:
    """Returns whether the run's process is gone. `is_alive` returns None for a process of another machine.

    A retry copies the tags of the first run. So it has the first run's process until it tags its own.
    """
    run_id, _, process = record.dagster_run.tags.get(_PROCESS, "").partition("@")
    if run_id == record.dagster_run.run_id:
        return is_alive(process) is False
    return record.start_time is not None and datetime.fromtimestamp(record.start_time, UTC) + _UNTAGGED_FOR < now


def _name(number: int) -> str:
    """Returns the name of a process: machine, id and start time, because ids are used again."""
    return f"{socket.gethostname()}:{number}:{psutil.Process(number).create_time():.2f}"


def _is_alive(name: str) -> bool | None:
    host, number, _ = name.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(number))
        return process.status() != psutil.STATUS_ZOMBIE and _name(process.pid) == name
    return False
