"""Expiry: a sensor finds batches that are past their time, and a job records that in the ledger."""

import dagster as dg
from pydantic import Field

from pipelines.imports import ACTOR
from pipelines.launchpad import flat
from pipelines.runs import HIDDEN, tag_run
from pipelines.store_resource import RETRIES, UPKEEP, RecordsResource
from resources.upkeep.maintenance import Maintenance
from schemas.retries import next_attempt

_SENSOR = "sensor:batch_expiry"
_OF_BATCH = f"{HIDDEN}first-batch"


class ExpiryConfig(dg.Config):
    """The actor who expires batches."""

    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES, pool=UPKEEP)
def expire(context: dg.OpExecutionContext, config: ExpiryConfig, records: RecordsResource) -> None:
    """Expire batches that are past their time, and remove staged records, rejects and reports that no batch needs."""
    with records.open() as store:
        actor = config.actor or store.settings.actor
        tag_run(context, actor=actor)
        report = Maintenance(store, actor, context.run_id).expire()
        context.add_output_metadata(
            {
                "expired": len(report.expired),
                "discarded": len(report.discarded),
                "batches": dg.MetadataValue.json([*report.expired, *report.discarded]),
                "folders_removed": report.removed.number,
                "bytes_reclaimed": report.removed.bytes,
            }
        )


@dg.job(config=flat(expire.name, ExpiryConfig))
def expire_batches() -> None:
    """Mark batches that can no longer be rolled back as expired, discard old previews, and remove their files."""
    expire()


@dg.sensor(
    job_name=expire_batches.name,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Start expire_batches when a batch can no longer be rolled back, or a preview no longer committed.",
)
def batch_expiry(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.RunRequest | dg.SkipReason:
    """Request a run while there are batches past their time and no earlier run is working on them.

    The run key has the first batch and the number of attempts, so that another run follows a failed one.
    """
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        over, now = store.over(), store.now()
    if not over:
        return dg.SkipReason("The time of no batch has ended.")
    first = over[-1].batch_id
    runs = context.instance.get_run_records(dg.RunsFilter(job_name=expire_batches.name, tags={_OF_BATCH: first}))
    if any(not run.dagster_run.is_finished for run in runs):
        return dg.SkipReason(f"A run for {first} is under way.")
    if runs and now < next_attempt([run.create_timestamp for run in runs]):
        return dg.SkipReason(f"{len(runs)} runs for {first} have failed. The next one waits.")
    return dg.RunRequest(
        run_key=f"{first}:{len(runs)}",
        tags={_OF_BATCH: first},
        run_config={"actor": _SENSOR},
    )
