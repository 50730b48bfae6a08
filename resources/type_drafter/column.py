"""`Column`: a column of the sample file, and what its values have in common."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from resources.type_drafter.names import snake_case
from schemas.parsing import parse_column
from schemas.reading import ReadOptions
from schemas.record_type import Field
from schemas.spellings import with_point

NULL_MARKERS = ("NA", "N/A", "NULL", "null", "None", "-", "#N/A", "nan", "NaN")
"""What programs write for null. Only a column that is not of text declares them."""

LONGEST_SHOWN = 40
"""Characters of the longest value that the source shows."""

_TYPES = ("integer", "decimal(38,19)", "float", "boolean", "date", "timestamp")
"""In the order of preference. A column keeps the types that fit all its texts."""
NUMBERS = ("integer", "decimal(38,19)", "float")
_FLOAT_DIGITS = 17
"""A float keeps no more digits."""
_FIRST_LOOK = 1_000

_MONEY = re.compile(
    r"(?:.*_)?(?:amount|price|total|subtotal|cost|fee|balance|revenue|salary|wage|tax|vat|budget|paid|credit|debit)s?"
    r"(?:_.*)?"
)
_MONEY_ALWAYS = re.compile(r"(?:.*_)?(?:amount|price|cost|fee|balance|revenue|salary|wage|budget)s?")
"""Headers of money, even if the sample has no decimals."""
_STAYS_TEXT = re.compile(
    r"(.*_)?(phone|telephone|mobile|fax|tel|telefon|handy|zip|zipcode|postcode|postal|plz|ssn|iban|bic|ean|gtin|isbn)(_.*)?"
)
_PERSONAL = re.compile(
    r"(.*_)?(e?mail|(sur|fore|first|last|full|user|vor|nach|pre)?n(ame|om)|(tele)?(phone|fon)|mobile|handy|fax|tel"
    r"|add?ress?e?|anschrift|street|strasse|birth(day|date)?|geburts(tag|datum)|dob|born|ssn|passport|iban|gender|sex"
    r"|notes?|comments?|remarks?)(_.*)?"
)
_NAME_OF_A_THING = re.compile(
    r"(.*_)?(company|product|file|host|domain|event|airport|type|field|class|country|city)(_.*)?_name"
)


@dataclass
class Column:
    """A column of the file. `add` takes the values of each chunk into account.

    options: how its numbers, dates and times are written.
    """

    position: int
    header: str
    options: ReadOptions = field(default_factory=ReadOptions)
    name: str = ""
    types: list[str] = field(default_factory=lambda: list(_TYPES))
    markers: dict[str, int] = field(default_factory=dict)
    records: int = 0
    empty: int = 0
    filled: int = 0
    nested: int = 0
    """How many records have a list or an object there."""
    digits: int = 0
    """Most digits before the point; `scale` has the most after it."""
    scale: int = 0
    scales: set[int] = field(default_factory=set)
    example: str = ""
    choices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.is_text_by_header:
            self.types = []

    @property
    def is_text_by_header(self) -> bool:
        """Returns whether the header names numbers that are text, such as phone numbers."""
        return _STAYS_TEXT.fullmatch(snake_case(self.header)) is not None

    def add(self, texts: pa.Array, nested: int = 0) -> None:
        """Take more texts into account, and the number of lists and objects among the values."""
        self.records += len(texts)
        self.nested += nested
        filled = texts.filter(pc.not_equal(texts, ""))
        self.empty += len(texts) - len(filled)
        is_marker = pc.is_in(filled, pa.array(NULL_MARKERS))
        for found in pc.value_counts(filled.filter(is_marker)).to_pylist():
            self.markers[found["values"]] = self.markers.get(found["values"], 0) + found["counts"]
        values = filled.filter(pc.invert(is_marker))
        self.filled += len(values)
        if not self.example:
            shown = (
                text for text in values[:_FIRST_LOOK].to_pylist() if len(text) <= LONGEST_SHOWN and text.isprintable()
            )
            self.example = next(shown, "")
        if self.types and len(values):
            self._narrow(values[:_FIRST_LOOK])  # most types drop out here, after few texts
            self._narrow(values)

    def _narrow(self, texts: pa.Array) -> None:
        trimmed = pc.utf8_trim_whitespace(texts)
        if pc.any(pc.match_substring_regex(trimmed, r"^-?0[0-9]|^-?[0-9]{16}")).as_py():
            self.types = [kept for kept in self.types if kept not in NUMBERS]
        whole = "integer" in self.types and self._all_are("integer", texts)  # then they fit every type of number
        self.types = [kept for kept in self.types if (whole and kept in NUMBERS) or self._all_are(kept, texts)]
        if self.options.decimal is not None:
            trimmed = with_point(trimmed, self.options.decimal)
        if "decimal(38,19)" in self.types and "integer" not in self.types:
            parts = pc.extract_regex(trimmed, r"^-?(?P<whole>[0-9]*)\.?(?P<rest>[0-9]*)$")
            self.digits = max(self.digits, pc.max(pc.utf8_length(pc.struct_field(parts, "whole"))).as_py())
            self.scales.update(pc.unique(pc.utf8_length(pc.struct_field(parts, "rest"))).to_pylist())
            self.scale = max(self.scales)
        elif "decimal(38,19)" in self.types:
            self.digits = max(self.digits, pc.max(pc.utf8_length(trimmed)).as_py())
            self.scales.add(0)

    def _all_are(self, type_: str, texts: pa.Array) -> bool:
        return not len(self._parsed(texts, Field("", type_), strict=True)[1])

    def values(self, texts: pa.Array) -> pa.Array:
        """Returns the values of texts, as an import reads them."""
        return self._parsed(texts, self.field)[0]

    def _parsed(self, texts: pa.Array, as_field: Field, *, strict: bool = False) -> tuple[pa.Array, pa.Array]:
        said = self.options
        return parse_column(
            texts,
            as_field,
            time_zone=said.time_zone,
            date_order=said.date_order,
            decimal=said.decimal,
            strict=strict,
        )

    @property
    def type(self) -> str:
        """Returns the type of the field, as `Field.type` has it."""
        if not self.filled or not self.types:
            return "text"
        first = self.types[0]
        header = snake_case(self.header)
        if first == "integer" and _MONEY_ALWAYS.fullmatch(header):
            return "decimal(18,2)"
        if first != "decimal(38,19)":
            return first
        fixed = len(self.scales) == 1 or (_MONEY.fullmatch(header) is not None and self.scale <= 4)
        if "float" in self.types and not fixed and self.digits + self.scale <= _FLOAT_DIGITS:
            return "float"
        scale = max(self.scale, 2)
        return f"decimal({max(18, self.digits + scale)},{scale})"

    @property
    def shown_example(self) -> str:
        """Returns the example as an import reads it without any option."""
        if not self.example or self.type == "text" or self.options == ReadOptions():
            return self.example
        value = self.values(pa.array([self.example]))[0].as_py()
        return value.isoformat() if isinstance(value, date) else str(value)

    @property
    def null_markers(self) -> tuple[str, ...]:
        """Returns the texts that mean null. A column of text has none: "NA" may be Namibia."""
        return () if self.type == "text" else tuple(self.markers)

    @property
    def nulls(self) -> int:
        """Returns how many records have no value."""
        return self.empty + sum(self.markers[marker] for marker in self.null_markers)

    @property
    def required(self) -> bool:
        """Returns whether every record has a value."""
        return self.records > 0 and not self.nulls

    @property
    def personal(self) -> bool:
        """Returns whether the header suggests personal data."""
        header = snake_case(self.header)
        return bool(_PERSONAL.fullmatch(header)) and not _NAME_OF_A_THING.fullmatch(header)

    @property
    def field(self) -> Field:
        """Returns the field that the values are parsed as."""
        return Field(self.name, self.type, null_markers=self.null_markers)


def name_fields(columns: Sequence[Column]) -> None:
    """Give each column a field name of its own. A header that is a valid name keeps it."""
    taken: set[str] = set()
    for column in sorted(columns, key=lambda column: snake_case(column.header) != column.header):
        name = snake_case(column.header) or f"column_{column.position + 1}"
        candidates: Iterator[str] = (name if i == 1 else f"{name.rstrip('_')}_{i}" for i in range(1, len(columns) + 2))
        column.name = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(column.name)
