"""A rollback during an import of the same keys, an export, expiry or maintenance: each is complete or refused."""

from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus
from schemas.errors import ModifiedSince, RecordsError, WindowOver
from schemas.exports import ExportRequest
from schemas.rollbacks import RollbackRequest
from tests.faults.steps import processes
from tests.records import contact, contacts_of, stored, values, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")

Outcome = str | RecordsError
Act = Callable[[RecordStore], str]

OLD = {f"C-{n:06}": "old" for n in range(20)}
NEW = OLD | {f"C-{n:06}": "new" for n in range(10, 30)}


def _roll_back(batch_id: str, store: RecordStore) -> str:
    return store.account("ua").roll_back(RollbackRequest("ua", batch_id), "tester", None).status


def _import(path: Path, store: RecordStore) -> str:
    return str(Importer(store, "tester").import_file(contacts_of(path)).batch.counts)


def _export(path: Path, store: RecordStore) -> str:
    return str(ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", path=path)).rows)


def _expire(store: RecordStore) -> str:
    return ",".join(Maintenance(store, "tester").expire().expired)


def _maintain(store: RecordStore) -> str:
    return str(Maintenance(store, "tester").maintain().merged > 0)


def _act(settings: Settings, act: Act, barrier: Barrier, result: Connection) -> None:
    with RecordStore(settings) as store:
        store.accounts()  # this opens the store
        barrier.wait(timeout=120)
        try:
            result.send(act(store))
        except RecordsError as error:
            result.send(error)


def at_once(settings: Settings, *acts: Act) -> list[Outcome]:
    """Run the actions at the same time, each in a process of its own; returns their results."""
    context = processes()
    barrier = context.Barrier(len(acts))
    pipes = [context.Pipe(duplex=False) for _ in acts]
    running = [
        context.Process(target=_act, args=(settings, act, barrier, sender))
        for act, (_, sender) in zip(acts, pipes, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * len(acts)
    return [receiver.recv() for receiver, _ in pipes]


@pytest.fixture
def batch_id(importer: Importer, tmp_path: Path) -> str:
    """A batch that has changed ten of twenty contacts and added ten."""
    importer.import_file(contacts_of(write_csv(tmp_path / "old.csv", [contact(n, company="old") for n in range(20)])))
    new = write_csv(tmp_path / "new.csv", [contact(n, company="new") for n in range(10, 30)])
    return importer.import_file(contacts_of(new)).batch.batch_id


def test_beside_an_import_of_the_same_keys(
    store: RecordStore, settings: Settings, batch_id: str, tmp_path: Path
) -> None:
    newest = write_csv(tmp_path / "newest.csv", [contact(n, company="newest") for n in range(15, 25)])

    rolled_back, imported = at_once(settings, partial(_roll_back, batch_id), partial(_import, newest))

    changed = {f"C-{n:06}": "newest" for n in range(15, 25)}
    if isinstance(rolled_back, ModifiedSince):
        assert (values(store, "company"), imported) == (NEW | changed, "10 updated")
    else:
        assert rolled_back == "committed"
        assert (values(store, "company"), imported) == (OLD | changed, "5 created, 5 updated")


def test_beside_exports_that_see_one_snapshot(
    store: RecordStore, settings: Settings, batch_id: str, tmp_path: Path
) -> None:
    files = [tmp_path / f"export-{number}.csv" for number in range(3)]

    rolled_back, *rows = at_once(settings, partial(_roll_back, batch_id), *(partial(_export, file) for file in files))

    assert rolled_back == "committed"
    assert values(store, "company") == OLD
    for file, count in zip(files, rows, strict=True):
        companies = [line.split(",")[3] for line in file.read_text().splitlines()[1:]]
        assert (companies, count) in ((list(OLD.values()), "20"), (list(NEW.values()), "30"))


def test_beside_expiry(store: RecordStore, settings: Settings, batch_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = store.account("ua").batch(batch_id).committed_at
    assert committed is not None
    elapsed = (store.now() - committed).total_seconds()
    object.__setattr__(settings, "rollback_hours", (elapsed + 1.5) / 3600)

    rolled_back, expired = at_once(settings, partial(_roll_back, batch_id), _expire)

    status = store.account("ua").batch(batch_id).status
    if isinstance(rolled_back, WindowOver):
        assert values(store, "company") == NEW
        assert status in (BatchStatus.COMMITTED, BatchStatus.EXPIRED)
    else:
        assert (rolled_back, status) == ("committed", BatchStatus.ROLLED_BACK)
        assert values(store, "company") == OLD
        assert batch_id not in str(expired)


def test_beside_maintenance(store: RecordStore, settings: Settings, batch_id: str) -> None:
    rolled_back, *maintained = at_once(settings, partial(_roll_back, batch_id), _maintain, _maintain)

    assert rolled_back == "committed"
    assert "True" in maintained
    assert values(store, "company") == OLD
    assert len(stored(store)) == 20


def test_two_rollbacks_are_one(store: RecordStore, settings: Settings, batch_id: str) -> None:
    assert sorted(map(str, at_once(settings, *[partial(_roll_back, batch_id)] * 2))) == ["committed", "rolled_back"]
    assert values(store, "company") == OLD
    assert len([batch for batch in store.batches() if batch.undone]) == 1
