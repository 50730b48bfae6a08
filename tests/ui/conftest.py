"""The `records ui` that the tests here share, one after the other: to start a server takes seconds of the processor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.records import put
from tests.serving import Server, environment, serving


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a home with a store in which account ex has 1,200 contacts."""
    folder = tmp_path_factory.mktemp("ui")
    with RecordStore(Settings.from_environment(environment(folder))) as store:
        store.initialise(load_record_types())
        contacts = "SELECT 'C-' || i AS external_id, 'lead' AS status, md5(i::VARCHAR) AS notes FROM range(1200) t(i)"
        put(store, contacts, account="ex")
    return folder


@pytest.fixture(scope="package")
def server(folder: Path) -> Iterator[Server]:
    """`records ui` of the folder's home."""
    with serving(folder) as server:
        yield server
