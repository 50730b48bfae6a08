"""Checks what must hold of a store after a fault, in a process of its own; each violation is a sentence."""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from resources.export_writer import ExportWriter
from resources.file_storage import is_local
from resources.record_store import RecordStore
from schemas.errors import RecordsError
from schemas.exports import ExportRequest
from tests.faults.harness import shim
from tests.faults.harness.actions import (
    ACCOUNTS,
    GAINED,
    Action,
    Place,
    State,
    import_next,
    is_closed,
    maintain,
    opened,
    state,
    state_of,
)
from tests.faults.harness.shim import Orders
from tests.inbox import kinds
from tests.timeline import execute_on_catalog

_FILES = """
SELECT t.table_name, s.path, t.path, f.path, f.file_size_bytes, f.kind, f.id, f.begin_snapshot, f.end_snapshot FROM (
    SELECT 'data' AS kind, data_file_id AS id, table_id, path, file_size_bytes, begin_snapshot, end_snapshot
    FROM ducklake_data_file
    UNION ALL SELECT 'delete', delete_file_id, table_id, path, file_size_bytes, begin_snapshot, end_snapshot
    FROM ducklake_delete_file
) f JOIN (SELECT DISTINCT table_id, schema_id, table_name, path FROM ducklake_table) t ON t.table_id = f.table_id
JOIN ducklake_schema s ON s.schema_id = t.schema_id ORDER BY f.kind, f.id
"""
_SCHEDULED = "SELECT path, data_file_id FROM ducklake_files_scheduled_for_deletion"
_DAY = 86400.0
_LATER = (0, 3, 10)
"""The days after which maintenance runs once more, each counted from the last."""

NOTE = "note: "
"""The start of a text that reports something other than a violation."""


class Findings(list[str]):
    """The violations that were found."""

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Record an exception as a finding."""
        try:
            yield
        except BaseException as error:
            kind = f"refused with {error.code}" if isinstance(error, RecordsError) else f"raised {type(error).__name__}"
            where = "" if isinstance(error, RecordsError) else f" ({_place(error)})"
            self.append(f"{what} {kind}: {' '.join(str(error).split())[:300]}{where}")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def verify(place: Place, before: State, after: State, orders: Orders, *, deep: bool) -> list[str]:
    """Return the violations of a store on its way from one state to another, which may be the same.

    If deep: an import, an export of everything, and maintenance must also succeed and change nothing else.
    Maintenance runs now, after three days and after ten more.
    """
    found = Findings()
    with found.during("the store"), opened(place) as store:
        now = state(place)
        found += differences(now, before, after)
        found += missing_files(store)
        found += [NOTE + text for text in scheduled_and_missing(store)]
        found += misplaced(store)
        found += damaged_exports(place, now)
    if deep and all(text.startswith(NOTE) for text in found):
        with found.during("afterwards"):
            found += go_on(place, orders, days=(0,) if place.catalog else _LATER)  # a server's clock cannot be set
    return found


def go_on(place: Place, orders: Orders, *, days: tuple[float, ...]) -> list[str]:
    """Use the store: export everything, import, and run maintenance later. Returns the violations."""
    found = Findings()
    with opened(place) as store:
        for account in ACCOUNTS:
            with found.during(f"the export of {account}"):
                found += wrong_export(store, account)
        # otherwise the store's type has a field that this code's type lacks
        if GAINED not in store.record_type("contacts").field_names:
            with found.during("the next import"):
                import_next(store, place)
        records = state_of(store).records
    eras = tuple(orders.eras)
    for later in days:
        last = eras[-1][1] if eras else 0.0
        eras = (*eras, (time.time(), last + later * _DAY))[-8:]
        shim.give(Orders(eras=eras))
        with found.during(f"maintenance after {later:.0f} days"), opened(place) as store:
            maintain(store, place)
            if state_of(store).records != records:
                found.append(f"maintenance after {later:.0f} days has changed records")
            found += missing_files(store)
    with found.during("the last export"), opened(place) as store:
        for account in ACCOUNTS:
            found += wrong_export(store, account)
    return found


def differences(now: State, before: State, after: State) -> list[str]:
    """Return where a store's state is neither the one before nor the one after; a change must be whole or absent."""
    found = []
    landed = []
    for name in before.statuses.keys() | after.statuses.keys() | now.statuses.keys():
        old, new, status = (it.statuses.get(name) for it in (before, after, now))
        allowed = {old, new}
        if old is None:
            allowed |= {"previewed", "discarded"}
        if status not in allowed:
            found.append(f"{name} is {status}, and was {old} on its way to {new}")
        if new in ("committed", "rolled_back") and old != new:
            landed.append(status == new)
    for account in now.records.keys() | before.records.keys() | after.records.keys():
        records, old_records, new_records = (it.records.get(account) for it in (now, before, after))
        expected = new_records if landed and all(landed) else old_records
        if old_records is None and new_records is not None:  # a store that is being made
            expected = records if records in (None, [], new_records) else new_records
        has_grown = not landed and records == new_records  # no batch belongs to a type that gains a field
        if records != expected and not has_grown:
            found.append(f"the records of {account} are {_compared(records or [], expected or [])}")
        for row in records or []:
            if row["_batch"].startswith("unknown"):
                found.append(f"{row['external_id']} of {account} bears an {row['_batch']}")
    if len(set(landed)) > 1:
        found.append("a part of what was being done is there")
    lost = {Path(path).parent.name for path in before.exports} - {Path(path).parent.name for path in now.exports}
    found += [f"the ledger does not have the export {export_id}" for export_id in sorted(lost)]
    return found


def _compared(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> str:
    ours, theirs = ({row["external_id"]: row for row in rows} for rows in (found, expected))
    lost, more = len(theirs.keys() - ours.keys()), len(ours.keys() - theirs.keys())
    other = sum(theirs.get(key, row) != row for key, row in ours.items())
    return f"others: {lost} lost, {more} too many, {other} with other values, {len(found) - len(ours)} twice"


def missing_files(store: RecordStore) -> list[str]:
    """Return the catalog's files, of any snapshot, that are missing on the disk or differ: table and row."""
    if not is_local(store.settings.lake):
        return []
    found = []
    for table, schema_path, table_path, path, size, kind, number, begin, end in _rows(store, _FILES):
        file = store.settings.lake / schema_path / table_path / path
        if not file.exists():
            what = "the disk lacks"
        elif file.stat().st_size != size:
            what = f"has {file.stat().st_size} bytes of {size}"
        elif (why := _unreadable(file)) is not None:
            what = f"cannot be read ({why})"
        else:
            continue
        found.append(f"ducklake_{kind}_file {number} of {table} (snapshots {begin} to {end}, {path}): {what} that file")
    return found


def scheduled_and_missing(store: RecordStore) -> list[str]:
    """Return the files that the catalog lists for removal and that are gone already. They are notes, not violations."""
    if not is_local(store.settings.lake):
        return []
    return [
        f"ducklake_files_scheduled_for_deletion, data_file_id {number}: {path} is gone already"
        for path, number in _rows(store, _SCHEDULED)
        if not (store.settings.lake / path).exists()
    ]


def _rows(store: RecordStore, query: str) -> list[Any]:
    return execute_on_catalog(store.settings, query)


def _unreadable(file: Path) -> str | None:
    try:
        pq.ParquetFile(file).read()
    except Exception as error:
        return type(error).__name__
    return None


def misplaced(store: RecordStore) -> list[str]:
    """Return the arrived files that do not lie in exactly one place."""
    if not is_local(store.settings.data):
        return []
    where = kinds(store)
    names = ("old-arrival.csv", "good.csv", "bad.csv", "lost.csv")
    return [f"{name} lies in {where.get(name, [])}" for name in names if len(where.get(name, [])) != 1]


def damaged_exports(place: Place, now: State) -> list[str]:
    """Return the ledger's exports with missing or changed files. A copy's ledger names the original's paths."""
    found = []
    for named, sha256 in now.exports.items():
        path = place.root / "home" / named.partition("/home/")[2]
        if not named.startswith("s3://"):
            if not path.exists():
                found.append(f"the file of the export {path.parent.name} is missing")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                found.append(f"the export {path.parent.name} has other bytes than the ledger says")
    return found


def wrong_export(store: RecordStore, account: str) -> list[str]:
    """Export all records of an account. Returns where the export differs from the store."""
    manifest = ExportWriter(store, "tester").export(ExportRequest(account, "contacts", format="parquet", path=None))
    found = []
    with store.files.fetched(manifest.path) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != manifest.sha256:
            found.append(f"the export of {account} has other bytes than its manifest says")
        exported = pq.read_table(path).to_pylist()
    expected = (
        [{name: row[name] for name in exported[0]} for row in state_of(store).records[account]] if exported else []
    )
    if exported != expected:
        found.append(f"the export of {account} is not what the store holds")
    return found


def records_of_closed_batches(now: State) -> list[str]:
    """Return the records that bear a batch which is not committed."""
    return [
        f"{row['external_id']} of {account} is as {row['_batch']} left it, which is {now.statuses[name]}"
        for account, rows in now.records.items()
        for row in rows
        if is_closed(now.statuses.get(name := f"{account}/{row['_batch']}", ""))
    ]


def check_all(place: Place, orders: Orders, *checks: Callable[[RecordStore, Place], list[str]]) -> list[str]:
    """Return what the checks find."""
    found = Findings()
    with found.during("the store"), opened(place) as store:
        for check in checks:
            found += check(store, place)
    return found


def done_well(action: Action, place: Place) -> State:
    """Perform the action; returns the store's state afterwards."""
    with opened(place) as store:
        action(store, place)
        return state_of(store)
