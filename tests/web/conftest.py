"""A client of the web pages, and files as people upload them."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from pipelines.web.application import application
from resources.record_store import RecordStore
from tests.web.visitor import Visitor

ORIGIN = "http://127.0.0.1"


@pytest.fixture
def client(store: RecordStore) -> Iterator[TestClient]:
    """A browser on this machine, without scripts."""
    headers = {"Origin": ORIGIN}
    with TestClient(
        application(store.settings), ORIGIN, headers=headers, follow_redirects=False, client=("127.0.0.1", 50_000)
    ) as client:
        yield client


@pytest.fixture
def visitor(client: TestClient) -> Visitor:
    """The operator, who uses the account ua."""
    return Visitor(client, "ua")
