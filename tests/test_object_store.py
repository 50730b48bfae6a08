"""A store with its data in objects: AWS's own settings locate it, and no readable output has its secrets."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from resources.export_writer import ExportWriter
from resources.export_writer.formats import FORMATS
from resources.file_storage import files_below, location
from resources.importing.importer import Importer
from resources.record_store import Databases, RecordStore
from resources.record_store.object_store import ObjectFiles
from resources.settings import Settings
from schemas.errors import InvalidRequest, StoreUnreachable
from schemas.exports import ExportRequest
from tests.forked_commands import COMMAND_LINE
from tests.object_server import KEY, SECRET, ObjectServer, on_disk
from tests.postgres import PASSWORD
from tests.records import contact, contacts_of, put, stored, write_csv
from tests.serving import COMMAND

pytestmark = pytest.mark.runs_on("server")


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """Forget the cached clients before each test."""
    _as_a_new_process()
    yield
    _as_a_new_process()


def _as_a_new_process() -> None:
    S3FileSystem.clear_instance_cache()


def _anew(settings: Settings) -> Settings:
    """Read the settings as a new process does, without a client of the object store."""
    return replace(settings, data=location(str(settings.data)))


@pytest.mark.parametrize("data", ["gs://bucket", "s3://", "s3://B", "s3://bucket/a*", "s3://bucket//a", "s3://b@d/x"])
def test_an_invalid_place_of_data_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest, match="Give a local folder, or s3://BUCKET/PREFIX"):
        Settings.from_environment({"RECORDS_DATA": data})


@pytest.mark.parametrize("how", ["keys", "a process"])
def test_the_usual_files_of_aws_name_keys_region_and_endpoint(
    how: str,
    store: RecordStore,
    settings: Settings,
    objects: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    for name in objects.environment:
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    keys = f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}"
    if how == "a process":
        _tell_keys(tmp_path / "keys.json", SECRET)
        keys = f"credential_process = cat {tmp_path / 'keys.json'}"
    endpoint = objects.environment["AWS_ENDPOINT_URL"]
    config.write_text(f"[profile mine]\n{keys}\nregion = us-east-1\nendpoint_url = {endpoint}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    _as_a_new_process()
    with RecordStore(_anew(settings)) as again:
        assert [row["external_id"] for row in stored(again)] == ["C-1"]
        if how == "a process":  # these keys end soon, so the process requests them before each statement
            _tell_keys(tmp_path / "keys.json", "another-s3cret")
            with pytest.raises(StoreUnreachable, match="Forbidden"):
                put(again, "SELECT 'C-2' AS external_id, 'lead' AS status")


def _tell_keys(file: Path, secret: str) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=5)
    keys = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": secret, "Expiration": ends.isoformat()}
    file.write_text(json.dumps(keys))


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another-s3cret"}, "Forbidden"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not|connect"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nobody"}, "Unable to locate credentials"),
    ],
)
def test_a_store_that_cannot_reach_its_objects_says_so_and_shows_no_secret(
    store: RecordStore, environment: dict[str, str], why: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _as_a_new_process()
    with pytest.raises(StoreUnreachable, match=why) as raised, RecordStore(_anew(settings)) as again:
        stored(again)
    shown = f"{raised.value!r}"
    assert not [secret for secret in (SECRET, KEY, PASSWORD, "another-s3cret") if secret in shown]


def test_no_output_of_the_command_and_no_object_has_a_secret_in_it(
    store: RecordStore, settings: Settings, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "in.csv", [contact(1), contact(2, status="VIP")])
    shown = ""
    for arguments in (
        ["import", str(file), "-a", "ua", "-t", "contacts", "--on-invalid", "skip", "--json"],
        ["export", "-a", "ua", "-t", "contacts", "-f", "excel", "--json"],
        ["maintain", "--json"],
        ["exports", "--json"],
        ["import", str(file), "-a", "ua", "-t", "contacts", "--json"],
    ):
        done = COMMAND_LINE.run([COMMAND, *arguments], capture_output=True, text=True, env=os.environ, check=False)
        assert json.loads(done.stdout), done.stderr
        shown += done.stdout + done.stderr
    for root in (on_disk(settings.data), settings.home):
        shown += "".join(path.read_bytes().decode("latin-1") for path in root.rglob("*") if path.is_file())
    assert not [secret for secret in (SECRET, KEY, PASSWORD) if secret in shown]


def test_an_export_lies_among_the_accounts_objects_and_one_that_fails_leaves_the_older(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", map(contact, range(100)))))
    writer = ExportWriter(store, "tester")
    for kind in FORMATS:
        manifest = writer.export(ExportRequest("ua", "contacts", format=kind, part_rows=30))
        assert str(manifest.path).startswith(f"{store.settings.data}/accounts/ua/exports/{manifest.export_id}/")
        folder = on_disk(manifest.path).parent
        names = [manifest.path.name, manifest.manifest_path.name]
        assert sorted(file.name for file in folder.iterdir()) == names
        manifest_file = json.loads(on_disk(manifest.manifest_path).read_text())
        assert (manifest_file["path"], manifest_file["sha256"]) == (str(manifest.path), manifest.sha256)
    assert not any(store.settings.scratch.iterdir())

    plan = writer.plan(ExportRequest("ua", "contacts", part_rows=30))
    monkeypatch.setattr(type(store.files), "put", _refused)
    with pytest.raises(StoreUnreachable):
        writer.finish(plan)
    assert not on_disk(plan.path).exists()
    assert not any(store.settings.scratch.iterdir())


def _refused(*_: object) -> None:
    raise StoreUnreachable("The object store cannot be reached, or refuses: no.", "")


def test_no_account_names_what_is_on_its_way(store: RecordStore, importer: Importer) -> None:
    on_its_way = store.settings.scratch / "fetched-1" / "theirs.csv"
    on_its_way.parent.mkdir(parents=True)
    write_csv(on_its_way, [contact(1)])
    with pytest.raises(Exception, match="There is no file"):
        importer.preview(contacts_of(on_its_way))


@pytest.fixture
def lake_objects(store: RecordStore) -> ObjectFiles:
    found = Databases().objects(store.settings)
    assert found is not None
    return found


def test_a_file_that_duckdb_drops_is_not_in_the_object_store_and_stops_the_commit(
    store: RecordStore, lake_objects: ObjectFiles
) -> None:
    place = store.settings.lake / "dropped.parquet"
    lake_objects.begin()
    file = lake_objects.open(lake_objects.address(place), "wb")
    file.write(b"half")
    del file
    with pytest.raises(StoreUnreachable, match=r"dropped\.parquet was not written completely"):
        lake_objects.require_written()
    assert not on_disk(place).exists()
    lake_objects.begin()
    lake_objects.require_written()


def test_a_file_on_a_disk_without_room_is_an_error_and_not_shorter(
    store: RecordStore, lake_objects: ObjectFiles
) -> None:
    """The system writes as much as there is room for, and says how much: here the limit of a file's size."""
    file = lake_objects.open(lake_objects.address(store.settings.lake / "long.parquet"), "wb")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.write(b"x" * 3_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_checksum_of_a_written_file_is_that_of_what_duckdb_wrote(
    store: RecordStore, lake_objects: ObjectFiles
) -> None:
    place = store.settings.lake / "written.parquet"
    with lake_objects.open(lake_objects.address(place), "wb") as file:
        file.write(b"content")
    digest = lake_objects.checksum(place)
    on_disk(place).write_bytes(b"C0ntent")
    lake_objects.drop_copies()
    assert lake_objects.checksum(place) == digest
    assert not lake_objects.is_whole(place, digest, anew=True)


def test_an_operation_compares_a_kept_copy_again(store: RecordStore, lake_objects: ObjectFiles) -> None:
    """A bit of the copy flips on this machine's disk. The object is whole, so it is fetched once more."""
    place = store.settings.lake / "kept.parquet"
    address = lake_objects.address(place)
    with lake_objects.open(address, "wb") as file:
        file.write(b"content")
    digest = lake_objects.checksum(place)
    (copy,) = kept_copies(store)
    with copy.open("r+b") as file:
        file.write(b"C")
    assert lake_objects.open(address).read() == b"Content"

    lake_objects.forget_comparisons()
    assert lake_objects.is_whole(place, digest)
    assert lake_objects.open(address).read() == b"content"
    assert lake_objects.uncompared(store.settings.lake) == []


def test_an_export_of_an_open_store_finds_a_copy_that_has_changed_since_the_last_one(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "in.csv", [contact(n) for n in range(200)])))
    writer = ExportWriter(store, "tester")
    first = writer.export(ExportRequest("ua", "contacts"))
    (file,) = files_below(store.settings.lake / "records")
    content = on_disk(file.place).read_bytes()
    (copy,) = [copy for copy in kept_copies(store) if copy.read_bytes() == content]
    with copy.open("r+b") as opened:
        opened.seek(len(content) // 2)
        opened.write(bytes([content[len(content) // 2] ^ 1]))
    assert writer.export(ExportRequest("ua", "contacts")).sha256 == first.sha256


def kept_copies(store: RecordStore) -> list[Path]:
    """Return the copies of objects that this process has open. None has a name."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the list itself
            if str(descriptor.readlink()).startswith(f"{store.settings.scratch}/lake-"):
                found.append(descriptor)
    return found
