"""Executors: they choose the processes for the steps of a run, and note which process has the run."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import dagster as dg
from dagster._core.storage.runs.sqlite import SqliteRunStorage

from pipelines.runs import tag_process
from resources.file_storage import is_local, local
from resources.machines.heartbeats import beating, process_name
from resources.settings import CELERY, IN_PROCESS, K8S, MULTIPROCESS, Settings
from schemas import load_model, record_type_names
from schemas.errors import InvalidRequest

_PRELOADED = (
    *("pipelines.definitions", "resources.export_writer", "resources.record_store.account_records"),
    *("duckdb", "psycopg2", "pyarrow", "s3fs"),
)
"""Modules that each step of an export imports, besides the record types. The fork server imports them once."""

_EXTRAS = {CELERY: "dagster_celery", K8S: "dagster_k8s"}


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """Returns the executor that RECORDS_EXECUTOR names. Raises InvalidRequest if it cannot work with these settings.

    DuckDB already uses all cores, and a process for each step costs seconds. So several processes pay off for long
    steps only.
    """
    require_workable(settings)
    if settings.executor == IN_PROCESS:
        return _wrapped(dg.in_process_executor, _InProcess)
    if settings.executor == CELERY:
        from pipelines.celery_steps import celery_executor_of

        return _wrapped(celery_executor_of(settings), _Noted)
    if settings.executor == K8S:
        from dagster_k8s import k8s_job_executor

        return _wrapped(k8s_job_executor.configured({"max_concurrent": settings.processes}, name=K8S), _Noted)
    modules = {load_model(name).__module__ for name in record_type_names()}
    forkserver = {"preload_modules": [*_PRELOADED, *sorted(modules)]}
    config = {"max_concurrent": settings.processes, "start_method": {"forkserver": forkserver}}
    return _wrapped(dg.multiprocess_executor.configured(config, name=MULTIPROCESS), _Noted)


def require_workable(settings: Settings) -> None:
    """Raise InvalidRequest if the executor cannot work with the other settings, with what to do about it."""
    if settings.executor not in _EXTRAS:
        return
    setting = f"RECORDS_EXECUTOR is {settings.executor}"
    if find_spec(_EXTRAS[settings.executor]) is None:
        raise InvalidRequest(
            f"{setting}, but the package {_EXTRAS[settings.executor].replace('_', '-')} is not installed.",
            f"Install it: pip install 'records-exchange[{settings.executor}]'.",
        )
    if settings.postgres is None:
        raise InvalidRequest(
            f"{setting}, but the catalog is SQLite, which other machines cannot reach.",
            "Name a PostgreSQL database in RECORDS_CATALOG. records migrate copies a store there.",
        )
    if is_local(settings.data) and local(settings.data).is_relative_to(settings.home):
        raise InvalidRequest(
            f"{setting}, but RECORDS_DATA is in RECORDS_HOME, which belongs to this machine.",
            "Give s3://BUCKET/PREFIX, or a folder that all machines see under the same path.",
        )
    if settings.executor == CELERY and settings.broker is None:
        raise InvalidRequest(
            f"{setting}, but RECORDS_BROKER is not set.",
            "Give the address of a Redis server: redis://:PASSWORD@HOST:PORT/DATABASE.",
        )


def require_reachable(settings: Settings) -> None:
    """Raise StoreUnreachable if the executor needs a broker, and the broker does not answer."""
    require_workable(settings)
    if settings.executor == CELERY:
        from pipelines.celery_steps import require_broker

        require_broker(settings)


def require_shared_storage(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Raise InvalidRequest if other machines execute steps, and Dagster keeps its runs in files of this one."""
    if settings.executor not in _EXTRAS or not isinstance(instance.run_storage, SqliteRunStorage):
        return
    raise InvalidRequest(
        f"RECORDS_EXECUTOR is {settings.executor}, but Dagster keeps its runs in files: {instance.root_directory}.",
        "Copy deploy/server/dagster.yaml into DAGSTER_HOME on each machine. Give all of them the same "
        "DAGSTER_POSTGRES_URL.",
    )


class _Noted(dg.Executor):
    """An executor that notes the run's process before the first step, and lets it beat until the last one."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        """Returns what Dagster's libraries ask of their own executors."""
        return getattr(self._executor, name)

    @property
    def retries(self) -> Any:
        """The retries of the executor."""
        return self._executor.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Note the process of the run and execute the steps."""
        settings = Settings.from_environment()
        require_shared_storage(settings, plan_context.instance)
        tag_process(plan_context.instance, plan_context.dagster_run.run_id)
        with beating(settings, process_name()):
            yield from self._executor.execute(plan_context, execution_plan)


class _InProcess(_Noted):
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


def _wrapped(executor: dg.ExecutorDefinition, wrapper: type[_Noted]) -> dg.ExecutorDefinition:
    create: Any = executor.executor_creation_fn
    schema: Any = executor.config_schema
    return dg.ExecutorDefinition(
        executor.name,
        schema,
        executor.get_requirements,
        lambda context: wrapper(create(context)),
        executor.description,
    )
