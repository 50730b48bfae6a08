"""The results of a check and of a repair of a store, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a check has found."""

    FOREIGN = "foreign"
    """The catalog and the data do not belong together, so nothing else was checked."""
    OTHER_FORMAT = "other_format"
    """A program of another version made the store, so nothing else was checked."""
    MISSING = "missing"
    """A file that the store needs is not there."""
    DAMAGED = "damaged"
    """A file has other bytes than were written."""
    UNKNOWN_CHECKSUM = "unknown_checksum"
    """A file that the store needs has no recorded checksum."""
    UNREADABLE = "unreadable"
    """A part of the store, or a file, cannot be read, so it was not checked."""
    GAP = "gap"
    """The numbers of the ledger's rows have a gap or a number twice."""
    UNBALANCED = "unbalanced"
    """The counts of a batch do not add up."""
    COUNT = "count"
    """There are more or fewer records than the ledger or the catalog says."""
    UNKNOWN_BATCH = "unknown_batch"
    """Records name a batch that the ledger does not have, or one that was not committed."""
    SNAPSHOT = "snapshot"
    """A batch can be rolled back, and its snapshots are gone."""
    PENDING = "pending"
    """An erasure was interrupted. The same command again completes it."""
    MISPLACED = "misplaced"
    """A file that arrived is in more than one place, or in none."""
    EDITED = "edited"
    """A rejects file was edited since it was written. A user corrects it there, and the import reads it as it is."""
    SUPERFLUOUS = "superfluous"
    """A file is among those of the store, and the store does not know it or does not need it."""
    LEFTOVER = "leftover"
    """A process that was ended has left files, or is still making them."""
    LOST = "lost"
    """Records were marked as lost by a repair."""
    OLDER_FORMAT = "older_format"
    """An older program made the store. Until its format is changed, it can only be checked and backed up."""
    DEPLOYMENT = "deployment"
    """The machine or its set-up lacks something."""

    @property
    def is_wrong(self) -> bool:
        """Returns whether somebody must do something about it. The others are notes."""
        return self not in _NOTES


MENDABLE = (Kind.MISSING, Kind.DAMAGED)
"""What a repair can do something about, if it is a file below RECORDS_DATA."""
_NOTES = (Kind.EDITED, Kind.SUPERFLUOUS, Kind.LEFTOVER, Kind.LOST, Kind.OLDER_FORMAT, Kind.DEPLOYMENT)


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found, as a sentence.

    path: the file, below RECORDS_DATA. account, batches: to whom the file or the records belong, as far as known.
    """

    kind: Kind
    sentence: str
    path: str | None = None
    account: str | None = None
    batches: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for a finding."""
        return {
            "kind": self.kind.value,
            "wrong": self.kind.is_wrong,
            "sentence": self.sentence,
            "path": self.path,
            "account": self.account,
            "batches": list(self.batches),
        }


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    files, bytes: what was compared with a checksum, or with names and sizes alone if `fast`.
    records, batches: how many records of the present were counted, and how many batches were compared with the ledger.
    """

    findings: tuple[Finding, ...]
    files: int = 0
    bytes: int = 0
    records: int = 0
    batches: int = 0
    fast: bool = False
    seconds: float = 0.0

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Returns the findings about which somebody must do something."""
        return tuple(finding for finding in self.findings if finding.kind.is_wrong)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Returns the other findings."""
        return tuple(finding for finding in self.findings if not finding.kind.is_wrong)

    @property
    def advice(self) -> str:
        """Returns where to see what can be done, as a sentence; "" if the findings say it themselves."""
        is_of_repair = any(it.kind in MENDABLE and it.path is not None for it in self.wrong)
        return "See what can be done: records repair --dry-run" if is_of_repair else ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for check."""
        return {
            "wrong": len(self.wrong),
            "notes": len(self.notes),
            "fast": self.fast,
            "files": self.files,
            "bytes": self.bytes,
            "records": self.records,
            "batches": self.batches,
            "seconds": self.seconds,
            "findings": [finding.to_dict() for finding in self.findings],
        }


class Remedy(StrEnum):
    """What a repair does about a file."""

    RESTORE = "restore"
    """Put a whole copy of the file in its place."""
    REBUILD = "rebuild"
    """Make the file again from others."""
    LOSE = "lose"
    """Mark the records of the file as lost, so that all others can be used."""
    NONE = "none"
    """Nothing can be done without a backup."""


@dataclass(frozen=True)
class Repair:
    """What a repair does, or would do, about one file.

    source: the copy, or what the file is made from. lost: how many records are lost. keys: the file that lists them.
    """

    remedy: Remedy
    path: str
    sentence: str
    account: str | None = None
    batches: tuple[str, ...] = ()
    source: str | None = None
    lost: int = 0
    keys: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for a repaired file."""
        return {**vars(self), "remedy": self.remedy.value, "batches": list(self.batches)}


@dataclass(frozen=True)
class RepairReport:
    """What a repair did, or would do if it is a dry run."""

    repairs: tuple[Repair, ...]
    dry_run: bool = False

    @property
    def lost(self) -> int:
        """Returns how many records are lost."""
        return sum(repair.lost for repair in self.repairs)

    @property
    def is_whole(self) -> bool:
        """Returns whether something was done about every file."""
        return all(repair.remedy is not Remedy.NONE for repair in self.repairs)

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for repair."""
        return {
            "dry_run": self.dry_run,
            "lost": self.lost,
            "repairs": [repair.to_dict() for repair in self.repairs],
        }


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns the first names and the number of the others, for a sentence."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
