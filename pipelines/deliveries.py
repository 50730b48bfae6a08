"""Daily exports: a schedule finds the ones that are due, and a job makes them."""

import traceback
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
from pydantic import Field

from pipelines.export_checks import evaluations
from pipelines.exports import export_metadata
from pipelines.launchpad import flat, in_launchpad_words
from pipelines.runs import HIDDEN, tag_run
from pipelines.store_resource import RETRIES, RecordsResource, Refusal
from resources.deliveries import Deliveries
from resources.record_store import RecordStore
from schemas.deliveries import Due, next_time
from schemas.errors import RecordsError
from schemas.exports import ExportManifest
from schemas.filters import parse_timestamp
from schemas.retries import next_attempt

_NAMES, _DUE_AT = f"{HIDDEN}deliveries", f"{HIDDEN}due-at"
_LONGEST_RUN = timedelta(days=1)
"""The longest run that the run monitoring of deploy/ allows."""


class DeliveriesConfig(dg.Config):
    """The exports to deliver."""

    names: list[str] = Field(default=[], description='Exports of exports.yaml, for example ["daily"]. Required.')
    due_at: str = Field(
        default="",
        description="Make the exports due at this time, for example 2024-05-31T07:00:00Z. Empty: now.",
    )


@dg.op(retry_policy=RETRIES)
def deliver(context: dg.OpExecutionContext, config: DeliveriesConfig, records: RecordsResource) -> None:
    """Make each export as exports.yaml says. When the others are done, name those that failed."""
    shown: list[dg.TableRecord] = []
    failed: dict[str, str] = {}
    with records.open() as store:
        tag_run(context, deliveries=",".join(config.names))
        deliveries = Deliveries(store)
        now = parse_timestamp(config.due_at) if config.due_at else store.now()
        for name in config.names:
            try:
                manifest = deliveries.deliver(name, now, context.run_id)
                _log(context, store, manifest)
            except RecordsError as error:
                failed[name] = in_launchpad_words(str(error))
            except Exception as error:  # its text may hold values; its class and its place hold none
                failed[name] = f"{type(error).__name__}: see the run's log."
                context.log.error(
                    f"{name}: {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
                )
            else:
                shown.append(_shown(name, manifest))
    metadata = {"deliveries": dg.MetadataValue.table(shown, schema=_SCHEMA)}
    if failed or not config.names:
        reasons = " ".join(f"{name}: {sentence}" for name, sentence in failed.items())
        names = f": {', '.join(failed)}" if failed else ""
        raise Refusal(
            f"{len(failed)} of {len(config.names)} deliveries failed{names}. {reasons or 'Give names.'}", metadata
        )
    context.add_output_metadata(metadata)


@dg.job(config=flat(deliver.name, DeliveriesConfig))
def deliver_exports() -> None:
    """Make daily exports, each as exports.yaml in the home says."""
    deliver()


@dg.schedule(
    job=deliver_exports,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Start deliver_exports for the exports of exports.yaml that are due.",
)
def daily_exports(context: dg.ScheduleEvaluationContext, records: RecordsResource) -> dg.RunRequest | dg.SkipReason:
    """Request one run for all exports that are due and not under way. Without any, say which comes next.

    A mistake in exports.yaml fails the tick, but only when nothing else is due.
    """
    now = context.scheduled_execution_time
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        deliveries = Deliveries(store)
        due = deliveries.due(now)
    waiting = _waiting(context.instance, due, now)
    names = [each.delivery.name for each in due if each.delivery.name not in waiting]
    if names:
        return dg.RunRequest(
            run_key=now.isoformat(),
            tags={_NAMES: ",".join(names), _DUE_AT: now.isoformat()},
            run_config={"names": names, "due_at": now.isoformat()},
        )
    coming = next_time([*deliveries.entries.values()], now)
    following = "exports.yaml asks for no export." if coming is None else f"The next one: {coming}."
    if deliveries.mistakes:
        raise Refusal("\n".join([*map(str, deliveries.mistakes), *waiting.values(), following]))
    return dg.SkipReason(" ".join([*waiting.values(), following]))


def _waiting(instance: dg.DagsterInstance, due: Sequence[Due], now: datetime) -> dict[str, str]:
    """Returns a sentence for each delivery that a run is making, or that failed a short time ago, by name."""
    if not due:
        return {}
    since = min(each.timestamp for each in due) - _LONGEST_RUN
    runs = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(job_name=deliver_exports.name, created_after=since))
        if _NAMES in record.dagster_run.tags
    ]
    waiting = {}
    for each in due:
        name = each.delivery.name
        mine = [run for run in runs if name in run.tags[_NAMES].split(",")]
        tried = [at for run in mine if (at := datetime.fromisoformat(run.tags[_DUE_AT])) >= each.timestamp]
        if any(not run.is_finished for run in mine):
            waiting[name] = f"A run for {name} is under way."
        elif tried and now < next_attempt(tried):
            waiting[name] = f"{name} has failed {len(tried)} times. The next attempt waits."
    return waiting


def _log(context: dg.OpExecutionContext, store: RecordStore, manifest: ExportManifest) -> None:
    """Report the export to Dagster, as the jobs export_<type> do.

    Dagster keeps only the last evaluation of a check in a run, and this run has several exports. So the evaluations
    are reported outside the run.
    """
    context.log_event(
        dg.AssetMaterialization(
            ["exports", manifest.record_type], partition=manifest.account, metadata=export_metadata(store, manifest)
        )
    )
    for event in evaluations(store, manifest):
        context.instance.report_runless_asset_event(event)


_SCHEMA = dg.TableSchema(
    [
        *map(dg.TableColumn, ("name", "account", "type")),
        *(dg.TableColumn(name, "int") for name in ("rows", "bytes")),
        dg.TableColumn("seconds", "float"),
        *map(dg.TableColumn, ("path", "export_id")),
    ]
)


def _shown(name: str, manifest: ExportManifest) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "name": name,
            "account": manifest.account,
            "type": manifest.record_type,
            "rows": manifest.rows,
            "bytes": manifest.bytes,
            "seconds": manifest.seconds or 0.0,
            "path": str(manifest.path),
            "export_id": manifest.export_id,
        }
    )
