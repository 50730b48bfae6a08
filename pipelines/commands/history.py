"""`records batches`, `show` and `rollback`."""

import click

from pipelines.commands import options
from pipelines.commands.imports import print_report
from pipelines.commands.options import PAGE, open_store, owner, print_json
from schemas.batches import BatchStatus
from schemas.rollbacks import OnModified, RollbackRequest


@click.command()
@options.account
@click.option("-t", "--type", "record_type", help="Only batches of this record type.")
@click.option("--status", type=click.Choice(BatchStatus, case_sensitive=False), help="Only batches in this status.")
@options.page
@options.as_json
def batches(account: str | None, record_type: str | None, status: BatchStatus | None, page: int, as_json: bool) -> None:
    """List the imports and rollbacks, newest first."""
    with open_store() as store:
        found = store.batches(account, record_type, status, offset=(page - 1) * PAGE, limit=PAGE + 1)
        reports = store.reports(found[:PAGE])
        now = store.clock.now()
    following = page + 1 if len(found) > PAGE else None
    if as_json:
        print_json({"items": [report.to_dict() for report in reports], "next": following})
    else:
        from pipelines.commands.batch_texts import print_batches

        print_batches(reports, now, following)


@click.command()
@options.batch
@options.account
@options.show_values
@options.as_json
def show(batch_id: str, account: str | None, show_values: bool, as_json: bool) -> None:
    """Show what BATCH did, and what is wrong with its records."""
    with open_store() as store:
        report = store.account(owner(store, batch_id, account)).report(batch_id)
        print_report(store, report, show_values, as_json)


@click.command()
@options.batch
@options.account
@click.option(
    "--on-modified",
    type=click.Choice(OnModified, case_sensitive=False),
    default=OnModified.STOP.value,
    show_default=True,
    help="If records were modified since: stop, keep them, merge (restore only fields that are unchanged since), or "
    "overwrite the later changes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what the rollback would do.")
@options.as_json
def rollback(batch_id: str, account: str | None, on_modified: OnModified, dry_run: bool, as_json: bool) -> None:
    """Roll BATCH back: remove what it created, and restore what it changed."""
    with open_store() as store:
        request = RollbackRequest(owner(store, batch_id, account), batch_id, on_modified)
        records = store.account(request.account)
        if dry_run:
            report = records.plan_rollback(request)
        else:
            report = records.roll_back(request, store.settings.actor, run_id=None)
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.batch_texts import print_rollback

        print_rollback(report, on_modified)
