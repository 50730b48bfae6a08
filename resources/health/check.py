"""`StoreCheck`: compares a whole store with itself. It changes nothing, and runs beside writers."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import duckdb

from resources.file_storage import entries, is_local, usage
from resources.health.arrived import foreign, misplaced
from resources.health.comparing import Comparison
from resources.health.inventory import Inventory, batch_of, is_partial, present_files, take_inventory
from resources.health.surroundings import lacking
from resources.importing.progress import Progress
from resources.record_store import RecordStore, examination, ledger, losses
from resources.record_store.catalog import catalog_of
from resources.record_store.lake import Connection
from resources.record_store.lake_files import LAKE
from resources.record_store.ledger_erasure import erasures
from resources.record_store.refusals import not_ready
from resources.record_store.snapshots import current_number, snapshots_of
from resources.record_store.store_mark import StoreMark, Writing
from resources.store_files import closed_folders, is_readable
from resources.upkeep.leftovers import UNKNOWN_FOR
from schemas.batches import STANDING, Batch, BatchStatus
from schemas.checks import CheckReport, Finding, Kind, listed
from schemas.counts import numbered
from schemas.erasure import ErasureStatus, Found, is_erased_since
from schemas.errors import (
    CatalogOutdated,
    DamagedFile,
    ForeignData,
    ImplausibleClock,
    OtherFormat,
    RecordsError,
    StoreBusy,
    StoreNotReady,
)

_SKEW = timedelta(minutes=1)
"""How far the clock of a file system may be behind."""
_ENDING = {OtherFormat: Kind.OTHER_FORMAT, DamagedFile: Kind.DAMAGED}
"""The kinds of errors with which nothing else can be checked. All others are `foreign`."""


class StoreCheck:
    """A check of a store, once.

    Another process may write meanwhile. So each file that seems wrong is looked at again, after the catalog and the
    ledger were read again. Wrong is only what is wrong then: a file that was needed before and is gone was retired.

    fast: compare names and sizes alone, and count no records.
    """

    def __init__(self, store: RecordStore, *, fast: bool = False) -> None:
        self._store = store
        self._settings = store.settings
        self._fast = fast
        self._findings: list[Finding] = []
        self._records = 0
        self._batches = 0

    def run(self, progress: Progress | None = None) -> CheckReport:
        """Check everything. `progress` gets the number of bytes that were read, and of all bytes.

        Raises StoreNotReady if there is no store, and StoreUnreachable if a server does not answer.
        """
        if not self._store.exists:
            raise not_ready(self._settings)
        started = time.monotonic()
        self._findings = [*lacking(self._settings, fast=self._fast)]
        try:
            if not self._fast:
                catalog_of(self._settings).require_whole()
            inventory = self._inventory()
        except (ForeignData, CatalogOutdated, DamagedFile, StoreNotReady) as error:
            self._findings.append(_end_of_check(error))
            return self._report(Comparison(self._settings.data, fast=self._fast), started)
        self._findings += self._older_format()
        total = sum(inventory.present[path].bytes for path in inventory.wanted.keys() & inventory.present.keys())
        comparison = Comparison(self._settings.data, fast=self._fast, progress=progress, total=total)
        damaged = self._compare(inventory, comparison)
        self._findings += damaged.values()
        self._findings += self._closed(inventory, damaged)
        self._findings += self._unknown(inventory)
        self._findings += self._arrivals(inventory)
        self._findings += self._leftovers(inventory)
        blind = [path for path in damaged if path.startswith(f"{LAKE}/ledger/")]
        if blind:
            sentence = f"The ledger is damaged, so it was not compared with the records: {listed(blind)}."
            self._findings.append(Finding(Kind.UNREADABLE, sentence, blind[0]))
            return self._report(comparison, started)
        self._part("The ledger", self._check_ledger)
        self._part("The erasures", self._check_erasures)
        self._part("The snapshots", self._check_snapshots)
        if not self._fast:
            touched = self._touched(inventory, damaged)
            for name in self._types():
                count = partial(self._count_records, record_type=name, left_out=touched[name])
                self._part(f"The records of {name}", count)
            self._count_batches(inventory, touched)
        return self._report(comparison, started)

    def _older_format(self) -> Iterator[Finding]:
        """Yield a note if an older program made the store. The check reads only what its format has."""
        try:
            self._store.require_format()
        except OtherFormat as error:
            yield Finding(Kind.OLDER_FORMAT, f"{error.message} To change it: records init.")

    def _report(self, comparison: Comparison, started: float) -> CheckReport:
        found = sorted(self._findings, key=lambda it: (not it.kind.is_wrong, it.path or "", it.sentence))
        return CheckReport(
            tuple(found),
            comparison.files,
            comparison.bytes,
            self._records,
            self._batches,
            self._fast,
            round(time.monotonic() - started, 3),
        )

    def _inventory(self) -> Inventory:
        present = present_files(self._settings)
        with self._store.examining() as connection:
            return take_inventory(self._settings, connection, present, self._now(connection))

    def _now(self, connection: Connection) -> datetime:
        try:
            return self._store.time(connection)
        except ImplausibleClock as error:
            self._findings.append(Finding(Kind.DEPLOYMENT, error.message))
            return self._store.clock.now()

    def _compare(self, inventory: Inventory, comparison: Comparison) -> dict[str, Finding]:
        """Return what is wrong with the files of the store, by path, also after a second look."""
        suspects = comparison.findings(inventory.wanted.values())
        if not suspects:
            return {}
        with self._store.examining() as connection:
            again = take_inventory(self._settings, connection, inventory.present, self._now(connection))
        second = Comparison(self._settings.data, fast=self._fast)
        return second.findings(again.wanted[path] for path in suspects.keys() & again.wanted.keys())

    def _closed(self, inventory: Inventory, damaged: Mapping[str, Finding]) -> Iterator[Finding]:
        """Yield the files and folders that this user may not read, except arriving files."""
        if not is_local(self._settings.data):
            return
        files = (it for it in inventory.present if it not in damaged and not it.startswith(f"{LAKE}/"))
        for path in (*closed_folders(self._settings), *files):
            if not is_readable(self._settings.data / path):
                sentence = f"{path} may not be read by this user, so backups lack it and erasures cannot search it."
                yield Finding(Kind.UNREADABLE, sentence, path)

    def _unknown(self, inventory: Inventory) -> Iterator[Finding]:
        """Yield the files of the lake that no snapshot needs. A transaction may be making some of them now."""
        mark = StoreMark(self._settings.data).read()
        writing = None if mark is None else mark.writing
        under_way = [path for path in inventory.unknown if _is_made_now(inventory, path, writing)]
        unknown = [path for path in inventory.unknown if path not in set(under_way)]
        if unknown:
            have = numbered(len(unknown), "file")
            sentence = f"The lake's folder has {have} that this store did not write: {listed(unknown)}."
            yield Finding(Kind.SUPERFLUOUS, f"{sentence} Nothing touches them.", unknown[0])
        if inventory.unneeded:
            sentence = f"No snapshot needs {numbered(len(inventory.unneeded), 'file')}: {listed(inventory.unneeded)}."
            yield Finding(Kind.SUPERFLUOUS, f"{sentence} records maintain removes them.", inventory.unneeded[0])
        if under_way:
            sentence = f"A writer makes {numbered(len(under_way), 'file')} now, or left them when it was ended."
            yield Finding(Kind.LEFTOVER, sentence, under_way[0])

    def _arrivals(self, inventory: Inventory) -> Iterator[Finding]:
        """Yield the arrived files that are not in exactly one place, also after a second look."""
        yield from foreign(inventory)
        first = misplaced(self._settings, inventory)
        if first:
            second = misplaced(self._settings, self._inventory())
            yield from (second[arrival] for arrival in first.keys() & second.keys())

    def _leftovers(self, inventory: Inventory) -> Iterator[Finding]:
        """Yield what ended processes have left. Maintenance removes it, after a day in which it may still be in use."""
        old = inventory.now - UNKNOWN_FOR
        groups = {
            "of files that were being made": [
                it for it in inventory.present.values() if is_partial(it.path) and it.put_at < old
            ],
            "of batches that the ledger does not have": [
                it
                for it in inventory.present.values()
                if (batch := batch_of(it.path)) is not None and batch not in inventory.batches and it.put_at < old
            ],
            "of a commit that was not confirmed": [
                it for it in inventory.present.values() if it.path.startswith("committing/") and it.put_at < old
            ],
        }
        for what, files in groups.items():
            if files:
                size = sum(file.bytes for file in files)
                sentence = f"There are {numbered(len(files), 'file')} {what}, with {size:,} bytes."
                yield Finding(Kind.LEFTOVER, f"{sentence} records maintain removes them.", files[0].path)
        for what, folder in (("temporary files", self._settings.scratch), ("uploads", self._settings.uploads)):
            places = [place for each in entries(folder) for place in (entries(each) if what == "uploads" else [each])]
            found = [usage(place) for place in places]
            left = [it for it in found if it.at is not None and it.at < old and it.bytes]
            if left:
                size = sum(it.bytes for it in left)
                yield Finding(Kind.LEFTOVER, f"There are {len(left):,} old {what}, with {size:,} bytes, in {folder}.")

    def _types(self) -> list[str]:
        names: list[str] = []
        self._part("The record types", lambda it: names.extend(ledger.record_types(it)))
        return names

    def _check_ledger(self, connection: Connection) -> None:
        """Find gaps in the numbers of the ledger's rows, and batches with counts that do not balance."""
        numbers = examination.numbers(connection)
        if numbers.missing:
            missing = ", ".join(f"{seq:,}" for seq in numbers.missing)
            self._findings.append(Finding(Kind.GAP, f"The ledger ends with row {numbers.last:,} and lacks {missing}."))
        if numbers.twice:
            twice = ", ".join(f"{seq:,}" for seq in numbers.twice)
            self._findings.append(Finding(Kind.GAP, f"The ledger has these rows twice: {twice}."))
        for batch in ledger.all_unbalanced(connection):
            counts = batch.counts
            sentence = f"Batch {batch.batch_id} has read {counts.read:,} records and accounts for {counts.accounted:,}."
            self._findings.append(Finding(Kind.UNBALANCED, sentence, None, batch.account, (batch.batch_id,)))
        for loss in losses.recorded(connection):
            sentence = f"{loss.path} was lost on {loss.at:%Y-%m-%d}, with {numbered(loss.records, 'record')}."
            self._findings.append(Finding(Kind.LOST, sentence, loss.path, loss.account, loss.batches))

    def _check_erasures(self, connection: Connection) -> None:
        """Find erasures that have begun and that no process completes now."""
        begun = [it for it in erasures(connection) if it.status is ErasureStatus.BEGUN]
        if begun:
            with suppress(StoreBusy), self._store.lock("erasure", 0.0):
                self._findings += [Finding(Kind.PENDING, it.message(), None, it.account) for it in begun]

    def _check_snapshots(self, connection: Connection) -> None:
        """Find batches that can be rolled back, and have lost the snapshot that their commit made."""
        now, window = self._now(connection), self._settings.rollback_window
        standing = [
            batch
            for batch in ledger.batches(connection, status=BatchStatus.COMMITTED)
            if not batch.is_over(now, window)
        ]
        kept = snapshots_of(connection, [batch.batch_id for batch in standing])
        for batch in standing:
            if batch.batch_id not in kept:
                sentence = f"Batch {batch.batch_id} can be rolled back, and its snapshot is gone."
                self._findings.append(Finding(Kind.SNAPSHOT, sentence, None, batch.account, (batch.batch_id,)))

    def _touched(self, inventory: Inventory, damaged: dict[str, Finding]) -> dict[str, set[str]]:
        """Return the accounts with damaged files, by record type: their records cannot be counted."""
        touched: dict[str, set[str]] = {name: set() for name in self._types()}
        for file in inventory.lake:
            if file.path in damaged and file.schema == "records" and file.account is not None:
                touched.setdefault(file.table, set()).add(file.account)
        return touched

    def _count_records(self, connection: Connection, record_type: str, left_out: set[str]) -> None:
        """Count the present records by account and batch, and compare them with the ledger and the catalog."""
        found, records = self._counted(connection, record_type, left_out)
        if found:  # files may have been merged between two reads
            with self._store.examining() as again:
                found, records = self._counted(again, record_type, left_out)
        self._findings += found
        self._records += records

    def _counted(self, connection: Connection, record_type: str, left_out: set[str]) -> tuple[list[Finding], int]:
        """Return what is wrong with the records of a type, and their number."""
        found: list[Finding] = []
        snapshot = current_number(connection)  # from here on, the transaction reads this one
        batches = {batch.batch_id: batch for batch in ledger.batches(connection, record_type=record_type)}
        counted: dict[str, int] = {}
        named = examination.counts_of_catalog(connection, record_type, snapshot)
        accounts = named.keys() - left_out if left_out else None
        for account, batch_id, number in examination.records_by_batch(connection, record_type, accounts):
            counted[account] = counted.get(account, 0) + number
            why = _why_unknown(batches.get(batch_id), account)
            if why is not None:
                records = numbered(number, "record")
                sentence = f"{records} of {record_type} of {account} name the batch {batch_id}, {why}."
                found.append(Finding(Kind.UNKNOWN_BATCH, sentence, None, account, (batch_id,)))
        for account, number in named.items():
            if account not in left_out and number != counted.get(account, 0):
                there = f"{counted.get(account, 0):,} {record_type} of {account}"
                sentence = f"There are {there}, and the catalog says {number:,}."
                found.append(Finding(Kind.COUNT, sentence, None, account))
        return found, sum(counted.values())

    def _count_batches(self, inventory: Inventory, touched: dict[str, set[str]]) -> None:
        """Count what each batch has written, in the snapshot that it made, as far as that is kept."""
        standing = [
            batch
            for batch in inventory.batches.values()
            if batch.status is BatchStatus.COMMITTED and batch.account not in touched.get(batch.record_type, ())
        ]
        with self._store.examining() as connection:
            snapshots = snapshots_of(connection, [batch.batch_id for batch in standing])
            changed = {batch_id for loss in losses.recorded(connection) for batch_id in loss.batches}
            erased = erasures(connection)
        changed |= {
            it.batch_id
            for it in standing
            if is_erased_since(erased, it.account, it.record_type, it.committed_at or it.at, [Found.RECORDS])
        }
        for batch in standing:
            if batch.batch_id in snapshots and batch.batch_id not in changed:
                self._part(f"The snapshot of {batch.batch_id}", self._counting(batch, snapshots[batch.batch_id]))

    def _counting(self, batch: Batch, snapshot: int) -> Callable[[Connection], None]:
        def count(connection: Connection) -> None:
            if batch.batch_id not in snapshots_of(connection, [batch.batch_id]):
                return  # it has expired meanwhile
            with self._store.examining(snapshot) as then:
                number = examination.written_by(then, batch.record_type, batch.account, batch.batch_id)
            self._batches += 1
            if number != batch.written:
                sentence = (
                    f"Batch {batch.batch_id} has written {number:,} records, and the ledger says {batch.written:,}."
                )
                self._findings.append(Finding(Kind.COUNT, sentence, None, batch.account, (batch.batch_id,)))

        return count

    def _part(self, what: str, examine: Callable[[Connection], None]) -> None:
        """Examine a part of the store. If its files cannot be read, that is a finding, and the other parts go on."""
        try:
            with self._store.examining() as connection:
                examine(connection)
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
            raise  # a defect
        except (DamagedFile, duckdb.Error) as error:
            why = error.message if isinstance(error, RecordsError) else f"{type(error).__name__} in DuckDB."
            self._findings.append(Finding(Kind.UNREADABLE, f"{what} cannot be read, so this was not checked. {why}"))


def _end_of_check(error: RecordsError) -> Finding:
    """Return the finding about a catalog with which nothing else can be checked, and what to do about it."""
    kind = next((kind for of, kind in _ENDING.items() if isinstance(error, of)), Kind.FOREIGN)
    advice = re.sub(r"^Nothing was [a-z ,]+\. ", "", error.hint)
    return Finding(kind, f"{error.message} Nothing else was checked. {advice}".strip())


def _why_unknown(batch: Batch | None, account: str) -> str | None:
    """Return why records cannot be as a batch has written them; None if they can."""
    if batch is None:
        return "which the ledger does not have"
    if batch.account != account:
        return f"which belongs to {batch.account}"
    if batch.status not in STANDING and batch.status is not BatchStatus.ROLLED_BACK:
        return f"which is {batch.status.value}"
    return None


def _is_made_now(inventory: Inventory, path: str, writing: Writing | None) -> bool:
    return writing is not None and inventory.present[path].put_at >= writing.since - _SKEW
