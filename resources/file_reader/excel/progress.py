"""How far the reading of a sheet has come, whichever way its rows are read."""

from dataclasses import dataclass

from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.package import Package
from schemas.errors import UnreadableFile


@dataclass
class Progress:
    """What is known of the rows so far."""

    package: Package
    sheet: str
    limits: ExcelLimits
    headers: tuple[str, ...] | None = None
    header_row: int = 0
    read: int = 0
    """Records."""
    last: int = 0
    """The row read last."""
    last_filled: int = 0
    """The last row with a value."""
    beyond: int = 0
    """Fields of the records that are wider than the header."""
    problems: int = 0
    """Cells whose meaning no text can carry, one more for every 100 characters of them."""
    characters: int = 0
    unknown_styles: int = 0
    hidden: int = 0
    """Records in rows that Excel does not show."""

    def check(self, row: int, characters: int) -> None:
        """After records up to this row were counted: they are within the limits."""
        if self.read * len(self.headers or ()) > self.limits.cells:
            raise self.refuse(f"row {row:,}", f"is beyond {self.limits.cells:,} cells")
        if self.beyond > self.limits.wide_cells:
            raise self.refuse(
                f"row {row:,}", f"is beyond {self.limits.wide_cells:,} cells of rows that are wider than the header"
            )
        if self.problems > self.limits.problem_cells:
            raise self.refuse(
                f"row {row:,}", f"is beyond {self.limits.problem_cells:,} cells that are errors or otherwise no values"
            )
        self.characters += characters
        if self.characters > self.limits.unpacked_bytes:
            raise self.refuse(f"row {row:,}", f"is beyond {self.limits.unpacked_bytes:,} characters of text")

    def refuse_long_row(self, where: str) -> UnreadableFile:
        """Returns the refusal of a row that has more text than the limit."""
        return self.refuse(where, f"has more than {self.limits.row_characters:,} characters of text")

    def refuse(self, where: str, why: str, hint: str = "", quoted: str = "") -> UnreadableFile:
        """The refusal of the sheet for one of its places; what the cell says is `quoted`, for it may be personal."""
        message = f"{self.package.name}, sheet {self.sheet!r}: {where} {why}."
        return UnreadableFile(message, hint or "Nothing of it is used; correct it in Excel and try again.", quoted)
