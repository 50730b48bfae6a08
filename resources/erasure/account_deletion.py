"""Deletes an account with everything that the store has of it. Afterwards the name is free for a new account."""

from collections.abc import Callable

from resources.clock import new_id
from resources.erasure import derived_files
from resources.erasure.eraser import summed, without_backups, working
from resources.erasure.receipts import receipt_place, write_receipt
from resources.erasure.run_history import RunHistory
from resources.erasure.source_files import remove_certainly
from resources.file_storage import entries, exists, files_below
from resources.operator_file import read_operator_file
from resources.record_store import RecordStore, lake_files, ledger, ledger_files
from resources.record_store.compaction import forget
from resources.record_store.erasure import RecordsErasure
from resources.record_store.ledger_erasure import (
    append_erasure,
    erasures,
    forget_statistics,
    remove_account,
)
from resources.record_store.refusals import check_account
from resources.record_store.selection import require_account
from resources.record_store.transaction import Transaction
from schemas.deliveries import DeliveryFile
from schemas.erasure import Erasure, ErasureReport, ErasureStatus, Found, Touched
from schemas.errors import InvalidRequest
from schemas.location import Location
from schemas.record_type import RecordType


class AccountDeletion:
    """Deletes one account, for one actor. The same call again completes a deletion that was killed."""

    def __init__(self, store: RecordStore, account: str, actor: str, runs: RunHistory | None = None) -> None:
        self._store = store
        self._settings = store.settings
        self._account = check_account(account)
        self._actor = actor
        self._runs = runs

    def plan(self) -> ErasureReport:
        """Returns what a deletion would remove. Raises NotFound if there is no such account."""
        with self._store.reading() as connection:
            require_account(connection, self._account)
            types = ledger.record_types(connection)
            lake = [RecordsErasure(connection, self._settings.data, it, self._account).files() for it in types.values()]
        with working(self._store) as folder:
            files = [file for files in lake for file in files]
            planned = [Touched(Found.RECORDS, removed=len(files), records=sum(file.records for file in files))]
            planned += [Touched(kind, removed=_files_in(places)) for kind, places in self._folders().items()]
            left, _ = derived_files.left_in_scratch(self._settings, folder)
        planned.append(Touched(Found.TEMPORARY, removed=len(left)))
        return self._report(None, planned, self._beyond())

    def delete(self) -> ErasureReport:
        """Delete the account. Returns the receipt. Raises NotFound if there is no such account.

        Raises StoreBusy if another erasure or a backup runs for long.
        """
        with self._store.reading() as connection:
            known = erasures(connection, self._account)
            if not any(it.record_type is None and it.status is ErasureStatus.BEGUN for it in known):
                require_account(connection, self._account)
            types = ledger.record_types(connection)
        beyond, erasure_id = self._beyond(), new_id("x", self._store.clock.now())
        begun = self._erasure(erasure_id, ErasureStatus.BEGUN)
        with working(self._store) as folder, without_backups(self._store):
            with self._store.transaction("delete account: begun", self._actor, writes=()) as transaction:
                begun(transaction)
            touched = []
            for kind, places in self._folders().items():
                touched.append(Touched(kind, removed=_files_in(places)))
                for place in places:
                    if kind is Found.EXPORTS:
                        for export in entries(place):
                            derived_files.remove_beside_destination(export)
                    remove_certainly(place)
            left, _ = derived_files.left_in_scratch(self._settings, folder)
            for each in left:
                remove_certainly(each)
            touched.append(Touched(Found.TEMPORARY, removed=len(left)))
            touched.append(self._delete_from_runs(beyond))
            touched += [self._remove_records(record_type) for record_type in types.values()]
            with self._store.rewriting("delete account: ledger", self._actor, self._account, (), begun) as connection:
                changes = remove_account(connection, self._account)
                forget_statistics(connection)
            touched.append(Touched(Found.LEDGER, removed=changes.removed))
        self._store.revoke_readers(self._account)
        self._store.rebuild_history()
        report = self._report(erasure_id, touched, [*beyond, *self._store.vacuum()])
        write_receipt(self._store.files, receipt_place(self._settings, erasure_id), report)
        with self._store.transaction("delete account: done", self._actor, writes=()) as transaction:
            self._erasure(erasure_id, ErasureStatus.DONE)(transaction)
            for it in erasures(transaction.connection, self._account):
                if it.status is ErasureStatus.BEGUN and it.erasure_id != erasure_id:
                    self._erasure(it.erasure_id, ErasureStatus.DONE, it.record_type)(transaction)
        return report

    def _delete_from_runs(self, beyond: list[str]) -> Touched:
        """Delete the account from the history of runs. The ledger goes after it, because it has the names of files."""
        if self._runs is None:
            return Touched(Found.RUNS)
        names = {batch.file_name for batch in self._store.batches(self._account)}
        deleted = self._runs.delete_account(self._account, names)
        beyond += deleted.beyond
        return Touched(Found.RUNS, removed=deleted.number)

    def _remove_records(self, record_type: RecordType) -> Touched:
        """Remove all files of the account's records of a type: from DuckLake's tables, then from the disk."""
        data, name = self._settings.data, record_type.name
        with self._store.rewriting("delete account: records", self._actor, self._account, ()) as connection:
            lake = RecordsErasure(connection, data, record_type, self._account)
            files = lake.files()
            paths = {*lake.remove(files)}
        mine = f"lake/records/{name}/_account={self._account}/"
        with self._store.catalog_change() as connection:
            listed = {*lake_files.retired(connection)}
            known = ledger_files.files(connection, listed)  # files of deletions lie beside the folders of accounts
            retired = [
                path
                for path in listed
                if path.startswith(mine) or (path in known and known[path].account == self._account)
            ]
            forget(connection, retired)
            named = {file.path for file in lake_files.named(connection)}
        paths |= set(retired) | lake_files.existing(data, [f"{mine}ducklake-*.parquet"])
        for path in paths - named:
            remove_certainly(data / path)
        return Touched(Found.RECORDS, removed=len(paths - named), records=sum(file.records for file in files))

    def _folders(self) -> dict[Found, list[Location]]:
        settings, name = self._settings, self._account
        own = settings.accounts / name
        processing = [bundle / name for bundle in entries(settings.processing)]
        found: dict[Found, list[Location]] = {
            Found.EXPORTS: [own / "exports"],
            Found.STAGED: [own / "staging"],
            Found.REJECTS: [own / "rejects"],
            Found.REPORTS: [own / "reports", own],
            Found.INBOX: [settings.inbox / name, *processing],
            Found.ARCHIVE: [settings.archive / name],
            Found.QUARANTINE: [settings.quarantine / name],
            Found.UPLOADS: [settings.uploads / name],
            Found.TRASH: [*derived_files.trash_of(settings, name, None)],
        }
        return {kind: [it for it in places if exists(it) or entries(it)] for kind, places in found.items()}

    def _beyond(self) -> list[str]:
        """Returns what is left of the account elsewhere, as sentences."""
        exports = self._store.exports(self._account)
        found = [f"An export of the account: {each}." for each in derived_files.delivered(self._settings, exports)]
        scheduled = self._settings.home / "exports.yaml"
        try:
            listed = read_operator_file(scheduled, DeliveryFile).exports
        except InvalidRequest:
            return [*found, f"{scheduled} cannot be read. It may have exports of the account: remove them."]
        for entry in listed:
            if isinstance(entry, dict) and entry.get("account") == self._account:
                found.append(f"{scheduled} has the export {entry.get('name')} of the account: remove it.")
        return found

    def _report(self, erasure_id: str | None, touched: list[Touched], beyond: list[str]) -> ErasureReport:
        return ErasureReport(
            erasure_id,
            self._account,
            None,
            self._actor,
            self._store.now(),
            summed(touched),
            beyond=(*beyond, *derived_files.beyond_reach(self._settings)),
            receipt=None if erasure_id is None else str(receipt_place(self._settings, erasure_id)),
        )

    def _erasure(
        self, erasure_id: str, status: ErasureStatus, record_type: str | None = None
    ) -> Callable[[Transaction], None]:
        """Returns what records the deletion in a transaction."""

        def record(transaction: Transaction) -> None:
            erasure = Erasure(erasure_id, self._account, record_type, status, self._actor, transaction.at)
            transaction.append(append_erasure, transaction.at, erasure)

        return record


def _files_in(places: list[Location]) -> int:
    return sum(exists(place) if not entries(place) else len(list(files_below(place))) for place in places)
