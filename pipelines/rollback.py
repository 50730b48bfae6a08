"""Taking a batch back as a Dagster job."""

import dagster as dg
from pydantic import Field

from pipelines.choices import OnModifiedName
from pipelines.imports import ACCOUNT, ACTOR
from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from schemas.rollbacks import OnModified, RollbackReport, RollbackRequest


class RollbackConfig(dg.Config):
    """One batch to take back."""

    account: str = Field(default="", description=ACCOUNT)
    batch_id: str = Field(default="", description="The batch, an import or a rollback. Required.")
    on_modified: OnModifiedName = Field(
        default="stop",
        description="When records were modified since: touch nothing, leave those, take back what nobody changed in "
        "them, or restore them all the same.",
    )
    dry_run: bool = Field(default=False, description="Only say what would become of the records.")
    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES)
def roll_back(context: dg.OpExecutionContext, config: RollbackConfig, records: RecordsResource) -> str:
    """What the batch created is removed, what it changed is as it was before; or it is said what would become."""
    with records.open() as store:
        actor = config.actor or store.settings.actor
        tag_run(context, account=config.account, batch=config.batch_id, actor=actor)
        request = RollbackRequest(config.account, config.batch_id, OnModified(config.on_modified))
        account = store.account(config.account)
        plan = account.plan_rollback
        report = plan(request) if config.dry_run else account.roll_back(request, actor, context.run_id)
        context.add_output_metadata(rollback_metadata(report))
        tag_run(context, type=report.record_type)
        return report.batch_id or report.undone


@dg.job(config=flat(roll_back.name, RollbackConfig))
def roll_back_batch() -> None:
    """Take a batch back: its records are as they were before it, unless they were modified since."""
    roll_back()


def rollback_metadata(report: RollbackReport) -> dict[str, str | int]:
    """What Dagster shows of a rollback. No keys of records: they may be personal."""
    shown: dict[str, str | int] = {
        "batch_id": report.batch_id or "none: a dry run",
        "undone": report.undone,
        "account": report.account,
        "status": report.status,
        **vars(report.counts),
    }
    if report.snapshot is not None:
        shown["snapshot"] = report.snapshot
    return shown
