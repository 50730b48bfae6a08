"""What is said of an event to somebody who waits for it: counts and names, never a value of a record."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from schemas.batches import Batch, BatchStatus
from schemas.exports import ExportManifest

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True)
class Message:
    """A title of a line, and what to know and do."""

    title: str
    body: str
    kind: Literal["info", "success", "warning", "failure"]


def of_batch(batch: Batch, window: timedelta) -> Message | None:
    """What is said of a transition of a batch: that it waits for approval, left records out, or takes another back.

    `window` is how long a preview can be committed.
    """
    whose = f"{batch.account}: an import of {batch.record_type}"
    if batch.waits:
        until = batch.open_until(window)
        skip = " --on-invalid skip" if batch.counts.rejected else ""
        return Message(
            f"{whose} waits for approval",
            f"{batch.file_name}, {_records(batch.counts.read)}: {batch.counts}.\n"
            f"Look at it: records show {batch.batch_id}\n"
            f"Approve it until {until:%Y-%m-%d %H:%M} UTC: records commit {batch.batch_id}{skip}\n"
            f"Or throw it away: records discard {batch.batch_id}",
            "warning",
        )
    if batch.status is not BatchStatus.COMMITTED or batch.at != batch.committed_at:
        return None  # or it stands again, for the rollback of it was taken back
    if batch.undone is not None:
        counts = batch.undone.counts
        return Message(
            f"{batch.account}: a batch of {batch.record_type} was taken back",
            f"{batch.undone.batch_id} was taken back by {batch.actor}: {counts}.\n"
            + (f"{counts.resting_message}\n" if counts.resting else "")
            + f"To undo that: records rollback {batch.batch_id}",
            "info",
        )
    if batch.counts.rejected:
        return Message(
            f"{whose} left out {_records(batch.counts.rejected)}",
            f"{batch.file_name}, {_records(batch.counts.read)}: {batch.counts}.\n"
            f"What is wrong, and the file to correct: records show {batch.batch_id}",
            "warning",
        )
    return None


def of_export(export: ExportManifest) -> Message | None:
    """What is said of an export that a run has made. Who makes one in a terminal knows of it."""
    if export.run_id is None:
        return None
    seconds = "" if export.seconds is None else f", {export.seconds:,.1f} seconds"
    full = "\nThe last export is not kept any more: all records are in it." if export.full else ""
    return Message(
        f"{export.account}: an export of {export.record_type} is ready",
        f"{_records(export.rows)}, {export.bytes:,} bytes{seconds}; asked for by {export.actor}.\n{export.path}{full}",
        "success",
    )


def of_failure(job: str, account: str | None, why: str, place: str) -> Message:
    """What is said of a run that failed. `why` is the first sentence of it, `place` the run's address or id."""
    whose = "" if account is None else f"{account}: "
    return Message(f"{whose}a run of {job} failed", f"{why}\n{place}", "failure")


def first_sentence(text: str) -> str:
    """The text up to its first full stop that a space follows."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number:,} records"
