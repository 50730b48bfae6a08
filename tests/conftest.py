"""Fixtures that many tests share (a real store in a temporary folder, files), and how tests run in parallel."""

import fcntl
import gc
import os
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from resources.clock import Observation
from resources.file_reader import reader
from resources.importing.importer import Importer
from resources.record_store import Databases, RecordStore
from resources.record_store.catalog import catalog_of
from resources.settings import Settings
from tests.duckdb_opening import ORDINARY, open_quickly
from tests.forked_reading import FORKED
from tests.object_server import ObjectServer
from tests.object_server import running as object_server
from tests.postgres import Postgres, running
from tests.prepared import Prepared, PreparedStores, an_empty_store

# A deadline is the time of a clock on the wall: on a busy machine it says nothing about the code.
# Every run tries the same examples. `pytest --hypothesis-profile exploring` tries others, and `long` more of the same.
hypothesis_settings.register_profile("exploring", deadline=None)
hypothesis_settings.register_profile("long", deadline=None, derandomize=True)
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
hypothesis_settings.load_profile("repeatable")


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)

    def observe(self, last: Observation | None) -> Observation:
        return Observation(self.time)

    def doubt(self, newest: datetime | None, file_time: datetime | None) -> None:
        """Doubt nothing: the test sets this clock on purpose."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test in each setting that its marker names; run all others on a laptop: see `setting`.

    Tests have the marker where the result could depend on the catalog or on the object store.
    """
    marker = metafunc.definition.get_closest_marker("runs_on")
    if "setting" in metafunc.fixturenames and marker:
        metafunc.parametrize("setting", marker.args, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server: one for each worker of pytest."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    """An S3 server: one for each worker of pytest."""
    with object_server() as server:
        yield server


@pytest.fixture
def setting(request: pytest.FixtureRequest) -> str:
    """Where a store is: `laptop`, in a folder; `postgres`, its catalog there; `server`, its data also in objects."""
    name: str = getattr(request, "param", "laptop")
    return name


@pytest.fixture
def catalog(request: pytest.FixtureRequest, setting: str) -> Iterator[str | None]:
    """The address of an empty database for the catalog, if the test runs on PostgreSQL."""
    if setting == "laptop":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    is_made = "ready" in request.fixturenames
    name = server.create(request.getfixturevalue("beginning").database if is_made else "template1")
    yield server.address(name)
    server.drop(name)


@pytest.fixture
def data(request: pytest.FixtureRequest, setting: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """The address of an empty bucket, if the test runs on an object store."""
    if setting != "server":
        yield None
        return
    server: ObjectServer = request.getfixturevalue("objects")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    address = server.create()
    yield f"{address}/data"
    server.drop(address)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: str | None, data: str | None) -> Path:
    """An empty RECORDS_HOME, its catalog in the folder or in PostgreSQL. No other setting applies."""
    for name in [name for name in os.environ if name.startswith("RECORDS_") and name != "RECORDS_CORPORA"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("RECORDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RECORDS_ACTOR", "tester")
    if catalog is not None:
        monkeypatch.setenv("RECORDS_CATALOG", catalog)
    if data is not None:
        monkeypatch.setenv("RECORDS_DATA", data)
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings.from_environment()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session", autouse=True)
def quick_opening() -> Iterator[None]:
    """Open the stores of this process faster. The commands that tests start open theirs as usual."""
    with pytest.MonkeyPatch.context() as patch:
        open_quickly(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def no_instance_of_before() -> None:
    """Forget an instance of Dagster that has ended: where two end out of order, Dagster keeps the first (1.13)."""
    states = sys.modules.get("dagster._core.storage.defs_state.base")
    if states is not None:
        states._current_storage.set(None)


@pytest.fixture
def ordinary_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the stores of a test with many rows DuckDB's threads."""
    monkeypatch.setattr(Databases, "open", ORDINARY)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStores:
    """The stores that tests copy."""
    return PreparedStores(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def empty_store(prepared: PreparedStores, request: pytest.FixtureRequest) -> Path:
    """A home to copy, with a store that has the record types."""
    return prepared.get(an_empty_store, "laptop", request).home


@pytest.fixture(scope="session")
def empty_database(prepared: PreparedStores, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The name of a database to copy, with the catalog of such a store; and the store's home."""
    made = prepared.get(an_empty_store, "postgres", request)
    return made.database, made.home


@pytest.fixture
def beginning(prepared: PreparedStores, setting: str, request: pytest.FixtureRequest) -> Prepared:
    """The store that a test starts from: an empty one, or the one that its marker `starts_with` makes."""
    marker = request.node.get_closest_marker("starts_with")
    return prepared.get(marker.args[0] if marker else an_empty_store, setting, request)


@pytest.fixture
def quick_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the process that reads a file much faster. The commands that tests start do it as usual."""
    monkeypatch.setattr(reader, "subprocess", FORKED)


@pytest.fixture
def ready(settings: Settings, request: pytest.FixtureRequest) -> None:
    """The settings of the test's starting store, which no process has opened."""
    if settings.postgres is None or catalog_of(settings).exists():
        beginning: Prepared = request.getfixturevalue("beginning")
        beginning.copy_to(settings)
    else:  # a test that requests its store late has begun with an empty database
        an_empty_store(settings, settings.home)


@pytest.fixture
def store(settings: Settings, ready: None, quick_reading: None) -> Iterator[RecordStore]:
    """A store that has the record types."""
    with RecordStore(settings) as store:
        yield store


@pytest.fixture
def importer(store: RecordStore) -> Importer:
    return Importer(store, "tester")


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what lives until the end: modules and tests. It also runs less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start from one store are a group: one worker makes it, and the others need not.

    Tests of a group come first. At the end, one worker would run the last group while the others wait.
    """
    for item in items:
        marker = item.get_closest_marker("starts_with")
        if marker is not None and marker.args[0] is not an_empty_store:
            setting = getattr(item, "callspec").params.get("setting", "laptop")  # noqa: B009
            item.add_marker(pytest.mark.xdist_group(f"{marker.args[0].__name__}-{setting}"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give a test that is marked `alone` the machine for itself, though `make test` runs a test on each core.

    A worker that waits for the room holds the door, so that no other worker enters before it.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    turns = factory.getbasetemp().parent  # shared by all workers; each has its own folder in it
    with (turns / "door").open("w") as door, (turns / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run in CI if a test was skipped, because a skipped test checked nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
