"""The trash: files that the store no longer needs, kept for some days so that an operator can restore them."""

import re
from datetime import UTC, datetime

from resources.file_storage import entries, move, remove, usage
from resources.settings import Settings
from schemas.location import Location
from schemas.maintenance import Removed

_ROUND = re.compile(r"[0-9]{8}-[0-9]{6}")


class Trash:
    """The trash of a store. A file keeps its path below `RECORDS_DATA` there, in a folder named for the time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def put(self, place: Location, now: datetime) -> Removed:
        """Move a file or folder into the trash, and return what was moved: nothing if another process removed it."""
        size = usage(place).bytes
        path = str(place).removeprefix(str(self._settings.data)).lstrip("/")
        try:
            move(place, self._settings.trash / f"{now:%Y%m%d-%H%M%S}" / path)
        except FileNotFoundError:
            return Removed()
        return Removed(1, size)

    def sweep(self, now: datetime) -> Removed:
        """Delete the files that have been in the trash for RECORDS_TRASH_DAYS. Returns what was deleted."""
        removed = Removed()
        for folder in entries(self._settings.trash):
            if not _ROUND.fullmatch(folder.name):
                continue
            put_at = datetime.strptime(folder.name, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
            if now - put_at >= self._settings.trash_days:
                size = usage(folder).bytes
                remove(folder)
                removed += Removed(1, size)
        return removed
