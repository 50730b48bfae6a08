"""Uploads in pieces: nothing that was confirmed is lost, and nothing else is in the file."""

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.web.serving import serving
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.uploads import KEPT_FOR, OffsetMismatch, Uploads, safe_name
from schemas.errors import InvalidRequest, NotFound, StoreBusy
from tests.full_disk import small_disk
from tests.serving import within

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
PIECE = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def uploads(settings: Settings) -> Uploads:
    settings.home.mkdir()
    return Uploads(settings)


def test_pieces_become_the_file(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "C:\\Users\\ann\\people.csv", 6, "ann", NOW)
    for offset, piece in ((0, b"abc"), (3, b""), (3, b"def")):
        with uploads.receiving(upload, offset) as part:
            part.write(piece)

    assert uploads.is_complete(upload)
    assert uploads.file(upload).name == "people.csv"
    assert uploads.file(upload).read_bytes() == b"abcdef"
    assert uploads.find("ua", upload.upload_id) == upload


def test_a_broken_connection_keeps_what_arrived(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 6, "ann", NOW)
    with suppress(ConnectionError), uploads.receiving(upload, 0) as part:
        part.write(b"abcd")
        raise ConnectionError

    assert uploads.received(upload) == 4
    with pytest.raises(OffsetMismatch, match="4 bytes"), uploads.receiving(upload, 0):
        pass


def test_what_was_not_confirmed_is_written_again(uploads: Uploads, settings: Settings) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 6, "ann", NOW)
    with uploads.receiving(upload, 0) as part:
        part.write(b"abc")
    (part_file,) = Path(settings.uploads).rglob("*.part")
    part_file.write_bytes(b"abc\0\0\0\0\0")  # as a power cut can leave it

    with uploads.receiving(upload, 3) as part:
        part.write(b"def")

    assert uploads.file(upload).read_bytes() == b"abcdef"


def test_a_whole_file_gets_its_name_after_a_power_cut(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)
    with uploads.receiving(upload, 0) as part:
        part.write(b"abc")
    file = uploads.file(upload)
    file.rename(file.parent.parent / "file.part")  # the power failed before

    assert uploads.is_complete(upload)
    assert file.read_bytes() == b"abc"


def test_a_file_is_never_longer_than_was_said(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)

    with pytest.raises(InvalidRequest, match="longer"), uploads.receiving(upload, 0) as part:
        part.write(b"abcd")


def test_two_connections_do_not_send_one_file(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)

    with uploads.receiving(upload, 0), pytest.raises(StoreBusy), uploads.receiving(upload, 0):
        pass


def test_an_upload_belongs_to_its_account(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)

    for account, name in (("ub", upload.upload_id), ("ua", "../ua/" + upload.upload_id), ("ua", "")):
        with pytest.raises(NotFound):
            uploads.find(account, name)
    assert uploads.listed("ub") == []


def test_old_uploads_are_removed(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)
    now = datetime.now(UTC)

    assert uploads.sweep(now).number == 0
    assert uploads.sweep(now + KEPT_FOR + timedelta(minutes=1)).number == 1
    assert uploads.listed("ua") == []
    with pytest.raises(NotFound):
        uploads.find("ua", upload.upload_id)


@given(st.text())
def test_any_name_becomes_a_safe_one(name: str) -> None:
    safe = safe_name(name)

    assert safe.strip(". ")
    assert Path(safe).name == safe
    assert len(safe.encode()) <= 180


@pytest.mark.parametrize("size", [-1, 10**12])
def test_a_size_must_be_possible(uploads: Uploads, size: int) -> None:
    with pytest.raises(InvalidRequest):
        uploads.start("ua", "contacts", "people.csv", size, "ann", NOW)


def test_a_client_continues_where_the_file_ends(client: TestClient) -> None:
    content = b"external_id,status\nA,lead\n"
    said = {"name": "people.csv", "bytes": len(content), "type": "contacts"}
    started = client.post("/a/ua/uploads", json=said)
    place = started.headers["location"]

    assert client.head(place).headers["upload-offset"] == "0"
    assert client.patch(place, content=content[:5], headers=PIECE | {"Upload-Offset": "0"}).status_code == 204
    late = client.patch(place, content=content[:5], headers=PIECE | {"Upload-Offset": "0"})
    assert (late.status_code, late.headers["upload-offset"]) == (409, "5")
    rest = client.patch(place, content=content[5:], headers=PIECE | {"Upload-Offset": "5"})
    assert rest.headers["upload-offset"] == str(len(content))


def test_a_piece_after_the_last_one_leaves_the_file_alone(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)
    for offset, piece in ((0, b"abc"), (3, b"")):
        with uploads.receiving(upload, offset) as part:
            part.write(piece)

    assert uploads.file(upload).read_bytes() == b"abc"
    with pytest.raises(InvalidRequest), uploads.receiving(upload, 3) as part:
        part.write(b"d")
    assert uploads.file(upload).read_bytes() == b"abc"


def test_a_disk_that_lost_what_it_had_flushed_is_asked_for_it_again(uploads: Uploads, settings: Settings) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 6, "ann", NOW)
    with uploads.receiving(upload, 0) as part:
        part.write(b"abcd")
    (part_file,) = Path(settings.uploads).rglob("*.part")
    part_file.write_bytes(b"ab")

    with pytest.raises(OffsetMismatch, match="2 bytes"), uploads.receiving(upload, 4):
        pass
    with uploads.receiving(upload, 2) as part:
        part.write(b"cdef")
    assert uploads.file(upload).read_bytes() == b"abcdef"


@given(st.lists(st.tuples(st.integers(-3, 40), st.integers(0, 60), st.booleans(), st.booleans()), max_size=20))
def test_any_interruptions_and_a_second_sender_leave_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[int, int, bool, bool]]
) -> None:
    """Each attempt begins beside or at the end, sends some bytes, breaks off or not; another tab may send meanwhile."""
    home = tmp_path_factory.mktemp("home")
    uploads = Uploads(Settings.from_environment({"RECORDS_HOME": str(home)}))
    content = bytes(range(256))
    upload = uploads.start("ua", "contacts", "people.csv", len(content), "ann", NOW)
    for beside, size, breaks, is_rival in [*attempts, (0, len(content), False, False)]:
        known = uploads.received(upload)
        offset = max(0, known + beside)
        with suppress(OffsetMismatch, ConnectionError, InvalidRequest), uploads.receiving(upload, offset) as part:
            part.write(content[offset : offset + size])
            if is_rival:
                with pytest.raises(StoreBusy), uploads.receiving(upload, offset):
                    pass
            if breaks:
                raise ConnectionError
        assert known <= uploads.received(upload) <= len(content)

    assert uploads.is_complete(upload)
    assert uploads.file(upload).read_bytes() == content
    shutil.rmtree(home)


def test_a_full_disk_is_said_and_the_upload_goes_on_when_there_is_room(tmp_path: Path) -> None:
    content = b"x" * 2_000_000
    with small_disk(tmp_path / "disk") as disk:
        uploads = Uploads(Settings.from_environment({"RECORDS_HOME": str(disk.folder)}))
        upload = uploads.start("ua", "contacts", "people.csv", len(content), "ann", NOW)
        with uploads.receiving(upload, 0) as part:
            part.write(content[:100_000])
        disk.fill()
        with pytest.raises(OSError), uploads.receiving(upload, 100_000) as part:  # noqa: PT011
            part.write(content[100_000:])
        disk.free()

        offset = uploads.received(upload)
        assert offset >= 100_000
        with uploads.receiving(upload, offset) as part:
            part.write(content[offset:])
        assert uploads.file(upload).read_bytes() == content


def test_two_changes_at_once_are_both_there(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)
    turn = Barrier(8)

    def change(number: int) -> None:
        turn.wait(timeout=60)
        uploads.change(upload, lambda known: replace(known, wants_approval=f"{known.wants_approval or ''}{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))

    assert sorted(uploads.find("ua", upload.upload_id).wants_approval or "") == list("01234567")


def test_an_upload_that_was_removed_takes_no_piece(uploads: Uploads) -> None:
    upload = uploads.start("ua", "contacts", "people.csv", 3, "ann", NOW)

    def remove_amid() -> None:
        with uploads.receiving(upload, 0):
            uploads.remove(upload)

    with pytest.raises(NotFound):
        remove_amid()
    with pytest.raises(NotFound):
        uploads.change(upload, lambda known: known)


def test_what_others_announced_counts_as_taken(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    needed: list[float] = []
    monkeypatch.setattr("resources.uploads.require_disk_space", lambda _, size, *__: needed.append(size))
    for size in (10, 20):
        uploads.start("ua", "contacts", "people.csv", size, "ann", NOW)

    assert needed == [10, 30]


def test_a_connection_that_breaks_without_a_sign_does_not_keep_the_file(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.web.views.uploads._SILENT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener, serving(store.settings, listener):
        number = listener.getsockname()[1]
        origin = f"http://127.0.0.1:{number}"
        with httpx2.Client(base_url=origin, headers={"Origin": origin}, timeout=60) as client:
            said = {"name": "people.csv", "bytes": 25, "type": "contacts"}
            place = client.post("/a/ua/uploads", json=said).headers["location"]
            with socket.create_connection(("127.0.0.1", number)) as silent:
                silent.sendall(
                    f"PATCH {place} HTTP/1.1\r\nHost: 127.0.0.1:{number}\r\nOrigin: {origin}\r\n"
                    "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
                    "Content-Length: 25\r\n\r\nexternal".encode()
                )
                assert within(30, lambda: client.head(place).headers["upload-offset"] == "8", every=0.05)
            rest = client.patch(place, content=b"_id,status\nA,lead\n"[:17], headers=PIECE | {"Upload-Offset": "8"})
            assert (rest.status_code, rest.headers["upload-offset"]) == (204, "25")
