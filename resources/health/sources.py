"""Where a repair finds whole copies of the store's files."""

import hashlib
from collections.abc import Iterator
from typing import Protocol

from resources.backup import BackupPlace
from resources.checksums import checksum
from resources.file_storage import blocks_of, entries, size_of
from resources.settings import Settings
from schemas.errors import DamagedFile
from schemas.files import StoredFile
from schemas.location import Location

SHA256 = "sha256:"
"""The beginning of the checksum of a file that the ledger knows by its SHA-256: an export or an archived file."""


class Source(Protocol):
    """A place with copies of files of the store."""

    def find(self, file: StoredFile) -> Location | None:
        """Return a whole copy of a file; None if there is none.

        The repair compares the copy with its checksum once more before it uses it.
        """
        ...


class TrashSource:
    """The trash of the store, newest first. A file keeps its path there. Damaged copies are passed over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, file: StoredFile) -> Location | None:
        """Return the newest whole copy of a file; None if there is none."""
        return next((place for place in self._copies(file) if _is_whole(place, file)), None)

    def _copies(self, file: StoredFile) -> Iterator[Location]:
        for folder in reversed(entries(self._settings.trash)):
            place = folder / file.path
            if size_of(place) is not None:
                yield place


class BackupSource:
    """The backups in a place. Raises NotFound when it is made, if there are none."""

    def __init__(self, place: str, settings: Settings) -> None:
        self._backups = BackupPlace(place, settings)
        self._backups.ids()

    def find(self, file: StoredFile) -> Location | None:
        """Return a whole copy of a file; None if there is none."""
        if not _has_sha256(file):
            return self._backups.find(file)
        return next((place for place in self._backups.versions(file.path) if _is_whole(place, file)), None)


def _has_sha256(file: StoredFile) -> bool:
    return file.checksum is not None and file.checksum.startswith(SHA256)


def _is_whole(place: Location, file: StoredFile) -> bool:
    try:
        if _has_sha256(file):
            digest = hashlib.sha256()
            for block in blocks_of(place):
                digest.update(block)
            return f"{SHA256}{digest.hexdigest()}" == file.checksum
        return file.has_version(checksum(place))
    except (FileNotFoundError, DamagedFile):
        return False
