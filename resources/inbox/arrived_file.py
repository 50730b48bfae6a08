"""Finds the file of a batch from the inbox, after it was moved to the archive or into quarantine."""

from resources.file_storage import entries
from resources.settings import Settings
from schemas.batches import Batch
from schemas.location import Location


def arrived_file(settings: Settings, batch: Batch) -> Location | None:
    """Returns the file of a batch from the inbox; None if it is no longer kept, or the batch has another source."""
    if batch.arrival_id is None:
        return None
    kept = (settings.archive, batch.batch_id), (settings.quarantine, batch.arrival_id)
    for place, folder in kept:
        for each in entries(place / batch.account / batch.record_type / folder):
            if each.name == batch.file_name:
                return each
    return None
