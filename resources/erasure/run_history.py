"""`RunHistory`: what an erasure asks of the history of runs, which another program keeps."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from resources.record_store.ledger_erasure import Values


@dataclass(frozen=True)
class InHistory:
    """How many rows and files of the history have values, and what cannot be erased now, as sentences."""

    number: int = 0
    beyond: tuple[str, ...] = ()


class RunHistory(Protocol):
    """A history of runs: their configuration, their events, and what they printed."""

    def find(self, values: Values) -> InHistory:
        """Returns how much of the history has one of the values. Changes nothing."""
        ...

    def erase(self, values: Values) -> InHistory:
        """Mask the values, also on the disk. Returns how much was changed."""
        ...

    def delete_account(self, account: str, file_names: Collection[str]) -> InHistory:
        """Delete what the history has of an account, and mask its files' names. Returns how much was changed.

        What the history has of other accounts stays as it is, also if their files have the same names.
        """
        ...
