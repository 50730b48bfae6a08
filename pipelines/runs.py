"""Tags of runs, and a sensor that fails runs without a process."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypedDict, Unpack

import dagster as dg

from resources.machines.claims import Claims
from resources.machines.database import WorkTables
from resources.machines.heartbeats import Watch, beats_of, is_running, machine_of, process_name
from resources.settings import Settings
from schemas.errors import RecordsError, StoreNotReady


class RunTags(TypedDict, total=False):
    """The tags of runs. They have names and ids of the store, never the name of a file or a value of a record."""

    account: str
    type: str
    actor: str
    batch: str
    bundle: str
    export: str
    deliveries: str


TAGS = frozenset(f"records/{name}" for name in RunTags.__annotations__)
"""The tags of runs, with their whole names in Dagster."""

ACCOUNT, BATCH = "records/account", "records/batch"
HIDDEN = ".dagster/records-"
"""The beginning of tags that are only for our sensors. Dagster's pages do not show them."""

_PROCESS = f"{HIDDEN}process"
_RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_WATCH = Watch()
"""What this code server has seen of the processes of runs, at the ticks so far."""


def tag_run(context: dg.OpExecutionContext, **tags: Unpack[RunTags]) -> None:
    """Tag the run, so that people can search for it: records/account=ua."""
    context.instance.add_run_tags(
        context.run_id, {f"records/{name}": str(value) for name, value in tags.items() if value}
    )


def tag_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag the run with this process. Its steps may be executed in others."""
    instance.add_run_tags(run_id, {_PROCESS: f"{run_id}@{process_name()}"})


@dg.sensor(
    minimum_interval_seconds=20,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fail runs that are shown as started but have no process any more. Dagster starts them again.",
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Fail runs that have lost their process or its machine. The deployment's run_retries start them again.

    With PostgreSQL, each process counts upwards in the catalog's database. Without it, there is one machine only. If
    the user may make no tables there, this says so: an error at each tick would hide other errors.
    """
    found = {record.dagster_run.run_id: record.dagster_run for record in _running(context.instance)}
    try:
        lost = fail_lost_runs(context.instance, Settings.from_environment(), _WATCH)
    except StoreNotReady as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(f"{len(lost)} of {len(found)} running runs were lost." if lost else "No run is lost.")


def fail_lost_runs(instance: dg.DagsterInstance, settings: Settings, watch: Watch) -> list[str]:
    """Fail the runs with a process that is gone, and end the steps that they have left. Returns their ids."""
    runs = {process_of(record.dagster_run): record.dagster_run for record in _running(instance)}
    if settings.postgres is None:
        lost = lost_processes(runs, None, watch)
        claims = None
    else:
        tables = WorkTables(settings)
        claims = Claims(tables)
        try:
            lost = lost_processes(runs, beats_of(tables, runs), watch)
            claims.sweep()
        except RecordsError:
            watch.forget()
            tables.close()
            raise
    try:
        for process in lost:
            run = runs[process]
            if claims is not None:
                claims.revoke(run.run_id)
                claims.release(process)
            where = f" on {machine_of(process)}" if ":" in process else ""
            instance.report_run_failed(
                run, f"The process of this run{where} is gone: it was killed, or its machine stopped."
            )
    finally:
        if claims is not None:
            tables.close()
    return [runs[process].run_id for process in lost]


def process_of(run: dg.DagsterRun) -> str:
    """Returns the name of the process that has the run; a name that no process has if it noted none yet.

    A retry copies the tags of the first run. So it has the first run's process until it notes its own.
    """
    run_id, _, process = run.tags.get(_PROCESS, "").partition("@")
    return process if run_id == run.run_id else f"none of {run.run_id}"


def lost_processes(
    processes: Iterable[str],
    beats: Mapping[str, int | None] | None,
    watch: Watch,
    running: Callable[[str], bool | None] = is_running,
) -> list[str]:
    """Returns the processes that are gone, of those that have a run.

    A process without a counter is looked for on this machine. beats: None if processes have no counters.
    """
    counters = {} if beats is None else beats
    gone, watched = set(), {}
    for process in processes:
        is_noted = ":" in process
        lives = running(process) if is_noted and counters.get(process) is None else None
        if lives is False:
            gone.add(process)
        elif lives is None and (beats is not None or not is_noted):
            watched[process] = counters.get(process)
    return sorted(gone | watch.still(watched))


def _running(instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    return list(instance.get_run_records(dg.RunsFilter(statuses=_RUNNING)))
