"""Expires batches, merges small files, and removes files that are superfluous or left behind."""

from collections.abc import Callable
from datetime import datetime, timedelta

from resources.export_writer import sweep_exports
from resources.record_store import RecordStore, compaction
from resources.record_store.lake import Connection
from resources.record_store.lake_files import LAKE
from resources.record_store.snapshots import superseded
from resources.trash import Trash
from resources.upkeep.leftovers import UNKNOWN_FOR, sweep_archive, sweep_batches, sweep_steps
from resources.uploads import Uploads
from schemas.batches import BatchStatus
from schemas.errors import DamagedFile
from schemas.location import Location
from schemas.maintenance import ExpiryReport, MaintenanceReport, Removed
from schemas.record_type import RecordType

READING_FOR = timedelta(hours=24)
"""How long files that no snapshot needs are kept for readers: as long as a run may last."""

_SNAPSHOTS_A_STEP = 200

Step = Callable[[Connection, Location, RecordType], tuple[int, int]]


class Maintenance:
    """Keeps a store in order, as one actor and, inside Dagster, in one run.

    It may run at any time, beside any other work. It holds the write lock for one step at a time.
    The next run completes the work of a killed process.
    """

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id
        self._trash = Trash(store.settings)
        self._damaged: DamagedFile | None = None

    def expire(self) -> ExpiryReport:
        """Expire the batches that are past their time, and remove the files that batches no longer need."""
        recent = {batch.account for batch in self._store.unsettled()}
        ended = self._store.expire_batches(self._actor, self._run_id)
        self._store.settle()
        return ExpiryReport(
            expired=tuple(batch.batch_id for batch in ended if batch.status is BatchStatus.EXPIRED),
            discarded=tuple(batch.batch_id for batch in ended if batch.status is BatchStatus.DISCARDED),
            removed=sweep_batches(self._store, recent)
            + Uploads(self._store.settings).sweep(self._store.retention_time()),
        )

    def maintain(self) -> MaintenanceReport:
        """Merge and sort the lake's files; remove the snapshots below the horizon, and files after their retention.

        The horizon is two rollback windows before now. Every snapshot that was current since then is kept, so that a
        batch, and then its rollback, can be rolled back. Files go into the trash first.

        If a file is damaged and cannot be merged, raises DamagedFile after all other work is done.
        """
        with self._store.operation():  # each step needs all small files of a type, and compares those that are new
            return self._maintained()

    def _maintained(self) -> MaintenanceReport:
        expiry = self.expire()
        old_files = self._remove_old_files()
        snapshots = self._expire_snapshots()
        rewritten, rewritten_into = self._repeat("write files anew", compaction.rewrite_deleted)
        merged, merged_into = self._repeat("merge files", compaction.merge_small_files)
        orphans = self._remove_superfluous()
        now = self._store.retention_time()
        exports, archived = sweep_exports(self._store.settings, now), sweep_archive(self._store)
        trash = self._trash.sweep(now)
        with self._store.reading() as connection:
            storage = compaction.storage(connection, self._store.settings.data)
            unknown = compaction.unknown_files(connection, self._store.settings.data)
        if self._damaged is not None:
            raise self._damaged
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
            steps=sweep_steps(self._store),
            trash=trash,
            unknown=tuple(unknown),
            storage=storage,
        )

    def _remove_old_files(self) -> Removed:
        """Move the files that earlier rounds replaced into the trash, after reading their replacements whole.

        This happens before this round replaces any file, so that no round removes the files that it replaced itself.
        """
        now, data = self._store.retention_time(), self._store.settings.data
        removed = Removed()
        with self._store.catalog_change() as connection:
            files = compaction.replaced(connection, now - READING_FOR)
            if not files:
                return removed
            try:
                compaction.require_replacements(connection, data, files)
            except DamagedFile as error:
                self._damaged = error
                return removed
            # The catalog forgets them first, so that it never names a missing file. What is left is superfluous.
            compaction.forget(connection, [file.path for file in files])
        for file in files:
            removed += self._trash.put(data / file.path, now)
        return removed

    def _remove_superfluous(self) -> Removed:
        """Move the files that killed writers of this store left into the trash."""
        now, data = self._store.retention_time(), self._store.settings.data
        removed = Removed()
        with self._store.transaction("remove orphans", self._actor, writes=()) as transaction:
            for path in compaction.superfluous(transaction.connection, data, now - UNKNOWN_FOR):
                removed += self._trash.put(data / path, now)
        return removed

    def _expire_snapshots(self) -> int:
        horizon = self._horizon()
        expired = 0
        while True:
            with self._store.transaction("expire snapshots", self._actor, writes=()) as transaction:
                step = superseded(transaction.connection, horizon)[:_SNAPSHOTS_A_STEP]
                if not step:
                    return expired
                compaction.expire_snapshots(transaction.connection, step)
            expired += len(step)

    def _horizon(self) -> datetime:
        """Return now less two rollback windows: this process's, or the longest one that a recent batch has recorded."""
        now, window = self._store.retention_time(), self._store.settings.rollback_window
        windows = [
            batch.window
            for batch in self._store.unsettled()
            if batch.window is not None
            and batch.committed_at is not None
            and now < batch.committed_at + 2 * batch.window
        ]
        return now - 2 * max([window, *windows])

    def _repeat(self, message: str, step: Step) -> tuple[int, int]:
        """Repeat a step for each record type until it finds no work. Returns the numbers of files before and after."""
        before = after = 0
        for record_type in self._store.record_types().values():
            taken = 1
            while taken:
                try:
                    taken, made = self._step(message, record_type, step)
                except DamagedFile as error:  # the other record types go on
                    self._damaged = error
                    break
                before, after = before + taken, after + made
        return before, after

    def _step(self, message: str, record_type: RecordType, step: Step) -> tuple[int, int]:
        with self._store.transaction(
            f"{message} of {record_type.name}",
            self._actor,
            writes=(f"{LAKE}/records/{record_type.name}/**/ducklake-*.parquet",),
            apart=True,
        ) as transaction:
            return step(transaction.connection, self._store.settings.data, record_type)
