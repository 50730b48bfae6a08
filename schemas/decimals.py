"""The decimal sign of numbers. It is a point, or a person says it: nothing in `1,234` shows whether it is 1234.

With `--decimal ,` or `--decimal .`, numbers may have thousands separators too: 1.234,50, 1 234,50 or 1'234.50.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from schemas.cleaning import without_signs
from schemas.counts import numbered
from schemas.fits import Fit
from schemas.reading import COMMA, POINT
from schemas.record_type import RecordType
from schemas.spellings import NO_NUMBER, with_point
from schemas.warnings import BatchWarning, WarningCode

_PLAIN = r"^[-+]?[0-9]*\.?[0-9]*$"
"""A number with a point, as formats with numbers of their own write it."""
_IN_WORDS = {COMMA: "a decimal comma", POINT: "a decimal point and thousands separators"}


class DecimalSigns:
    """Counts which decimal signs the numbers of a file fit that were not read, a chunk at a time.

    It keeps the first value of each sign.

    sign: the decimal sign that a user says; None for a point without thousands separators.
    can_be_said: whether a user can say it, because the format of the file has no numbers of its own.
    """

    def __init__(
        self, record_type: RecordType, fields: tuple[str, ...], sign: str | None, *, can_be_said: bool = True
    ) -> None:
        self.sign = sign
        self._type = record_type
        self._can_be_said = can_be_said
        numbers = [name for name in fields if record_type.field(name).is_number]
        self._fits = {name: {fit: Fit("number") for fit in (COMMA, POINT, None)} for name in numbers}

    def add(self, texts: pa.Table, typed: pa.Table, records: pa.Array) -> None:
        """Count the texts of a chunk. `typed` has the values that were read from them."""
        for name, fits in self._fits.items():
            values = typed[name].combine_chunks()
            if values.null_count:
                column = pc.utf8_trim_whitespace(texts[name].combine_chunks())
                unread = pc.fill_null(pc.and_(pc.is_null(values), pc.not_equal(column, "")), False)
                if not self._can_be_said:
                    unread = pc.and_not(unread, pc.match_substring_regex(column, _PLAIN))
                column, of = column.filter(unread), records.filter(unread)
                column = without_signs(column, self._type.field(name))
                comma, point = fits_sign(column, COMMA), fits_sign(column, POINT)
                has_thousands = pc.match_substring_regex(column, r"[, '\x{a0}\x{202f}\x{2019}]")
                fits[COMMA].add(pc.and_not(comma, point), column, of)
                fits[POINT].add(pc.and_(pc.and_not(point, comma), has_thousands), column, of)
                fits[None].add(pc.and_(comma, point), column, of)

    @property
    def understood(self) -> tuple[tuple[str, str], ...]:
        """Returns the sign that was said, as label and value."""
        return () if self.sign is None else (("Numbers", f"can have {_IN_WORDS[self.sign]}, as --decimal says"),)

    def warnings(self) -> tuple[BatchWarning, ...]:
        """Returns a warning for each column with numbers of another decimal sign."""
        return tuple(
            BatchWarning(WarningCode.DECIMAL_STYLE, name, numbers, f"`{name}`: {sentence}", examples)
            for name, fits in self._fits.items()
            for numbers, sentence, examples in self._doubts(fits)
        )

    def _doubts(self, fits: dict[str | None, Fit]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Yields how many numbers are in doubt, why, and the first of them."""
        comma, point, either = fits[COMMA], fits[POINT], fits[None]
        if not self._can_be_said:
            unread = sum(fit.values for fit in fits.values())
            if unread:
                many = f"{numbered(unread, 'text')} like a number with a decimal comma or thousands separators"
                sentence = f"{many}. Numbers of this format have a point alone: correct the file."
                yield unread, sentence, tuple(fit.example for fit in fits.values() if fit.values)
            return
        if comma.values and point.values:
            both = ", ".join(fit.sentence(f"with {_IN_WORDS[sign]}") for sign, fit in ((COMMA, comma), (POINT, point)))
            sentence = f"{both}. No --decimal reads them all: correct the file."
            yield comma.values + point.values, sentence, (comma.example, point.example)
        for sign, fit in ((COMMA, comma), (POINT, point)):
            if fit.values and not (comma.values and point.values):
                more = f"; {either.number} could be either" if either.values else ""
                found = fit.sentence(f"can only have {_IN_WORDS[sign]}")
                yield fit.values + either.values, f"{found}{more}. With --decimal {sign} they are read.", (fit.example,)
        if either.values and not comma.values and not point.values:
            unclear = f"{either.number} could have a decimal comma or thousands separators"
            yield either.values, f"{unclear}. Say which: --decimal , or --decimal .", (either.example,)


def fits_sign(texts: pa.Array, sign: str) -> pa.Array:
    """Returns which texts are numbers with that decimal sign, and have it or a thousands separator."""
    has_mark = pc.match_substring_regex(texts, r"[0-9].*[., '\x{a0}\x{202f}\x{2019}]|[.,].*[0-9]")
    return pc.and_(pc.not_equal(with_point(texts, sign), NO_NUMBER), has_mark)
