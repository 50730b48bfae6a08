"""A check of the whole store, every night after maintenance. It also measures the store's room.

Damage fails the run, which sends a notice.
"""

import dagster as dg
from pydantic import Field

from pipelines.imports import ACTOR
from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, UPKEEP, RecordsResource, Refusal
from resources.health.check import StoreCheck
from resources.health.last_check import note_check
from resources.health.last_space import note_space
from resources.health.space import measure_space
from schemas.checks import CheckReport
from schemas.counts import numbered

_SHOWN = 100


class CheckConfig(dg.Config):
    """How thoroughly the store is checked, and for whom."""

    fast: bool = Field(default=False, description="Compare names and sizes alone, and count no records.")
    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES, pool=UPKEEP)
def compare_store(context: dg.OpExecutionContext, config: CheckConfig, records: RecordsResource) -> None:
    """Compare the whole store with its checksums and its ledger. Fails if something is wrong."""
    with records.open() as store:
        tag_run(context, actor=config.actor or store.settings.actor)
        report = StoreCheck(store, fast=config.fast).run()
        note_check(store, report)
        note_space(store, measure_space(store))
    if report.wrong:
        raise Refusal(
            f"{numbered(len(report.wrong), 'thing')} in the store must be mended: {report.wrong[0].sentence} "
            f"{report.advice}".strip(),
            _metadata(report),
        )
    context.add_output_metadata(_metadata(report))


@dg.job(config=flat(compare_store.name, CheckConfig))
def check_store() -> None:
    """Compare all files with their checksums, the catalog with the files, and the ledger with the records."""
    compare_store()


nightly_check = dg.ScheduleDefinition(
    name="nightly_check",
    job=check_store,
    cron_schedule="15 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    run_config={"actor": "schedule:nightly_check"},
    description="Check the store every night at 4:15 UTC.",
)


def _metadata(report: CheckReport) -> dict[str, object]:
    """Returns what was compared, and the first findings. They name files and batches, and hold no value of a record."""
    rows = [
        dg.TableRecord(
            {"kind": it.kind.value, "sentence": it.sentence, "path": it.path or "", "account": it.account or ""}
        )
        for it in report.findings[:_SHOWN]
    ]
    shown: dict[str, object] = {
        "wrong": len(report.wrong),
        "notes": len(report.notes),
        "files": report.files,
        "bytes": report.bytes,
        "records": report.records,
        "batches": report.batches,
    }
    return shown | ({"findings": dg.MetadataValue.table(rows)} if rows else {})
