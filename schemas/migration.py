"""A store that was copied to another place, as a value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MigrationReport:
    """What was copied and compared, where it lies now, and what is left to do.

    `bytes` are those of the `files`, which are the lake's and the accounts'. `environment` is what to set for whoever
    is to work there, without a password; None: not to be set. `by_hand` are the operator's files that were not copied.
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
        """Whether the catalog is in a database."""
        return self.environment["RECORDS_CATALOG"] is not None

    def to_dict(self) -> dict[str, Any]:
        """The keys that the command prints for migrate."""
        return asdict(self) | {"by_hand": list(self.by_hand)}
