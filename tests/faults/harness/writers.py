"""Several processes import, roll back, export and run maintenance at once. A model checks every answer at the end."""

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
from tests.faults.harness.checks import Findings, missing_files
from tests.faults.harness.testbed import Fault, Testbed
from tests.records import contact, contacts_of, stored, write_csv

_FULL_SECONDS, _FULL = 100.0, 3
_SETTINGS = ("laptop", "postgres", "objects")

Records = Mapping[str, str]
"""The company of each contact, by its id."""


@dataclass
class Answers:
    """The answers that one writer got: its records after each commit, its batches, its exports, and what failed."""

    states: list[tuple[int, Records]] = field(default_factory=list)
    exports: list[tuple[int, Records]] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    """The status of each of its batches."""
    found: list[str] = field(default_factory=list)
    done: int = 0


def writers(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Run three writers on each kind of store."""
    seconds = _FULL_SECONDS if count >= _FULL else 5.0
    for setting in _SETTINGS[: max(1, count)]:
        seed = chance.random()
        yield Fault(f"3 writers on {setting} for {seconds:.0f} s", partial(_happens, testbed, setting, seconds, seed))


def _happens(testbed: Testbed, setting: str, seconds: float, seed: float) -> list[str]:
    with testbed.copy(setting) as (place, _):
        environment = testbed.environment(place)
        names = ("a", "b", "c")
        with ThreadPoolExecutor(len(names)) as threads:
            running = [
                threads.submit(
                    partial(testbed.workers.call, environment=environment, seconds=seconds + 120),
                    *(write, place, name, seconds, f"{seed} {name}"),
                )
                for name in names
            ]
            outcomes = [each.result() for each in running]
        found = [f"a writer: {outcome}" for outcome in outcomes if not outcome.ended_well]
        answers: dict[str, Answers] = {
            name: outcome.value for name, outcome in zip(names, outcomes, strict=True) if outcome.ended_well
        }
        for each in answers.values():
            found += each.found
        if not found:
            found += testbed.findings(partial(agree, answers), place)
        return found


def write(place: Place, name: str, seconds: float, seed: str) -> Answers:
    """Write records with ids that begin with the writer's name, until the time is over. Returns the answers."""
    chance, answers, until = random.Random(seed), Answers(), time.monotonic() + seconds
    mine: dict[str, str] = {}
    candidates: list[tuple[str, dict[str, str]]] = []
    with opened(place) as store:
        account = store.account("ua")
        while time.monotonic() < until:
            answers.done += 1
            act = chance.choices(("import", "rollback", "export", "maintain"), (5, 3, 2, 1))[0]
            try:
                if act == "import":
                    rows = {
                        f"{name}-{chance.randrange(30)}": f"{name} {answers.done}" for _ in range(chance.randint(1, 12))
                    }
                    path = place.files / f"{name}-{answers.done}.csv"
                    write_csv(path, [contact(0, external_id=key, company=value) for key, value in rows.items()])
                    imported = Importer(store, name).import_file(contacts_of(path))
                    candidates.append((imported.batch.batch_id, dict(mine)))
                    mine |= rows
                    answers.statuses[imported.batch.batch_id] = "committed"
                    answers.states.append((imported.snapshot or 0, dict(mine)))
                elif act == "rollback" and candidates:
                    batch_id, before = candidates.pop()
                    done = account.roll_back(RollbackRequest("ua", batch_id, OnModified.STOP), name, None)
                    mine = before
                    answers.statuses[batch_id] = "rolled_back"
                    answers.states.append((done.snapshot or 0, dict(mine)))
                elif act == "export":
                    request = ExportRequest("ua", "contacts", columns=("external_id", "company"), format="parquet")
                    manifest = ExportWriter(store, name).export(request)
                    with store.files.fetched(manifest.path) as file:
                        rows = {row["external_id"]: row["company"] for row in pq.read_table(file).to_pylist()}
                    answers.exports.append((manifest.snapshot, rows))
                elif act == "maintain":
                    Maintenance(store, name).maintain()
            except RecordsError as error:
                answers.found.append(f"{act} by {name} was refused with {error.code}: {str(error)[:200]}")
                break
            except Exception as error:
                answers.found.append(
                    f"{act} by {name} raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
                )
                break
    return answers


def agree(answers: Mapping[str, Answers], place: Place) -> list[str]:
    """Return where the store or an export differs from what the writers' answers said."""
    found = Findings()
    with found.during("the store"), opened(place) as store:
        found += missing_files(store)
        records = {row["external_id"]: row["company"] for row in stored(store)}
        statuses = {batch.batch_id: batch for batch in store.batches()}
        for name, each in answers.items():
            mine = each.states[-1][1] if each.states else {}
            if _of(name, records) != mine:
                found.append(f"the records of {name} are not what its answers said")
            for batch_id, status in each.statuses.items():
                batch = statuses.get(batch_id)
                if batch is None or batch.status.value != status:
                    found.append(f"{batch_id} is {batch and batch.status.value}, and its writer got {status}")
        for batch in statuses.values():
            if batch.counts.read != batch.counts.accounted:
                found.append(f"{batch.batch_id} does not balance")
            is_known = any(batch.batch_id in each.statuses for each in answers.values())
            if batch.file_name[:2] in ("a-", "b-", "c-") and batch.status is BatchStatus.COMMITTED and not is_known:
                found.append(f"{batch.batch_id} is committed, and no writer got that answer")
        for exporter in answers.values():
            for snapshot, rows in exporter.exports:
                for name, each in answers.items():
                    then = [state for at, state in each.states if at <= snapshot]
                    if _of(name, rows) != (then[-1] if then else {}):
                        found.append(f"an export of snapshot {snapshot} has other records of {name}")
    return found


def _of(name: str, records: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in records.items() if key.startswith(f"{name}-")}
