"""Messages about events, for people who wait for them: counts and names, never a value of a record."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from schemas.batches import Batch, BatchStatus
from schemas.counts import numbered
from schemas.exports import ExportManifest

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True)
class Message:
    """A title of one line, and a body that says what happened and what to do."""

    title: str
    body: str
    kind: Literal["info", "success", "warning", "failure"]


def asking(batch: Batch, person: str, address: str) -> Message:
    """Returns the message that a person asks others to save a previewed import. `address` is that of its page."""
    return Message(
        f"{batch.account}: {person} asks for approval of an import of {batch.record_type}",
        f"{batch.file_name}, {numbered(batch.counts.read, 'record')}: {batch.counts}.\n"
        f"Look at it, and save it: {address}",
        "warning",
    )


def of_batch(batch: Batch, window: timedelta, page: str | None = None) -> Message | None:
    """Returns the message about a batch: it waits for approval, left records out, failed, or rolled another one back.

    None for any other change. `window` is how long a preview can be committed. `page` is the address of its web page.
    """
    subject = f"{batch.account}: an import of {batch.record_type}"
    link = f"\nIn the browser: {page}" if page else ""
    if batch.failure is not None and batch.arrival_id is not None:
        return Message(f"{subject} failed", f"{batch.file_name}: {batch.failure}{link}", "warning")
    if batch.waits:
        until = batch.open_until(window)
        skip = " --on-invalid skip" if batch.counts.rejected else ""
        return Message(
            f"{subject} waits for approval",
            f"{batch.file_name}, {numbered(batch.counts.read, 'record')}: {batch.counts}.\n"
            + "".join(f"Uncertain: {question.sentence}\n" for question in batch.questions)
            + "".join(f"Warning: {warning.sentence} ({warning.code})\n" for warning in batch.warnings)
            + f"Look at it: records show {batch.batch_id}\n"
            f"Approve it until {until:%Y-%m-%d %H:%M} UTC: records commit {batch.batch_id}{skip}\n"
            f"Or discard it: records discard {batch.batch_id}{link}",
            "warning",
        )
    if batch.status is not BatchStatus.COMMITTED or batch.at != batch.committed_at:
        return None  # COMMITTED with an older commit: its rollback was rolled back
    if batch.undone is not None:
        counts = batch.undone.counts
        return Message(
            f"{batch.account}: a batch of {batch.record_type} was rolled back",
            f"{batch.actor} rolled {batch.undone.batch_id} back: {counts}.\n"
            + (f"{counts.resting_message}\n" if counts.resting else "")
            + f"To reverse that: records rollback {batch.batch_id}{link}",
            "info",
        )
    if batch.counts.rejected:
        return Message(
            f"{subject} left out {numbered(batch.counts.rejected, 'record')}",
            f"{batch.file_name}, {numbered(batch.counts.read, 'record')}: {batch.counts}.\n"
            f"See the problems and the file to correct: records show {batch.batch_id}{link}",
            "warning",
        )
    return None


def of_export(export: ExportManifest, page: str | None = None) -> Message | None:
    """Returns the message about an export that a run made; None for an export from a terminal.

    page: the address of its web page.
    """
    if export.run_id is None:
        return None
    seconds = "" if export.seconds is None else f", {export.seconds:,.1f} seconds"
    notes = "".join(f"\n{note}" for note in export.notes)
    link = f"\nDownload it in the browser: {page}" if page else ""
    records = numbered(export.rows, "record")
    return Message(
        f"{export.account}: an export of {export.record_type} is ready",
        f"{records}, {export.bytes:,} bytes{seconds}; requested by {export.actor}.\n{export.path}{notes}{link}",
        "success",
    )


def of_failure(job: str, account: str | None, why: str, place: str) -> Message:
    """Returns the message about a failed run. `why` is its first sentence, `place` the run's address or id."""
    owner = "" if account is None else f"{account}: "
    return Message(f"{owner}a run of {job} failed", f"{why}\n{place}", "failure")


def first_sentence(text: str) -> str:
    """Returns the text up to the first full stop before a space."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]
