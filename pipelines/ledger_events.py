"""One sensor carries the ledger into Dagster, and to whom it may concern, whoever wrote it."""

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import dagster as dg

from pipelines.balance import evaluation
from pipelines.export_checks import check_export, evaluations
from pipelines.exports import export_metadata
from pipelines.imports import batch_metadata
from pipelines.notices import tell
from pipelines.partitions import ACCOUNTS
from pipelines.store_resource import RecordsResource
from resources.record_store import RecordStore
from schemas import record_type_names
from schemas.batches import Batch, BatchStatus, ImportReport
from schemas.exports import ExportManifest
from schemas.notice_cursor import Entry, Told
from schemas.notices import of_batch, of_export

_ROWS_A_TICK = 200
_RECORDS_A_TICK = 500_000
"""So many exported records are read back in a tick, at most: some seconds of the 60 that Dagster gives it."""

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@dg.sensor(
    job_name=check_export.name,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Carry commits, previews, exports and new accounts into Dagster, whoever made them, and tell of some.",
)
def ledger_events(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.SensorResult | dg.SkipReason:
    """Commits become materialisations, previews observations, exports made outside Dagster materialisations.

    At every preview and commit the check of the balance is evaluated, at every export those of exports; where one has
    more records than a tick may read, by a run.
    The import history in PostgreSQL catches up, where who wrote was killed before it could.
    Whom RECORDS_NOTIFY names is told of some of them. The cursor is the number of the last row of the ledger that was
    carried over, and of the last that was told. New accounts become partitions first.
    """
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        store.catch_up()
        before = carried, told = _parse(context.cursor)
        news = store.ledger_after(carried, _ROWS_A_TICK)
        known = context.instance.get_dynamic_partitions(ACCOUNTS.name or "")
        new = sorted(set(news.accounts) - set(known))
        rows = _for_a_tick(news.rows)
        known_rows = [row for _, row in rows if row.record_type in record_type_names()]
        unbalanced = {name: store.unbalanced(name) for name in {row.record_type for row in known_rows}}
        events = [event for row in known_rows for event in _events(store, row, unbalanced[row.record_type])]
        carried = rows[-1][0] if rows else carried
        told = tell(store.settings, told, lambda number: _to_tell(store, number), carried, store.clock.now())
    if not new and (carried, told) == before:
        return dg.SkipReason("The ledger has nothing new.")
    return dg.SensorResult(
        dynamic_partitions_requests=[ACCOUNTS.build_add_request(new)] if new else [],
        asset_events=events,
        run_requests=[_check(row) for row in known_rows if _is_to_check(row) and row.rows > _RECORDS_A_TICK],
        cursor=f"{carried}:{told}",
    )


def _parse(cursor: str | None) -> tuple[int, Told]:
    """The last row that was carried over, and how far receivers have been told. One number is both."""
    carried, _, told = (cursor or "0").partition(":")
    return int(carried), Told.parse(told or carried)


def _to_tell(store: RecordStore, number: int) -> list[Entry]:
    window = store.settings.rollback_window
    return [
        Entry(seq, row.at, of_batch(row, window) if isinstance(row, Batch) else of_export(row))
        for seq, row in store.ledger_after(number, _ROWS_A_TICK).rows
    ]


def _is_to_check(row: Batch | ExportManifest) -> TypeGuard[ExportManifest]:
    """Whether it is an export that no run has checked itself."""
    return isinstance(row, ExportManifest) and row.run_id is None


def _for_a_tick(rows: Sequence[tuple[int, Batch | ExportManifest]]) -> list[tuple[int, Batch | ExportManifest]]:
    """The first rows, up to where the exports among them have more records than are read back in a tick."""
    taken, records = [], 0
    for seq, row in rows:
        if _is_to_check(row) and row.rows <= _RECORDS_A_TICK:
            records += row.rows
        if records > _RECORDS_A_TICK:
            break
        taken.append((seq, row))
    return taken


def _check(export: ExportManifest) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=export.export_id, run_config={"account": export.account, "export_id": export.export_id}
    )


def _events(store: RecordStore, row: Batch | ExportManifest, unbalanced: Sequence[Batch]) -> Iterator[Event]:
    if isinstance(row, ExportManifest):
        if _is_to_check(row):  # else a run has materialised it itself
            metadata = export_metadata(store, row)
            yield dg.AssetMaterialization(["exports", row.record_type], partition=row.account, metadata=metadata)
            if row.rows <= _RECORDS_A_TICK:
                yield from evaluations(store, row)
        return
    records = store.account(row.account)
    if row.status is BatchStatus.COMMITTED:
        report = records.report(row.batch_id)
        metadata = batch_metadata(store, report)
        if report.snapshot is not None:
            record_type = store.record_type(row.record_type)
            metadata["dagster/row_count"] = records.count(record_type, report.snapshot)
        yield dg.AssetMaterialization(["records", row.record_type], partition=row.account, metadata=metadata)
    else:
        report = records.with_files(ImportReport(row))
        metadata = batch_metadata(store, report)
        yield dg.AssetObservation(["records", row.record_type], partition=row.account, metadata=metadata)
    if row.status in (BatchStatus.PREVIEWED, BatchStatus.COMMITTED):
        yield evaluation(store, report, unbalanced)
