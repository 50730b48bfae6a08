"""The room that a store takes, as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class Room:
    """Bytes by what they are for.

    present: the files of the present records. history: the files that only earlier snapshots need, for rollbacks.
    staging: previews. results: reports and rejects files. archive: files that arrived, also those in quarantine.
    """

    present: int = 0
    history: int = 0
    staging: int = 0
    results: int = 0
    exports: int = 0
    archive: int = 0
    trash: int = 0

    @property
    def total(self) -> int:
        """Returns the sum."""
        return sum(getattr(self, it.name) for it in fields(self))

    def __add__(self, other: "Room") -> "Room":
        """Returns the sum of both."""
        return Room(*(getattr(self, it.name) + getattr(other, it.name) for it in fields(self)))


@dataclass(frozen=True)
class SpaceReport:
    """The room that a store takes.

    accounts: by account and record type. The type is empty for files that belong to no type. The account is empty for
    files of all accounts, such as the ledger and the trash.
    ledger: bytes of the ledger's files and of the catalog, as far as it is a file.
    reclaimable: what maintenance and the emptying of the trash will free, as far as it can be known before.
    a_day: bytes that the store has written a day lately. days: over how many days that was measured.
    free: bytes that are free on the disk of the data; None for an object store.
    """

    accounts: Mapping[tuple[str, str], Room]
    ledger: int
    reclaimable: int
    a_day: int
    days: int
    free: int | None

    @property
    def room(self) -> Room:
        """Returns the room of all accounts and types together."""
        total = Room()
        for room in self.accounts.values():
            total += room
        return total

    @property
    def lasts(self) -> timedelta | None:
        """Returns how long the free room lasts if as much is written as lately; None if that cannot be said."""
        if self.free is None or self.a_day <= 0:
            return None
        return timedelta(days=min(self.free / self.a_day, 100_000))

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for space."""
        return {
            "accounts": [
                {"account": account or None, "record_type": record_type or None, **asdict(room), "total": room.total}
                for (account, record_type), room in self.accounts.items()
            ],
            "total": asdict(self.room) | {"total": self.room.total},
            "ledger": self.ledger,
            "reclaimable": self.reclaimable,
            "bytes_a_day": self.a_day,
            "measured_days": self.days,
            "free": self.free,
            "days_left": None if self.lasts is None else round(self.lasts / timedelta(days=1), 1),
        }
