"""What keeping house has come to, as values: batches whose time had ended, files that nobody needs any more."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Removed:
    """Files that are gone, or folders with all that was in them, and the bytes they took."""

    number: int = 0
    bytes: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        """Both together."""
        return Removed(self.number + other.number, self.bytes + other.bytes)


@dataclass(frozen=True)
class ExpiryReport:
    """The batches that can no longer be taken back, the previews that can no longer be committed, and their files."""

    expired: tuple[str, ...]
    discarded: tuple[str, ...]
    removed: Removed

    def to_dict(self) -> dict[str, Any]:
        """The keys that the command prints for expire."""
        return {
            "expired": list(self.expired),
            "discarded": list(self.discarded),
            "folders_removed": self.removed.number,
            "bytes_reclaimed": self.removed.bytes,
        }


@dataclass(frozen=True)
class Storage:
    """Bytes of the lake: of the records as they are, and of what is kept for the sake of earlier snapshots."""

    current: int
    held: int


@dataclass(frozen=True)
class MaintenanceReport:
    """What a round of maintenance has done.

    `merged` small files and `rewritten` ones, of which many records were deleted, have become the `written` ones;
    `snapshots` are no longer kept. Into the trash went `old_files`, which had been replaced, `orphans`, which killed
    writers had left, and `archived` files past their days. `exports` past their days, or that never ended, and what was
    in the `trash` for long enough are deleted. `unknown` files in the lake's folder, which the store has not written,
    are left alone. `storage` is what there is afterwards.
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
    trash: Removed
    unknown: tuple[str, ...]
    storage: Storage

    @property
    def reclaimed(self) -> int:
        """All bytes that are free again, or will be when the trash is emptied."""
        return (self.expiry.removed + self.old_files + self.orphans + self.exports + self.archived).bytes

    def to_dict(self) -> dict[str, Any]:
        """The keys that the command prints for maintain."""
        return asdict(self) | {"expiry": self.expiry.to_dict(), "bytes_reclaimed": self.reclaimed}
