"""Uploads in pieces: nothing that was confirmed is lost, and nothing else is in the file."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from resources.settings import Settings
from resources.uploads import KEPT_FOR, OffsetMismatch, Uploads, safe_name
from schemas.errors import InvalidRequest, NotFound, StoreBusy

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
