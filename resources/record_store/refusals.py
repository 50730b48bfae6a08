"""What the store says when it cannot do what it is asked: each refusal in one place, in the same words."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from resources.settings import Settings
from schemas.batches import Batch
from schemas.errors import (
    AlreadyImported,
    CatalogOutdated,
    DamagedFile,
    ForeignData,
    ImplausibleClock,
    InvalidRequest,
    ModifiedSince,
    NotFound,
    PreviewOutdated,
    Refused,
    StoreNotReady,
    WindowOver,
)
from schemas.files import StoredFile
from schemas.location import Location
from schemas.rollbacks import Conflict, RollbackCounts

_BATCHES = 5
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_account(name: str | None) -> str:
    """The name, when it can be an account's; InvalidRequest otherwise."""
    if name is None or not _ACCOUNT.fullmatch(name):
        raise InvalidRequest(
            "No account was given." if not name else f"{name!r} cannot be an account's name.",
            "An account is 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit: -a ACCOUNT.",
        )
    return name


def not_ready(settings: Settings) -> StoreNotReady:
    """The error for a store that is not there."""
    return StoreNotReady(f"There is no store in {settings.place}.", "Make it: records init.")


def not_marked(settings: Settings) -> StoreNotReady:
    """The error for a catalog or data without the store's id, as of a store that an earlier version made."""
    return StoreNotReady(
        f"Nothing says that the data in {settings.data} belong to the catalog in {settings.place}.",
        "Nothing was read or written. If RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA are right, run: records init. "
        "It compares the catalog with the files first.",
    )


def foreign_data(settings: Settings, why: str) -> ForeignData:
    """The error for a catalog and data that are of two stores."""
    return ForeignData(
        f"The data in {settings.data} do not belong to the catalog in {settings.place}: {why}.",
        "Nothing was read or written. See RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA: one of them is wrong.",
    )


def catalog_outdated(settings: Settings, catalog: int, data: int) -> CatalogOutdated:
    """The error for a catalog that does not know the newest commits of its data."""
    return CatalogOutdated(
        f"The catalog in {settings.place} ends with snapshot {catalog:,}, and the data in {settings.data} have files "
        f"up to snapshot {data:,}: the catalog was restored from a backup, or the data are of a copy.",
        "Nothing was read or written. Put the newest catalog back if there is one. What is lost if there is none: "
        "records accept catalog.",
    )


def implausible_clock(doubt: str) -> ImplausibleClock:
    """The error for a time that cannot be right."""
    return ImplausibleClock(
        f"{doubt} Nothing was written, for what is kept until a certain time could be lost.",
        "Set the clock right. If it is right, say so once: records accept clock.",
    )


def unreadable(place: str | None) -> DamagedFile:
    """The error for a file of the lake that DuckDB cannot read. None: DuckDB does not say which file it is."""
    return DamagedFile(
        f"The store's file {place} is missing, or cannot be read."
        if place
        else "A file of the store's records cannot be read: it is damaged, or arrived damaged from the object store.",
        "Nothing was written. Try again; if it stays so, put the file back from a backup or from the trash.",
    )


def no_checksum(place: Location) -> StoreNotReady:
    """The error for a file of the lake of which no checksum is known."""
    return StoreNotReady(
        f"No checksum is known of the store's file {place}.",
        "Nothing was written. Run: records init. It writes down the checksums of files that have none.",
    )


def damaged(place: Location, what: str, known: StoredFile | None) -> DamagedFile:
    """The error for a file of the store that is not as it was written, with what it touches."""
    told = ""
    if known is not None:
        batches = ", ".join(known.batches[:_BATCHES]) + (
            f" and {len(known.batches) - _BATCHES:,} more" if known.batches[_BATCHES:] else ""
        )
        told = f" It holds {'records' if known.account is None else f'records of account {known.account}'}"
        told += f", written by {batches}." if batches else "."
    return DamagedFile(
        f"The store's file {place} {what}.{told}",
        "Nothing was written, and nothing of the file was passed on. Put the file back from a backup or from the "
        "trash; or export the records as they were before those batches (--as-of), and import the batches' files anew.",
    )


def no_such_batch(batch_id: str) -> NotFound:
    """The error for a batch that is not there, or not this account's: the same words."""
    return NotFound(f"There is no batch {batch_id!r}.", "See which there are: records batches.")


def no_such_export(export_id: str) -> NotFound:
    """The error for an export that is not there, or not this account's: the same words."""
    return NotFound(f"There is no export {export_id!r}.", "See which there are: records exports.")


def not_writable(account: str, path: Path) -> InvalidRequest:
    """The error for a destination among the store's files: the same words, whatever is there and whosever it is."""
    return InvalidRequest(f"Account {account} can write nothing at {str(path)!r}.", "Name another place: -o PATH.")


def not_committed(batch: Batch) -> Refused:
    """The error for a rollback of a batch that has written nothing."""
    return Refused(
        f"Batch {batch.batch_id} is {batch.status.value} since {batch.at:%Y-%m-%d %H:%M:%S} UTC; "
        "only a committed batch can be taken back."
    )


def not_previewed(batch: Batch, wish: str) -> Refused:
    """The error for a batch that is to be committed or discarded and is not open any more."""
    return Refused(
        f"Batch {batch.batch_id} is {batch.status.value} since {batch.at:%Y-%m-%d %H:%M:%S} UTC; "
        f"only a previewed batch can be {wish}."
    )


def window_over(batch: Batch, ended: datetime) -> WindowOver:
    """The error for a rollback that comes too late."""
    return WindowOver(
        f"Batch {batch.batch_id} could be taken back until {ended:%Y-%m-%d %H:%M:%S} UTC.",
        "Correct its records with another import.",
    )


def images_gone(batch: Batch) -> WindowOver:
    """The error for a rollback of a batch whose before-image is no longer kept, as after the window was made longer."""
    return WindowOver(
        f"The records as they were before batch {batch.batch_id} are no longer kept, so it cannot be taken back.",
        "Correct its records with another import.",
    )


def earlier_images_gone(batch: Batch, earlier: Batch) -> WindowOver:
    """The error for a rollback that must look past an earlier batch whose before-image is no longer kept."""
    return WindowOver(
        f"Batch {earlier.batch_id}, which is rolled back, came before batch {batch.batch_id}. The records as they were "
        f"before {earlier.batch_id} are no longer kept, so {batch.batch_id} cannot be taken back.",
        "Correct its records with another import.",
    )


def preview_over(batch: Batch, ended: datetime) -> WindowOver:
    """The error for a commit that comes too late."""
    return WindowOver(
        f"The preview {batch.batch_id} could be committed until {ended:%Y-%m-%d %H:%M:%S} UTC.",
        "Preview the file again.",
    )


def modified_since(batch: Batch, counts: RollbackCounts, conflicts: Sequence[Conflict]) -> ModifiedSince:
    """The error for a rollback of records that were modified since; what identifies them is only quoted."""
    more = counts.modified - len(conflicts)
    listed = "\n".join([*(conflict.message() for conflict in conflicts), *([f"and {more:,} more."] if more else [])])
    return ModifiedSince(
        f"{counts.modified:,} of the records of batch {batch.batch_id} were modified since, so nothing was taken back.",
        f"Leave those as they are: records rollback {batch.batch_id} --on-modified keep; take back what nobody changed "
        "since in them: merge; or restore them all the same: overwrite.",
        f"\n{listed}\n",
    )


def outdated(batch: Batch, why: str) -> PreviewOutdated:
    """The error for a preview that is no longer true."""
    return PreviewOutdated(f"The preview {batch.batch_id} is no longer true: {why}.", "Preview the file again.")


def outdated_type(name: str) -> StoreNotReady:
    """The error for a record type that has changed since the store was prepared."""
    return StoreNotReady(f"The record type {name} has changed since the store was prepared.", "Run: records init.")


def already_imported(file_name: str, earlier: Batch) -> AlreadyImported:
    """The error for a file whose content an earlier batch has put into the records."""
    alias = "" if earlier.file_name == file_name else f" as {earlier.file_name}"
    return AlreadyImported(
        f"{file_name} was imported already{alias}: batch {earlier.batch_id}, committed "
        f"{earlier.at:%Y-%m-%d %H:%M} UTC by {earlier.actor} ({earlier.counts}).",
        "To read it again: --again.",
    )
