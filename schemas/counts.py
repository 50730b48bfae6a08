"""How many records of a file have each outcome."""

from dataclasses import dataclass


def numbered(number: int, noun: str, plural: str = "") -> str:
    """Returns the number and the noun, for example "1 record" or "1,200 records"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


@dataclass(frozen=True)
class Counts:
    """The outcomes of the records of one file. `read` is the sum of the others, or the run fails."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    duplicate: int = 0

    @property
    def accounted(self) -> int:
        """Returns how many records have an outcome."""
        return self.created + self.updated + self.unchanged + self.rejected + self.duplicate

    @property
    def rejection(self) -> str:
        """Returns how many records are rejected, for example "1 of 200 records is rejected"."""
        are = "is" if self.rejected == 1 else "are"
        return f"{self.rejected:,} of {numbered(self.read, 'record')} {are} rejected"

    def __str__(self) -> str:
        """Returns the outcomes above 0, for example "10 created, 2 rejected"."""
        outcomes = [f"{number:,} {name}" for name, number in vars(self).items() if name != "read" and number]
        return ", ".join(outcomes) or "no records"
