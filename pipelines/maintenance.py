"""Nightly maintenance of the store."""

import dagster as dg
from pydantic import Field

from pipelines.imports import ACTOR
from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, UPKEEP, RecordsResource
from resources.upkeep.maintenance import Maintenance


class MaintenanceConfig(dg.Config):
    """The actor who maintains the store."""

    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES, pool=UPKEEP)
def maintain(context: dg.OpExecutionContext, config: MaintenanceConfig, records: RecordsResource) -> None:
    """Merge and sort the lake's files, and remove old files and snapshots."""
    with records.open() as store:
        actor = config.actor or store.settings.actor
        tag_run(context, actor=actor)
        report = Maintenance(store, actor, context.run_id).maintain()
        context.add_output_metadata(
            {
                "bytes_reclaimed": report.reclaimed,
                "bytes_current": report.storage.current,
                "bytes_held_for_rollback": report.storage.held,
                "batches_expired": len(report.expiry.expired),
                "previews_discarded": len(report.expiry.discarded),
                "snapshots_expired": report.snapshots,
                "files_merged": report.merged,
                "files_rewritten": report.rewritten,
                "files_written": report.written,
                "old_files_removed": report.old_files.number,
                "orphans_removed": report.orphans.number,
                "exports_removed": report.exports.number,
                "archived_files_removed": report.archived.number,
            }
        )


@dg.job(config=flat(maintain.name, MaintenanceConfig))
def maintain_store() -> None:
    """Merge and sort the lake's files, expire old snapshots, and remove files that are no longer needed."""
    maintain()


nightly_maintenance = dg.ScheduleDefinition(
    name="nightly_maintenance",
    job=maintain_store,
    cron_schedule="15 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    run_config={"actor": "schedule:nightly_maintenance"},
    description="Maintain the store every night at 3:15 UTC.",
)
