"""`AccountRecords`: reads and writes the records, batches and exports of one account."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from resources.checksums import Checksums
from resources.file_reader import no_such_file
from resources.file_storage import entries, files_below
from resources.record_store import lake_files, ledger, ledger_exports, ledger_files
from resources.record_store.access import is_foreign
from resources.record_store.account_rollbacks import AccountRollbacks
from resources.record_store.account_store import AccountStore
from resources.record_store.commit import Commit
from resources.record_store.export_source import ExportSource, Selection
from resources.record_store.lake import Connection
from resources.record_store.ledger_erasure import erased_since, is_erased_after
from resources.record_store.presets import save_preset
from resources.record_store.refusals import (
    already_imported,
    damaged,
    not_previewed,
    not_writable,
    outdated,
    preview_over,
)
from resources.record_store.selection import known_type, require_account, select
from resources.record_store.snapshots import current_number, snapshots_of
from resources.record_store.staging import PROBLEMS, Staging
from resources.record_store.tables import no_records, table
from resources.record_store.transaction import TransactionalStore
from resources.record_store.value_mappings import append_value_mapping, known_values
from schemas.batches import STANDING, Batch, BatchStatus, ImportReport
from schemas.exports import ExportManifest, ExportRequest
from schemas.files import StoredFile
from schemas.location import Location
from schemas.record_type import RecordType
from schemas.rollbacks import (
    RollbackReport,
    RollbackRequest,
)
from schemas.values import KnownValue, MappedValue, ValueMap, as_map

if TYPE_CHECKING:
    from resources.record_store.comparison import StagedFile
    from resources.report_writer.page import Link

_KINDS = ("staging", "rejects", "reports")
"""The folders of an account that have files of a batch."""


class AccountRecords(AccountStore):
    """The records, batches and exports of one account. Another account cannot be reached through it."""

    def __init__(self, store: TransactionalStore, account: str) -> None:
        super().__init__(store, account)
        self.files = store.files
        self._rollbacks = AccountRollbacks(store, account)

    def folder(self, kind: str) -> Location:
        """Returns the account's folder of this kind, for example `staging` or `exports`."""
        return self._store.settings.folder(self.name, kind)

    def require_source(self, file: Path) -> None:
        """Raises NotFound if the file belongs to another account, with the message for a file that does not exist."""
        if is_foreign(self._store.settings, self.name, file):
            raise no_such_file(file)

    def require_destination(self, path: Path) -> None:
        """Raises InvalidRequest if the account may not write a file there, among the files of the store."""
        if is_foreign(self._store.settings, self.name, path):
            raise not_writable(self.name, path)

    def has_batch(self, batch_id: str) -> bool:
        """Returns whether the account has a batch with this id."""
        with self._store.reading() as connection:
            return ledger.batch(connection, batch_id, self.name) is not None

    def batch(self, batch_id: str) -> Batch:
        """Returns the batch in its present state. Raises NotFound if the account has no such batch."""
        with self._store.reading() as connection:
            return self._batch(connection, batch_id)

    def corrections_of(self, *batch_ids: str) -> list[Batch]:
        """Returns the batches that have saved corrected rows of these batches, oldest first."""
        if not batch_ids:
            return []
        with self._store.reading() as connection:
            found = ledger.corrections_of(connection, self.name, batch_ids)
        return [it for it in found if it.status in STANDING]

    def report(self, batch_id: str) -> ImportReport:
        """Returns the batch with its files, its snapshot, and all that its preview has found, as far as it is kept."""
        with self._store.reading() as connection:
            batch = self._batch(connection, batch_id)
            report = self._reports.detailed(connection, batch)
            snapshot = snapshots_of(connection, [batch_id]).get(batch_id)
            return replace(report, snapshot=snapshot, erased=erased_since(connection, batch))

    def write_changes(self, batch_id: str, path: Path) -> None:
        """Write all values that a preview would change to a Parquet file. Raises NotFound for an unknown batch."""
        batch = self.batch(batch_id)
        if batch.basis is None:
            raise outdated(batch, "an earlier version of records made it")
        with self._store.files.fetched(self.folder("staging") / batch_id) as folder:
            staging = Staging(folder, batch.basis.fields)
            with self._store.reading() as connection:
                record_type = ledger.record_types(connection)[batch.record_type]
            with self.compare(record_type, staging, batch.basis.snapshot) as staged:
                staged.write_changes(path)

    def with_files(self, report: ImportReport) -> ImportReport:
        """Returns the report with the batch's rejects file and page, if it has them, and the end of its time."""
        return self._reports.with_files(report)

    def report_page(self, batch_id: str, links: tuple["Link", ...] = ()) -> str | None:
        """Returns the report of a batch in its present state, with links; None if it has none. Raises NotFound."""
        with self._store.reading() as connection:
            return self._reports.render(
                connection, self._batch(connection, batch_id), ledger.record_types(connection), links
            )

    def rebuild_report(self, batch_id: str, actor: str) -> None:
        """Write the report of a batch again. Raises NotFound if the account has no such batch."""
        self._reports.rebuild(batch_id, actor)

    def problems(self, batch_id: str) -> Location:
        """Returns the path of the batch's problems, which exist while it is staged."""
        return self.folder("staging") / batch_id / PROBLEMS

    @contextmanager
    def compare(self, record_type: RecordType, staging: Staging, snapshot: int) -> "Iterator[StagedFile]":
        """Opens a staged file for comparison with the records of a snapshot. The records cannot be written.

        Raises DamagedFile if a file of the snapshot is missing or differs.
        """
        from resources.record_store.comparison import StagedFile

        with self._store.reading() as connection:
            if not self._require_whole(connection, record_type.name, snapshot):  # the account has no record yet
                yield StagedFile(connection, no_records(record_type), record_type, self.name, staging)
                return
            connection.execute("BEGIN")  # until the end, `lake` stays at its present snapshot
            lake = "lake"
            if current_number(connection) != snapshot:
                connection.execute("COMMIT")  # a lake that a transaction attaches would go with it
                lake = connection.snapshot(snapshot)
            yield StagedFile(
                connection, connection.rows_of("records", record_type.name, lake), record_type, self.name, staging
            )
            lake_files.compare_read(connection, self._store.settings.data)

    def earlier_commits(self, record_type: str, file_sha256: str, header_row: str) -> ledger.EarlierCommits:
        """Returns the account's last commits of a file with this content, with this header row, and with options."""
        with self._store.reading() as connection:
            return ledger.earlier_commits(connection, self.name, record_type, file_sha256, header_row)

    def accepted_values(self, record_type: str) -> ValueMap:
        """Returns the mappings of values that the account has accepted for files of a type."""
        with self._store.reading() as connection:
            return as_map(it.mapping for it in known_values(connection, self.name, record_type) if it.is_accepted)

    def known_values(self, record_type: str) -> list[KnownValue]:
        """Returns the account's accepted mappings of values, and those learnt from corrected rejects files."""
        with self._store.reading() as connection:
            return known_values(connection, self.name, known_type(connection, record_type).name)

    def record_values(self, record_type: str, mappings: Sequence[MappedValue], actor: str) -> None:
        """Record mappings of values that the account accepts, or forgets if they have no value."""
        with self._transaction(f"mappings of {record_type}", actor) as transaction:
            require_account(transaction.connection, self.name)
            for mapping in mappings:
                transaction.append(append_value_mapping, transaction.at, self.name, record_type, mapping, actor)

    def record_new(self, batch: Batch, since: int | None = None) -> Batch:
        """Record a preview or a failed import, and the account if it is new. Returns the batch with its time.

        The batch's files are recorded with their checksums: staged records, rejects and page.

        since: the last row of the ledger before the file was read. Raises PreviewOutdated if records of the account and
            type were erased after it: the batch can have them, and the erasure has not seen it.
        """
        with self._store.operation() as checksums:
            files = list(self._files_of(batch.batch_id, checksums))
        with self._transaction(f"{batch.batch_id} is {batch.status.value}", batch.actor) as transaction:
            if since is not None and is_erased_after(transaction.connection, since, self.name, batch.record_type):
                raise outdated(batch, "records were erased while its file was read")
            if not ledger.has_account(transaction.connection, self.name):
                transaction.append(ledger.append_account, transaction.at, self.name, batch.actor)
            batch = replace(batch, at=transaction.at, window=self._store.settings.rollback_window)
            transaction.append(ledger.append_batch, batch)
            transaction.record_files(files)
            return batch

    def _files_of(self, batch_id: str, checksums: Checksums) -> Iterator[StoredFile]:
        for kind in _KINDS:
            for file in files_below(self.folder(kind) / batch_id):
                path = self._store.settings.path_below_data(file.place)
                yield StoredFile(path, file.bytes, checksums.of(file.place), self.name, (batch_id,))

    def stored_file(self, place: Location) -> StoredFile | None:
        """Returns a file as the store has written it; None if it has not."""
        path = self._store.settings.path_below_data(place)
        with self._store.reading() as connection:
            return ledger_files.files(connection, [path]).get(path)

    def require_whole(self, batch_id: str, kinds: Collection[str] = _KINDS) -> None:
        """Raises DamagedFile for the first file of a batch that differs from what was written.

        kinds: of staging, rejects and reports. Folders that were removed after their retention are skipped.
        """
        with self._store.reading() as connection:
            self._compare_files(connection, batch_id, kinds)

    def _compare_files(self, connection: Connection, batch_id: str, kinds: Collection[str]) -> None:
        data = self._store.settings.data
        for kind in kinds:
            folder = self.folder(kind) / batch_id
            if entries(folder):
                known = ledger_files.files_below(connection, self._store.settings.path_below_data(folder))
                lake_files.compare(connection, data, [file.path for file in known])

    def discard(self, batch_id: str, actor: str, run_id: str | None) -> Batch:
        """Discard a previewed batch. Raises Refused if it is in any other state."""
        with self._reports.rewritten(self._transaction(f"discard {batch_id}", actor)) as transaction:
            batch = self._previewed(transaction.connection, batch_id, "discarded")
            batch = replace(batch, status=BatchStatus.DISCARDED, actor=actor, run_id=run_id, at=transaction.at)
            transaction.append(ledger.append_batch, batch)
            return batch

    def commit(
        self,
        batch_id: str,
        record_type: str,
        staging: Staging,
        actor: str,
        run_id: str | None,
        require_room: Callable[[Connection, int], None] | None = None,
    ) -> ImportReport:
        """Write the previewed records and the ledger's row in one commit that names the batch.

        record_type: the name of the batch's record type. require_room: called with the number of new records before
        anything is written; it raises QuotaExceeded.

        Raises Refused if the batch is not previewed, and WindowOver after the time for its commit.
        Raises AlreadyImported if another batch with the same content was committed meanwhile.
        Raises PreviewOutdated if the record type or a record of the batch has changed since the preview.
        Raises Unaccounted if the written counts differ from the previewed ones.
        """
        message = f"commit {batch_id} of {record_type}"
        with self._writing(message, actor, batch_id, record_type) as transaction:
            connection = transaction.connection
            batch = self._previewed(connection, batch_id, "committed")
            window = self._store.settings.rollback_window
            until = batch.open_until(window)
            if until is not None and transaction.at >= until:
                raise preview_over(batch, until)
            basis = batch.basis
            if basis is None:
                raise outdated(batch, "an earlier version of records made it")
            if require_room is not None:
                require_room(connection, batch.counts.created)
            if not basis.again:
                earlier = ledger.earlier_commits(connection, self.name, record_type, batch.file_sha256)
                if earlier.of_file is not None:
                    raise already_imported(batch.file_name, earlier.of_file)
            self._compare_staged(connection, batch, staging)
            self._require_whole(connection, record_type, current_number(connection), basis.snapshot)
            commit = Commit(connection, transaction.record_types[record_type], self.name, batch, basis, staging)
            commit.require_unchanged()
            commit.apply()
            batch = replace(
                batch,
                status=BatchStatus.COMMITTED,
                actor=actor,
                run_id=run_id,
                at=transaction.at,
                committed_at=transaction.at,
                window=window,
            )
            transaction.append(ledger.append_batch, batch)
            report = self._reports.detailed(connection, batch)
        return replace(report, snapshot=transaction.snapshot)

    def _compare_staged(self, connection: Connection, batch: Batch, staging: Staging) -> None:
        """Raises DamagedFile if a staged file does not have the bytes that the preview recorded."""
        folder = f"accounts/{self.name}/staging/{batch.batch_id}"
        known = ledger_files.files_below(connection, folder)
        if not known:
            raise outdated(batch, "an earlier version of records made it, without checksums")
        for file in known:
            place = staging.folder / file.path.removeprefix(f"{folder}/")
            if not place.exists() or connection.checksums.of(place) != file.checksum:
                raise damaged(self._store.settings.data / file.path, "has other bytes than the preview staged", file)

    def plan_rollback(self, request: RollbackRequest) -> RollbackReport:
        """Returns what a rollback would do now. Raises what `roll_back` raises, except ModifiedSince."""
        return self._rollbacks.plan_rollback(request)

    def roll_back(self, request: RollbackRequest, actor: str, run_id: str | None) -> RollbackReport:
        """Restore each record that the batch touched: see `AccountRollbacks.roll_back`."""
        return self._rollbacks.roll_back(request, actor, run_id)

    def count(self, record_type: RecordType, snapshot: int, batch_id: str | None = None) -> int:
        """Returns how many records the account has in a snapshot. With a batch: how many of them it wrote last."""
        mine = f"SELECT count(*) FROM {table(record_type.name)} WHERE _account = ?"
        written, values = ("", [self.name]) if batch_id is None else (" AND _batch = ?", [self.name, batch_id])
        with self._store.reading(snapshot) as connection:
            number: int = connection.fetch_one(mine + written, values)[0]
            return number

    def select(self, request: ExportRequest) -> tuple[Selection, datetime]:
        """Returns the records that the request selects now, and the time of their snapshot.

        Raises what `selection.select` raises.
        """
        with self._store.reading() as connection:
            selection, snapshot = select(connection, replace(request, account=self.name))
            return selection, snapshot.at

    @contextmanager
    def export_source(self, selection: Selection) -> Iterator[ExportSource]:
        """Opens the account's records of a selection, as of its snapshot. They cannot be written."""
        name, snapshots = selection.record_type.name, {selection.snapshot, selection.since or selection.snapshot}
        with self._store.reading_whole(selection.snapshot, name, self.name, snapshots) as connection:
            yield ExportSource(connection, self.name, selection)

    def export(self, export_id: str) -> ExportManifest | None:
        """Returns the published export with this id, or None."""
        with self._store.reading() as connection:
            return next(iter(ledger_exports.exports(connection, account=self.name, export_id=export_id)), None)

    def exports_of(self, sha256: str) -> list[ExportManifest]:
        """Returns the account's exports with this checksum."""
        with self._store.reading() as connection:
            return ledger_exports.exports(connection, account=self.name, sha256=sha256)

    def exports_with_columns(self, record_type: str, columns: Sequence[str]) -> list[tuple[str, ExportRequest]]:
        """Returns id and request of the exports in CSV with these columns: the newest for each way of writing them."""
        with self._store.reading() as connection:
            return ledger_exports.exports_with_columns(connection, self.name, record_type, columns)

    def last_export(self, record_type: str, actor: str) -> ExportManifest | None:
        """Returns the newest export of a type by this actor, or None."""
        with self._store.reading() as connection:
            found = ledger_exports.exports(connection, account=self.name, record_type=record_type, actor=actor, limit=1)
        return next(iter(found), None)

    def save_preset(self, record_type: str, name: str, columns: Sequence[str], actor: str) -> None:
        """Save a preset, or change its columns."""
        with self._transaction(f"preset {name}", actor) as transaction:
            save_preset(transaction, self.name, record_type, name, columns, actor)

    def record_export(self, manifest: ExportManifest) -> None:
        """Record an export once, even if two processes have finished it."""
        with self._transaction(f"export {manifest.export_id}", manifest.actor) as transaction:
            if not ledger_exports.has_export(transaction.connection, manifest.export_id):
                transaction.append(ledger_exports.append_export, manifest)

    def _previewed(self, connection: Connection, batch_id: str, wanted: str) -> Batch:
        batch = self._batch(connection, batch_id)
        if batch.status is not BatchStatus.PREVIEWED:
            raise not_previewed(batch, wanted)
        return batch
