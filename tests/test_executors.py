"""Settings of the executor that cannot work, and what the errors say; the configuration for Kubernetes."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s import K8sRunLauncher

from pipelines import executors
from pipelines.celery_settings import celery_settings
from pipelines.celery_worker import _refusal
from pipelines.executors import require_reachable, require_shared_storage, require_workable
from resources.operator_file import digests_of
from resources.settings import Settings
from schemas.errors import InvalidRequest, StoreUnreachable

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)
DEPLOY = Path(__file__).parent.parent / "deploy"
WORKING = {
    "RECORDS_HOME": "/srv/home",
    "RECORDS_EXECUTOR": "celery",
    "RECORDS_CATALOG": "postgresql://records@db/records",
    "RECORDS_DATA": "s3://bucket/data",
    "RECORDS_BROKER": "redis://:secret@127.0.0.1:1/0",
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RECORDS_CATALOG": ""}, "RECORDS_EXECUTOR is celery, but the catalog is SQLite"),
        ({"RECORDS_DATA": ""}, "RECORDS_EXECUTOR is celery, but RECORDS_DATA is in RECORDS_HOME"),
        ({"RECORDS_DATA": "/srv/home/data"}, "RECORDS_EXECUTOR is celery, but RECORDS_DATA is in RECORDS_HOME"),
        ({"RECORDS_BROKER": ""}, "RECORDS_EXECUTOR is celery, but RECORDS_BROKER is not set"),
        ({"RECORDS_EXECUTOR": "k8s", "RECORDS_CATALOG": ""}, "RECORDS_EXECUTOR is k8s, but the catalog is SQLite"),
    ],
)
def test_an_executor_that_cannot_work_says_why(changed: dict[str, str], message: str) -> None:
    require_workable(Settings.from_environment(WORKING))
    require_workable(Settings.from_environment(WORKING | {"RECORDS_DATA": "/srv/shared"}))
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        require_workable(Settings.from_environment(WORKING | changed))


@pytest.mark.parametrize("executor", ["celery", "k8s"])
def test_storage_of_dagster_that_other_machines_cannot_reach_is_refused(tmp_path: Path, executor: str) -> None:
    settings = Settings.from_environment(WORKING | {"RECORDS_EXECUTOR": executor})
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        require_shared_storage(Settings.from_environment({"RECORDS_HOME": "/srv/home"}), instance)
        with pytest.raises(InvalidRequest, match=f"is {executor}, but Dagster keeps its runs in files"):
            require_shared_storage(settings, instance)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"RECORDS_EXECUTOR": "threads"},
            "RECORDS_EXECUTOR is 'threads'. Give in_process, multiprocess, celery or k8s.",
        ),
        ({"RECORDS_PROCESSES": "0"}, "RECORDS_PROCESSES is '0'. Give a whole number of processes, 1 or more."),
        ({"RECORDS_PROCESSES": "1.5"}, "RECORDS_PROCESSES is '1.5'. Give a whole number"),
        ({"RECORDS_BROKER": "amqp://secret@rabbit"}, "RECORDS_BROKER is not the address of a Redis server."),
    ],
)
def test_a_setting_that_is_no_value_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)) as refused:
        Settings.from_environment(WORKING | changed)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("executor", ["celery", "k8s"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: importlib.util.find_spec("no_such_module"))
    settings = Settings.from_environment(WORKING | {"RECORDS_EXECUTOR": executor})
    with pytest.raises(InvalidRequest, match=rf"pip install 'records-exchange\[{executor}\]'"):
        require_workable(settings)


def test_a_redis_that_does_not_answer_is_said_without_its_password() -> None:
    with pytest.raises(StoreUnreachable, match="The Redis of RECORDS_BROKER does not answer") as raised:
        require_reachable(Settings.from_environment(WORKING))
    assert "secret" not in str(raised.value)


def test_the_file_for_celery_has_the_settings_that_count_without_it(tmp_path: Path) -> None:
    without = celery_settings(tmp_path)
    text = (DEPLOY / "celery" / "celery.yaml").read_text("utf-8")
    (tmp_path / "celery.yaml").write_text(text)
    assert celery_settings(tmp_path) == without
    assert yaml.safe_load(text).keys() <= without.keys()
    assert without["broker_transport_options"]["visibility_timeout"] >= 86400  # as max_runtime_seconds of a run

    (tmp_path / "celery.yaml").write_text("broker_transport_options: {master_name: records}\n")
    options = {"master_name": "records", "visibility_timeout": 86400}
    assert celery_settings(tmp_path) == without | {"broker_transport_options": options}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task_acks_late: false", "changes task_acks_late. Without it, a killed worker could lose a step."),
        ("execution: {config: {}}", "has execution, which Celery does not know."),
        ("- 1", "celery.yaml"),
    ],
)
def test_a_file_for_celery_that_would_lose_steps_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "celery.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        celery_settings(tmp_path)


def _snake(value: Any) -> Any:
    """Return names as Dagster has them. Names below `…Config` of Kubernetes are its own, in both forms."""
    if not isinstance(value, dict):
        return value
    return {re.sub("[A-Z]", lambda it: f"_{it[0].lower()}", name): _snake(each) for name, each in value.items()}


def test_the_values_for_kubernetes_fit_the_config_schema_of_dagster() -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text("utf-8"))
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    config = _snake(given) | {
        # These the chart fills in itself.
        "env_secrets": [it["name"] for it in given["envSecrets"]],
        "service_account_name": "dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "job_namespace": "default",
    }
    schema = resolve_to_config_type(dict(K8sRunLauncher.config_type()))
    checked = process_config(schema, config)
    assert checked.success, checked.errors
    assert not process_config(schema, config | {"no_such_setting": 1}).success
    (code,) = values["dagster-user-deployments"]["deployments"]
    environment = {it["name"]: it["value"] for it in code["env"]}
    assert Settings.from_environment(WORKING | environment).executor == "k8s"
    assert code["volumeMounts"][0]["mountPath"] == environment["RECORDS_HOME"]
    assert "AS kubernetes" in (DEPLOY / "Containerfile").read_text("utf-8")


def test_a_worker_with_other_files_of_the_operator_refuses_the_steps_that_read_them(settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    of_the_run = digests_of(settings.home)
    assert _refusal(settings, "import_arrivals", of_the_run) is None
    (settings.home / "inbox.yaml").write_text("defaults: {on_invalid: skip}\n")

    refusal = _refusal(settings, "import_arrivals", of_the_run)

    assert refusal is not None
    assert refusal["error"].startswith(f"inbox.yaml in {settings.home} of ")
    assert refusal["error"].endswith("Give all machines the same files, then execute the run again.")
    assert _refusal(settings, "deliver_exports", of_the_run) is None, "it does not read inbox.yaml"
    assert _refusal(settings, "import_arrivals", {}) is None, "a run of an earlier version sends none"
