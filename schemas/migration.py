"""The result of a migration, as a value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MigrationReport:
    """What was copied and compared, where the new store is, and what is left to do.

    files, bytes: the number and size of the copied files of the lake and the accounts.
    compared: the number of snapshots that were compared.
    environment: the variables to set to work with the new store, without a password. None means: unset it.
    by_hand: the operator's files, which were not copied.
    """

    accounts: int
    record_types: int
    batches: int
    exports: int
    snapshots: int
    compared: int
    files: int
    bytes: int
    seconds: float
    to: str
    data: str
    environment: Mapping[str, str | None]
    by_hand: tuple[str, ...]

    @property
    def is_server(self) -> bool:
        """Returns whether the catalog is in a database."""
        return self.environment["RECORDS_CATALOG"] is not None

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for migrate."""
        return asdict(self) | {"by_hand": list(self.by_hand)}
