"""Records in a list within an object of JSON: what a user says of one file holds for the next one."""

import json
from pathlib import Path

import pytest

from resources.importing.importer import Importer
from schemas.batches import ImportRequest
from schemas.counts import Counts
from schemas.errors import InvalidRequest, Uncertain
from tests.records import contacts_of

PERSON = {"external_id": "C-1", "status": "lead"}
READ = Counts(read=1, created=1)


def _of(tmp_path: Path, content: object) -> ImportRequest:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(content))
    return contacts_of(path)


@pytest.mark.parametrize(
    ("content", "beside"),
    [
        ({"count": 3, "next": None, "results": [PERSON]}, ["count, next"]),
        ({"meta": {"page": 1}, "data": {"total": 1, "items": [PERSON]}}, ["total"]),
        ({"results": [PERSON]}, []),
    ],
)
def test_the_only_list_is_read_and_what_is_left_out_is_said(
    importer: Importer, tmp_path: Path, content: object, beside: list[str]
) -> None:
    batch = importer.import_file(_of(tmp_path, content)).batch
    assert (batch.counts, batch.questions) == (READ, ())
    assert [value for label, value in batch.understood if label == "Values beside the records, left out"] == beside


@pytest.mark.parametrize(
    ("content", "candidates"),
    [
        ({"data": [PERSON], "errors": [{"message": "x"}, {"message": "y"}]}, ("data", "errors", ".")),
        ({**PERSON, "orders": [PERSON]}, ("orders", ".")),
        ({**PERSON, "orders": [{"quantity": 1}]}, (".", "orders")),
    ],
)
def test_of_several_lists_and_of_a_record_with_a_list_what_has_the_key_is_proposed(
    importer: Importer, tmp_path: Path, content: object, candidates: tuple[str, ...]
) -> None:
    batch = importer.preview(_of(tmp_path, content)).batch
    assert [question.candidates for question in batch.questions] == [candidates]
    assert batch.counts == READ


def test_an_empty_list_has_no_records_and_a_record_with_one_is_a_record(importer: Importer, tmp_path: Path) -> None:
    assert importer.preview(_of(tmp_path, {"results": [], "next": None})).batch.counts == Counts()
    assert importer.preview(_of(tmp_path, {**PERSON, "tags": []})).batch.counts == READ


def test_a_list_without_the_key_is_named_with_the_other_ones(importer: Importer, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        importer.preview(_of(tmp_path, {"errors": [{"text": "x"}, {"text": "y"}], "warnings": [{"text": "z"}]}))
    assert "in the list 'errors'. Say --at warnings or --at . to read others." in refused.value.quoted


def _answer(path: Path, number: int, **others: object) -> Path:
    people = [{"external_id": f"C-{number}", "status": "lead"}, {"external_id": f"D-{number}", "status": "lead"}]
    path.write_text(json.dumps({"id": "L-1", "next": None, "results": people, **others}))
    return path


def test_the_list_that_has_the_records_is_asked_once_and_remembered(importer: Importer, tmp_path: Path) -> None:
    first = _answer(tmp_path / "1.json", 1)
    with pytest.raises(Uncertain):
        importer.import_file(contacts_of(first))
    batch = importer.preview(contacts_of(first), ask=lambda question: question.proposed).batch
    assert (batch.questions, batch.counts) == ((), Counts(read=2, created=2))
    importer.commit("ua", batch.batch_id)

    longer = [{"name": str(number)} for number in range(5)]
    second = importer.import_file(contacts_of(_answer(tmp_path / "2.json", 2))).batch
    third = importer.import_file(contacts_of(_answer(tmp_path / "3.json", 3, tags=longer)), ask=None).batch
    assert (second.counts, third.counts) == (Counts(read=2, created=2), Counts(read=2, created=2))
    assert ("Records", "the list `results` of the object that the file is") in third.understood
