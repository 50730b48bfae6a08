"""After a kill of the daemon while it takes arrived files, the next daemon loses and duplicates nothing."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import BatchStatus
from tests.faults.daemon import daemons
from tests.inbox import kinds, lands
from tests.records import contact, stored

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Callable[..., int | None]]:
    with daemons() as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("fatal", "found"),
    [
        ("TICK_CREATED", "inbox"),
        ("RUN_IDS_RESERVED", "processing"),
        ("RUN_CREATED", "processing"),
        ("RUN_LAUNCHED", "archive"),
    ],
)
@pytest.mark.runs_on("laptop", "postgres")
def test_a_killed_daemon_loses_and_duplicates_nothing(
    settings: Settings, ready: None, daemon: Callable[..., int | None], fatal: str, found: str
) -> None:
    with RecordStore(settings) as store:
        for account in ("ua", "dl"):
            store.add_account(account, "tester")
            lands(store, f"{account}.csv", [contact(1), contact(2)], f"{account}/contacts")

        began = time.time()
        assert daemon(settings, began, range(2), fatal) == -signal.SIGKILL
        assert kinds(store) == {"ua.csv": [found], "dl.csv": [found]}
        assert daemon(settings, began, range(2, 4)) == 0

        assert kinds(store) == {"ua.csv": ["archive"], "dl.csv": ["archive"]}
        batches = [(batch.file_name, batch.status) for batch in store.batches()]
        assert sorted(batches) == [("dl.csv", BatchStatus.COMMITTED), ("ua.csv", BatchStatus.COMMITTED)]
        assert [len(stored(store, account=account)) for account in ("ua", "dl")] == [2, 2]
