"""Records in a list within an object of JSON: what a user says of one file holds for the next one."""

import json
from pathlib import Path

import pytest

from resources.importing.importer import Importer
from schemas.counts import Counts
from schemas.errors import Uncertain
from tests.records import contacts_of


def _answer(path: Path, number: int, **others: object) -> Path:
    people = [{"external_id": f"C-{number}", "status": "lead"}, {"external_id": f"D-{number}", "status": "lead"}]
    path.write_text(json.dumps({"count": 2, "next": None, "results": people, **others}))
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
