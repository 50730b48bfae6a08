"""SIGKILL after every statement and every rename of an import: the whole batch is there, or nothing of it."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from resources.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import BatchStatus, Counts
from schemas.errors import AlreadyImported
from tests.faults.steps import Steps, processes
from tests.records import contact, contacts_of, stored, write_csv


def _settings(home: Path) -> Settings:
    return Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester"})


def _import(home: Path, path: Path, fatal: int | None, result: Connection) -> None:
    steps = Steps(fatal)
    steps.count_renames()
    with RecordStore(_settings(home), connect=steps.connect) as store:
        Importer(store, "tester").import_file(contacts_of(path))
    result.send(steps.taken)


def _run(home: Path, path: Path, fatal: int | None) -> tuple[int | None, int | None]:
    """The exit code of the importing process, and how many steps it took if it came to its end."""
    context = processes()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_import, args=(home, path, fatal, sender))
    process.start()
    sender.close()
    process.join()
    return process.exitcode, receiver.recv() if process.exitcode == 0 else None


def _contents(store: RecordStore) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "_batch"} for row in stored(store)]


def _again(store: RecordStore, path: Path) -> Counts | str:
    """What the same command comes to: its counts, or the batch that has imported the file already."""
    try:
        return Importer(store, "tester").import_file(contacts_of(path)).batch.counts
    except AlreadyImported as refusal:
        (batch_id,) = [batch.batch_id for batch in store.batches() if batch.batch_id in refusal.message]
        return batch_id


def test_an_import_killed_at_any_step_is_whole_or_nothing(empty_store: Path, tmp_path: Path) -> None:
    template = shutil.copytree(empty_store, tmp_path / "template")
    first = write_csv(tmp_path / "first.csv", [contact(n, company="old") for n in range(20)])
    second = write_csv(
        tmp_path / "second.csv", [contact(n, company="old" if n == 10 else "new") for n in range(10, 30)]
    )
    with RecordStore(_settings(template)) as store:
        Importer(store, "tester").import_file(contacts_of(first))
        before = _contents(store)
    undisturbed = shutil.copytree(template, tmp_path / "undisturbed")
    exit_code, steps = _run(undisturbed, second, None)
    assert exit_code == 0
    assert steps is not None
    assert steps > 10
    with RecordStore(_settings(undisturbed)) as store:
        after = _contents(store)
    assert before != after

    def survives(fatal: int) -> bool:
        home = shutil.copytree(template, tmp_path / f"killed-{fatal}")
        assert _run(home, second, fatal) == (-signal.SIGKILL, None)
        with RecordStore(_settings(home)) as store:
            found = _contents(store)
            committed = [batch for batch in store.batches() if batch.status is BatchStatus.COMMITTED]
            assert found == (after if len(committed) == 2 else before), fatal
            assert {row["_batch"] for row in stored(store)} <= {batch.batch_id for batch in committed}
            again = _again(store, second)
            assert _contents(store) == after, fatal
            landed = committed[0].batch_id if found == after else None
        shutil.rmtree(home)
        whole = Counts(read=20, created=10, updated=9, unchanged=1)
        assert again == (landed or whole), fatal
        return bool(found == after)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        landed = list(pool.map(survives, range(1, steps + 1)))
    # Once the commit has landed every later kill finds it whole; before, nothing.
    assert landed == sorted(landed)
    assert set(landed) == {False, True}
