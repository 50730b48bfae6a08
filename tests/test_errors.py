"""The exception tree has its documented shape and exit codes, and can be pickled."""

import pickle
import re

import pytest

from schemas import errors
from schemas.errors import RecordsError


def _tree(error: type[RecordsError]) -> list[type[RecordsError]]:
    return [error, *(below for child in error.__subclasses__() for below in _tree(child))]


TREE = [error for error in _tree(RecordsError) if error.__module__ == errors.__name__]


def test_the_drawing_names_every_class_once_with_its_exit_code_and_its_place() -> None:
    drawn: dict[str, int | None] = {}
    depths: dict[str, int] = {}
    for match in re.finditer(r"^([│├└─ ]*)([A-Z]\w+) +(?:exit (\d))? ", errors.__doc__ or "", re.MULTILINE):
        drawn[match[2]] = int(match[3]) if match[3] else None
        depths[match[2]] = len(match[1]) // 4
    assert list(drawn) == [error.__name__ for error in TREE]
    assert depths == {error.__name__: len(error.__mro__) - len(RecordsError.__mro__) for error in TREE}
    for error in TREE:
        inherited = drawn[error.__name__] or drawn[error.__mro__[1].__name__]
        assert error.exit_code == inherited, error.__name__


def test_exit_codes_are_those_of_the_design() -> None:
    assert {error.__name__: error.exit_code for error in TREE} == {
        "RecordsError": 1,
        "InvalidRequest": 2,
        "NotFound": 2,
        "Refused": 3,
        "RejectsFound": 3,
        "Uncertain": 3,
        "AlreadyImported": 3,
        "ModifiedSince": 3,
        "WindowOver": 3,
        "PreviewOutdated": 3,
        "BeyondHorizon": 3,
        "QuotaExceeded": 3,
        "ForeignData": 3,
        "CatalogOutdated": 3,
        "ImplausibleClock": 3,
        "DamagedFile": 1,
        "UnreadableFile": 1,
        "DiskFull": 1,
        "OutOfMemory": 1,
        "NotAccessible": 1,
        "StoreNotReady": 1,
        "OtherFormat": 1,
        "StoreBusy": 1,
        "StoreUnreachable": 1,
        "CommitUnknown": 1,
        "NoDeployment": 1,
        "Unaccounted": 1,
    }


def test_codes_are_unique_and_only_a_store_that_is_busy_or_away_is_worth_a_retry() -> None:
    assert len({error.code for error in TREE}) == len(TREE)
    assert [error.__name__ for error in TREE if error.transient] == ["StoreBusy", "StoreUnreachable"]


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_an_error_survives_pickling(error: type[RecordsError]) -> None:
    copy = pickle.loads(pickle.dumps(error("It failed.", "Try again.")))
    assert type(copy) is error
    assert (copy.message, copy.hint, str(copy)) == ("It failed.", "Try again.", "It failed. Try again.")


def test_without_a_hint_an_error_is_its_message() -> None:
    assert str(RecordsError("It failed.")) == "It failed."
