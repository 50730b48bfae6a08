"""Files that arrive in the inbox: a sensor takes the complete ones, and a job imports them.

The folders are the state. The next run imports the files in `processing/`, so a killed daemon loses nothing. The ledger
has the imported files, so none is imported twice.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.launchpad import flat, in_launchpad_words
from pipelines.runs import HIDDEN, tag_run
from pipelines.store_resource import RETRIES, RecordsResource, Refusal
from resources.inbox import Inbox, inbox_of
from resources.inbox.arrivals import ACTOR, Arrivals, read_policies
from schemas.arrivals import PART, Arrived, Look, Outcome, complete
from schemas.retries import next_attempt

POOL = "arrivals"
"""The pool of the steps that import files of the inbox, of all runs together."""

_SLOTS = 8
_OF_BUNDLE = f"{HIDDEN}bundle"
_MOST_RUNS = 10
_FAILURES = 3
_UNFINISHED = [
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED),
    dg.DagsterRunStatus.CANCELING,
]


class BundleConfig(dg.Config):
    """Files that arrived and are to be imported."""

    bundle: str = Field(default="", description="A folder in processing/, as file_arrival names it. Required.")


@dg.op(retry_policy=RETRIES, out={"bundle": dg.Out(str), "folders": dg.DynamicOut(str)})
def open_bundle(
    context: dg.OpExecutionContext, config: BundleConfig, records: RecordsResource
) -> Iterator[dg.Output[str] | dg.DynamicOutput[str]]:
    """List the folders of the bundle. Files of one account and type depend on each other, and others do not."""
    with records.open() as store:
        tag_run(context, actor=ACTOR, bundle=config.bundle)
        folders = Arrivals(store, context.run_id).folders(config.bundle)
    yield dg.Output(config.bundle, output_name="bundle")
    for number, folder in enumerate(folders):
        key = re.sub(r"\W", "_", folder, flags=re.ASCII)
        yield dg.DynamicOutput(folder, mapping_key=f"{number + 1:03}_{key}", output_name="folders")


@dg.op(retry_policy=RETRIES, pool=POOL)
def import_folder(context: dg.OpExecutionContext, records: RecordsResource, bundle: str, folder: str) -> None:
    """Import the bundle's files of one account and type, in their order.

    Each file is committed, waits for approval, or goes to quarantine beside the reason.
    """
    with records.open() as store:
        arrived = Arrivals(store, context.run_id).import_bundle(bundle, folder)
    postponed = [each for each in arrived if each.outcome is Outcome.POSTPONED]
    if postponed:
        raise Refusal(
            f"{len(postponed)} of {len(arrived)} files could not be imported now and will be retried: "
            f"{in_launchpad_words(postponed[0].sentence)}",
            _metadata(arrived),
        )
    context.add_output_metadata(_metadata(arrived))


@dg.job(config=flat(open_bundle.name, BundleConfig))
def import_arrivals() -> None:
    """Import the files of a bundle, and move each to the archive or to quarantine: a step for each account and type."""
    bundle, folders = open_bundle()
    folders.map(lambda folder: import_folder(bundle, folder))


@dg.sensor(
    job_name=import_arrivals.name,
    minimum_interval_seconds=3,  # the daemon's rounds are about 5 s apart; with 5 it would skip every other one
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Take complete files from inbox/<account>/<type>, and start import_arrivals for them.",
)
def file_arrival(context: dg.SensorEvaluationContext, records: RecordsResource) -> dg.SensorResult | dg.SkipReason:
    """Move complete files to `processing/` and request a run for each bundle.

    A file is complete if two looks at the inbox show it unchanged, or if it lost its `.part` suffix. The cursor is the
    last look. A bundle waits for earlier bundles with files of the same account and type, to keep their order.
    """
    with records.open() as store:
        if not store.exists:
            return dg.SkipReason("There is no store yet: records init.")
        read_policies(store)  # raises for a mistake there before anything is moved
        accounts, record_types, now = store.accounts(), list(store.record_types()), store.now()
        inbox = inbox_of(store)
    look = inbox.look(accounts, record_types)
    ready = complete(look, _look(context.cursor))
    failures = inbox.take(ready, look, accounts, record_types, now)
    waiting = {path: look[path] for path in look.keys() - set(ready)}
    requests = _requests(context.instance, inbox, now)
    if requests:
        limit_pool(context.instance)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else _reason(waiting, failures, len(inbox.bundles())),
        cursor=json.dumps(look if failures else waiting),
    )


def limit_pool(instance: dg.DagsterInstance) -> None:
    """Give the pool its slots, unless an operator has given it others."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    if POOL not in {limit.name for limit in storage.get_pool_limits() if not limit.from_default}:
        storage.set_concurrency_slots(POOL, _SLOTS)


def _requests(instance: dg.DagsterInstance, inbox: Inbox, now: datetime) -> list[dg.RunRequest]:
    """Returns runs for bundles that have none and do not wait for a retry or for an earlier bundle."""
    unfinished = instance.get_run_records(dg.RunsFilter(job_name=import_arrivals.name, statuses=_UNFINISHED))
    under_way = {run.dagster_run.tags.get(_OF_BUNDLE, "") for run in unfinished}
    requests: list[dg.RunRequest] = []
    ahead: set[str] = set()
    for bundle, folders in inbox.bundles().items():
        if bundle not in under_way and ahead.isdisjoint(folders) and len(under_way) + len(requests) < _MOST_RUNS:
            runs = instance.get_run_records(dg.RunsFilter(job_name=import_arrivals.name, tags={_OF_BUNDLE: bundle}))
            # Dagster launches a run that a killed daemon made and did not launch, because it has the same key.
            attempts = [run.create_timestamp for run in runs if run.dagster_run.is_finished]
            if attempts and now < next_attempt(attempts):
                continue  # other bundles do not wait for it
            requests.append(_request(bundle, len(attempts)))
        ahead.update(folders)
    return requests


def _request(bundle: str, attempts: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{bundle}:{attempts}",
        # Runs that users launch go first. The sensor itself retries a killed run.
        tags={_OF_BUNDLE: bundle, "dagster/priority": "-1", "dagster/max_retries": "0"},
        run_config={"bundle": bundle},
    )


def _look(cursor: str | None) -> Look:
    return {path: (size, modified, inode) for path, (size, modified, inode) in json.loads(cursor or "{}").items()}


def _reason(waiting: Look, failures: Sequence[str], bundles: int) -> str:
    """Returns why no run is requested."""
    parts = sum(path.endswith(PART) for path in waiting)
    reasons = [
        f"files that must be the same at two looks: {len(waiting) - parts}" if len(waiting) > parts else "",
        f"files called *{PART}: {parts}" if parts else "",
        f"bundles that are being imported or wait for a retry: {bundles}" if bundles else "",
        *failures[:_FAILURES],
        f"{len(failures) - _FAILURES} more cannot be moved" if len(failures) > _FAILURES else "",
    ]
    return "; ".join(filter(None, reasons)) or "No file has arrived."


def _metadata(arrived: Sequence[Arrived]) -> dict[str, Any]:
    """Returns the outcome of each file, without values of records."""
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
                        "sentence": in_launchpad_words(each.sentence),
                    }
                )
                for each in arrived
            ]
        )
    return shown
