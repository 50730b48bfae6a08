"""The format of a store: a number in its catalog, and the numbered changes that lead to the present format.

The number is DuckLake's comment on a table of the ledger. So one commit has a change and its number. A process that is
killed leaves the old format or the new one. Copies, backups and restored catalogs have the number of their tables.

Programs before format 1 wrote no number. Their stores have format 0, whatever tables they have, so each change must do
nothing to what is there already.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from resources.record_store import lake_files, tables
from resources.record_store.lake import Connection
from resources.record_store.refusals import newer_format, older_format
from resources.settings import Settings
from schemas.files import StoredFile
from schemas.location import Location


class Change(Protocol):
    """The transaction of a change."""

    connection: Connection

    def record_files(self, files: Iterable[StoredFile]) -> None:
        """Record files with their checksums."""
        ...


@dataclass(frozen=True)
class FormatChange:
    """A change of a store's format.

    number: the format after the change. sentence: what that format has, for the person who decides.
    make: changes a store of the format before, in a transaction. It also gets the place of the data.
    """

    number: int
    sentence: str
    make: Callable[[Change, Location], None]


def _add_requests_and_presets(change: Change, data: Location) -> None:
    tables.create_ledger_table(change.connection, "presets")
    change.connection.execute("ALTER TABLE lake.ledger.exports ADD COLUMN IF NOT EXISTS detail VARCHAR")


def _add_checksums(change: Change, data: Location) -> None:
    tables.create_ledger_table(change.connection, "files")
    change.record_files(lake_files.without_checksum(change.connection, data))


def _add_value_mappings(change: Change, data: Location) -> None:
    tables.create_ledger_table(change.connection, "value_mappings")


def _add_erasures_and_losses(change: Change, data: Location) -> None:
    tables.create_ledger_table(change.connection, "erasures")
    tables.create_ledger_table(change.connection, "losses")


CHANGES = (
    FormatChange(1, "Exports keep what was asked for, and accounts keep presets.", _add_requests_and_presets),
    FormatChange(2, "Each file of records has a checksum.", _add_checksums),
    FormatChange(3, "Accounts keep mappings of values.", _add_value_mappings),
    FormatChange(4, "The ledger names erasures and lost files.", _add_erasures_and_losses),
)
"""All changes, oldest first. A new one is added at the end; those that were released stay as they are."""

FORMAT = CHANGES[-1].number
"""The format of stores that this program makes, reads and writes."""


def changes_from(number: int) -> tuple[FormatChange, ...]:
    """Return the changes that a store of a format lacks, oldest first."""
    return tuple(change for change in CHANGES if change.number > number)


def require_known_format(settings: Settings, number: int) -> None:
    """Raise OtherFormat if a newer program made the store."""
    if number > FORMAT:
        raise newer_format(settings, number, FORMAT)


def require_format(settings: Settings, number: int) -> None:
    """Raise OtherFormat if an older or a newer program made the store."""
    require_known_format(settings, number)
    if number < FORMAT:
        raise older_format(settings, number, FORMAT)
