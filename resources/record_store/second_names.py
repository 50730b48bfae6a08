"""Second names of the files that a transaction has made, for as long as it commits.

DuckLake deletes the files of a commit that has failed. But what failed may be the answer alone: SQLite has written the
commit and could not flush it, or PostgreSQL was cut off before it answered. The catalog then names files that are gone.
So each file gets a second name (a hard link) before the commit, from which it is put back.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from resources.file_storage import is_local, make_folder, sync
from resources.settings import Settings

FOLDER = "committing"


class SecondNames:
    """The folder of second names beside the data. Objects need none: DuckLake cannot remove them (`ObjectFiles`)."""

    def __init__(self, settings: Settings) -> None:
        self._data = settings.data if is_local(settings.data) else None

    def give(self, paths: Iterable[str]) -> None:
        """Give files, by their paths below the data, a second name that survives a power cut."""
        if self._data is None:
            return
        folder = self._data / FOLDER
        make_folder(folder)
        with suppress(OSError):  # a file system without links
            for path in paths:
                os.link(self._data / path, folder / quote(path, safe=""))
        sync(folder)

    def put_back(self) -> None:
        """Put back the files that are gone from their places, and take all second names away."""
        for name, place in self._all():
            if not place.exists():
                os.link(name, place)
                sync(place.parent)
            name.unlink()

    def take_away(self) -> None:
        """The commit is confirmed: no file needs a second name."""
        for name, _ in self._all():
            name.unlink()

    def _all(self) -> list[tuple[Path, Path]]:
        if self._data is None or not (self._data / FOLDER).is_dir():
            return []
        return [(name, self._data / unquote(name.name)) for name in (self._data / FOLDER).iterdir()]
