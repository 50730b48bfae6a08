"""Limits on a Parquet file."""

from dataclasses import dataclass

from resources.file_reader.options import ReadLimits


@dataclass(frozen=True)
class ParquetLimits:
    """Limits. `footer_bytes` is the longest text, and `footer_items` the longest list, of the file's metadata."""

    columns: int = 10_000
    name_characters: int = 10_000
    cell_characters: int = 10_000_000
    records_per_byte: int = 10
    footer_bytes: int = 64 << 20
    footer_items: int = 1_000_000

    @classmethod
    def of(cls, limits: ReadLimits) -> "ParquetLimits":
        """Returns the limits of the settings, for Parquet."""
        return cls(
            columns=limits.columns,
            name_characters=limits.header_characters,
            cell_characters=limits.cell_mb * 1_000_000,
            records_per_byte=limits.records_per_byte,
        )
