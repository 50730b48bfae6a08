"""Damaged files of every kind: none is altered in silence, few are refused, and most of each is read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dialects import Damaged, damaged, damaged_in_dialects, outcome
from tests.dialects.programs import as_programs_write

ORDINARY = (file for at, file in enumerate(damaged(rows=30)) if at < 50 or at % 4 == 0)
OTHERS = (file for at, file in enumerate(damaged_in_dialects(rows=20)) if at % 16 == 0)


@pytest.mark.parametrize("files", [ORDINARY, OTHERS], ids=["ordinary", "in other dialects"])
def test_no_damaged_file_is_altered_in_silence_and_few_are_refused(tmp_path: Path, files: Iterator[Damaged]) -> None:
    """A short form of the table of resources/README.md."""
    found = [outcome(file, tmp_path) for file in files]
    assert len(found) > 500
    assert [it for it in found if it.outcome == "altered"] == []
    assert Counter(it.outcome for it in found)["refused"] < 0.022 * len(found)
    assert sum(it.score for it in found) / len(found) > 9.6


def test_files_as_programs_write_them_are_read(tmp_path: Path) -> None:
    found = [outcome(file, tmp_path) for seed, rows in enumerate((5, 20)) for file in as_programs_write(rows, seed)]
    assert len({it.kind for it in found}) >= 40
    assert [it.kind for it in found if it.outcome in ("altered", "refused")] == []
    assert sum(it.score for it in found) / len(found) > 9.5
