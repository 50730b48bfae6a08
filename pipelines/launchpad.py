"""What a person types into Dagster's launchpad: a job's config is flat, and complete as it opens."""

from typing import Any

import dagster as dg


def flat(op: str, config: type[dg.Config]) -> dg.ConfigMapping:
    """The config of a job of one op: the op's own, without Dagster's nesting.

    Dagster 1.13 takes none for jobs of partitioned assets, as exports are: theirs is flat within `ops`.
    """

    def nested(told: dict[str, Any]) -> dict[str, Any]:
        return {"ops": {op: {"config": told}}}

    return dg.ConfigMapping(config_fn=nested, config_schema=config.to_config_schema())
