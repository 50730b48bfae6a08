"""Runs Dagster's sensor daemon, tick after tick, in a process that a test may kill; runs are executed within it."""

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg

from pipelines.arrivals import file_arrival, import_arrivals
from pipelines.store_resource import RecordsResource
from resources.settings import Settings
from tests.duckdb_opening import open_quickly
from tests.faults.steps import processes

_CONFIGURATION = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
run_launcher: {module: dagster._core.launcher.sync_in_memory_run_launcher, class: SyncInMemoryRunLauncher}
"""
_IMPORTED = (
    *("dagster._core.storage.sqlite_storage", "dagster._core.test_utils", "dagster._core.workspace.context"),
    *("dagster._daemon.sensor", "resources.importing.importer"),
)
_SECONDS = 10


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions that files arrive by."""
    return dg.Definitions(
        jobs=[import_arrivals],
        sensors=[file_arrival],
        resources={"records": RecordsResource()},
        executor=dg.in_process_executor,
    )


@contextmanager
def daemons() -> Iterator[Callable[..., int | None]]:
    """Yield a function that runs `make_rounds` in a new daemon process and returns its exit code.

    The daemons are forked from a process that has imported Dagster and does nothing else.
    """
    context = processes()
    ours, theirs = context.Pipe()
    parent = context.Process(target=_fork_daemons, args=(theirs,))
    parent.start()
    theirs.close()

    def end_of(*arguments: Any) -> int | None:
        ours.send(arguments)
        ended: int | None = ours.recv()
        return ended

    yield end_of
    ours.close()
    parent.join()


def _fork_daemons(asked: Connection) -> None:
    """Fork a daemon process for each set of arguments received, until there are no more."""
    warnings.simplefilter("ignore")
    for name in _IMPORTED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    while True:
        try:
            arguments = asked.recv()
        except EOFError:
            return
        daemon = context.Process(target=make_rounds, args=arguments)
        daemon.start()
        daemon.join()
        asked.send(daemon.exitcode)


def make_rounds(settings: Settings, began: float, numbers: range, fatal: str | None = None) -> None:
    """Run the daemon for some rounds, which are seconds apart on its clock.

    The process kills itself in the last round when the daemon reaches `fatal`, such as TICK_CREATED.
    """
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.test_utils import freeze_time
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
    from dagster._daemon.sensor import execute_sensor_iteration

    open_quickly()
    dagster_home = settings.home / "dagster"
    os.environ |= {"RECORDS_HOME": str(settings.home), "RECORDS_CATALOG": settings.postgres or ""}
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    dagster_home.mkdir(exist_ok=True)
    (dagster_home / "dagster.yaml").write_text(_CONFIGURATION)
    code = LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__)
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(code, location_name="records"))
    with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
        for number in numbers:
            flags = {"file_arrival": {fatal: signal.SIGKILL}} if fatal and number == numbers[-1] else {}
            with freeze_time(began + number * _SECONDS):
                for _ in execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None, None, flags):
                    pass
