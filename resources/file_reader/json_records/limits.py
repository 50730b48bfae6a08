"""Limits on a file of JSON records."""

from dataclasses import dataclass

from resources.file_reader.options import ReadLimits


@dataclass(frozen=True)
class JsonLimits:
    """Limits. `depth` counts the brackets open at once in a record, its own included."""

    depth: int = 64
    name_characters: int = 10_000
    names: int = 10_000
    cell_characters: int = 10_000_000
    record_bytes: int = 64 << 20
    blank_lines: int = 1_000_000

    @classmethod
    def of(cls, limits: ReadLimits) -> "JsonLimits":
        """Returns the limits of the settings, for JSON."""
        return cls(
            depth=limits.depth,
            name_characters=limits.header_characters,
            names=limits.columns,
            cell_characters=limits.cell_mb * 1_000_000,
            record_bytes=limits.record_mb * 1_000_000,
            blank_lines=limits.blank_lines,
        )
