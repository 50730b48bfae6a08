"""With RECORDS_LOG=json every line of a log is one JSON object, and none has a value of a record."""

import json
import logging
import os
import socket
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster import _loggers
from dagster._utils import log

from pipelines.commands.cli import main
from pipelines.definitions import defs
from pipelines.logs import log_as_set, logging_as_set
from pipelines.web.serving import serving
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from tests.records import contact, write_csv

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)

CANARY = "Canaryvalue"


@pytest.fixture
def as_json(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Logs as JSON, as a process has them from its start; and as before after the test."""
    monkeypatch.setenv("RECORDS_LOG", "json")
    monkeypatch.setenv("DAGSTER_CLI_API_GRPC_LOG_FORMAT", "")
    monkeypatch.setattr(_loggers, "create_console_logger", getattr(_loggers, "create_console_logger"))  # noqa: B009
    monkeypatch.setattr(log, "get_structlog_json_formatter", log.get_structlog_json_formatter)
    names = ("dagster", "dagit", "dagster-webserver")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names}
    with logging_as_set():
        yield
    for name, (handlers, propagate) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = propagate


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A file with a rejected record, and the canary in each text."""
    rows = [contact(1, first_name=CANARY, birthday=""), contact(2, first_name=CANARY, birthday=CANARY)]
    return write_csv(tmp_path / "secrets.csv", rows)


def lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of a log, each of which must be a line."""
    assert CANARY not in text
    return [json.loads(line) for line in text.splitlines()]


def fail(*_: object, **__: object) -> None:
    """Fail as a defect does: with an error that quotes a record, because of another one that does."""
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        raise ValueError(f"could not convert {CANARY}") from error


def test_a_command_logs_what_it_prints_for_people(
    as_json: None, ready: None, quick_reading: None, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def printed(*words: str) -> list[dict[str, Any]]:
        return lines(CliRunner().invoke(main, words).stderr)

    (refused,) = printed("import", str(secrets), "-a", "acme", "-t", "contacts")
    assert (refused["level"], refused["code"]) == ("error", "rejects_found")
    assert {"timestamp", "event", "hint"} <= set(refused)
    (wrong,) = printed("import", "--nonsense")
    assert (wrong["level"], wrong["code"]) == ("error", "wrong_usage")
    assert printed("import", str(secrets), "-a", "acme", "-t", "contacts", "--on-invalid", "skip") == []
    monkeypatch.setattr(Importer, "preview", fail)
    (defect,) = printed("preview", str(secrets), "-a", "acme", "-t", "contacts")
    assert defect["event"].startswith("ValueError in test_logs.py, line ")


def test_texts_of_a_file_are_for_the_person_who_asked_and_not_for_the_log(
    as_json: None, ready: None, quick_reading: None, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "wrong.csv", [{CANARY: "1"}])
    words = ["preview", str(file), "-a", "acme", "-t", "contacts"]
    (refused,) = lines(CliRunner().invoke(main, words).stderr)
    assert refused["level"] == "error"
    assert CANARY in CliRunner(env={"RECORDS_LOG": "text"}).invoke(main, words).stderr


def test_a_run_logs_each_event_and_the_trace_of_a_defect(
    as_json: None,
    store: RecordStore,
    secrets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log_as_set()
    job = defs().resolve_job_def("preview_import")
    config = {"path": str(secrets), "account": "acme", "record_type": "contacts"}
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(run_config=config, instance=instance).success
        monkeypatch.setattr(Importer, "preview", fail)
        failed = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    assert not failed.success

    logged = lines("".join(capfd.readouterr()))
    assert {it["job"] for it in logged} == {"preview_import"}
    assert failed.run_id in {it["run_id"] for it in logged}
    assert any("STEP_FAILURE" in it["event"] and "Unexpected ValueError" in it["event"] for it in logged)


def test_dagsters_own_commands_log_the_trace_of_an_error_in_one_line(
    as_json: None, capfd: pytest.CaptureFixture[str]
) -> None:
    log_as_set()
    assert os.environ["DAGSTER_CLI_API_GRPC_LOG_FORMAT"] == "json"
    log.configure_loggers(formatter="json")
    for name in ("dagster.code_server", "elsewhere"):
        try:
            fail()
        except ValueError:
            logging.getLogger(name).exception("Failure while loading code")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("A warning\nof two lines.", UserWarning, stacklevel=1)

    logged = lines("".join(capfd.readouterr()))
    errors = [it for it in logged if it["level"] == "error"]
    for error in errors:
        assert (error["event"], error["error"]) == ("Failure while loading code", "ValueError")
        assert [it.rpartition(" in ")[2] for it in error["trace"]][-1] == "fail"
        assert error["cause"]["error"] == "KeyError"
    assert {it["logger"] for it in errors} == {"dagster.code_server", "elsewhere"}
    assert "of two lines." in next(it["event"] for it in logged if it["level"] == "warning")


def test_an_error_that_ends_a_process_or_a_thread_is_a_line(
    as_json: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    logged = lines(capfd.readouterr().err)
    assert [(it["level"], it["error"]) for it in logged] == [("critical", "ValueError")] * 2


def test_the_pages_log_a_defect_with_its_trace(
    as_json: None, store: RecordStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.web.health.Health.alive", fail)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, serving(store.settings, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/healthz"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=30)
    logged = lines("".join(capfd.readouterr()))
    assert any(it["level"] == "error" and "trace" in it for it in logged)
