"""Measures a store on a server: its catalog in PostgreSQL, its data in an object store on this machine.

`python -m tests.benchmarks.server` prints a table. It starts the servers itself.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

from resources.record_store import RecordStore, ledger
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import Batch, BatchStatus
from schemas.counts import Counts
from tests import object_server, postgres
from tests.benchmarks.contacts_store import COLUMNS, fill_store, in_order
from tests.benchmarks.measure import BenchmarkError, measure, reported_rows
from tests.faults.steps import processes

_RECORDS = str(Path(sys.executable).with_name("records"))
_WRITERS, _BATCHES, _BATCH = 4, 25, 1_000
_CONTACT = "SELECT printf('C-%08d', n) AS external_id, 'lead' AS status FROM range({}, {}) t(n)"


def main() -> None:
    """Print the two numbers beside their targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.server", description=__doc__)
    parser.add_argument("--contacts", type=int, default=5_000_000, metavar="N", help="in the export")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="records-") as name, postgres.running() as databases:
        folder = Path(name)
        rates = [_commits_a_second(folder / f"writers-{run}", databases) for run in range(options.runs)]
        with object_server.running(etags=False) as objects:
            os.environ |= objects.environment
            laptop = {"RECORDS_HOME": str(folder / "laptop")}
            server = {
                "RECORDS_HOME": str(folder / "server"),
                "RECORDS_CATALOG": databases.address(databases.create()),
                "RECORDS_DATA": f"{objects.create()}/data",
            }
            for environment in (laptop, server):
                fill_store(environment, in_order(options.contacts))
            pairs = [
                (_export(folder, server, options.contacts), _export(folder, laptop, options.contacts))
                for _ in range(options.runs)
            ]
    print("| What | Measured | Target |\n| --- | --- | --- |")
    shown = f"{statistics.median(rates):.1f} commits/s ({', '.join(f'{rate:.1f}' for rate in rates)})"
    what = f"{_WRITERS} writers, {_BATCHES} batches of {_BATCH:,} records each, none lost"
    print(f"| {what} | {shown} | ≥ 20: {_verdict(statistics.median(rates) >= 20)} |")
    ratio = statistics.median(remote / local for remote, local in pairs)
    shown = ", ".join(f"{remote:.1f} s ÷ {local:.1f} s" for remote, local in pairs)
    what = f"ordered CSV of {options.contacts:,} from objects ÷ from the disk"
    print(f"| {what} | {ratio:.2f} ({shown}) | ≤ 1.5: {_verdict(ratio <= 1.5)} |")


def _export(folder: Path, environment: dict[str, str], rows: int) -> float:
    """Return the seconds of a whole process that writes the contacts to this machine's disk."""
    columns = ("--columns", ",".join(COLUMNS))
    command = (_RECORDS, "export", "-a", "all", "-t", "contacts", *columns, "-o", "out.csv", "--foreground", "--json")
    run = measure(command, folder, environment)
    if reported_rows(run.output) != rows:
        raise BenchmarkError(f"{reported_rows(run.output)} of {rows} rows were written")
    (folder / "out.csv").unlink()
    return run.seconds


def _commits_a_second(home: Path, databases: postgres.Postgres) -> float:
    """Return the commits per second of several writers together, each with its own account, after all have started."""
    settings = Settings.from_environment(
        {"RECORDS_HOME": str(home), "RECORDS_CATALOG": databases.address(databases.create())}
    )
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        context = processes()
        barrier = context.Barrier(_WRITERS + 1)
        writers = [context.Process(target=_write, args=(settings, f"a{n}", barrier)) for n in range(_WRITERS)]
        for writer in writers:
            writer.start()
        barrier.wait()
        started = time.perf_counter()
        for writer in writers:
            writer.join()
        seconds = time.perf_counter() - started
        with store.reading() as connection:
            found = connection.fetch_one("SELECT count(*), count(DISTINCT _batch) FROM lake.records.contacts")
    if found != (_WRITERS * _BATCHES * _BATCH, _WRITERS * _BATCHES):
        raise BenchmarkError(f"{found} records and batches are there")
    return _WRITERS * _BATCHES / seconds


def _write(settings: Settings, account: str, barrier: Barrier) -> None:
    with RecordStore(settings) as store:
        store.add_account(account, "benchmark")
        barrier.wait()
        for number in range(_BATCHES):
            batch_id = f"b-{account}-{number}"
            with store.transaction(f"batch {number}", "benchmark", batch_id) as transaction:
                rows = _CONTACT.format(number * _BATCH, (number + 1) * _BATCH)
                transaction.connection.execute(
                    f"INSERT INTO lake.records.contacts BY NAME SELECT ? AS _account, ? AS _batch, * FROM ({rows})",
                    [account, batch_id],
                )
                transaction.append(ledger.append_batch, _batch(batch_id, account, transaction.at))


def _batch(batch_id: str, account: str, at: datetime) -> Batch:
    counts = Counts(read=_BATCH, created=_BATCH)
    return Batch(
        batch_id,
        account,
        "contacts",
        BatchStatus.COMMITTED,
        "benchmark",
        at,
        run_id=None,
        file_name="contacts.csv",
        file_sha256="",
        counts=counts,
        committed_at=at,
    )


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "missed"


if __name__ == "__main__":
    main()
