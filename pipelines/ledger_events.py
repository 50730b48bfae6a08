"""A sensor that turns the ledger into Dagster events, and sends notices about it.

The ledger has the entries of all processes, so the sensor reports what the command line did too.
"""

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import dagster as dg

from pipelines.balance import evaluation
from pipelines.export_checks import check_export, evaluations
from pipelines.exports import export_metadata
from pipelines.imports import batch_metadata, summary_of
from pipelines.notices import send_notices
from pipelines.partitions import ACCOUNTS
from pipelines.store_resource import RecordsResource
from resources.record_store import RecordStore
from resources.running_ui import page_of
from schemas import record_type_names
from schemas.batches import Batch, BatchStatus, ImportReport
from schemas.exports import ExportManifest
from schemas.notice_cursor import Entry, NoticeCursor
from schemas.notices import Message, of_batch, of_export

_ROWS_A_TICK = 200
_RECORDS_A_TICK = 500_000
"""How many exported records a tick reads back at most. They take some seconds of the 60 that Dagster allows."""

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@dg.sensor(
    job_name=check_export.name,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Show commits, previews, exports and new accounts in Dagster, and send notices about some of them.",
)
def ledger_events(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.SensorResult | dg.SkipReason:
    """Turn new rows of the ledger into events: commits and exports into materialisations, previews into observations.

    Every preview and commit evaluates the check of the balance, every export the checks of exports. If an export has
    more records than a tick may read, a run checks it. New accounts become partitions first. The import history in
    PostgreSQL gets the entries of processes that were killed.

    The cursor has two parts: the last row of the ledger that became an event, and the cursor of notices.
    """
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        store.catch_up()
        before = last, notices = _parse(context.cursor)
        news = store.ledger_after(last, _ROWS_A_TICK)
        known = context.instance.get_dynamic_partitions(ACCOUNTS.name or "")
        new = sorted(set(news.accounts) - set(known))
        rows = _for_a_tick(news.rows)
        known_rows = [row for _, row in rows if row.record_type in record_type_names()]
        unbalanced = {name: store.unbalanced(name) for name in {row.record_type for row in known_rows}}
        events = [event for row in known_rows for event in _events(store, row, unbalanced[row.record_type])]
        last = rows[-1][0] if rows else last
        notices = send_notices(store.settings, notices, lambda number: _entries(store, number), last, store.clock.now())
    if not new and (last, notices) == before:
        return dg.SkipReason("The ledger has nothing new.")
    return dg.SensorResult(
        dynamic_partitions_requests=[ACCOUNTS.build_add_request(new)] if new else [],
        asset_events=events,
        run_requests=[_check(row) for row in known_rows if _is_to_check(row) and row.rows > _RECORDS_A_TICK],
        cursor=f"{last}:{notices}",
    )


def _parse(cursor: str | None) -> tuple[int, NoticeCursor]:
    """Returns the last row that became an event, and the cursor of notices. A cursor of one number means both."""
    last, _, notices = (cursor or "0").partition(":")
    return int(last), NoticeCursor.parse(notices or last)


def _entries(store: RecordStore, number: int) -> list[Entry]:
    return [Entry(seq, row.at, _message(store, row)) for seq, row in store.ledger_after(number, _ROWS_A_TICK).rows]


def _message(store: RecordStore, row: Batch | ExportManifest) -> Message | None:
    settings = store.settings
    if isinstance(row, ExportManifest):
        return of_export(row, page_of(settings, row.account, "export", row.export_id))
    return of_batch(row, settings.rollback_window, page_of(settings, row.account, "history", row.batch_id))


def _is_to_check(row: Batch | ExportManifest) -> TypeGuard[ExportManifest]:
    """Returns whether it is an export that no run has checked yet."""
    return isinstance(row, ExportManifest) and row.run_id is None


def _for_a_tick(rows: Sequence[tuple[int, Batch | ExportManifest]]) -> list[tuple[int, Batch | ExportManifest]]:
    """Returns the first rows. Their exports together have no more records than a tick may read back."""
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
        if _is_to_check(row):  # its own run has reported the others
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
        yield dg.AssetMaterialization(
            ["records", row.record_type], summary_of(store, row), partition=row.account, metadata=metadata
        )
    else:
        report = records.with_files(ImportReport(row))
        metadata = batch_metadata(store, report)
        yield dg.AssetObservation(
            ["records", row.record_type], summary_of(store, row), partition=row.account, metadata=metadata
        )
    if row.status in (BatchStatus.PREVIEWED, BatchStatus.COMMITTED):
        yield evaluation(store, report, unbalanced)
