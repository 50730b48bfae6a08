"""Files that arrive in the inbox, as values: what is complete, what is committed without asking, what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from re import fullmatch
from typing import Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.counts import Counts

PART = ".part"
"""How a name ends that its writer will change once the file is complete."""

CLEAN = "clean"
APPROVE = "approve"

Seen = tuple[int, int, int]
"""What was seen of a file: its size, when it was last modified in nanoseconds, and its inode."""
Look = Mapping[str, Seen]
"""What was seen of each file in the inbox, by its path there."""


class CommitPolicy(BaseModel):
    """What is committed without asking: `clean` files, files with at most `2%` rejected records, or none: `approve`.

    Without an account, or a record type, it holds for all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    account: str | None = None
    type: str | None = None
    commit: str = CLEAN

    @field_validator("commit")
    @classmethod
    def _can_be_meant(cls, commit: str) -> str:
        if commit in (CLEAN, APPROVE) or (fullmatch(r"\d{1,3}(\.\d+)?%", commit) and Fraction(commit[:-1]) <= 100):
            return commit
        raise PydanticCustomError("commit", "input should be clean, approve or a percentage such as 2%")

    def commits(self, counts: Counts) -> bool:
        """Whether a file with these counts is committed without asking."""
        if self.commit == APPROVE:
            return False
        percent = Fraction(0 if self.commit == CLEAN else self.commit[:-1])
        return counts.rejected * 100 <= percent * counts.read

    def __str__(self) -> str:
        """The rule in words, as in: files are committed when none of their records is rejected."""
        if self.commit == APPROVE:
            return "every file waits for approval"
        most = "none" if self.commit == CLEAN else f"at most {self.commit}"
        return f"files are committed when {most} of their records {'is' if self.commit == CLEAN else 'are'} rejected"


class InboxPolicies(BaseModel):
    """What `inbox.yaml` says: policies, of which the most specific one counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    policies: tuple[CommitPolicy, ...] = ()

    @model_validator(mode="after")
    def _are_told_once(self) -> Self:
        told = [(policy.account, policy.type) for policy in self.policies]
        if len(set(told)) < len(told):
            raise PydanticCustomError("policies", "no two policies may be for the same account and type")
        return self

    def of(self, account: str, record_type: str) -> CommitPolicy:
        """The policy for the account's files of the type: one for both, else the account's, else the type's."""
        told = {(policy.account, policy.type): policy for policy in self.policies}
        for wanted in ((account, record_type), (account, None), (None, record_type), (None, None)):
            if wanted in told:
                return told[wanted]
        return CommitPolicy()


@dataclass(frozen=True)
class Arrival:
    """A file that is imported from the inbox: its id, by which the ledger knows it again, and its policy."""

    arrival_id: str
    policy: CommitPolicy


class Outcome(StrEnum):
    """What became of a file that arrived."""

    COMMITTED = "committed"
    WAITS = "waits"
    QUARANTINED = "quarantined"
    POSTPONED = "postponed"


@dataclass(frozen=True)
class Arrived:
    """A file that arrived and what became of it: the sentence says why it is not committed, or not all of it."""

    file: str
    account: str
    record_type: str
    outcome: Outcome
    batch_id: str | None = None
    sentence: str = ""


def complete(look: Look, before: Look) -> list[str]:
    """The files that nobody writes any more, by folder, and there in the order in which they were last modified.

    These are as they were at the look before, or were called `*.part` then and have been renamed within their folder. A
    file that is shorter than that was is another one, which has been given the same inode.
    """
    parts = {(_folder(path), seen[2]): seen[0] for path, seen in before.items() if path.endswith(PART) and seen[0]}
    ready = [
        path
        for path, seen in look.items()
        if not path.endswith(PART)
        and (before.get(path) == seen or parts.get((_folder(path), seen[2]), seen[0] + 1) <= seen[0])
    ]
    return sorted(ready, key=lambda path: (_folder(path), look[path][1], path))


def bundled(paths: Sequence[str], look: Look, most_files: int, most_bytes: int) -> list[list[str]]:
    """The files in their order, together where they are few and small; a larger file is alone."""
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
    """A file's name for people: what is no text in it, or would break the line, as an escape."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
