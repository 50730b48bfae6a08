"""Measures whole processes from outside: their time, and the memory that they and their children hold."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import psutil

_SAMPLE_SECONDS = 0.02
_SEARCH_EVERY = 5
"""Children are looked for in every fifth sample: a search reads the whole process table, some 3 ms of a core."""

Metric = Literal["seconds", "peak", "largest", "ratio", "peak_ratio", "largest_ratio"]


class BenchmarkError(Exception):
    """A command failed, or did other work than its case says, so there is nothing to measure."""


@dataclass(frozen=True)
class Command:
    """One side of a case: a whole process, started in an empty folder beside what the setup made.

    Its last line is one JSON object with the `rows` that it wrote or the records that it `read`. `prepare` gets the
    empty folder before each run; its time is not counted. `rows` is set where the number differs from the case's.
    """

    label: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Target:
    """A limit on what was measured of A (seconds; bytes) or of A ÷ B (ratio of seconds; ratios of bytes).

    `peak` is of all processes of a side together, `largest` of the largest single process.
    """

    metric: Metric
    at_most: float


@dataclass(frozen=True)
class Case:
    """A comparison of time and memory: A and, if there is one, B, on the same `rows`.

    `setup` gets a folder once and makes in it what both sides read. Commands see it as `..`.
    """

    name: str
    rows: int
    setup: Callable[[Path], None]
    a: Command
    b: Command | None = None
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Run:
    """What was measured of one process, from its start to its end.

    Peaks are sampled bytes of resident memory. One is of the process and its descendants together, where shared
    pages count once for each. The other is of the largest single process.
    """

    seconds: float
    peak: int
    peak_single: int
    output: str


@dataclass(frozen=True)
class Result:
    """All runs of a case; run i of B followed run i of A. `b` is empty where A stands alone."""

    case: Case
    a: tuple[Run, ...]
    b: tuple[Run, ...] = ()

    @property
    def ratios(self) -> tuple[float, ...]:
        """Return the seconds of A ÷ the seconds of B, pair by pair."""
        return tuple(a.seconds / b.seconds for a, b in zip(self.a, self.b, strict=bool(self.b)))

    @property
    def peak_ratios(self) -> tuple[float, ...]:
        """Return the peak of A ÷ the peak of B, pair by pair."""
        return tuple(a.peak / b.peak for a, b in zip(self.a, self.b, strict=bool(self.b)))

    @property
    def largest_ratios(self) -> tuple[float, ...]:
        """Return the largest single process of A ÷ that of B, pair by pair."""
        return tuple(a.peak_single / b.peak_single for a, b in zip(self.a, self.b, strict=bool(self.b)))

    def value(self, metric: Metric) -> float:
        """Return the median over all runs or pairs; of the peak the maximum, which a machine must have."""
        match metric:
            case "seconds":
                return statistics.median(run.seconds for run in self.a)
            case "peak":
                return max(run.peak for run in self.a)
            case "largest":
                return max(run.peak_single for run in self.a)
            case "ratio":
                return statistics.median(self.ratios)
            case "peak_ratio":
                return statistics.median(self.peak_ratios)
            case "largest_ratio":
                return statistics.median(self.largest_ratios)

    def meets(self, target: Target) -> bool:
        """Return whether the measured value meets the target."""
        return self.value(target.metric) <= target.at_most


def measure_case(case: Case, folder: Path, runs: int, say: Callable[[str], None]) -> Result:
    """Run A and B in turn, A B A B …, as often as asked. `folder` must be empty; the setup fills it.

    `say` is called with a line for each run. Raises BenchmarkError if a command fails or reports another number of
    rows.
    """
    say(f"{case.name}: setting up")
    case.setup(folder)
    measured: dict[str, list[Run]] = {"a": [], "b": []}
    sides = {"a": case.a} if case.b is None else {"a": case.a, "b": case.b}
    for number in range(1, runs + 1):
        for side, command in sides.items():
            run = _measure_fresh(command, folder / "run", command.rows or case.rows)
            say(f"{case.name}: {number} of {runs}: {run.seconds:6.2f} s, {run.peak / 1e6:5.0f} MB  {command.label}")
            measured[side].append(run)
    return Result(case, tuple(measured["a"]), tuple(measured["b"]))


def _measure_fresh(command: Command, folder: Path, rows: int) -> Run:
    folder.mkdir()
    try:
        if command.prepare is not None:
            command.prepare(folder)
        os.sync()  # so that this run does not pay for writing back the data of others
        run = measure(command.argv, folder, command.environment)
    finally:
        shutil.rmtree(folder)
    done = reported_rows(run.output)
    if done != rows:
        raise BenchmarkError(f"{command.label} reported {done} rows; the case has {rows}: {run.output[-500:]}")
    return run


def measure(argv: tuple[str, ...], folder: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run the command in `folder` to its end. Raises BenchmarkError if its exit code is not 0."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        with subprocess.Popen(
            argv, cwd=folder, env=clean_environment(environment), stdout=output, stderr=errors
        ) as process:
            memory = _Memory(process.pid)
            memory.start()
            try:
                exit_code = process.wait()
                seconds = time.perf_counter() - started
            except BaseException:
                process.kill()
                raise
            finally:
                memory.stop()
        if exit_code:
            raise BenchmarkError(
                f"{' '.join(argv)} ended with {exit_code}: {(_text(errors) or _text(output))[-2000:].strip()}"
            )
        return Run(seconds, memory.peak, memory.peak_single, _text(output))


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without any settings of the project, plus the given ones."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RECORDS_", "DAGSTER_"))}
    return {**own, "RECORDS_ACTOR": "benchmark", **(more or {})}


def reported_rows(output: str) -> int | None:
    """Return the number of rows read, written or rolled back that the last line of the output states, or None."""
    lines = output.splitlines()
    try:
        report = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return None
    if not isinstance(report, dict):
        return None
    number = report["removed"] + report["restored"] if "undone" in report and "removed" in report else None
    number = report.get("rows", report.get("read", number))
    return number if isinstance(number, int) else None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class _Memory(threading.Thread):
    """Samples the memory of a process and its descendants until `stop`, and keeps the maximum."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.peak_single = 0
        self._root = psutil.Process(pid)
        self._processes = [self._root]
        self._ended = threading.Event()

    def run(self) -> None:
        samples = 0
        while not self._ended.is_set():
            if samples % _SEARCH_EVERY == 0:
                self._search()
            sizes = [_resident(process) for process in self._processes]
            self.peak = max(self.peak, sum(sizes))
            self.peak_single = max(self.peak_single, *sizes)
            samples += 1
            self._ended.wait(_SAMPLE_SECONDS)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _search(self) -> None:
        try:
            self._processes = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:  # it has just ended
            self._processes = [self._root]


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # ended, or a zombie
        return 0
