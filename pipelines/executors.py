"""Executors: they choose the processes for the steps of a run, and tag the run with its own process."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines.runs import tag_process
from schemas import load_model, record_type_names

_PRELOADED = (
    *("pipelines.definitions", "resources.export_writer", "resources.record_store.account_records"),
    *("duckdb", "psycopg2", "pyarrow", "s3fs"),
)
"""Modules that each step of an export imports, besides the record types. The fork server imports them once."""


def executor_of(processes: int) -> dg.ExecutorDefinition:
    """Returns an executor with one process for all steps, or with one for each step and so many at a time.

    DuckDB already uses all cores, and a process for each step costs seconds. So several processes pay off for long
    steps only.
    """
    if processes <= 1:
        return _wrapped(dg.in_process_executor, _InProcess)
    modules = {load_model(name).__module__ for name in record_type_names()}
    forkserver = {"preload_modules": [*_PRELOADED, *sorted(modules)]}
    config = {"max_concurrent": processes, "start_method": {"forkserver": forkserver}}
    return _wrapped(dg.multiprocess_executor.configured(config, name="multiprocess"), _Tagging)


class _Tagging(dg.Executor):
    """An executor that tags the run with its process before the first step."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        """The retries of the executor."""
        return self._executor.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Tag the run with its process and execute the steps."""
        tag_process(plan_context.instance, plan_context.dagster_run.run_id)
        yield from self._executor.execute(plan_context, execution_plan)


class _InProcess(_Tagging):
    """An executor that ends the run on an interrupt, for example when a user cancels it.

    Dagster itself takes the interrupt for a failure of the step. It would retry the step, and the run would succeed.
    The multiprocess executor does this itself.
    """

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute the steps, up to one that is interrupted."""
        for event in super().execute(plan_context, execution_plan):
            yield event
            if _is_interrupted(event):
                raise dg.DagsterExecutionInterruptedError


def _is_interrupted(event: dg.DagsterEvent) -> bool:
    """Returns whether Dagster is about to retry a step because it was interrupted."""
    error = event.step_retry_data.error if event.is_step_up_for_retry else None
    cause = error.cause if error is not None else None
    return cause is not None and cause.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def _wrapped(executor: dg.ExecutorDefinition, wrapper: type[_Tagging]) -> dg.ExecutorDefinition:
    create: Any = executor.executor_creation_fn
    schema: Any = executor.config_schema
    return dg.ExecutorDefinition(
        executor.name,
        schema,
        executor.get_requirements,
        lambda context: wrapper(create(context)),
        executor.description,
    )
