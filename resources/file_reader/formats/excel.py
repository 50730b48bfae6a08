"""Excel workbooks: .xlsx and .xlsm."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.options import ReadLimits
from schemas.reading import ReadOptions

_CONTENT_TYPES = "[content_types].xml"
_OTHER_OFFICE = ("word/", "ppt/")


class Excel(Format):
    """One sheet of a workbook."""

    name = "excel"
    suffixes = (".xlsx", ".xlsm")
    options = ("sheet", "as_shown", "header_row")
    time_zone = "UTC"
    escapes_formulas = True

    @property
    def cell_characters(self) -> int:
        """As many as Excel's own limit."""
        from resources.file_reader.excel.limits import ExcelLimits

        return ExcelLimits.cell_characters

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file is a workbook, or a damaged one that `open` refuses in Excel's terms.

        A workbook is an archive with a list of content types that is not a Word or PowerPoint file. A damaged archive
        is one if its name says so.
        """
        if not candidate.is_archive:
            return False
        if candidate.members is None:
            return candidate.suffix in self.suffixes
        members = {member.casefold() for member in candidate.members}
        return _CONTENT_TYPES in members and not any(member.startswith(_OTHER_OFFICE) for member in members)

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens the sheet that the options name, or the first visible one."""
        from resources.file_reader.excel import ExcelFile

        return ExcelFile(path.open("rb"), name, sheet=options.sheet, header_row=options.header_row)

    def outline(self, opened: OpenedFile) -> str:
        """Returns the sheets of the workbook, and what each begins with."""
        from resources.file_reader.excel import ExcelFile

        return opened.outline if isinstance(opened, ExcelFile) else ""

    def first_rows(self, opened: OpenedFile) -> Sequence[tuple[int, Sequence[str]]]:
        """Returns the first rows of the sheet."""
        from resources.file_reader.excel import ExcelFile

        return opened.first_rows if isinstance(opened, ExcelFile) else []

    def alternatives(self, opened: OpenedFile) -> Mapping[str, Sequence[str]]:
        """Returns the sheets of the workbook."""
        from resources.file_reader.excel import ExcelFile

        return {"sheet": opened.sheets} if isinstance(opened, ExcelFile) else {}

    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> AbstractContextManager[RowWriter]:
        """Writes a workbook of one sheet; every cell is text."""
        from resources.file_reader.excel.rejects import RejectsWorkbook

        return RejectsWorkbook(path, headers)
