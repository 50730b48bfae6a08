"""The short form of `make faults`, and tests of its parts."""

import errno
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import SHORT_SECONDS, SHORT_SHARE
from tests.faults.harness import shim
from tests.faults.harness.disk import Data, Disk, Names
from tests.faults.harness.kinds import KINDS
from tests.faults.harness.run import run
from tests.faults.harness.shim import How, Kind, Kinds, Orders, recorded
from tests.faults.harness.workers import Workers, workers


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    with workers() as started:
        yield started


def test_a_few_faults_of_each_kind_do_no_harm() -> None:
    lines: list[str] = []

    rows = run(1, SHORT_SHARE, SHORT_SECONDS, report=lines.append)

    assert [row.kind for row in rows if not row.times and not row.why.startswith("not run")] == []
    assert len(rows) == len(KINDS)
    assert sum(len(row.violations) for row in rows) == 0, "\n".join(lines)


def _files(root: Path) -> None:
    """One file is flushed with its name, one without, one not at all; one is renamed; an old one is written."""
    for name, flushes in (("whole", 2), ("nameless", 1), ("nothing", 0)):
        folder = root / name
        folder.mkdir()
        with (folder / "file").open("wb") as file:
            file.write(b"content")
            file.flush()
            if flushes:
                os.fsync(file.fileno())
        if flushes == 2:
            _flush(folder)
            _flush(root)
    os.replace(root / "old", root / "new")
    with (root / "kept").open("r+b") as file:
        file.write(b"BE")


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.fixture
def disk(tmp_path: Path, pool: Workers) -> Disk:
    """A disk on which some files were made."""
    root = tmp_path / "disk"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    (root / "kept").write_bytes(b"before")
    disk = Disk(root)
    record = tmp_path / "record"
    pool.call(_files, root, orders=Orders(root=root, record=record))
    for operation in recorded(record):
        disk.play(operation)
    return disk


def _contents(disk: Disk, names: Names, data: Data) -> dict[str, bytes]:
    return {path: content for path, (content, _) in disk.image(names, data, random.Random(1)).files.items()}


def test_a_disk_keeps_what_was_flushed_alone(disk: Disk) -> None:
    assert _contents(disk, Names.NONE, Data.NONE) == {"whole/file": b"content", "old": b"old", "kept": b"before"}


def test_a_disk_that_orders_names_has_them_all_and_no_data(disk: Disk) -> None:
    flushed = {"whole/file": b"content", "nameless/file": b"content"}
    assert _contents(disk, Names.ALL, Data.NONE) == {**flushed, "nothing/file": b"", "new": b"old", "kept": b"before"}
    assert _contents(disk, Names.ALL, Data.ZEROS)["nothing/file"] == bytes(7)


def test_a_disk_that_wrote_everything_has_everything(disk: Disk, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert _contents(disk, Names.ALL, Data.ALL) == files
    assert files["kept"] == b"BEfore"


def _two_writes(path: Path) -> int:
    with path.open("wb", buffering=0) as file:
        file.write(b"12345678")
        file.write(b"12345678")
    return shim.done()


@pytest.mark.parametrize(
    ("number", "how", "left"),
    [
        (1, How.BEFORE, None),
        (1, How.AFTER, 0),
        (2, How.BEFORE, 0),
        (2, How.TORN, 4),
        (2, How.AFTER, 8),
        (3, How.AFTER, 16),
    ],
)
def test_a_process_is_killed_at_the_operation(
    pool: Workers, tmp_path: Path, number: int, how: How, left: int | None
) -> None:
    path = tmp_path / "file"

    outcome = pool.call(_two_writes, path, orders=Orders(root=tmp_path, kill_at=number, kill_how=how))

    assert outcome.died == "died by SIGKILL"
    assert (path.stat().st_size if path.exists() else None) == left


def test_a_disk_is_full_from_an_operation_on(pool: Workers, tmp_path: Path) -> None:
    path = tmp_path / "file"
    full = Orders(root=tmp_path, fail_from=3, error=errno.ENOSPC, kinds=Kinds.ROOM)

    assert pool.call(_two_writes, path).value == 0
    assert pool.call(_two_writes, path, orders=Orders(root=tmp_path)).value == 3
    outcome = pool.call(_two_writes, path, orders=full)

    assert (outcome.error, path.stat().st_size) == ("OSError", 8)
    assert outcome.code == "disk_full"


def _times(path: Path) -> tuple[float, float]:
    return time.time(), path.stat().st_mtime


def test_clocks_and_files_are_of_their_eras(pool: Workers, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    now = time.time()
    eras = ((0.0, -1000.0), (now + 0.5, 5000.0))
    time.sleep(0.6)

    ahead, old = pool.call(_times, tmp_path / "file", orders=Orders(eras=eras)).value
    _, real = pool.call(_times, tmp_path / "file", orders=Orders(eras=eras, files=False)).value

    assert ahead == pytest.approx(now + 5000, abs=30)
    assert old == pytest.approx(now - 1000, abs=30)
    assert real == pytest.approx(now, abs=30)


def test_a_process_that_hangs_is_killed(pool: Workers) -> None:
    assert pool.call(time.sleep, 60, seconds=0.3).died == "hung for 0 s"


def test_each_operation_of_a_commit_is_seen(pool: Workers, tmp_path: Path) -> None:
    record = tmp_path / "record"
    home = tmp_path / "home"

    outcome = pool.call(_commit, home, orders=Orders(root=home, record=record))

    assert outcome.ended_well, outcome.trace
    seen = {(it.kind, Path(it.path).name.rpartition("-")[2]) for it in recorded(record)}
    assert {(Kind.SYNC, "wal"), (Kind.WRITE, "wal"), (Kind.WRITE, "catalog.sqlite")} <= seen
    assert any(it.kind is Kind.WRITE and it.path.endswith(".parquet") for it in recorded(record))


def _commit(home: Path) -> None:
    from resources.record_store import RecordStore
    from schemas import load_record_types
    from tests.faults.steps import settings_of

    with RecordStore(settings_of(home)) as store:
        store.initialise(load_record_types())
