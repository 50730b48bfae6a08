"""What a cell stores, as text."""

from dataclasses import dataclass

from resources.file_reader.excel.dates import date_text, iso_text
from resources.file_reader.excel.numbers import is_numeric, is_plain, number_text
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.shared_strings import SharedStrings
from resources.file_reader.excel.styles import Kind
from resources.file_reader.excel.texts import decode

_CACHED_DATES = 50_000
_LONGEST_DATE = 1000
_COMPUTE = "must have a value: open and save the workbook so that Excel computes it"


@dataclass(frozen=True)
class ProblemText:
    """The text of a cell that has a problem. `expected` ends a sentence ("must be …"); `value` is what to show."""

    text: str
    rule: str
    expected: str
    value: str


class InvalidCell(Exception):
    """A cell for which the whole sheet is refused: `why` ends a sentence, `quoted` may quote the cell."""

    def __init__(self, why: str, quoted: str = "") -> None:
        super().__init__(why)
        self.why, self.quoted = why, quoted


class CellTexts:
    """Returns the texts of cells, by their type and style. `progress` counts those of an unknown style."""

    __slots__ = ("_dates", "_from_1904", "_kind_of", "_longest", "_progress", "_shared", "_strings")

    def __init__(
        self, progress: Progress, strings: SharedStrings, kinds: dict[str | None, Kind], from_1904: bool
    ) -> None:
        self._progress, self._strings, self._from_1904 = progress, strings, from_1904
        self._shared, self._kind_of = strings.text, kinds.get
        self._longest = progress.limits.cell_characters
        self._dates: dict[str, dict[str, str]] = {"date": {}, "time": {}, "elapsed": {}}

    def text(
        self, value: str | None, cell_type: str | None, style: str | None, formula: str | None
    ) -> str | ProblemText:
        """Returns the text of a cell: "" if it has none, a ProblemText if no text can carry its meaning.

        Raises InvalidCell if the cell is longer than Excel allows, has an unknown type or no such shared text.
        """
        if not value:
            return self._without_value(value, cell_type, formula)
        if cell_type == "s":
            try:
                return self._shared(int(value) if value.isdecimal() and value.isascii() else -1)
            except (ValueError, IndexError):
                raise self._without_shared(value) from None
        if cell_type is None or cell_type == "n":
            kind = self._kind_of(style, "unknown")
            if kind != "number":
                return (self._dates[kind].get(value) if kind != "unknown" else None) or self._date(value, kind, formula)
            if len(value) <= 16 and ((value.isdecimal() and value[0] != "0" and value.isascii()) or is_plain(value)):
                return value
            return self._number(value, formula)
        if cell_type == "inlineStr" or cell_type == "str":
            return self._limited(value if "_x" not in value else decode(value))
        return self._rarer(value, cell_type)

    def _without_value(self, value: str | None, cell_type: str | None, formula: str | None) -> str | ProblemText:
        """Returns "", or a problem for a formula that was never computed; the result of a formula may be ''."""
        if formula is not None and (value is None or cell_type != "str"):
            return ProblemText("", "formula_without_value", _COMPUTE, "=" + formula)
        return ""

    def _without_shared(self, number: str) -> InvalidCell:
        return InvalidCell(
            f"names a shared text that is not there, and the workbook has {len(self._strings):,}",
            f"It names the shared text {number[:20]!r}.",
        )

    def _number(self, value: str, formula: str | None) -> str | ProblemText:
        text = number_text(value, formula is not None)
        if text is None:
            return ProblemText(self._limited(value), "not_a_number", "must be a number", value[:100])
        return text

    def _date(self, value: str, kind: str, formula: str | None) -> str | ProblemText:
        """Returns the date of a number; the number itself where the style is unknown or it is too long for a date."""
        text = self._number(value, formula)
        if kind == "unknown":
            self._progress.unknown_styles += 1
            return text
        if isinstance(text, ProblemText) or len(value) > _LONGEST_DATE or not is_numeric(value):
            return text
        day, expected = date_text(float(value), kind, self._from_1904)
        if expected:
            return ProblemText(day or text, "no_such_date", expected, day or text)
        if day is None:
            return text
        dates = self._dates[kind]
        if len(dates) >= _CACHED_DATES:
            dates.clear()
        dates[value] = day
        return day

    def _rarer(self, value: str, cell_type: str) -> str | ProblemText:
        """Returns the text of a truth value, an error or a date in ISO form."""
        if cell_type == "b" and value.strip() in ("0", "1", "true", "false"):
            return "true" if value.strip() in ("1", "true") else "false"
        if cell_type == "e":
            return ProblemText(self._limited(value), "error_cell", "must be a value, not an error", value[:100])
        if cell_type == "d":
            text = iso_text(value.strip())
            if text is None:
                expected = "must be a date that Excel knows, up to 9999-12-31"
                return ProblemText(self._limited(value), "no_such_date", expected, value[:100])
            return text
        raise InvalidCell(
            "is of a type that Excel does not have", f"Its type is {cell_type!r:.20}, its value {value!r:.20}."
        )

    def _limited(self, text: str) -> str:
        if len(text) > self._longest:
            raise too_long(self._longest)
        return text


def too_long(most: int) -> InvalidCell:
    """Returns the error for a cell that is longer than Excel allows."""
    return InvalidCell(f"has more than {most:,} characters")
