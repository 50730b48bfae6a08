"""Runs all kinds of faults, some at the same time, within their time; and makes the table of results."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from tests.faults.harness.checks import NOTE
from tests.faults.harness.kinds import KINDS, Kind
from tests.faults.harness.testbed import Fault, NotRun, Testbed

_SHOWN = 12


@dataclass
class Row:
    """The result of one kind: its number, seconds and violations, and the reason if it was not run."""

    kind: str
    times: int = 0
    seconds: float = 0.0
    violations: list[tuple[str, list[str]]] = field(default_factory=list)
    notes: list[tuple[str, list[str]]] = field(default_factory=list)
    """What is worth a note and is not a violation."""
    why: str = ""
    """Why it was not run, or not in full."""

    @property
    def note(self) -> str:
        """Return the text beside the numbers of the table."""
        gone = f"{len(self.notes)} with a file gone that was to be removed" if self.notes else ""
        return "; ".join(filter(None, [self.why, gone]))


def run(
    seed: int, share: float, seconds: float, *, only: str = "", case: str = "", report: Callable[[str], None] = print
) -> list[Row]:
    """Run each kind's share of its faults, or as many as fit in its share of the time."""
    rows = []
    began = time.monotonic()
    shared = "" if share == 1.0 else f" SHARE={share}"
    chosen = [kind for kind in KINDS if kind.name.startswith(only)]
    with Testbed() as testbed:
        testbed.template()
        for place, kind in enumerate(chosen):
            left = sum(each.weight for each in chosen[place:])
            until = time.monotonic() + (seconds - (time.monotonic() - began)) * kind.weight / left
            row = _run(testbed, kind, seed, max(1, round(kind.full * share)), until, case)
            rows.append(row)
            report(
                f"{row.kind:24} {row.times:5} times {len(row.violations):5} violations {row.seconds:6.0f} s {row.note}"
            )
            for name, found in row.violations[:_SHOWN]:
                report(f"    {name}: {found[0][:400]}")
                report(f"        replay: make faults ONLY={kind.name} SEED={seed}{shared} CASE='{name}'")
            if len(row.violations) > _SHOWN:
                report(f"    … and {len(row.violations) - _SHOWN} more")
            for name, notes in row.notes[:_SHOWN]:
                report(f"    {name}: {notes[0]}")
    return rows


def _run(testbed: Testbed, kind: Kind, seed: int, count: int, until: float, case: str) -> Row:
    row, began = Row(kind.name), time.monotonic()
    try:
        faults = kind.faults(testbed, random.Random(f"{seed} {kind.name}"), count)
        if case:
            faults = (fault for fault in faults if fault.name == case)
        for fault, found in _tried(faults, kind.at_once, until):
            row.times += 1
            notes = [text for text in found if text.startswith(NOTE)]
            if notes:
                row.notes.append((fault.name, notes))
            if len(notes) < len(found):
                row.violations.append((fault.name, [text for text in found if text not in notes]))
    except NotRun as error:
        row.why = f"not run: {error}"
    except AssertionError as error:  # an action without a fault must succeed first
        row.violations.append(("nothing was wrong", [str(error)]))
    row.seconds = time.monotonic() - began
    if time.monotonic() > until and row.times < count:
        row.why = f"of {count}: its time was over"
    return row


def _tried(faults: Iterator[Fault], at_once: int, until: float) -> Iterator[tuple[Fault, list[str]]]:
    """Yield the faults with their violations; some run at the same time, until the time is over."""
    trying: dict[Future[list[str]], Fault] = {}
    is_first = True
    with ThreadPoolExecutor(at_once) as threads:
        while True:
            room = at_once + 1 - len(trying) if is_first or time.monotonic() < until else 0
            is_first = False
            for fault in islice(faults, room):
                trying[threads.submit(fault.happens)] = fault
            if not trying:
                return
            for done in wait(trying, return_when=FIRST_COMPLETED).done:
                error = done.exception()
                found = done.result() if error is None else [f"it could not be tried: {type(error).__name__}: {error}"]
                yield trying.pop(done), found


def table(rows: Sequence[Row], seed: int, day: str, minutes: float) -> str:
    """Return the rows as a table in Markdown."""
    times, violations = sum(row.times for row in rows), sum(len(row.violations) for row in rows)
    lines = [
        "# Faults",
        "",
        f"Written by `make faults` on {day} with seed {seed}, in {minutes:.0f} minutes.",
        "",
        "| Fault | Times | Violations | |",
        "|---|---:|---:|---|",
        *(f"| {_described(row.kind)} | {row.times:,} | {len(row.violations):,} | {row.note} |" for row in rows),
        f"| **All** | **{times:,}** | **{violations:,}** | |",
    ]
    return "\n".join(lines) + "\n"


def _described(name: str) -> str:
    return next(f"`{kind.name}`: {kind.description}" for kind in KINDS if kind.name == name)
