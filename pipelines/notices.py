"""Notices to people. `ledger_events` sends those about the ledger, the sensor here those about failed runs."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from pipelines.deployment import address_of
from pipelines.runs import ACCOUNT, BATCH
from pipelines.store_resource import RecordsResource
from resources.notifier import Notifier
from resources.running_ui import page_of
from resources.settings import Settings
from schemas.errors import InvalidRequest
from schemas.notice_cursor import Entry, NoticeCursor
from schemas.notices import Message, first_sentence, of_failure

_LOG = logging.getLogger(__name__)
_FAILURES_A_TICK = 50
_PARTITION = "dagster/partition"
_BEHIND = "A receiver did not accept a message. It will be retried."


def send_notices(
    settings: Settings,
    cursor: NoticeCursor,
    entries_after: Callable[[int], Sequence[Entry]],
    newest: int,
    now: datetime,
) -> NoticeCursor:
    """Send new entries to the receivers of RECORDS_NOTIFY; returns the new cursor.

    Without receivers the cursor moves to the newest entry. If an address cannot be read, the mistake is logged and the
    entries wait until the operator corrects it.
    """
    if not settings.notify:
        return NoticeCursor(newest)
    try:
        notifier = Notifier(settings)
    except InvalidRequest as error:
        _LOG.error("%s", error)
        return cursor
    return notifier.send_new(cursor, entries_after, now)


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notify the receivers of RECORDS_NOTIFY of every failed run.",
)
def run_failures(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.SensorResult | dg.SkipReason:
    """Send one message for each failed run. The first tick only sets the cursor to the newest failure."""
    newest = _newest_failure(context.instance)
    with records.open() as store:
        settings, now = store.settings, store.clock.now()
    if context.cursor is None:
        return dg.SensorResult(skip_reason="Notices of failed runs begin now.", cursor=str(NoticeCursor(newest)))
    cursor = send_notices(
        settings,
        NoticeCursor.parse(context.cursor),
        lambda number: _failures(context.instance, settings, number),
        newest,
        now,
    )
    if str(cursor) == context.cursor:
        return dg.SkipReason(_BEHIND if cursor.behind else "No run has failed since the last notice.")
    return dg.SensorResult(skip_reason=f"Sent notices up to failure {cursor.number}.", cursor=str(cursor))


def _newest_failure(instance: dg.DagsterInstance) -> int:
    found = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return found[0].storage_id if found else 0


def _failures(instance: dg.DagsterInstance, settings: Settings, number: int) -> list[Entry]:
    wanted = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=number)
    found = instance.fetch_run_status_changes(wanted, limit=_FAILURES_A_TICK, ascending=True).records
    return [
        Entry(record.storage_id, datetime.fromtimestamp(record.timestamp, UTC), _message(instance, settings, record))
        for record in found
    ]


def _message(instance: dg.DagsterInstance, settings: Settings, record: dg.EventLogRecord) -> Message | None:
    run = instance.get_run_by_id(record.run_id)
    if run is None:  # deleted since
        return None
    address = address_of(settings)
    account = run.tags.get(_PARTITION) or run.tags.get(ACCOUNT)
    place = f"Run {run.run_id}" if address is None else f"{address}/runs/{run.run_id}"
    batch = run.tags.get(BATCH)
    page = page_of(settings, account, "history", batch) if account and batch else None
    if page is not None:  # of a conflict, for example: the page explains the choices
        place += f"\nIn the browser: {page}"
    return of_failure(run.job_name, account, _why(record), place)


def _why(record: dg.EventLogRecord) -> str:
    """Returns the first sentence of our own failures. The text of others may hold values, so only their class."""
    event = record.event_log_entry.dagster_event
    failure = None if event is None else event.job_failure_data
    step = None if failure is None else failure.first_step_failure_event
    data = None if step is None else step.step_failure_data
    place = "" if step is None else f"{step.step_key}: "
    if data is not None and data.user_failure_data is not None and data.user_failure_data.description:
        return f"{place}{first_sentence(data.user_failure_data.description)}"
    error = data.error if data is not None else failure.error if failure is not None else None
    if error is not None and error.cause is not None:  # the step's own error, inside Dagster's
        error = error.cause
    if error is None or not error.cls_name:
        return f"{place}It ended without an error, for example because it was killed."
    return f"{place}{error.cls_name}."
