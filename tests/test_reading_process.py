"""The process that reads an untrusted file: its input, its limits, and how its end is reported."""

import gzip
import hashlib
import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.file_reader import FileReader, ReadLimits, ReadOptions
from resources.file_reader.child import _unpacked
from schemas.errors import InvalidRequest, NotFound, UnreadableFile
from tests.test_excel import book

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
    assert [vars(bad) for bad in chunk.malformed] == [
        {"record": 3, "line": 4, "fields": 1, "values": ("3",), "why": "field_count"}
    ]
    assert (reader.read, reader.sha256) == (3, hashlib.sha256(path.read_bytes()).hexdigest())
    assert (("Packed with", "gzip") in reader.understood) == packed
    assert ("Encoding", "utf-8 (certain: every byte of it is UTF-8)") in reader.understood


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.csv is empty."),
        (b'a,"b\n1,2\n', "file.csv cannot be read: in the record that begins on line 1"),
        (gzip.compress(ROWS, mtime=0)[:12] + b"\xff" * 40, "file.csv is damaged: it cannot be unpacked with gzip."),
        (gzip.compress(ROWS, mtime=0)[:-9], "file.csv is damaged: it cannot be unpacked with gzip."),
    ],
)
def test_an_unreadable_file_is_refused_with_a_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile) as raised:
        read(write(tmp_path, content))
    assert raised.value.message.startswith(message)


def test_headers_are_quoted_to_the_person_and_in_no_log(tmp_path: Path) -> None:
    path = write(tmp_path, book([["Contacts"], ["Ada", "Bo"]]))
    with pytest.raises(InvalidRequest) as raised, FileReader(path, ReadOptions(header_row=3)) as reader:
        assert reader.headers
    assert "'Ada | Bo'" in raised.value.quoted
    assert "Ada" not in str(raised.value)


def test_other_things_than_files_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("", "none.csv", "none/none.csv", "fifo", "gone"):
        with pytest.raises(NotFound):
            FileReader(tmp_path / name)
    with pytest.raises(NotFound):
        FileReader(Path("/dev/zero"))


def test_invalid_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="There is no encoding 'klingon'"):
        read(write(tmp_path, ROWS), ReadOptions(encoding="klingon"))


@pytest.mark.parametrize(
    ("content", "limits", "setting"),
    [
        (b",".join(b"c%d" % i for i in range(2001)), ReadLimits(columns=2000), "RECORDS_MAX_COLUMNS"),
        (b"x" * 5000 + b",b\n1,2\n", ReadLimits(header_characters=4000), "RECORDS_MAX_HEADER_CHARACTERS"),
        (b"a,b\n" + b"x" * 3_000_000 + b",2\n", ReadLimits(cell_mb=2), "RECORDS_MAX_CELL_MB"),
        (b"a,b\n" + b"1,2\n" * 500_000, ReadLimits(file_mb=1), "RECORDS_MAX_FILE_MB"),
        (gzip.compress(b"a,b\n" + b"0" * 50_000_000, mtime=0), ReadLimits(file_mb=10), "RECORDS_MAX_FILE_MB"),
    ],
    ids=["columns", "header", "cell", "file", "bomb"],
)
def test_limits_have_names(tmp_path: Path, content: bytes, limits: ReadLimits, setting: str) -> None:
    with pytest.raises(UnreadableFile, match=setting):
        read(write(tmp_path, content), limits=limits)


CELL = [b"x" * 1_000_000] * 100
NAMES = [b"c%d" % number for number in range(1_000_000)]
BOMBS: dict[str, tuple[str, list[bytes], str]] = {
    "gzip": (
        "csv.gz",
        [gzip.compress(b"a,b\n", mtime=0), *[gzip.compress(b"1,2\n" * 5_000_000, mtime=0)] * 20],
        "RATIO",
    ),
    "blank lines": ("csv", [b"a,b\n1,2\n", *[b"\n" * 1_000_000] * 50], "BLANK_LINES"),
    "blank lines above": ("csv", [*[b"\r\n" * 1_000_000] * 3, b"a,b\n1,2\n"], "BLANK_LINES"),
    "blank lines after an odd one": ("csv", [b'a,b\n1"x",2\n', *[b"\n" * 1_000_000] * 10], "BLANK_LINES"),
    "blank lines of JSON": ("ndjson", [b'{"a":1}\n', *[b"\n" * 1_000_000] * 50], "BLANK_LINES"),
    "white lines of JSON": ("ndjson", [b'{"a":1}\n', *[b" \n" * 1_000_000] * 10], "BLANK_LINES"),
    "deep array": ("json", [b'[{"a":', b"[" * 100_000, b"]" * 100_000, b"}]"], "DEPTH"),
    "deep object": ("json", [b"[", b'{"a":' * 100_000, b"1", b"}" * 100_000, b"]"], "DEPTH"),
    "deep line": ("ndjson", [b'{"a":' * 100_000, b"1", b"}" * 100_000], "DEPTH"),
    "columns": ("csv", [b",".join(NAMES), b"\n1,2\n"], "COLUMNS"),
    "members": ("json", [b'[{"', b'":1,"'.join(NAMES), b'":1}]'], "COLUMNS"),
    "members of lines": ("ndjson", [b'{"', b'":1}\n{"'.join(NAMES), b'":1}\n'], "COLUMNS"),
    "cell": ("csv", [b'a,b\n1,"', *[b"x\n" * 500_000] * 100, b'"\n'], "CELL_MB"),
    "cell without quotes": ("csv", [b"a,b\n1,", *CELL, b"\n"], "CELL_MB"),
    "text": ("json", [b'[{"a":"', *CELL, b'"}]'], "RECORD_MB"),
    "text on a line": ("ndjson", [b'{"a":"', *CELL, b'"}\n'], "RECORD_MB"),
    "header": ("csv", CELL, "CELL_MB"),
    "row without an end": ("csv", [b"a,b\n", *[b"1,23," * 200_000] * 100], "CELL_MB"),
    "line without an end": ("csv", [b"1,23," * 200_000] * 100, "CELL_MB"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("suffix", "parts", "setting"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_soon_and_in_little_memory_by_a_limit_with_a_name(
    tmp_path: Path, suffix: str, parts: list[bytes], setting: str
) -> None:
    path = tmp_path / f"bomb.{suffix}"
    with path.open("wb") as file:
        file.writelines(parts)
    # The operating system limits the memory, and 100 MB for the start of the process come on top.
    with pytest.raises(UnreadableFile) as raised:
        read(path, limits=ReadLimits(file_mb=300, reader_memory_mb=600))
    assert f"RECORDS_MAX_{setting}" in str(raised.value)


def test_what_a_packed_file_may_become_is_a_multiple_of_its_size(tmp_path: Path) -> None:
    """The limit applies to what is unpacked so far: a few MB may compress to any degree."""
    zeros = gzip.compress(b"0" * 1_000_000)
    noise = gzip.compress(os.urandom(4_000))
    same, mixed = write(tmp_path, zeros * 40, "same.csv.gz"), write(tmp_path, (zeros + noise) * 40, "mixed.csv.gz")
    small = write(tmp_path, zeros * 30, "small.csv.gz")
    with pytest.raises(UnreadableFile, match="same is a gzip bomb: it unpacks to over 250 times its size"):
        _unpacked(same, "same", "gz", ReadLimits())
    with pytest.raises(UnreadableFile, match="over 150 times its size"):
        _unpacked(mixed, "mixed", "gz", ReadLimits(ratio=150))
    assert mixed.stat().st_size * 190 < _unpacked(mixed, "mixed", "gz", ReadLimits()).stat().st_size == 40_160_000
    assert _unpacked(small, "small", "gz", ReadLimits()).stat().st_size == 30_000_000
    assert _unpacked(same, "same", "gz", ReadLimits(ratio=1_000)).stat().st_size == 40_000_000


def test_a_blank_line_below_each_record_is_passed_over(tmp_path: Path) -> None:
    limits = ReadLimits(blank_lines=1)
    assert len(read(write(tmp_path, b"a,b\n" + b"1,2\n\n" * 100), limits=limits)) == 100
    assert len(read(write(tmp_path, b'{"a":1}\n\n' * 100, "file.ndjson"), limits=limits)) == 100
    with pytest.raises(UnreadableFile, match="more than 1 blank lines beyond 10 for each record"):
        read(write(tmp_path, b"a,b\n" + b"\n1,2" * 3 + b"\n" * 33), limits=limits)


def _footer_that_lies(parquet: bytes, how: str) -> bytes:
    """Return a Parquet file of ten records with a footer that states more than is there."""
    size = int.from_bytes(parquet[-8:-4], "little")
    values, footer = parquet[: -8 - size], parquet[-8 - size : -8]
    if how.startswith("length"):
        return parquet[:-8] + int(how.removeprefix("length ")).to_bytes(4, "little") + b"PAR1"
    ten, trillion = b"\x16\x14", b"\x16" + _varint(2 * 10**12)  # Thrift's i64 fields
    assert footer.count(ten) > 1
    footer = footer.replace(ten, trillion, 1 if how == "records" else -1)
    return values + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def _varint(number: int) -> bytes:
    digits = [number >> shift & 0x7F for shift in range(0, number.bit_length(), 7)]
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("how", ["length 0", "length 100", "length 2147483647", "length 4294967295", "records", "all"])
def test_a_parquet_file_with_a_false_footer_is_refused(tmp_path: Path, how: str) -> None:
    """The footer asks for no more than any file may, so no limit is named; but the reader reserves nothing for it."""
    written = io.BytesIO()
    pq.write_table(pa.table({"a": [str(n) for n in range(10)]}), written)
    path = write(tmp_path, _footer_that_lies(written.getvalue(), how), "file.parquet")
    with pytest.raises(UnreadableFile, match=r"cannot be read as Parquet|says it has 1,000,000,000,000|in two ways"):
        read(path, limits=ReadLimits(reader_memory_mb=600))


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


@pytest.mark.parametrize("records", [1, 1_000, 1_000_000])
def test_a_reading_process_ends_silently_after_its_caller_has_left(
    tmp_path: Path, records: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The importer stops reading early if a file was imported before: its SHA-256 is enough to refuse it."""
    path = write(tmp_path, b"a,b\n" + b"1,2\n" * records)
    for _ in range(3):
        with FileReader(path) as reader:
            assert reader.sha256
            reader._answers.close()
            assert reader._child.wait(60) == 0
    with FileReader(path) as reader:
        assert reader.sha256
    assert capfd.readouterr().err == ""


def test_a_defect_of_the_process_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    defective: Any = 5
    with pytest.raises(UnreadableFile, match=r"ended the process that did it \(TypeError in \w+\.py, line \d+\)"):
        read(write(tmp_path, ROWS), ReadOptions(encoding=defective))
    assert capfd.readouterr().err == ""


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
