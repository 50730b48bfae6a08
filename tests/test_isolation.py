"""Two accounts: neither can reach or read anything of the other, whatever it names.

The other account's records, file names, headers, mappings, presets, filters and actors contain a canary. It is in
personal fields and in others, so that masking hides nothing.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.definitions import defs
from pipelines.ledger_events import ledger_events
from pipelines.store_resource import RecordsResource
from resources.export_writer import ExportWriter
from resources.export_writer.plan import ExportPlan
from resources.file_reader import reader
from resources.file_storage import files_below, is_local, read
from resources.importing.importer import Importer
from resources.importing.value_mappings import accept_values, forget_values
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import ImportReport, ImportRequest, OnInvalid
from schemas.errors import RecordsError
from schemas.exports import ExportManifest, ExportRequest
from schemas.location import Location
from schemas.rollbacks import OnModified, RollbackRequest
from tests.forked_commands import COMMAND_LINE
from tests.forked_reading import FORKED
from tests.object_server import ObjectServer, on_disk
from tests.postgres import Postgres
from tests.records import contact, write_csv
from tests.serving import COMMAND

pytestmark = [
    pytest.mark.xdist_group("isolation"),
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]

ROOT = Path(__file__).parent.parent
CANARY = "Zyxcanary"
THEIR_WORD = "Stammkunde"
"""What the other account reads as a value of status."""
HEADERS = ("external_id", "company", "status", "amount", "notes", "Besonderes")


@dataclass(frozen=True)
class Theirs:
    """What the other account has, and what a caller can name of it."""

    name: str
    committed: ImportReport
    previewed: ImportReport
    rolled_back: str
    export: ExportManifest
    plan: ExportPlan
    file: Path
    preset: str

    @property
    def batches(self) -> list[str]:
        return [self.committed.batch.batch_id, self.previewed.batch.batch_id, self.rolled_back]

    @property
    def exports(self) -> list[str]:
        return [self.export.export_id, self.plan.export_id]

    def kept(self, store: RecordStore) -> list[Location]:
        """Return every stored file of the account."""
        lake = files_below(store.settings.lake)
        return [
            *(file.place for file in lake if f"/_account={self.name}/" in str(file.place)),
            *(file.place for file in files_below(store.settings.accounts / self.name)),
        ]

    def paths(self, store: RecordStore) -> list[Path]:
        """Return the same files, as a user names them to the command or to a job."""
        return [Path(str(place)) for place in self.kept(store)]


def rows(mark: str, *numbers: int) -> list[dict[str, str]]:
    """Return records with keys that both accounts have and values of one's own; the last record is rejected."""
    made = [{**contact(n), "company": f"{mark} {n}", "notes": f"{mark} note {n}", "Besonderes": mark} for n in numbers]
    made[-1] |= {"status": mark}
    return made


def populate(store: RecordStore, folder: Path, account: str, mark: str) -> Theirs:
    """Give the account one of everything, each with the mark in it."""
    importer = Importer(store, f"{mark}-actor")
    folder.mkdir()

    def request(name: str, *numbers: int) -> ImportRequest:
        path = write_csv(folder / f"{mark}-{name}.csv", rows(mark, *numbers), HEADERS)
        return ImportRequest(path, account, "contacts", column_map={"Besonderes": "phone"})

    committed = importer.import_file(request("first", 1, 2, 3, 99), OnInvalid.SKIP)
    second = importer.import_file(request("second", 5, 6, 98), OnInvalid.SKIP)
    rolled_back = RollbackRequest(account, second.batch.batch_id, OnModified.STOP)
    store.account(account).roll_back(rolled_back, f"{mark}-actor", None)
    previewed = importer.preview(request("third", 2, 7, 97))
    preset = mark.lower()
    store.account(account).save_preset("contacts", preset, ("external_id", "company"), f"{mark}-actor")
    accept_values(store, account, "contacts", {"status": {f"{mark} status": "customer"}}, f"{mark}-actor")
    if mark == CANARY:
        accept_values(store, account, "contacts", {"status": {THEIR_WORD: "customer"}}, f"{mark}-actor")
    writer = ExportWriter(store, f"{mark}-actor")
    wanted = ExportRequest(account, "contacts", filters=(f"company starts {mark}",))
    export = writer.export(wanted)
    plan = writer.plan(replace(wanted, format="ndjson"))
    file = folder / f"{mark}-first.csv"
    return Theirs(account, committed, previewed, second.batch.batch_id, export, plan, file, preset)


@pytest.fixture(scope="module", params=["laptop", "server"])
def store(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, request: pytest.FixtureRequest
) -> Iterator[RecordStore]:
    """The store of both accounts, named by the environment. All tests here share it; none may change its data."""
    home = tmp_path_factory.mktemp("isolation") / "home"
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith("RECORDS_")]:
            patch.delenv(name)
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setenv("RECORDS_HOME", str(home))
        patch.setenv("RECORDS_ACTOR", "tester")
        patch.setattr(reader, "subprocess", FORKED)
        if request.param == "laptop":
            shutil.copytree(empty_store, home)
        else:
            postgres: Postgres = request.getfixturevalue("postgres")
            objects: ObjectServer = request.getfixturevalue("objects")
            database, bucket = postgres.create(), objects.create()
            stack.callback(postgres.drop, database)
            stack.callback(objects.drop, bucket)
            server = {"RECORDS_CATALOG": postgres.address(database), "RECORDS_DATA": f"{bucket}/data"}
            for name, value in (objects.environment | server).items():
                patch.setenv(name, value)
        with RecordStore(Settings.from_environment()) as store:
            store.initialise(load_record_types())
            yield store


@pytest.fixture(scope="module")
def theirs(store: RecordStore, tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    """Account dl, full of canaries, beside account ua."""
    folder = tmp_path_factory.mktemp("files")
    populate(store, folder / "ours", "ua", "Own")
    return populate(store, folder / "theirs", "dl", CANARY)


def answer_to(attempt: Callable[[], object]) -> tuple[str, str]:
    """Return the name and all texts of the error, or the result."""
    try:
        return "", repr(attempt())
    except RecordsError as error:
        return type(error).__name__, f"{error.message}|{error.hint}|{error.quoted}"


def attempts_with_batch(store: RecordStore, batch_id: str) -> dict[str, Callable[[], object]]:
    """Return what account ua can try with the id of a batch."""
    records, importer = store.account("ua"), Importer(store, "tester")
    writer = ExportWriter(store, "tester")
    export = ExportRequest("ua", "contacts")
    return {
        "batch": lambda: records.batch(batch_id),
        "report": lambda: records.report(batch_id),
        "commit": lambda: importer.commit("ua", batch_id, OnInvalid.SKIP),
        "discard": lambda: importer.discard("ua", batch_id),
        "plan_rollback": lambda: records.plan_rollback(RollbackRequest("ua", batch_id, OnModified.MERGE)),
        "roll_back": lambda: records.roll_back(RollbackRequest("ua", batch_id, OnModified.OVERWRITE), "x", None),
        "as_of": lambda: writer.export(replace(export, as_of=batch_id)),
        "changed_since": lambda: writer.export(replace(export, changed_since=batch_id)),
    }


def attempts_with_export(store: RecordStore, export_id: str) -> dict[str, Callable[[], object]]:
    writer = ExportWriter(store, "tester")
    export = ExportRequest("ua", "contacts")
    return {
        "as_of": lambda: writer.export(replace(export, as_of=export_id)),
        "changed_since": lambda: writer.export(replace(export, changed_since=export_id)),
        "load": lambda: writer.load("ua", export_id),
        "published": lambda: writer.published("ua", export_id),
        "export": lambda: store.account("ua").export(export_id),
    }


BATCH, EXPORT = "b-20250101-000000000-000000", "e-20250101-000000000-000000"
"""Ids that do not exist."""


def test_another_accounts_batches_and_exports_are_not_there_in_the_same_words(
    store: RecordStore, theirs: Theirs
) -> None:
    for attempts, unknown, names in (
        (attempts_with_batch, BATCH, theirs.batches),
        (attempts_with_export, EXPORT, theirs.exports),
    ):
        without = {what: answer_to(attempt) for what, attempt in attempts(store, unknown).items()}
        for name in names:
            for what, attempt in attempts(store, name).items():
                not_there = without[what]
                assert answer_to(attempt) == (not_there[0], not_there[1].replace(unknown, name)), what
                assert not_there[0] == "NotFound" or (what in ("published", "export") and not_there == ("", "None"))


def forged(name: str) -> list[str]:
    """Return the name as it is, and in forms that might escape from a folder or a query."""
    return [name, f"../../dl/staging/{name}", f"{name}' OR '1'='1", f"{name}%", f" {name}", f"{name}\x00"]


def content_of(store: RecordStore, theirs: Theirs) -> object:
    """Return everything that the store keeps of the other account."""
    with store.reading() as connection:
        records = connection.execute("SELECT * FROM lake.records.contacts WHERE _account = 'dl' ORDER BY ALL")
        kept = records.fetch_all()
    return kept, store.batches("dl"), store.exports("dl"), [(place, read(place)) for place in theirs.kept(store)]


def texts_of(folder: Path) -> Iterator[str]:
    """Yield everything in a folder as text: names and contents."""
    for path in folder.rglob("*"):
        yield str(path)
        if path.is_file():
            yield path.read_bytes().decode("utf-8", "replace")


def all_of_ua(store: RecordStore) -> str:
    """Return the rows, history, previews, reports, rejects, exports and manifests of account ua."""
    with store.reading() as connection:
        kept = connection.execute("SELECT * FROM lake.records.contacts WHERE _account = 'ua' ORDER BY ALL").fetch_all()
    reports = [store.account("ua").report(batch.batch_id) for batch in store.batches("ua")]
    presets = store.presets("ua", "contacts")
    mappings = [store.account("ua").known_values("contacts"), store.account("ua").accepted_values("contacts")]
    return "\n".join(
        [
            *map(repr, [kept, store.batches("ua"), reports, store.exports("ua"), presets, mappings]),
            *(json.dumps(report.to_dict()) for report in reports),
            *texts_of(on_disk(store.settings.accounts / "ua")),
        ]
    )


class Forger:
    """Account ua names what belongs to dl, each method in another place. A method returns every answer."""

    def __init__(self, store: RecordStore, theirs: Theirs, folder: Path, data: st.DataObject) -> None:
        self._store, self._theirs, self._folder, self._data = store, theirs, folder, data
        self._writer, self._importer = ExportWriter(store, "tester"), Importer(store, "tester")

    def _one_of(self, *choices: Any) -> Any:
        return self._data.draw(st.sampled_from(choices))

    def _imported(self, path: Path) -> tuple[str, str]:
        request = ImportRequest(path, "ua", "contacts", again=True)
        return answer_to(lambda: self._importer.import_file(request, OnInvalid.SKIP))

    def _exported(self, **wanted: Any) -> tuple[str, str]:
        return answer_to(lambda: self._writer.export(replace(ExportRequest("ua", "contacts"), **wanted)))

    def _linked(self, path: Path) -> Path:
        link = self._folder / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        return link

    def batch(self) -> tuple[str, str]:
        attempts = attempts_with_batch(self._store, self._one_of(*forged(self._one_of(*self._theirs.batches))))
        return answer_to(self._one_of(*attempts.values()))

    def export(self) -> tuple[str, str]:
        attempts = attempts_with_export(self._store, self._one_of(*forged(self._one_of(*self._theirs.exports))))
        return answer_to(self._one_of(*attempts.values()))

    def account_column(self) -> tuple[str, str]:
        header = self._one_of("_account", "account", "_ACCOUNT", "Account ")
        row = {"external_id": "C-000001", "status": "lead", header: "dl"}
        return self._imported(write_csv(self._folder / "column.csv", [row]))

    def parent_batch(self) -> tuple[str, str]:
        row = {"external_id": "C-000001", "status": "lead", "_batch": self._one_of(*self._theirs.batches)}
        answer = self._imported(write_csv(self._folder / "parent.csv", [row | {"_record": "1", "_line": "2"}]))
        assert "parent=None" in answer[1]
        return answer

    def file(self) -> tuple[str, str]:
        theirs = self._one_of(*self._theirs.paths(self._store))
        path = self._one_of(theirs, self._linked(theirs)) if is_local(self._store.settings.data) else theirs
        nowhere = self._folder / "nowhere"
        answer, not_there = self._imported(path), self._imported(nowhere)
        assert answer == (not_there[0], not_there[1].replace(str(nowhere), str(path)))
        return answer

    def destination(self) -> tuple[str, str]:
        theirs = self._one_of(*sorted({path.parent for path in self._theirs.paths(self._store)}))
        folder = self._one_of(theirs, self._linked(theirs)) if is_local(self._store.settings.data) else theirs
        path = self._one_of(folder, folder / "out.csv", folder / "no" / "folder.csv")
        nowhere = Path(str(self._store.settings.accounts / "nobody" / "out.csv"))
        answer, not_there = self._exported(path=path), self._exported(path=nowhere)
        assert answer == (not_there[0], not_there[1].replace(str(nowhere), str(path)))
        return answer

    def preset(self) -> tuple[str, str]:
        answer, not_there = self._exported(preset=self._theirs.preset), self._exported(preset="nosuch")
        assert answer == (not_there[0], not_there[1].replace("nosuch", self._theirs.preset))
        return answer

    def filter_and_order(self) -> tuple[str, ...]:
        return (
            *self._exported(filters=("_account = dl",)),
            *self._exported(filters=("company contains ' OR _account = 'dl",)),
            *self._exported(order_by=("_account",)),
            *self._exported(columns=("external_id", "_account")),
        )

    def saved_mapping(self) -> tuple[str, str]:
        row = {**contact(9), "company": "Own", "notes": "Own", "Besonderes": "Own"}
        answer = self._imported(write_csv(self._folder / "mapping.csv", [row], HEADERS))
        assert not [batch for batch in self._theirs.batches if batch in answer[1]]
        return answer

    def accepted_value(self) -> tuple[str, ...]:
        """What the other account has mapped is no value here, is not proposed, and cannot be forgotten from here."""
        row = {"external_id": "C-000009", "status": THEIR_WORD, "amount": "1.50"}
        path = write_csv(self._folder / "value.csv", [row])
        report = self._importer.preview(ImportRequest(path, "ua", "contacts", again=True))
        assert (report.batch.counts.rejected, report.batch.cleaned, report.batch.learnt) == (1, (), ())

        def forgetting(text: str) -> tuple[str, str]:
            return answer_to(lambda: forget_values(self._store, "ua", "contacts", [f"status:{text}"], "tester"))

        forgotten, not_there = forgetting(THEIR_WORD), forgetting("nosuch")
        assert forgotten == (not_there[0], not_there[1].replace("nosuch", THEIR_WORD))
        return forgotten

    def account_name(self) -> tuple[str, str]:
        answer = answer_to(
            lambda: self._store.account(self._one_of("../dl", "dl/", "ua/../dl", "dl\x00", "DL", " dl", ""))
        )
        assert answer[0] == "InvalidRequest"
        return answer


FORGED = tuple(name for name in vars(Forger) if not name.startswith("_"))


@settings(
    max_examples=3,
    phases=[Phase.generate],  # an example takes seconds, and its failure says what leaked
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_canary_is_on_the_wrong_side_whatever_is_forged(
    store: RecordStore, theirs: Theirs, caplog: pytest.LogCaptureFixture, tmp_path: Path, data: st.DataObject
) -> None:
    before = content_of(store, theirs)
    caplog.set_level(logging.DEBUG)
    forger = Forger(store, theirs, tmp_path, data)

    texts: list[str] = []
    for name in data.draw(st.permutations(FORGED)):
        texts += getattr(forger, name)()

    require_silent(store, theirs, "\n".join([*texts, caplog.text]))
    assert content_of(store, theirs) == before


def require_silent(store: RecordStore, theirs: Theirs, texts: str) -> None:
    """Check that no canary is in the answers, apart from given names, nor in anything that account ua has."""
    for given_name in (*map(str, theirs.paths(store)), theirs.preset):
        texts = texts.replace(given_name, "")
    assert CANARY.lower() not in texts.lower()
    assert CANARY.lower() not in all_of_ua(store).lower()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("accounts", ["ua", "dl"])
        yield instance


def run(
    instance: dg.DagsterInstance, job: str, config: Mapping[str, Any], account: str | None = None
) -> tuple[str, str]:
    """Run a job in which one step fails; returns its message, and everything that Dagster keeps of the run."""
    result = (
        defs()
        .resolve_job_def(job)
        .execute_in_process(
            run_config={"ops": {"exports__contacts": {"config": config}}} if job == "export_contacts" else dict(config),
            instance=instance,
            partition_key=account,
            raise_on_error=False,
        )
    )
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    entries = instance.all_logs(result.run_id)
    return failure.description or "", "\n".join([*map(dg.serialize_value, entries), *map(str, entries)])


def test_no_job_reveals_anything_of_another_account(
    store: RecordStore, theirs: Theirs, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    before = content_of(store, theirs)
    path = str(Path(str(theirs.export.path)))
    unknown_path = store.settings.accounts / "nobody" / "exports" / theirs.export.export_id / theirs.export.path.name
    nowhere = str(Path(str(unknown_path)))
    cases: list[tuple[str, dict[str, str], str, str]] = [
        ("preview_import", {"path": path}, path, nowhere),
        ("import_records", {"path": path}, path, nowhere),
        ("export_contacts", {"export_id": theirs.plan.export_id}, theirs.plan.export_id, EXPORT),
        ("export_contacts", {"as_of": theirs.export.export_id}, theirs.export.export_id, EXPORT),
        ("export_contacts", {"changed_since": theirs.batches[0]}, theirs.batches[0], BATCH),
        ("export_contacts", {"saved_preset": theirs.preset}, theirs.preset, "nosuch"),
        ("export_contacts", {"path": path}, path, nowhere),
        ("check_export", {"export_id": theirs.export.export_id}, theirs.export.export_id, EXPORT),
        ("commit_batch", {"batch_id": theirs.previewed.batch.batch_id}, theirs.previewed.batch.batch_id, BATCH),
        ("roll_back_batch", {"batch_id": theirs.committed.batch.batch_id}, theirs.committed.batch.batch_id, BATCH),
    ]
    texts = []
    for job, config, name, unknown in cases:
        account_config = {} if job == "export_contacts" else {"account": "ua"}
        account = "ua" if job == "export_contacts" else None
        sentences, answer = run(instance, job, config | account_config, account)
        not_there, _ = run(instance, job, dict.fromkeys(config, unknown) | account_config, account)
        assert sentences == not_there.replace(unknown, name), job
        texts.append(answer)
    require_silent(store, theirs, "\n".join(texts))
    assert content_of(store, theirs) == before


@pytest.mark.parametrize(
    ("job", "config"),
    [
        ("preview_import", {"path": "in.csv"}),
        ("import_records", {"path": "in.csv"}),
        ("commit_batch", {"batch_id": BATCH}),
        ("roll_back_batch", {"batch_id": BATCH}),
        ("check_export", {"export_id": EXPORT}),
        ("export_contacts", {}),
        ("export_flights", {}),
    ],
)
def test_a_run_without_an_account_is_an_error(
    store: RecordStore, instance: dg.DagsterInstance, job: str, config: Mapping[str, str]
) -> None:
    assert run(instance, job, config)[0].startswith("No account was given.")


def test_every_job_of_one_account_is_among_those_that_need_one() -> None:
    """A new job belongs into the test above, or acts on no single account."""
    of_all = {"expire_batches", "maintain_store", "check_store", "import_arrivals", "deliver_exports"}
    jobs = {job.name for job in defs().resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs - of_all == {
        *("preview_import", "import_records", "commit_batch", "roll_back_batch", "check_export"),
        *("export_contacts", "export_flights"),
    }


def test_events_of_an_account_are_in_its_own_partition(
    store: RecordStore, theirs: Theirs, instance: dg.DagsterInstance
) -> None:
    context = dg.build_sensor_context(instance=instance, resources={"records": RecordsResource()})
    result = ledger_events(context)
    assert isinstance(result, dg.SensorResult)
    carried = {
        account: [
            dg.serialize_value(event)
            for event in result.asset_events
            if isinstance(event, dg.AssetMaterialization | dg.AssetObservation) and event.partition == account
        ]
        for account in ("ua", "dl")
    }
    assert min(len(events) for events in carried.values()) >= 5
    assert not [event for event in carried["ua"] if CANARY.lower() in event.lower()]
    assert [event for event in carried["dl"] if CANARY.lower() in event.lower()]


def test_the_command_reveals_nothing_of_another_account(store: RecordStore, theirs: Theirs, tmp_path: Path) -> None:
    before = content_of(store, theirs)
    path = Path(str(theirs.export.path))
    nowhere = tmp_path / "nowhere"
    for arguments, name, unknown in (
        (("show", theirs.batches[0]), theirs.batches[0], BATCH),
        (("rollback", theirs.batches[0], "--on-modified", "overwrite"), theirs.batches[0], BATCH),
        (("import", str(path), "-t", "contacts"), str(path), str(nowhere)),
        (("export", "-t", "contacts", "--as-of", theirs.exports[0]), theirs.exports[0], EXPORT),
    ):
        answers = [
            COMMAND_LINE.run([COMMAND, *given_arguments, "-a", "ua"], capture_output=True, text=True, check=False)
            for given_arguments in (arguments, [unknown if it == name else it for it in arguments])
        ]
        assert [answer.returncode for answer in answers] == [2, 2]
        assert answers[0].stderr == answers[1].stderr.replace(unknown, name)
        assert answers[0].stdout == answers[1].stdout == ""
    for listing in ("batches", "exports"):
        listed = COMMAND_LINE.run([COMMAND, listing, "-a", "ua", "--json"], capture_output=True, text=True, check=True)
        assert json.loads(listed.stdout)["items"]
        require_silent(store, theirs, listed.stdout + listed.stderr)
    assert content_of(store, theirs) == before


def test_a_plan_that_was_put_into_another_accounts_folder_is_of_no_use(store: RecordStore, theirs: Theirs) -> None:
    folder = store.account("ua").folder("exports") / theirs.plan.export_id
    shutil.copytree(on_disk(theirs.plan.folder), on_disk(folder))

    answer = answer_to(lambda: ExportWriter(store, "tester").load("ua", theirs.plan.export_id))

    shutil.rmtree(on_disk(folder))
    assert answer == answer_to(lambda: ExportWriter(store, "tester").load("ua", theirs.plan.export_id))
    assert answer[0] == "NotFound"


def _require_foreign(store: RecordStore, path: Path) -> None:
    """To an account, such a file to import does not exist, and it may not write one there."""
    store.add_account("ua", "tester")
    assert answer_to(lambda: store.account("ua").require_source(path)) == (
        "NotFound",
        f"There is no file {str(path)!r}.|Name a file to import.|",
    )
    assert answer_to(lambda: store.account("ua").require_destination(path))[0] == "InvalidRequest"


@pytest.mark.parametrize(
    "place",
    [
        *("dagster/dagster.yaml", "dagster.yaml", "exports.yaml", "inbox.yaml", "ui.json", "tmp/x"),
        *("links.key", "errors/x.txt", "quotas.yaml", "last-check.json", "measurements.json"),
    ],
)
def test_the_stores_own_places_are_no_accounts(store: RecordStore, place: str) -> None:
    _require_foreign(store, store.settings.home / place)


@pytest.mark.parametrize("store", ["laptop"], indirect=True, scope="module")  # elsewhere they are not files
@pytest.mark.parametrize(
    "place",
    [
        *("catalog.sqlite", "catalog.sqlite-wal", "lake", "accounts/dl/exports", "inbox/dl/contacts", "archive/dl"),
        *("quarantine/dl/x", "processing/a-1/dl/contacts/x.csv", "processing/a-1"),
        *("accounts", "accounts/ua/../dl/x.csv", "erasures/x", "steps/x"),
    ],
)
def test_the_stores_own_data_is_no_accounts(store: RecordStore, place: str) -> None:
    _require_foreign(store, store.settings.home / place)


@pytest.mark.parametrize(
    "place",
    [
        *("in.csv", "accounts/ua/rejects/b-1/x.csv", "archive/ua/contacts/b-1/x.csv", "quarantine/ua/contacts/q/x.csv"),
        *("processing/a-1/ua/contacts/x.csv", "inbox/ua/contacts/x.csv", "../elsewhere/dl/x.csv", "accounting/x.csv"),
    ],
)
def test_an_accounts_own_files_and_those_elsewhere_may_be_named(store: RecordStore, place: str) -> None:
    store.account("ua").require_source(store.settings.home / place)
    store.account("ua").require_destination(store.settings.home / place)


def test_the_bucket_policy_of_the_page_lets_an_account_read_its_own_files(store: RecordStore, theirs: Theirs) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", (ROOT / "deploy" / "README.md").read_text("utf-8"), re.DOTALL)
    allowed, denied, encrypted = json.loads(text)["Statement"]
    assert allowed["Resource"] == denied["NotResource"]
    assert (allowed["Effect"], denied["Effect"], encrypted["Effect"]) == ("Allow", "Deny", "Deny")
    files = [
        f"arn:aws:s3:::BUCKET/{path.relative_to(on_disk(store.settings.data))}"
        for path in on_disk(store.settings.data).rglob("*.*")
    ]
    patterns = [pattern.replace("${aws:PrincipalTag/account}", "dl") for pattern in allowed["Resource"]]

    readable = {file for file in files if any(fnmatchcase(file, pattern) for pattern in patterns)}

    assert {file for file in files if "/lake/records/" in file and "/_account=dl/" in file} < readable
    assert any(file.endswith(f"/{theirs.export.export_id}/{theirs.export.path.name}") for file in readable)
    assert all("/_account=dl/" in file or "/accounts/dl/exports/" in file for file in readable)
