"""Rejected records as a workbook."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import openpyxl
from openpyxl.cell import Cell

from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.texts import encode


class RejectsWorkbook:
    """A workbook of one sheet that takes rows of text. A context manager: its end saves the workbook."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._path = path
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet("Rejects")
        self._sheet.freeze_panes = "A2"
        self.writerow(headers)

    def writerow(self, row: Sequence[str]) -> None:
        """Writes one row. Cells beyond the last column of a sheet are only counted, in that column."""
        most = ExcelLimits.columns
        if len(row) > most:
            row = [*row[: most - 1], f"… and {len(row) - most + 1:,} more cells; see the file that was sent"]
        self._sheet.append([_TextCell(self._sheet, text) if text else None for text in row])

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Saves the workbook."""
        self._book.save(self._path)


class _TextCell(Cell):
    """A cell that is always text: openpyxl would refuse it, cut it off, or take it for a formula or an error."""

    __slots__ = ()

    def __init__(self, sheet: Any, text: str) -> None:
        super().__init__(sheet, 1, 1, text)  # openpyxl sets its place when it writes the row
        self.data_type = "s"

    def check_string(self, value: Any) -> Any:
        """Returns the text as the sheet spells it."""
        return encode(value)
