"""Reports, rejects files and exports as a browser gets them."""

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from threading import Event, Thread

import pytest

from pipelines.deployment import Deployment
from pipelines.web.serving import serving
from resources.export_writer import ExportWriter
from resources.file_storage import read
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.running_ui import RunningUi
from schemas.batches import ImportReport, OnInvalid
from schemas.errors import NoDeployment
from schemas.exports import ExportManifest, ExportRequest
from tests.object_server import on_disk
from tests.records import contact, contacts_of, put, write_csv
from tests.serving import within

HOST = "127.0.0.1"
GONE = "There is no such file, or its time has ended.\n"


@dataclass(frozen=True)
class Answer:
    """The answer of the server, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Ask = Callable[..., Answer]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        yield listener


@pytest.fixture
def ask(store: RecordStore, listener: socket.socket) -> Iterator[Ask]:
    """Request a path from a real server."""

    def answer(path: str, method: str = "GET", **sent: str) -> Answer:
        address: tuple[str, int] = listener.getsockname()
        connection = HTTPConnection(address[0], address[1], timeout=30)
        connection.request(method, path, headers=sent)
        found = connection.getresponse()
        headers = {name.lower(): value for name, value in found.getheaders()}
        try:
            return Answer(found.status, headers, found.read())
        finally:
            connection.close()

    with serving(store.settings, listener):
        yield answer


@pytest.fixture
def report(importer: Importer, tmp_path: Path) -> ImportReport:
    """A preview with a rejected record."""
    return importer.preview(contacts_of(write_csv(tmp_path / "in.csv", [contact(1), contact(2, status="VIP")])))


@pytest.fixture
def links(report: ImportReport) -> dict[str, str]:
    """The paths of its files on the server."""
    return {what: link.removeprefix("http://x") for what, link in RunningUi("", "http://x", 1).links(report).items()}


@pytest.mark.runs_on("laptop", "server")
def test_the_report_opens_and_the_rejects_file_is_saved(ask: Ask, report: ImportReport, links: dict[str, str]) -> None:
    page, rejects = ask(links["report"]), ask(links["rejects_file"])

    assert report.report_file is not None
    assert report.rejects_file is not None
    file = read(report.report_file)
    assert page.status == 200
    addresses = re.findall(rb'<a href="([^"]*)">', page.body)
    assert addresses == [b"rejects_file"], "beside the page; no UI runs, so there is no history to link to"
    # A file is written just before the ledger records its time.
    pages = [re.sub(rb"<nav.*</nav>\n|<time.*?</time>", b"", body, flags=re.DOTALL) for body in (page.body, file)]
    assert pages[0] == pages[1], "the file is the same page without links"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (rejects.status, rejects.body) == (200, report.rejects_file.read_bytes())
    assert rejects.headers["content-disposition"] == f'attachment; filename="{report.rejects_file.name}"'
    for answer in (page, rejects):
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.runs_on("laptop", "postgres")
def test_nothing_but_the_whole_path_leads_to_a_file(
    ask: Ask, report: ImportReport, links: dict[str, str], importer: Importer, tmp_path: Path
) -> None:
    path = report.batch.link_token
    assert path is not None
    other = importer.preview(contacts_of(write_csv(tmp_path / "b.csv", [contact(5)]), "dl")).batch
    assert len(path) >= 32
    assert path != other.link_token
    batch_id = report.batch.batch_id
    for wrong in (
        *(f"/{batch_id}", f"/{batch_id}/", f"/{batch_id}/{path}", f"/{batch_id}/{path}/", f"/{batch_id}//report"),
        *(f"/{batch_id}/{path[:-1]}/report", f"/{batch_id}/None/report", f"/b-none/{path}/report"),
        *(f"/{other.batch_id}/{path}/report", f"/{batch_id}/{other.link_token}/report"),
        *(
            f"/{batch_id}/{path}/report.html",
            f"/{batch_id}/{path}/..%2f..%2fcatalog.sqlite",
            f"/{batch_id}/%c3%bc/report",
        ),
    ):
        answer = ask(wrong)
        assert answer.status == 404, wrong
        assert answer.body.decode() in (GONE, "Not Found"), wrong


@pytest.mark.runs_on("laptop", "postgres")
def test_only_get_is_answered_and_only_to_this_host(ask: Ask, links: dict[str, str]) -> None:
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(links["report"], method).status == 405
    for method in ("POST", "PATCH"):
        assert ask(links["report"], method, **{"Content-Type": "application/json"}).status == 405
    assert ask(links["report"], Host="evil.example").status == 421
    assert ask(links["report"], Host="127.0.0.1.evil.example:3001").status == 421
    assert ask(links["report"], Host="localhost:3001").status == 200


@pytest.mark.runs_on("laptop", "postgres")
def test_a_server_that_refuses_is_no_deployment(ask: Ask, store: RecordStore, listener: socket.socket) -> None:
    """The server answers, but not as Dagster does. The error says what it answered."""
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    with pytest.raises(NoDeployment, match=rf"The server at {url} refused the request: HTTP 404 Not Found\."):
        Deployment(replace(store.settings, dagster_url=url)).submit("export_contacts", "ua", {})


@pytest.mark.runs_on("laptop", "postgres")
def test_the_path_dies_with_the_batch(
    ask: Ask, report: ImportReport, links: dict[str, str], store: RecordStore
) -> None:
    report_file = report.report_file
    assert report_file is not None
    assert isinstance(report_file, Path)
    shutil.rmtree(report_file.parent)  # as a sweep does

    gone = ask(links["report"])
    assert (gone.status, gone.body.decode()) == (404, GONE)
    assert ask(links["rejects_file"]).status == 200


def test_a_rejects_file_that_a_user_has_edited_is_saved_as_it_is(
    ask: Ask, report: ImportReport, links: dict[str, str]
) -> None:
    assert isinstance(report.rejects_file, Path)
    report.rejects_file.write_bytes(report.rejects_file.read_bytes() + b"edited")
    answer = ask(links["rejects_file"])
    assert (answer.status, answer.body) == (200, report.rejects_file.read_bytes())


def test_a_served_report_links_to_the_history_while_the_ui_runs(
    ask: Ask, links: dict[str, str], store: RecordStore
) -> None:
    RunningUi("http://127.0.0.1:3000", "http://127.0.0.1:3001", 1).write(store.settings)
    page = ask(links["report"]).body.decode()
    assert 'href="http://127.0.0.1:3000/assets/records/contacts?view=partitions&amp;partition=ua"' in page


def test_a_committed_batchs_report_is_served_as_it_is_now(
    ask: Ask, report: ImportReport, links: dict[str, str], importer: Importer
) -> None:
    assert b"Nothing has been written yet." in ask(links["report"]).body
    importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
    assert b"1 created, 0 updated. 1 of 2 records is rejected and left out." in ask(links["report"]).body


@pytest.fixture
def export(store: RecordStore, importer: Importer, tmp_path: Path) -> ExportManifest:
    """An export in the account's own folder, while a UI runs."""
    importer.import_file(contacts_of(write_csv(tmp_path / "e.csv", [contact(7)])))
    RunningUi("http://x", "http://x", 1).write(store.settings)
    return ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))


def address(store: RecordStore, export: ExportManifest) -> str | None:
    link = RunningUi("", "http://x", 1).export_link(store.settings, export)
    return None if link is None else link.removeprefix("http://x")


@pytest.mark.runs_on("laptop", "server")
def test_an_export_is_saved_by_its_secret_address_alone(ask: Ask, store: RecordStore, export: ExportManifest) -> None:
    path = address(store, export)
    assert path is not None
    saved = ask(path)
    assert (saved.status, saved.body) == (200, read(export.path))
    assert saved.headers["content-disposition"] == f'attachment; filename="{export.path.name}"'
    token = path.split("/")[2]
    for wrong in (path.replace(token, token[:-1]), f"/e-none/{token}/export", f"/{export.export_id}/None/export"):
        assert ask(wrong).status == 404, wrong
    key = store.settings.home / "links.key"
    assert key.stat().st_mode & 0o077 == 0
    RunningUi("http://y", "http://y", 2).write(store.settings)
    assert address(store, export) == path, "links in Dagster's history keep working"


def test_a_key_that_a_power_cut_has_cut_off_is_made_anew(store: RecordStore, export: ExportManifest) -> None:
    key = store.settings.home / "links.key"
    key.write_bytes(key.read_bytes()[:5])
    assert address(store, export) is None
    RunningUi("http://y", "http://y", 2).write(store.settings)
    assert address(store, export) is not None
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.runs_on("laptop", "server")
def test_an_export_that_is_damaged_gone_or_elsewhere_is_not_served(
    ask: Ask, store: RecordStore, export: ExportManifest, tmp_path: Path
) -> None:
    path = address(store, export)
    assert path is not None
    file = on_disk(export.path)
    elsewhere = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", path=tmp_path / "out.csv"))
    assert address(store, elsewhere) is None
    file.write_bytes(file.read_bytes()[:-2] + b"?\n")
    assert ask(path).status == 500
    file.unlink()
    assert ask(path).status == 404


def link(path: Path) -> None:
    """Make a link to a file that the server could read."""
    path.symlink_to(__file__)


@pytest.mark.parametrize(
    ("what", "replace"),
    [*product(("export", "rejects_file", "report"), (Path.mkdir, os.mkfifo)), ("export", link), ("rejects_file", link)],
)
def test_what_is_no_file_is_not_served(
    ask: Ask,
    store: RecordStore,
    export: ExportManifest,
    report: ImportReport,
    links: dict[str, str],
    what: str,
    replace: Callable[[Path], object],
) -> None:
    place = on_disk(export.path if what == "export" else report.files[what])
    place.rename(place.with_name("aside"))
    replace(place)
    answer = ask((address(store, export) or "") if what == "export" else links[what])
    assert (answer.status, answer.body.decode()) == (404, GONE)


@pytest.mark.runs_on("laptop", "server")
def test_a_file_is_served_whole_or_in_part_with_its_size(ask: Ask, store: RecordStore, export: ExportManifest) -> None:
    path, content = address(store, export) or "", read(export.path)
    head = ask(path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))
    part = ask(path, Range="bytes=3-9")
    assert (part.status, part.body, part.headers["content-range"]) == (206, content[3:10], f"bytes 3-9/{len(content)}")
    assert ask(path, Range="bytes=999999-").status == 416


def test_what_is_served_is_what_was_compared(ask: Ask, store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    """Other bytes take the file's name again and again, also between the comparison and the answer."""
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(1)])))
    put(store, "SELECT 'K-' || i AS external_id, 'lead' AS status, repeat('x', 900) AS notes FROM range(10000) t(i)")
    RunningUi("http://x", "http://x", 1).write(store.settings)
    export = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    path = address(store, export)
    assert path is not None
    answers: list[Answer] = []
    with replacing(on_disk(export.path)):
        while sum(answer.status == 200 for answer in answers) < 10:
            answers.append(ask(path))
    assert {answer.status for answer in answers} <= {200, 500}
    served = {hashlib.sha256(answer.body).hexdigest() for answer in answers if answer.status == 200}
    assert served == {export.sha256}


@contextmanager
def replacing(file: Path) -> Iterator[None]:
    """Let other bytes and the true ones take the name of a file in turn."""
    true, other, ends = file.with_name("true"), file.with_name("other"), Event()
    os.link(file, true)
    other.write_bytes(true.read_bytes().swapcase())

    def turn() -> None:
        while not ends.is_set():
            for each in (other, true):
                os.link(each, file.with_name("next"))
                os.replace(file.with_name("next"), file)

    thread = Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


@pytest.mark.runs_on("laptop", "server")
def test_no_file_stays_open(ask: Ask, store: RecordStore, export: ExportManifest) -> None:
    path, file = address(store, export) or "", on_disk(export.path)
    before = open_files()
    answers = [ask(path), ask(path, "HEAD"), ask(path, Range="bytes=1-2"), ask(path, Range="bytes=999999-")]
    assert [answer.status for answer in answers] == [200, 200, 206, 416]
    file.write_bytes(b"damaged")
    assert ask(path).status == 500
    assert within(5, lambda: open_files() == before)
    assert not list(store.settings.scratch.glob("fetched-*"))


def open_files() -> list[str]:
    """Return the paths of the exports that this process has open, also of removed ones."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the list itself
            found.append(str(descriptor.readlink()))
    return [path for path in found if ".csv" in path]
