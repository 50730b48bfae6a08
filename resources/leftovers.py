"""The accounts' own files that nobody needs any more: of batches that are over, of files that arrived long ago.

What a batch needs follows from the ledger alone, so that one sweep removes what has become superfluous and what a crash
left behind, and the next one completes a sweep that was killed.
"""

import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resources.inbox import WHY
from resources.record_store import RecordStore
from schemas.batches import Batch, BatchStatus
from schemas.maintenance import Removed

UNKNOWN_FOR = timedelta(hours=24)
"""How old a folder must be to be a leftover that the ledger knows nothing of: what is being made is younger."""


def sweep_batches(store: RecordStore) -> Removed:
    """Staged records lie there for previews only; reports and rejects until a batch is over, or long enough closed."""
    now, window = store.now(), store.settings.rollback_window
    batches = {batch.batch_id: batch for batch in store.batches()}
    removed = Removed()
    for kind in ("staging", "reports", "rejects"):
        for account, folder in _folders(store, kind):
            batch = batches.get(folder.name)
            if batch is not None and batch.account == account:
                superfluous = not is_needed(kind, batch, now, window)
            else:
                superfluous = datetime.fromtimestamp(folder.lstat().st_mtime, UTC) + UNKNOWN_FOR <= now
            if superfluous:
                removed += _remove(folder)
    return removed


def sweep_archive(store: RecordStore) -> Removed:
    """The files that arrived are kept for some days after they were put into the archive, or into quarantine."""
    removed, before = Removed(), store.now() - store.settings.archive_days
    for path in (*store.settings.archive.rglob("*"), *store.settings.quarantine.rglob(f"[aq]-*/{WHY}")):
        status = path.lstat()
        # A rename keeps the time a file was written at, and sets the other.
        if stat.S_ISDIR(status.st_mode) or datetime.fromtimestamp(status.st_ctime, UTC) > before:
            continue
        if path.name == WHY and path.is_relative_to(store.settings.quarantine):
            removed += _remove(path.parent)
        else:
            path.unlink(missing_ok=True)
            removed += Removed(1, status.st_size)
    return removed


def is_needed(kind: str, batch: Batch, now: datetime, window: timedelta) -> bool:
    """Whether a batch still needs its folder of staging, reports or rejects.

    A batch that was taken back or thrown away may be looked at as long as one that could be taken back.
    """
    if kind == "staging":
        return batch.status is BatchStatus.PREVIEWED
    if batch.status in (BatchStatus.ROLLED_BACK, BatchStatus.DISCARDED, BatchStatus.FAILED):
        return now < batch.at + window
    return batch.status is not BatchStatus.EXPIRED


def _folders(store: RecordStore, kind: str) -> Iterator[tuple[str, Path]]:
    """Also of accounts that the ledger does not know, as after a first preview that was killed."""
    for place in sorted(store.settings.accounts.glob(f"*/{kind}")):
        yield from ((place.parent.name, folder) for folder in sorted(place.iterdir()))


def _remove(folder: Path) -> Removed:
    """The folder is gone with all that was in it; another process that does the same is no hindrance."""
    taken = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)
    return Removed(1, taken)
