"""Files in a folder or in an object store: each is whole or absent, and errors say why."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources import file_storage
from resources.file_storage import (
    FileStorage,
    Usage,
    blocks_of,
    entries,
    exists,
    files_below,
    is_local,
    location,
    opened,
    read,
    remove,
    size_of,
    usage,
)
from schemas.errors import StoreUnreachable
from schemas.location import Location
from tests.object_server import KEY, SECRET, ObjectServer, on_disk

pytestmark = pytest.mark.runs_on("laptop", "server")


@pytest.fixture
def root(tmp_path: Path, data: str | None) -> Location:
    """An empty place."""
    return location(data or str(tmp_path / "data"))


@pytest.fixture
def files(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "scratch")


def put(files: FileStorage, place: Location, data: bytes = b"bytes") -> None:
    with files.making(place) as made:
        made.write_bytes(data)


def test_a_file_that_was_made_is_there_whole(files: FileStorage, root: Location, tmp_path: Path) -> None:
    place = root / "a folder" / "a file.csv"
    assert not exists(place)
    assert size_of(place) is None
    with files.making(place) as made:
        made.write_bytes(b"half")
        assert entries(root / "a folder") in ((), (made,))
        made.write_bytes(b"whole")
    assert (exists(place), size_of(place), read(place), b"".join(blocks_of(place))) == (True, 5, b"whole", b"whole")
    put(files, place, b"another")
    assert read(place) == b"another"
    assert entries(root / "a folder") == (place,)
    assert not any((tmp_path / "scratch").glob("*"))


@pytest.mark.runs_on("laptop")
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path, make: Callable[[Path], object]) -> None:
    place = tmp_path / "place"
    make(place)
    assert not exists(place)
    with pytest.raises(FileNotFoundError, match="There is no regular file"):
        b"".join(blocks_of(place))


@pytest.mark.runs_on("laptop")
def test_a_link_is_followed_unless_it_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert b"".join(blocks_of(tmp_path / "link")) == b"bytes"
    with pytest.raises(FileNotFoundError), opened(tmp_path / "link", links=False):
        pass


def test_nothing_is_left_of_what_could_not_be_made(files: FileStorage, root: Location, tmp_path: Path) -> None:
    put(files, root / "kept.csv", b"older")
    with pytest.raises(ZeroDivisionError), files.making(root / "kept.csv") as made:
        made.write_bytes(b"half of it" * (1 // 0))
    assert read(root / "kept.csv") == b"older"
    assert entries(root) == (root / "kept.csv",)
    assert not any((tmp_path / "scratch").glob("*"))


def test_a_folder_is_put_and_fetched_with_all_that_is_in_it(files: FileStorage, root: Location) -> None:
    with files.making(root / "folder") as made:
        (made / "deep" / "er").mkdir(parents=True)
        (made / "one").write_bytes(b"1")
        (made / "deep" / "er" / "two").write_bytes(b"22")
    assert [(file.place, file.bytes) for file in files_below(root)] == [
        (root / "folder" / "deep" / "er" / "two", 2),
        (root / "folder" / "one", 1),
    ]
    assert usage(root / "folder").bytes == 3
    with files.fetched(root / "folder") as folder:
        assert folder.name == "folder"
        assert (folder / "deep" / "er" / "two").read_bytes() == b"22"
    remove(root / "folder")
    remove(root / "folder")
    assert (entries(root), list(files_below(root)), usage(root / "folder")) == ((), [], Usage())


def test_a_file_is_fetched_under_its_name_for_as_long_as_it_is_read(files: FileStorage, root: Location) -> None:
    put(files, root / "in #1 ☃.csv")
    with files.fetched(root / "in #1 ☃.csv") as path:
        assert (path.name, path.read_bytes()) == ("in #1 ☃.csv", b"bytes")
    assert path.exists() == is_local(root)
    for name in ("a*.csv", "ab.csv"):
        put(files, root / "names" / name)
    with files.fetched(root / "names" / "a*.csv") as path:
        assert path.read_bytes() == b"bytes"
    remove(root / "names" / "a*.csv")
    assert [each.name for each in entries(root / "names")] == ["ab.csv"]
    with pytest.raises(FileNotFoundError), files.fetched(root / "nothing"):
        pass
    with pytest.raises(FileNotFoundError):
        read(root / "nothing")


def test_a_large_file_is_sent_in_parts_and_is_there_when_all_of_them_are(
    files: FileStorage, root: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_storage, "_CHUNK", 5 << 20)
    data = bytes(range(256)) * (11 << 12)
    put(files, root / "large.bin", data)
    assert read(root / "large.bin") == data


@pytest.mark.runs_on("server")
def test_an_upload_that_ends_in_the_middle_shows_nothing(
    files: FileStorage, root: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_storage, "_CHUNK", 5 << 20)
    put(files, root / "large.bin", b"older")
    assert not is_local(root)
    upload = type(root.fs)._upload_file_part_concurrent

    async def cut(*given: Any, **options: Any) -> Any:
        await upload(*given, **options)
        raise ConnectionError("the cable")

    monkeypatch.setattr(type(root.fs), "_upload_file_part_concurrent", cut)
    with pytest.raises(StoreUnreachable, match="the cable"):
        put(files, root / "large.bin", bytes(11 << 20))
    assert read(root / "large.bin") == b"older"
    assert [file.bytes for file in files_below(root)] == [5]


@pytest.mark.runs_on("server")
@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another-s3cret"}, "The request signature we calculated does not match"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "The Access Key Id you provided does not exist"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint URL"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nobody"}, "Unable to locate credentials"),
    ],
)
def test_what_an_object_store_refuses_is_said_without_a_key(
    files: FileStorage,
    objects: ObjectServer,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    why: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(file_storage._OPTIONS, "skip_instance_cache", True)
    monkeypatch.setitem(file_storage._OPTIONS["config_kwargs"], "retries", {"max_attempts": 0})
    root = location(data)
    for use in (lambda: put(files, root / "in.csv"), lambda: entries(root), lambda: read(root / "in.csv")):
        with pytest.raises(
            StoreUnreachable, match=f"The object store cannot be reached, or refuses: ({why}|Forbidden)"
        ) as raised:
            use()
        assert not [secret for secret in (SECRET, KEY, "another-s3cret", "AKIANOBODY") if secret in str(raised.value)]
        assert raised.value.__suppress_context__


@pytest.mark.runs_on("server")
def test_a_file_that_cannot_be_removed_now_is_not_a_failure(
    files: FileStorage, root: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(files, root / "in.csv")
    assert not is_local(root)

    def refuses(*_: Any) -> None:
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(root.fs, "rm_file", refuses)
        remove(root)
    assert read(root / "in.csv") == b"bytes"


@pytest.mark.runs_on("server")
def test_a_bucket_that_is_not_there_is_said(files: FileStorage, data: str) -> None:
    with pytest.raises(StoreUnreachable, match="The specified bucket does not exist"):
        put(files, location("s3://nobodys-bucket/in.csv"))
    with pytest.raises(StoreUnreachable, match="The specified bucket does not exist"):
        usage(location("s3://nobodys-bucket/in"))
    assert entries(location("s3://nobodys-bucket/in")) == ()


@pytest.mark.runs_on("server")
def test_the_server_keeps_objects_where_tests_look_for_them(files: FileStorage, root: Location) -> None:
    put(files, root / "a" / "b.txt")
    assert on_disk(root / "a" / "b.txt").read_bytes() == b"bytes"
    on_disk(root / "a" / "c.txt").write_text("seen at once")
    assert read(root / "a" / "c.txt") == b"seen at once"
