"""Fixtures that many tests start from: a real store in a temporary folder, and files."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty RECORDS_HOME; no other setting of the environment is in force."""
    for name in [name for name in os.environ if name.startswith("RECORDS_") and name != "RECORDS_CORPORA"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("RECORDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RECORDS_ACTOR", "tester")
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings.from_environment()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store knows the record types, to be copied: made once, for it takes half a second."""
    home = tmp_path_factory.mktemp("empty-store")
    with RecordStore(Settings.from_environment({"RECORDS_HOME": str(home)})) as store:
        store.initialise(load_record_types())
    return home


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Iterator[RecordStore]:
    """A store that knows the record types."""
    shutil.copytree(empty_store, settings.home)
    with RecordStore(settings) as store:
        yield store


@pytest.fixture
def importer(store: RecordStore) -> Importer:
    return Importer(store, "tester")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that is skipped was not run: the run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
