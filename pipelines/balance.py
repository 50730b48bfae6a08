"""The balance of batches as a check on `records/<type>`: every record of a file has exactly one outcome.

The check has no partitions, because Dagster 1.13 keeps only one evaluation outside a run for each partition. Its table
is unique by run and partition, so a second evaluation fails. So each evaluation names its account. All fail while a
batch of any account is unbalanced, so that the pass of one account does not hide the failure of another.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from pipelines.store_resource import RecordsResource
from resources.record_store import RecordStore
from schemas.batches import Batch, ImportReport
from schemas.record_type import RecordType

ACCOUNTED = "every_record_accounted_for"


def balance_check(record_type: RecordType) -> dg.AssetChecksDefinition:
    """Returns the check on the records of a type. `ledger_events` evaluates it at every preview and commit."""

    @dg.asset_check(
        asset=["records", record_type.name],
        name=ACCOUNTED,
        description="In each batch the created, updated, unchanged, rejected and duplicate records add up to the "
        "records read. A commit wrote as many as it created and updated. Fails while any batch is unbalanced.",
    )
    def every_record_accounted_for(records: RecordsResource) -> dg.AssetCheckResult:
        """Check that no previewed or committed batch of the type is unbalanced."""
        with records.open() as store:
            unbalanced = store.unbalanced(record_type.name)
        return dg.AssetCheckResult(passed=not unbalanced, metadata=_named(unbalanced))

    return every_record_accounted_for


def evaluation(store: RecordStore, report: ImportReport, unbalanced: Sequence[Batch]) -> dg.AssetCheckEvaluation:
    """Returns the result of the check for a batch. It also fails if another batch of the type is unbalanced.

    The numbers come from the ledger. If the snapshot of a commit is still kept, the records themselves are counted.
    """
    batch, counts = report.batch, report.batch.counts
    shown: dict[str, Any] = {
        "account": batch.account,
        "batch_id": batch.batch_id,
        "status": batch.status.value,
        **vars(counts),
        "accounted": counts.accounted,
        **_named(unbalanced),
    }
    passed = counts.accounted == counts.read and not unbalanced
    if report.snapshot is not None:
        record_type = store.record_type(batch.record_type)
        shown["written"] = store.account(batch.account).count(record_type, report.snapshot, batch.batch_id)
        shown["snapshot"] = report.snapshot
        passed = passed and shown["written"] == batch.written
    return dg.AssetCheckEvaluation(dg.AssetKey(["records", batch.record_type]), ACCOUNTED, passed, shown)


def _named(unbalanced: Sequence[Batch]) -> dict[str, str]:
    return {"unbalanced": ", ".join(f"{batch.batch_id} of {batch.account}" for batch in unbalanced) or "none"}
