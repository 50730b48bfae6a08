"""`RecordStore`: the store of all accounts."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from resources.file_storage import is_local, make_folder
from resources.record_store import lake_files, ledger, ledger_exports, ledger_rows, tables
from resources.record_store.account_records import AccountRecords
from resources.record_store.identity import (
    CatalogState,
    OutdatedCatalog,
    accept,
    claim,
    is_outdated,
    require_unclaimed,
    state_of,
)
from resources.record_store.lake import Connection
from resources.record_store.ledger_erasure import erased_since
from resources.record_store.projection import Projection
from resources.record_store.refusals import (
    check_account,
    no_such_account,
    no_such_batch,
    not_ready,
)
from resources.record_store.selection import known_type, require_account
from resources.record_store.snapshots import current_number, snapshots_of
from resources.record_store.store_format import (
    FORMAT,
    FormatChange,
    changes_from,
    require_format,
    require_known_format,
)
from resources.record_store.transaction import TransactionalStore
from schemas.account_names import most_alike
from schemas.batches import Batch, BatchStatus, ImportReport
from schemas.errors import InvalidRequest, StoreNotReady
from schemas.exports import ExportManifest, ExportRequest
from schemas.record_type import RecordType

_SETTLE_ROWS = 1000
"""How many rows of the ledger must be settled until the catalog says so. Reading them takes some milliseconds."""


@dataclass(frozen=True)
class LedgerNews:
    """The names of all accounts, and new rows of the ledger with their numbers: transitions of batches, and exports."""

    accounts: list[str]
    rows: list[tuple[int, Batch | ExportManifest]]


class RecordStore(TransactionalStore):
    """The store that the settings name. A context manager, for one thread: see `TransactionalStore`."""

    def state(self) -> CatalogState:
        """Returns the state of the catalog, of any format. Raises StoreNotReady if there is no store."""
        if self.exists:
            with self._lake.attached(read_only=True) as connection:
                state = state_of(connection)
            if state.has_ledger:
                return state
        raise not_ready(self.settings)

    def require_format(self) -> None:
        """Raise OtherFormat if an older or a newer program made the store, and StoreNotReady if there is none."""
        require_format(self.settings, self.state().format)

    def lacking_changes(self) -> tuple[FormatChange, ...]:
        """Returns the changes of its format that an older store lacks. Raises OtherFormat if a newer program made it.

        There are none for a store that does not exist yet, or that a killed process has not made to the end.
        """
        try:
            number = self.state().format
        except StoreNotReady:
            return ()
        require_known_format(self.settings, number)
        return changes_from(number)

    def initialise(
        self,
        record_types: Collection[RecordType],
        *,
        change_format: bool = False,
        progress: Callable[[FormatChange], None] | None = None,
    ) -> list[str]:
        """Create the store if needed, and record the record types. Returns what was done, as sentences.

        Adds columns for the nullable fields that a type has gained. Safe to repeat, also in several processes at once.
        Raises StoreNotReady if a type has changed in any other way, ForeignData if the data belong to another store.

        change_format: change a store of an older format; without it, OtherFormat is raised for one, and nothing is
        changed. Each change is a commit. `progress` gets a change before it is made.
        """
        make_folder(self.settings.home)
        if is_local(self.settings.data):
            make_folder(self.settings.data)
        done = []
        with self.write_lock:
            if not self.exists:
                require_unclaimed(self.settings, self._mark.read())
            changes = self.lacking_changes()
            if changes and not change_format:
                self.require_format()
            if is_local(self.settings.lake):
                make_folder(self.settings.lake)
            with self._lake.attached() as connection:
                created = tables.create_ledger(connection, record_types, FORMAT)
                claim(connection, self.settings, self._mark, self._times.observe(None))
                if self._projection is not None:
                    last = ledger.newest(connection)[0]
                    self._projection.rebuild(last, lambda: ledger.batches(connection))
            with self.taking_older():
                for change in changes:
                    self._change_format(change, progress)
                    done.append(f"The store has format {change.number} now: {change.sentence}")
            with self._lake.attached() as connection:
                ledger_rows.create_indexes(connection)
            with self.transaction("prepare the store", "records", apart=True) as transaction:
                known = ledger.record_types(transaction.connection)
                for record_type in record_types:
                    before = known.get(record_type.name)
                    if before == record_type:
                        continue
                    if before is None:
                        if record_type.name not in created:
                            tables.create_table(transaction.connection, record_type)
                        done.append(f"{record_type.name} is a new record type.")
                    else:
                        gained = tables.grow_table(transaction.connection, before, record_type)
                        done.append(f"{record_type.name} has gained {', '.join(gained) or 'no field'}.")
                    transaction.append(ledger.append_record_type, transaction.at, record_type)
            with self.transaction("record checksums", "records", writes=()) as transaction:
                transaction.record_files(lake_files.without_checksum(transaction.connection, self.settings.data))
        return done

    def record_types(self) -> dict[str, RecordType]:
        """Returns the record types that the store knows, by name."""
        with self.reading() as connection:
            return ledger.record_types(connection)

    def record_type(self, name: str) -> RecordType:
        """Returns the record type as the store knows it. Raises NotFound with the names of all types."""
        with self.reading() as connection:
            return known_type(connection, name)

    def accounts(self) -> list[str]:
        """Returns the names of all accounts, sorted."""
        with self.reading() as connection:
            return ledger.accounts(connection)

    def require_meant(self, account: str) -> bool:
        """Raises NotFound if there is no such account, and one with a name like it: a mistake in typing.

        Returns whether the account is new, so that a preview makes it.
        """
        checked = check_account(account)
        with self.reading() as connection:
            if ledger.has_account(connection, checked):
                return False
            meant = most_alike(checked, ledger.accounts(connection))
        if meant is not None:
            raise no_such_account(checked, meant)
        return True

    def add_account(self, account: str, actor: str) -> bool:
        """Create an account; returns whether it is new. Raises InvalidRequest if the name is not valid."""
        checked = check_account(account)
        with self.transaction(f"account {checked}", actor, writes=()) as transaction:
            if ledger.has_account(transaction.connection, checked):
                return False
            transaction.append(ledger.append_account, transaction.at, checked, actor)
            return True

    def grant_reader(self, account: str, role: str) -> bool:
        """Let a PostgreSQL role read the import history of this account only. Returns whether that is new."""
        projection = self._projected()
        with self.reading() as connection:
            require_account(connection, account)
        return projection.grant(account, role)

    def revoke_reader(self, account: str, role: str) -> bool:
        """Stop a PostgreSQL role from reading the account's import history. Returns whether it could."""
        projection = self._projected()
        with self.reading() as connection:
            require_account(connection, account)
        return projection.revoke(account, role)

    def revoke_readers(self, account: str) -> None:
        """Stop all PostgreSQL roles from reading the import history of an account that is deleted."""
        if self._projection is not None:
            self._projection.revoke_all(account)

    def catch_up(self) -> None:
        """Bring the import history in PostgreSQL up to date, in case a writer was killed before it could."""
        if self._projection is None:
            return
        with self.reading() as connection:
            last = ledger.newest(connection)[0]
            self._projection.catch_up(last, lambda reached: ledger.transitions_after(connection, reached))

    def account(self, account: str) -> AccountRecords:
        """Returns the records and the history of one account."""
        return AccountRecords(self, check_account(account))

    def owner_of(self, batch_id: str) -> str:
        """Returns the account of a batch, for an operator who gave none. Raises NotFound if there is no such batch."""
        with self.reading() as connection:
            found = ledger.batch(connection, batch_id)
        if found is None:
            raise no_such_batch(batch_id)
        return found.account

    def batches(
        self,
        account: str | None = None,
        record_type: str | None = None,
        status: BatchStatus | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Batch]:
        """Returns the batches in their present state, newest first."""
        with self.reading() as connection:
            return ledger.batches(
                connection, account=account, record_type=record_type, status=status, offset=offset, limit=limit
            )

    def batches_named(self, batch_ids: Collection[str]) -> dict[str, Batch]:
        """Returns the batches with these ids in their present state, by id."""
        with self.reading() as connection:
            return ledger.batches_named(connection, batch_ids)

    def unsettled(self) -> list[Batch]:
        """Returns at least the batches that are open, or were committed within two of their windows."""
        with self.reading() as connection:
            return [batch for _, batch in ledger.unsettled(connection)]

    def settle(self) -> None:
        """Record up to which row of the ledger all batches are settled, so that later searches begin after it.

        A batch is settled when it is closed, and its commit was more than two windows ago.
        """
        window = self.settings.rollback_window
        with self.reading() as connection:
            now = self._times.retention_time(ledger.newest(connection)[1], self._mark.read())
            reached, found = ledger.settled(connection), ledger.unsettled(connection)
        rows = [seq for seq, batch in found if not batch.is_settled(now, window)]
        after = min(rows) - 1 if rows else max((seq for seq, _ in found), default=reached)
        if after - reached >= _SETTLE_ROWS:
            with self.catalog_change() as connection:
                ledger.settle(connection, max(after, ledger.settled(connection)))

    def arrivals(self, bundle: str, accounts: Collection[str]) -> dict[str, Batch]:
        """Returns the last batch of each file of a bundle that arrived for these accounts, by the arrival's id."""
        with self.reading() as connection:
            return ledger.arrivals(connection, bundle, accounts)

    def arrived(self, account: str, limit: int) -> list[Batch]:
        """Returns the account's last files that arrived in the inbox, in their present state, newest first."""
        with self.reading() as connection:
            return ledger.arrived(connection, account, limit)

    def over(self) -> list[Batch]:
        """Returns the batches that are past their time, but do not have the status for it yet."""
        with self.reading() as connection:
            return self._over(connection)

    def expire_batches(self, actor: str, run_id: str | None = None) -> list[Batch]:
        """Expire commits and discard previews after their time. Returns them in their new status."""
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
        """Returns the batches of a type with counts that do not balance. There must be none."""
        with self.reading() as connection:
            return ledger.unbalanced(connection, record_type)

    def reports(self, batches: Sequence[Batch]) -> list[ImportReport]:
        """Returns the batches with the snapshots that they made, and their files."""
        with self.reading() as connection:
            snapshots = snapshots_of(connection, [batch.batch_id for batch in batches])
            erased = {batch.batch_id: erased_since(connection, batch) for batch in batches}
        return [
            self.account(batch.account).with_files(
                ImportReport(batch, snapshot=snapshots.get(batch.batch_id), erased=erased[batch.batch_id])
            )
            for batch in batches
        ]

    def exports(self, account: str | None = None, *, offset: int = 0, limit: int | None = None) -> list[ExportManifest]:
        """Returns the exports, newest first."""
        with self.reading() as connection:
            return ledger_exports.exports(connection, account=account, offset=offset, limit=limit)

    def export(self, export_id: str) -> ExportManifest | None:
        """Returns the export with this id, of any account; None if there is none."""
        with self.reading() as connection:
            return next(iter(ledger_exports.exports(connection, export_id=export_id)), None)

    def latest_exports(self, record_type: str) -> list[ExportManifest]:
        """Returns the last export of a type to each path, of all accounts."""
        with self.reading() as connection:
            return ledger_exports.latest_exports(connection, record_type)

    def exported(self, sha256: str) -> ExportRequest | None:
        """Returns the request of an export with these bytes, of any account; None if there is none."""
        with self.reading() as connection:
            return ledger_exports.request_of_export(connection, sha256)

    def presets(self, account: str, record_type: str) -> dict[str, tuple[str, ...]]:
        """Returns the columns of all presets by name: the type's own, and those that the account has saved."""
        with self.reading() as connection:
            known = known_type(connection, record_type)
            return {**known.presets, **ledger.presets(connection, check_account(account), record_type)}

    def ledger_end(self) -> int:
        """Returns the number of the ledger's last row."""
        with self.reading() as connection:
            return ledger.newest(connection)[0]

    def ledger_after(self, seq: int, limit: int) -> LedgerNews:
        """Returns at most `limit` rows of the ledger after a row, oldest first."""
        with self.reading() as connection:
            rows: list[tuple[int, Batch | ExportManifest]] = [
                *ledger.batches_after(connection, seq, limit),
                *ledger_exports.exports_after(connection, seq, limit),
            ]
            rows.sort(key=lambda row: row[0])
            return LedgerNews(ledger.accounts(connection), rows[:limit])

    def pin(self, record_type: str) -> tuple[RecordType, int]:
        """Returns the record type as the store knows it, and the number of the newest snapshot."""
        with self.reading() as connection:
            known = known_type(connection, record_type)
            return known, current_number(connection)

    def accept_clock(self) -> datetime:
        """Accept the clock after a long time without a write. Returns its time."""
        with self.write_lock, self.taking_older(), self._lake.attached() as connection:
            mark = self._require_one_store(connection)
            self._times.require_plausible()
            seen = self._times.observe(None)
            self._mark.write(replace(mark, seen=seen))
            return seen.at

    def outdated_catalog(self) -> OutdatedCatalog | None:
        """Returns what is lost with a catalog that is older than its data; None if it is not. Raises ForeignData."""
        if not self.exists:
            raise not_ready(self.settings)
        with self._lake.attached(read_only=True) as connection:
            mark = self._mark.read()
            catalog = state_of(connection)
            if not is_outdated(self.settings, mark, catalog) or mark is None:
                return None
            unknown = lake_files.unknown(connection, lake_files.existing(self.settings.data, lake_files.EVERYWHERE))
            newest = ledger.newest(connection)[1]
            return OutdatedCatalog(catalog.snapshot, mark.snapshot, newest, len(unknown))

    def accept_catalog(self) -> None:
        """Accept a catalog that is older than its data. Files that it does not know are not removed."""
        with self.write_lock, self._lake.attached() as connection:
            mark = self._mark.read()
            if is_outdated(self.settings, mark, state_of(connection)) and mark is not None:
                accept(connection, self._mark, mark, self._times.observe(None))

    def _change_format(self, change: FormatChange, progress: Callable[[FormatChange], None] | None) -> None:
        """Make a change of the format and write its number, in one commit."""
        if progress is not None:
            progress(change)
        with self.transaction(f"store format {change.number}", "records", writes=()) as transaction:
            change.make(transaction, self.settings.data)
            tables.set_format(transaction.connection, change.number)

    def _projected(self) -> Projection:
        if self._projection is None:
            raise InvalidRequest(
                "The catalog is a file of SQLite, which has no roles.",
                "Readers need a catalog in PostgreSQL: RECORDS_CATALOG=postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
            )
        return self._projection

    def _over(self, connection: Connection) -> list[Batch]:
        window = self.settings.rollback_window
        now = self._times.retention_time(ledger.newest(connection)[1], self._mark.read())
        open_batches = [batch for _, batch in ledger.unsettled(connection) if batch.is_over(now, window)]
        return sorted(open_batches, key=lambda batch: (batch.status.value, batch.batch_id[2:]), reverse=True)
