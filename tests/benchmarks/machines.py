"""Measures two workers of Celery against one process: an export, a night's files, and a worker that is killed.

`python -m tests.benchmarks.machines` prints a table. It starts PostgreSQL, an S3 server, Redis and the workers itself.
Each worker has one core. The servers use the same cores, so on a machine with two cores they slow the workers.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster_celery.core_execution_loop import TICK_SECONDS

from pipelines.arrivals import limit_pool
from resources.export_writer import ExportWriter
from resources.file_storage import blocks_of
from resources.inbox import inbox_of
from resources.machines.heartbeats import GONE_SECONDS
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.exports import ExportRequest
from tests.benchmarks.contacts_store import fill_store, in_order
from tests.inbox import lands, take
from tests.machines.cluster import Cluster, Machine, running
from tests.object_server import running as object_server
from tests.postgres import running as postgres_server
from tests.records import contact

_ACCOUNTS = 20
_SLOWER, _FASTER = 1.3, 1.6


def main() -> None:
    """Print the numbers beside their targets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=10_000_000, help="The records of the export.")
    parser.add_argument("--files", type=int, default=1_000, help="The files of 1,000 records in the inbox.")
    given = parser.parse_args()
    print("| What | Measured | Target |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="records-") as folder:
        alone, sha256 = _alone(Path(folder) / "alone", given.records)
        with _cluster(Path(folder) / "two") as cluster:
            fill_store(cluster.environment, in_order(given.records))
            began = time.monotonic()
            _export(cluster)
            together = time.monotonic() - began
            ratio = together / alone
            _print(
                f"export of {given.records:,} by 2 workers; one process",
                f"{together:.1f}; {alone:.1f} s: {ratio:.2f}",
                f"≤ {_SLOWER}",
                ratio <= _SLOWER,
            )
            seconds, equal = _killed(cluster, sha256)
            limit = GONE_SECONDS + 60
            _print(
                "a killed worker: until its step is begun elsewhere; same SHA-256",
                f"{seconds:.0f} s; {equal}",
                f"≤ {limit:.0f} s",
                equal and seconds <= limit,
            )
            one = _arrivals(cluster, given.files, cluster.machines[:1])
            two = _arrivals(cluster, given.files, cluster.machines)
            _print(
                f"{given.files:,} files of 1,000 records: 1 worker; 2",
                f"{one:.1f}; {two:.1f} s: {one / two:.2f}",
                f"≥ {_FASTER}",
                one / two >= _FASTER,
            )
    print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[1]:.1f}, a tick every {TICK_SECONDS} s")


def _print(what: str, measured: str, target: str, is_met: bool) -> None:
    print(f"| {what} | {measured} | {target}: {'met' if is_met else 'missed'} |", flush=True)


def _alone(folder: Path, records: int) -> tuple[float, str]:
    """Export in one process with all cores and a local disk; returns the seconds and the SHA-256."""
    environment = {"RECORDS_HOME": str(folder)}
    fill_store(environment, in_order(records))
    with RecordStore(Settings.from_environment(environment)) as store:
        began = time.monotonic()
        sha256 = ExportWriter(store, "benchmark").export(ExportRequest("all", "contacts")).sha256
        return time.monotonic() - began, sha256


@contextmanager
def _cluster(folder: Path) -> Iterator[Cluster]:
    folder.mkdir()
    for each in (folder, folder.parent):
        each.chmod(0o755)
    with postgres_server() as postgres, object_server(etags=False) as objects:
        postgres.folder.chmod(0o755)
        os.environ.update(objects.environment)
        given = {
            "RECORDS_CATALOG": postgres.address(postgres.create()),
            "RECORDS_DATA": f"{objects.create()}/data",
            "RECORDS_HOME": str(folder / "run" / "home"),
        }
        dagster = postgres.address(postgres.create()).replace("postgresql:", "postgresql+psycopg2:")
        settings = Settings.from_environment(given)
        with running(folder, settings, objects.environment, dagster, pinned=True) as cluster:
            os.environ.update({name: it for name, it in cluster.environment.items() if name.startswith(("RE", "DAG"))})
            with RecordStore(settings) as store:
                store.initialise(load_record_types())
            with dg.DagsterInstance.get() as instance:
                instance.add_dynamic_partitions("accounts", ["all"])
                limit_pool(instance)  # as the sensor does, which does not run here
            cluster.ready()
            yield cluster


def _export(cluster: Cluster) -> str:
    return cluster.run("export_contacts", {"ops": {"exports__contacts": {"config": {}}}}, "all")


def _killed(cluster: Cluster, sha256: str) -> tuple[float, bool]:
    """Kill a worker amid a part; returns the seconds until it is begun elsewhere, and whether the file is right."""
    with cluster.holding("after-make_part"):
        run_id, result = cluster.launch("export_contacts", {"ops": {"exports__contacts": {"config": {}}}}, "all")
        gone = cluster.kill_machine_of(cluster.held_at("after-make_part"))
        killed_at = time.monotonic()
    assert result.result(3600), cluster.messages(run_id)
    seconds = time.monotonic() - killed_at
    with dg.DagsterInstance.get() as instance:
        events = [it for it in instance.all_logs(run_id) if it.is_dagster_event]
    begun = [
        it.timestamp for it in events if it.get_dagster_event().is_step_start and "make_part" in (it.step_key or "")
    ]
    seconds = min(seconds, max(begun) - (time.time() - (time.monotonic() - killed_at)))
    with RecordStore(cluster.settings) as store:
        manifest = next(it for it in store.exports("all") if it.run_id == run_id)
        digest = hashlib.sha256()
        for block in blocks_of(manifest.path):
            digest.update(block)
    gone.start()
    return seconds, digest.hexdigest() == sha256 == manifest.sha256


def _arrivals(cluster: Cluster, files: int, machines: Sequence[Machine]) -> float:
    """Import files for 20 accounts through the inbox with these workers; returns the seconds."""
    for machine in cluster.machines:
        if machine not in machines:
            machine.kill()
        elif machine.process is None:
            machine.start()
    prefix = len(machines)
    with RecordStore(cluster.settings) as store:
        for number in range(files):
            account = f"in{prefix}-{number % _ACCOUNTS}"
            store.add_account(account, "benchmark")
            lands(store, f"{number}.csv", [contact(number * 1000 + it) for it in range(1000)], f"{account}/contacts")
        take(store)
        bundles = inbox_of(store).bundles()
    began = time.monotonic()
    launched = [cluster.launch("import_arrivals", {"bundle": bundle}) for bundle in bundles]
    for run_id, result in launched:
        assert result.result(7200), cluster.messages(run_id)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
