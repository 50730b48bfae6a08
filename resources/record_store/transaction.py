"""Reading and writing a store: every change of the lake and of its ledger is one transaction under the write lock."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import duckdb

from resources.clock import Clock
from resources.file_storage import FileStorage, kept
from resources.record_store import lake_files, ledger
from resources.record_store.catalog import catalog_of
from resources.record_store.databases import Databases
from resources.record_store.identity import require_one_store, state_of
from resources.record_store.lake import Connection, Lake
from resources.record_store.pending_files import PendingFiles
from resources.record_store.refusals import not_ready
from resources.record_store.second_names import SecondNames
from resources.record_store.store_mark import Mark, StoreMark, Writing
from resources.record_store.timekeeper import Timekeeper
from resources.record_store.write_lock import WriteLock
from resources.settings import Settings
from schemas.batches import Batch
from schemas.errors import RecordsError
from schemas.files import StoredFile
from schemas.location import Location

_SKEW = timedelta(minutes=1)
"""How far the clock of a file system or an object store may be behind another one."""


@dataclass
class Transaction:
    """A transaction on the lake, under the write lock.

    `seq` is the number of the next ledger row, `at` the time of all its rows; `snapshot` is the one
    that it made, once it is committed. `batches` are those that it has told of, in their new states.
    """

    connection: Connection
    seq: int
    at: datetime
    snapshot: int | None = None
    batches: list[Batch] = field(default_factory=list)

    def append(self, write: Callable[..., None], *values: Any) -> None:
        """Write a row of the ledger with the next number."""
        write(self.connection, self.seq, *values)
        self.batches += [value for value in values if isinstance(value, Batch)]
        self.seq += 1

    def write_down(self, files: Iterable[StoredFile]) -> None:
        """Tell the ledger of files."""
        for file in files:
            self.append(ledger.append_file, self.at, file)


class TransactionalStore:
    """The catalog and the data that the settings name. A context manager; for one thread.

    What it opens is closed with it, unless a process that opens many stores gives the databases that it keeps.
    Writing takes the write lock around each transaction; reading takes none, and cannot write.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, databases: Databases | None = None) -> None:
        self.settings = settings
        self._catalog = catalog_of(settings)
        self.clock = clock or self._catalog.clock()
        self.write_lock = self._catalog.lock()
        self._projection = self._catalog.projection(settings.rollback_window)
        self._lake = Lake(settings, self._catalog, databases or Databases())
        self.files = FileStorage(settings.scratch)
        self._mark = StoreMark(settings.data)
        self._pending = PendingFiles(settings.data, self.files)
        self._second_names = SecondNames(settings)
        self._is_one_store = False
        self._times = Timekeeper(self.clock, settings.scratch)

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._lake.close()

    @property
    def exists(self) -> bool:
        """Whether `initialise` has been called for these settings, by anyone."""
        return self._catalog.exists()

    def lock(self, name: str, seconds: float) -> WriteLock:
        """A lock of that name, for who is to be alone with something; raises StoreBusy after so many seconds."""
        return self._catalog.named_lock(name, seconds)

    def now(self) -> datetime:
        """The time that counts now: see `time`."""
        with self.reading() as connection:
            return self.time(connection)

    def time(self, connection: Connection) -> datetime:
        """The time that counts, of the catalog's server or this machine: see `Timekeeper.now`."""
        return self._times.now(ledger.newest(connection)[1], self._mark.read())

    def lived(self) -> datetime:
        """The time by which what is past its days is given up: see `Timekeeper.lived`."""
        with self.reading() as connection:
            return self._times.lived(ledger.newest(connection)[1], self._mark.read())

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While something else is done, the store is made ready to be read; what is not there stays so."""
        if not self.exists:
            yield
            return
        with self._lake.opening():
            yield

    @contextmanager
    def reading(self, snapshot: int | None = None) -> Iterator[Connection]:
        """A connection that can read the lake, as of a snapshot when one is given, and cannot write it.

        Raises what `require_one_store` raises.
        """
        if not self.exists:
            raise not_ready(self.settings)
        with self._lake.attached(read_only=True, snapshot=snapshot) as connection:
            if not self._is_one_store:
                self._require_one_store(connection)
            yield connection

    @contextmanager
    def reading_whole(
        self, snapshot: int, record_type: str, account: str, snapshots: Collection[int]
    ) -> Iterator[Connection]:
        """The same, of files that have been compared: those that snapshots need of an account's records of a type.

        Raises DamagedFile for a file that is missing or differs.
        """
        with self.reading() as connection:  # of now: checksums may be younger than the snapshot
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
        writes: Sequence[str] = lake_files.EVERYWHERE,
        apart: bool = False,
    ) -> Iterator[Transaction]:
        """A transaction under the write lock: all of it is committed, or nothing.

        The commit bears the message and the actor, and names the batch whose records it writes. Every file that it
        makes is on the disk, and known to the ledger with its checksum, before it commits.

        writes: patterns of the files that may be made; none for rows of the ledger alone. account: whose they are.
        apart: checksums are written down by a commit of their own, and until then in a file. DuckLake 1.0 neither
        compacts files and writes rows in one commit, nor finds a table in earlier snapshots where the one that made it
        has inlined rows (found here).
        """
        if not self.exists:
            raise not_ready(self.settings)
        with self.write_lock, self._lake.attached() as connection:
            mark = self._require_one_store(connection)
            data, seen = self.settings.data, self._times.observe(mark)
            if writes:
                # Before a file is made, so that what a killed process leaves behind is known to be this store's.
                self._mark.write(replace(mark, writing=self._writing(mark, writes)))
            before = lake_files.lying(data, writes)
            connection.execute("BEGIN")
            seq, newest = ledger.newest(connection)
            transaction = Transaction(connection, seq + 1, self._times.now(newest, mark))
            if mark.writing is not None:
                self._second_names.put_back()
            known = self._unfinished(connection, mark)
            yield transaction
            lake_files.compare_read(connection, data)
            made = lake_files.lying(data, writes) - before
            self._second_names.give(made)
            known += lake_files.written(connection, data, made, account, batch_id)
            if apart and known:
                self._pending.save(known)
            else:
                transaction.write_down(known)
            try:
                self._commit(transaction, message, actor, batch_id)
            except BaseException:
                self._second_names.put_back()
                raise
            self._second_names.take_away()
            if apart and known:
                connection.execute("BEGIN")
                transaction.write_down(known)
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
        """A transaction on DuckLake's own tables, under the write lock; the lake cannot be changed in the same one."""
        with self.write_lock, self._lake.attached() as connection:
            self._require_one_store(connection)
            connection.execute("BEGIN")
            yield connection
            self._execute_commit(connection)

    def _commit(self, transaction: Transaction, message: str, actor: str, batch_id: str | None = None) -> None:
        connection = transaction.connection
        extra = json.dumps({} if batch_id is None else {"batch_id": batch_id})
        connection.execute("CALL lake.set_commit_message(?, ?, extra_info => ?)", [actor, message, extra])
        self._execute_commit(connection)
        (transaction.snapshot,) = connection.fetch_one("SELECT id FROM ducklake_last_committed_snapshot('lake')")

    def _execute_commit(self, connection: Connection) -> None:
        self.write_lock.prove()
        try:
            connection.execute("COMMIT")
        except duckdb.Error as error:
            raise self._catalog.commit_error(error) from None

    def _require_one_store(self, connection: Connection) -> Mark:
        mark = self._mark.read()
        mark = require_one_store(self.settings, mark, state_of(connection))
        if not self._is_one_store:
            lake_files.compare_descriptions(connection, self.settings.data)
            self._is_one_store = True
        return mark

    def _writing(self, mark: Mark, writes: Sequence[str]) -> Writing:
        """The transaction that begins, and those before it that did not end."""
        since = self._times.of_files()
        if mark.writing is None:
            return Writing(tuple(writes), since)
        return Writing(tuple({*writes, *mark.writing.patterns}), min(since, mark.writing.since))

    def _unfinished(self, connection: Connection, mark: Mark) -> list[StoredFile]:
        """The files of a writer that was killed before it had written them down, or before it had committed them."""
        if mark.writing is None:
            return []
        data, since = self.settings.data, mark.writing.since - _SKEW
        young = {path for path in lake_files.lying(data, mark.writing.patterns) if _written_at(data / path) >= since}
        return lake_files.unlisted(connection, data, young)

    def _advance(self, mark: Mark, snapshot: int | None) -> None:
        """The mark names the newest snapshot. One that stays behind refuses nothing, and what was committed stands."""
        with suppress(OSError, RecordsError):
            self._mark.write(replace(mark, snapshot=max(mark.snapshot, snapshot or 0)), flushed=False)


def _written_at(place: Location) -> datetime:
    return kept(place).at or datetime.max.replace(tzinfo=UTC)
