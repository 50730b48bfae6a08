"""The accounts' own files that nobody needs any more: of batches that are over, of files that arrived long ago.

What a batch needs follows from the ledger alone, so that one sweep takes away what has become superfluous and what a
crash left behind, and the next one completes a sweep that was killed. Files go into the trash first.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from resources.clock import BATCH_ID, file_time
from resources.file_storage import entries, files_below, kept, remove
from resources.inbox.bundles import WHY
from resources.record_store import RecordStore
from resources.trash import Trash
from schemas.batches import Batch, BatchStatus
from schemas.location import Location
from schemas.maintenance import Removed

_OF_BATCH = re.compile(rf"{BATCH_ID.pattern}|\.{BATCH_ID.pattern}\.[0-9a-f]{{8}}\.partial")
"""How a folder of a batch is called, and one that is still being made."""

_OF_QUARANTINE = re.compile("[aq]-")
UNKNOWN_FOR = timedelta(hours=24)
"""How old a folder must be to be a leftover that the ledger knows nothing of: what is being made is younger."""

STAGED_FOR = timedelta(hours=24)
"""How long what was staged is kept after its commit."""


def sweep_batches(store: RecordStore) -> Removed:
    """Staged records lie there for previews only; reports and rejects until a batch is over, or long enough closed.

    What killed processes have left in this machine's scratch folder is gone too.
    """
    now, window, trash = store.lived(), store.settings.rollback_window, Trash(store.settings)
    batches = {batch.batch_id: batch for batch in store.batches()}
    removed = Removed()
    for kind in ("staging", "reports", "rejects"):
        for account, folder in _folders(store, kind):
            if not _OF_BATCH.fullmatch(folder.name):
                continue  # the store has not made it
            batch = batches.get(folder.name)
            if batch is not None and batch.account == account:
                superfluous = not is_needed(kind, batch, now, window)
            else:
                superfluous = (kept(folder).at or now) + UNKNOWN_FOR <= now
            if superfluous:
                removed += trash.put(folder, now)
    return removed + _sweep_scratch(store.settings.scratch)


def sweep_archive(store: RecordStore) -> Removed:
    """The files that arrived are kept for some days after they were put into the archive, or into quarantine.

    What lies there in no folder of a batch or of an arrival was put there by others, and stays.
    """
    removed, now, trash = Removed(), store.lived(), Trash(store.settings)
    before = now - store.settings.archive_days
    for root in (store.settings.archive, store.settings.quarantine):
        for file in files_below(root):
            if file.put_at > before:
                continue
            if root == store.settings.archive:
                if BATCH_ID.fullmatch(file.place.parent.name):
                    removed += trash.put(file.place, now)
            elif file.place.name == WHY and _OF_QUARANTINE.match(file.place.parent.name):
                removed += trash.put(file.place.parent, now)
    return removed


def is_needed(kind: str, batch: Batch, now: datetime, window: timedelta) -> bool:
    """Whether a batch still needs its folder of staging, reports or rejects.

    What was staged outlives its commit by a safe time: until then the records are on the disk twice. A batch that was
    taken back or thrown away may be looked at as long as one that could be taken back.

    window: for batches that do not say for how long they can be taken back.
    """
    window = batch.promised(window)
    if kind == "staging":
        is_young = batch.committed_at is not None and now < batch.committed_at + STAGED_FOR
        return batch.status is BatchStatus.PREVIEWED or is_young
    if batch.status in (BatchStatus.ROLLED_BACK, BatchStatus.DISCARDED, BatchStatus.FAILED):
        return now < batch.at + window
    return batch.status is not BatchStatus.EXPIRED


def _folders(store: RecordStore, kind: str) -> Iterator[tuple[str, Location]]:
    """Also of accounts that the ledger does not know, as after a first preview that was killed."""
    for account in entries(store.settings.accounts):
        yield from ((account.name, folder) for folder in entries(account / kind))


def _sweep_scratch(scratch: Path) -> Removed:
    """What is in the scratch folder is of processes that work, as the file system's own time tells, and no store's."""
    removed, now = Removed(), file_time(scratch)
    for place in entries(scratch):
        found = kept(place)
        if now is not None and (found.at or now) + UNKNOWN_FOR <= now:
            remove(place)
            removed += Removed(1, found.bytes)
    return removed
