"""Fixtures that many tests start from, a real store in a temporary folder and files; and how tests run side by side."""

import fcntl
import os
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.clock import Observation
from resources.file_reader import reader
from resources.importing.importer import Importer
from resources.record_store import Databases, RecordStore
from resources.record_store.catalog import catalog_of
from resources.settings import Settings
from tests.duckdb_opening import ORDINARY, quick_databases
from tests.forked_reading import FORKED
from tests.object_server import ObjectServer
from tests.object_server import running as object_server
from tests.postgres import Postgres, running
from tests.prepared import Prepared, PreparedStores, an_empty_store


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
        """It is what the test says."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test whose marker says so runs once in each setting; all others run on a laptop: see `setting`.

    It says so where the answer could depend on the catalog or on the object store.
    """
    marker = metafunc.definition.get_closest_marker("runs_on")
    if "setting" in metafunc.fixturenames and marker:
        metafunc.parametrize("setting", marker.args, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server: one for each process that runs tests."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    """An S3 server: one for each process that runs tests."""
    with object_server() as server:
        yield server


@pytest.fixture
def setting(request: pytest.FixtureRequest) -> str:
    """Where a store is: `laptop`, in a folder; `postgres`, its catalog there; `server`, its data also in objects."""
    name: str = getattr(request, "param", "laptop")
    return name


@pytest.fixture
def catalog(request: pytest.FixtureRequest, setting: str) -> Iterator[str | None]:
    """The address of an empty database for the catalog, where the test runs on PostgreSQL."""
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
    """The address of an empty bucket, where the test runs on an object store."""
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
    """An empty RECORDS_HOME, its catalog there or in PostgreSQL; no other setting of the environment is in force."""
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
    """The stores of this process open soon; those of the commands that tests start do it as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Databases, "_open", quick_databases)
        yield


@pytest.fixture
def ordinary_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stores of a test of many rows have DuckDB's threads."""
    monkeypatch.setattr(Databases, "_open", ORDINARY)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStores:
    """The stores that tests copy."""
    return PreparedStores(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def empty_store(prepared: PreparedStores, request: pytest.FixtureRequest) -> Path:
    """A home to copy, with a store that knows the record types."""
    return prepared.get(an_empty_store, "laptop", request).home


@pytest.fixture(scope="session")
def empty_database(prepared: PreparedStores, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The name of a database to copy with the catalog of such a store, and its home."""
    made = prepared.get(an_empty_store, "postgres", request)
    return made.database, made.home


@pytest.fixture
def beginning(prepared: PreparedStores, setting: str, request: pytest.FixtureRequest) -> Prepared:
    """The store that a test starts from: an empty one, or what its marker `starts_with` makes."""
    marker = request.node.get_closest_marker("starts_with")
    return prepared.get(marker.args[0] if marker else an_empty_store, setting, request)


@pytest.fixture
def quick_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads a file starts in a fraction of the time; the commands that tests start do it as ever."""
    monkeypatch.setattr(reader, "subprocess", FORKED)


@pytest.fixture
def ready(settings: Settings, request: pytest.FixtureRequest) -> None:
    """Where the settings say is the store that the test starts from; nobody has opened it."""
    if settings.postgres is None or catalog_of(settings).exists():
        beginning: Prepared = request.getfixturevalue("beginning")
        beginning.copy_to(settings)
    else:  # a test that asks for its store late has begun with an empty database
        an_empty_store(settings, settings.home)


@pytest.fixture
def store(settings: Settings, ready: None, quick_reading: None) -> Iterator[RecordStore]:
    """A store that knows the record types."""
    with RecordStore(settings) as store:
        yield store


@pytest.fixture
def importer(store: RecordStore) -> Importer:
    return Importer(store, "tester")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that stay together come first: at the end, one worker would run the last group and the others nothing."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is marked `alone` has the machine for itself, though `make test` runs a test on each core.

    Whoever waits for the room holds the door, so that nobody slips in before.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    turns = factory.getbasetemp().parent  # of all workers; each has its own folder in it
    with (turns / "door").open("w") as door, (turns / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that is skipped was not run: the run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
