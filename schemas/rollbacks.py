"""Rollbacks as values: requests, conflicts and reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class OnModified(StrEnum):
    """The choices about records that were modified since their batch; `DECISIONS` says what each means."""

    STOP = "stop"
    KEEP = "keep"
    MERGE = "merge"
    OVERWRITE = "overwrite"


@dataclass(frozen=True)
class Decision:
    """What a rollback does with records that were modified since their batch. Without any of these it leaves them.

    refuses: roll nothing back.
    merges: restore the fields that still have the batch's value; fields that were modified since stay.
    restores: restore the record as it was before the batch; later changes are lost.
    """

    refuses: bool = False
    merges: bool = False
    restores: bool = False


DECISIONS = {
    OnModified.STOP: Decision(refuses=True),
    OnModified.KEEP: Decision(),
    OnModified.MERGE: Decision(merges=True),
    OnModified.OVERWRITE: Decision(restores=True),
}


@dataclass(frozen=True)
class RollbackCounts:
    """How many records of a batch have each outcome in a rollback.

    removed, restored: records that are as they were before the batch.
    modified: records that were modified since the batch.
    merged: modified records that lost only the batch's unmodified values.
    kept: modified records that were left alone.
    gone: records that were deleted since. They stay deleted.
    resting: kept or restored records that still have values of a rolled-back batch. Kept ones have values of this
        batch, restored ones have values of an earlier batch that created them.
    """

    removed: int = 0
    restored: int = 0
    modified: int = 0
    merged: int = 0
    kept: int = 0
    gone: int = 0
    resting: int = 0

    def __str__(self) -> str:
        """Returns the counts above 0, for example "10 removed, 2 kept"."""
        overlapping = ("modified", "resting")
        shown = [f"{number:,} {name}" for name, number in vars(self).items() if name not in overlapping and number]
        return ", ".join(shown) or "no records"

    @property
    def resting_message(self) -> str:
        """Returns how many records have values of a rolled-back batch, and what to do; empty if there are none."""
        if not self.resting:
            return ""
        return (
            f"Records that still have values of a rolled-back batch: {self.resting:,}. "
            "Roll back the later batches that changed them too, or import a correction."
        )


@dataclass(frozen=True)
class Undone:
    """The batch that a rollback has rolled back, and the outcomes of its records."""

    batch_id: str
    counts: RollbackCounts

    def to_dict(self) -> dict[str, Any]:
        """Returns both in one dict."""
        return {"batch_id": self.batch_id, **vars(self.counts)}


@dataclass(frozen=True)
class Conflict:
    """A record that was modified since the batch: its key in words, and the modified fields. It has no values.

    batch_id: the batch that modified it, if a batch did.
    snapshot, at, actor: the snapshot that has the change, its time and its author, if known.
    """

    key: str
    fields: tuple[str, ...]
    batch_id: str | None = None
    snapshot: int | None = None
    at: datetime | None = None
    actor: str | None = None

    def message(self) -> str:
        """Returns the conflict as a sentence."""
        what = ", ".join(f"`{name}`" for name in self.fields) or "nothing but the batch it bears"
        cause = f"batch {self.batch_id}" if self.batch_id else "a statement of SQL"
        where = "" if self.snapshot is None else f" (snapshot {self.snapshot})"
        when = "" if self.at is None else f" at {self.at:%Y-%m-%d %H:%M:%S} UTC"
        whom = f" by {self.actor}" if self.actor else ""
        return f"{self.key}: {what} changed since, by {cause}{where}{when}{whom}"


@dataclass(frozen=True)
class ModifyingBatch:
    """A later batch that modified records of the batch, how many of them, and the name of its file.

    file_name: empty for a rollback, which has no file.
    open: whether it can still be rolled back.
    """

    batch_id: str
    records: int
    file_name: str = ""
    open: bool = True

    def message(self, modified: int) -> str:
        """Returns a sentence that says how many of the modified records it explains, and what to do."""
        share = f"all {self.records:,}" if self.records == modified else f"{self.records:,} of {modified:,}"
        file = f" ({self.file_name})" if self.file_name else ""
        advice = f"; roll that back first: records rollback {self.batch_id}" if self.open else ""
        return f"{share} by {self.batch_id}{file}{advice}"


def modified_lines(modified: int, batches: Sequence[ModifyingBatch], conflicts: Sequence[Conflict]) -> list[str]:
    """Returns the lines that explain the modified records: one for each batch, and one for each other record.

    A batch that modified a single record has that record's line, which names the fields.
    """
    several = {batch.batch_id: batch for batch in batches if batch.records > 1}
    single = [conflict for conflict in conflicts if conflict.batch_id not in several]
    more = modified - sum(batch.records for batch in several.values()) - len(single)
    return [
        *(batch.message(modified) for batch in several.values()),
        *(conflict.message() for conflict in single),
        *([f"and {more:,} more"] if more else []),
    ]


@dataclass(frozen=True)
class RollbackRequest:
    """One batch of one account to roll back, and the choice about records that were modified since."""

    account: str
    batch_id: str
    on_modified: OnModified = OnModified.STOP


@dataclass(frozen=True)
class RollbackReport:
    """The outcomes of a batch's records in a rollback, or in a dry run.

    batch_id: the id of the rollback. None for a dry run.
    `undone`: the id of the batch that was rolled back.
    status: `committed`, `planned` for a dry run, or `rolled_back` if the batch was rolled back before.
    erased: what was erased since the batch, as sentences. The rollback does not bring it back.
    """

    batch_id: str | None
    undone: str
    account: str
    record_type: str
    status: str
    counts: RollbackCounts
    conflicts: tuple[Conflict, ...] = ()
    modified_by: tuple[ModifyingBatch, ...] = ()
    snapshot: int | None = None
    at: datetime | None = None
    erased: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for rollback."""
        return {
            "batch_id": self.batch_id,
            "undone": self.undone,
            "account": self.account,
            "record_type": self.record_type,
            "status": self.status,
            **vars(self.counts),
            "conflicts": [
                {**vars(conflict), "at": None if conflict.at is None else conflict.at.isoformat()}
                for conflict in self.conflicts
            ],
            "modified_by": [vars(batch) for batch in self.modified_by],
            "snapshot": self.snapshot,
            "at": None if self.at is None else self.at.isoformat(),
            **({"erased": list(self.erased)} if self.erased else {}),
        }
