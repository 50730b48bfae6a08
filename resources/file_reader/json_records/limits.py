"""What a file of JSON records may ask for at most."""

from dataclasses import dataclass

from resources.file_reader.options import ReadLimits


@dataclass(frozen=True)
class JsonLimits:
    """`depth` counts the brackets open at once in a record, its own included; `record_bytes` are held in memory."""

    depth: int = 64
    name_characters: int = 10_000
    names: int = 10_000
    cell_characters: int = 10_000_000
    record_bytes: int = 64 << 20
    blank_lines: int = 1_000_000

    @classmethod
    def of(cls, limits: ReadLimits) -> "JsonLimits":
        """The settings' limits, as they are for JSON."""
        return cls(
            depth=limits.depth,
            name_characters=limits.header_characters,
            names=limits.columns,
            cell_characters=limits.cell_mb * 1_000_000,
            record_bytes=limits.record_mb * 1_000_000,
            blank_lines=limits.blank_lines,
        )
