"""Puts the checks of pandera into words."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandera.pandas as pandera


def rule_in_words(check: pandera.Check) -> str:
    """Returns the check as the end of a sentence that begins with the field's name: "must be 0 or more".

    Uses the author's words if the check has them: `str_matches={"pattern": "…", "error": "must be an e-mail address"}`.
    """
    if check.error and check.error.startswith("must "):
        return check.error
    words = _RULES.get(check.name or "")
    return words(check.statistics or {}) if words else check.description or f"must pass {check.name}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _length(limits: Mapping[str, Any]) -> str:
    if limits.get("exact_value") is not None:
        return f"must have {limits['exact_value']:,} characters"
    least, most = limits.get("min_value"), limits.get("max_value")
    if least is None:
        return f"must have at most {most:,} characters"
    if most is None:
        return f"must have at least {least:,} characters"
    return f"must have {least:,} to {most:,} characters"


def _range(limits: Mapping[str, Any]) -> str:
    least, most = limits["min_value"], limits["max_value"]
    if limits.get("include_min", True) and limits.get("include_max", True):
        return f"must be from {least} to {most}"
    low = f"{least} or more" if limits.get("include_min", True) else f"more than {least}"
    high = f"{most} or less" if limits.get("include_max", True) else f"less than {most}"
    return f"must be {low} and {high}"


_RULES: Mapping[str, Any] = {
    "equal_to": lambda it: f"must be {it['value']}",
    "not_equal_to": lambda it: f"must not be {it['value']}",
    "greater_than": lambda it: f"must be more than {it['min_value']}",
    "greater_than_or_equal_to": lambda it: f"must be {it['min_value']} or more",
    "less_than": lambda it: f"must be less than {it['max_value']}",
    "less_than_or_equal_to": lambda it: f"must be {it['max_value']} or less",
    "in_range": _range,
    "isin": lambda it: f"must be one of {_listed(it['allowed_values'])}",
    "notin": lambda it: f"must not be one of {_listed(it['forbidden_values'])}",
    "str_matches": lambda it: f"must match {it['pattern']}",
    "str_contains": lambda it: f"must contain {it['pattern']}",
    "str_startswith": lambda it: f"must start with {it['string']}",
    "str_endswith": lambda it: f"must end with {it['string']}",
    "str_length": _length,
}
