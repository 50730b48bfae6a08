"""Cleans the texts of a file without a guess: each text that is changed can only mean the one value.

Nearly all texts are values as they are, so only the others are looked at. A text that gives no value stays as it is.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.countries import country_codes
from schemas.record_type import Field
from schemas.spellings import NO_NUMBER, with_point
from schemas.values import Cleaned, Cleaning, MappedValue, ValueMap, folded
from schemas.warnings import BatchWarning, WarningCode

WHITE_SPACE = "\t\n\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""White space of any kind, as `EDGE_SPACE` finds it."""
_SPACES = "\t\n\r "
"""White space that is removed without being asked for. Of a no-break space nobody knows why it is there."""

_SIGN_FIRST = re.compile(r"([-+]?)\s*([^\s\d.,+-]{1,4}\.?)\s*(?=[-+0-9.,])(.*)", re.DOTALL)
_SIGN_LAST = re.compile(r"(.*[0-9.,])\s*([^\s\d.,+-]{1,4}\.?)", re.DOTALL)
_PERCENT = re.compile(r"(.*[0-9.,])\s*%", re.DOTALL)
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]*")
_NOT_IN_NUMBERS = r"[^0-9.,'\x{2019}\s\p{Z}+-]"
_WORDS = ("kr", "zł", "Kč", "Ft", "Fr", "Rs")
"""Signs of currencies that are letters and no codes."""

Variant = tuple[str, tuple[Cleaning, ...]]
"""Another text for a value, and what was done to get it."""


class CleanedValues:
    """Counts the values of a file that were cleaned, by field and kind, and the currencies of each field.

    values: what texts stand for in a field, as a user says.
    """

    def __init__(self, values: ValueMap | None = None) -> None:
        self._mapped = {
            name: {folded(text): value for text, value in texts.items()} for name, texts in (values or {}).items()
        }
        self._counts: Counter[tuple[str, Cleaning]] = Counter()
        self._used: Counter[tuple[str, str, str]] = Counter()
        self._currencies: dict[str, Counter[str]] = {}

    @property
    def counts(self) -> tuple[Cleaned, ...]:
        """Returns how many values were cleaned, by field and kind."""
        return tuple(Cleaned(name, kind, records) for (name, kind), records in self._counts.items())

    @property
    def mapped(self) -> tuple[MappedValue, ...]:
        """Returns the mappings that were used, as the file has their texts, the most frequent first."""
        return tuple(MappedValue(*mapping, records) for mapping, records in self._used.most_common())

    def warnings(self) -> Iterator[BatchWarning]:
        """Yields a warning for each field with the signs of several currencies."""
        for name, found in self._currencies.items():
            if len(found) > 1:
                signs = ", ".join(f"{sign} ({records:,})" for sign, records in found.most_common())
                sentence = f"`{name}`: values have the signs of several currencies: {signs}. Only the numbers are read."
                yield BatchWarning(WarningCode.SEVERAL_CURRENCIES, name, found.total(), sentence)

    def add(self, field: Field, kind: Cleaning, records: int) -> None:
        """Count values that were cleaned."""
        if records:
            self._counts[field.name, kind] += records

    def add_currency(self, field: Field, text: str, records: int) -> None:
        """Count the currency of an amount."""
        amount = _amount(text.strip(WHITE_SPACE))
        if amount is not None:
            self._currencies.setdefault(field.name, Counter())[amount[1]] += records

    def prepared(self, texts: pa.Array, field: Field) -> pa.Array:
        """Returns the texts of a column that is no key, as a user maps them, without white space that is ignored."""
        known = self._mapped.get(field.name)
        if known:
            texts = self._with_mapped(texts, field, known)
        if field.strip or field.type != "text":
            trimmed = pc.utf8_trim(texts, WHITE_SPACE)
            if _bytes(trimmed) < _bytes(texts):
                self.add(field, Cleaning.SPACES, pc.sum(pc.not_equal(trimmed, texts)).as_py())
                return trimmed
        return texts

    def _with_mapped(self, texts: pa.Array, field: Field, known: dict[str, str]) -> pa.Array:
        coded = texts.dictionary_encode()
        distinct = coded.dictionary.to_pylist()
        values = [known.get(folded(text), text) for text in distinct]
        for found in pc.value_counts(coded.indices).to_pylist():
            text, value = distinct[found["values"]], values[found["values"]]
            if value != text:
                self.add(field, Cleaning.MAPPED, found["counts"])
                self._used[field.name, text, value] += found["counts"]
        return pa.array(values, pa.string()).take(coded.indices)


def _white_space(field: Field) -> str:
    """Returns the white space that is removed from the edges of a field's texts."""
    return _SPACES if field.type == "text" and not field.strip else WHITE_SPACE


def candidates(texts: pa.Array, field: Field) -> pa.Array:
    """Returns which texts, of those that are no values of the field, are worth a look for variants."""
    if field.is_number:
        return pc.match_substring_regex(texts, _NOT_IN_NUMBERS)
    if field.casefold or field.value_aliases or field.labels:
        return pc.is_valid(texts)
    return pc.not_equal(pc.utf8_trim(texts, _white_space(field)), texts)


def variants(text: str, field: Field, decimal: str | None = None) -> Iterator[Variant]:
    """Yields other texts that can be meant by a text that is no value of the field, the nearest first.

    Several with equal changes contradict each other, unless only one of them is a value.
    """
    stripped = text if field.strip is False else text.strip(_white_space(field))
    kinds = () if stripped == text else (Cleaning.SPACES,)
    if kinds and field.type == "text":
        yield stripped, kinds
    if field.is_number:
        yield from _numbers(stripped, field, decimal)
        return
    for alias, value in (*field.value_aliases, *(field.labels if field.type == "boolean" else ())):
        if folded(alias) == folded(stripped):
            yield value, (*kinds, Cleaning.ALIAS)
    if field.casefold:
        others = field.choices or (stripped.upper(), stripped.lower())
        meant = [it for it in dict.fromkeys(others) if it.casefold() == stripped.casefold() and it != stripped]
        if field.country:
            meant = [it for it in meant if it in country_codes()]
        yield from ((it, (*kinds, Cleaning.CASE)) for it in meant)


def signs_in(texts: pa.Array) -> dict[str, pa.Array]:
    """Returns which texts are numbers with a currency sign, and which with a percent sign, by the name of the sign."""
    worth = pc.indices_nonzero(pc.match_substring_regex(texts, _NOT_IN_NUMBERS))
    found = [text.strip(WHITE_SPACE) for text in texts.take(worth).to_pylist()]
    tests: dict[str, Callable[[str], object]] = {"currency": _amount, "percent": _PERCENT.fullmatch}
    every = pa.array(range(len(texts)), pa.uint64())
    return {
        name: pc.is_in(every, worth.filter(pa.array([test(text) is not None for text in found], pa.bool_())))
        for name, test in tests.items()
    }


def without_signs(texts: pa.Array, field: Field) -> pa.Array:
    """Returns texts of a field without the currency signs and percent signs that it may have."""
    has_sign = candidates(texts, field) if field.currency or field.percent else None
    if has_sign is None or not pc.any(has_sign).as_py():
        return texts
    given = texts.filter(has_sign).to_pylist()
    plain = [next((it for it, _ in _numbers(text, field, None, shifted=False)), text) for text in given]
    return pc.replace_with_mask(texts, has_sign, pa.array(plain, pa.string()))


def _numbers(text: str, field: Field, decimal: str | None, *, shifted: bool = True) -> Iterator[Variant]:
    """Yields the number without the sign that the field may have."""
    percent = _PERCENT.fullmatch(text) if field.percent else None
    if percent is not None:
        is_fraction = field.percent == "fraction" and shifted
        yield _hundredth(percent[1], decimal) if is_fraction else percent[1], (Cleaning.PERCENT,)
    amount = _amount(text) if field.currency else None
    if amount is not None:
        yield amount[0], (Cleaning.CURRENCY,)


def _amount(text: str) -> tuple[str, str] | None:
    """Returns the number of an amount and its currency; None for a text of another form."""
    first, last = _SIGN_FIRST.fullmatch(text), _SIGN_LAST.fullmatch(text)
    number, sign = (first[1] + first[3], first[2]) if first else (last[1], last[2]) if last else ("", "")
    return (number, sign) if _is_currency(sign) else None


def _is_currency(sign: str) -> bool:
    """Returns whether it is a sign of a currency, also as `US$`, or a code of ISO 4217."""
    is_sign = unicodedata.category(sign[-1:] or " ") == "Sc" and (len(sign) == 1 or sign[:-1].isalpha())
    return is_sign or sign in _codes() or sign.removesuffix(".") in _WORDS


@cache
def _codes() -> frozenset[str]:
    """Returns the codes of ISO 4217."""
    from babel.core import get_global

    return frozenset(get_global("all_currencies"))


def _hundredth(number: str, decimal: str | None) -> str:
    """Returns a hundredth of a number, exactly and with the same decimal sign; the text itself if it is no number."""
    plain = number if decimal is None else with_point(pa.array([number]), decimal)[0].as_py()
    if plain == NO_NUMBER or not _NUMBER.fullmatch(plain) or not any(map(str.isdigit, plain)):
        return number + "%"
    return f"{Decimal(plain).scaleb(-2):f}".replace(".", decimal or ".")


def _bytes(texts: pa.Array) -> int:
    """Returns how many bytes the texts have together."""
    ends = np.frombuffer(texts.buffers()[1] or b"\0" * 4, np.int32)
    return int(ends[texts.offset + len(texts)] - ends[texts.offset])


def first_valid(found: Sequence[Variant], is_valid: Sequence[bool]) -> Variant | None:
    """Returns the nearest variant that is a value; None if there is none, or if two are equally near."""
    valid = [variant for variant, fits in zip(found, is_valid, strict=True) if fits]
    if not valid or len({text for text, kinds in valid if kinds == valid[0][1]}) > 1:
        return None
    return valid[0]
