"""Gives the files of a transaction second names (hard links) during its commit.

DuckLake deletes the files of a failed commit. But the commit may be written, and only its confirmation may be missing.
For example, SQLite could not flush it, or the connection to PostgreSQL was cut. The catalog then names missing files.
They are restored from their second names.
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

    def add(self, paths: Iterable[str]) -> None:
        """Give files a second name that survives a power cut. paths: their paths below the data."""
        if self._data is None:
            return
        folder = self._data / FOLDER
        make_folder(folder)
        with suppress(OSError):  # a file system without links
            for path in paths:
                os.link(self._data / path, folder / quote(path, safe=""))
        sync(folder)

    def restore(self) -> None:
        """Restore missing files from their second names, and remove all second names."""
        for name, place in self._all():
            if not place.exists():
                os.link(name, place)
                sync(place.parent)
            name.unlink()

    def remove(self) -> None:
        """Remove all second names, after the commit is confirmed."""
        for name, _ in self._all():
            name.unlink()

    def _all(self) -> list[tuple[Path, Path]]:
        if self._data is None or not (self._data / FOLDER).is_dir():
            return []
        return [(name, self._data / unquote(name.name)) for name in (self._data / FOLDER).iterdir()]
