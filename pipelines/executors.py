"""In which processes the steps of a run are executed, and which process the run itself is."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines.runs import tell_process
from schemas import load_model, record_type_names

_PRELOADED = (
    *("pipelines.definitions", "resources.export_writer", "resources.record_store.account_records"),
    *("duckdb", "psycopg2", "pyarrow", "s3fs"),
)
"""What each step of an export imports, beside the record types: the server that its process is forked from has it."""


def executor_of(processes: int) -> dg.ExecutorDefinition:
    """One process for all steps of a run, or one for each, of which so many work at a time.

    DuckDB uses the cores already, and a process for each step costs seconds: that gains where the steps are long.
    """
    if processes <= 1:
        return _wrapped(dg.in_process_executor, _InProcess)
    modules = {load_model(name).__module__ for name in record_type_names()}
    forkserver = {"preload_modules": [*_PRELOADED, *sorted(modules)]}
    config = {"max_concurrent": processes, "start_method": {"forkserver": forkserver}}
    return _wrapped(dg.multiprocess_executor.configured(config, name="multiprocess"), _Telling)


class _Telling(dg.Executor):
    """An executor whose run tells its process before the first step, wherever the steps are executed."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        """Those of the executor."""
        return self._executor.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """The run's process is known, and the steps are executed."""
        tell_process(plan_context.instance, plan_context.dagster_run.run_id)
        yield from self._executor.execute(plan_context, execution_plan)


class _InProcess(_Telling):
    """One whose run ends when it is interrupted, as by who cancels it.

    Dagster itself takes that for a failure of the step: one with a retry policy is tried again, and the run succeeds.
    The executor of many processes ends by itself.
    """

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """The steps are executed, up to one that is interrupted."""
        for event in super().execute(plan_context, execution_plan):
            yield event
            if _is_interrupted(event):
                raise dg.DagsterExecutionInterruptedError


def _is_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a step is to be tried again because it was interrupted."""
    error = event.step_retry_data.error if event.is_step_up_for_retry else None
    cause = error.cause if error is not None else None
    return cause is not None and cause.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def _wrapped(executor: dg.ExecutorDefinition, wrapper: type[_Telling]) -> dg.ExecutorDefinition:
    create: Any = executor.executor_creation_fn
    schema: Any = executor.config_schema
    return dg.ExecutorDefinition(
        executor.name,
        schema,
        executor.get_requirements,
        lambda context: wrapper(create(context)),
        executor.description,
    )
