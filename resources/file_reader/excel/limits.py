"""How much of anything a workbook may have."""

from dataclasses import dataclass

from resources.file_reader.archive import DIRECTORY_BYTES


@dataclass(frozen=True)
class ExcelLimits:
    """What a workbook may be at most; beyond it is refused."""

    entries: int = 10_000
    """Files in the ZIP archive, and names of sheets and links in a part."""
    unpacked_bytes: int = 2 << 30
    """Bytes that really come out of all parts read, and characters of the text made of them."""
    ratio: int = 500
    """Unpacked to packed bytes of one part that is larger than 16 MiB."""
    rows: int = 1_048_576
    """The last row, as in Excel."""
    columns: int = 16_384
    """The last column, as in Excel (XFD)."""
    cells: int = 110_000_000
    """Records times columns: a sheet of 104 columns may be as long as any."""
    wide_cells: int = 100_000_000
    """Cells of rows that are wider than the header, the empty ones before the last included; each is passed on."""
    row_characters: int = 16 << 20
    """Text of one row, its shared texts as often as it has them."""
    empty_rows: int = 10_000
    """Empty rows one after the other; a longer run ends the sheet, and nothing may follow it."""
    idle_tags: int = 5_000_000
    """Tags that hold no value, beyond 10 for each value, of what of a part is read tag by tag: seconds of work."""
    problem_cells: int = 2_000_000
    """Cells whose meaning no text can carry, as error cells; one counts once more for every 100 characters."""
    cell_characters: int = 32_767
    """Characters of one cell, as in Excel; spelled with escapes it may have seven times as many."""
    element_bytes: int = 16 << 20
    """One row or one shared text, as the part spells it."""
    tag_bytes: int = 1 << 20
    """One tag or comment; of a row or cell a sixteenth, for a parser may begin anew with every block."""
    shared_string_bytes: int = 256 << 20
    """All shared strings, on the disk: their text and 4 bytes for each."""
    styles: int = 100_000
    """Cell styles, and number formats; Excel has 65,490."""
    directory_bytes: int = DIRECTORY_BYTES
    """The directory of the ZIP archive."""
