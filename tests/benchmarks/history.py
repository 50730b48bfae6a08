"""Measures what a long history costs: CPU of commands on 100,000 batches of 10,000 accounts, against 100 of 10.

`python -m tests.benchmarks.history` makes the two stores, and prints a table. CPU is that of whole processes with their
children, or of this process where the table says so. The two sides take turns, so that a busy machine slows both.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from resources.record_store import RecordStore
from resources.settings import Settings
from tests.benchmarks.history_store import OWN, make
from tests.benchmarks.measure import BenchmarkError, clean_environment

_RECORDS = str(Path(sys.executable).with_name("records"))
_SHORT, _LONG = (100, 10), (100_000, 10_000)
_AT_MOST = 1.2


class _Side:
    """One of the two stores, in a folder of its own."""

    def __init__(self, folder: Path, batches: int, accounts: int) -> None:
        make(folder, batches, accounts)
        self._folder = folder
        self._files = 0
        self._settings = Settings.from_environment({"RECORDS_HOME": str(folder / "store")})

    def command(self, *arguments: str) -> None:
        """Run a command on the store."""
        environment = clean_environment({"RECORDS_HOME": str(self._folder / "store")})
        done = subprocess.run([_RECORDS, *arguments, "--json"], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(f"records {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")

    def import_few(self) -> None:
        """Import 100 new records."""
        self._files += 1
        file = self._folder / f"few-{self._files}.csv"
        rows = "".join(f"{self._files}-{number},lead,{number}.50\n" for number in range(100))
        file.write_text(f"external_id,status,amount\n{rows}")
        self.command("import", str(file), "-a", OWN, "-t", "contacts")

    def unbalanced(self) -> None:
        """Search for batches that do not balance, as each commit that Dagster reports does."""
        with RecordStore(self._settings) as store:
            for _ in range(10):
                store.unbalanced("contacts")

    def page(self) -> None:
        """Read a page of 50 batches of all accounts, and one of an account, as the web pages do."""
        with RecordStore(self._settings) as store:
            for _ in range(10):
                store.batches(limit=50)
                store.batches(OWN, limit=50)


_MEASURED: tuple[tuple[str, Callable[[_Side], None]], ...] = (
    ("records import of 100 records", _Side.import_few),
    ("records expire", lambda side: side.command("expire")),
    ("records maintain", lambda side: side.command("maintain")),
    ("records batches", lambda side: side.command("batches", "-a", OWN)),
    ("10 × unbalanced, in one process", _Side.unbalanced),  # noqa: RUF001
    ("10 × two pages of 50 batches, in one process", _Side.page),  # noqa: RUF001
)


def main() -> int:
    """Print a row for each command. Returns 1 if one of them costs too much with a long history."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.history", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each command on each store (default: 5)")
    options = parser.parse_args()
    os.environ["RECORDS_ACTOR"] = "benchmark"
    missed = 0
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        short, long = (_Side(Path(name) / each, *size) for each, size in (("short", _SHORT), ("long", _LONG)))
        print("| what | CPU, 100 batches | CPU, 100,000 batches | ratio | target |\n| --- | ---: | ---: | ---: | --- |")
        for what, run in _MEASURED:
            run(short), run(long)  # the first time, `maintain` has work to do
            pairs = [(_cpu(run, short), _cpu(run, long)) for _ in range(options.runs)]
            ratio = statistics.median(after / before for before, after in pairs)
            before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
            row = f"| {what} | {before:.2f} s | {after:.2f} s | {ratio:.2f} |"
            print(f"{row} ≤ {_AT_MOST}: {'met' if ratio <= _AT_MOST else 'missed'} |", flush=True)
            missed += ratio > _AT_MOST
    return int(missed > 0)


def _cpu(run: Callable[[_Side], None], side: _Side) -> float:
    """Return the seconds of CPU of this process and the children that it waits for."""
    before = _used()
    run(side)
    return _used() - before


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


if __name__ == "__main__":
    sys.exit(main())
