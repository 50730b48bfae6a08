"""Several processes import, take back, export and keep house at once, beside a model: each answer holds at the end."""

import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus
from schemas.errors import RecordsError
from schemas.exports import ExportRequest
from schemas.rollbacks import OnModified, RollbackRequest
from tests.faults.harness.actions import Place, opened
from tests.faults.harness.bench import Bench, Fault
from tests.faults.harness.checks import Findings, missing_files
from tests.records import contact, contacts_of, stored, write_csv

_FULL_SECONDS, _FULL = 100.0, 3
_SETTINGS = ("laptop", "postgres", "objects")

Records = Mapping[str, str]
"""The company of each contact, by its id."""


@dataclass
class Told:
    """What one writer was told: its records after each of its commits, by snapshot; rows of exports; what failed."""

    states: list[tuple[int, Records]] = field(default_factory=list)
    exports: list[tuple[int, Records]] = field(default_factory=list)
    standing: dict[str, str] = field(default_factory=dict)
    """The status of each of its batches."""
    found: list[str] = field(default_factory=list)
    done: int = 0


def writers(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """On each kind of store: 3 writers for as long as a part of five minutes is, for so many of three."""
    seconds = _FULL_SECONDS if count >= _FULL else 5.0
    for setting in _SETTINGS[: max(1, count)]:
        seed = chance.random()
        yield Fault(f"3 writers on {setting} for {seconds:.0f} s", partial(_happens, bench, setting, seconds, seed))


def _happens(bench: Bench, setting: str, seconds: float, seed: float) -> list[str]:
    with bench.copy(setting) as (place, _):
        environment = bench.environment(place)
        names = ("a", "b", "c")
        with ThreadPoolExecutor(len(names)) as threads:
            running = [
                threads.submit(
                    partial(bench.crew.call, environment=environment, seconds=seconds + 120),
                    *(write, place, name, seconds, f"{seed} {name}"),
                )
                for name in names
            ]
            outcomes = [each.result() for each in running]
        found = [f"a writer: {outcome}" for outcome in outcomes if not outcome.ended_well]
        told: dict[str, Told] = {
            name: outcome.value for name, outcome in zip(names, outcomes, strict=True) if outcome.ended_well
        }
        for each in told.values():
            found += each.found
        if not found:
            found += bench.findings(partial(agree, told), place)
        return found


def write(place: Place, name: str, seconds: float, seed: str) -> Told:
    """One process that writes records of its own, whose ids begin with its name, until the time is over."""
    chance, told, until = random.Random(seed), Told(), time.monotonic() + seconds
    mine: dict[str, str] = {}
    undoable: list[tuple[str, dict[str, str]]] = []
    with opened(place) as store:
        account = store.account("ua")
        while time.monotonic() < until:
            told.done += 1
            act = chance.choices(("import", "rollback", "export", "maintain"), (5, 3, 2, 1))[0]
            try:
                if act == "import":
                    rows = {
                        f"{name}-{chance.randrange(30)}": f"{name} {told.done}" for _ in range(chance.randint(1, 12))
                    }
                    path = place.files / f"{name}-{told.done}.csv"
                    write_csv(path, [contact(0, external_id=key, company=value) for key, value in rows.items()])
                    report = Importer(store, name).import_file(contacts_of(path))
                    undoable.append((report.batch.batch_id, dict(mine)))
                    mine |= rows
                    told.standing[report.batch.batch_id] = "committed"
                    told.states.append((report.snapshot or 0, dict(mine)))
                elif act == "rollback" and undoable:
                    batch_id, before = undoable.pop()
                    taken = account.roll_back(RollbackRequest("ua", batch_id, OnModified.STOP), name, None)
                    mine = before
                    told.standing[batch_id] = "rolled_back"
                    told.states.append((taken.snapshot or 0, dict(mine)))
                elif act == "export":
                    request = ExportRequest("ua", "contacts", columns=("external_id", "company"), format="parquet")
                    manifest = ExportWriter(store, name).export(request)
                    with store.files.fetched(manifest.path) as file:
                        rows = {row["external_id"]: row["company"] for row in pq.read_table(file).to_pylist()}
                    told.exports.append((manifest.snapshot, rows))
                elif act == "maintain":
                    Maintenance(store, name).maintain()
            except RecordsError as error:
                told.found.append(f"{act} by {name} was refused with {error.code}: {str(error)[:200]}")
                break
            except Exception as error:
                told.found.append(
                    f"{act} by {name} raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
                )
                break
    return told


def agree(told: Mapping[str, Told], place: Place) -> list[str]:
    """What the store has otherwise than the writers were told, now and in each export."""
    found = Findings()
    with found.during("the store"), opened(place) as store:
        found += missing_files(store)
        records = {row["external_id"]: row["company"] for row in stored(store)}
        statuses = {batch.batch_id: batch for batch in store.batches()}
        for name, each in told.items():
            mine = each.states[-1][1] if each.states else {}
            if _of(name, records) != mine:
                found.append(f"the records of {name} are not what it was told")
            for batch_id, status in each.standing.items():
                batch = statuses.get(batch_id)
                if batch is None or batch.status.value != status:
                    found.append(f"{batch_id} is {batch and batch.status.value}, and its writer was told {status}")
        for batch in statuses.values():
            if batch.counts.read != batch.counts.accounted:
                found.append(f"{batch.batch_id} does not balance")
            is_known = any(batch.batch_id in each.standing for each in told.values())
            if batch.file_name[:2] in ("a-", "b-", "c-") and batch.status is BatchStatus.COMMITTED and not is_known:
                found.append(f"{batch.batch_id} is committed, and nobody was told")
        for exporter in told.values():
            for snapshot, rows in exporter.exports:
                for name, each in told.items():
                    then = [state for at, state in each.states if at <= snapshot]
                    if _of(name, rows) != (then[-1] if then else {}):
                        found.append(f"an export of snapshot {snapshot} has other records of {name}")
    return found


def _of(name: str, records: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in records.items() if key.startswith(f"{name}-")}
