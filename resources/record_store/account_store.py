"""`AccountStore`: what reading and writing the records of one account have in common."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from resources.record_store import lake_files, ledger
from resources.record_store.batch_reports import BatchReports
from resources.record_store.lake import Connection
from resources.record_store.refusals import no_such_batch
from resources.record_store.transaction import Transaction, TransactionalStore
from schemas.batches import Batch


class AccountStore:
    """The store as one account reaches it: its batches, its transactions, and the files of its records."""

    def __init__(self, store: TransactionalStore, account: str) -> None:
        self._store = store
        self.name = account
        self._reports = BatchReports(store, account)

    def _batch(self, connection: Connection, batch_id: str) -> Batch:
        """Returns the batch in its present state. Raises NotFound if the account has no such batch."""
        found = ledger.batch(connection, batch_id, self.name)
        if found is None:
            raise no_such_batch(batch_id)
        return found

    def _transaction(self, message: str, actor: str) -> AbstractContextManager[Transaction]:
        """Returns a transaction that writes rows of the ledger only."""
        return self._store.transaction(message, actor, writes=())

    def _writing(
        self, message: str, actor: str, batch_id: str, record_type: str | Callable[[Connection], str]
    ) -> AbstractContextManager[Transaction]:
        """Returns a transaction that writes records of a type, and the reports of changed batches.

        batch_id: the batch that the new records name. record_type: the name of the type, or a function that finds it.
        """

        def writes(connection: Connection) -> Sequence[str]:
            name = record_type if isinstance(record_type, str) else record_type(connection)
            return lake_files.patterns_of(name, self.name)

        return self._reports.rewritten(
            self._store.transaction(message, actor, batch_id, account=self.name, writes=writes)
        )

    def _require_whole(self, connection: Connection, record_type: str, *snapshots: int) -> bool:
        """Returns whether the snapshots need any file of the account's records.

        Raises DamagedFile if one is missing or differs.
        """
        paths = lake_files.needed_by(connection, snapshots, record_type, self.name)
        lake_files.compare(connection, self._store.settings.data, paths)
        return bool(paths)
