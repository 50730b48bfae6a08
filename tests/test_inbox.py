"""The inbox and its sensor: no file blocks it, leads outside or is lost."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.arrivals import file_arrival, import_arrivals
from pipelines.store_resource import RecordsResource, Refusal
from resources.inbox import inbox_of
from resources.record_store import RecordStore
from resources.upkeep.leftovers import sweep_archive
from schemas.maintenance import Removed
from tests.inbox import import_all, kinds, lands, places, take
from tests.object_server import on_disk
from tests.older_stores import LATER, unpack
from tests.records import contact, write_csv

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def inbox_store(store: RecordStore) -> RecordStore:
    """A store with the account `ua`, and folders for what arrives."""
    store.add_account("ua", "tester")
    inbox_of(store).look(["ua"], ["contacts", "flights"])
    return store


class Ticks:
    """Runs the sensor, tick after tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        with dg.build_sensor_context(self._instance, cursor=self.cursor) as context:
            result: Any = file_arrival(context, records=RecordsResource())
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def requests(self) -> list[dg.RunRequest]:
        return list(self.tick().run_requests or [])

    def reason(self) -> str:
        result = self.tick()
        assert not result.run_requests
        assert isinstance(result.skip_reason, dg.SkipReason)
        return result.skip_reason.skip_message or ""

    def make(self, request: dg.RunRequest) -> dg.DagsterRun:
        return self._instance.create_run_for_job(
            import_arrivals, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.STARTING
        )

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return import_arrivals.execute_in_process(
            request.run_config,
            instance=self._instance,
            tags=dict(request.tags),
            resources={"records": RecordsResource()},
            raise_on_error=False,
        )


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    return Ticks(instance)


def test_accounts_and_types_have_folders_in_which_to_put_files(inbox_store: RecordStore, ticks: Ticks) -> None:
    inbox_store.add_account("dl", "tester")
    assert ticks.reason() == "No file has arrived."
    assert {
        str(path.relative_to(on_disk(inbox_store.settings.inbox)))
        for path in on_disk(inbox_store.settings.inbox).glob("*/*")
    } == {*("ua/contacts", "ua/flights", "dl/contacts", "dl/flights")}


def test_of_a_store_of_another_format_it_says_so(home: Path, instance: dg.DagsterInstance) -> None:
    unpack(LATER, home)
    sentence = "has format 0, and this program needs format"
    with dg.build_sensor_context(instance) as context, pytest.raises(Refusal, match=sentence):
        file_arrival(context, records=RecordsResource())


def test_before_there_is_a_store_it_waits(home: Path, instance: dg.DagsterInstance) -> None:
    with dg.build_sensor_context(instance) as context:
        assert file_arrival(context, records=RecordsResource()) == dg.SkipReason("There is no store yet: records init.")
    assert not home.exists()


@pytest.mark.runs_on("laptop", "postgres")
def test_a_file_is_taken_once_it_was_the_same_at_two_looks_and_imported_by_a_run(
    inbox_store: RecordStore, ticks: Ticks
) -> None:
    file = lands(inbox_store, "in.csv", [contact(1)])
    assert ticks.reason() == "files that must be the same at two looks: 1"
    write_csv(file, [contact(1), contact(2, status="VIP")])
    assert ticks.reason() == "files that must be the same at two looks: 1"
    (request,) = ticks.requests()
    assert kinds(inbox_store) == {"in.csv": ["processing"]}

    done = ticks.execute(request)

    assert done.success
    (batch,) = inbox_store.batches()
    assert (batch.actor, batch.run_id) == ("inbox", done.run_id)
    outputs = [event for event in done.all_events if event.event_type_value == "STEP_OUTPUT"]
    (output,) = [event for event in outputs if event.step_key == "import_folder[001_ua_contacts]"]
    shown: dict[str, Any] = {name: value.value for name, value in output.step_output_data.metadata.items()}
    (entry,) = shown.pop("files").records
    assert shown == {"committed": 0, "waits": 0, "quarantined": 1, "postponed": 0}
    assert entry.data["batch_id"] == batch.batch_id
    assert "VIP" not in str(entry.data)
    assert ticks.reason() == "No file has arrived."


def test_a_part_is_taken_at_once_when_it_is_renamed(inbox_store: RecordStore, ticks: Ticks) -> None:
    part = lands(inbox_store, "in.csv.part", [contact(1)])
    assert ticks.reason() == "files called *.part: 1"
    assert ticks.reason() == "files called *.part: 1"
    part.rename(part.with_suffix(""))
    assert len(ticks.requests()) == 1
    assert kinds(inbox_store) == {"in.csv": ["processing"]}


def test_hidden_files_are_left_alone(inbox_store: RecordStore, ticks: Ticks) -> None:
    for place in ("ua/contacts", "ua", ""):
        (inbox_store.settings.inbox / place / ".hidden").write_text("x")
    assert [ticks.reason() for _ in range(3)] == ["No file has arrived."] * 3
    assert kinds(inbox_store) == {".hidden": ["inbox"] * 3}


def test_whatever_else_lies_there_is_in_quarantine_and_nothing_is_followed(
    inbox_store: RecordStore, ticks: Ticks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = on_disk(inbox_store.settings.inbox)
    place = inbox / "ua" / "contacts"
    outside = tmp_path / "outside"
    (outside / "contacts").mkdir(parents=True)
    write_csv(outside / "contacts" / "secret.csv", [contact(9)])
    (place / "link.csv").symlink_to(outside / "contacts" / "secret.csv")
    (place / "dangling").symlink_to(tmp_path / "nothing")
    (inbox / "linked").symlink_to(outside)
    (inbox / "ua" / "linked-type").symlink_to(outside / "contacts")
    os.mkfifo(place / "fifo")
    monkeypatch.chdir(place)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    (place / "folder").mkdir()
    (place / "folder" / "deep.csv").write_text("x")
    (inbox / "top.csv").write_text("x")
    (inbox / "ua" / "middle.csv").write_text("x")
    unknown = ["nobody/contacts", "ua/cargo", "new\nline/contacts", "no../contacts", "x" * 255 + "/contacts"]
    for number, where_to in enumerate(unknown):
        lands(inbox_store, f"unknown-{number}.csv", [contact(1)], where_to)
    names = ["a..b.csv", "new\nline.csv", "x" * 251 + ".csv", os.fsdecode(b"\xff.csv"), " .csv", "-rf", "*"]
    for number, name in enumerate(names):
        lands(inbox_store, name, [contact(number)])

    assert ticks.reason().endswith(f": {len(names) + 14}")
    (request,) = ticks.requests()
    assert ticks.execute(request).success

    where = kinds(inbox_store)
    assert {name: where[name] for name in names} == {name: ["archive"] for name in names}
    others = ["link.csv", "dangling", "linked", "linked-type", "fifo", "socket", "deep.csv", "top.csv", "middle.csv"]
    others += [f"unknown-{number}.csv" for number in range(len(unknown))]
    assert {name: where[name] for name in others} == {name: ["quarantine"] for name in others}
    assert inbox_store.accounts() == ["ua"]
    assert [path.name for path in outside.rglob("*.csv")] == ["secret.csv"]
    assert {path.parent.name[:2] for path in inbox_store.settings.quarantine.rglob("WHY.txt")} == {"q-"}
    why = {path.read_text().splitlines()[0] for path in inbox_store.settings.quarantine.rglob("WHY.txt")}
    assert "ua/contacts/link.csv was not imported. It is a link; only files are imported." in why
    assert "nobody/contacts/unknown-0.csv was not imported. There is no account 'nobody'." in why
    assert "ua/cargo/unknown-1.csv was not imported. There is no record type 'cargo'." in why
    assert "top.csv was not imported. It was in inbox/, which names no account and no record type." in why


def test_a_file_that_cannot_be_moved_stops_no_other_and_is_reported(
    inbox_store: RecordStore, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def refuses(source: Any, *arguments: Any, **options: Any) -> None:
        if source == "stuck.csv":
            raise PermissionError(1, "Operation not permitted")
        rename(source, *arguments, **options)

    for number, name in enumerate(("a.csv", "stuck.csv", "z.csv")):
        lands(inbox_store, name, [contact(number)])
    ticks.tick()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuses)
        (request,) = ticks.requests()
        ticks.make(request)
        assert kinds(inbox_store) == {"a.csv": ["processing"], "stuck.csv": ["inbox"], "z.csv": ["processing"]}
        assert "ua/contacts/stuck.csv cannot be moved: Operation not permitted" in ticks.reason()
    ticks.tick()
    assert kinds(inbox_store)["stuck.csv"] == ["processing"]


def test_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere(inbox_store: RecordStore, tmp_path: Path) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    inbox = inbox_of(inbox_store)
    look = inbox.look(["ua"], ["contacts"])
    outside = shutil.move(on_disk(inbox_store.settings.inbox) / "ua" / "contacts", tmp_path / "outside")
    (inbox_store.settings.inbox / "ua" / "contacts").symlink_to(outside)
    (failure,) = inbox.take(["ua/contacts/in.csv"], look, ["ua"], ["contacts"], inbox_store.now())
    assert failure.startswith("ua/contacts/in.csv cannot be moved: ")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["in.csv"]


def test_a_file_that_its_writer_removes_is_ignored(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)]).unlink()
    inbox = inbox_of(inbox_store)
    assert (
        inbox.take(["ua/contacts/in.csv"], {"ua/contacts/in.csv": (1, 1, 1)}, ["ua"], ["contacts"], inbox_store.now())
        == []
    )
    assert inbox.bundles() == {}


@pytest.mark.runs_on("laptop", "postgres")
def test_a_bundle_has_one_run_at_a_time_and_after_a_failure_another(
    inbox_store: RecordStore, ticks: Ticks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    ticks.tick()
    (first,) = ticks.requests()
    assert (first.run_key or "").endswith(":0")
    assert first.tags["dagster/priority"] == "-1"
    run = ticks.make(first)
    assert ticks.reason() == "bundles that are being imported or wait for a retry: 1"
    instance.report_run_failed(run)
    assert ticks.reason() == "bundles that are being imported or wait for a retry: 1"
    monkeypatch.setattr("pipelines.arrivals.next_attempt", min)
    (second,) = ticks.requests()
    assert second.run_key == (first.run_key or "").replace(":0", ":1")
    assert ticks.execute(second).success
    assert kinds(inbox_store) == {"in.csv": ["archive"]}


def test_a_run_that_was_made_and_not_launched_is_asked_for_under_its_key(
    inbox_store: RecordStore, ticks: Ticks, instance: dg.DagsterInstance
) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    ticks.tick()
    (first,) = ticks.requests()
    instance.create_run_for_job(import_arrivals, run_config=first.run_config, tags=first.tags)
    (again,) = ticks.requests()
    assert again.run_key == first.run_key


@pytest.mark.runs_on("laptop", "postgres")
def test_bundles_of_one_folder_are_imported_in_their_order_and_one_that_failed_holds_none_up(
    inbox_store: RecordStore, ticks: Ticks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.inbox.bundles._FILES_A_BUNDLE", 1)
    inbox_store.add_account("dl", "tester")
    for number in range(3):
        os.utime(lands(inbox_store, f"{number}.csv", [contact(number)]), (number, number))
    lands(inbox_store, "other.csv", [contact(1)], "dl/contacts")
    ticks.tick()
    requests = {_file(inbox_store, request): request for request in ticks.requests()}
    assert set(requests) == {"0.csv", "other.csv"}
    run = ticks.make(requests["0.csv"])
    ticks.make(requests["other.csv"])
    assert ticks.requests() == []
    instance.report_run_failed(run)
    assert [_file(inbox_store, request) for request in ticks.requests()] == ["1.csv"]


def _file(store: RecordStore, request: dg.RunRequest) -> str:
    (file,) = (store.settings.processing / request.tags[".dagster/records-bundle"]).glob("*/*/*")
    return file.name


def test_no_more_runs_than_ten_are_under_way(
    inbox_store: RecordStore, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.inbox.bundles._FILES_A_BUNDLE", 1)
    for number in range(12):
        inbox_store.add_account(f"a{number}", "tester")
        lands(inbox_store, "in.csv", [contact(1)], f"a{number}/contacts")
    ticks.tick()
    first = ticks.requests()
    assert len(first) == 10
    ticks.make(first[0])
    assert len(ticks.requests()) == 9


def test_a_run_that_has_postponed_files_fails_and_says_what_became_of_the_others(
    inbox_store: RecordStore, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resources.importing.importer import Importer
    from schemas.batches import ImportReport, ImportRequest, OnInvalid
    from schemas.errors import DiskFull

    imports = Importer.import_file

    def full(importer: Importer, request: ImportRequest, on_invalid: OnInvalid) -> ImportReport:
        if request.path.name == "large.csv":
            raise DiskFull("There is no room.", "Make room.")
        return imports(importer, request, on_invalid)

    monkeypatch.setattr(Importer, "import_file", full)
    lands(inbox_store, "large.csv", [contact(1)])
    lands(inbox_store, "small.csv", [contact(2)])
    ticks.tick()
    (request,) = ticks.requests()
    result = ticks.execute(request)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert failure.description == (
        "1 of 2 files could not be imported now and will be retried: There is no room. Make room."
    )
    assert (failure.metadata["committed"].value, failure.metadata["postponed"].value) == (1, 1)
    assert kinds(inbox_store) == {"large.csv": ["processing"], "small.csv": ["archive"]}


def test_an_invalid_policy_fails_the_tick_and_nothing_is_moved(inbox_store: RecordStore, ticks: Ticks) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    ticks.tick()
    (inbox_store.settings.home / "inbox.yaml").write_text("policies: 1")
    with pytest.raises(dg.Failure, match="`policies` was 1: input should be a valid tuple"):
        ticks.tick()
    assert kinds(inbox_store) == {"in.csv": ["inbox"]}


def test_ten_thousand_files_are_taken_in_seconds_and_none_is_opened(inbox_store: RecordStore, ticks: Ticks) -> None:
    folder = on_disk(inbox_store.settings.inbox) / "ua" / "contacts"
    for number in range(10_000):
        file = os.open(folder / f"{number}.csv", os.O_CREAT | os.O_WRONLY, 0o000)  # no process may read it
        os.close(file)
    began = time.process_time()  # other tests run at the same time
    assert ticks.reason() == "files that must be the same at two looks: 10000"
    assert len(ticks.requests()) == 1
    assert time.process_time() - began < 10
    bundles = inbox_of(inbox_store).bundles()
    assert len(bundles) == 100
    assert sum(len(list((inbox_store.settings.processing / it).glob("*/*/*"))) for it in bundles) == 10_000


def test_what_is_in_quarantine_is_kept_as_long_as_what_is_archived(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lands(inbox_store, "good.csv", [contact(1)])
    lands(inbox_store, "bad.csv", [contact(2, status="VIP")])
    lands(inbox_store, "old.csv", [contact(3)], "nobody/folder/contacts")
    (inbox_store.settings.inbox / "top.csv").symlink_to("/etc")
    take(inbox_store)
    import_all(inbox_store)
    assert {kind for where in kinds(inbox_store).values() for kind in where} == {"archive", "quarantine"}
    now = datetime.now(UTC)
    monkeypatch.setattr(inbox_store, "retention_time", lambda: now + timedelta(days=29))
    assert sweep_archive(inbox_store) == Removed()
    monkeypatch.setattr(inbox_store, "retention_time", lambda: now + timedelta(days=31))
    assert sweep_archive(inbox_store).number == 4
    assert places(inbox_store) == {}


def test_the_cursor_is_the_last_look(inbox_store: RecordStore, ticks: Ticks) -> None:
    file = lands(inbox_store, os.fsdecode(b"\xff.csv"), [contact(1)])
    ticks.tick()
    status = file.stat()
    assert json.loads(ticks.cursor or "") == {
        os.fsdecode(b"ua/contacts/\xff.csv"): [status.st_size, status.st_mtime_ns, status.st_ino]
    }


def test_an_empty_bundle_config_is_refused(inbox_store: RecordStore) -> None:
    with pytest.raises(dg.Failure, match="'' is not a bundle"):
        import_arrivals.execute_in_process(resources={"records": RecordsResource()})
