"""Keeping house: batches whose time has ended, files that are small, superfluous or left behind."""

from collections.abc import Callable
from datetime import timedelta

from resources.export_writer import sweep_exports
from resources.leftovers import UNKNOWN_FOR, sweep_archive, sweep_batches
from resources.record_store import RecordStore, upkeep
from resources.record_store.lake import Connection
from resources.record_store.snapshots import superseded
from schemas.batches import BatchStatus
from schemas.maintenance import ExpiryReport, MaintenanceReport, Removed
from schemas.record_type import RecordType

READING_FOR = timedelta(hours=24)
"""How long a reader may go on reading files that no snapshot needs any more: as long as a run may last."""

_SNAPSHOTS_A_STEP = 200

Step = Callable[[Connection, RecordType], tuple[int, int]]


class Maintenance:
    """Keeps a store in order, as one actor and, inside Dagster, in one run.

    All of it may be done at any time and beside anything else; the write lock is held for one step at a time.
    What a killed process did not do is done by the next.
    """

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id

    def expire(self) -> ExpiryReport:
        """No batch is open whose time has ended, and the files that batches no longer need are gone."""
        ended = self._store.expire_batches(self._actor, self._run_id)
        return ExpiryReport(
            expired=tuple(batch.batch_id for batch in ended if batch.status is BatchStatus.EXPIRED),
            discarded=tuple(batch.batch_id for batch in ended if batch.status is BatchStatus.DISCARDED),
            removed=sweep_batches(self._store),
        )

    def maintain(self) -> MaintenanceReport:
        """The lake's files are few, sorted and needed; snapshots below the horizon and files past their days are gone.

        The horizon is now less twice the rollback window: every snapshot that was current at a moment since then is
        kept, so that a batch and then its rollback can be taken back.
        """
        expiry = self.expire()
        snapshots = self._expire_snapshots()
        rewritten, rewritten_into = self._repeat("write files anew", upkeep.rewrite_deleted)
        merged, merged_into = self._repeat("merge files", upkeep.merge_small_files)
        now = self._store.now()
        with self._store.transaction("remove old files", self._actor) as transaction:
            old_files = upkeep.remove_old_files(transaction.connection, now - READING_FOR)
        with self._store.transaction("remove orphans", self._actor) as transaction:
            orphans = upkeep.remove_orphans(transaction.connection, now - UNKNOWN_FOR)
        exports, archived = sweep_exports(self._store.settings, now), sweep_archive(self._store)
        with self._store.reading() as connection:
            storage = upkeep.storage(connection)
        return MaintenanceReport(
            expiry=expiry,
            snapshots=snapshots,
            merged=merged,
            rewritten=rewritten,
            written=rewritten_into + merged_into,
            old_files=old_files,
            orphans=orphans,
            exports=Removed(exports.unfinished + exports.files, exports.bytes),
            archived=archived,
            storage=storage,
        )

    def _expire_snapshots(self) -> int:
        horizon = self._store.now() - 2 * self._store.settings.rollback_window
        expired = 0
        while True:
            with self._store.transaction("expire snapshots", self._actor) as transaction:
                step = superseded(transaction.connection, horizon)[:_SNAPSHOTS_A_STEP]
                if not step:
                    return expired
                upkeep.expire_snapshots(transaction.connection, step)
            expired += len(step)

    def _repeat(self, message: str, step: Step) -> tuple[int, int]:
        """The step is done for each record type until there is nothing to do; returns files before and after."""
        before = after = 0
        for record_type in self._store.record_types().values():
            while True:
                with self._store.transaction(f"{message} of {record_type.name}", self._actor) as transaction:
                    taken, made = step(transaction.connection, record_type)
                before, after = before + taken, after + made
                if not taken:
                    break
        return before, after
