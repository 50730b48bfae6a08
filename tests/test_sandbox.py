"""The process that reads a file opens no other file and no connection, whatever the file says, and could not.

Python calls an audit hook for every file and socket that it opens. For C and C++, the operating system watches
(inotify) a file that all crafted files name. A server at an address that they name counts its callers.
"""

import ctypes
import gzip
import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.file_reader import FileReader
from resources.file_reader.confinement import confinement
from resources.file_reader.duckdb_reader import DuckDBReader, DuckDBReadFailed
from resources.file_reader.excel import ExcelFile
from resources.file_reader.parquet import ParquetFile
from schemas.errors import UnreadableFile

ROOT = Path(__file__).parent.parent
SECRET = "the-secret-that-no-reader-may-see"
_IN_OPEN = 0x20

AUDITED = """
import json, os, sys
log = open({log!r}, "w", buffering=1)
def hook(event, details):
    processes = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn")
    if event in ("open", *processes) or event.partition(".")[0] in ("socket", "subprocess", "urllib"):
        log.write(json.dumps([event, *map(str, details)]) + "\\n")
sys.addaudithook(hook)
from resources.file_reader import child
{more}
child.main()
"""

TRYING = """
import ctypes, json, os, platform
from resources.file_reader import child
def call(name, *arguments):
    number = child.confinement._MACHINES[platform.machine()].refused[name]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)
reading = child._read
def try_first(request, limits, answer):
    {attempts}
    reading(request, limits, answer)
child._read = try_first
child.main()
"""
"""Tries something when the process has given everything away, directly before it reads."""

ATTEMPTS = {
    "read a file": "open('/etc/shadow')",
    "read the catalog": "open({catalog!r})",
    "read beside its own file": "open({beside!r})",
    "read by way of a link": "open('/proc/self/root/etc/passwd')",
    "read another process": "open('/proc/1/environ')",
    "read by DuckDB": "import duckdb; duckdb.sql('FROM read_text(\\'/etc/passwd\\')').fetchall()",
    "read by Arrow": "import pyarrow; pyarrow.OSFile('/etc/passwd')",
    "list a folder": "os.listdir({folder!r})",
    "write a file": "open({folder!r} + '/new', 'w')",
    "write a temporary file": "open('/tmp/of-the-reading-process', 'w')",
    "write the file that it reads": "open('/dev/fd/%d' % request['file'], 'r+')",
    "delete a file": "os.unlink({beside!r})",
    "rename a file": "os.rename({beside!r}, {beside!r} + 'x')",
    "make a folder": "os.mkdir({folder!r} + '/made')",
    "make a link": "os.symlink('/', {folder!r} + '/link')",
    "open a socket": "import socket; socket.socket()",
    "open a socket of this machine": "import socket; socket.socket(socket.AF_UNIX)",
    "make a pair of sockets": "import socket; socket.socketpair()",
    "fork": "os.fork()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "change its user": "os.setuid(0)",
    "trace its parent": "call('ptrace', 16, os.getppid(), 0, 0)",
    "read its parent's memory": "call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)",
    "make a namespace": "call('unshare', 0x10000000)",
    "make an io_uring": "call('io_uring_setup', 1, 0)",
    "load a program into the kernel": "call('bpf', 0, 0, 0)",
}
"""What the reading process must not be able to do, as code."""

UNPRIVILEGED = """
import ctypes, importlib, os
for name in ("delimited", "excel", "json_records", "parquet"):
    importlib.import_module("resources.file_reader." + name)
import encodings.cp437, encodings.ascii, encodings.idna
from resources.file_reader import child
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1)  # without it /dev/fd would be root's
limited = child._limit_resources
def limit_and_prove(limits, memory):
    import _thread
    limited(limits, memory)
    try:
        _thread.start_new_thread(print, ())
    except RuntimeError:
        return
    raise SystemExit("a thread could be started")
child._limit_resources = limit_and_prove
child.main()
"""

THREADS = """
import io, os, pyarrow.csv, time
from resources.file_reader import child
class Slow(io.BytesIO):
    def read(self, size=-1):
        time.sleep(0.1)
        return super().read(size)
child._start_threads()
started = os.listdir("/proc/self/task")
with pyarrow.csv.open_csv(Slow(b"a\\n1\\n"), pyarrow.csv.ReadOptions(use_threads=False)) as reader:
    assert reader.read_all().num_rows == 1
assert os.listdir("/proc/self/task") == started
"""


@dataclass
class Watch:
    """A secret that only a crafted file names, a server likewise, and the accesses to both."""

    secret: Path
    _inotify: int
    _server: socket.socket

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/secret"

    def visitors(self) -> list[str]:
        """Return the accesses since the last call."""
        came = []
        try:
            os.read(self._inotify, 4096)
            came.append("opened the secret")
        except BlockingIOError:
            pass
        try:
            self._server.accept()[0].close()
            came.append("called the server")
        except BlockingIOError:
            pass
        return came


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    secret = tmp_path / "secret.csv"
    secret.write_text(f"id\n{SECRET}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(inotify, os.fsencode(secret), _IN_OPEN) > 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Watch(secret, inotify, server)
    os.close(inotify)


def _crafted(format_name: str, places: list[str]) -> bytes:
    """Return a file that names the places in every way in which a parser of its format might follow a name."""
    named = [
        text
        for place in places
        for text in (
            place,
            f"file://{place}",
            f"'); SELECT * FROM read_text('{place}'); --",
            f"\"}}) , read_csv('{place}') AS t(\"a",
            f"@{place}",
            f'=WEBSERVICE("{place}")',
            f"| cat {place}",
        )
    ]
    rows = [dict(zip(named, named[at:] + named[:at], strict=True)) for at in range(3)]
    if format_name == "csv":
        texts = [list(rows[0]), *(list(row.values()) for row in rows)]
        doubled = [['"' + text.replace('"', '""') + '"' for text in row] for row in texts]
        return "\r\n".join(",".join(row) for row in doubled).encode()
    if format_name == "json":
        return json.dumps([{**row, "$ref": named[1], "@import": named[0]} for row in rows]).encode()
    if format_name == "ndjson":
        return "\n".join(json.dumps({**row, "$ref": named[1]}) for row in rows).encode()
    if format_name == "parquet":
        written = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), written)
        return written.getvalue()
    return _workbook(rows)


def _workbook(rows: list[dict[str, str]]) -> bytes:
    saved = io.BytesIO()
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append([f"'{text}" if text.startswith("=") else text for text in row])
    book.save(saved)
    return saved.getvalue()


def _xml_attacks(places: list[str]) -> dict[str, bytes]:
    """Return workbooks with external entities and document types, and with relationships that leave the package."""
    plain = _workbook([{"id": "1", "name": "a"}])
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet, links = "xl/worksheets/sheet1.xml", "xl/_rels/workbook.xml.rels"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    attacks = {}
    for number, place in enumerate(places):
        entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{place}"><!ENTITY % p SYSTEM "{place}"> %p;]>'
        declared = b"".join(
            [entity.encode(), parts[sheet].replace(b"<sheetData>", b"<sheetData>&e;")],
        )
        attacks[f"entity {number}"] = _packed({**parts, sheet: declared})
        attacks[f"document type {number}"] = _packed(
            {**parts, "xl/workbook.xml": f'<!DOCTYPE x SYSTEM "{place}">'.encode() + parts["xl/workbook.xml"]}
        )
        for mode in ("External", "Internal"):
            outward = "".join(
                f'<Relationship Id="x{kind}" Type="{office}/{kind}" Target="{place}" TargetMode="{mode}"/>'
                for kind in ("sharedStrings", "styles", "externalLink", "attachedTemplate")
            )
            added = parts[links].replace(b"</Relationships>", outward.encode() + b"</Relationships>")
            attacks[f"relationship {mode} {number}"] = _packed({**parts, links: added})
    climbing = "../" * 12 + places[0].lstrip("/")
    attacks["climbing"] = _packed(
        {**parts, links: parts[links].replace(b"/xl/worksheets/sheet1.xml", climbing.encode())}
    )
    return attacks


def _packed(parts: dict[str, bytes]) -> bytes:
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return saved.getvalue()


def _gzip_named(content: bytes, name: str) -> bytes:
    """Return a packed file that names another file: some programs unpack to, or beside, the name inside."""
    packed = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=packed) as file:
        file.write(content)
    return packed.getvalue()


@pytest.fixture
def as_child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes the reading process run a program of the test instead."""
    genuine = subprocess.Popen

    def use(program: str) -> None:
        def start(command: list[str], **more: Any) -> Any:
            assert command[1:4] == ["-P", "-m", "resources.file_reader.child"]
            return genuine([command[0], "-P", "-c", program, command[-1]], **more)

        monkeypatch.setattr(subprocess, "Popen", start)

    return use


def _texts(path: Path) -> list[str]:
    """Return every text of the file, or of its refusal."""
    try:
        with FileReader(path) as reader:
            chunks = list(reader.chunks())
            cells = [text for chunk in chunks for column in chunk.values.columns for text in column.to_pylist()]
            return [*reader.headers, *cells]
    except UnreadableFile as refusal:
        return ["refused", refusal.message, refusal.quoted or ""]


def _forbidden(log: Path, private: Path) -> list[list[str]]:
    """Return the audited accesses that a reader must not have: files outside of libraries, sockets, processes."""
    libraries = [ROOT, *(Path(place) for place in (*sys.path, sys.prefix, sys.base_prefix) if place)]
    places = {str(it) for place in libraries for it in (place, place.resolve())} | {str(private)}
    allowed = (*places, "/dev/fd/", "/proc/self/statm", "/usr/lib/", "/lib/", "/usr/share/zoneinfo/")
    forbidden = []
    for line in log.read_text().splitlines():
        event, *details = json.loads(line)
        if event == "open" and int(details[2]) & os.O_PATH:  # a place to name to Landlock, which cannot be read by it
            continue
        if event != "open" or not (details[0].isdigit() or details[0].startswith(allowed)):
            forbidden.append([event, *details])
    return forbidden


SUFFIXES = ["csv", "json", "ndjson", "parquet", "xlsx", "json.gz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_other_file_and_no_socket_is_opened_whatever_a_file_says(
    watch: Watch, as_child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    log = tmp_path / "audit"
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    as_child(AUDITED.format(log=str(log), more=""))
    places = [str(watch.secret), "/etc/passwd", watch.url]
    content = _crafted(suffix.removesuffix(".gz"), places)
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(_gzip_named(content, str(watch.secret)) if suffix.endswith(".gz") else content)

    texts = _texts(path)

    assert texts[0] == places[0], "it is read, and what it names is text"
    assert not [text for text in texts if SECRET in text or "root:" in text]
    assert _forbidden(log, private) == []
    assert any(json.loads(line)[1].startswith("/dev/fd/") for line in log.read_text().splitlines()), "it was audited"
    assert watch.visitors() == []


def test_no_entity_or_relationship_of_a_workbook_is_followed(watch: Watch) -> None:
    """In this process the operating system sees every access, whichever library makes it."""
    read = set()
    for name, content in _xml_attacks([str(watch.secret), f"file://{watch.secret}", watch.url]).items():
        try:
            with ExcelFile(io.BytesIO(content), "book.xlsx") as book:
                texts = [*book.headers, *(str(chunk.values.to_pydict()) for chunk in book.chunks())]
                read.add(name.rpartition(" ")[0] or name)
        except UnreadableFile as refusal:
            texts = [refusal.message]
        assert SECRET not in "".join(texts), name
        assert watch.visitors() == [], name
    assert read == {"relationship External", "relationship Internal"}


def test_a_parquet_file_that_says_its_values_lie_elsewhere_is_refused(watch: Watch, tmp_path: Path) -> None:
    written, footer = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"id": ["1"]}), written)
    metadata = pq.read_metadata(written)
    metadata.set_file_path(str(watch.secret))
    metadata.write_metadata_file(footer)
    whole = written.getvalue()
    path = tmp_path / "file.parquet"
    path.write_bytes(whole[: -8 - int.from_bytes(whole[-8:-4], "little")] + footer.getvalue().removeprefix(b"PAR1"))

    with path.open("rb") as file, pytest.raises(UnreadableFile, match="can be read in two ways"):
        list(ParquetFile(file, "file.parquet").chunks())
    assert watch.visitors() == []


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ("open({secret!r})", "audit"),
        ("import pyarrow.fs; pyarrow.OSFile({secret!r})", "opened the secret"),
        ("import duckdb; duckdb.sql(\"FROM read_text('{secret}')\").fetchall()", "opened the secret"),
        ("import socket; socket.create_connection(('127.0.0.1', {port}))", "called the server"),
    ],
    ids=["python", "arrow", "duckdb", "socket"],
)
def test_an_access_of_the_reader_would_be_found(
    watch: Watch,
    as_child: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: str,
    seen: str,
) -> None:
    log = tmp_path / "audit"
    (tmp_path / "private").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "private"))
    port = watch.url.rpartition(":")[2].partition("/")[0]
    as_child(AUDITED.format(log=str(log), more=more.format(secret=str(watch.secret), port=port)))
    path = tmp_path / "file.csv"
    path.write_bytes(b"id\n1\n")

    assert _texts(path) == ["id", "1"]

    if seen == "audit":
        assert _forbidden(log, tmp_path / "private") == [["open", str(watch.secret), "r", "524288"]]
        seen = "opened the secret"
    assert watch.visitors() == [seen]


def test_the_second_parser_can_open_nothing_but_its_file(watch: Watch, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("a\n1\n")
    with own.open("rb") as file:
        reader = DuckDBReader(Path(f"/dev/fd/{file.fileno()}"))
        assert reader.rows(f"FROM read_text('/dev/fd/{file.fileno()}')", {}, 10).take(1).num_rows == 1
        for query in (
            f"FROM read_text('{watch.secret}')",
            f"FROM '{watch.secret}'",
            f"FROM read_csv('{watch.url}')",
            f"ATTACH '{watch.secret}'",
            f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(DuckDBReadFailed):
                reader.rows(query, {}, 10).take(1)
    assert watch.visitors() == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_reader_that_is_not_roots_starts_no_thread_and_reads_every_format(
    as_child: Callable[[str], None], tmp_path: Path, suffix: str
) -> None:
    """RLIMIT_NPROC is 0. So a parser that starts a thread of its own, as pyarrow.csv.read_csv does, cannot be used."""
    as_child(UNPRIVILEGED)
    content = _crafted(suffix.removesuffix(".gz"), ["place"])
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    path.chmod(0o644)
    assert _texts(path)[:2] == ["place", "file://place"]


def test_all_threads_of_arrow_are_started_before_no_more_may_start() -> None:
    """Only data that come slowly are handed to the second one. Where that could not start, Arrow waited for ever."""
    subprocess.run([sys.executable, "-c", THREADS], cwd=ROOT, check=True, timeout=60)


def test_the_reading_process_can_do_nothing_but_read_its_file(
    as_child: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ability is tried by code in the process itself, after it has given it away. All fail, and it still reads."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("catalog.sqlite", "beside.csv"):
        (folder / name).write_text(SECRET)
    path = folder / "file.csv"
    path.write_bytes(b"id\n1\n")
    tries = "\n    ".join(
        f"try:\n        {code}\n    except Exception as error:\n        refused.append(type(error).__name__)\n"
        f"    else:\n        refused.append({name!r})"
        for name, code in ATTEMPTS.items()
    )
    places = {
        "folder": str(folder),
        "catalog": str(folder / "catalog.sqlite"),
        "beside": str(folder / "beside.csv"),
    }
    attempts = f"refused = [*os.environ]\n    {tries}\n    os.write(2, json.dumps(refused).encode())".format(**places)
    as_child(TRYING.format(attempts=attempts))
    monkeypatch.setenv("RECORDS_CATALOG", SECRET)

    with FileReader(path) as reader:
        assert (reader.headers, [chunk.values.to_pydict() for chunk in reader.chunks()]) == (("id",), [{"0": ["1"]}])
        reader._child.wait()
        refused = json.loads(reader._errors.read())

    assert len(refused) == len(ATTEMPTS)
    assert {name: kind for name, kind in zip(ATTEMPTS, refused, strict=True) if kind == name} == {}
    assert set(refused) <= {"PermissionError", "OSError", "IOException"}
    assert {file.name: file.read_text() for file in folder.iterdir() if file != path} == {
        "catalog.sqlite": SECRET,
        "beside.csv": SECRET,
    }


def test_what_confines_the_reading_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    here = confinement()
    assert [line.partition(" ")[0] for line in here.on] == ["It", "Landlock", "seccomp:"]
    assert here.missing == ()

    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("resources.file_reader.confinement._landlock_version", lambda: 0)
    elsewhere = confinement()
    assert [line.partition(":")[0] for line in elsewhere.missing] == ["Landlock", "seccomp"]
    assert len(elsewhere.on) == 1


def test_a_process_without_these_parts_of_the_kernel_reads_all_the_same(
    as_child: Callable[[str], None], tmp_path: Path
) -> None:
    as_child(
        "import platform; platform.machine = lambda: 'riscv64'\n"
        "from resources.file_reader import child, confinement\n"
        "confinement._landlock_version = lambda: 0\n"
        "child.main()"
    )
    path = tmp_path / "file.csv"
    path.write_bytes(b"id\n1\n")
    assert _texts(path) == ["id", "1"]
