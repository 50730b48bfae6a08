"""Full disks, files without write permission, too little memory: each gives a clear error and changes nothing."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from pipelines.store_resource import RecordsResource
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.system_errors import system_error
from schemas.errors import (
    CommitUnknown,
    DamagedFile,
    DiskFull,
    NotAccessible,
    OutOfMemory,
    RecordsError,
    StoreBusy,
)
from tests.any_user import as_any_user
from tests.full_disk import Disk, small_disk
from tests.records import stored


def run(*arguments: str) -> tuple[int, Any]:
    """Run a command; returns its exit code and object."""
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert "Traceback" not in result.output
    return result.exit_code, json.loads(result.stdout)


def done(*arguments: str) -> Any:
    code, printed = run(*arguments)
    assert code == 0, printed
    return printed


def state() -> Any:
    """Return the content of the store: its records, batches and exports."""
    with RecordStore(Settings.from_environment()) as store:
        return stored(store), [(batch.batch_id, batch.status) for batch in store.batches()], store.exports()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def _file(folder: Path, first: int, last: int, company: str) -> str:
    path = folder / f"{company}.csv"
    path.write_text("external_id,status,company\n" + "".join(f"C-{n},lead,{company}{n}\n" for n in range(first, last)))
    return str(path)


@pytest.mark.parametrize("where", ["data", "catalog"])
def test_a_full_disk_is_a_sentence_at_each_write_and_the_store_is_as_before(
    home: Path, disk: Disk, where: str, tmp_path: Path, quick_reading: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (
        {"data": disk.folder, "catalog": tmp_path} if where == "data" else {"data": tmp_path, "catalog": disk.folder}
    )
    monkeypatch.setenv("RECORDS_HOME", str(places["catalog"] / "home"))
    monkeypatch.setenv("RECORDS_DATA", str(places["data"] / "data"))
    of = ["-a", "ua", "-t", "contacts"]
    done("init")
    done("import", _file(tmp_path, 0, 3000, "old"), *of)
    rolled_back = done("import", _file(tmp_path, 0, 3000, "new"), *of)["batch_id"]
    for number in (8000, 9000):  # small files, which maintenance merges
        done("import", _file(tmp_path, number, number + 10, f"small{number}"), *of)
    waiting = done("preview", _file(tmp_path, 3000, 6000, "more"), *of)["batch_id"]
    before = state()
    operations = {
        "preview": ["preview", _file(tmp_path, 0, 3000, "next"), *of],
        "commit": ["commit", waiting],
        "rollback": ["rollback", rolled_back],
        "export": ["export", *of],
        "maintain": ["maintain"],
        "discard": ["discard", waiting],
        "account": ["accounts", "add", "dl"],
    }
    outcomes = {}
    for name, arguments in operations.items():
        if where == "data" and name in {"discard", "account"}:  # these write to the catalog alone
            continue
        disk.fill()
        outcomes[name] = run(*arguments)
    found = {name: (code, error.get("error", {}).get("code")) for name, (code, error) in outcomes.items()}
    expected = {"disk_full"} if disk.is_mounted else {"disk_full", "commit_unknown", "not_accessible"}
    assert {code for _, code in found.values()} <= expected, found
    for name, (_, error) in outcomes.items():
        message = error["error"]["message"] + error["error"]["hint"]
        assert ("oom" in message) or not disk.is_mounted, name  # the hint says how to make room
        assert not any(word in message for word in ("INSERT", "SELECT", "parquet", "C-")), message
    disk.free()

    assert state() == before
    done("commit", waiting)
    assert done("rollback", rolled_back)["restored"] == 3000
    assert done("export", *of)["rows"] == 6020
    done("maintain")


def test_a_store_that_cannot_be_made_on_a_full_disk_can_be_made_later(
    home: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_HOME", str(disk.folder / "home"))
    disk.fill()
    code, printed = run("init")
    assert code == 1
    assert printed["error"]["code"] in ({"disk_full"} if disk.is_mounted else {"disk_full", "not_accessible"})
    disk.free()
    done("init")
    assert done("batches")["items"] == []


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "full", "/data/x"), DiskFull, "There is no room in /data: the disk is full."),
        (OSError(errno.EDQUOT, "full", "/data/x"), DiskFull, "the quota of its disk is used up"),
        (OSError(errno.ENOSPC, "full"), DiskFull, "There is no room in /"),
        (OSError(errno.EROFS, "", "/data/x"), NotAccessible, "/data/x cannot be read or written: Read-only file"),
        (OSError(errno.ENAMETOOLONG, "", "/data/x"), NotAccessible, "File name too long"),
        (NotADirectoryError(errno.ENOTDIR, "", b"/data/x"), NotAccessible, "/data/x .* Not a directory"),
        (PermissionError(errno.EACCES, ""), NotAccessible, "A file or folder cannot .* Permission denied"),
        (PermissionError(errno.EACCES, "'/of/a/file'"), NotAccessible, "A file or folder cannot .* Permission denied"),
        (duckdb.IOException('IO Error: Could not write file "/d/x": No space left on device'), DiskFull, "in /d: the"),
        (duckdb.IOException('IO Error: Cannot open file "/d/x": Permission denied'), NotAccessible, "/d/x cannot"),
        (duckdb.OutOfMemoryException("Out of Memory Error: no (1/2 used)"), OutOfMemory, "more memory than"),
        (
            duckdb.OutOfMemoryException(
                "Out of Memory Error: limit was set by the 'max_temp_directory_size' setting: 0"
            ),
            DiskFull,
            "There is no room",
        ),
        (MemoryError(), OutOfMemory, "more memory than"),
    ],
)
def test_what_the_system_refuses_has_a_kind_and_a_place(
    error: Exception, kind: type[RecordsError], message: str
) -> None:
    import re

    translated = system_error(error)
    assert type(translated) is kind
    assert re.search(message, translated.message)
    assert translated.hint


def test_a_file_that_arrow_may_not_open_is_named(tmp_path: Path) -> None:
    file = tmp_path / "records.parquet"
    file.touch(0)
    with as_any_user(), pytest.raises(PermissionError) as refused:
        pq.ParquetFile(file)
    assert refused.value.filename is None
    assert str(system_error(refused.value)).startswith(f"{file} cannot be read or written: Permission denied.")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "", "/x"), KeyError("No space left on device "), OSError()]
)
def test_what_the_system_did_not_refuse_is_left_alone(error: Exception) -> None:
    assert system_error(error) is None


@pytest.mark.runs_on("laptop")
def test_memory_that_is_not_enough_is_a_sentence(store: RecordStore) -> None:
    settings = replace(store.settings, duckdb_memory="60MB")
    with pytest.raises(OutOfMemory), RecordStore(settings) as small, small.reading() as connection:  # noqa: PT012
        connection.execute("SET temp_directory = ''")
        connection.execute("SELECT list(md5(n::VARCHAR)) FROM range(4000000) t(n)").fetch_all()
    assert store.accounts() == []


@pytest.mark.runs_on("laptop")
def test_a_locked_catalog_is_busy(store: RecordStore, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "resources.record_store.catalog.SqliteCatalog.options", lambda *_, **__: {"META_BUSY_TIMEOUT": 100}
    )
    locks = f"import sqlite3; c = sqlite3.connect({str(settings.catalog)!r}, isolation_level=None)"
    command = [sys.executable, "-c", f"{locks}; c.execute('BEGIN IMMEDIATE'); print(1, flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with RecordStore(settings) as second, pytest.raises(StoreBusy, match=r"has locked the catalog") as raised:
            second.add_account("dl", "tester")
        other.kill()
    assert raised.value.transient
    assert store.add_account("dl", "tester")


@pytest.mark.runs_on("laptop")
@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + bytes(5000)], ids=["text", "zeros"])
def test_a_damaged_catalog_is_reported(store: RecordStore, settings: Settings, content: bytes) -> None:
    for file in settings.home.glob("catalog.sqlite-*"):
        file.unlink()
    settings.catalog.write_bytes(content)
    with (
        RecordStore(settings) as broken,
        pytest.raises(DamagedFile, match=r"is damaged\. SQLite says: "),
    ):
        broken.accounts()


def test_a_commit_that_the_disk_failed_is_not_tried_again() -> None:
    from resources.record_store.sqlite_errors import sqlite_error

    failing = duckdb.TransactionException('Failed to commit: Failed to execute query "COMMIT": disk I/O error')
    translated = sqlite_error(failing, Path("/x/catalog.sqlite"), commits=True)
    assert isinstance(translated, CommitUnknown)
    assert not translated.transient
    assert isinstance(sqlite_error(failing, Path("/x/catalog.sqlite")), NotAccessible)
    quoted = duckdb.Error("Failed to execute query \"INSERT … 'database is locked'\": constraint failed")
    assert sqlite_error(quoted, Path("/x/catalog.sqlite")) is quoted


@pytest.mark.runs_on("laptop")
def test_a_step_on_a_full_disk_fails_with_the_sentence(ready: None) -> None:
    resource: Any = None  # Dagster makes this object, and it has no method but this
    with pytest.raises(dg.Failure, match="There is no room in /data") as raised, RecordsResource.open(resource):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
    assert raised.value.metadata["code"].value == "disk_full"
