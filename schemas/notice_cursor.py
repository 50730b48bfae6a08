"""The cursor of notices: the last log entry that each receiver got. Sensors keep it from one tick to the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.notices import Message
from schemas.retries import next_attempt

PATIENCE = timedelta(hours=24)
"""How old an entry may be and still be sent."""


@dataclass(frozen=True)
class Entry:
    """An entry of a log: its number, its time, and the message to send about it, if any."""

    number: int
    at: datetime
    message: Message | None

    def is_stale(self, now: datetime) -> bool:
        """Whether the entry is too old to be sent."""
        return now - self.at >= PATIENCE


@dataclass(frozen=True)
class Position:
    """One receiver's position: its last entry, how many attempts to send the next one failed, and the last attempt."""

    number: int
    attempts: int = 0
    tried: datetime | None = None

    def waits(self, now: datetime) -> bool:
        """Whether it is too early for the next attempt."""
        return self.tried is not None and now < next_attempt([self.tried] * self.attempts)

    def failed(self, now: datetime) -> "Position":
        """Returns the position after one more failed attempt."""
        return replace(self, attempts=self.attempts + 1, tried=now)


@dataclass(frozen=True)
class NoticeCursor:
    """The last entry that was sent, and the positions of receivers, by name, that are behind or failed."""

    number: int
    behind: Mapping[str, Position] = field(default_factory=dict)

    def of(self, receiver: str) -> Position:
        """Returns the position of one receiver. A new receiver begins where the others are."""
        return self.behind.get(receiver, Position(self.number))

    def __str__(self) -> str:
        """Returns the number, followed by the positions of receivers that are behind, as JSON."""
        if not self.behind:
            return str(self.number)
        behind = {
            name: [at.number, at.attempts, None if at.tried is None else at.tried.isoformat()]
            for name, at in self.behind.items()
        }
        return f"{self.number} {json.dumps(behind)}"

    @classmethod
    def parse(cls, text: str) -> "NoticeCursor":
        """Returns the cursor that `str` wrote."""
        number, _, behind = text.partition(" ")
        return cls(
            int(number),
            {
                name: Position(last, attempts, None if tried is None else datetime.fromisoformat(tried))
                for name, (last, attempts, tried) in json.loads(behind or "{}").items()
            },
        )

    @classmethod
    def joining(cls, positions: Mapping[str, Position]) -> "NoticeCursor":
        """Returns the cursor of all receivers. There must be at least one."""
        number = max(position.number for position in positions.values())
        return cls(number, {name: at for name, at in positions.items() if at != Position(number)})
