"""In which processes the steps of a run are executed, and which process the run itself is."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines.runs import tell_process
from schemas import RECORD_TYPES

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
        return _telling(dg.in_process_executor)
    modules = {each.partition(":")[0] for each in RECORD_TYPES.values()}
    forkserver = {"preload_modules": [*_PRELOADED, *sorted(modules)]}
    config = {"max_concurrent": processes, "start_method": {"forkserver": forkserver}}
    return _telling(dg.multiprocess_executor.configured(config, name="multiprocess"))


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


def _telling(executor: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    create: Any = executor.executor_creation_fn
    schema: Any = executor.config_schema
    return dg.ExecutorDefinition(
        executor.name,
        schema,
        executor.get_requirements,
        lambda context: _Telling(create(context)),
        executor.description,
    )
