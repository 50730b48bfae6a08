"""The benchmark measures and reports correctly."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.benchmarks.contacts_file import HEADER, write_contacts
from tests.benchmarks.measure import BenchmarkError, Case, Command, Result, Run, Target, measure, measure_case
from tests.benchmarks.report import as_json, as_markdown, surroundings

MB = 1_000_000
ALLOCATE = "import time; held = b'x' * 80_000_000; time.sleep(0.2)"
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ALLOCATE!r}], check=True)"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def result(seconds_a: list[float], seconds_b: list[float], *targets: Target) -> Result:
    """Return runs of these seconds; A's peaks are 200 MB and B's 100 MB."""
    a, b = Command("ours", ("a",)), Command("theirs", ("b",))
    case = Case("import", 1_000, lambda _: None, a, b if seconds_b else None, targets)
    return Result(
        case,
        tuple(Run(seconds, 200 * MB, 150 * MB, "") for seconds in seconds_a),
        tuple(Run(seconds, 100 * MB, 100 * MB, "") for seconds in seconds_b),
    )


def test_measures_time_and_memory(tmp_path: Path) -> None:
    run = measure(python(ALLOCATE), tmp_path)
    assert 0.2 <= run.seconds < 1.5
    assert 80 * MB <= run.peak_single <= run.peak < 120 * MB


def test_measures_children(tmp_path: Path) -> None:
    run = measure(python(IN_A_CHILD), tmp_path)
    assert 80 * MB <= run.peak_single < 120 * MB
    assert run.peak_single + 4 * MB < run.peak < 160 * MB


def test_a_command_that_fails_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="ended with 7: no such luck"):
        measure(python("import sys; print('no such luck', file=sys.stderr); sys.exit(7)"), tmp_path)


def test_runs_a_and_b_in_turn_each_in_a_new_folder(tmp_path: Path) -> None:
    log = "import sys; log = open('../log', 'a'); log.write({!r}); open('new', 'x'); print('{{\"rows\": 3}}')"
    setups: list[Path] = []
    case = Case("turns", 3, setups.append, Command("a", python(log.format("A"))), Command("b", python(log.format("B"))))
    measured = measure_case(case, tmp_path, 2, lambda _: None)
    assert (tmp_path / "log").read_text() == "ABAB"
    assert (len(measured.a), len(measured.b), setups) == (2, 2, [tmp_path])


def test_a_command_that_does_other_work_is_not_measured(tmp_path: Path) -> None:
    case = Case("less", 3, lambda _: None, Command("a", python("print('{\"read\": 2}')")))
    with pytest.raises(BenchmarkError, match="a reported 2 rows; the case has 3"):
        measure_case(case, tmp_path, 1, lambda _: None)


def test_ratios_are_of_pairs() -> None:
    measured = result([2.0, 30.0, 3.0], [1.0, 10.0, 2.0])
    assert measured.ratios == (2.0, 3.0, 1.5)
    assert measured.value("ratio") == 2.0
    assert measured.value("peak_ratio") == 2.0
    assert measured.value("seconds") == 3.0
    assert measured.value("peak") == 200 * MB
    assert measured.meets(Target("ratio", 2.0))
    assert not measured.meets(Target("ratio", 1.9))


def test_table_and_json() -> None:
    at = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    results = [result([2.0, 4.0], [1.0, 1.0], Target("ratio", 2.5)), result([0.5, 0.5], [], Target("seconds", 1))]
    failures = {"export": "Traceback\nNo space left"}
    lines = as_markdown(results, failures, surroundings(), at).splitlines()
    assert lines[-1] == "NOT MEASURED: export: No space left"
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[2:] == [
        [
            "import",
            "1,000",
            "ours",
            "3.00",
            "2.00 to 4.00",
            "333",
            "200",
            "150",
            "3.00 (2.00 to 4.00)",
            "2.00 (2.00 to 2.00)",
            "≤ 2.5 of B's time: MISSED",
        ],
        ["", "", "theirs", "1.00", "1.00 to 1.00", "1,000", "100", "100", "", "", ""],
        ["import", "1,000", "ours", "0.50", "0.50 to 0.50", "2,000", "200", "150", "", "", "≤ 1 s: met"],
    ]
    saved = json.loads(json.dumps(as_json(results, failures, surroundings(), at)))
    assert [described.get("ratio") for described in saved["results"]] == [3.0, None]
    assert [run["seconds"] for run in saved["results"][0]["a"]["runs"]] == [2.0, 4.0]
    assert {"python", "duckdb", "dagster", "pandas", "pandera", "pyarrow"} == saved["versions"].keys()


def test_contacts_are_the_same_ones_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_contacts(tmp_path / name, 1_000)
    text = (tmp_path / "one").read_text(encoding="utf-8")
    assert text == (tmp_path / "two").read_text(encoding="utf-8")
    assert text.startswith(",".join(HEADER))
    assert all(f"C-{number:08}" in text for number in range(1_000))
