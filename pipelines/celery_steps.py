"""Steps that Celery's workers execute: how they are sent, and how a run learns what came of them.

Redis passes messages on and may lose them or deliver them twice. So what counts is in the catalog's database: a worker
claims a step before it executes it, and writes the outcome beside its claim. The run sends a step again if nobody has
claimed it for a while, or if the process that claimed it is gone.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
from celery import Celery
from celery.exceptions import TaskRevokedError
from dagster._core.execution.retries import RetryMode
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import pack_value
from dagster_celery import celery_executor
from dagster_celery.config import TASK_EXECUTE_PLAN_NAME, dict_wrapper
from dagster_celery.core_execution_loop import core_celery_execution_loop
from dagster_celery.executor import CeleryExecutor
from dagster_celery.make_app import make_app

from pipelines.celery_settings import celery_settings
from resources.machines.claims import Claim, Claims, StepKey
from resources.machines.database import WorkTables
from resources.machines.heartbeats import Watch, machine_of
from resources.operator_file import digests_of
from resources.settings import CELERY, Settings
from schemas.errors import RecordsError, StoreUnreachable

FILES = "operator_files"
"""The header of a message with the digests of the operator's files on the machine of the run."""

_SENT_AGAIN, _AT_MOST = 60.0, 600.0
"""Seconds after which a step that nobody has claimed is sent again: at first, and at most, as it doubles."""
_LOOK_SECONDS = 0.5


def celery_executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """Returns the executor of `dagster-celery`, with our way to send steps and to learn their outcomes.

    It takes no config from a run: the workers would not know it.
    """
    return dg.ExecutorDefinition(
        CELERY, {}, celery_executor.get_requirements, lambda context: _Celery(settings), celery_executor.description
    )


def app_of(settings: Settings) -> Celery:
    """Returns the Celery application of the run and of the workers: both have the same settings."""
    app: Celery = make_app({"broker": settings.broker, "config_source": dict_wrapper(celery_settings(settings.home))})
    return app


def require_broker(settings: Settings) -> None:
    """Raise StoreUnreachable if Redis does not answer. Its own words may quote the address with the password."""
    try:
        with app_of(settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=10)
    except Exception as error:
        raise StoreUnreachable(
            f"The Redis of RECORDS_BROKER does not answer: {type(error).__name__}.",
            "Check its address, its password, and that it runs: redis-cli ping.",
        ) from None


class _Celery(CeleryExecutor):
    """Executes the steps of a run by Celery's workers."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(RetryMode.ENABLED, broker=settings.broker, config_source=celery_settings(settings.home))  # type: ignore[no-untyped-call]
        self._settings = settings

    def app_args(self) -> dict[str, Any]:
        """Returns how the library makes its application: without a backend for results."""
        return {"broker": self.broker, "config_source": self.config_source}

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Send the steps as they become ready, until all have an outcome."""
        run_id = plan_context.dagster_run.run_id
        tables = WorkTables(self._settings)
        board = _Board(Claims(tables), run_id, plan_context.log.warning)
        files = digests_of(self._settings.home)

        def send(app: Celery, context: Any, step: Any, queue: str, priority: int, known_state: Any) -> "_SentStep":
            attempt = known_state.get_retry_state().get_attempt_count(step.key)
            message = {
                "execute_step_args_packed": pack_value(_arguments(context, step.key, known_state)),
                "executable_dict": context.reconstructable_job.to_dict(),
            }

            def publish() -> None:
                app.send_task(
                    TASK_EXECUTE_PLAN_NAME,
                    kwargs=message,
                    priority=priority,
                    queue=queue,
                    routing_key=f"{queue}.execute_plan",
                    headers={FILES: files},
                )

            return _SentStep(StepKey(run_id, step.key, attempt), board, publish)

        try:
            yield from core_celery_execution_loop(plan_context, execution_plan, step_execution_fn=send)
        finally:
            tables.close()


def _arguments(context: Any, step: str, known_state: Any) -> ExecuteStepArgs:
    """Returns what the worker needs. It takes the Dagster instance of its own home, which may have other folders."""
    return ExecuteStepArgs(
        job_origin=context.reconstructable_job.get_python_origin(),
        run_id=context.dagster_run.run_id,
        step_keys_to_execute=[step],
        instance_ref=None,
        retry_mode=context.executor.retries.for_inner_plan(),
        known_state=known_state,
        print_serialized_events=True,
    )


class _Board:
    """What is known of the steps of a run. One query serves all steps that ask within half a second."""

    def __init__(self, claims: Claims, run_id: str, warn: Callable[[str], None]) -> None:
        self.claims = claims
        self.warn = warn
        self._run_id = run_id
        self._watch = Watch()
        self._known: dict[StepKey, Claim] = {}
        self._looked_at = float("-inf")

    def claim(self, key: StepKey) -> Claim | None:
        """Returns the claim of a step; None if nobody has it. Steps of processes that are gone are free again.

        While the database does not answer, nothing changes.
        """
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._look()
        claim = self._known.get(key)
        return claim if claim is not None and (claim.is_done or claim.process is not None) else None

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            known = self.claims.of_run(self._run_id)
            beats = {it.process: it.beat for it in known.values() if it.process is not None and not it.is_done}
            for process in self._watch.still(beats):
                for freed in self.claims.release(process):
                    self.warn(f"{machine_of(process)} gives no sign of life. Its step {freed.step} starts again.")
                known = {
                    key: Claim(None, None, it.is_done) if it.process == process else it for key, it in known.items()
                }
            self._known = known
        except RecordsError as error:
            self._watch.forget()
            self.warn(str(error))


class _SentStep:
    """A step that was sent to the workers, with the methods of Celery's AsyncResult that the library calls."""

    def __init__(self, key: StepKey, board: _Board, publish: Callable[[], None]) -> None:
        self._key = key
        self._board = board
        self._publish = publish
        self._is_revoked = False
        self._was_claimed = False
        self._wait = _SENT_AGAIN
        self._send()

    def ready(self) -> bool:
        """Returns whether the step has an outcome. Sends it again if it may be lost."""
        if self._is_revoked:
            return True
        claim = self._board.claim(self._key)
        if claim is not None:
            self._was_claimed = not claim.is_done
            return claim.is_done
        if self._was_claimed or time.monotonic() >= self._due_at:
            self._was_claimed = False
            self._send()
            self._wait = min(2 * self._wait, _AT_MOST)
        return False

    def get(self) -> list[str]:
        """Returns the step's events. Raises TaskRevokedError if it was revoked."""
        if self._is_revoked:
            raise TaskRevokedError(self._key.step)
        return outcome_events(self._board.claims.outcome(self._key))

    def revoke(self) -> None:
        """End the run's steps: the process of each ends at its next beat, and the others never begin."""
        self._is_revoked = True
        self._board.claims.revoke(self._key.run_id)

    def _send(self) -> None:
        self._due_at = time.monotonic() + self._wait
        try:
            self._publish()
        except Exception as error:  # its text may have the broker's address
            self._board.warn(
                f"The Redis of RECORDS_BROKER took no message: {type(error).__name__}. "
                f"{self._key.step} is sent again in {self._wait:.0f} seconds."
            )


def outcome_events(outcome: str) -> list[str]:
    """Returns the events of an outcome as a worker wrote it. Raises RuntimeError if the step could not begin."""
    written = json.loads(outcome)
    if "error" in written:
        raise RuntimeError(written["error"])
    events: list[str] = written["events"]
    return events
