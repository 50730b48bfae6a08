"""Changes to the state of the whole process, which threads share."""

import os
from pathlib import Path
from threading import Event, Thread

import pytest

from resources.process_state import temporary_files_in


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
