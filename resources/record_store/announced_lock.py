"""`AnnouncedLock`: a lock on a file, for a catalog in SQLite over data in an object store."""

import secrets
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from resources.file_storage import entries, remove, sync, write_object
from resources.record_store.write_lock import FileLock
from schemas.errors import StoreBusy

if TYPE_CHECKING:
    from upath import UPath

WRITERS = "writers"
"""The folder beside the data that has an object for each writer."""


class AnnouncedLock:
    """A lock on a file, announced beside the data, where a copy of the catalog sees it.

    Each copy has a lock file of its own, so the file alone cannot keep copies apart. A writer first puts an object with
    a new name, and then lists the objects. So of two writers at the same time, at least one finds the other. Only then
    does it read the mark, which refuses a copy that the other has left behind.

    names: the file with the names that this catalog has used. Their objects are of killed processes.
    """

    def __init__(self, lock: FileLock, folder: "UPath", names: Path) -> None:
        self._lock = lock
        self._folder = folder
        self._names = names
        self._depth = 0
        self._announced: UPath | None = None

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait, or if a copy of the catalog writes."""
        self._lock.__enter__()
        try:
            if not self._depth:
                self._announce()
        except BaseException as error:
            self._withdraw()
            self._lock.__exit__(type(error), error, error.__traceback__)
            raise
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._depth -= 1
        if not self._depth:
            self._withdraw()
        self._lock.__exit__(kind, error, trace)

    def prove(self) -> None:
        """Do nothing: a living process cannot lose a lock on a file."""

    def _announce(self) -> None:
        name = secrets.token_hex(8)
        ours = {*(self._names.read_text("ascii").split() if self._names.exists() else ()), name}
        self._remember(ours)
        self._announced = self._folder / name
        write_object(self._announced, b"")
        found = {place.name for place in entries(self._folder)}
        if found - ours:
            other = self._folder / min(found - ours)
            raise StoreBusy(
                f"A copy of the catalog in {self._names.parent} is writing to the same data, or was killed meanwhile. "
                "Nothing was written.",
                f"Use one of the two. If no other copy is in use, remove {other} and try again.",
            )
        for killed in found - {name}:
            remove(self._folder / killed)
        self._remember(found)

    def _withdraw(self) -> None:
        """Remove the object. If that fails, the next writer does it."""
        if self._announced is not None:
            remove(self._announced)
            self._announced = None

    def _remember(self, names: set[str]) -> None:
        partial = self._names.with_name(f"{self._names.name}.partial")
        partial.write_text(" ".join(sorted(names)), "ascii")
        sync(partial)
        partial.replace(self._names)
        sync(self._names.parent)
