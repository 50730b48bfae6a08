"""The store and the `records ui` that the tests here share: to start a server takes seconds of the processor."""

from collections.abc import Iterator

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.serving import Server, environment, serving


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordStore]:
    """A store without records; tests read from it the effect of what the browser did."""
    settings = Settings.from_environment(environment(tmp_path_factory.mktemp("browser")))
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        yield store


@pytest.fixture(scope="package")
def server(store: RecordStore) -> Iterator[Server]:
    """`records ui` of the store, with olga as the operator."""
    with serving(store.settings.home.parent, RECORDS_ACTOR="olga") as server:
        yield server
