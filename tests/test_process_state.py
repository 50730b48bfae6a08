"""Changes to the state of the whole process, which threads share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event, Thread

import pytest

from resources.process_state import environment_for, temporary_files_in


def test_one_thread_at_a_time_says_where_temporary_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/before")
    inside, seen = Event(), []

    def second() -> None:
        inside.wait(10)
        with temporary_files_in(tmp_path / "second"):
            seen.append(os.environ["TMPDIR"])

    thread = Thread(target=second)
    thread.start()
    with temporary_files_in(tmp_path / "first"):
        inside.set()
        thread.join(0.2)
        assert (thread.is_alive(), seen) == (True, [])
        assert os.environ["TMPDIR"] == str(tmp_path / "first")
    thread.join(10)
    assert (seen, os.environ["TMPDIR"]) == ([str(tmp_path / "second")], "/before")


@pytest.mark.parametrize("before", ["/before", None])
def test_a_process_started_meanwhile_does_not_get_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    if before is not None:
        monkeypatch.setenv("TMPDIR", before)
    expected = {} if before is None else {"TMPDIR": before}
    with temporary_files_in(tmp_path):
        assert os.environ["TMPDIR"] == str(tmp_path)
        assert environment_for(["TMPDIR", "NO_SUCH_VARIABLE"]) == expected
    assert environment_for(["TMPDIR"]) == expected


def test_python_does_not_keep_that_folder_for_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    with temporary_files_in(tmp_path):
        assert tempfile.gettempdir() != str(tmp_path)


def test_a_command_does_not_import_hypothesis_though_it_is_installed() -> None:
    tried = """
import sys
from resources.process_state import hide_hypothesis
hide_hypothesis(), hide_hypothesis()
print(sum(getattr(finder, "hidden", "") == "hypothesis" for finder in sys.meta_path))
try:
    from hypothesis.strategies import composite
except ImportError as error:
    print(error)
import csv
"""
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, check=True)
    assert done.stdout == "1\nThis process does not use hypothesis.\n"
