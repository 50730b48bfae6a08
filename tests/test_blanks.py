"""What empty cells do to stored values; tests/test_cases.py has whole files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.imports import PreviewConfig
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.arrivals import CommitPolicy
from schemas.batches import ImportRequest, OnInvalid
from schemas.blanks import Blank, Blanks
from schemas.counts import Counts
from schemas.errors import InvalidRequest
from tests.records import values


def test_a_choice_is_for_all_fields_or_for_one() -> None:
    blanks = Blanks.parse("keep, notes=clear,phone=fill")
    assert [blanks.of(name) for name in ("email", "notes", "phone")] == [Blank.KEEP, Blank.CLEAR, Blank.FILL]
    assert Blanks.parse(None) == Blanks.parse("clear") == Blanks()


@pytest.mark.parametrize("text", ["leave", "notes", "notes=", "keep;fill", "keep,"])
def test_another_choice_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="does not say what an empty cell does"):
        Blanks.parse(text)
    with pytest.raises(ValidationError, match="input should be as keep"):
        CommitPolicy(blank=text)


def request(path: Path, rows: str, blank: str | None = None) -> ImportRequest:
    path.write_text(f"external_id,status,company,notes\n{rows}")
    return ImportRequest(path, "ua", "contacts", blank=blank)


def test_a_choice_is_remembered_with_the_header_row_and_named(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    importer.import_file(request(tmp_path / "1.csv", "C-1,lead,Acme,a\nC-2,lead,,b\n", "keep,notes=clear"))
    report = importer.import_file(request(tmp_path / "2.csv", "C-1,customer,,\nC-2,,Bolt,\n"))

    assert ("Empty cells", "keep,notes=clear, as --blank says") in report.batch.understood
    assert (report.batch.counts, report.batch.cleared) == (Counts(read=2, updated=2), {"notes": 2})
    assert values(store, "status") == {"C-1": "customer", "C-2": "lead"}
    assert values(store, "company") == {"C-1": "Acme", "C-2": "Bolt"}
    assert values(store, "notes") == {"C-1": None, "C-2": None}
    with pytest.raises(InvalidRequest, match="contacts has no field 'note', which --blank names"):
        importer.preview(request(tmp_path / "3.csv", "C-1,lead,,\n", "note=keep"))


def test_new_records_need_required_fields_also_if_their_keys_are_repeated(importer: Importer, tmp_path: Path) -> None:
    rows = "C-1,,a,\nC-1,,b,\nC-2,,a,\nC-2,,a,\nC-3,lead,,\n"
    batch = importer.import_file(request(tmp_path / "in.csv", rows, "keep"), OnInvalid.SKIP).batch
    assert batch.counts == Counts(read=5, created=1, rejected=3, duplicate=1)
    assert [(it.field, it.rule, it.records) for it in batch.problems] == [
        (None, "key_conflict", 2),
        ("status", "required", 1),
    ]


def test_a_policy_and_the_launchpad_can_say_it() -> None:
    assert CommitPolicy(blank="fill").options.blank == "fill"
    assert PreviewConfig(path="in.csv", blank="keep,notes=clear").request().options.blank == "keep,notes=clear"
    assert PreviewConfig(path="in.csv").request().options.blank is None
