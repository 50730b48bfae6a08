"""How much of anything a workbook may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExcelLimits:
    """What a workbook may be at most; beyond it is refused."""

    entries: int = 10_000
    """Files in the ZIP archive."""
    unpacked_bytes: int = 2 << 30
    """Bytes that really come out of all parts read, and characters of the text made of them."""
    ratio: int = 500
    """Unpacked to packed bytes of one part that is larger than 16 MiB."""
    rows: int = 1_048_576
    """The last row, as in Excel."""
    columns: int = 16_384
    """The last column, as in Excel (XFD)."""
    cells: int = 250_000_000
    """Records times columns."""
    wide_cells: int = 100_000_000
    """Cells of rows that are wider than the header, the empty ones before the last included; each is passed on."""
    empty_rows: int = 10_000
    """Empty rows one after the other; a longer run ends the sheet, and nothing may follow it."""
    cell_characters: int = 32_767
    """Characters of one cell, as in Excel."""
    element_bytes: int = 16 << 20
    """One row or one shared text, as the part spells it."""
    shared_string_bytes: int = 256 << 20
    """All shared strings in memory: their text and 4 bytes for each."""
