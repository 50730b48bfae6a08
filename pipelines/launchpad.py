"""Config and hints for Dagster's launchpad: config without nesting, and hints in the words of the launchpad."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg

FIRST_FIELDS = ("account", "path", "record_type", "batch_id", "export_id")
"""The fields that a launchpad shows first. The rest follow in alphabetical order."""

_JOBS = {
    "preview": "preview_import",
    "commit": "commit_batch",
    "import": "import_records",
    "rollback": "roll_back_batch",
    "expire": "expire_batches",
    "maintain": "maintain_store",
}
_FIELDS = {"a": "account", "t": "record_type", "map": "column_map", "value": "value_map"}
_FLAGS = ("again", "dry_run", "unescape", "as_shown", "raw")
_CHOICE = "abort|skip|stop|keep|merge|overwrite|dmy|mdy|ymd|insert|update|upsert|reject|first|last|clear|fill"
_WORDS = r"(?!(?:out|reads|says)\b)(?:'[^']*'|\S+?(?=[.,;:)]*(?:\s|$)))"
"""What follows an option that takes any text, and is not a word of the sentence."""
_OPTION = (
    rf"(?:-(?:a|t) [\w-]+|--(?:encoding|delimiter|sheet|at|decimal|time-zone) {_WORDS}"
    rf"|--[a-z][a-z-]+(?: (?:'[^']*'|\d{{4}}-[\d:.TZ-]*[\dZ]|\d+\b|(?:{_CHOICE})\b))?)"
)
_COMMAND = re.compile(rf"records ({'|'.join(_JOBS)})\b(?: ([br]-[\w-]*\w|FILE))?((?: {_OPTION})*)")
_ANY_OPTION = re.compile(rf"(?<![\w-]){_OPTION}")


def flat(op: str, config: type[dg.Config]) -> dg.ConfigMapping:
    """Returns the config of a job with one op: that of the op, without Dagster's nesting.

    Jobs of partitioned assets, as exports are, take no config mapping in Dagster 1.13: their config is flat inside
    `ops`.
    """

    def nested(values: dict[str, Any]) -> dict[str, Any]:
        return {"ops": {op: {"config": values}}}

    return dg.ConfigMapping(config_fn=nested, config_schema=config.to_config_schema())


def in_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with the most used fields first."""
    first = [name for name in FIRST_FIELDS if name in config]
    return {name: config[name] for name in [*first, *(name for name in config if name not in first)]}


def in_launchpad_words(text: str) -> str:
    """Returns a hint with jobs and config fields in place of the command's sub-commands and options.

    Example: "records commit b-1 --on-invalid skip" becomes "launch commit_batch with `batch_id: b-1`, `on_invalid:
    skip`".
    """
    return _ANY_OPTION.sub(lambda found: _field(found[0]), _COMMAND.sub(_job, text))


def _job(command: re.Match[str]) -> str:
    name, subject, options = command.groups()
    fields = [f"`batch_id: {subject}`"] if subject and subject != "FILE" else []
    fields += [_field(option) for option in re.findall(_OPTION, options)]
    return f"launch {_JOBS[name]}{' with ' if fields else ''}{', '.join(fields)}"


def _field(option: str) -> str:
    option, _, value = option.lstrip("-").partition(" ")
    name = _FIELDS.get(option, option.replace("-", "_"))
    if name in _FLAGS:
        return f"`{name}: true`"
    if name == "column_map" and value:
        header, _, field = value.strip("'").rpartition("=")
        value = f'{{"{header}": "{field}"}}'
    if name == "value_map" and value:
        field, _, pair = value.strip("'").partition(":")
        text, _, meant = pair.rpartition("=")
        value = f'{{"{field}": {{"{text}": "{meant}"}}}}'
    return f"`{name}: {value}`" if value and not (value.isalpha() and value.isupper()) else f"`{name}`"
