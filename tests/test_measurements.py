"""Measurements of many processes: none is lost, and nothing about their file stops any work."""

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.measurements import FILE, Measurements, Total, Work

ROOT = Path(__file__).parent.parent

ADDING = """
import sys
from pathlib import Path
from resources.measurements import Measurements, Work
measurements = Measurements(Path(sys.argv[1]))
for _ in range(50):
    measurements.add(Work.READ, 0.5, 10)
"""


def test_several_processes_add_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", ADDING, tmp_path], cwd=ROOT) for _ in range(4)]
    shown = []
    while any(process.poll() is None for process in processes):
        shown.append(Measurements(tmp_path).totals()[Work.READ].number)
        time.sleep(0.002)

    assert [process.returncode for process in processes] == [0] * 4
    assert Measurements(tmp_path).totals()[Work.READ] == Total(200, 100.0, 2000)
    assert shown == sorted(shown), "a reader sees only whole writes"


def test_the_file_has_one_size_and_is_of_its_user_alone(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path)
    for work in Work:
        measurements.add(work, 123456789.123456789, 2**62)
    assert (tmp_path / FILE).stat().st_size == 4096
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert set(json.loads((tmp_path / FILE).read_text())) == set(Work)


@pytest.mark.parametrize(
    "content", [b"", bytes(4096), b"{", b"[]", b'{"read": 1}', b'{"read": {"number": "x"}}', b"\xff"]
)
def test_a_damaged_file_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert Measurements(tmp_path).totals() == dict.fromkeys(Work, Total())
    Measurements(tmp_path).add(Work.COMMIT, 2)
    assert Measurements(tmp_path).totals()[Work.COMMIT] == Total(1, 2.0, 0)


def test_what_finds_the_file_locked_is_added_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = Measurements(tmp_path)
    monkeypatch.setattr("resources.measurements._PATIENCE", 0.01)
    measurements.add(Work.READ, 1, 1)
    with (tmp_path / FILE).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        measurements.add(Work.READ, 1, 1)
    assert Measurements(tmp_path).totals()[Work.READ] == Total(1, 1.0, 1)
    measurements.add(Work.READ, 1, 1)
    assert Measurements(tmp_path).totals()[Work.READ] == Total(3, 3.0, 3)


def test_without_a_home_nothing_is_made_and_nothing_raised(tmp_path: Path) -> None:
    Measurements(tmp_path / "none").add(Work.READ, 1)
    assert not (tmp_path / "none").exists()
    assert Measurements(tmp_path / "none").totals()[Work.READ] == Total()


def test_work_that_fails_is_not_counted(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path)
    with pytest.raises(ValueError, match="no"), measurements.timing(Work.READ):
        raise ValueError("no")
    assert measurements.totals()[Work.READ].number == 0
