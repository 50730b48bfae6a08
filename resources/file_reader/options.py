"""The limits on files that are read, and how their errors are reported."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from schemas.errors import InvalidRequest, UnreadableFile

BLANK_FOR_A_RECORD = 10
"""Blank lines allowed for each record: some programs write one below every line."""


DEFECT = "defect: "
"""How the line begins with which the reading process reports a defect on its standard error."""


@dataclass(frozen=True)
class ReadLimits:
    """Limits on untrusted files. Each is a setting: RECORDS_MAX_ and its name in capitals."""

    file_mb: int = 20_000
    """Size of a file, unpacked, in 10⁶ bytes."""
    ratio: int = 250
    """How many times its size a packed file may unpack to."""
    blank_lines: int = 1_000_000
    """Blank lines of a text file, beyond ten for each record."""
    columns: int = 10_000
    """Columns of a file."""
    header_characters: int = 10_000
    """Characters of one header."""
    cell_mb: int = 8
    """Size of one cell, in 10⁶ bytes."""
    record_mb: int = 64
    """Size of one JSON record, in 10⁶ bytes."""
    records_per_key: int = 100_000
    """Records of a file that have the same key."""
    records_per_byte: int = 10
    """Records of a Parquet file for each of its bytes, beyond the first 1,000,000."""
    depth: int = 64
    """Brackets open at once in a JSON record, its own included."""
    reader_memory_mb: int = 1_000
    """Memory of the reading process, in 10⁶ bytes of address space beyond what it starts with."""
    reader_seconds: int = 3_600
    """Processor time of the reading process."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ReadLimits":
        """Returns the limits that the environment sets. Raises InvalidRequest if one is not a whole number above 0."""
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
    """Returns the error for a file with too many blank lines."""
    return UnreadableFile(
        f"{name} has more than {most:,} blank lines beyond {BLANK_FOR_A_RECORD} for each record.",
        "Delete them, or raise RECORDS_MAX_BLANK_LINES.",
    )
