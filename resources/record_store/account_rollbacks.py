"""`AccountRollbacks`: plans a rollback of one account, and does it in one transaction."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from resources.clock import new_id
from resources.record_store import ledger, losses
from resources.record_store.account_store import AccountStore
from resources.record_store.lake import Connection
from resources.record_store.ledger_erasure import erased_since
from resources.record_store.refusals import (
    earlier_images_gone,
    images_gone,
    modified_since,
    not_committed,
    records_lost,
    window_over,
)
from resources.record_store.rollback import Images, Rollback
from resources.record_store.snapshots import current_number
from schemas.batches import STANDING, Batch, BatchStatus
from schemas.counts import Counts
from schemas.record_type import RecordType
from schemas.rollbacks import (
    DECISIONS,
    Conflict,
    ModifyingBatch,
    RollbackCounts,
    RollbackReport,
    RollbackRequest,
    Undone,
)

_CONFLICTS = 20


class _NothingToDo(Exception):
    """Ends a transaction that would write nothing."""


class AccountRollbacks(AccountStore):
    """Rolls back batches of one account."""

    def plan_rollback(self, request: RollbackRequest) -> RollbackReport:
        """Returns what a rollback would do now. Raises what `roll_back` raises, except ModifiedSince."""
        with self._store.reading() as connection:
            batch = self._batch(connection, request.batch_id)
            if batch.status is BatchStatus.ROLLED_BACK:
                return self._earlier_rollback(connection, batch)
            decision = DECISIONS[request.on_modified]
            now, record_types = self._store.time(connection), ledger.record_types(connection)
            rollback = self._rollback(connection, batch, now, record_types)
            rollback.compare(whole=not (decision.refuses or decision.restores))
            counts = rollback.counts(decision)
            conflicts, modified_by = self._modified(connection, rollback, counts)
            return RollbackReport(
                None,
                batch.batch_id,
                self.name,
                batch.record_type,
                "planned",
                counts,
                conflicts,
                modified_by,
                erased=erased_since(connection, batch),
            )

    def roll_back(self, request: RollbackRequest, actor: str, run_id: str | None) -> RollbackReport:
        """Restore each record that the batch touched, and record the rollback, in one commit.

        The request says what becomes of records that were modified since. Deleted records stay deleted. If the batch
        is rolled back already, nothing is written, and the report names that rollback.

        Raises NotFound, Refused if the batch is not committed, and WindowOver after the rollback window.
        Raises ModifiedSince if records were modified since and the request says STOP.
        """
        rollback_id = new_id("r", self._store.clock.now())
        message = f"roll back {request.batch_id}"

        def record_type(connection: Connection) -> str:
            return self._batch(connection, request.batch_id).record_type

        with suppress(_NothingToDo), self._writing(message, actor, rollback_id, record_type) as transaction:
            connection = transaction.connection
            batch = self._batch(connection, request.batch_id)
            if batch.status is BatchStatus.ROLLED_BACK:
                done = self._earlier_rollback(connection, batch)
                raise _NothingToDo
            decision = DECISIONS[request.on_modified]
            rollback = self._rollback(connection, batch, transaction.at, transaction.record_types)
            rollback.compare(whole=True)
            planned = rollback.counts(decision)
            conflicts, modified_by = self._modified(connection, rollback, planned)
            if planned.modified and decision.refuses:
                raise modified_since(batch, planned, conflicts, modified_by)
            undone = Undone(batch.batch_id, rollback.apply(decision, rollback_id))
            rollback_batch = Batch(
                batch_id=rollback_id,
                account=self.name,
                record_type=batch.record_type,
                status=BatchStatus.COMMITTED,
                actor=actor,
                at=transaction.at,
                run_id=run_id,
                file_name="",
                file_sha256="",
                counts=Counts(),
                on_modified=request.on_modified,
                committed_at=transaction.at,
                undone=undone,
                window=self._store.settings.rollback_window,
            )
            rolled_back = replace(batch, status=BatchStatus.ROLLED_BACK, actor=actor, run_id=run_id, at=transaction.at)
            transaction.append(ledger.append_batch, rollback_batch)
            transaction.append(ledger.append_batch, rolled_back)
            for number, other in enumerate(ledger.undone_by(connection, batch)):
                status = BatchStatus.ROLLED_BACK if number % 2 else BatchStatus.COMMITTED
                changed = replace(other, status=status, actor=actor, run_id=run_id, at=transaction.at)
                transaction.append(ledger.append_batch, changed)
            done = replace(
                _rollback_report(rollback_batch, undone),
                conflicts=conflicts,
                modified_by=modified_by,
                erased=erased_since(connection, batch),
            )
        return replace(done, snapshot=transaction.snapshot) if done.status == "committed" else done

    def _rollback(
        self, connection: Connection, batch: Batch, now: datetime, record_types: Mapping[str, RecordType]
    ) -> Rollback:
        """Returns the rollback of the batch. Raises Refused or WindowOver if it cannot be rolled back."""
        if batch.status not in STANDING or batch.committed_at is None:
            raise not_committed(batch)
        window = batch.promised(self._store.settings.rollback_window)
        if batch.status is BatchStatus.EXPIRED or batch.is_over(now, window):
            raise window_over(batch, batch.committed_at + window)
        loss = losses.touching(connection, batch.batch_id)
        if loss is not None:
            raise records_lost(batch, loss.path)
        own = Images.of(connection, batch)
        if own is None:
            raise images_gone(batch)
        earlier = []
        for other in ledger.rolled_back_since(connection, batch):
            images, loss = Images.of(connection, other), losses.touching(connection, other.batch_id)
            if loss is not None:
                raise records_lost(batch, loss.path)
            if images is None:
                raise earlier_images_gone(batch, other)
            earlier.append(images)
        read = [snapshot for images in (own, *earlier) for snapshot in (images.before, images.after)]
        self._require_whole(connection, batch.record_type, *read, current_number(connection))
        return Rollback(connection, record_types[batch.record_type], self.name, own, earlier)

    def _earlier_rollback(self, connection: Connection, batch: Batch) -> RollbackReport:
        return replace(_rollback_report(*ledger.rollback_of(connection, batch)), status=BatchStatus.ROLLED_BACK.value)

    def _modified(
        self, connection: Connection, rollback: Rollback, counts: RollbackCounts
    ) -> tuple[tuple[Conflict, ...], tuple[ModifyingBatch, ...]]:
        """Returns the first of the records that were modified since, and the batches that modified them."""
        if not counts.modified:
            return (), ()
        batches = [
            ModifyingBatch(batch_id, records, batch.file_name, batch.status is BatchStatus.COMMITTED)
            for batch_id, records in rollback.modified_by().items()
            if (batch := ledger.batch(connection, batch_id, self.name))  # none for an id from SQL
        ]
        return tuple(rollback.conflicts(_CONFLICTS)), tuple(batches)


def _rollback_report(rollback: Batch, undone: Undone) -> RollbackReport:
    return RollbackReport(
        batch_id=rollback.batch_id,
        undone=undone.batch_id,
        account=rollback.account,
        record_type=rollback.record_type,
        status=rollback.status.value,
        counts=undone.counts,
        at=rollback.committed_at,
    )
