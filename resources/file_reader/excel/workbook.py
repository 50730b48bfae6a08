"""The workbook part: its sheets, and the names of the other parts."""

from resources.file_reader.excel.package import DAMAGED, Package
from resources.file_reader.excel.texts import decode
from schemas.errors import InvalidRequest


class Workbook:
    """The workbook part. `sheets` maps each worksheet to its part."""

    def __init__(self, package: Package) -> None:
        self._package = package
        main = [part for _, kind, part in package.relationships("") if kind == "officeDocument" and part]
        part = main[0] if main else package.find("xl/workbook.xml")
        if part is None:
            raise package.unreadable("is not an Excel workbook", "Save it as .xlsx.")
        if part.lower().endswith(".bin"):
            raise package.unreadable("is a binary workbook (.xlsb)", "Save it as .xlsx.")
        relationships = package.relationships(part)
        worksheets = {name: target for name, kind, target in relationships if kind == "worksheet"}
        self.strings = next((target for _, kind, target in relationships if kind == "sharedStrings"), "")
        self.styles = next((target for _, kind, target in relationships if kind == "styles"), "")
        self.sheets: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        self._hidden: set[str] = set()
        self.from_1904 = False

        def start(name: str, attributes: dict[str, str], _: str) -> None:
            if name == "workbookPr":
                self.from_1904 = attributes.get("date1904", "0").strip() in ("1", "true", "on")
            elif name == "sheet":
                link = next((value for key, value in attributes.items() if key.endswith(" id")), "")
                if link in worksheets:
                    self._add(decode(attributes.get("name", "")), worksheets[link], attributes.get("state", "visible"))

        package.parse_small(part, start, "workbook")
        if not self.sheets:
            raise package.unreadable("has no worksheet", "Nothing can be read from it.")

    def _add(self, sheet: str, part: str, state: str) -> None:
        if sheet.casefold() in self._folded:
            raise self._package.unreadable(f"has more than one sheet {sheet!r}")
        if len(self.sheets) >= self._package.limits.entries:
            raise self._package.unreadable(f"has more than {self._package.limits.entries:,} sheets")
        self.sheets[sheet] = part
        self._folded[sheet.casefold()] = sheet
        if state != "visible":
            self._hidden.add(sheet)

    def choose(self, wanted: str | None) -> str:
        """Returns the name of the sheet to read. Raises InvalidRequest if the wanted one does not exist."""
        if wanted is None:
            chosen = next((sheet for sheet in self.sheets if sheet not in self._hidden), next(iter(self.sheets)))
        else:
            if wanted.casefold() not in self._folded:
                raise InvalidRequest(
                    f"{self._package.name} has no sheet {wanted!r}.",
                    "Name one of its sheets (--sheet).",
                    f"Its sheets: {', '.join(map(repr, self.sheets))}.",
                )
            chosen = self._folded[wanted.casefold()]
        if not self.sheets[chosen]:
            raise self._package.unreadable(f"is damaged: the part of sheet {chosen!r} is missing", DAMAGED)
        return chosen
