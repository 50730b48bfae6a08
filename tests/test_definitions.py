"""The code location has the pinned names, with descriptions, and its jobs open ready to launch."""

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.definitions import defs
from resources.export_writer.formats import FORMATS
from resources.settings import EXECUTORS
from schemas.exports import Packing

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)

ROOT = Path(__file__).parent.parent
JOBS = {
    *("preview_import", "commit_batch", "import_records", "roll_back_batch", "expire_batches", "maintain_store"),
    *("import_arrivals", "check_store", "export_contacts", "export_flights", "check_export", "deliver_exports"),
}

_FILE = {
    "account": "",
    "record_type": "contacts",
    "path": "",
    "mode": "upsert",
    "on_duplicate": "reject",
    "column_map": {},
    "value_map": {},
    "encoding": "",
    "delimiter": "",
    "sheet": "",
    "at": "",
    "header_row": 0,
    "short_rows": "",
    "date_order": "",
    "decimal": "",
    "time_zone": "",
    "blank": "",
    "footer": "",
    "unescape": False,
    "no_unescape": False,
    "as_shown": False,
    "of": "",
    "again": False,
    "actor": "",
}
_EXPORT = {
    "format": "csv",
    "pack": "",
    "columns": [],
    "preset": "",
    "saved_preset": "",
    "where": [],
    "order_by": [],
    "as_of": "",
    "changed_since": "",
    "encoding": "utf-8",
    "delimiter": ",",
    "raw": False,
    "path": "",
    "sheet_rows": 1_048_575,
    "part_rows": 0,
    "export_id": "",
    "actor": "",
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "preview_import": {"preview": _FILE},
    "import_records": {"import_file": _FILE | {"on_invalid": "abort"}},
    "commit_batch": {"commit": {"account": "", "batch_id": "", "on_invalid": "abort", "actor": ""}},
    "roll_back_batch": {
        "roll_back": {"account": "", "batch_id": "", "on_modified": "stop", "dry_run": False, "actor": ""}
    },
    "import_arrivals": {"open_bundle": {"bundle": ""}},
    "expire_batches": {"expire": {"actor": ""}},
    "maintain_store": {"maintain": {"actor": ""}},
    "check_store": {"compare_store": {"fast": False, "actor": ""}},
    "check_export": {"check": {"account": "", "export_id": ""}},
    "deliver_exports": {"deliver": {"names": [], "due_at": ""}},
    # The config of the graph is mapped to that of its first op.
    "export_contacts": {"exports__contacts.plan_export": _EXPORT | {"record_type": "contacts"}},
    "export_flights": {"exports__flights.plan_export": _EXPORT | {"record_type": "flights"}},
}


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return defs().get_repository_def()


def test_these_are_the_definitions(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    materialisable = {key.to_user_string() for key in graph.materializable_asset_keys}

    assert keys == {"records/contacts", "records/flights", "exports/contacts", "exports/flights"}
    checks = {f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys}
    assert checks == {
        f"{asset}/{name}:{check}"
        for name in ("contacts", "flights")
        for asset, each in (
            ("records", ("every_record_accounted_for",)),
            ("exports", ("rows_equal_snapshot", "checksum_holds", "file_reads_back")),
        )
        for check in each
    }
    assert materialisable == {"exports/contacts", "exports/flights"}
    assert {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"} == JOBS
    sensors = {"file_arrival", "ledger_events", "batch_expiry", "run_failures", "lost_runs"}
    assert {sensor.name for sensor in repository.sensor_defs} == sensors
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "daily_exports",
        "nightly_maintenance",
        "nightly_check",
    }


def test_every_asset_belongs_to_accounts_and_exports_come_from_records(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}

    assert {node.partitions_def for node in nodes.values()} == {dg.DynamicPartitionsDefinition(name="accounts")}
    parents = {name: {parent.to_user_string() for parent in node.parent_keys} for name, node in nodes.items()}
    assert parents == {
        "records/contacts": set(),
        "records/flights": set(),
        "exports/contacts": {"records/contacts"},
        "exports/flights": {"records/flights"},
    }


def test_everything_is_described(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    described = {key.to_user_string(): graph.get(key).description for key in graph.get_all_asset_keys()}
    described |= {key.to_user_string(): graph.get_check_spec(key).description for key in graph.asset_check_keys}
    described |= {job.name: job.description for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"}
    described |= {sensor.name: sensor.description for sensor in repository.sensor_defs}
    described |= {schedule.name: schedule.description for schedule in repository.schedule_defs}

    assert len(described) == 4 + 8 + 12 + 5 + 3
    assert {name for name, text in described.items() if not text} == set()


def test_every_config_field_is_described(repository: dg.RepositoryDefinition) -> None:
    for name in JOBS:
        fields: dict[str, Any] = {}
        for op in repository.get_job(name).nodes:
            definition = op.definition
            mapping = definition.config_mapping if isinstance(definition, dg.GraphDefinition) else None
            schema = definition.config_schema if mapping is None else mapping.config_schema
            fields |= getattr(schema.config_type, "fields", {})  # type: ignore[union-attr]
        assert fields
        assert {field for field, what in fields.items() if not what.description} == set()


def test_the_launchpad_offers_the_output_formats_packings_and_presets(repository: dg.RepositoryDefinition) -> None:
    (op,) = repository.get_job("export_contacts").nodes
    assert isinstance(op.definition, dg.GraphDefinition)
    assert op.definition.config_mapping is not None
    fields = op.definition.config_mapping.config_schema.config_type.fields  # type: ignore[union-attr]
    offered = {
        name: [value.config_value for value in fields[name].config_type.enum_values]
        for name in ("format", "pack", "preset")
    }

    assert offered == {
        "format": list(FORMATS),
        "pack": ["", *(packing.value for packing in Packing)],
        "preset": ["", "mailing", "revenue"],
    }


@pytest.mark.parametrize("name", sorted(JOBS))
def test_the_launchpad_opens_with_a_complete_config(name: str, repository: dg.RepositoryDefinition) -> None:
    complete = dg.validate_run_config(repository.get_job(name), {})

    assert {op: given["config"] for op, given in complete["ops"].items() if given["config"]} == DEFAULTS[name]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_same_definitions_load_under_each_executor(monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    given = {"CATALOG": "postgresql://records@db/records", "DATA": "s3://bucket/data", "BROKER": "redis://redis/0"}
    for name, value in {**given, "EXECUTOR": executor, "PROCESSES": "3"}.items():
        monkeypatch.setenv(f"RECORDS_{name}", value)

    repository = defs().get_repository_def()

    assert {repository.get_job(name).executor_def.name for name in JOBS} == {executor}
    assert {key.to_user_string() for key in repository.asset_graph.materializable_asset_keys} == {
        "exports/contacts",
        "exports/flights",
    }


def test_without_their_setting_neither_celery_nor_kubernetes_is_imported() -> None:
    code = (
        "import sys; from pipelines.definitions import defs; defs(); "
        "print([it for it in sys.modules if it.split('.')[0] in ('celery', 'kombu', 'redis', 'kubernetes')])"
    )
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_workspace_and_dg_load_the_same_module() -> None:
    (workspace,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]

    assert workspace == {
        "python_module": {
            "module_name": project["code_location_target_module"],
            "location_name": project["code_location_name"],
        }
    }
    assert project["code_location_name"] == "records"
    module = importlib.import_module(workspace["python_module"]["module_name"])
    assert module.defs is defs
