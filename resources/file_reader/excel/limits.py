"""Limits on a workbook."""

from dataclasses import dataclass

from resources.file_reader.archive import DIRECTORY_BYTES


@dataclass(frozen=True)
class ExcelLimits:
    """Limits. A workbook that exceeds one is refused."""

    entries: int = 10_000
    """Files in the ZIP archive, sheets, and links in a part."""
    unpacked_bytes: int = 2 << 30
    """Unpacked bytes of all parts that are read, and characters of the records."""
    ratio: int = 500
    """Unpacked to packed bytes of one part that is larger than 16 MiB."""
    rows: int = 1_048_576
    """The last row, as in Excel."""
    columns: int = 16_384
    """The last column, as in Excel (XFD)."""
    cells: int = 110_000_000
    """Records times columns: a sheet of 104 columns may be as long as any."""
    wide_cells: int = 100_000_000
    """Cells of rows that are wider than the header, with the empty ones before the last."""
    row_characters: int = 16 << 20
    """Characters of one row, each shared text counted as often as it stands there."""
    empty_rows: int = 10_000
    """Consecutive empty rows. A longer run must end the sheet."""
    idle_tags: int = 5_000_000
    """Tags without a value, beyond 10 for each value, in what is parsed tag by tag: seconds of work."""
    problem_cells: int = 2_000_000
    """Cells with a problem, as error cells. One counts once more for every 100 characters."""
    cell_characters: int = 32_767
    """Characters of one cell, as in Excel; with escapes it may have seven times as many."""
    element_bytes: int = 16 << 20
    """Bytes of one row or one shared text in the part."""
    tag_bytes: int = 1 << 20
    """Bytes of one tag or comment; of a row or cell a sixteenth, for a parser may begin again with each block."""
    shared_string_bytes: int = 256 << 20
    """Bytes of all shared strings, on the disk: their text and 4 bytes for each."""
    styles: int = 100_000
    """Cell styles, and number formats; Excel has 65,490."""
    directory_bytes: int = DIRECTORY_BYTES
    """Bytes of the directory of the ZIP archive."""
