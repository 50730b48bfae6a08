"""The report of a batch follows its status, and is whole after a process was killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.checksums import checksum
from resources.file_storage import FileStorage, read
from resources.importing.importer import Importer
from resources.record_store import AccountRecords, RecordStore
from schemas.batches import ImportReport, OnInvalid
from schemas.errors import DamagedFile, PreviewOutdated
from schemas.files import StoredFile
from schemas.rollbacks import RollbackRequest
from tests.records import contact, contacts_of, write_csv

NOTHING_YET = "Nothing has been written yet."


@pytest.fixture
def ua(store: RecordStore) -> AccountRecords:
    return store.account("ua")


@pytest.fixture
def report(importer: Importer, tmp_path: Path) -> ImportReport:
    """A preview with two equal rejected records."""
    rows = [contact(1), contact(2, status="VIP"), contact(3, status="VIP")]
    return importer.preview(contacts_of(write_csv(tmp_path / "in.csv", rows)))


def page(ua: AccountRecords, report: ImportReport) -> str:
    """Return the stored report, as written."""
    ua.require_whole(report.batch.batch_id)
    found = ua.with_files(report).report_file
    assert found is not None
    return read(found).decode()


def roll_back(ua: AccountRecords, batch_id: str) -> str:
    done = ua.roll_back(RollbackRequest("ua", batch_id), "tester", None).batch_id
    assert done is not None
    return done


@pytest.mark.runs_on("laptop", "server")
def test_the_report_follows_the_status_of_its_batch(
    importer: Importer, ua: AccountRecords, report: ImportReport
) -> None:
    batch_id = report.batch.batch_id
    assert NOTHING_YET in page(ua, report)

    importer.commit("ua", batch_id, OnInvalid.SKIP)
    committed = page(ua, report)
    assert NOTHING_YET not in committed
    assert "1 created, 0 updated. 2 of 3 records are rejected and left out." in committed

    rollback = roll_back(ua, batch_id)
    assert "This import was rolled back." in page(ua, report)

    roll_back(ua, rollback)
    assert "1 created, 0 updated." in page(ua, report), "the rollback was rolled back"
    for shown in ("C-000001", "must be one of lead", ">VIP<", "First problems"):
        assert shown in page(ua, report), "what only the preview knew is still there"


@pytest.mark.runs_on("laptop")
def test_a_discarded_preview_says_so(importer: Importer, ua: AccountRecords, report: ImportReport) -> None:
    importer.discard("ua", report.batch.batch_id)
    assert "This preview was discarded." in page(ua, report)


@pytest.mark.runs_on("laptop")
def test_equal_problems_are_counted_over_the_whole_file(report: ImportReport) -> None:
    (problem,) = report.samples
    assert (problem.record, problem.line, problem.value, problem.records) == (2, 3, "VIP", 2)
    assert [column.samples for column in report.columns[:2]] == [("C-000001", "C-000002", "C-000003"), ("lead", "VIP")]


@pytest.mark.runs_on("laptop")
def test_a_commit_that_fails_changes_no_report(
    importer: Importer, ua: AccountRecords, report: ImportReport, tmp_path: Path
) -> None:
    before = page(ua, report)
    importer.import_file(contacts_of(write_csv(tmp_path / "b.csv", [contact(1, company="X")])))
    with pytest.raises(PreviewOutdated):
        importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
    assert page(ua, report) == before
    folder = ua.folder("reports") / report.batch.batch_id
    assert sorted(file.name for file in folder.iterdir()) == ["report.html", "report.json"]


def killed(monkeypatch: pytest.MonkeyPatch, batch_id: str) -> None:
    """Let the page of a batch be recorded but not put in its place, as after a kill."""
    put: Callable[..., None] = FileStorage.put

    def put_others(self: FileStorage, made: Path, final: Path) -> None:
        if final.name != "report.html" or final.parent.name != batch_id:
            put(self, made, final)

    monkeypatch.setattr(FileStorage, "put", put_others)


@pytest.mark.runs_on("laptop")
def test_after_a_kill_the_report_is_an_earlier_version_and_the_served_one_is_true(
    importer: Importer, ua: AccountRecords, report: ImportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        killed(context, report.batch.batch_id)
        importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)

    assert NOTHING_YET in page(ua, report), "compared with every version that the store has written"
    served = ua.report_page(report.batch.batch_id)
    assert served is not None
    assert "1 created, 0 updated." in served

    roll_back(ua, report.batch.batch_id)
    assert "This import was rolled back." in page(ua, report)


@pytest.mark.runs_on("laptop")
def test_bytes_that_no_version_had_are_damage(importer: Importer, ua: AccountRecords, report: ImportReport) -> None:
    importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
    place = ua.folder("reports") / report.batch.batch_id / "report.html"
    assert isinstance(place, Path)
    place.write_bytes(place.read_bytes().replace(b"left out", b"left oui"))
    with pytest.raises(DamagedFile):
        ua.require_whole(report.batch.batch_id)


@pytest.mark.runs_on("laptop")
@pytest.mark.parametrize("harm", ["damaged", "gone", "of another version"])
def test_without_its_details_a_report_says_what_the_ledger_knows(
    store: RecordStore, importer: Importer, ua: AccountRecords, report: ImportReport, harm: str
) -> None:
    details = (ua.folder("reports") / report.batch.batch_id / "report.html").with_name("report.json")
    assert isinstance(details, Path)
    if harm == "gone":
        details.unlink()
    elif harm == "of another version":
        details.write_text('{"columns": [{"title": "status", "samples": ["VIQ"]}], "samples": [], "changes": []}')
        path = store.settings.path_below_data(details)
        with store.transaction("details", "tester", writes=()) as transaction:
            transaction.record_files([StoredFile(path, details.stat().st_size, checksum(details), "ua")])
    else:
        details.write_text(details.read_text().replace("VIP", "VIQ"))
    importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
    text = read(ua.folder("reports") / report.batch.batch_id / "report.html").decode()
    assert "1 created, 0 updated." in text
    assert "must be one of lead" in text
    assert "VIQ" not in text
