"""Removes the accounts' files that are no longer needed: files of closed batches, and old files from the inbox.

The ledger alone decides which files a batch needs. So one sweep removes superfluous files and those that a crash left.
The next sweep completes one that was killed. Files go into the trash first.
"""

import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from resources.clock import BATCH_ID, file_time
from resources.file_storage import entries, files_below, names_in, remove, usage
from resources.inbox.bundles import WHY
from resources.record_store import RecordStore
from resources.trash import Trash
from schemas.batches import Batch, BatchStatus
from schemas.maintenance import Removed

_OF_BATCH = re.compile(rf"{BATCH_ID.pattern}|\.{BATCH_ID.pattern}\.[0-9a-f]{{8}}\.partial")
"""The name of a folder of a batch, or of one that is still being made."""

_OF_QUARANTINE = re.compile("[aq]-")
_OF_RUN = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STEPS_FOR = timedelta(days=7)
"""How long a failed run can be executed again from its failure."""

UNKNOWN_FOR = timedelta(hours=24)
"""The age from which a folder without a batch in the ledger is a leftover. A folder still being made is younger."""

STAGED_FOR = timedelta(hours=24)
"""How long staged records are kept after their commit."""


_OTHER_ACCOUNTS = 500
"""How many accounts without recent batches one sweep looks at."""


def sweep_batches(store: RecordStore, recent: Collection[str]) -> Removed:
    """Remove staged records, reports and rejects that no batch needs. Returns what was removed.

    Also removes the files that killed processes left in this machine's scratch folder.

    recent: the accounts with batches that are open, or were closed a short time ago. Of other accounts, which only a
    killed process can have left something in, a part is looked at, another one each time. So a sweep takes no longer
    with more accounts.
    """
    accounts = _accounts(store, recent)
    now, window, trash = store.retention_time(), store.settings.rollback_window, Trash(store.settings)
    removed = Removed()
    for kind in ("staging", "reports", "rejects"):
        # A folder that the store did not make has another name.
        found = [
            (account, store.settings.folder(account, kind) / name)
            for account in accounts
            for name in names_in(store.settings.folder(account, kind))
            if _OF_BATCH.fullmatch(name)
        ]
        batches = store.batches_named({folder.name for _, folder in found})
        for account, folder in found:
            batch = batches.get(folder.name)
            if batch is not None and batch.account == account:
                superfluous = not is_needed(kind, batch, now, window)
            else:
                superfluous = (usage(folder).at or now) + UNKNOWN_FOR <= now
            if superfluous:
                removed += trash.put(folder, now)
    return removed + _sweep_scratch(store.settings.scratch)


def sweep_archive(store: RecordStore) -> Removed:
    """Remove the files that have been in the archive or in quarantine for RECORDS_ARCHIVE_DAYS.

    Files that are not in a folder of a batch or of an arrival stay, because the store did not put them there.
    """
    removed, now, trash = Removed(), store.retention_time(), Trash(store.settings)
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


def sweep_steps(store: RecordStore) -> Removed:
    """Remove what steps of Dagster's runs have passed on, a week after the last one. Returns what was removed."""
    removed, now = Removed(), store.retention_time()
    for folder in entries(store.settings.steps):
        if _OF_RUN.fullmatch(folder.name):
            found = usage(folder)
            if (found.at or now) + STEPS_FOR <= now:
                remove(folder)
                removed += Removed(1, found.bytes)
    return removed


def is_needed(kind: str, batch: Batch, now: datetime, window: timedelta) -> bool:
    """Return whether a batch still needs its folder of staging, reports or rejects.

    Staged records are kept for STAGED_FOR after their commit. Until then the records are on the disk twice. Reports
    and rejects of a batch that was rolled back, discarded or failed are kept for one rollback window.

    window: the rollback window of batches that have none recorded.
    """
    window = batch.promised(window)
    if kind == "staging":
        is_young = batch.committed_at is not None and now < batch.committed_at + STAGED_FOR
        return batch.status is BatchStatus.PREVIEWED or is_young
    if batch.status in (BatchStatus.ROLLED_BACK, BatchStatus.DISCARDED, BatchStatus.FAILED):
        return now < batch.at + window
    return batch.status is not BatchStatus.EXPIRED


def _accounts(store: RecordStore, recent: Collection[str]) -> list[str]:
    """Return the accounts to look at. A killed first preview leaves an account unknown to the ledger."""
    others = [name for name in names_in(store.settings.accounts) if name not in recent]
    parts = max(1, -(-len(others) // _OTHER_ACCOUNTS))
    return [*recent, *others[secrets.randbelow(parts) :: parts]]


def _sweep_scratch(scratch: Path) -> Removed:
    """Remove old files of the scratch folder, by the time of its file system. Returns what was removed."""
    removed, now = Removed(), file_time(scratch)
    for place in entries(scratch):
        found = usage(place)
        if now is not None and (found.at or now) + UNKNOWN_FOR <= now:
            remove(place)
            removed += Removed(1, found.bytes)
    return removed
