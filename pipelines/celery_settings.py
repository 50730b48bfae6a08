"""The settings of Celery, which the runs and the workers share: ours, and those of `celery.yaml` in the home."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery.app.defaults import NAMESPACES, flatten
from pydantic import RootModel

from resources.operator_file import read_operator_file
from schemas.errors import InvalidRequest

_FIXED: Mapping[str, Any] = {
    "task_acks_late": True,  # a message stays in Redis until its step has ended
    "task_reject_on_worker_lost": True,  # and goes back at once if the step's process was killed
    "worker_prefetch_multiplier": 1,  # a worker takes no more messages than it has processes
    "task_ignore_result": True,  # the outcome of a step is in the catalog's database
    "task_default_queue": "dagster",
    "task_default_priority": 5,
}
_DEFAULT: Mapping[str, Any] = {
    # Longer than the longest step: until then, Redis keeps the message of a worker that does not answer.
    "broker_transport_options": {"visibility_timeout": 86400},
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # Without it, a restarted Redis ends the worker's waiting, but not what it executes.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
}

CELERY_FILE = "celery.yaml"


class _Written(RootModel[dict[str, Any]]):
    """The settings in the file, by the names of Celery's documentation."""

    root: dict[str, Any] = {}


def celery_settings(home: Path) -> dict[str, Any]:
    """Returns all settings. Raises InvalidRequest if `celery.yaml` has an unknown one, or changes a fixed one."""
    path = home / CELERY_FILE
    written = read_operator_file(path, _Written).root
    unknown = sorted(written.keys() - {name for name, _ in flatten(NAMESPACES)})
    if unknown:
        raise InvalidRequest(
            f"{path} has {', '.join(unknown)}, which Celery does not know.",
            "Use the lower-case names of Celery's page on configuration, without a section above them.",
        )
    changed = sorted(name for name in written.keys() & _FIXED.keys() if written[name] != _FIXED[name])
    if changed:
        raise InvalidRequest(
            f"{path} changes {', '.join(changed)}. Without it, a killed worker could lose a step.",
            f"Remove it, or give {_FIXED[changed[0]]!r}.",
        )
    merged = {**_DEFAULT, **written, **_FIXED}
    options = {**_DEFAULT["broker_transport_options"], **(written.get("broker_transport_options") or {})}
    return {**merged, "broker_transport_options": options}
