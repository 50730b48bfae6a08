"""Values of a file that are read as others: cleaned, mapped by a user, proposed for a mapping, or learnt."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import InvalidRequest

ValueMap = Mapping[str, Mapping[str, str]]
"""Field to text to the value that it stands for. An empty value means an empty cell."""

_LONG = 60
"""The most characters of a text that an option shows."""


class Cleaning(StrEnum):
    """What was done with a text to read its value."""

    SPACES = "spaces"
    CASE = "case"
    ALIAS = "alias"
    CURRENCY = "currency"
    PERCENT = "percent"
    MAPPED = "mapped"


_IN_WORDS = {
    Cleaning.SPACES: "spaces removed",
    Cleaning.CASE: "case changed",
    Cleaning.ALIAS: "read by another text of the type",
    Cleaning.CURRENCY: "currency signs removed",
    Cleaning.PERCENT: "percent signs read",
    Cleaning.MAPPED: "mapped to another value",
}


@dataclass(frozen=True)
class Cleaned:
    """How many values of a field were cleaned in one way."""

    field: str
    kind: Cleaning
    records: int

    def __str__(self) -> str:
        """Returns for example: 579 email: spaces removed."""
        return f"{self.records:,} {self.field}: {_IN_WORDS[self.kind]}"


@dataclass(frozen=True)
class MappedValue:
    """A text in a field, and the value that it stands for.

    value: None if nothing is known that is like the text.
    score: how alike the text and a name of the value are, from 0 to 100.
    records: how many records of a file it concerns.
    """

    field: str
    text: str
    value: str | None
    records: int = 0
    score: int | None = None

    def __str__(self) -> str:
        """Returns for example: status 'Kunde' is customer (41 times)."""
        times = "once" if self.records == 1 else f"{self.records:,} times"
        return f"{self.field} {self.text!r} is {self.value or 'empty'} ({times})"

    @property
    def pair(self) -> str:
        """Returns the mapping as a command takes it: status:Kunde=customer."""
        return f"{self.field}:{self.text}={'VALUE' if self.value is None else self.value}"

    @property
    def option(self) -> str:
        """Returns the whole option of the command, quoted for a shell."""
        return f"--value {shlex.quote(self.pair)}"

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns what the command prints."""
        option = None if self.value is None else self.option
        return {**vars(self), "option": option}


@dataclass(frozen=True)
class KnownValue:
    """A mapping that an account has accepted, or that was learnt from its corrected rejects files.

    `mapping.records` is how many records were corrected so.
    """

    record_type: str
    mapping: MappedValue
    is_accepted: bool

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns what the command prints."""
        it = self.mapping
        state = "accepted" if self.is_accepted else "learnt"
        return {
            "record_type": self.record_type,
            "field": it.field,
            "text": it.text,
            "value": it.value,
            "records": it.records,
            "state": state,
        }


def can_be_typed(text: str) -> bool:
    """Returns whether a person can type the text into a command."""
    return bool(text.strip()) and text.isprintable() and len(text) <= _LONG


def folded(text: str) -> str:
    """Returns a text as mappings compare it: without white space at its edges, and without case."""
    return text.strip().casefold()


def value_map(pairs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns mappings such as `status:Kunde=customer`, by field. Raises InvalidRequest for any other form."""
    found: dict[str, dict[str, str]] = {}
    for given in pairs:
        name, colon, rest = given.partition(":")
        text, equals, value = rest.rpartition("=")
        if not colon or not equals or not name or not text:
            raise InvalidRequest(
                f"A mapping of values was {given!r}.",
                'Write it as "FIELD:TEXT=VALUE", for example "status:Kunde=customer".',
            )
        found.setdefault(name, {})[text] = value
    return found


def as_pairs(values: ValueMap) -> list[MappedValue]:
    """Returns each mapping by itself."""
    return [MappedValue(name, text, value) for name, texts in values.items() for text, value in texts.items()]


def as_map(pairs: Iterable[MappedValue]) -> dict[str, dict[str, str]]:
    """Returns the mappings by field; the opposite of `as_pairs`."""
    found: dict[str, dict[str, str]] = {}
    for it in pairs:
        found.setdefault(it.field, {})[it.text] = it.value or ""
    return found


def joined(first: ValueMap, then: ValueMap) -> dict[str, dict[str, str]]:
    """Returns the mappings of both. What `first` says of a text wins, also if it is written in other case."""
    result: dict[str, dict[str, str]] = {name: dict(texts) for name, texts in first.items()}
    for name, texts in then.items():
        known = {folded(text) for text in result.get(name, ())}
        result.setdefault(name, {}).update({text: it for text, it in texts.items() if folded(text) not in known})
    return result
