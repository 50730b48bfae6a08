"""A worker of Celery that executes steps: `records serve --role worker` becomes this program."""

import json
import logging
import socket
import time
from importlib import import_module
from typing import Any

import click
import dagster as dg
from celery import Celery, Task, signals
from celery.exceptions import Reject
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import pack_value, unpack_value
from dagster._utils.log import configure_loggers
from dagster_celery.tasks import create_task
from dagster_shared.record import replace

from pipelines.celery_steps import FILES, app_of, require_broker
from pipelines.executors import require_workable
from pipelines.logs import are_json
from resources.machines.claims import Claims, StepKey
from resources.machines.database import WorkTables
from resources.machines.heartbeats import beating, process_name
from resources.operator_file import digests_of
from resources.settings import Settings
from schemas import load_record_types
from schemas.errors import RecordsError

_LOG = logging.getLogger(__name__)
_PAUSE = 2.0
"""Seconds before a message goes back while the database does not answer."""

_READ = {"deliver_exports": ("exports.yaml", "quotas.yaml")}
_READ_BY_OTHERS = ("inbox.yaml", "quotas.yaml")
_PRELOADED = (
    *("pipelines.definitions", "resources.record_store.account_records", "resources.export_writer.inspection"),
    *("resources.importing.stager", "resources.inbox.object_store", "s3fs", "dagster_postgres"),
)


class _Step(Task):  # type: ignore[misc]  # Celery has no types
    """Claims a step, executes it, and writes its outcome. A step that another process has is left to that one."""

    def __call__(self, execute_step_args_packed: Any, executable_dict: Any) -> None:
        """Execute the step of a message. The message goes back if the claim cannot be written."""
        settings = Settings.from_environment()
        arguments = unpack_value(execute_step_args_packed, as_type=ExecuteStepArgs)
        key, tables, process = _key(arguments), WorkTables(settings), process_name()
        claims = Claims(tables)
        try:
            claims.release(process)  # it executes one step at a time: a claim without an outcome is of an earlier one
            with dg.DagsterInstance.get() as instance, beating(settings, process):
                run = instance.get_run_by_id(key.run_id)
                if run is None or run.status is not DagsterRunStatus.STARTED or not claims.take(key, process):
                    _LOG.info("%s of run %s is left alone: it is done, ended, or of another process.", *key_words(key))
                    return
                sent = (self.request.headers or {}).get(FILES) or self.request.get(FILES) or {}
                outcome = _refusal(settings, run.job_name, sent)
                if outcome is None:
                    own = replace(arguments, instance_ref=instance.get_ref())
                    outcome = self._executed(pack_value(own), executable_dict)
                if not claims.finish(key, process, json.dumps(outcome)):
                    _LOG.warning("%s of run %s was given to another process meanwhile.", *key_words(key))
        except RecordsError as error:
            _LOG.warning("%s", error)
            time.sleep(_PAUSE)
            raise Reject(requeue=True) from None
        finally:
            tables.close()

    def _executed(self, packed: Any, executable_dict: Any) -> dict[str, Any]:
        """Returns the events of the step, or why it could not begin. Failures of the step itself are events."""
        try:
            return {"events": self.run(packed, executable_dict)}
        except Exception as error:
            _LOG.exception("A step could not begin.")
            return {"error": f"{socket.gethostname()} could not begin the step: {type(error).__name__}: {error}"}


def key_words(key: StepKey) -> tuple[str, str]:
    """Returns the step and the run, for messages."""
    return key.step, key.run_id


def _key(arguments: ExecuteStepArgs) -> StepKey:
    (step,) = arguments.step_keys_to_execute or ()
    known = arguments.known_state
    return StepKey(arguments.run_id, step, 0 if known is None else known.get_retry_state().get_attempt_count(step))


def _refusal(settings: Settings, job: str, sent: dict[str, str]) -> dict[str, Any] | None:
    """Returns why a step is not executed here: this machine has other files of the operator than the run's machine."""
    own = digests_of(settings.home)
    differing = [name for name in _READ.get(job, _READ_BY_OTHERS) if name in sent and sent[name] != own[name]]
    if not differing:
        return None
    return {
        "error": f"{' and '.join(differing)} in {settings.home} of {socket.gethostname()} differ from those of the "
        "machine that has the run. Give all machines the same files, then execute the run again."
    }


def worker_app(settings: Settings) -> Celery:
    """Returns the application with the task that executes steps."""
    app = app_of(settings)
    create_task(app, base=_Step)
    return app


def _configure_logs() -> None:
    """Let all logs of this process have the form of Dagster's, if they are for people."""
    root, dagster = logging.getLogger(), logging.getLogger("dagster")
    if not are_json():
        configure_loggers()
        root.handlers, dagster.handlers = dagster.handlers, []
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)


@click.command()
def main() -> None:
    """Run the worker until it is ended. It ends after the steps that it executes."""
    settings = Settings.from_environment()
    require_workable(settings)
    require_broker(settings)
    signals.setup_logging.connect(lambda **_: _configure_logs(), weak=False)
    for module in _PRELOADED:  # before the processes are forked, so that they share the memory
        import_module(module)
    load_record_types()
    name = f"records@{socket.gethostname()}"
    options = ["--queues", "dagster", "--concurrency", str(settings.processes), "--hostname", name]
    worker_app(settings).worker_main(["worker", *options, "--without-gossip", "--without-mingle", "--loglevel", "INFO"])


if __name__ == "__main__":
    main()
