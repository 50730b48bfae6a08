"""Makes the errors of the store, so that the same case has the same words everywhere."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from resources.settings import Settings
from schemas import record_type_names
from schemas.batches import Batch
from schemas.counts import numbered
from schemas.errors import (
    AlreadyImported,
    CatalogOutdated,
    DamagedFile,
    ForeignData,
    ImplausibleClock,
    InvalidRequest,
    ModifiedSince,
    NotFound,
    OtherFormat,
    PreviewOutdated,
    Refused,
    StoreNotReady,
    UnreadableFile,
    WindowOver,
)
from schemas.files import StoredFile
from schemas.location import Location
from schemas.rollbacks import Conflict, ModifyingBatch, RollbackCounts, modified_lines

_BATCHES = 5
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_account(name: str | None) -> str:
    """Returns the name. Raises InvalidRequest if an account cannot have it."""
    if name is None or not _ACCOUNT.fullmatch(name):
        raise InvalidRequest(
            "No account was given." if not name else f"{name!r} is not a valid name of an account.",
            "A name has 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit: -a ACCOUNT.",
        )
    return name


def no_such_account(name: str, meant: str) -> NotFound:
    """Returns the error for a file of an account that does not exist, with a name like that of another account."""
    return NotFound(
        f"There is no account {name!r}. Did you mean {meant!r}?",
        f"Nothing was read. If it is another account, make it first: records accounts add {name}.",
    )


def not_ready(settings: Settings) -> StoreNotReady:
    """Returns the error for a store that does not exist."""
    return StoreNotReady(
        f"There is no store in {settings.place}.",
        "Make it: records init. Or name the home of another one: records --home FOLDER, or RECORDS_HOME.",
    )


def older_format(settings: Settings, found: int, needed: int) -> OtherFormat:
    """Returns the error for a store that an older program made."""
    return OtherFormat(
        f"The store in {settings.place} has format {found}, and this program needs format {needed}.",
        "Nothing was read or written. End all programs that use the store. Then run: records init. It says what it "
        "changes, and what to back up first.",
    )


def newer_format(settings: Settings, found: int, known: int) -> OtherFormat:
    """Returns the error for a store that a newer program made."""
    return OtherFormat(
        f"The store in {settings.place} has format {found}, and this program knows formats up to {known}.",
        "Nothing was read or written. Install the newer program again. Or restore the backup from before the change, "
        "to an empty place: records restore PLACE --at BACKUP.",
    )


def not_marked(settings: Settings) -> StoreNotReady:
    """Returns the error for a catalog or data without the store's id, as after `store.json` was removed."""
    return StoreNotReady(
        f"Nothing says that the data in {settings.data} belong to the catalog in {settings.place}.",
        "Nothing was read or written. If RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA are right, run: records init. "
        "It compares the catalog with the files first.",
    )


def foreign_data(settings: Settings, why: str) -> ForeignData:
    """Returns the error for a catalog and data of two different stores."""
    return ForeignData(
        f"The data in {settings.data} do not belong to the catalog in {settings.place}: {why}.",
        "Nothing was read or written. Check RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA: one of them is wrong.",
    )


def catalog_outdated(settings: Settings, catalog: int, data: int) -> CatalogOutdated:
    """Returns the error for a catalog that does not have the newest commits of its data."""
    return CatalogOutdated(
        f"The catalog in {settings.place} ends with snapshot {catalog:,}, and the data in {settings.data} have files "
        f"up to snapshot {data:,}. The catalog was restored from a backup, or the data are a copy.",
        "Nothing was read or written. Restore the newest catalog if there is one. To see what is lost without it: "
        "records accept catalog.",
    )


def damaged_catalog(place: Path, found: str) -> DamagedFile:
    """Returns the error for a catalog that SQLite finds to be damaged. found: its words, which have no values."""
    return DamagedFile(
        f"The catalog {place} is damaged. SQLite says: {found.rstrip('.')}.",
        "Nothing was written. End all programs that use the store, and move the catalog away. Then restore it: "
        "records restore PLACE --catalog-only.",
    )


def implausible_clock(doubt: str) -> ImplausibleClock:
    """Returns the error for a time that cannot be right."""
    return ImplausibleClock(
        f"{doubt} Nothing was written, because a wrong time could delete what must be kept.",
        "Set the clock right. If it is right, confirm it once: records accept clock.",
    )


def unreadable(place: str | None) -> DamagedFile:
    """Returns the error for a file of the lake that DuckDB cannot read; None if DuckDB does not name the file."""
    return DamagedFile(
        f"The store's file {place} is missing, or cannot be read."
        if place
        else "A file of the store's records cannot be read: it is damaged, or arrived damaged from the object store.",
        "Nothing was written. Try again. If it still fails, restore the file from a backup or from the trash.",
    )


def no_checksum(place: Location) -> StoreNotReady:
    """Returns the error for a file of the lake that has no recorded checksum."""
    return StoreNotReady(
        f"The store has no checksum of its file {place}.",
        "Nothing was written. Run: records init. It records the checksums of files that have none.",
    )


def damaged(place: Location, what: str, known: StoredFile | None) -> DamagedFile:
    """Returns the error for a file of the store that has changed since it was written, with the batches in it."""
    content = ""
    if known is not None:
        batches = ", ".join(known.batches[:_BATCHES]) + (
            f" and {len(known.batches) - _BATCHES:,} more" if known.batches[_BATCHES:] else ""
        )
        content = f" It holds {'records' if known.account is None else f'records of account {known.account}'}"
        content += f", written by {batches}." if batches else "."
    return DamagedFile(
        f"The store's file {place} {what}.{content}",
        "Nothing was written, and no value of the file was used. Restore the file from a backup or from the trash. "
        "Or export the records as of before those batches (--as-of), and import the batches' files again.",
    )


def no_such_batch(batch_id: str) -> NotFound:
    """Returns the error for a batch that does not exist or belongs to another account: the same words for both."""
    return NotFound(f"There is no batch {batch_id!r}.", "List the batches: records batches.")


def no_such_export(export_id: str) -> NotFound:
    """Returns the error for an export that does not exist or belongs to another account: the same words for both."""
    return NotFound(f"There is no export {export_id!r}.", "List the exports: records exports.")


def not_writable(account: str, path: Path) -> InvalidRequest:
    """Returns the error for a destination among the store's files. It does not say whether another account has it."""
    return InvalidRequest(f"Account {account} cannot write to {str(path)!r}.", "Name another place: -o PATH.")


def not_committed(batch: Batch) -> Refused:
    """Returns the error for a rollback of a batch that is not committed."""
    return Refused(
        f"Batch {batch.batch_id} is {batch.status.value.replace('_', ' ')} since {batch.at:%Y-%m-%d %H:%M:%S} UTC; "
        "only a committed batch can be rolled back."
    )


def not_previewed(batch: Batch, wanted: str) -> Refused:
    """Returns the error for a batch that is not previewed. wanted: `committed` or `discarded`."""
    return Refused(
        f"Batch {batch.batch_id} is {batch.status.value.replace('_', ' ')} since {batch.at:%Y-%m-%d %H:%M:%S} UTC; "
        f"only a previewed batch can be {wanted}."
    )


def window_over(batch: Batch, ended: datetime) -> WindowOver:
    """Returns the error for a rollback after the rollback window."""
    return WindowOver(
        f"Batch {batch.batch_id} could be rolled back until {ended:%Y-%m-%d %H:%M:%S} UTC.",
        "Correct its records with another import.",
    )


def images_gone(batch: Batch) -> WindowOver:
    """Returns the error for a batch without its before-image, as after RECORDS_ROLLBACK_HOURS was made longer."""
    return WindowOver(
        f"The records as they were before batch {batch.batch_id} are no longer kept, so it cannot be rolled back.",
        "Correct its records with another import.",
    )


def records_lost(batch: Batch, path: str) -> Refused:
    """Returns the error for a rollback of a batch with records, or earlier versions of them, that were lost."""
    return Refused(
        f"Records of batch {batch.batch_id}, or the records as they were before it, were lost with {path}.",
        "Import the batch's file again, or correct its records with another import.",
    )


def earlier_images_gone(batch: Batch, earlier: Batch) -> WindowOver:
    """Returns the error for a batch that follows a rolled-back one without its before-image."""
    return WindowOver(
        f"Batch {earlier.batch_id}, which is rolled back, came before batch {batch.batch_id}. The records as they were "
        f"before {earlier.batch_id} are no longer kept, so {batch.batch_id} cannot be rolled back.",
        "Correct its records with another import.",
    )


def preview_over(batch: Batch, ended: datetime) -> WindowOver:
    """Returns the error for a commit after the time for it."""
    return WindowOver(
        f"The preview {batch.batch_id} could be committed until {ended:%Y-%m-%d %H:%M:%S} UTC.",
        "Preview the file again.",
    )


def modified_since(
    batch: Batch, counts: RollbackCounts, conflicts: Sequence[Conflict], modified_by: Sequence[ModifyingBatch]
) -> ModifiedSince:
    """Returns the error for a rollback of records that were modified since. Their keys are only in `quoted`."""
    modified = numbered(counts.modified, "record")
    was = "was" if counts.modified == 1 else "were"
    return ModifiedSince(
        f"{modified} of batch {batch.batch_id} {was} modified since. Nothing was rolled back.",
        f"Leave those as they are: records rollback {batch.batch_id} --on-modified keep. To restore only the fields "
        "that were not changed since: --on-modified merge. To restore the whole records: --on-modified overwrite.",
        "\n" + "\n".join(modified_lines(counts.modified, modified_by, conflicts)) + "\n",
    )


def outdated(batch: Batch, why: str) -> PreviewOutdated:
    """Returns the error for a preview that no longer shows what a commit would write."""
    return PreviewOutdated(f"The preview {batch.batch_id} is outdated: {why}.", "Preview the file again.")


def outdated_type(name: str) -> StoreNotReady:
    """Returns the error for a record type that has changed since `records init`."""
    return StoreNotReady(f"The record type {name} has changed since the store was prepared.", "Run: records init.")


def no_such_type(name: str, known: Iterable[str]) -> NotFound | StoreNotReady:
    """Returns the error for a record type that the store does not have; `known` are those it has."""
    if name in record_type_names():
        return StoreNotReady(f"The store is not prepared for the record type {name!r} yet.", "Run: records init.")
    return NotFound(f"There is no record type {name!r}.", f"There are: {', '.join(known)}.")


def already_imported(file_name: str, earlier: Batch) -> AlreadyImported:
    """Returns the error for a file that an earlier batch has already imported."""
    alias = "" if earlier.file_name == file_name else f" as {earlier.file_name}"
    return AlreadyImported(
        f"{file_name} was imported already{alias}: batch {earlier.batch_id}, committed "
        f"{earlier.at:%Y-%m-%d %H:%M} UTC by {earlier.actor} ({earlier.counts}).",
        "To read it again: --again.",
    )


def key_of_too_many(
    members: int, records: int, names: Sequence[str], key: Sequence[object], most: int
) -> UnreadableFile:
    """Returns the error for a file with too many records of one key. Probably another column is the key's."""
    are = f"All {records:,} records" if members == records else f"{members:,} of {records:,} records"
    return UnreadableFile(
        f"{are} have the same key ({', '.join(names)}). A key may have {most:,} (RECORDS_MAX_RECORDS_PER_KEY).",
        "Is it the right column? Map the one that tells the records apart: --map HEADER=FIELD.",
        f"The key is {', '.join(map(repr, map(str, key)))}.",
    )
