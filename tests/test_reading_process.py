"""The process that reads a stranger's file: what it is given, what it may use, and what becomes of its end."""

import gzip
import hashlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from resources.file_reader import FileReader, ReadLimits, ReadOptions
from schemas.errors import InvalidRequest, NotFound, UnreadableFile

ROWS = b"id,name\n1,a\n2,b\n3\n"


def write(folder: Path, content: bytes, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, options: ReadOptions | None = None, limits: ReadLimits | None = None) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    with FileReader(path, options, limits) as reader:
        for chunk in reader.chunks():
            rows += zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
    return rows


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path, gzip.compress(ROWS) if packed else ROWS, "file.csv.gz" if packed else "file.csv")
    with FileReader(path) as reader:
        (chunk,) = reader.chunks()
    assert reader.headers == ("id", "name")
    assert chunk.values.to_pydict() == {"0": ["1", "2"], "1": ["a", "b"]}
    assert (chunk.records.to_pylist(), chunk.lines.to_pylist()) == ([1, 2], [2, 3])
    assert [vars(bad) for bad in chunk.malformed] == [{"record": 3, "line": 4, "fields": 1, "values": ("3",)}]
    assert (reader.read, reader.sha256) == (3, hashlib.sha256(path.read_bytes()).hexdigest())
    assert (("Packed with", "gzip") in reader.understood) == packed
    assert ("Encoding", "utf-8 (certain: every byte of it is UTF-8)") in reader.understood


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.csv is empty."),
        (b"b,a,b,a,c\n1,2,3,4,5\n", "file.csv has columns of one name."),
        (b'a,b\n1,"2\n', "file.csv cannot be read: in the record that begins on line 2"),
        (gzip.compress(ROWS)[:12] + b"\xff" * 40, "file.csv is damaged: its gzip packing does not hold."),
        (gzip.compress(ROWS)[:-9], "file.csv is damaged: its gzip packing does not hold."),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile) as raised:
        read(write(tmp_path, content))
    assert raised.value.message.startswith(message)


def test_headers_are_quoted_to_the_person_and_in_no_log(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile) as raised:
        read(write(tmp_path, b"Ada,Ada\n1,2\n"))
    assert "'Ada'" in raised.value.quoted
    assert "Ada" not in str(raised.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("", "none.csv", "none/none.csv", "fifo", "gone"):
        with pytest.raises(NotFound):
            FileReader(tmp_path / name)
    with pytest.raises(NotFound):
        FileReader(Path("/dev/zero"))


def test_options_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="There is no encoding 'klingon'"):
        read(write(tmp_path, ROWS), ReadOptions(encoding="klingon"))


@pytest.mark.parametrize(
    ("content", "limits", "setting"),
    [
        (b",".join(b"c%d" % i for i in range(2001)), ReadLimits(columns=2000), "RECORDS_MAX_COLUMNS"),
        (b"x" * 5000 + b",b\n1,2\n", ReadLimits(header_characters=4000), "RECORDS_MAX_HEADER_CHARACTERS"),
        (b"a,b\n" + b"x" * 3_000_000 + b",2\n", ReadLimits(cell_mb=2), "RECORDS_MAX_CELL_MB"),
        (b"a,b\n" + b"1,2\n" * 500_000, ReadLimits(file_mb=1), "RECORDS_MAX_FILE_MB"),
        (gzip.compress(b"a,b\n" + b"0" * 50_000_000), ReadLimits(file_mb=10), "RECORDS_MAX_FILE_MB"),
    ],
    ids=["columns", "header", "cell", "file", "bomb"],
)
def test_limits_have_names(tmp_path: Path, content: bytes, limits: ReadLimits, setting: str) -> None:
    with pytest.raises(UnreadableFile, match=setting):
        read(write(tmp_path, content), limits=limits)


@pytest.mark.timeout(60)
def test_a_cell_of_100_mb_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    with path.open("wb") as file:
        file.write(b'a,b\n1,"')
        for _ in range(100):
            file.write(b"x\n" * 500_000)
        file.write(b'"\n')
    with pytest.raises(UnreadableFile, match="RECORDS_MAX_CELL_MB"):
        read(path)


def test_memory_that_runs_out_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * 2_000_000)
    with pytest.raises(UnreadableFile, match=r"RECORDS_MAX_READER_MEMORY_MB|ended the process"):
        read(path, limits=ReadLimits(reader_memory_mb=1))


def test_a_process_that_is_killed_is_an_error_and_never_the_end_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * 5_000_000)
    with FileReader(path) as reader:
        chunks = reader.chunks()
        next(chunks)
        psutil.Process(reader._child.pid).send_signal(signal.SIGKILL)
        with pytest.raises(UnreadableFile, match="was ended from outside"):
            list(chunks)
    assert reader.read == 0


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * 5_000_000)
    with FileReader(path) as reader:
        chunks = reader.chunks()
        next(chunks)
        with path.open("ab") as file:
            file.write(b"3,4\n")
        with pytest.raises(UnreadableFile, match="was changed while it was read"):
            list(chunks)


def test_a_reader_that_is_left_leaves_no_process(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * 5_000_000)
    with FileReader(path) as reader:
        next(reader.chunks())
    assert not psutil.pid_exists(reader._child.pid)
    with FileReader(path) as reader:
        pass
    assert not psutil.pid_exists(reader._child.pid)


def test_the_process_has_the_file_a_pipe_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDS_CANARY", "secret")
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * 5_000_000)
    with FileReader(path) as reader:
        assert reader.headers == ("a", "b")
        child = psutil.Process(reader._child.pid)
        assert "RECORDS_CANARY" not in child.environ()
        assert {Path(file.path) for file in child.open_files()} == {path}
        deadline = time.monotonic() + 10
        while child.rlimit(psutil.RLIMIT_CPU)[0] < 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        limits = ReadLimits()
        assert child.rlimit(psutil.RLIMIT_CPU)[0] == limits.reader_seconds
        assert child.rlimit(psutil.RLIMIT_FSIZE)[0] == limits.file_mb * 1_000_000
        assert child.rlimit(psutil.RLIMIT_NOFILE)[0] == 64
        assert 0 < child.rlimit(psutil.RLIMIT_AS)[0] < 8_000_000_000
        assert child.net_connections() == []


def test_limits_come_from_the_environment() -> None:
    assert ReadLimits.from_environment({"RECORDS_MAX_COLUMNS": "7"}) == ReadLimits(columns=7)
    with pytest.raises(InvalidRequest, match="RECORDS_MAX_CELL_MB is '-1'"):
        ReadLimits.from_environment({"RECORDS_MAX_CELL_MB": "-1"})
