"""Exports that are delivered every day: a schedule that sees what is due, and the job that makes it."""

import traceback
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
from pydantic import Field

from pipelines.export_checks import evaluations
from pipelines.exports import export_metadata
from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.deliveries import Deliveries
from resources.record_store import RecordStore
from schemas.deliveries import Due, next_time
from schemas.errors import RecordsError
from schemas.exports import ExportManifest
from schemas.filters import parse_moment
from schemas.retries import next_attempt

_NAMES, _MOMENT = "records/deliveries", "records/moment"
_LONGEST_RUN = timedelta(days=1)
"""What the run monitoring of deploy/ allows."""


class DeliveriesConfig(dg.Config):
    """What to deliver."""

    names: list[str] = Field(default=[], description='Exports of exports.yaml, for example ["daily"]. Required.')
    moment: str = Field(
        default="", description="Deliver what was due last at that moment, 2024-05-31T07:00:00Z. Empty: now."
    )


@dg.op(retry_policy=RETRIES)
def deliver(context: dg.OpExecutionContext, config: DeliveriesConfig, records: RecordsResource) -> None:
    """Each export is made as exports.yaml says; those that cannot be made are named when the others are done."""
    shown: list[dg.TableRecord] = []
    failed: dict[str, str] = {}
    with records.open() as store:
        tag_run(context, deliveries=",".join(config.names))
        deliveries = Deliveries(store)
        now = parse_moment(config.moment) if config.moment else store.now()
        for name in config.names:
            try:
                manifest = deliveries.deliver(name, now, context.run_id)
                _log(context, store, manifest)
            except RecordsError as error:
                failed[name] = str(error)
            except Exception as error:  # its text may hold values, its class and its place do not
                failed[name] = f"{type(error).__name__}: see the run's log."
                context.log.error(
                    f"{name}: {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
                )
            else:
                shown.append(_shown(name, manifest))
    metadata = {"deliveries": dg.MetadataValue.table(shown, schema=_SCHEMA)}
    if failed or not config.names:
        told = " ".join(f"{name}: {sentence}" for name, sentence in failed.items())
        names = f": {', '.join(failed)}" if failed else ""
        raise dg.Failure(
            f"{len(failed)} of {len(config.names)} deliveries failed{names}. {told or 'Give names.'}",
            metadata=metadata,
            allow_retries=False,
        )
    context.add_output_metadata(metadata)


@dg.job(config=flat(deliver.name, DeliveriesConfig))
def deliver_exports() -> None:
    """Make exports that are delivered every day, each as exports.yaml in the home says."""
    deliver()


@dg.schedule(
    job=deliver_exports,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Start deliver_exports when the time of exports in exports.yaml has come.",
)
def daily_exports(context: dg.ScheduleEvaluationContext, records: RecordsResource) -> dg.RunRequest | dg.SkipReason:
    """One run is requested for all that is due and that no other run is at; else it is said what comes next.

    What is wrong with the file fails the tick, once all else is under way.
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
            tags={_NAMES: ",".join(names), _MOMENT: now.isoformat()},
            run_config={"names": names, "moment": now.isoformat()},
        )
    coming = next_time([*deliveries.entries.values()], now)
    told = "exports.yaml asks for no export." if coming is None else f"The next one: {coming}."
    if deliveries.mistakes:
        raise dg.Failure("\n".join([*map(str, deliveries.mistakes), *waiting.values(), told]), allow_retries=False)
    return dg.SkipReason(" ".join([*waiting.values(), told]))


def _waiting(instance: dg.DagsterInstance, due: Sequence[Due], now: datetime) -> dict[str, str]:
    """The deliveries that a run is at, or that have failed a short time ago, and a sentence on each."""
    if not due:
        return {}
    since = min(each.moment for each in due) - _LONGEST_RUN
    runs = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(job_name=deliver_exports.name, created_after=since))
        if _NAMES in record.dagster_run.tags
    ]
    waiting = {}
    for each in due:
        name = each.delivery.name
        mine = [run for run in runs if name in run.tags[_NAMES].split(",")]
        tried = [at for run in mine if (at := datetime.fromisoformat(run.tags[_MOMENT])) >= each.moment]
        if any(not run.is_finished for run in mine):
            waiting[name] = f"A run for {name} is under way."
        elif tried and now < next_attempt(tried):
            waiting[name] = f"{name} has failed {len(tried)} times; the next attempt waits."
    return waiting


def _log(context: dg.OpExecutionContext, store: RecordStore, manifest: ExportManifest) -> None:
    """Dagster has the export as it has those of the exports' own jobs.

    Of one run it keeps the last evaluation of a check only, and this one has several exports.
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
