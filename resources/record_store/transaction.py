"""Reads and writes a store. Every change of the lake and its ledger is one transaction under the write lock."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb

from resources.checksums import Checksums
from resources.clock import Clock
from resources.file_storage import FileStorage, usage
from resources.measurements import Measurements
from resources.record_store import lake_files, ledger, ledger_files
from resources.record_store.catalog import catalog_of
from resources.record_store.databases import Databases
from resources.record_store.identity import require_one_store, state_of
from resources.record_store.lake import Connection, Lake
from resources.record_store.pending_files import PendingFiles
from resources.record_store.refusals import not_ready
from resources.record_store.second_names import SecondNames
from resources.record_store.snapshots import commit_info
from resources.record_store.store_format import FORMAT, require_format
from resources.record_store.store_mark import Mark, StoreMark, Writing
from resources.record_store.timekeeper import Timekeeper
from resources.record_store.write_lock import MeasuredLock, WriteLock
from resources.settings import Settings
from schemas.batches import Batch
from schemas.errors import RecordsError
from schemas.files import StoredFile
from schemas.location import Location
from schemas.record_type import RecordType

_SKEW = timedelta(minutes=1)
"""How far the clock of a file system or an object store may be behind."""

_MOST_PATTERNS = 8
"""How many patterns the mark names before it names all files instead. The mark has a fixed size."""


@dataclass
class Transaction:
    """A transaction on the lake, under the write lock.

    seq: the number of the next ledger row. at: the time of all its rows.
    snapshot: the snapshot that it made, after the commit.
    batches: the batches that it has recorded, in their new states.
    """

    connection: Connection
    seq: int
    at: datetime
    snapshot: int | None = None
    batches: list[Batch] = field(default_factory=list)

    @cached_property
    def record_types(self) -> dict[str, RecordType]:
        """Returns the record types by name, as they were when the transaction first needed them."""
        return ledger.record_types(self.connection)

    def append(self, write: Callable[..., None], *values: Any) -> None:
        """Write a row of the ledger with the next number."""
        write(self.connection, self.seq, *values)
        self.batches += [value for value in values if isinstance(value, Batch)]
        self.seq += 1

    def record_files(self, files: Iterable[StoredFile]) -> None:
        """Record files in the ledger."""
        listed = [*files]
        ledger_files.append_files(self.connection, self.seq, self.at, listed)
        self.seq += len(listed)


class TransactionalStore:
    """The catalog and the data that the settings name. A context manager, for one thread.

    It closes the databases that it has opened. A process that opens many stores can pass `databases` to keep them.
    Writing holds the write lock during each transaction. Reading holds no lock, and cannot write.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, databases: Databases | None = None) -> None:
        self.settings = settings
        self._catalog = catalog_of(settings)
        self.clock = clock or self._catalog.clock()
        self.measurements = Measurements(settings.home)
        self.write_lock: WriteLock = MeasuredLock(self._catalog.lock(), self.measurements)
        self._projection = self._catalog.projection(settings.rollback_window)
        self._lake = Lake(settings, self._catalog, databases or Databases())
        self.files = FileStorage(settings.scratch)
        self._mark = StoreMark(settings.data)
        self._pending = PendingFiles(settings.data, self.files)
        self._second_names = SecondNames(settings)
        self._is_one_store = False
        self._takes_older = False
        self._times = Timekeeper(self.clock, settings.scratch)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the databases."""
        self._lake.close()

    @property
    def exists(self) -> bool:
        """Returns whether the store was initialised, by this process or another."""
        return self._catalog.exists()

    def lock(self, name: str, seconds: float) -> WriteLock:
        """Returns a lock with this name. Taking it raises StoreBusy after so many seconds."""
        return self._catalog.named_lock(name, seconds)

    def folder_lock(self, folder: Path) -> AbstractContextManager[None]:
        """Returns a lock on a folder outside the store. Taking it raises StoreBusy after RECORDS_LOCK_SECONDS."""
        return self._catalog.folder_lock(folder)

    def now(self) -> datetime:
        """Returns the current time of the store: see `time`."""
        with self.reading() as connection:
            return self.time(connection)

    def time(self, connection: Connection) -> datetime:
        """Returns the current time, of the catalog's server or of this machine: see `Timekeeper.now`."""
        return self._times.now(ledger.newest(connection)[1], self._mark.read())

    def last_row(self) -> int:
        """Returns the number of the ledger's last row."""
        with self.reading() as connection:
            return ledger.newest(connection)[0]

    def retention_time(self) -> datetime:
        """Returns the time by which retention is measured: see `Timekeeper.retention_time`."""
        with self.reading() as connection:
            return self._times.retention_time(ledger.newest(connection)[1], self._mark.read())

    def operation(self, checksums: Checksums | None = None) -> AbstractContextManager[Checksums]:
        """Begins an operation, which compares each file once. Yields the checksums that it has read.

        The next operation compares the file again. Without this, each reading and each transaction is an operation.
        checksums: those that the operation has read before, with another store.
        """
        return self._lake.operation(checksums)

    @contextmanager
    def taking_older(self) -> Iterator[None]:
        """Take a store of an older format meanwhile. For a backup, which needs no newer table, and for `initialise`."""
        self._takes_older = True
        try:
            yield
        finally:
            self._takes_older = False

    @contextmanager
    def reading(self, snapshot: int | None = None) -> Iterator[Connection]:
        """Opens a connection that reads the lake, as of a snapshot if one is given, and cannot write it.

        Raises what `require_one_store` raises, and OtherFormat for a store of another format.
        """
        if not self.exists:
            raise not_ready(self.settings)
        with self._lake.attached(read_only=True, snapshot=snapshot) as connection:
            if not self._is_one_store:
                self._require_one_store(connection)
            yield connection

    @contextmanager
    def examining(self, snapshot: int | None = None) -> Iterator[Connection]:
        """Opens a connection as `reading` does, in a transaction: all that it reads is of one snapshot.

        It does not compare the descriptions of the record types first: a check compares all files itself. It takes
        stores of older formats too.
        """
        if not self.exists:
            raise not_ready(self.settings)
        with self._lake.attached(read_only=True, snapshot=snapshot) as connection:
            require_one_store(self.settings, self._mark.read(), state_of(connection))
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def reading_whole(
        self, snapshot: int, record_type: str, account: str, snapshots: Collection[int]
    ) -> Iterator[Connection]:
        """Opens a connection as `reading` does, after comparing the files that snapshots need of an account's records.

        Raises DamagedFile for a file that is missing or differs.
        """
        with self.operation():
            with self.reading() as connection:  # of now, because checksums may be newer than the snapshot
                paths = lake_files.needed_by(connection, snapshots, record_type, account)
                lake_files.compare(connection, self.settings.data, paths)
            with self.reading(snapshot) as connection:
                yield connection
            if connection.objects is not None:
                with self.reading() as now:
                    lake_files.compare_read(now, self.settings.data)

    @contextmanager
    def transaction(
        self,
        message: str,
        actor: str,
        batch_id: str | None = None,
        *,
        account: str | None = None,
        writes: Sequence[str] | Callable[[Connection], Sequence[str]] = lake_files.EVERYWHERE,
        apart: bool = False,
    ) -> Iterator[Transaction]:
        """Begins a transaction under the write lock. It is committed at the end, or rolled back on an error.

        The commit has the message and the actor. It names the batch if it writes records. Before the commit, every file
        that the transaction made is flushed, and recorded with its checksum.

        writes: patterns of the files that it may make, or a function that finds them; none if it writes rows of the
        ledger only.
        account: the owner of these files.
        apart: record the checksums in a commit of their own, and keep them in a file until then. DuckLake 1.0 cannot
        compact files and write rows in one commit. If a snapshot creates a table and has inlined rows, DuckLake does
        not find that table in earlier snapshots (found here).
        """
        if not self.exists:
            raise not_ready(self.settings)
        with self.write_lock, self._lake.attached() as connection:
            mark = self._require_one_store(connection)
            data, seen = self.settings.data, self._times.observe(mark)
            patterns = writes(connection) if callable(writes) else writes
            if patterns:
                # This comes before any file is made. So a killed process leaves a mark that its files are this store's.
                self._mark.write(replace(mark, writing=self._writing(mark, patterns)))
            if mark.writing is not None:
                self._second_names.restore()
            before = lake_files.existing(data, patterns)
            connection.execute("BEGIN")
            seq, newest = ledger.newest(connection)
            transaction = Transaction(connection, seq + 1, self._times.now(newest, mark))
            known = self._unfinished(connection, mark)
            try:
                yield transaction
            except BaseException:
                with suppress(Exception):  # the error of the caller counts; a mark that stays does no harm
                    if patterns and not lake_files.existing(data, patterns) - before:
                        self.write_lock.prove()  # without the lock it would be the mark of another writer
                        self._mark.write(mark, flushed=False)
                raise
            lake_files.compare_read(connection, data)
            made = lake_files.existing(data, patterns) - before
            self._second_names.add(made)
            known += lake_files.written(connection, data, made, account, batch_id)
            if apart and known:
                self._pending.save(known)
            else:
                transaction.record_files(known)
            try:
                self._commit(transaction, message, actor, batch_id)
            except BaseException:
                self._second_names.restore()
                raise
            self._second_names.remove()
            if apart and known:
                connection.execute("BEGIN")
                transaction.record_files(known)
                self._commit(transaction, f"{message}: checksums", actor)
                self._pending.clear()
            self._advance(replace(mark, writing=None, seen=seen), transaction.snapshot)
            if self._projection is not None and transaction.seq > seq + 1:
                self._projection.catch_up(
                    transaction.seq - 1,
                    lambda reached: (
                        transaction.batches if reached == seq else ledger.transitions_after(connection, reached)
                    ),
                )

    @contextmanager
    def catalog_change(self) -> Iterator[Connection]:
        """Begins a transaction on DuckLake's own tables, under the write lock. It cannot change the lake."""
        with self.write_lock, self._lake.attached() as connection:
            self._require_one_store(connection)
            connection.execute("BEGIN")
            yield connection
            self._execute_commit(connection)

    @contextmanager
    def rewriting(
        self,
        message: str,
        actor: str,
        account: str,
        writes: Sequence[str],
        record: Callable[[Transaction], None] | None = None,
    ) -> Iterator[Connection]:
        """Begins a transaction on DuckLake's own tables that replaces files of an account, under the write lock.

        The checksums of the new files are in `store-files.json` before the commit, and in the ledger after a second
        one. That commit makes a snapshot, so that no process uses statistics of the lake from before.

        writes: patterns of the files that it may make. record: adds rows of the ledger in the second commit.
        """
        with self.write_lock, self._lake.attached() as connection:
            mark, data = self._require_one_store(connection), self.settings.data
            if writes:
                self._mark.write(replace(mark, writing=self._writing(mark, writes)))
            if mark.writing is not None:
                self._second_names.restore()
            before = lake_files.existing(data, writes)
            connection.execute("BEGIN")
            known = self._unfinished(connection, mark)
            yield connection
            lake_files.compare_read(connection, data)
            made = lake_files.existing(data, writes) - before
            known += lake_files.written(connection, data, made, account, None)
            self._pending.save(known)
            self._execute_commit(connection)
            connection.execute("BEGIN")
            seq, newest = ledger.newest(connection)
            transaction = Transaction(connection, seq + 1, self._times.now(newest, mark))
            transaction.record_files(known)
            if record is not None:
                record(transaction)
            self._commit(transaction, message, actor)
            self._pending.clear()
            self._advance(replace(mark, writing=None, seen=self._times.observe(mark)), transaction.snapshot)

    def vacuum(self) -> tuple[str, ...]:
        """Write the catalog anew, so that its files have no byte of removed rows. Holds the write lock meanwhile.

        Returns what keeps such bytes nevertheless, as sentences. Raises StoreBusy while other processes read.
        """
        self._lake.close()
        with self.write_lock:
            return self._catalog.vacuum()

    def rebuild_history(self) -> None:
        """Make the import history in PostgreSQL anew from the ledger, if there is one."""
        if self._projection is None:
            return
        with self.write_lock, self._lake.attached(read_only=True) as connection:
            last = ledger.newest(connection)[0]
            self._projection.rebuild(last, lambda: ledger.batches(connection))

    def _commit(self, transaction: Transaction, message: str, actor: str, batch_id: str | None = None) -> None:
        connection = transaction.connection
        values = [actor, message, commit_info(batch_id)]
        connection.execute("CALL lake.set_commit_message(?, ?, extra_info => ?)", values)
        self._execute_commit(connection)
        (transaction.snapshot,) = connection.fetch_one("SELECT id FROM ducklake_last_committed_snapshot('lake')")

    def _execute_commit(self, connection: Connection) -> None:
        self.write_lock.prove()
        try:
            connection.execute("COMMIT")
        except duckdb.Error as error:
            raise self._catalog.commit_error(error) from None

    def _require_one_store(self, connection: Connection) -> Mark:
        mark, catalog = self._mark.read(), state_of(connection)
        if catalog.has_ledger and not self._takes_older:
            require_format(self.settings, catalog.format)
        mark = require_one_store(self.settings, mark, catalog)
        if not self._is_one_store and catalog.format == FORMAT:
            lake_files.compare_descriptions(connection, self.settings.data)
            self._is_one_store = True
        return mark

    def _writing(self, mark: Mark, writes: Sequence[str]) -> Writing:
        """Returns the files that this transaction may make, with those of earlier transactions that were killed."""
        since = self._times.file_system_time()
        patterns = {*writes}
        if mark.writing is not None:
            patterns |= {*mark.writing.patterns}
            since = min(since, mark.writing.since)
        return Writing(tuple(patterns) if len(patterns) <= _MOST_PATTERNS else lake_files.EVERYWHERE, since)

    def _unfinished(self, connection: Connection, mark: Mark) -> list[StoredFile]:
        """Returns the files of a writer that was killed before it recorded or committed them."""
        if mark.writing is None:
            return []
        data, since = self.settings.data, mark.writing.since - _SKEW
        young = {path for path in lake_files.existing(data, mark.writing.patterns) if _written_at(data / path) >= since}
        return lake_files.unlisted(connection, data, young)

    def _advance(self, mark: Mark, snapshot: int | None) -> None:
        """Write the newest snapshot into the mark. Ignores errors, because an old number does no harm."""
        with suppress(OSError, RecordsError):
            self._mark.write(replace(mark, snapshot=max(mark.snapshot, snapshot or 0)), flushed=False)


def _written_at(place: Location) -> datetime:
    return usage(place).at or datetime.max.replace(tzinfo=UTC)
