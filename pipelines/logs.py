"""Logs for programs: with RECORDS_LOG=json, each line that a process of ours writes to its log is one JSON object.

An object has `timestamp`, `level`, `logger` and `event`. Logs of a run have `run_id`, `job` and `step` too. An error
has its class and its trace. Its text is left out unless it is an error of ours, because other texts can quote records.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from resources.clock import SystemClock
from resources.process_state import name_log_format
from schemas.errors import RecordsError

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter

_DAGSTER = ("dagster", "dagit", "dagster-webserver")
"""The loggers that Dagster's commands give handlers of their own."""


def are_json() -> bool:
    """Returns whether the environment asks for logs as JSON. Another value than json or text is refused elsewhere."""
    return os.environ.get("RECORDS_LOG") == "json"


def line(event: str, level: str = "info", **more: object) -> str:
    """Returns a line of a log."""
    now = SystemClock().now().isoformat()
    return json.dumps({"timestamp": now, "level": level, "logger": "records", "event": event} | more)


@contextmanager
def logging_as_set() -> Iterator[None]:
    """Log as the environment says until the block ends."""
    if not are_json():
        yield
        return
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    _log_as_json()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def log_as_set() -> None:
    """Log as the environment says from now on, in a process that runs Dagster, also in Dagster's name.

    Dagster's command `code-server` passes no format on to the process that loads our code, which reads it from the
    environment. In each run Dagster makes a logger for people, whatever the format.
    """
    if not are_json():
        return
    from dagster import _loggers
    from dagster._utils import log

    name_log_format("json")
    log.get_structlog_json_formatter = _formatter_of_dagster
    _loggers.create_console_logger = _logger_of_runs  # type: ignore[attr-defined]  # Dagster does not export it
    handler = _log_as_json()
    for name in _DAGSTER:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers[:] = [handler]


def _log_as_json() -> logging.Handler:
    handler = _Lines()
    logging.getLogger().handlers[:] = [handler]
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda it: _log_uncaught(it.exc_type, it.exc_value, it.exc_traceback)
    sys.unraisablehook = lambda it: _log_uncaught(it.exc_type, it.exc_value, it.exc_traceback)
    return handler


class _Lines(logging.Handler):
    """Writes each record as a line of JSON to what is standard error then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        error = record.exc_info[1] if record.exc_info else None
        _write(json.dumps(_described(record, record.getMessage(), error)))


def _write(text: str) -> None:
    """Write a line whole, so that lines of several processes do not mix."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _described(record: logging.LogRecord, event: str, error: BaseException | None) -> dict[str, object]:
    """Returns what a line says about a record of the logging module."""
    described: dict[str, object] = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event,
    }
    run: Mapping[str, object] = getattr(record, "dagster_meta", None) or {}
    for name, key in (("run_id", "run_id"), ("job", "job_name"), ("step", "step_key")):
        if run.get(key) is not None:
            described[name] = run[key]
    return described | (_error(error) if error is not None else {})


def _error(error: BaseException) -> dict[str, object]:
    """Returns the class, the trace and, if it quotes no record, the text of an error."""
    frames = [f"{it.filename}:{it.lineno} in {it.name}" for it in traceback.extract_tb(error.__traceback__)]
    shown: dict[str, object] = {"error": type(error).__name__, "trace": frames}
    if isinstance(error, RecordsError):
        shown["message"] = str(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        shown["cause"] = _error(cause)
    return shown


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        _write(line("Interrupted."))
    else:
        _write(line("An error ended this.", "critical", **_error(error)))


def _formatter_of_dagster() -> "ProcessorFormatter":
    """Returns a formatter in place of Dagster's, which leaves out the trace of an error."""
    from structlog.stdlib import ProcessorFormatter

    def described(_logger: Any, _method: str, event: Any) -> str:
        return json.dumps(_described(event["_record"], event["event"], (event.get("exc_info") or (None, None))[1]))

    return ProcessorFormatter(processors=[described])


def _logger_of_runs(name: str, level: str | int) -> logging.Logger:
    """Returns a logger in place of the one that Dagster makes in each run."""
    logger = logging.getLoggerClass()(name, level=level)
    logger.addHandler(_Lines())
    return logger
