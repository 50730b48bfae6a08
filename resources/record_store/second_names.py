"""Second names of the files that a transaction has made, for as long as it commits.

DuckLake deletes the files of a commit that has failed. But what failed may be the answer alone: SQLite has written the
commit and could not flush it, or PostgreSQL was cut off before it answered. The catalog then names files that are gone.
So each file gets a second name before the commit, from which it is put back: a hard link in a folder, and in an object
store a copy, which the store makes by itself.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from urllib.parse import quote, unquote

from resources.file_storage import duplicate, entries, exists, is_local, make_folder, remove
from resources.settings import Settings
from schemas.location import Location

FOLDER = "committing"


class SecondNames:
    """The folder of second names beside the data."""

    def __init__(self, settings: Settings) -> None:
        self._data = settings.data

    def give(self, paths: Collection[str]) -> None:
        """Give files, by their paths below the data, a second name that survives a power cut."""
        if not paths:
            return
        folder = self._data / FOLDER
        if is_local(folder):
            make_folder(folder)
        for path in paths:
            with suppress(OSError):  # a file system without links
                duplicate(self._data / path, folder / quote(path, safe=""))

    def put_back(self) -> None:
        """Put back the files that are gone from their places, and take all second names away."""
        for name, place in self._all():
            if not exists(place):
                duplicate(name, place)
            remove(name)

    def take_away(self, paths: Collection[str]) -> None:
        """The commit is confirmed: these files need no second name."""
        for path in paths:
            remove(self._data / FOLDER / quote(path, safe=""))

    def _all(self) -> Iterator[tuple[Location, Location]]:
        for name in entries(self._data / FOLDER):
            yield name, self._data / unquote(name.name)
