"""`RecordStore`: the store as a whole, and the transactions on it."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import duckdb

from resources.clock import Clock
from resources.file_storage import FileStorage, is_local, kept, make_folder
from resources.record_store import lake_files, ledger, tables
from resources.record_store.account_records import AccountRecords
from resources.record_store.catalog import catalog_of
from resources.record_store.databases import Databases
from resources.record_store.identity import (
    OutdatedCatalog,
    accept,
    claim,
    is_outdated,
    require_one_store,
    require_unclaimed,
    state_of,
)
from resources.record_store.lake import Connection, Lake
from resources.record_store.pending_files import PendingFiles
from resources.record_store.projection import Projection
from resources.record_store.refusals import (
    check_account,
    no_such_batch,
    not_ready,
)
from resources.record_store.second_names import SecondNames
from resources.record_store.selecting import known_type, require_account
from resources.record_store.snapshots import snapshots_of
from resources.record_store.store_mark import Mark, StoreMark, Writing
from resources.record_store.timekeeper import Timekeeper
from resources.record_store.write_lock import WriteLock
from resources.settings import Settings
from schemas.batches import Batch, BatchStatus, ImportReport
from schemas.errors import InvalidRequest, RecordsError
from schemas.exports import ExportManifest
from schemas.files import StoredFile
from schemas.location import Location
from schemas.record_type import RecordType

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


@dataclass(frozen=True)
class LedgerNews:
    """All accounts there are, and rows of the ledger: transitions of batches and exports, with their numbers."""

    accounts: list[str]
    rows: list[tuple[int, Batch | ExportManifest]]


class RecordStore:
    """The store that the settings name. A context manager; for one thread.

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

    def initialise(self, record_types: Iterable[RecordType]) -> list[str]:
        """The store exists and knows the record types; returns what was done, in sentences.

        A type that has gained fields which may be null gains the columns. Safe to repeat, and at once
        with others. Raises StoreNotReady when a type has changed in any other way, ForeignData when the data are of
        another store.
        """
        make_folder(self.settings.home)
        done = []
        with self.write_lock:
            if not self.exists:
                require_unclaimed(self.settings, self._mark.read())
            if is_local(self.settings.lake):
                make_folder(self.settings.lake)
            with self._lake.attached() as connection:
                tables.create_ledger(connection)
                claim(connection, self.settings, self._mark, self._times.observe(None))
                if self._projection is not None:
                    last = ledger.newest(connection)[0]
                    self._projection.rebuild(last, lambda: ledger.batches(connection))
            with self.transaction("prepare the store", "records", apart=True) as transaction:
                known = ledger.record_types(transaction.connection)
                for record_type in record_types:
                    before = known.get(record_type.name)
                    if before == record_type:
                        continue
                    if before is None:
                        tables.create_table(transaction.connection, record_type)
                        done.append(f"{record_type.name} is a new record type.")
                    else:
                        gained = tables.grow_table(transaction.connection, before, record_type)
                        done.append(f"{record_type.name} has gained {', '.join(gained) or 'no field'}.")
                    transaction.append(ledger.append_record_type, transaction.at, record_type)
            with self.transaction("write down checksums", "records", writes=()) as transaction:
                paths = [file.path for file in lake_files.named(transaction.connection)]
                unknown = set(paths) - ledger.files(transaction.connection, paths).keys()
                transaction.write_down(
                    lake_files.written(transaction.connection, self.settings.data, unknown, None, None)
                )
        return done

    def record_types(self) -> dict[str, RecordType]:
        """The record types that the store knows."""
        with self.reading() as connection:
            return ledger.record_types(connection)

    def record_type(self, name: str) -> RecordType:
        """The record type as the store knows it; NotFound names those there are."""
        with self.reading() as connection:
            return known_type(connection, name)

    def accounts(self) -> list[str]:
        """The accounts there are, by name."""
        with self.reading() as connection:
            return ledger.accounts(connection)

    def add_account(self, account: str, actor: str) -> bool:
        """The account exists; returns whether it is new. InvalidRequest for a name that cannot be one."""
        checked = check_account(account)
        with self.transaction(f"account {checked}", actor, writes=()) as transaction:
            if checked in ledger.accounts(transaction.connection):
                return False
            transaction.append(ledger.append_account, transaction.at, checked, actor)
            return True

    def grant_reader(self, account: str, role: str) -> bool:
        """The role of PostgreSQL reads the account's import history, and no other; returns whether that is new."""
        projection = self._projected()
        with self.reading() as connection:
            require_account(connection, account)
        return projection.grant(account, role)

    def revoke_reader(self, account: str, role: str) -> bool:
        """The role of PostgreSQL does not read the account's import history; returns whether it did."""
        projection = self._projected()
        with self.reading() as connection:
            require_account(connection, account)
        return projection.revoke(account, role)

    def catch_up(self) -> None:
        """The import history in PostgreSQL is as the ledger, though who wrote was killed before it was."""
        if self._projection is None:
            return
        with self.reading() as connection:
            last = ledger.newest(connection)[0]
            self._projection.catch_up(last, lambda reached: ledger.transitions_after(connection, reached))

    def account(self, account: str) -> AccountRecords:
        """The records and the history of one account, and nothing else."""
        return AccountRecords(self, check_account(account))

    def owner_of(self, batch_id: str) -> str:
        """The account of a batch, for an operator who gave none; NotFound when there is no such batch."""
        with self.reading() as connection:
            found = ledger.batches(connection, batch_id=batch_id)
        if not found:
            raise no_such_batch(batch_id)
        return found[0].account

    def batches(
        self,
        account: str | None = None,
        record_type: str | None = None,
        status: BatchStatus | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Batch]:
        """The batches in their present state, newest first."""
        with self.reading() as connection:
            return ledger.batches(
                connection, account=account, record_type=record_type, status=status, offset=offset, limit=limit
            )

    def arrivals(self, bundle: str) -> dict[str, Batch]:
        """The last batch of each file of a bundle that arrived, in its present state, by the arrival's id."""
        with self.reading() as connection:
            return ledger.arrivals(connection, bundle)

    def over(self) -> list[Batch]:
        """The batches whose time has ended and whose status does not say so yet."""
        with self.reading() as connection:
            return self._over(connection)

    def expire_batches(self, actor: str, run_id: str | None = None) -> list[Batch]:
        """Commits whose time has ended are expired and previews discarded; returns them in their new status."""
        if not self.over():
            return []
        with self.transaction("expire batches", actor, writes=()) as transaction:
            ended = []
            for batch in self._over(transaction.connection):
                is_preview = batch.status is BatchStatus.PREVIEWED
                status = BatchStatus.DISCARDED if is_preview else BatchStatus.EXPIRED
                ended.append(replace(batch, status=status, actor=actor, run_id=run_id, at=transaction.at))
                transaction.append(ledger.append_batch, ended[-1])
            return ended

    def unbalanced(self, record_type: str) -> list[Batch]:
        """The previewed and committed batches of a type whose records are not accounted for: there must be none."""
        with self.reading() as connection:
            return ledger.unbalanced(connection, record_type)

    def reports(self, batches: Sequence[Batch]) -> list[ImportReport]:
        """The batches with the snapshots they made, and their files."""
        with self.reading() as connection:
            snapshots = snapshots_of(connection, [batch.batch_id for batch in batches])
        return [
            self.account(batch.account).with_files(ImportReport(batch, snapshot=snapshots.get(batch.batch_id)))
            for batch in batches
        ]

    def exports(self, account: str | None = None, *, offset: int = 0, limit: int | None = None) -> list[ExportManifest]:
        """The exports, newest first."""
        with self.reading() as connection:
            return ledger.exports(connection, account=account, offset=offset, limit=limit)

    def latest_exports(self, record_type: str) -> list[ExportManifest]:
        """The last export to each place, of a type, of all accounts."""
        with self.reading() as connection:
            latest = {manifest.path: manifest for manifest in reversed(ledger.exports(connection))}
        return [manifest for manifest in latest.values() if manifest.record_type == record_type]

    def has_escaped(self, sha256: str) -> bool:
        """Whether a file with these bytes is an export, of whichever account, in which formulas were escaped."""
        with self.reading() as connection:
            found = ledger.exports(connection, sha256=sha256)
        return any(manifest.request is not None and manifest.request.escaped for manifest in found)

    def presets(self, account: str, record_type: str) -> dict[str, tuple[str, ...]]:
        """The columns of the type's own presets and of those that the account has saved, by name."""
        with self.reading() as connection:
            known = known_type(connection, record_type)
            return {**known.presets, **ledger.presets(connection, check_account(account), record_type)}

    def ledger_after(self, seq: int, limit: int) -> LedgerNews:
        """What the ledger tells after a row, at most `limit` rows of it, in the order in which they were written."""
        with self.reading() as connection:
            rows: list[tuple[int, Batch | ExportManifest]] = [
                *ledger.batches_after(connection, seq, limit),
                *ledger.exports_after(connection, seq, limit),
            ]
            rows.sort(key=lambda row: row[0])
            return LedgerNews(ledger.accounts(connection), rows[:limit])

    def pin(self, record_type: str) -> tuple[RecordType, int]:
        """The record type as the store knows it, and the number of the newest snapshot."""
        with self.reading() as connection:
            known = known_type(connection, record_type)
            return known, connection.fetch_one("SELECT id FROM ducklake_current_snapshot('lake')")[0]

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

    def accept_clock(self) -> datetime:
        """The clock is right though nothing was written for long; returns its time."""
        with self.write_lock, self._lake.attached() as connection:
            mark = self._require_one_store(connection)
            self._times.require_plausible()
            seen = self._times.observe(None)
            self._mark.write(replace(mark, seen=seen))
            return seen.at

    def outdated_catalog(self) -> OutdatedCatalog | None:
        """What is lost with a catalog that is older than its data; None if it is not. Raises ForeignData."""
        if not self.exists:
            raise not_ready(self.settings)
        with self._lake.attached(read_only=True) as connection:
            mark = self._mark.read()
            catalog = state_of(connection)
            if not is_outdated(self.settings, mark, catalog) or mark is None:
                return None
            unknown = lake_files.unknown(connection, lake_files.lying(self.settings.data, lake_files.EVERYWHERE))
            newest = ledger.newest(connection)[1]
            return OutdatedCatalog(catalog.snapshot, mark.snapshot, newest, len(unknown))

    def accept_catalog(self) -> None:
        """The catalog counts although it is older than its data; what it does not know of them is left alone."""
        with self.write_lock, self._lake.attached() as connection:
            mark = self._mark.read()
            if is_outdated(self.settings, mark, state_of(connection)) and mark is not None:
                accept(connection, self._mark, mark, self._times.observe(None))

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

    def _projected(self) -> Projection:
        if self._projection is None:
            raise InvalidRequest(
                "The catalog is a file of SQLite, which has no roles that could log in.",
                "Readers need a catalog in PostgreSQL: RECORDS_CATALOG=postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
            )
        return self._projection

    def _over(self, connection: Connection) -> list[Batch]:
        window = self.settings.rollback_window
        now = self._times.lived(ledger.newest(connection)[1], self._mark.read())
        candidates = (
            batch
            for status in (BatchStatus.PREVIEWED, BatchStatus.COMMITTED)
            for batch in ledger.batches(connection, status=status)
        )
        return [batch for batch in candidates if batch.is_over(now, window)]


def _written_at(place: Location) -> datetime:
    return kept(place).at or datetime.max.replace(tzinfo=UTC)
