"""Imports as values: what was asked, what was found, what became of it."""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.arrivals import Arrival
from schemas.columns import Column
from schemas.counts import Counts
from schemas.location import Location
from schemas.masking import MASK, masked_value
from schemas.rollbacks import OnModified, Undone


class Mode(StrEnum):
    """What an import may do: create records, change existing ones, or both."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"


class OnDuplicate(StrEnum):
    """What becomes of records of one file that have one key and different values."""

    REJECT = "reject"
    FIRST = "first"
    LAST = "last"


class OnInvalid(StrEnum):
    """What a commit does about rejected records: refuse the whole batch, or leave them out."""

    ABORT = "abort"
    SKIP = "skip"


class DateOrder(StrEnum):
    """In which order a date that is not ISO 8601 has day, month and year: 31/05/2024, 05/31/2024, 2024/05/31."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class BatchStatus(StrEnum):
    """Where a batch is in its life."""

    PREVIEWED = "previewed"
    COMMITTED = "committed"
    DISCARDED = "discarded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"


STANDING = frozenset({BatchStatus.COMMITTED, BatchStatus.EXPIRED})
"""The states of a batch in which what it wrote stands: it was not taken back."""


@dataclass(frozen=True)
class ImportRequest:
    """One file to import for one account.

    `column_map` is header to field; an empty field leaves the column out. `encoding`, `delimiter` and `sheet`
    say how the file is written; None is detected. `date_order` says how dates are written that are not ISO;
    without it they are rejected. `unescape` takes away the ' that an export puts before a text which a
    spreadsheet would take for a formula; from a rejects file in CSV or Excel it is taken away always. `again`
    allows a file whose content has been imported already. `arrival` is what the inbox knows of it.
    """

    path: Path
    account: str
    record_type: str
    mode: Mode = Mode.UPSERT
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    column_map: MappingOf[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    date_order: DateOrder | None = None
    unescape: bool = False
    again: bool = False
    arrival: Arrival | None = None


@dataclass(frozen=True)
class RowProblem:
    """One broken rule of one record: a value, not an exception.

    `record` counts the records of the file from 1, without the header. `line` is the physical line, or the row of a
    sheet, on which the record begins, from 1. The two differ inside quoted line breaks. `field` is None if the rule
    concerns the whole record. `records` counts the records of the file that have this problem with this value.
    """

    record: int
    line: int
    field: str | None
    rule: str
    expected: str
    value: str | None
    records: int = 1

    def message(self, *, masked: bool = False, place: str = "line") -> str:
        """Returns the problem as a sentence: "`amount` must be 0 or more; record 4,812 (line 4,815) has -5".

        place: what `line` counts, as `Batch.place` says.
        """
        subject = f"`{self.field}`" if self.field else "The record"
        found = "nothing" if not self.value else masked_value(self.value, self.expected) if masked else self.value
        return f"{subject} {self.expected}; record {self.record:,} ({place} {self.line:,}) has {found}"


@dataclass(frozen=True)
class ChangedValue:
    """A stored value and the one that an import gives it, as text; None is null. `key` is the record's, in words."""

    record: int
    key: str
    field: str
    old: str | None
    new: str | None

    def masked(self) -> "ChangedValue":
        """The change without its values: that there was one, and that there is one."""
        return replace(self, old=None if self.old is None else MASK, new=None if self.new is None else MASK)


@dataclass(frozen=True)
class ProblemCount:
    """How many records break one rule in one field."""

    field: str | None
    rule: str
    expected: str
    records: int


@dataclass(frozen=True)
class Basis:
    """What a preview was made with. A commit requires that it still holds.

    `fields` are those that a column feeds. `snapshot` is the version of the records that the file was compared with.
    `again` allows a file that has been imported before.
    """

    record_type_hash: str
    fields: tuple[str, ...]
    mode: Mode
    on_duplicate: OnDuplicate
    snapshot: int
    again: bool = False


@dataclass(frozen=True)
class RememberedMapping:
    """How a person mapped columns. A later file with the same `header_row` (a digest) is mapped alike.

    `column_map` is header to field. `remembered_from` is the batch whose mapping this one was read with.
    """

    header_row: str
    column_map: MappingOf[str, str]
    remembered_from: str | None = None


@dataclass(frozen=True)
class Batch:
    """One import of one file, or one rollback of a batch, as the last row of its ledger tells.

    `at` is when it came into this status, UTC. `understood` is how the file was read, as label and value. `warnings`
    are sentences about what may be wrong although no rule is broken. Neither holds a value of a record.

    A preview has a `basis`, a `mapping`, and the first `changes` without keys and personal values. `parent` is the
    batch whose rejects file it corrects. `link_token` is the secret part of the address of its report and rejects.
    Of a file from the inbox, `arrival_id` names the arrival, and `needs_approval` says that a person decides about it.
    `failure` says why a file could not be imported, and what to do.

    `committed_at` is when it was first committed. `window` is how long it can be committed or rolled back, as promised
    when it was previewed or committed. A rollback has what it has `undone`, and its choice `on_modified`; its file and
    counts are empty.
    """

    batch_id: str
    account: str
    record_type: str
    status: BatchStatus
    actor: str
    at: datetime
    file_name: str
    file_sha256: str
    counts: Counts
    problems: tuple[ProblemCount, ...] = ()
    cleared: MappingOf[str, int] = field(default_factory=dict)
    understood: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    basis: Basis | None = None
    mapping: RememberedMapping | None = None
    changes: tuple[ChangedValue, ...] = ()
    parent: str | None = None
    link_token: str | None = None
    arrival_id: str | None = None
    needs_approval: bool = False
    failure: str | None = None
    on_modified: OnModified | None = None
    run_id: str | None = None
    committed_at: datetime | None = None
    undone: Undone | None = None
    window: timedelta | None = None

    @property
    def written(self) -> int:
        """How many records bear it as their batch, directly after its commit."""
        return self.counts.created + self.counts.updated if self.undone is None else self.undone.counts.merged

    @property
    def place(self) -> str:
        """Returns what the problems of its records count: the rows of a sheet, or the lines of a text."""
        return "row" if dict(self.understood).get("Format", "").startswith("Excel") else "line"

    @property
    def waits(self) -> bool:
        """Whether it is a preview of a file from the inbox that a person must commit or discard."""
        return self.status is BatchStatus.PREVIEWED and self.needs_approval

    def open_until(self, window: timedelta) -> datetime | None:
        """Until when, exclusively, a preview can be committed and a commit taken back; None in any other status.

        window: for how long, if the batch does not say it, as one that an earlier version has written.
        """
        if self.status is BatchStatus.PREVIEWED:
            return self.at + self.promised(window)
        if self.status is BatchStatus.COMMITTED and self.committed_at is not None:
            return self.committed_at + self.promised(window)
        return None

    def promised(self, window: timedelta) -> timedelta:
        """For how long it was promised that the batch can be taken back, or the preview committed; else `window`."""
        return window if self.window is None else self.window

    def is_over(self, now: datetime, window: timedelta) -> bool:
        """Whether its time has ended and its status does not say so yet."""
        until = self.open_until(window)
        return until is not None and now >= until


@dataclass(frozen=True)
class ImportReport:
    """A batch, the columns of its file, its first problems and changes, the snapshot it made, and its files.

    `open_until` is when the time ends in which it can be committed, or taken back; None when it can be neither.
    """

    batch: Batch
    columns: tuple[Column, ...] = ()
    samples: tuple[RowProblem, ...] = ()
    changes: tuple[ChangedValue, ...] = ()
    snapshot: int | None = None
    rejects_file: Location | None = None
    report_file: Location | None = None
    open_until: datetime | None = None

    @property
    def files(self) -> dict[str, Location]:
        """Returns the files that a person can look at, by name: the report and the rejects file."""
        files = {"report": self.report_file, "rejects_file": self.rejects_file}
        return {what: file for what, file in files.items() if file is not None}

    @property
    def deadlines(self) -> dict[str, datetime | None]:
        """`open_until` by what it is the end of: `commit_until` of a preview, `rollback_until` of a commit."""
        is_preview = self.batch.status is BatchStatus.PREVIEWED
        return {
            "commit_until": self.open_until if is_preview else None,
            "rollback_until": None if is_preview else self.open_until,
        }

    def to_dict(self) -> dict[str, Any]:
        """The keys that the command prints for preview, import, commit and show."""
        batch, counts = self.batch, self.batch.counts
        return {
            "batch_id": batch.batch_id,
            "account": batch.account,
            "record_type": batch.record_type,
            "status": batch.status.value,
            "actor": batch.actor,
            "at": batch.at.isoformat(),
            "file": batch.file_name,
            "sha256": batch.file_sha256,
            "read": counts.read,
            "created": counts.created,
            "updated": counts.updated,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "duplicate": counts.duplicate,
            "problems": [vars(problem) for problem in batch.problems],
            "cleared": dict(batch.cleared),
            "understood": [{"label": label, "value": value} for label, value in batch.understood],
            "warnings": list(batch.warnings),
            "failure": batch.failure,
            "waits": batch.waits,
            "parent": batch.parent,
            "remembered_from": None if batch.mapping is None else batch.mapping.remembered_from,
            "rejects_file": None if self.rejects_file is None else str(self.rejects_file),
            "report_file": None if self.report_file is None else str(self.report_file),
            "snapshot": self.snapshot,
            **{name: None if until is None else until.isoformat() for name, until in self.deadlines.items()},
            "undone": None if batch.undone is None else batch.undone.to_dict(),
            "run_id": batch.run_id,
        }
