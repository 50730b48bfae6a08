"""A file of the store is damaged: a reader reports it and names it, or ends with right values."""

import csv
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from resources.export_writer import ExportWriter
from resources.record_store import RecordStore
from schemas.exports import ExportRequest
from tests.faults.harness import actions
from tests.faults.harness.actions import Place, named, opened
from tests.faults.harness.shim import Orders
from tests.faults.harness.testbed import Fault, Testbed, require

Operation = Callable[[RecordStore, Place], Any]

_BLOCK = 256
_ID = re.compile("[bre]-[0-9]{8}-")


def flip(content: bytes, chance: random.Random, _: bytes) -> bytes:
    """Change one bit; every second time in the first third, where Parquet has the values."""
    place = chance.randrange(len(content) // chance.choice((1, 3)) or 1)
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def cut_off(content: bytes, chance: random.Random, _: bytes) -> bytes:
    """Remove the end."""
    return content[: chance.randrange(len(content))]


def zero(content: bytes, chance: random.Random, _: bytes) -> bytes:
    """Overwrite a block with zeros."""
    place = chance.randrange(max(1, len(content) - _BLOCK))
    return content[:place] + bytes(min(_BLOCK, len(content) - place)) + content[place + _BLOCK :]


def another(_: bytes, chance: random.Random, other: bytes) -> bytes:
    """Return another file of the same kind."""
    return other


_DAMAGES = (flip, flip, cut_off, zero, another)


def exported(file_format: str, store: RecordStore, place: Place) -> Any:
    """Export all records of both accounts; returns the rows."""
    rows = []
    for account in actions.ACCOUNTS:
        manifest = ExportWriter(store, "tester").export(ExportRequest(account, "contacts", format=file_format))
        with store.files.fetched(manifest.path) as path:
            if file_format == "parquet":
                rows.append(pq.read_table(path).to_pylist())
            else:
                rows.append(list(csv.reader(path.read_text("utf-8").splitlines())))
    return rows


def shown(store: RecordStore, place: Place) -> Any:
    """Return the report of a preview."""
    report = store.account("ua").report(named(store, "waiting.csv").batch_id)
    return report.batch.counts, report.samples


def start_export(store: RecordStore, _: Place) -> str:
    """Start an export and make its parts, without finishing it; returns its id."""
    writer = ExportWriter(store, "tester")
    plan = writer.plan(ExportRequest("ua", "contacts", part_rows=20))
    for number in range(len(plan.parts)):
        writer.make_part(plan, number)
    return plan.export_id


def finish_export(store: RecordStore, place: Place) -> Any:
    """Finish the export that was started; returns its rows."""
    (plan,) = (place.root / "home/accounts/ua/exports").glob("*/plan.json")
    writer = ExportWriter(store, "tester")
    manifest = writer.finish(writer.load("ua", plan.parent.name))
    with store.files.fetched(manifest.path) as path:
        return list(csv.reader(path.read_text("utf-8").splitlines()))


def migrated(store: RecordStore, place: Place) -> Any:
    """Migrate the store; returns the files of the copy, without the catalog."""
    actions.migrate(store, place)
    root = place.root / "target"
    files = [path for folder in ("accounts", "lake") for path in (root / folder).rglob("*") if path.is_file()]
    return sorted((str(path.relative_to(root)), path.read_bytes()) for path in files)


OPERATIONS: dict[str, Operation] = {
    "export csv": partial(exported, "csv"),
    "export parquet": partial(exported, "parquet"),
    "commit": actions.commit_waiting,
    "rollback": actions.roll_back,
    "maintain": actions.maintain,
    "import": lambda store, place: actions.import_new(store, place) and None,
    "migrate": migrated,
    "show": shown,
    "finish": finish_export,
}
_WRITING = ("export csv", "export parquet", "commit", "rollback", "maintain", "import", "migrate")


@dataclass(frozen=True)
class Target:
    """A kind of file: where such files lie below a place, and which operations read them."""

    name: str
    pattern: str
    operations: tuple[str, ...]
    is_begun: bool = False
    """The files exist only after `start_export`."""


# A rejects file is missing here: a user may edit it, so nothing shows whether its bytes are damaged.
TARGETS = (
    Target("data file", "home/lake/records/contacts/_account=*/*.parquet", _WRITING),
    Target("delete file", "home/lake/records/contacts/*-delete.parquet", _WRITING),
    Target("record types", "home/lake/ledger/record_types/*.parquet", ("export csv", "import", "show", "migrate")),
    Target("staged records", "home/accounts/ua/staging/*/records.parquet", ("commit", "commit", "migrate")),
    Target("staged outcomes", "home/accounts/ua/staging/*/excluded.parquet", ("commit", "commit", "migrate")),
    Target("staged problems", "home/accounts/ua/staging/*/problems.parquet", ("show", "migrate")),
    Target("report", "home/accounts/ua/reports/*/report.html", ("migrate",)),
    Target("part", "home/accounts/ua/exports/*/parts/0?????", ("finish",), is_begun=True),
    Target("note of a part", "home/accounts/ua/exports/*/parts/*.json", ("finish",), is_begun=True),
    Target("plan", "home/accounts/ua/exports/*/plan.json", ("finish",), is_begun=True),
)


def damages(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Damage each kind of file in each way, then run an operation that reads it. A third are data files of the lake."""
    for number in range(count):
        target = TARGETS[0] if number % 3 == 0 else TARGETS[number % len(TARGETS)]
        operation, damage = chance.choice(target.operations), chance.choice(_DAMAGES)
        happens = partial(_happens, testbed, target, operation, damage, random.Random(chance.random()))
        yield Fault(f"{number}: {damage.__name__} of a {target.name}, then {operation}", happens)


def attempt(name: str, place: Place) -> Any:
    """Run an operation; returns its result."""
    with opened(place) as store:
        return OPERATIONS[name](store, place)


def _happens(
    testbed: Testbed, target: Target, operation: str, damage: Callable[..., bytes], chance: random.Random
) -> list[str]:
    right, after = _right(testbed, operation, target.is_begun)
    with testbed.copy() as (place, template):
        orders = Orders(eras=template.eras)
        if target.is_begun:
            require(testbed.call(actions.do, start_export, place, orders=orders))
        candidates = sorted(path for path in place.root.glob(target.pattern) if path.stat().st_size)
        file = chance.choice(candidates)
        content = file.read_bytes()
        others = [path for path in candidates if path != file] or sorted(place.root.glob("home/lake/**/*.parquet"))
        damaged = damage(content, chance, chance.choice(others).read_bytes())
        if damaged == content:
            return []
        file.write_bytes(damaged)
        outcome = testbed.call(attempt, operation, place, orders=orders)
        if not outcome.ended_well:
            return [] if _is_named(outcome.code, outcome.message, file) else [f"{file.name} is not named: {outcome}"]
        if outcome.value != right:
            return [f"ended well with other values ({file.name})"]
        if file.exists() and file.read_bytes() == damaged and operation in _WRITING[2:6]:
            file.write_bytes(content)
        state = testbed.call(actions.state, place, orders=orders)
        if operation not in _WRITING[2:6]:
            return []
        if not state.ended_well:
            return [f"ended well, and then the store: {state}"]
        return [] if state.value.records == after else [f"ended well, and has written other values ({file.name})"]


def _is_named(code: str, message: str, file: Path) -> bool:
    """Return whether an error of the project names the file, its batch or its export; for the lake the account too."""
    account = re.search("_account=([a-z]+)", str(file))
    names = [file.name, *(part for part in file.parts if _ID.match(part))]
    is_owner_named = account is None or re.search(rf"\b{account[1]}\b", message) is not None
    return bool(code) and any(name in message for name in names) and is_owner_named


def _right(testbed: Testbed, operation: str, is_begun: bool) -> tuple[Any, Any]:
    """Return the result of the operation without damage, and the records afterwards."""

    def make() -> tuple[Any, Any]:
        with testbed.copy() as (place, template):
            orders = Orders(eras=template.eras)
            if is_begun:
                require(testbed.call(actions.do, start_export, place, orders=orders))
            value = require(testbed.call(attempt, operation, place, orders=orders))
            return value, require(testbed.call(actions.state, place, orders=orders)).records

    return testbed.once((operation, is_begun), make)
