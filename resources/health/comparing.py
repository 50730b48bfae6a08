"""Compares files with what was written, in a few threads, block by block."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from resources.checksums import Checksum
from resources.file_storage import blocks_of, is_local, size_of
from resources.health.inventory import Wanted
from resources.importing.progress import Progress
from schemas.checks import Finding, Kind
from schemas.errors import DamagedFile
from schemas.location import Location

_THREADS, _AT_ONCE = 2, 4
"""Threads for the files of a disk, and for those of an object store, which wait for the network."""


class Comparison:
    """Compares files of the data with what was written. Reads each one once, or only its size if `fast`.

    files, bytes: what was compared so far.
    """

    def __init__(self, data: Location, *, fast: bool, progress: Progress | None = None, total: int = 0) -> None:
        self._data = data
        self._fast = fast
        self._progress = progress
        self._total = total
        self._turn = Lock()
        self.files = 0
        self.bytes = 0

    def findings(self, wanted: Iterable[Wanted]) -> dict[str, Finding]:
        """Return what is wrong, by path."""
        with ThreadPoolExecutor(_THREADS if is_local(self._data) else _AT_ONCE) as threads:
            found = threads.map(self.finding, sorted(wanted, key=lambda it: it.path))
            return {it.path: it for it in found if it is not None and it.path is not None}

    def finding(self, wanted: Wanted) -> Finding | None:
        """Return what is wrong with a file; None if it is as it was written, or not needed and not there."""
        place = self._data / wanted.path
        size = size_of(place)
        if size is None:
            return self._wrong(wanted, Kind.MISSING, "is missing") if wanted.is_required else None
        if self._fast:
            self._counted(size, files=1)
            if wanted.bytes is not None and size != wanted.bytes:
                return self._differs(wanted, size)
            return None
        if not wanted.has_checksum and wanted.manifest is None:
            if (wanted.is_required and wanted.known is not None) or wanted.path.startswith("lake/"):
                return self._wrong(wanted, Kind.UNKNOWN_CHECKSUM, "has no recorded checksum; run records init")
            return None
        try:
            is_whole = self._is_whole(place, wanted)
        except FileNotFoundError:
            return self._wrong(wanted, Kind.MISSING, "is missing") if wanted.is_required else None
        except DamagedFile:
            return self._wrong(wanted, Kind.DAMAGED, _difference(size, wanted.bytes))
        except OSError as error:
            return self._wrong(wanted, Kind.DAMAGED, f"cannot be read: {error.strerror}")
        return None if is_whole else self._differs(wanted, size)

    def _is_whole(self, place: Location, wanted: Wanted) -> bool:
        if wanted.sha256 is not None:
            sha256 = hashlib.sha256()
            self._read(place, sha256.update)
            return sha256.hexdigest() == wanted.sha256
        if wanted.manifest is not None:
            content = bytearray()
            self._read(place, content.extend)
            return wanted.manifest.is_said_by(content.decode("utf-8", "replace"))
        digest = Checksum()
        self._read(place, digest.update)
        return wanted.known is not None and wanted.known.has_version(str(digest))

    def _read(self, place: Location, update: Callable[[bytes], None]) -> None:
        for block in blocks_of(place):
            update(block)
            self._counted(len(block))
        self._counted(0, files=1)

    def _counted(self, number: int, files: int = 0) -> None:
        with self._turn:
            self.bytes += number
            self.files += files
            if self._progress is not None:
                self._progress(self.bytes, max(self._total, self.bytes))

    def _differs(self, wanted: Wanted, size: int) -> Finding:
        if wanted.known is not None and wanted.known.is_editable:
            return self._wrong(wanted, Kind.EDITED, "was edited since it was written")
        return self._wrong(wanted, Kind.DAMAGED, _difference(size, wanted.bytes))

    def _wrong(self, wanted: Wanted, kind: Kind, what: str) -> Finding:
        return Finding(kind, f"{wanted.path} {what}.", wanted.path, wanted.account, wanted.batches)


def _difference(size: int, written: int | None) -> str:
    if written is not None and size != written:
        return f"has {size:,} bytes, and {written:,} were written"
    return "has other bytes than were written"
