"""Copies of the lake's files on this machine, for previews of records in an object store and exports of them.

What DuckDB reads of an object, a range at a time, cannot be compared with a checksum of the whole. So the files that
are needed are fetched whole, compared, and read from the disk. They stay for a while: the next part needs them as well.
"""

import os
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from resources.file_storage import FileStorage, known_checksum, remove
from resources.record_store.lake import Connection
from resources.record_store.lake_files import LAKE, known_files, not_whole
from resources.settings import Settings
from schemas.errors import DamagedFile

_AT_ONCE = 4
_KEPT_SECONDS = 6 * 3600.0
"""How long a copy stays that nobody uses: much longer than a part takes."""


class LakeMirror:
    """The copies that all processes of this machine share, in the scratch folder."""

    def __init__(self, settings: Settings, files: FileStorage) -> None:
        self._data = settings.data
        self._root = settings.scratch / "mirror"
        self._files = files

    @property
    def lake(self) -> Path:
        """The folder that is as that of the lake, for what was fetched."""
        return self._root / LAKE

    def fetch(self, connection: Connection, paths: Sequence[str]) -> None:
        """Copy files here, as they were written. Raises DamagedFile for the first that is missing or differs."""
        known = known_files(connection, self._data, paths)
        self._forget_old()

        def fetched(path: str) -> bool:
            return path in known and self._is_here(path, known[path].checksum)

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for path, is_here in zip(paths, threads.map(fetched, paths), strict=True):
                if not is_here:
                    raise not_whole(self._data, path, known.get(path))

    def _is_here(self, path: str, checksum: str | None) -> bool:
        """Whether a whole copy is here, which is fetched if there is none."""
        here = self._root / path
        with suppress(FileNotFoundError):
            if known_checksum(here) == checksum:
                os.utime(here)
                return True
        here.parent.mkdir(parents=True, exist_ok=True)
        folder = self._root / f".{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            with self._files.fetched(self._data / path, folder) as fetched:
                if known_checksum(fetched) != checksum:
                    return False
                os.replace(fetched, here)
        except (FileNotFoundError, DamagedFile):
            return False
        finally:
            remove(folder)
        return known_checksum(here) == checksum

    def _forget_old(self) -> None:
        before = time.time() - _KEPT_SECONDS
        for file in self._root.rglob("*.parquet"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    file.unlink()
