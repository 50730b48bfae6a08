"""Puts the most used config fields first in Dagster's launchpad, which shows them in alphabetical order.

It replaces a function of the web server's process, because Dagster 1.13 sorts the fields and has no setting for it.
"""

import yaml
from dagster._config.snap import ConfigSchemaSnapshot, ConfigTypeSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from dagster_graphql.schema import run_config

from pipelines.launchpad import in_order


def put_first_fields_first() -> None:
    """Let this process's launchpads open with the fields of `pipelines.launchpad.FIRST_FIELDS` on top."""
    run_config.default_values_yaml_from_type_snap = _ordered  # type: ignore[attr-defined]


def _ordered(snapshot: ConfigSchemaSnapshot, type_snap: ConfigTypeSnap) -> str:
    config = yaml.safe_load(default_values_yaml_from_type_snap(snapshot, type_snap)) or {}
    return yaml.safe_dump(in_order(config), sort_keys=False, allow_unicode=True) if config else "{}\n"
