"""The state of reading a sheet, shared by all parsers of its rows."""

from dataclasses import dataclass

from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.package import Package
from schemas.errors import UnreadableFile


@dataclass
class Progress:
    """The rows read so far."""

    package: Package
    sheet: str
    limits: ExcelLimits
    headers: tuple[str, ...] | None = None
    header_row: int = 0
    """The row of the header, once it is known."""
    first_row: int = 1
    """The row from which on the header is looked for. Rows above it are left out."""
    read: int = 0
    """Records."""
    last: int = 0
    """The row read last."""
    last_filled: int = 0
    """The last row with a value."""
    beyond: int = 0
    """Fields of the records that are wider than the header."""
    problems: int = 0
    """Cells with a problem, and one more for every 100 characters of one."""
    characters: int = 0
    unknown_styles: int = 0
    hidden: int = 0
    """Records in rows that Excel does not show."""

    def check(self, row: int, characters: int) -> None:
        """Raises UnreadableFile if the records up to this row exceed a limit; adds their characters."""
        if self.read * len(self.headers or ()) > self.limits.cells:
            raise self.refuse(f"row {row:,}", f"is beyond {self.limits.cells:,} cells")
        if self.beyond > self.limits.wide_cells:
            raise self.refuse(
                f"row {row:,}", f"is beyond {self.limits.wide_cells:,} cells of rows that are wider than the header"
            )
        if self.problems > self.limits.problem_cells:
            raise self.refuse(
                f"row {row:,}", f"is beyond {self.limits.problem_cells:,} cells that are errors or not values"
            )
        self.characters += characters
        if self.characters > self.limits.unpacked_bytes:
            raise self.refuse(f"row {row:,}", f"is beyond {self.limits.unpacked_bytes:,} characters of text")

    def refuse_long_row(self, where: str) -> UnreadableFile:
        """Returns the refusal of a row that has more text than the limit."""
        return self.refuse(where, f"has more than {self.limits.row_characters:,} characters of text")

    def refuse(self, where: str, why: str, hint: str = "", quoted: str = "") -> UnreadableFile:
        """Returns the refusal of the sheet for one of its places. `quoted` is what the cell says, perhaps personal."""
        message = f"{self.package.name}, sheet {self.sheet!r}: {where} {why}."
        return UnreadableFile(message, hint or "Nothing was read from it. Correct it in Excel and try again.", quoted)
