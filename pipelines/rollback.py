"""Rollback as a Dagster job."""

import dagster as dg
from pydantic import Field

from pipelines.choices import OnModifiedName
from pipelines.imports import ACCOUNT, ACTOR
from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from schemas.rollbacks import OnModified, RollbackReport, RollbackRequest


class RollbackConfig(dg.Config):
    """One batch to roll back."""

    account: str = Field(default="", description=ACCOUNT)
    batch_id: str = Field(default="", description="The batch, an import or a rollback. Required.")
    on_modified: OnModifiedName = Field(
        default="stop",
        description="For records that were modified since: stop changes nothing, keep leaves them, merge rolls back "
        "only their unmodified values, overwrite restores them anyway.",
    )
    dry_run: bool = Field(default=False, description="Only show what the rollback would do.")
    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES)
def roll_back(context: dg.OpExecutionContext, config: RollbackConfig, records: RecordsResource) -> str:
    """Remove the records that the batch created and restore those that it updated; or show what that would do."""
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
    """Roll a batch back: restore its records to what they were before, unless they were modified since."""
    roll_back()


def rollback_metadata(report: RollbackReport) -> dict[str, str | int]:
    """Returns what Dagster shows of a rollback. It has no keys of records: they may be personal."""
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
