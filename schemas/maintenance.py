"""The results of expiry and maintenance, as values."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Removed:
    """How many files, or folders with their content, were removed, and how many bytes they had."""

    number: int = 0
    bytes: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        """Returns the sum of both."""
        return Removed(self.number + other.number, self.bytes + other.bytes)


@dataclass(frozen=True)
class ExpiryReport:
    """Batches that can no longer be rolled back, previews that can no longer be committed, and their removed files."""

    expired: tuple[str, ...]
    discarded: tuple[str, ...]
    removed: Removed

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for expire."""
        return {
            "expired": list(self.expired),
            "discarded": list(self.discarded),
            "folders_removed": self.removed.number,
            "bytes_reclaimed": self.removed.bytes,
        }


@dataclass(frozen=True)
class Storage:
    """Bytes of the lake: those of the current records, and those that only earlier snapshots need."""

    current: int
    held: int


@dataclass(frozen=True)
class MaintenanceReport:
    """The result of one maintenance.

    snapshots: the number of snapshots that were expired.
    merged, rewritten, written: `written` files replace `merged` small files, and `rewritten` files with many deleted
        records.
    old_files: replaced files that were moved to the trash.
    orphans: files of killed writers that were moved to the trash.
    archived: archived files that were old enough to be moved to the trash.
    exports: exports that were deleted because they were old or unfinished.
    steps: what runs of Dagster have passed on between their steps, deleted a week later.
    trash: files that were deleted because they had been in the trash long enough.
    unknown: files in the lake's folder that the store did not write. They are left alone.
    storage: the size of the lake afterwards.
    """

    expiry: ExpiryReport
    snapshots: int
    merged: int
    rewritten: int
    written: int
    old_files: Removed
    orphans: Removed
    exports: Removed
    archived: Removed
    steps: Removed
    trash: Removed
    unknown: tuple[str, ...]
    storage: Storage

    @property
    def reclaimed(self) -> int:
        """Returns the bytes that are free now, or will be free when the trash is emptied."""
        return (self.expiry.removed + self.old_files + self.orphans + self.exports + self.archived + self.steps).bytes

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for maintain."""
        return asdict(self) | {"expiry": self.expiry.to_dict(), "bytes_reclaimed": self.reclaimed}
