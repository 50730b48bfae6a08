"""Warnings about a file: possible mistakes that break no rule."""

from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.masking import masked_value


class WarningCode(StrEnum):
    """What a warning is about. `ignore_warnings` in `inbox.yaml` names these codes."""

    DATE_ORDER = "date_order"
    DECIMAL_STYLE = "decimal_style"
    LOOKS_LIKE_FLOAT = "looks_like_float"
    LOOKS_LIKE_DATE = "looks_like_date"
    DIGITS_LOST = "digits_lost"
    SCIENTIFIC_NOTATION = "scientific_notation"
    PERCENTAGE = "percentage"
    LEADING_ZEROS = "leading_zeros"
    EQUALS_QUOTED = "equals_quoted"
    LOOK_ALIKE = "look_alike"
    IN_QUOTES = "in_quotes"
    ESCAPED_FORMULA = "escaped_formula"
    WORD_FOR_NOTHING = "word_for_nothing"
    EDGE_SPACE = "edge_space"
    INVISIBLE = "invisible"
    WRONG_ENCODING = "wrong_encoding"
    SHOWN_OTHERWISE = "shown_otherwise"
    FOOTER = "footer"
    SEVERAL_CURRENCIES = "several_currencies"


@dataclass(frozen=True)
class BatchWarning:
    """One possible mistake in one field of a file.

    field: None if it concerns whole records, or if the field is not known, as in batches of earlier versions.
    records: how many records it concerns. It is 0 in batches of earlier versions.
    sentence: what was found. It holds no value of a record.
    examples: the first different values, shortened, with unseen characters shown.
    """

    code: WarningCode
    field: str | None
    records: int
    sentence: str
    examples: tuple[str, ...] = ()

    def masked(self) -> "BatchWarning":
        """Returns the warning with a mask in place of each example."""
        return replace(self, examples=tuple(dict.fromkeys(masked_value(value, "") for value in self.examples)))

    def __str__(self) -> str:
        """Returns the sentence and the examples."""
        return self.sentence + (f" For example: {', '.join(self.examples)}" if self.examples else "")
