"""How a file is to be read: what the person says of it, and how much of anything is too much."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from schemas.errors import InvalidRequest

_MB = 1_000_000


@dataclass(frozen=True)
class ReadOptions:
    """What the person says of a file; None is detected. `encoding` is a Python codec's name."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class ReadLimits:
    """Limits on what strangers send. Each is a setting: RECORDS_MAX_ and its name in capitals."""

    file_mb: int = 20_000
    """Size of a file, unpacked, in 10⁶ bytes."""
    columns: int = 10_000
    """Columns of a file."""
    header_characters: int = 10_000
    """Characters of one header."""
    cell_mb: int = 8
    """Size of one cell, in 10⁶ bytes."""
    record_mb: int = 64
    """Size of one record of JSON, in 10⁶ bytes."""
    depth: int = 64
    """Brackets open at once in a record of JSON, its own included."""
    reader_memory_mb: int = 1_000
    """Memory of the process that reads, in 10⁶ bytes of address space beyond what it starts with."""
    reader_seconds: int = 3_600
    """Processor time of the process that reads."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ReadLimits":
        """The limits that the environment sets; InvalidRequest when one is no whole number above 0."""
        given = {}
        for limit in fields(cls):
            name = f"RECORDS_MAX_{limit.name.upper()}"
            text = environment.get(name)
            if not text:
                continue
            if not text.isascii() or not text.isdigit() or int(text) == 0:
                raise InvalidRequest(f"{name} is {text!r}.", "Give a whole number above 0.")
            given[limit.name] = int(text)
        return cls(**given)
