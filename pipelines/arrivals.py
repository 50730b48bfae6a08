"""Files that arrive in the inbox: a sensor that takes what is complete, and the job that imports it.

The folders are the state: what lies in processing is imported by whichever run comes next, so that a daemon that was
killed loses nothing, and the ledger decides what is new, so that nothing is imported twice.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.inbox import Inbox, inbox_of
from resources.inbox.arrivals import ACTOR, Arrivals, read_policies
from schemas.arrivals import PART, Arrived, Look, Outcome, complete
from schemas.retries import next_attempt

_OF_BUNDLE = "records/bundle"
_MOST_RUNS = 10
_FAILURES = 3
_UNFINISHED = [
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED),
    dg.DagsterRunStatus.CANCELING,
]


class BundleConfig(dg.Config):
    """Files that arrived, to be imported."""

    bundle: str = Field(default="", description="A folder in processing/, as file_arrival names it. Required.")


@dg.op(retry_policy=RETRIES)
def import_bundle(context: dg.OpExecutionContext, config: BundleConfig, records: RecordsResource) -> None:
    """Each file is committed or waits for a person, or lies in quarantine beside a text that says why not."""
    with records.open() as store:
        tag_run(context, actor=ACTOR, bundle=config.bundle)
        arrived = Arrivals(store, context.run_id).import_bundle(config.bundle)
    postponed = [each for each in arrived if each.outcome is Outcome.POSTPONED]
    if postponed:
        raise dg.Failure(
            f"{len(postponed)} of {len(arrived)} files could not be imported now and are tried again later: "
            f"{postponed[0].sentence}",
            metadata=_metadata(arrived),
            allow_retries=False,
        )
    context.add_output_metadata(_metadata(arrived))


@dg.job(config=flat(import_bundle.name, BundleConfig))
def import_arrivals() -> None:
    """Import the files of a bundle that arrived, and put each into the archive or into quarantine."""
    import_bundle()


@dg.sensor(
    job_name=import_arrivals.name,
    minimum_interval_seconds=3,  # at each of the daemon's rounds, which are about 5 s apart: with 5 at every other one
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Take files from inbox/<account>/<type> once they are complete, and start import_arrivals for them.",
)
def file_arrival(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.SensorResult | dg.SkipReason:
    """What was the same at two looks, or is called `*.part` no longer, is moved to processing; each bundle has a run.

    The cursor is the last look. A bundle waits while an earlier one with files of the same account and type is under
    way, so that they are imported in their order.
    """
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        read_policies(store)  # what is wrong there is told before anything is moved
        accounts, record_types, now = store.accounts(), list(store.record_types()), store.now()
        inbox = inbox_of(store)
    look = inbox.look(accounts, record_types)
    ready = complete(look, _look(context.cursor))
    failures = inbox.take(ready, look, accounts, record_types, now)
    waiting = {path: look[path] for path in look.keys() - set(ready)}
    requests = _requests(context.instance, inbox, now)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else _reason(waiting, failures, len(inbox.bundles())),
        cursor=json.dumps(look if failures else waiting),
    )


def _requests(instance: dg.DagsterInstance, inbox: Inbox, now: datetime) -> list[dg.RunRequest]:
    """A run for each bundle that has none, is not to be tried later and need not wait for an earlier one."""
    unfinished = instance.get_run_records(dg.RunsFilter(job_name=import_arrivals.name, statuses=_UNFINISHED))
    under_way = {run.dagster_run.tags.get(_OF_BUNDLE, "") for run in unfinished}
    requests: list[dg.RunRequest] = []
    ahead: set[str] = set()
    for bundle, folders in inbox.bundles().items():
        if bundle not in under_way and ahead.isdisjoint(folders) and len(under_way) + len(requests) < _MOST_RUNS:
            runs = instance.get_run_records(dg.RunsFilter(job_name=import_arrivals.name, tags={_OF_BUNDLE: bundle}))
            # One that was made and not launched, as by a daemon that was killed, is launched under its key.
            attempts = [run.create_timestamp for run in runs if run.dagster_run.is_finished]
            if attempts and now < next_attempt(attempts):
                continue  # it holds nothing up meanwhile
            requests.append(_request(bundle, len(attempts)))
        ahead.update(folders)
    return requests


def _request(bundle: str, attempts: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{bundle}:{attempts}",
        # Somebody may wait for another run; and a run that is killed is followed by one of the sensor's.
        tags={_OF_BUNDLE: bundle, "dagster/priority": "-1", "dagster/max_retries": "0"},
        run_config={"bundle": bundle},
    )


def _look(cursor: str | None) -> Look:
    return {path: (size, modified, inode) for path, (size, modified, inode) in json.loads(cursor or "{}").items()}


def _reason(waiting: Look, failures: Sequence[str], bundles: int) -> str:
    """What there is to wait for."""
    parts = sum(path.endswith(PART) for path in waiting)
    told = [
        f"waiting to be the same at two looks: {len(waiting) - parts}" if len(waiting) > parts else "",
        f"called *{PART}: {parts}" if parts else "",
        f"bundles being imported, or tried again later: {bundles}" if bundles else "",
        *failures[:_FAILURES],
        f"{len(failures) - _FAILURES} more cannot be moved" if len(failures) > _FAILURES else "",
    ]
    return "; ".join(filter(None, told)) or "No file has arrived."


def _metadata(arrived: Sequence[Arrived]) -> dict[str, Any]:
    """What became of the files; no value of a record."""
    counts = Counter(each.outcome for each in arrived)
    shown: dict[str, Any] = {outcome.value: counts[outcome] for outcome in Outcome}
    if arrived:
        shown["files"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "file": each.file,
                        "account": each.account,
                        "record_type": each.record_type,
                        "outcome": each.outcome.value,
                        "batch_id": each.batch_id or "",
                        "sentence": each.sentence,
                    }
                )
                for each in arrived
            ]
        )
    return shown
