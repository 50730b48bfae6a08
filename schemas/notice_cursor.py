"""How far each receiver of notices has been told of a log: all that is kept of it from one tick to the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.notices import Message
from schemas.retries import next_attempt

PATIENCE = timedelta(hours=24)
"""How long something is worth being told."""


@dataclass(frozen=True)
class Entry:
    """An entry of a log: its number, when it was written, and what is to be said of it, or nothing."""

    number: int
    at: datetime
    message: Message | None

    def is_stale(self, now: datetime) -> bool:
        """Whether it is too long ago to be told."""
        return now - self.at >= PATIENCE


@dataclass(frozen=True)
class Reached:
    """The last entry that a receiver was told, how often the next one was tried in vain, and when last."""

    number: int
    attempts: int = 0
    tried: datetime | None = None

    def waits(self, now: datetime) -> bool:
        """Whether it is too soon to try again."""
        return self.tried is not None and now < next_attempt([self.tried] * self.attempts)

    def failed(self, now: datetime) -> "Reached":
        """After one more attempt that failed."""
        return replace(self, attempts=self.attempts + 1, tried=now)


@dataclass(frozen=True)
class Told:
    """The last entry that receivers were told; and those receivers, by name, that are behind or could not be told."""

    number: int
    behind: Mapping[str, Reached] = field(default_factory=dict)

    def of(self, receiver: str) -> Reached:
        """How far one receiver is. One that is new begins where the others are."""
        return self.behind.get(receiver, Reached(self.number))

    def __str__(self) -> str:
        """The number; behind it, where a receiver is behind, how far it is, as JSON."""
        if not self.behind:
            return str(self.number)
        behind = {
            name: [at.number, at.attempts, None if at.tried is None else at.tried.isoformat()]
            for name, at in self.behind.items()
        }
        return f"{self.number} {json.dumps(behind)}"

    @classmethod
    def parse(cls, text: str) -> "Told":
        """What `str` made the text of."""
        number, _, behind = text.partition(" ")
        return cls(
            int(number),
            {
                name: Reached(reached, attempts, None if tried is None else datetime.fromisoformat(tried))
                for name, (reached, attempts, tried) in json.loads(behind or "{}").items()
            },
        )


def all_told(reached: Mapping[str, Reached]) -> Told:
    """How far the receivers are, of which there must be one."""
    number = max(at.number for at in reached.values())
    return Told(number, {name: at for name, at in reached.items() if at != Reached(number)})
