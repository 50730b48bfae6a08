"""Reports the measurements and the machine as JSON and as a Markdown table."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.measure import Command, Result, Run, Target

_PACKAGES = ("duckdb", "dagster", "pandas", "pandera", "pyarrow")
_HEADERS = ("Case", "Rows", "Command", "Seconds", "Range", "Rows/s", "Peak MB", "Largest MB", "A÷B time", "A÷B peak")
_WORDS = {"Case", "Command", "Target"}
_NOTE = (
    "Seconds: median of whole processes, {runs} runs of each in turn. A÷B: median of the ratios, pair by pair "
    "(and their range). Peak: most resident memory of the process and its children together in any run; largest: of a "
    "single one of them. MB are 10⁶ bytes."
)


def surroundings() -> dict[str, Any]:
    """Return the versions and the machine that the numbers belong to."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "commit": _commit(),
        "machine": {
            "cores": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "cpu": _cpu(),
            "system": platform.platform(),
            "load_average": os.getloadavg(),
        },
    }


def as_json(
    results: Sequence[Result], failures: Mapping[str, str], about: dict[str, Any], at: datetime
) -> dict[str, Any]:
    """Return every run, its summary, and the reason for each case that could not be measured, as plain data."""
    described = [_result_as_json(result) for result in results]
    return {"at": at.isoformat(), **about, "results": described, "failures": dict(failures)}


def as_markdown(results: Sequence[Result], failures: Mapping[str, str], about: dict[str, Any], at: datetime) -> str:
    """Return a row for each command, A above B, under a heading with versions and machine; then the failed cases."""
    machine = about["machine"]
    runs = max((len(result.a) for result in results), default=0)
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"# Benchmarks of {at:%Y-%m-%d %H:%M} UTC",
        "",
        f"Commit {about['commit']}; {versions}.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB; {machine['system']}; "
        f"load at the start {machine['load_average'][0]:.1f}.",
        "",
        *_table([row for result in results for row in _rows(result)]),
        "",
        _NOTE.format(runs=runs),
        *(f"\nNOT MEASURED: {name}: {why.splitlines()[-1]}" for name, why in failures.items()),
    ]
    return "\n".join(lines) + "\n"


def _rows(result: Result) -> list[tuple[str, ...]]:
    case = result.case
    compared = ("", "")
    if result.b:
        compared = (_spread(result.ratios), _spread(result.peak_ratios))
    targets = ", ".join(_target_in_words(target, result) for target in case.targets)
    rows = [(case.name, f"{case.rows:,}", *_cells(case.a, result.a, case.rows), *compared, targets)]
    if case.b is not None:
        rows.append(("", "", *_cells(case.b, result.b, case.rows), "", "", ""))
    return rows


def _cells(command: Command, runs: Sequence[Run], rows: int) -> tuple[str, ...]:
    seconds = [run.seconds for run in runs]
    median = statistics.median(seconds)
    rows = command.rows or rows
    return (
        command.label,
        f"{median:.2f}",
        f"{min(seconds):.2f} to {max(seconds):.2f}",
        f"{rows / median:,.0f}",
        f"{max(run.peak for run in runs) / 1e6:,.0f}",
        f"{max(run.peak_single for run in runs) / 1e6:,.0f}",
    )


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _target_in_words(target: Target, result: Result) -> str:
    bound = {
        "seconds": f"{target.at_most:g} s",
        "peak": f"{target.at_most / 1e6:,.0f} MB",
        "ratio": f"{target.at_most:g} of B's time",
        "peak_ratio": f"{target.at_most:g} of B's peak",
        "largest": f"{target.at_most / 1e6:,.0f} MB in any process",
        "largest_ratio": f"{target.at_most:g} of B's largest process",
    }[target.metric]
    return f"≤ {bound}: {'met' if result.meets(target) else 'MISSED'}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table with columns that are aligned in a terminal too."""
    headers = (*_HEADERS, "Target")
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    words = [header in _WORDS for header in headers]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(cells, widths, words, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if left else "-" * (width - 1) + ":" for width, left in zip(widths, words, strict=True)]
    return [line(headers), line(rule), *map(line, rows)]


def _result_as_json(result: Result) -> dict[str, Any]:
    case = result.case
    described: dict[str, Any] = {"name": case.name, "rows": case.rows, "a": _side_as_json(case.a, result.a, case.rows)}
    if case.b is not None:
        described |= {
            "b": _side_as_json(case.b, result.b, case.rows),
            "ratio": result.value("ratio"),
            "ratios": result.ratios,
            "peak_ratio": result.value("peak_ratio"),
            "peak_ratios": result.peak_ratios,
        }
    described["targets"] = [
        {
            "metric": target.metric,
            "at_most": target.at_most,
            "measured": result.value(target.metric),
            "met": result.meets(target),
        }
        for target in case.targets
    ]
    return described


def _side_as_json(command: Command, runs: Sequence[Run], rows: int) -> dict[str, Any]:
    median = statistics.median(run.seconds for run in runs)
    rows = command.rows or rows
    return {
        "label": command.label,
        "argv": command.argv,
        "seconds": median,
        "rows_per_second": rows / median,
        "peak_bytes": max(run.peak for run in runs),
        "peak_single_bytes": max(run.peak_single for run in runs),
        "runs": [
            {"seconds": run.seconds, "peak_bytes": run.peak, "peak_single_bytes": run.peak_single} for run in runs
        ],
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    argv = ("git", "describe", "--always", "--dirty")
    try:
        return subprocess.run(
            argv, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
