"""Imports as values: requests, problems, batches and reports."""

import shlex
from collections.abc import Mapping as MappingOf
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.arrivals import Arrival
from schemas.blanks import Blanks
from schemas.characters import shown
from schemas.columns import Column
from schemas.counts import Counts
from schemas.errors import InvalidRequest
from schemas.footers import Footer
from schemas.location import Location
from schemas.masking import MASK, masked_value
from schemas.reading import COMMA, POINT, SAID, DateOrder, Question, ReadOptions, ShortRows, is_time_zone
from schemas.record_type import RecordType
from schemas.rollbacks import OnModified, Undone
from schemas.values import Cleaned, MappedValue, ValueMap
from schemas.warnings import BatchWarning

_DETECTED = ",;\t|"
"""The delimiters that are found without being said."""


class Mode(StrEnum):
    """What an import may do: create records, change existing ones, or both."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"


class OnDuplicate(StrEnum):
    """What an import does with records of one file that have the same key and different values."""

    REJECT = "reject"
    FIRST = "first"
    LAST = "last"


class OnInvalid(StrEnum):
    """What a commit does about rejected records: refuse the whole batch, or leave them out."""

    ABORT = "abort"
    SKIP = "skip"


class BatchStatus(StrEnum):
    """The status of a batch."""

    PREVIEWED = "previewed"
    COMMITTED = "committed"
    DISCARDED = "discarded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"


STANDING = frozenset({BatchStatus.COMMITTED, BatchStatus.EXPIRED})
"""The statuses of a batch that was committed and not rolled back."""


@dataclass(frozen=True)
class ImportRequest:
    """One file to import for one account.

    column_map: header to field. An empty field leaves the column out.
    encoding, delimiter, sheet: how the file is written. None means as said for an earlier file with the same header
        row, or as detected.
    date_order: the order in dates that are not ISO 8601. None means as said earlier, or that such dates are rejected.
    unescape: whether to remove the ' that an export puts before a text that looks like a formula. None means yes for
        rejects files in CSV and Excel and for exports of ours, also edited ones; else as said earlier, or no. It is
        asked about if nothing but its header row says that the file is an edited export.
    as_shown: whether a number of a workbook in a field of text is the text that its number format shows. None means as
        said earlier, or no.
    time_zone: the time zone of timestamps without an offset. None means as said earlier, UTC for formats that have no
        offsets, or that such timestamps are rejected.
    decimal: the decimal sign of numbers in delimited text, a comma or a point. None means as said earlier, or a point
        without thousands separators.
    footer: what is done with last lines that look like no records. None means as said earlier, or that they are
        rejected.
    blank: what empty cells do, such as `keep` or `keep,notes=clear`. None means as said earlier, or that they clear the
        stored value.
    header_row: the line or row that names the columns, from 1. None means as said earlier, or as detected.
    short_rows: what to do with records of delimited text that have fewer fields than the header. None means as said
        earlier, or that they are rejected.
    at: the path of the list that has the records of a JSON file, data.items. None means as said earlier or as found.
    of: the export of the account that the file comes from, if it was edited since. None means that the file says it.
    value_map: what texts stand for in a field, by field: {"status": {"Kunde": "customer"}}. An empty value means an
        empty cell.
    again: whether the same content may be imported again.
    arrival: set if the file comes from the inbox.
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
    unescape: bool | None = None
    as_shown: bool | None = None
    time_zone: str | None = None
    decimal: str | None = None
    footer: Footer | None = None
    blank: str | None = None
    header_row: int | None = None
    short_rows: ShortRows | None = None
    at: str | None = None
    of: str | None = None
    value_map: ValueMap = field(default_factory=dict)
    again: bool = False
    arrival: Arrival | None = None

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a value that is wrong for every file."""
        Blanks.parse(self.blank)
        if self.decimal not in (None, COMMA, POINT):
            raise InvalidRequest(f"{self.decimal!r} is no decimal sign.", "Give a comma or a point.")
        if self.time_zone is not None and not is_time_zone(self.time_zone):
            raise InvalidRequest(f"There is no time zone {self.time_zone!r}.", "Name one such as UTC or Europe/Berlin.")
        if self.header_row is not None and self.header_row < 1:
            raise InvalidRequest(f"There is no row {self.header_row}.", "The first row is 1.")

    @property
    def options(self) -> ReadOptions:
        """Returns what is said about how the file is written."""
        return ReadOptions.said_in(self)

    def answered(self, answers: MappingOf[Question, str]) -> "ImportRequest":
        """Returns the request with the answers to questions as what is said."""
        said = self.options.with_answers(answers).said()
        return replace(self, **{name: value for name, value in said.items() if name in SAID})


@dataclass(frozen=True)
class RowProblem:
    """One broken rule of one record.

    record: the number of the record in the file, from 1, without the header.
    line: the line or sheet row on which the record begins, from 1. Line breaks inside values count too.
    field: None if the rule concerns the whole record.
    records: how many records of the file have this problem with this value.
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

        place: what `line` counts; see `Batch.place`.
        """
        subject = f"`{self.field}`" if self.field else "The record"
        found = (
            "nothing" if not self.value else masked_value(self.value, self.expected) if masked else shown(self.value)
        )
        have = "has" if self.records == 1 else f"and {self.records - 1:,} more have"
        where = "" if self.line < self.record else f" ({place} {self.line:,})"  # JSON can have all records in one line
        return f"{subject} {self.expected}; record {self.record:,}{where} {have} {found}"


@dataclass(frozen=True)
class ChangedValue:
    """A stored value and the new value from an import, as text. None means null. `key` is the record's key in words."""

    record: int
    key: str
    field: str
    old: str | None
    new: str | None

    def masked(self) -> "ChangedValue":
        """Returns the change with a mask in place of each value that is not null."""
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
    """What a preview depends on. A commit requires that none of it has changed.

    fields: the fields that get values from a column.
    snapshot: the version of the records that the file was compared with.
    again: whether the same content may be imported again.
    """

    record_type_hash: str
    fields: tuple[str, ...]
    mode: Mode
    on_duplicate: OnDuplicate
    snapshot: int
    again: bool = False


@dataclass(frozen=True)
class Remembered:
    """What a user said about a file. After its commit, it counts for later files with the same `header_row` (a digest).

    column_map: header to field.
    options: how the file is written. An answer that the preview proposes is said by whoever commits it.
    of_export: the names of options that nobody has said, because an export of ours is written so.
    remembered_from: the earlier batch that some of this comes from, if any.
    value_map: what texts stand for, by field. Those of personal fields are left out.
    needed: the names of options that come from there and say something about this file; None in rows of earlier
        versions.
    """

    header_row: str
    column_map: MappingOf[str, str]
    options: ReadOptions = field(default_factory=ReadOptions)
    of_export: tuple[str, ...] = ()
    remembered_from: str | None = None
    value_map: ValueMap = field(default_factory=dict)
    needed: tuple[str, ...] | None = None

    @property
    def from_earlier(self) -> ReadOptions:
        """Returns what was said for an earlier file and says something about this one."""
        said = self.for_others.said()
        return ReadOptions.from_said(said if self.needed is None else {name: said[name] for name in self.needed})

    @property
    def for_others(self) -> ReadOptions:
        """Returns what counts for other files than its rejects file: what a user has said."""
        return replace(self.options, **dict.fromkeys(self.of_export))


@dataclass(frozen=True)
class Batch:
    """One import of one file, or one rollback of a batch, as its last row in the ledger says.

    at: when the batch got its status, in UTC.
    understood: how the file was read, as label and value. It holds no value of a record.
    warnings: possible mistakes that break no rule, with the values of personal fields masked.
    cleaned: how many values were cleaned, by field and kind.
    learnt: what texts were corrected to in a rejects file, in coded fields that are not personal.
    questions: what the user was not asked yet, with masks in the values of personal fields.
    basis, remembered: set for a preview.
    changes: the first changes of a preview, without keys and personal values.
    parent: the earlier batch, if the file is a corrected rejects file.
    link_token: the secret part of the address of its report and rejects file.
    arrival_id: the arrival, if the file comes from the inbox.
    needs_approval: whether a user must commit or discard the file from the inbox.
    failure: why the file could not be imported, and what to do.
    `on_modified`, `undone`: the choice and the result of a rollback. Its file and counts are empty.
    committed_at: when the batch was first committed.
    window: how long it can be committed or rolled back, as promised at the preview or commit.
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
    warnings: tuple[BatchWarning, ...] = ()
    cleaned: tuple[Cleaned, ...] = ()
    learnt: tuple[MappedValue, ...] = ()
    basis: Basis | None = None
    questions: tuple[Question, ...] = ()
    remembered: Remembered | None = None
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
        """Returns how many records name it as their batch, directly after its commit."""
        return self.counts.created + self.counts.updated if self.undone is None else self.undone.counts.merged

    @property
    def place(self) -> str:
        """Returns what the problems of its records count: the rows of a sheet, or the lines of a text."""
        return "row" if dict(self.understood).get("Format", "").startswith("Excel") else "line"

    def rejects_command(self, file: str) -> str:
        """Returns the command that imports the corrected rejects file of this batch.

        file: the path or name of the rejects file. It names the batch, from which the import takes the mapping and how
        the file is written. The command says what is needed to read that name, and what the batch was allowed to do.
        """
        options = {"-a": self.account, "-t": self.record_type}
        if self.basis is not None and self.basis.mode is not Mode.UPSERT:
            options["--mode"] = self.basis.mode.value
        if self.basis is not None and self.basis.on_duplicate is not OnDuplicate.REJECT:
            options["--on-duplicate"] = self.basis.on_duplicate.value
        said = ReadOptions() if self.remembered is None else self.remembered.options
        if said.delimiter is not None and said.delimiter not in _DETECTED:
            options["--delimiter"] = said.delimiter
        if said.encoding is not None and not _is_like_ascii(said.encoding):
            options["--encoding"] = said.encoding
        return shlex.join(["records", "import", file, *(each for option in options.items() for each in option)])

    @property
    def waits(self) -> bool:
        """Returns whether it is a preview of a file from the inbox that a user must commit or discard."""
        return self.status is BatchStatus.PREVIEWED and self.needs_approval

    def open_until(self, window: timedelta) -> datetime | None:
        """Returns the end of the time to commit a preview or roll back a commit; None in any other status.

        window: the length of that time, if an earlier version wrote the batch without it.
        """
        if self.status is BatchStatus.PREVIEWED:
            return self.at + self.promised(window)
        if self.status is BatchStatus.COMMITTED and self.committed_at is not None:
            return self.committed_at + self.promised(window)
        return None

    def promised(self, window: timedelta) -> timedelta:
        """Returns how long the batch can be rolled back or committed, as promised; `window` if it has no promise."""
        return window if self.window is None else self.window

    def is_settled(self, now: datetime, window: timedelta) -> bool:
        """Returns whether it is closed, and no snapshot from its commit is kept for it: see `Maintenance.maintain`."""
        if self.open_until(window) is not None or self.status is BatchStatus.PREVIEWED:
            return False
        return self.committed_at is None or now >= self.committed_at + 2 * self.promised(window)

    def is_over(self, now: datetime, window: timedelta) -> bool:
        """Returns whether its time has ended and its status does not say so yet."""
        until = self.open_until(window)
        return until is not None and now >= until


@dataclass(frozen=True)
class ImportReport:
    """A batch, the columns of its file, its first problems and changes, the snapshot it made, and its files.

    questions: those of the batch, with all values.
    proposals: texts that are no values of coded fields, and the values that they are like.
    open_until: the end of the time to commit it or roll it back. None if neither is possible.
    erased: what was erased since its commit, as sentences. Its counts still have these records.
    """

    batch: Batch
    columns: tuple[Column, ...] = ()
    samples: tuple[RowProblem, ...] = ()
    changes: tuple[ChangedValue, ...] = ()
    questions: tuple[Question, ...] = ()
    proposals: tuple[MappedValue, ...] = ()
    snapshot: int | None = None
    rejects_file: Location | None = None
    report_file: Location | None = None
    open_until: datetime | None = None
    erased: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, Location]:
        """Returns the files for people, by name: the report and the rejects file."""
        files = {"report": self.report_file, "rejects_file": self.rejects_file}
        return {what: file for what, file in files.items() if file is not None}

    def masked(self, record_type: RecordType) -> "ImportReport":
        """Returns the report with masks in its personal values, and in those of columns that feed no field."""
        personal = {field.name for field in record_type.fields if field.personal}
        key = MASK if personal.intersection(record_type.key) else None
        return replace(
            self,
            columns=tuple(
                replace(it, samples=(MASK,) * len(it.samples)) if it.field is None or it.field in personal else it
                for it in self.columns
            ),
            changes=tuple(
                replace(it.masked() if it.field in personal else it, key=key or it.key) for it in self.changes
            ),
        )

    @property
    def rejects_command(self) -> str | None:
        """Returns the command that imports the corrected rejects file; None if there is none.

        It has the name alone of a file that must first be copied from an object store.
        """
        if self.rejects_file is None:
            return None
        is_here = isinstance(self.rejects_file, Path)
        return self.batch.rejects_command(str(self.rejects_file) if is_here else self.rejects_file.name)

    @property
    def deadlines(self) -> dict[str, datetime | None]:
        """Returns `open_until` as `commit_until` for a preview, or as `rollback_until` for a commit."""
        is_preview = self.batch.status is BatchStatus.PREVIEWED
        return {
            "commit_until": self.open_until if is_preview else None,
            "rollback_until": None if is_preview else self.open_until,
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for preview, import, commit and show.

        A batch without a preview, and one of a list, has neither `columns` nor `changes`.
        """
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
            "warnings": [asdict(warning) for warning in batch.warnings],
            "cleaned": [asdict(cleaned) for cleaned in batch.cleaned],
            "values": [proposal.to_dict() for proposal in self.proposals],
            "learnt": [learnt.to_dict() for learnt in batch.learnt],
            "failure": batch.failure,
            "waits": batch.waits,
            "parent": batch.parent,
            "uncertain": bool(batch.questions),
            "questions": [asdict(question) for question in batch.questions],
            "remembered_from": None if batch.remembered is None else batch.remembered.remembered_from,
            "rejects_file": None if self.rejects_file is None else str(self.rejects_file),
            "report_file": None if self.report_file is None else str(self.report_file),
            "snapshot": self.snapshot,
            **{name: None if until is None else until.isoformat() for name, until in self.deadlines.items()},
            "undone": None if batch.undone is None else batch.undone.to_dict(),
            "run_id": batch.run_id,
            **({"erased": list(self.erased)} if self.erased else {}),
            **({"columns": [asdict(it) for it in self.columns]} if self.columns else {}),
            **({"changes": [asdict(it) for it in self.changes]} if self.columns else {}),
        }


def _is_like_ascii(encoding: str) -> bool:
    """Returns whether ASCII texts can be read in a file of that encoding before the encoding is known."""
    return encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")) or "_".encode(encoding) == b"_"
