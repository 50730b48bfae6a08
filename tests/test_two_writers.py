"""Two processes that import at the same time."""

from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import TracebackType

import pytest

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.write_lock import WriteLock
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.counts import Counts
from schemas.errors import AlreadyImported
from tests.faults.steps import processes
from tests.records import contact, contacts_of, stored, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")


class _MeetBeforeCommit:
    """The store's lock; a test lets both processes meet before the first commit takes it."""

    def __init__(self, lock: WriteLock, barrier: Barrier) -> None:
        self._inner = lock
        self._barrier = barrier
        self._taken = 0

    def __enter__(self) -> None:
        self._taken += 1
        if self._taken == 2:  # the first time is for the preview's row in the ledger
            self._barrier.wait(timeout=120)
        self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def prove(self) -> None:
        self._inner.prove()


def _import(settings: Settings, path: Path, barrier: Barrier, result: Connection) -> None:
    with RecordStore(settings) as store:
        store.write_lock = _MeetBeforeCommit(store.write_lock, barrier)
        try:
            result.send(Importer(store, "tester").import_file(contacts_of(path)).batch.counts)
        except AlreadyImported as error:
            result.send(error)


def _import_at_once(settings: Settings, paths: list[Path]) -> list[Counts | AlreadyImported]:
    context = processes()
    barrier = context.Barrier(len(paths))
    pipes = [context.Pipe(duplex=False) for _ in paths]
    running = [
        context.Process(target=_import, args=(settings, path, barrier, sender))
        for path, (_, sender) in zip(paths, pipes, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * len(paths)
    return [receiver.recv() for receiver, _ in pipes]


def test_different_files_both_land(store: RecordStore, settings: Settings, tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / "a.csv", [contact(n) for n in range(10)]),
        write_csv(tmp_path / "b.csv", [contact(n) for n in range(10, 30)]),
    ]

    counts = _import_at_once(settings, paths)

    assert counts == [Counts(read=10, created=10), Counts(read=20, created=20)]
    assert sorted(row["external_id"] for row in stored(store)) == [f"C-{n:06}" for n in range(30)]


def test_the_same_new_keys_are_there_once(store: RecordStore, settings: Settings, tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / f"{company}.csv", [contact(n, company=company) for n in range(10)])
        for company in ("A", "B")
    ]

    counts = _import_at_once(settings, paths)

    assert sorted(map(str, counts)) == ["10 created", "10 updated"]
    rows = stored(store)
    assert [row["external_id"] for row in rows] == [f"C-{n:06}" for n in range(10)]
    assert len({row["company"] for row in rows}) == 1  # the later one's values, whole


def test_the_same_content_is_committed_once(store: RecordStore, settings: Settings, tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{name}.csv", [contact(n) for n in range(10)]) for name in ("a", "b")]

    ends = _import_at_once(settings, paths)

    (refused,) = [end for end in ends if isinstance(end, AlreadyImported)]
    (written,) = [end for end in ends if isinstance(end, Counts)]
    assert written == Counts(read=10, created=10)
    (committed,) = store.batches(status=BatchStatus.COMMITTED)
    assert committed.batch_id in refused.message
    assert [batch.status for batch in store.batches() if batch != committed] == [BatchStatus.DISCARDED]
    assert {row["_batch"] for row in stored(store)} == {committed.batch_id}
