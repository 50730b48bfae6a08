"""Measures the web pages: a server in a process of its own, and what a person waits for.

`python -m tests.benchmarks.web` prints a table. The server writes to a file of its own, and every wait has an end.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from tests.benchmarks import history_store
from tests.benchmarks.contacts_file import write_contacts
from tests.benchmarks.measure import BenchmarkError, clean_environment, measure

_RECORDS = str(Path(sys.executable).with_name("records"))
_SECONDS = 600.0
"""The longest wait for anything."""
_PIECE = 8 * 1024 * 1024
_PEOPLE, _LOOKS = 50, 4
_PIECES = {"Content-Type": "application/offset+octet-stream"}


@dataclass(frozen=True)
class Row:
    """One number beside its target."""

    what: str
    measured: str
    target: str
    is_met: bool

    def __str__(self) -> str:
        """Returns the row of the table."""
        return f"| {self.what} | {self.measured} | {self.target}: {'met' if self.is_met else 'missed'} |"


class Pages:
    """A running server, and an account of it."""

    def __init__(self, client: httpx2.Client, process: psutil.Process, account: str) -> None:
        self.client = client
        self.process = process
        self.account = account

    def get(self, *parts: str) -> httpx2.Response:
        """Returns a page of the account."""
        answer = self.client.get("/".join(("/a", self.account, *parts)), follow_redirects=True)
        answer.raise_for_status()
        return answer

    def upload(self, file: Path) -> str:
        """Upload a file in pieces, as the script of the page does. Returns the id of the upload."""
        size = file.stat().st_size
        said = {"name": file.name, "bytes": size, "type": "contacts"}
        place: str = self.client.post(f"/a/{self.account}/uploads", json=said).headers["location"]
        with file.open("rb") as source:
            offset = 0
            while block := source.read(_PIECE):
                headers = _PIECES | {"Upload-Offset": str(offset)}
                self.client.patch(place, content=block, headers=headers).raise_for_status()
                offset += len(block)
        return place.rpartition("/")[2]

    def preview(self, upload: str) -> str:
        """Returns the page of the preview, once it is there."""
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            text = self.get("import", upload).text
            if 'id="progress"' not in text:
                return self.get("import", upload, "preview").text
            time.sleep(0.2)
        raise BenchmarkError(f"there is no preview after {_SECONDS:.0f} s")

    @property
    def memory(self) -> int:
        """The resident memory of the server, without the processes that read files."""
        size: int = self.process.memory_info().rss
        return size

    @property
    def cpu(self) -> float:
        """The seconds of a core that the server has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def serving(home: Path, account: str) -> Iterator[Pages]:
    """Run `records web` on a store until the end of the block."""
    log = home.parent / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [_RECORDS, "web", "--port", "0", "--json"],
            env=clean_environment({"RECORDS_HOME": str(home), "RECORDS_UPLOAD_MB": "6000"}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        url = _address(log, process)
        with httpx2.Client(base_url=url, headers={"Origin": url}, timeout=_SECONDS, trust_env=False) as client:
            pages = Pages(client, psutil.Process(process.pid), account)
            pages.get("import")  # so that its modules are imported, and its store is open
            yield pages
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)
        log.unlink(missing_ok=True)


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text("utf-8", "replace").splitlines():
            if line.startswith("{") and "url" in line:
                return str(json.loads(line)["url"])
        time.sleep(0.05)
    raise BenchmarkError(f"the server did not start: {log.read_text('utf-8', 'replace')[-1000:]}")


@contextmanager
def _highest(value: Callable[[], int]) -> Iterator[list[int]]:
    """Yield a list that has the highest value that was seen, at the end of the block."""
    found, ended = [value()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            found[0] = max(found[0], value())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(timeout=5)


def _new_store(folder: Path) -> Path:
    folder.mkdir()
    _command(folder, "init")
    return folder / "store"


def _command(folder: Path, *arguments: str) -> float:
    """Run `records` on the store of a folder. Returns its seconds."""
    return measure((_RECORDS, *arguments), folder, {"RECORDS_HOME": str(folder / "store")}).seconds


def small_file(folder: Path, runs: int) -> Iterator[Row]:
    """From the drop of a file with 1,000 records to the page of its preview."""
    seconds, cpu = [], []
    with serving(_new_store(folder), "acme") as pages:
        for number in range(runs):
            write_contacts(file := folder / f"{number}.csv", 1_000, seed=number)
            began, used = time.perf_counter(), pages.cpu
            pages.preview(pages.upload(file))
            seconds.append(time.perf_counter() - began)
            cpu.append(pages.cpu - used)
    found = statistics.median(seconds)
    yield Row(
        "1,000 records from drop to preview",
        f"{found:.2f} s ({_listed(seconds)}; {statistics.median(cpu):.2f} s CPU of the server)",
        "≤ 2 s",
        found <= 2,
    )


def large_file(folder: Path, runs: int, records: int) -> Iterator[Row]:
    """A large file: its preview compared with the command's, and the memory of the server."""
    home = _new_store(folder)
    write_contacts(file := folder / "contacts.csv", records)
    ratios, shown, above = [], [], []
    for number in range(runs):
        command = _command(folder, "preview", str(file), "-a", f"c{number}", "-t", "contacts", "--json")
        with serving(home, f"w{number}") as pages:
            idle = pages.memory
            with _highest(lambda pages=pages: pages.memory) as most:  # type: ignore[misc]
                upload = pages.upload(file)
                began = time.perf_counter()
                pages.preview(upload)
                seconds = time.perf_counter() - began
            above.append((most[0] - idle) / 1e6)
        ratios.append(seconds / command)
        shown.append(f"{seconds:.1f} s ÷ {command:.1f} s")
    found = statistics.median(ratios)
    what = f"preview of {records:,} contacts ({file.stat().st_size / 1e6:.0f} MB)"
    yield Row(f"{what} ÷ `records preview`", f"{found:.2f} ({', '.join(shown)})", "≤ 1.3", found <= 1.3)
    yield Row(f"{what}: the server's memory above idle", f"{max(above):.0f} MB", "≤ 150 MB", max(above) <= 150)


def uploading(folder: Path, runs: int, megabytes: int) -> Iterator[Row]:
    """The rate of an upload on this machine, compared with a copy of the file that is flushed as often."""
    home = _new_store(folder)
    file = folder / "large.bin"
    with file.open("wb") as made:
        for _ in range(megabytes):
            made.write(os.urandom(1_000_000))
    rates, cpu, copies = [], [], []
    with serving(home, "acme") as pages:
        for _ in range(runs):
            copies.append(megabytes / _flushed_copy(file, folder / "copy"))
            began, used = time.perf_counter(), pages.cpu
            upload = pages.upload(file)
            rates.append(megabytes / (time.perf_counter() - began))
            cpu.append(megabytes / max(pages.cpu - used, 1e-3))
            pages.client.post(f"/a/acme/import/{upload}/remove", data={"x": ""})
    found = statistics.median(rates)
    yield Row(
        f"upload of {megabytes:,} MB",
        f"{found:.0f} MB/s ({_listed(rates, 0)}; {statistics.median(cpu):.0f} MB a second of the server's CPU; "
        f"a flushed copy {statistics.median(copies):.0f} MB/s)",
        "≥ 100 MB/s",
        found >= 100,
    )


def _flushed_copy(file: Path, to: Path) -> float:
    began = time.perf_counter()
    with file.open("rb") as source, to.open("wb") as target:
        while block := source.read(_PIECE):
            target.write(block)
            target.flush()
            os.fsync(target.fileno())
    to.unlink()
    return time.perf_counter() - began


def many_people(folder: Path, runs: int) -> Iterator[Row]:
    """Fifty people who page through the changes of one preview at the same time."""
    home = _new_store(folder)
    write_contacts(file := folder / "contacts.csv", 20_000)
    _command(folder, "import", str(file), "-a", "acme", "-t", "contacts")
    file.write_bytes(file.read_bytes().replace(b",lead,", b",prospect,"))
    seconds: list[float] = []
    failures: list[object] = []
    with serving(home, "acme") as pages:
        upload = pages.upload(file)
        pages.preview(upload)

        def look(person: int) -> None:
            with httpx2.Client(base_url=pages.client.base_url, timeout=60, trust_env=False) as client:
                for number in range(_LOOKS * runs):
                    began = time.perf_counter()
                    page = f"/a/acme/import/{upload}/preview?page={1 + (7 * person + number) % 90}"
                    answer = client.get(page, headers={"HX-Request": "true"})
                    seconds.append(time.perf_counter() - began)
                    if answer.status_code != 200 or "<del>" not in answer.text:
                        failures.append(answer.status_code)
                    time.sleep(1)  # a person looks at it

        with ThreadPoolExecutor(_PEOPLE) as threads:
            list(threads.map(look, range(_PEOPLE), timeout=_SECONDS))
    found = statistics.median(seconds)
    yield Row(
        f"{_PEOPLE} people who page through a preview, each a page a second",
        f"median {found * 1000:.0f} ms, {len(failures)} errors of {len(seconds)}",
        "≤ 200 ms, no error",
        found <= 0.2 and not failures,
    )


def long_history(folder: Path, runs: int, batches: int, accounts: int) -> Iterator[Row]:
    """The pages of a store with a long history: their size with styles and script, and their time."""
    folder.mkdir()
    preview = history_store.make(folder, batches, accounts)
    with serving(folder / "store", history_store.OWN) as pages:
        places = [
            "/",
            *(f"/a/{history_store.OWN}/{it}" for it in ("import", "history", "export", "scheduled", "inbox")),
        ]
        places += ["/a/account-00000/history?page=2", f"/a/{history_store.OWN}/history/{preview}"]
        base = sum(pages.client.get(it).num_bytes_downloaded for it in _assets(pages.get("import").text))
        for place in places:
            seconds, size = [], 0
            for _ in range(max(5 * runs, 5)):
                began = time.perf_counter()
                answer = pages.client.get(place)
                seconds.append(time.perf_counter() - began)
                size = base + answer.num_bytes_downloaded
                if answer.status_code != 200:
                    raise BenchmarkError(f"{place} answers {answer.status_code}")
            found = statistics.median(seconds)
            yield Row(
                f"{place.replace(preview, '<batch>')} at {batches:,} batches and {accounts:,} accounts",
                f"{size / 1000:.0f} KB, {found * 1000:.0f} ms (fastest {min(seconds) * 1000:.0f})",
                "≤ 60 KB, ≤ 50 ms",
                size <= 60_000 and found <= 0.05,
            )


def _assets(page: str) -> set[str]:
    return {part.split('"')[0] for part in page.replace("href=", "src=").split('src="')[1:] if "/static/" in part[:9]}


def _listed(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def main() -> None:
    """Print the numbers beside their targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.web", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each (default: 3)")
    parser.add_argument("--only", default="", metavar="NAME", help="small, large, upload, people or history")
    parser.add_argument("--contacts", type=int, default=1_000_000, metavar="N", help="in the large file")
    parser.add_argument("--megabytes", type=int, default=500, metavar="N", help="of the upload")
    parser.add_argument("--batches", type=int, default=100_000, metavar="N", help="of the long history")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    runs = options.runs
    print("| What | Measured | Target |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        folder = Path(name)
        measured: dict[str, Callable[[], Iterator[Row]]] = {
            "small": lambda: small_file(folder / "small", runs),
            "large": lambda: large_file(folder / "large", runs, options.contacts),
            "upload": lambda: uploading(folder / "upload", runs, options.megabytes),
            "people": lambda: many_people(folder / "people", runs),
            "history": lambda: long_history(folder / "history", runs, options.batches, 1_000),
        }
        for each, rows in measured.items():
            if options.only in each:
                for row in rows():
                    print(row, flush=True)


if __name__ == "__main__":
    main()
