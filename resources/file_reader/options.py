"""How a file is to be read: what the person says of it, and how much of anything is too much."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from schemas.errors import InvalidRequest, UnreadableFile

BLANK_FOR_A_RECORD = 10
"""Blank lines that may stand beside each record: some programs put one below every line."""


DEFECT = "defect: "
"""How the line begins in which the process that reads a file tells its standard error of a defect."""


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
    ratio: int = 250
    """How many times larger a packed file may become, once it is unpacked."""
    blank_lines: int = 1_000_000
    """Blank lines of a file of text, beyond ten for each record."""
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


def too_many_blank_lines(name: str, most: int) -> UnreadableFile:
    """What is said of a file that has them."""
    return UnreadableFile(
        f"{name} has more than {most:,} blank lines beyond {BLANK_FOR_A_RECORD} for each record.",
        "Leave them out, or raise RECORDS_MAX_BLANK_LINES.",
    )
