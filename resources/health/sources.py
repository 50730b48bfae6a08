"""Where a repair finds whole copies of the store's files."""

from collections.abc import Iterator
from typing import Protocol

from resources.file_storage import entries, size_of
from resources.settings import Settings
from schemas.files import StoredFile
from schemas.location import Location


class Source(Protocol):
    """A place with copies of files of the store."""

    def find(self, file: StoredFile) -> Location | None:
        """Return a copy of a file, as far as its name and size show; None if there is none.

        The repair compares the copy with its checksum before it uses it.
        """
        ...


class TrashSource:
    """The trash of the store, newest first. A file keeps its path there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, file: StoredFile) -> Location | None:
        """Return the newest copy of a file with its size; None if there is none."""
        return next(self._copies(file), None)

    def _copies(self, file: StoredFile) -> Iterator[Location]:
        for folder in reversed(entries(self._settings.trash)):
            place = folder / file.path
            size = size_of(place)
            if size is not None and file.bytes in (None, size):
                yield place
