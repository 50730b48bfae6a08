"""Where the limits of a large deployment are: a model, fed with costs that were measured here.

`python -m tests.benchmarks.model` prints the tables of `deploy/README.md`. With `--measure 8` it measures the costs
anew, and the throughput of 1, 2 and 4 processes, which the model must predict. The throughput of a closed system comes
from exact mean value analysis (Lazowska and others, Quantitative System Performance, 1984, chapter 6). Processes take
turns at the cores and at the write lock, and wait for the network meanwhile.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

_DAY = 86_400
_COSTS = Path(__file__).with_name("costs.json")
_BUSY = 0.7
"""The share of its time that one server can work. Beyond it, what waits takes more than three times its own work."""
_OBJECTS, _CATALOG, _EVENTS = 200_000, 50e9, 100e9
"""Objects that a sweep lists within minutes; bytes of a catalog and of Dagster's database that fit into memory."""
_RECORDS_A_FILE = 1_000_000
_TICK_EVERY = 3.0


@dataclass(frozen=True)
class Costs:
    """What was measured: of an import of 1,000 records, of a run of Dagster, of a tick and of a listing.

    cpu, lock, wait: processor seconds of all processes, seconds that the write lock is held, and other seconds.
    catalog_bytes, snapshots, files: what an import adds to the catalog and to the lake, before maintenance.
    run_cpu, run_events, run_bytes: processor seconds, events and bytes of a run that imports a file.
    tick: seconds of a tick of `file_arrival` with an inbox of 1,000 files. listing: seconds for 1,000 objects.
    measured: imports a second of so many processes on `cores` cores.
    """

    cpu: float
    lock: float
    wait: float
    catalog_bytes: float
    snapshots: float
    files: float
    run_cpu: float
    run_events: float
    run_bytes: float
    tick: float
    listing: float
    cores: int
    measured: dict[str, float]


@dataclass(frozen=True)
class Load:
    """A deployment: what it has, and what it does in a day."""

    records: int = 1_000_000_000
    accounts: int = 1_000
    workers: int = 100
    imports: int = 10_000
    files_a_run: int = 100
    retention_days: int = 30
    snapshot_days: int = 2


@dataclass(frozen=True)
class Limit:
    """A resource: how much of it the load takes, how many imports a day fill it, and what to set or change then."""

    name: str
    takes: str
    share: float
    full_at: float
    then: str


def throughput(processes: int, cpu: float, lock: float, wait: float, cores: float) -> float:
    """Returns the imports a second of so many processes, by exact mean value analysis."""
    demands = (cpu / cores, lock)
    waits = wait + cpu * (1 - 1 / cores)  # one import uses one core: the other cores do not make it faster
    queues = [0.0 for _ in demands]
    rate = 0.0
    for number in range(1, processes + 1):
        times = [demand * (1 + queue) for demand, queue in zip(demands, queues, strict=True)]
        rate = number / (waits + sum(times))
        queues = [rate * each for each in times]
    return rate


def limits(costs: Costs, load: Load) -> list[Limit]:
    """Returns the limits of a load, the first one that is reached at the top."""
    each = load.imports
    lock = each * costs.lock / _DAY
    workers = each * (costs.cpu + costs.lock + costs.wait) / _DAY / load.workers
    merged = max(load.records / _RECORDS_A_FILE, load.accounts)
    objects = merged + each * costs.files
    catalog = each * load.snapshot_days * costs.catalog_bytes
    events = each * load.retention_days * costs.run_bytes
    runs = each / load.files_a_run * costs.run_cpu / _DAY + costs.tick / _TICK_EVERY
    single = each * costs.run_cpu / _DAY
    made = [
        Limit(
            "write lock",
            f"{lock:.1%} of the time",
            lock / _BUSY,
            each * _BUSY / lock,
            "larger files: a commit of ten times the records takes hardly longer",
        ),
        Limit(
            "small files",
            f"{objects:,.0f} objects before maintenance, {objects * costs.listing / 1000:.0f} s for a listing",
            objects / _OBJECTS,
            (_OBJECTS - merged) / costs.files,
            "launch `maintain_store` more often: it merges them",
        ),
        Limit(
            "catalog",
            f"{catalog / 1e9:.1f} GB in {load.snapshot_days} days of snapshots",
            catalog / _CATALOG,
            _CATALOG / load.snapshot_days / costs.catalog_bytes,
            "a shorter `RECORDS_ROLLBACK_HOURS`; more memory for PostgreSQL",
        ),
        Limit(
            "Dagster's database",
            f"{events / 1e9:.1f} GB in {load.retention_days} days",
            events / _EVENTS,
            _EVENTS / load.retention_days / costs.run_bytes,
            "a server of its own; delete old runs",
        ),
        Limit(
            "daemon and code server",
            f"{runs:.1%} of a core; {single:.0%} with a run for each file",
            runs / _BUSY,
            each * _BUSY / runs,
            "files through the inbox, which gives 100 of them to one run",
        ),
        Limit(
            "workers",
            f"{workers:.1%} of {load.workers}",
            workers / _BUSY,
            each * _BUSY / workers,
            "more workers",
        ),
    ]
    return sorted(made, key=lambda limit: -limit.share)


def predictions(costs: Costs) -> list[tuple[int, float, float, float]]:
    """Returns processes, predicted and measured imports a second, and the error of the prediction."""
    rows = []
    for text, found in costs.measured.items():
        predicted = throughput(int(text), costs.cpu, costs.lock, costs.wait, costs.cores)
        rows.append((int(text), predicted, found, predicted / found - 1))
    return rows


def tables(costs: Costs, load: Load) -> str:
    """Returns the two tables of the page, as Markdown."""
    shown = ["| limit | takes | full at | then |", "| --- | --- | ---: | --- |"]
    shown += [
        f"| {it.name} | {it.takes} | {_rounded(it.full_at)} imports a day | {it.then} |" for it in limits(costs, load)
    ]
    shown += ["", "| processes on 2 cores | predicted | measured | error |", "| ---: | ---: | ---: | ---: |"]
    shown += [
        f"| {number} | {predicted:.2f} imports/s | {found:.2f} imports/s | {error:+.0%} |"
        for number, predicted, found, error in predictions(costs)
    ]
    return "\n".join(shown)


def _rounded(number: float) -> str:
    digits = len(str(int(number))) - 2
    return f"{round(number, -digits):,.0f}"


def saved_costs() -> Costs:
    """Returns the costs that were measured last."""
    return Costs(**json.loads(_COSTS.read_text()))


def measured_costs(imports: int) -> Costs:
    """Measure all costs on PostgreSQL and an S3 server of this machine."""
    from resources.record_store import RecordStore
    from resources.settings import Settings
    from schemas import load_record_types
    from tests.object_server import running as object_server
    from tests.postgres import running as postgres_server

    with postgres_server() as postgres, object_server(etags=False) as objects, tempfile.TemporaryDirectory() as folder:
        os.environ.update(objects.environment)
        os.environ["RECORDS_HOME"] = str(Path(folder) / "home")
        database = postgres.create()
        os.environ |= {"RECORDS_CATALOG": postgres.address(database), "RECORDS_DATA": f"{objects.create()}/data"}
        with RecordStore(Settings.from_environment()) as store:
            store.initialise(load_record_types())
            for number in range(7):
                store.add_account(f"a{number}", "benchmark")
        servers = [postgres.process]
        _imports(folder, 0, 1)  # what is imported and prepared once
        before = _grown(postgres, database), _processor(servers)
        first = _imports(folder, 0, imports)
        after = _grown(postgres, database), _processor(servers)
        cpu = median(it["cpu"] for it in first) + (after[1] - before[1]) / imports
        lock, seconds = median(it["lock"] for it in first), median(it["seconds"] for it in first)
        found = {"1": 1 / seconds}
        for processes in (2, 4):
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                pool.starmap(_imports, [(folder, number, 1) for number in range(processes)])
                began = time.monotonic()
                pool.starmap(_imports, [(folder, number, imports) for number in range(processes)])
                found[str(processes)] = processes * imports / (time.monotonic() - began)
        number = imports + sum(processes * (1 + imports) for processes in (2, 4))
        growth = [(b - a) / number for a, b in zip(before[0], _grown(postgres, database), strict=True)]
        catalog_bytes, snapshots, files = growth
        run_cpu, run_events, run_bytes = _run_costs(postgres, folder)
        tick, listing = _listings(objects)
        return Costs(
            cpu=cpu,
            lock=lock,
            wait=max(seconds - cpu - lock, 0.0),
            catalog_bytes=catalog_bytes,
            snapshots=snapshots,
            files=files,
            run_cpu=run_cpu,
            run_events=run_events,
            run_bytes=run_bytes,
            tick=tick,
            listing=listing,
            cores=len(os.sched_getaffinity(0)),
            measured=found,
        )


def _imports(folder: str, account: int, number: int) -> list[dict[str, float]]:
    """Import files of 1,000 records for an account; returns the costs of each."""
    from resources.importing.importer import Importer
    from resources.record_store import RecordStore
    from resources.record_store.write_lock import AdvisoryLock
    from resources.settings import Settings
    from tests.records import contact, contacts_of, write_csv

    held = [0.0]
    with _timed(AdvisoryLock, held), RecordStore(Settings.from_environment()) as store:
        costs = []
        for turn in range(number):
            first = time.monotonic_ns()
            path = write_csv(
                Path(folder) / f"{account}-{turn}.csv", [contact(first % 10**9 + it, notes="x") for it in range(1000)]
            )
            began, cpu, held[0] = time.monotonic(), _own_processor(), 0.0
            Importer(store, "benchmark").import_file(contacts_of(path, f"a{account}"))
            costs.append({"seconds": time.monotonic() - began, "cpu": _own_processor() - cpu, "lock": held[0]})
        return costs


@contextmanager
def _timed(lock: Any, held: list[float]) -> Iterator[None]:
    """Add up how long the lock is held, without the time until it is taken."""
    enter, leave = lock.__enter__, lock.__exit__
    began = [0.0]

    def entered(self: Any) -> None:
        enter(self)
        if self._depth == 1:
            began[0] = time.monotonic()

    def left(self: Any, *error: Any) -> None:
        if self._depth == 1:
            held[0] += time.monotonic() - began[0]
        leave(self, *error)

    lock.__enter__, lock.__exit__ = entered, left
    try:
        yield
    finally:
        lock.__enter__, lock.__exit__ = enter, leave


def _own_processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(it.ru_utime + it.ru_stime for it in used)


def _processor(servers: Sequence[Any]) -> float:
    """Returns the processor seconds of servers and of their children, also of those that have ended."""
    total = 0.0
    for server in servers:
        times = server.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
        total += sum(it.cpu_times().user + it.cpu_times().system for it in server.children())
    return total


def _grown(postgres: Any, database: str) -> tuple[float, float, float]:
    ((size, snapshots, files),) = postgres.execute(
        "SELECT pg_database_size(current_database()), (SELECT count(*) FROM ducklake_snapshot), "
        "(SELECT count(*) FROM ducklake_data_file) + (SELECT count(*) FROM ducklake_delete_file)",
        database,
    )
    return float(size), float(snapshots), float(files)


def _run_costs(postgres: Any, folder: str) -> tuple[float, float, float]:
    """Returns the processor seconds, events and bytes of a run that imports a file."""
    import dagster as dg

    from pipelines.definitions import defs
    from tests.records import contact, write_csv

    home = Path(folder) / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((Path(__file__).parents[2] / "deploy/server/dagster.yaml").read_text())
    database = postgres.create()
    os.environ["DAGSTER_POSTGRES_URL"] = postgres.address(database).replace("postgresql:", "postgresql+psycopg2:")
    path = write_csv(Path(folder) / "run.csv", [contact(5_000_000 + it) for it in range(1000)])
    job = defs().resolve_job_def("import_records")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        sizes, cpu = [_size(postgres, database)], _own_processor()
        config = {"account": "a6", "path": str(path), "record_type": "contacts"}
        done = job.execute_in_process(run_config=config, instance=instance)
        cpu = _own_processor() - cpu
        sizes.append(_size(postgres, database))
        events = len(instance.all_logs(done.run_id))
    return (
        cpu + 4.2,
        float(events),
        max(float(sizes[1] - sizes[0]), 1024.0 * events),
    )  # 4.2: a process that imports Dagster


def _size(postgres: Any, database: str) -> int:
    ((size,),) = postgres.execute("SELECT pg_database_size(current_database())", database)
    return int(size)


def _listings(objects: Any) -> tuple[float, float]:
    """Returns the seconds of a look at an inbox of 1,000 objects, and of a listing of 1,000 objects."""
    from resources.inbox import inbox_of
    from resources.record_store import RecordStore
    from resources.settings import Settings

    with RecordStore(Settings.from_environment()) as store:
        folder = objects.folder(str(store.settings.inbox)) / "a0" / "contacts"
        folder.mkdir(parents=True)
        for number in range(1000):
            (folder / f"{number}.csv").touch()
        inbox, taken = inbox_of(store), []
        for _ in range(3):
            began = time.monotonic()
            inbox.look(store.accounts(), list(store.record_types()))
            taken.append(time.monotonic() - began)
    return median(taken) + 0.05, median(taken)


def main() -> None:
    """Print the tables, from saved or new costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", type=int, default=0, metavar="IMPORTS", help="Measure so many imports a process.")
    for field in fields(Load):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    given = vars(parser.parse_args())
    imports = given.pop("measure")
    if imports:
        _COSTS.write_text(json.dumps(asdict(measured_costs(imports)), indent=2) + "\n")
    print(tables(saved_costs(), Load(**given)))


if __name__ == "__main__":
    main()
