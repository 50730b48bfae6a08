"""Exports to a path that is named in Dagster: where they may lie, what they replace, which links they refuse."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs
from resources.export_writer import ExportWriter
from resources.export_writer.plan import ExportPlan
from resources.file_storage import FileStorage
from resources.record_store import AccountRecords, RecordStore
from resources.settings import Settings
from schemas.errors import InvalidRequest
from schemas.exports import ExportManifest, ExportRequest
from schemas.location import Location
from tests.object_server import on_disk
from tests.records import change, put

pytestmark = [
    pytest.mark.runs_on("laptop"),
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]

OUTSIDE = "is not in a folder to which exports through Dagster may be written"
LINK = "is a symbolic link. Exports through Dagster follow none"
FOREIGN = "already exists, and the ledger does not have it as an export of this account"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that the operator has named in RECORDS_EXPORT_ROOTS."""
    (tmp_path / "root" / "sub").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def roomy(store: RecordStore, root: Path) -> RecordStore:
    """A store with three contacts of account ua. Its exports may also lie in the root."""
    put(store, "SELECT i::VARCHAR AS external_id, 'lead' AS status FROM range(3) t(i)")
    put(store, "SELECT 'D' AS external_id, 'lead' AS status", account="dl")
    store.settings = replace(store.settings, export_roots=(root,))
    return store


@pytest.fixture
def writer(roomy: RecordStore) -> ExportWriter:
    """The export writer of a run in Dagster."""
    return ExportWriter(roomy, "tester", confined=True)


def ask(path: Path | None, **options: Any) -> ExportRequest:
    return ExportRequest(**{"account": "ua", "record_type": "contacts", "path": path, "part_rows": 2} | options)


def test_an_export_lies_in_an_allowed_folder(writer: ExportWriter, roomy: RecordStore, root: Path) -> None:
    first = writer.export(ask(None))
    own = on_disk(roomy.settings.folder("ua", "exports"))
    for path in (root, root / "sub", root / "out.csv", root / "sub" / "out.csv", own / "out.csv"):
        made = writer.export(ask(path))
        assert made.path == (path / "contacts.csv" if path.suffix == "" else path)
        assert made.sha256 == first.sha256


def test_it_lies_nowhere_else(writer: ExportWriter, roomy: RecordStore, root: Path, tmp_path: Path) -> None:
    own = on_disk(roomy.settings.folder("ua", "exports"))
    exported = on_disk(writer.export(ask(None)).path).parent
    assert exported.parent == own
    before = sorted(tmp_path.rglob("*"))
    for path in (
        *(
            tmp_path / "out.csv",
            tmp_path,
            Path("/nonexistent/out.csv"),
            Path("out.csv"),
            tmp_path / "rootless" / "out.csv",
        ),
        *(root / ".." / "out.csv", root / "sub" / ".." / ".." / "out.csv", tmp_path / "missing" / "out.csv"),
        *(exported / "plan.json", exported, exported / "parts" / "000000.json", roomy.settings.home / "out.csv"),
    ):
        with pytest.raises(InvalidRequest, match=OUTSIDE):
            writer.export(ask(path))
    with pytest.raises(InvalidRequest, match="Account ua cannot write to"):
        writer.export(ask(on_disk(roomy.settings.folder("dl", "exports")) / "out.csv"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_is_not_followed(writer: ExportWriter, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim.csv").write_text("mine")
    (root / "way").symlink_to(outside)
    (root / "back").symlink_to(root / "sub")
    (root / "victim.csv").symlink_to(outside / "victim.csv")
    (root / "nothing.csv").symlink_to(outside / "made.csv")
    (root / "a.csv.manifest.json").symlink_to(outside / "made.json")
    for path in ("way", "way/out.csv", "back/out.csv", "victim.csv", "nothing.csv", "a.csv"):
        with pytest.raises(InvalidRequest, match=LINK):
            writer.export(ask(root / path))
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"victim.csv": "mine"}


def test_a_root_may_itself_be_a_link_for_it_is_the_operators(roomy: RecordStore, root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    roomy.settings = replace(roomy.settings, export_roots=(link,))
    ExportWriter(roomy, "tester", confined=True).export(ask(link / "out.csv"))
    assert (root / "out.csv").exists()


@pytest.mark.parametrize("swapped", ["the folder", "the file"])
def test_a_link_that_was_put_there_since_the_plan_is_not_followed(
    swapped: str, writer: ExportWriter, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    plan = writer.plan(ask(root / "sub" / "out.csv"))
    if swapped == "the folder":
        (root / "sub").rmdir()
        (root / "sub").symlink_to(outside)
    else:
        (root / "sub" / "out.csv").symlink_to(outside / "out.csv")
    with pytest.raises(InvalidRequest, match=LINK):
        writer.finish(writer.load("ua", plan.export_id))
    assert list(outside.iterdir()) == []


def test_an_own_older_export_is_replaced(writer: ExportWriter, roomy: RecordStore, root: Path) -> None:
    first = writer.export(ask(root / "out.csv"))
    change(roomy, "DELETE FROM lake.records.contacts WHERE external_id = '1'")
    second = writer.export(ask(root / "out.csv"))
    assert (first.rows, second.rows) == (3, 2)
    on_disk(second.path).unlink()  # its manifest is still there
    writer.export(ask(root / "out.csv"))
    at_a_terminal = ExportWriter(roomy, "tester").export(ask(root / "typed.csv"))
    assert writer.export(ask(root / "typed.csv")).sha256 == at_a_terminal.sha256


def test_a_file_that_the_account_did_not_export_is_not_replaced(writer: ExportWriter, root: Path) -> None:
    for name in ("foreign.csv", "manifest.csv.manifest.json", "likely.csv"):
        (root / name).write_text("mine")
    (root / "likely.csv.manifest.json").write_text(
        f'{{"export_id": "e-20260101-000000000-abcdef", "sha256": "{hashlib.sha256(b"mine").hexdigest()}"}}'
    )
    writer.export(ask(root / "theirs.csv", account="dl"))
    mine = writer.export(ask(root / "edited.csv"))
    on_disk(mine.path).write_text("edited since")
    os.replace(on_disk(writer.export(ask(root / "moved.csv")).path), root / "elsewhere.csv")
    before = {file: file.read_bytes() for file in root.iterdir() if file.is_file()}

    for name in ("foreign.csv", "manifest.csv", "likely.csv", "theirs.csv", "edited.csv", "elsewhere.csv"):
        with pytest.raises(InvalidRequest, match=FOREIGN):
            writer.export(ask(root / name))

    assert {file: file.read_bytes() for file in root.iterdir() if file.is_file()} == before


def test_a_file_that_was_put_there_since_the_plan_is_not_replaced(writer: ExportWriter, root: Path) -> None:
    plan = writer.plan(ask(root / "out.csv"))
    (root / "out.csv").write_text("mine")
    with pytest.raises(InvalidRequest, match=FOREIGN):
        writer.finish(writer.load("ua", plan.export_id))
    assert {file.name for file in root.iterdir()} == {"sub", "out.csv"}
    assert (root / "out.csv").read_text() == "mine"


class Killed(BaseException):
    """The process is killed and cleans up nothing."""


def die_before_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = FileStorage.put

    def put(files: FileStorage, made: Path, final: Location) -> None:
        if final.name.endswith(".manifest.json"):
            raise Killed
        ordinary(files, made, final)

    monkeypatch.setattr(FileStorage, "put", put)


def die_before_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    def record_export(records: AccountRecords, manifest: ExportManifest) -> None:
        raise Killed

    monkeypatch.setattr(AccountRecords, "record_export", record_export)


@pytest.mark.parametrize("die", [die_before_the_manifest, die_before_the_ledger])
@pytest.mark.parametrize("again", ["the same export", "another export"])
@pytest.mark.parametrize("earlier", [False, True])
def test_an_export_that_was_killed_while_it_was_published_is_completed(
    die: Callable[[pytest.MonkeyPatch], None],
    again: str,
    earlier: bool,
    writer: ExportWriter,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second workbook has other bytes. Here other widths cause that; otherwise a timestamp would."""
    request = ask(root / "out.xlsx", format="excel")
    if earlier:
        writer.export(request)
    plan = writer.plan(request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        die(patch)
        with pytest.raises(Killed):
            writer.finish(plan)
    assert (root / "out.xlsx").exists()

    loaded: ExportPlan = writer.load("ua", plan.export_id)
    monkeypatch.setattr("resources.export_writer.formats.workbook._NARROWEST", 20)
    manifest = writer.finish(loaded) if again == "the same export" else writer.export(request)

    assert manifest.sha256 == hashlib.sha256((root / "out.xlsx").read_bytes()).hexdigest()


def test_a_path_in_a_runs_config_is_confined_and_a_terminals_plan_is_not(
    roomy: RecordStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_EXPORT_ROOTS", str(root))
    (tmp_path / "foreign.csv").write_text("mine, which I replace")
    plan = ExportWriter(roomy, "olga").plan(ask(tmp_path / "foreign.csv"))

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("accounts", ["ua"])

        job = defs().resolve_job_def("export_contacts")

        def run(**config: str) -> dg.ExecuteInProcessResult:
            given = {"ops": {"exports__contacts": {"config": config}}}
            return job.execute_in_process(given, instance=instance, partition_key="ua", raise_on_error=False)

        refused = run(path=str(tmp_path / "out.csv"))
        assert not refused.success
        (failed,) = (event for event in refused.all_events if event.is_step_failure)
        failure = failed.step_failure_data.user_failure_data
        assert failure is not None
        assert OUTSIDE in (failure.description or "")
        assert not (tmp_path / "out.csv").exists()
        assert run(path=str(root / "out.csv")).success
        assert run(export_id=plan.export_id, path=str(tmp_path / "out.csv")).success

    assert not (tmp_path / "out.csv").exists()
    assert (root / "out.csv").read_text() == (tmp_path / "foreign.csv").read_text()


def test_the_roots_are_a_setting(tmp_path: Path) -> None:
    def roots(text: str) -> tuple[Path, ...]:
        return Settings.from_environment({"RECORDS_EXPORT_ROOTS": text}).export_roots

    assert roots("") == ()
    assert roots(f"{tmp_path}: /srv/exports/:") == (tmp_path, Path("/srv/exports"))
    for wrong in ("exports", "/srv/..", f"{tmp_path}:./x"):
        with pytest.raises(InvalidRequest, match="RECORDS_EXPORT_ROOTS has"):
            roots(wrong)
