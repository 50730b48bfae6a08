"""Files that arrive in the inbox, as values: complete files, policies for commits, and outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from re import fullmatch
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.blanks import Blanks
from schemas.counts import Counts
from schemas.errors import InvalidRequest
from schemas.footers import Footer
from schemas.reading import DateOrder, ReadOptions, ShortRows, is_time_zone
from schemas.warnings import BatchWarning, WarningCode

PART = ".part"
"""The end of the name of an incomplete file. The writer removes it when the file is complete."""

CLEAN = "clean"
APPROVE = "approve"

Seen = tuple[int, int, int]
"""The state of a file: its size, its time of modification in nanoseconds, and its inode."""
Look = Mapping[str, Seen]
"""The state of each file in the inbox, by its path there."""


class CommitPolicy(BaseModel):
    """Which files are committed without approval, and how they are written.

    commit: `clean` means files without rejected records and warnings. A percentage such as `2%` means files with at
    most so many rejected records. `approve` means no files.
    ignore_warnings: the codes of warnings that a clean file may have.
    account, type: the files that the policy is for. None means all accounts, or all types.
    value_map: what texts stand for in a field, by field.
    encoding, delimiter, sheet, date_order, unescape, as_shown, time_zone, decimal, footer, blank, header_row,
        short_rows, at: how these files are written; see ReadOptions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    account: str | None = None
    type: str | None = None
    commit: str = CLEAN
    ignore_warnings: tuple[WarningCode, ...] = ()
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    date_order: DateOrder | None = None
    unescape: bool | None = None
    as_shown: bool | None = None
    time_zone: str | None = None
    decimal: Literal[",", "."] | None = None
    footer: Footer | None = None
    blank: str | None = None
    header_row: PositiveInt | None = None
    short_rows: ShortRows | None = None
    value_map: dict[str, dict[str, str]] = {}
    at: str | None = None

    @field_validator("commit")
    @classmethod
    def _is_known(cls, commit: str) -> str:
        if commit in (CLEAN, APPROVE) or (
            fullmatch(r"[0-9]{1,3}(\.[0-9]+)?%", commit) and Fraction(commit[:-1]) <= 100
        ):
            return commit
        raise PydanticCustomError("commit", "input should be clean, approve or a percentage such as 2%")

    @field_validator("time_zone")
    @classmethod
    def _exists(cls, name: str | None) -> str | None:
        if name is None or is_time_zone(name):
            return name
        raise PydanticCustomError("time_zone", "input should be a time zone such as UTC or Europe/Berlin")

    @field_validator("blank")
    @classmethod
    def _can_be_read(cls, blank: str | None) -> str | None:
        try:
            Blanks.parse(blank)
        except InvalidRequest:
            raise PydanticCustomError("blank", "input should be as keep, or as keep,notes=clear") from None
        return blank

    @model_validator(mode="after")
    def _is_about_warnings(self) -> Self:
        if self.ignore_warnings and self.commit != CLEAN:
            raise PydanticCustomError("ignore_warnings", "ignore_warnings is only for commit: clean")
        return self

    def commits(self, counts: Counts, warnings: Sequence[BatchWarning] = ()) -> bool:
        """Returns whether a file with these counts and warnings is committed without approval."""
        if self.commit == APPROVE or self.stopping(warnings):
            return False
        percent = Fraction(0 if self.commit == CLEAN else self.commit[:-1])
        return counts.rejected * 100 <= percent * counts.read

    def stopping(self, warnings: Sequence[BatchWarning]) -> list[WarningCode]:
        """Returns the codes of the warnings that a clean file may not have."""
        codes = dict.fromkeys(warning.code for warning in warnings)
        return [code for code in codes if self.commit == CLEAN and code not in self.ignore_warnings]

    @property
    def options(self) -> ReadOptions:
        """Returns how the files are written."""
        return ReadOptions.said_in(self)

    def __str__(self) -> str:
        """Returns the rule for rejected records in words.

        For example: files are committed when none of their records is rejected.
        """
        if self.commit == APPROVE:
            return "every file waits for approval"
        most = "none" if self.commit == CLEAN else f"at most {self.commit}"
        return f"files are committed when {most} of their records {'is' if self.commit == CLEAN else 'are'} rejected"


class InboxPolicies(BaseModel):
    """The policies of `inbox.yaml`. For each file the most specific policy counts."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    policies: tuple[CommitPolicy, ...] = ()

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        scopes = [(policy.account, policy.type) for policy in self.policies]
        if len(set(scopes)) < len(scopes):
            raise PydanticCustomError("policies", "no two policies may be for the same account and type")
        return self

    def of(self, account: str, record_type: str) -> CommitPolicy:
        """Returns the policy for the account's files of the type: one for both, else the account's, else the type's."""
        policies = {(policy.account, policy.type): policy for policy in self.policies}
        for scope in ((account, record_type), (account, None), (None, record_type), (None, None)):
            if scope in policies:
                return policies[scope]
        return CommitPolicy()


@dataclass(frozen=True)
class Arrival:
    """A file that is imported from the inbox: the id that the ledger records for it, and its policy.

    since: the last row of the ledger before the file was brought to this machine.
    """

    arrival_id: str
    policy: CommitPolicy
    since: int


class Outcome(StrEnum):
    """The outcome of a file that arrived."""

    COMMITTED = "committed"
    WAITS = "waits"
    QUARANTINED = "quarantined"
    POSTPONED = "postponed"


@dataclass(frozen=True)
class Arrived:
    """A file that arrived, and its outcome. `sentence` says why some or all of its records are not committed."""

    file: str
    account: str
    record_type: str
    outcome: Outcome
    batch_id: str | None = None
    sentence: str = ""


def complete(look: Look, before: Look) -> list[str]:
    """Returns the complete files, sorted by folder and then by time of modification.

    A file is complete if it is unchanged since the look before. It is also complete if it was called `*.part` then, and
    has been renamed in its folder. The inode shows that. A shorter file is another one, which got the same inode.
    """
    parts = {(_folder(path), file[2]): file[0] for path, file in before.items() if path.endswith(PART) and file[0]}
    ready = [
        path
        for path, file in look.items()
        if not path.endswith(PART)
        and (before.get(path) == file or parts.get((_folder(path), file[2]), file[0] + 1) <= file[0])
    ]
    return sorted(ready, key=lambda path: (_folder(path), look[path][1], path))


def bundled(paths: Sequence[str], look: Look, most_files: int, most_bytes: int) -> list[list[str]]:
    """Returns the files in bundles, in their order. A bundle has at most so many files and bytes, or one large file."""
    made: list[list[str]] = []
    room = 0
    for path in paths:
        size = look[path][0]
        if not made or len(made[-1]) == most_files or size > room:
            made.append([])
            room = most_bytes
        made[-1].append(path)
        room -= size
    return made


def printable(text: str) -> str:
    """Returns a file's name for people, with characters that cannot be printed as escapes."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
