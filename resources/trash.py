"""What the store no longer needs, kept for some days more, so that a mistake can be undone by hand."""

import re
from datetime import UTC, datetime

from resources.file_storage import entries, kept, move, remove
from resources.settings import Settings
from schemas.location import Location
from schemas.maintenance import Removed

_ROUND = re.compile(r"[0-9]{8}-[0-9]{6}")


class Trash:
    """The trash of a store. A file keeps its path below `RECORDS_DATA` there, in a folder named for the time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def put(self, place: Location, now: datetime) -> Removed:
        """Move a file or folder of the store into the trash; what another process has taken is no hindrance."""
        taken = kept(place).bytes
        path = str(place).removeprefix(str(self._settings.data)).lstrip("/")
        try:
            move(place, self._settings.trash / f"{now:%Y%m%d-%H%M%S}" / path)
        except FileNotFoundError:
            return Removed()
        return Removed(1, taken)

    def sweep(self, now: datetime) -> Removed:
        """Delete for good what has lain in the trash for RECORDS_TRASH_DAYS."""
        removed = Removed()
        for folder in entries(self._settings.trash):
            if not _ROUND.fullmatch(folder.name):
                continue
            put_at = datetime.strptime(folder.name, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
            if now - put_at >= self._settings.trash_days:
                taken = kept(folder).bytes
                remove(folder)
                removed += Removed(1, taken)
        return removed
