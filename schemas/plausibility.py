"""Finds values that are valid and look like mistakes, a chunk at a time, and warns of them.

Nearly all values look right. So most tests are made on the few values that a look at their bytes makes suspect.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.characters import EDGE_SPACE, INVISIBLE, WRONG_ENCODING, code_points, shown, without_joiners
from schemas.formulas import ESCAPED
from schemas.record_type import RecordType
from schemas.warnings import BatchWarning, WarningCode

_EXAMPLES, _LONGEST = 3, 60
"""How many examples a warning has, and how many characters of each."""

_LOOK_ALIKES = (
    "АВЕЅІЈКМНОРСТУХаеорсухіјѕԁһ"  # noqa: RUF001  # Cyrillic
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο"  # noqa: RUF001  # Greek
    "\u2010-\u2015\u2212\uff01-\uff5e"  # dashes, minus and letters of full width
)
"""Characters that look like ASCII ones, as part of a pattern's class."""

_MISREAD = (
    r"\x{FFFD}|Ã[\x{A0}-\x{BF}„‰‡šœ€ƒ]|Â[\x{A0}-\x{BF}]|â€[™œ¢¦“”]"
    r"|[ĂĹ][€‚„…†‡‰Š‹ŚŤŽŹ‘’“”•–—™š›śťžźˇ˘Ł¤Ą¦§¨©Ş«¬®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż]|[├┬┼√¬≈][^\x00-\x7f]"  # noqa: RUF001
    r"|([ÐÑ][^\x00-\x7fÐÑ]){3}|([РС][^\x00-\x7fА-Яа-я]){3}"  # noqa: RUF001  # of Cyrillic letters
)
"""What a program leaves that read the text in a wrong encoding: U+FFFD, or UTF-8 read as cp1252, cp1250, cp1251, cp437
or Mac Roman."""
_IN_ALL = {
    WarningCode.SCIENTIFIC_NOTATION: r"^-?[0-9]([.,][0-9]+([eE][+-]?[0-9]{2,3}|E[0-9])|[eE][+-][0-9]{2,3})$",
    WarningCode.EQUALS_QUOTED: r"""^=("[^"]*"|0[0-9]+|[0-9]{4,})$|^'(0[0-9]+|[0-9]{4,})$""",
    WarningCode.WRONG_ENCODING: _MISREAD,
    WarningCode.IN_QUOTES: r"""^"([^"]|"")*"$|^'([^']|'')*'$""",
    WarningCode.ESCAPED_FORMULA: ESCAPED,
    WarningCode.WORD_FOR_NOTHING: (
        r"^(NULL|null|\(NULL\)|\(null\)|<NULL>|<null>|None|NaN|NAN|nan|<NA>|NaT|undefined|N/A|n/a|\\N"
        r"|#(N/A|N/D|NV|[A-Z]+!|DIV/0!|NAME[?]|#+))$"
    ),
}
_IN_KEYS = {
    WarningCode.LOOKS_LIKE_FLOAT: r"^-?[0-9]+\.0$",
    WarningCode.PERCENTAGE: r"^-?[0-9.,]+ ?%$",
    WarningCode.LOOK_ALIKE: rf"^[ -~{_LOOK_ALIKES}]*[{_LOOK_ALIKES}][ -~{_LOOK_ALIKES}]*$",
}
_MONTHS = (
    "jan|feb|mar|apr|may|jun[ei]?|jul[iy]?|aug|sept?|oct|nov|dec|jän|mär|märz|mrz|mai|okt|dez|janv|févr|mars|avr|juin"
    "|juil|août|déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|fev|out|mrt|mei"
)
_DAY = rf"(?i)^([0-9]{{1,2}}\.?[- /]?({_MONTHS})\.?|({_MONTHS})\.?[- /]?[0-9]{{1,2}}|[0-9]{{1,2}}\.[0-9]{{1,2}}\.)$"
"""What a spreadsheet shows of a text such as 12-5 or SEPT2, of which it has made a date: a day without its year."""
_DATE = (
    rf"(?i)^[0-9]{{1,2}}\.?[- /]({_MONTHS})\.?[- /]([0-9]{{2}}|[0-9]{{4}})$|^[0-9]{{1,2}}:[0-9]{{2}}(:[0-9]{{2}})?$"
    r"|^[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}$|^[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}([T ]00:00(:00)?)?$"
)
"""What it stores or shows of a date or a time."""
_IN_OTHERS = {WarningCode.LOOKS_LIKE_FLOAT: r"^-?[0-9]{4,}\.0$"}
_NOT_SEEN = {
    WarningCode.EDGE_SPACE: EDGE_SPACE,
    WarningCode.INVISIBLE: INVISIBLE,
    WarningCode.WRONG_ENCODING: f"{WRONG_ENCODING}|{_MISREAD}",
}
_EXPONENT = r"^\s*[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\s*$"

_HAVE = {
    WarningCode.LOOKS_LIKE_FLOAT: ".0 at the end, as if a program had read them as numbers",
    WarningCode.LOOKS_LIKE_DATE: "the form of a date, as if a spreadsheet had made dates of them",
    WarningCode.DIGITS_LOST: "16 digits or more, of which the last ones are zeros: a spreadsheet keeps 15",
    WarningCode.SCIENTIFIC_NOTATION: "scientific notation, so digits may be lost",
    WarningCode.PERCENTAGE: "a percent sign, as a number format shows it",
    WarningCode.EQUALS_QUOTED: 'the form ="…", =… or \'…, which keeps zeros in a spreadsheet',
    WarningCode.LOOK_ALIKE: "characters that look like others, for example a Cyrillic letter like a Latin one",
    WarningCode.IN_QUOTES: "quotation marks around them",
    WarningCode.ESCAPED_FORMULA: "an apostrophe before = + - or @, as exports write it; --unescape removes it",
    WarningCode.WORD_FOR_NOTHING: "a word for nothing, such as NULL; it is kept as text",
    WarningCode.EDGE_SPACE: "white space at an edge; it is kept",
    WarningCode.INVISIBLE: "invisible characters or no-break spaces; they are kept",
    WarningCode.WRONG_ENCODING: "characters that a wrong encoding leaves, such as U+0092, U+FFFD or Ã©",
    WarningCode.LEADING_ZEROS: "the digits of a stored one without the zeros at its beginning",
}

_OF_FLOATS = "the type of floating-point numbers in the file, so zeros and digits may be lost"
_BEYOND_FLOATS = "more digits than a floating-point number keeps, so the last ones are lost"
_FLOAT_DIGITS = 17
"""The most significant digits with which a program writes a floating-point number."""

_MARKS = (b".0", b"E", b"e")
"""What a number has that looks like a mistake."""
_EDGE, _DIGIT = 1, 2
_FIRST, _LAST = np.zeros((2, 256), np.uint8)
"""What the first and the last byte of a text can mean: a suspect edge, or a number if both are digits."""
_FIRST[[*range(0x21), *b"\"'=#\\Nn(<u"]] = _EDGE
_LAST[[*range(0x21), *b"%"]] = _EDGE
_FIRST[[*b"-0123456789"]] = _LAST[[*b"0123456789"]] = _DIGIT
_DIGITS = _LAST == _DIGIT
_BETWEEN = np.isin(np.arange(256), [*b"-/.: "])
"""What stands between the parts of a date or a time."""
_LONG = 16
"""How many digits a spreadsheet cannot keep in a number."""


@dataclass
class _Found:
    """The records that a warning concerns, and the first different values."""

    records: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, values: pa.Array) -> None:
        self.records += len(values)
        if len(self.examples) < _EXAMPLES and len(values):
            new = (value for value in pc.unique(values).to_pylist() if value not in self.examples)
            self.examples += [*new][: _EXAMPLES - len(self.examples)]


class Plausibility:
    """Counts the values of a file that look like mistakes, a chunk at a time.

    checked: the fields with a rule that rejects what is not seen.
    floats: the fields of text that are floating-point numbers in the file.
    """

    def __init__(
        self, record_type: RecordType, fields: Collection[str], checked: Collection[str], floats: Collection[str] = ()
    ) -> None:
        self._found: dict[tuple[str, WarningCode], _Found] = {}
        self._key = record_type.key[0]
        self._keys = dict.fromkeys(record_type.key, 0)
        self._days, self._long = Counter[str](), Counter[str]()
        self.floats = floats
        types = {name: record_type.field(name).type for name in fields}
        self._inexact = [name for name, type_ in types.items() if type_ == "float"]
        self._exact = [name for name, type_ in types.items() if type_ == "integer" or type_.startswith("decimal")]
        self._tests = {
            name: _IN_ALL
            | (_IN_KEYS if name in record_type.key else _IN_OTHERS)
            | ({} if name in record_type.key or name in checked else _NOT_SEEN)
            for name, type_ in types.items()
            if type_ == "text"
        }

    def add(self, texts: pa.Table, typed: pa.Table) -> None:
        """Count the values of a chunk. `typed` has the values that were read from the texts."""
        for name, tests in self._tests.items():
            values = typed[name].combine_chunks()
            if name in self._keys:
                self._keys[name] += len(values) - values.null_count
                dates = _like_dates(values)
                days = pc.match_substring_regex(dates, _DAY)
                self._days[name] += pc.sum(days).as_py() or 0
                found = dates.filter(pc.or_(days, pc.match_substring_regex(dates, _DATE)))
                self._count(name, WarningCode.LOOKS_LIKE_DATE, found)
            numbers = _long_numbers(values)
            self._long[name] += len(numbers)
            rounded = pc.match_substring_regex(numbers, "^[1-9][0-9]{0,15}0+$")
            self._count(name, WarningCode.DIGITS_LOST, numbers.filter(rounded))
            suspects = _suspects(values)
            suspects = suspects.filter(pc.match_substring_regex(suspects, "|".join(tests.values())))
            if len(suspects):
                for code, pattern in tests.items():
                    seen = without_joiners(suspects) if code is WarningCode.INVISIBLE else suspects
                    self._count(name, code, suspects.filter(pc.match_substring_regex(seen, pattern)))
        for name in self.floats:
            self._count(name, WarningCode.LOOKS_LIKE_FLOAT, typed[name].combine_chunks().drop_null())
        for name in self._inexact:
            self._count(name, WarningCode.DIGITS_LOST, _rounded(texts[name].combine_chunks(), typed[name]))
        for name in self._exact:
            column = texts[name].combine_chunks()
            if _has_exponent(column):
                found = pc.fill_null(pc.match_substring_regex(column, _EXPONENT), False)
                self._count(name, WarningCode.SCIENTIFIC_NOTATION, column.filter(found))

    def add_examples(self, name: str, code: WarningCode, records: int, values: list[str]) -> None:
        """Add a warning that was found by other means: so many records, and some of their values."""
        if records:
            self._found[name, code] = _Found(records, values[:_EXAMPLES])

    def records(self, name: str, code: WarningCode) -> int:
        """Returns how many records of the file a warning of this field concerns."""
        return self._found.get((name, code), _Found()).records

    def warnings(self, stored: int = 0) -> Iterator[BatchWarning]:
        """Yields a warning for each field and code.

        stored: how many keys that look like floating-point numbers match a stored key, without `.0` at their end.
        """
        for (name, code), found in self._found.items():
            if code is WarningCode.LOOKS_LIKE_DATE and found.records == self._keys.get(name) and not self._days[name]:
                continue
            if code is WarningCode.DIGITS_LOST and found.records < self._long[name]:
                continue
            has = "value has" if found.records == 1 else "values have"
            is_float = code is WarningCode.LOOKS_LIKE_FLOAT and name in self.floats
            is_rounded = code is WarningCode.DIGITS_LOST and name in self._inexact
            what, more = _OF_FLOATS if is_float else _BEYOND_FLOATS if is_rounded else _HAVE[code], ""
            if (name, code) == (self._key, WarningCode.LOOKS_LIKE_FLOAT) and stored:
                more = f"; {'' if is_float else 'without it, '}{stored:,} of them match a stored key"
            sentence = f"`{name}`: {found.records:,} {has} {what}{more}."
            show = code_points if code is WarningCode.LOOK_ALIKE else shown
            examples = tuple(show(it if len(it) <= _LONGEST else f"{it[:_LONGEST]}…") for it in found.examples)
            yield BatchWarning(code, name, found.records, sentence, examples)

    def _count(self, name: str, code: WarningCode, values: pa.Array) -> None:
        if len(values):
            self._found.setdefault((name, code), _Found()).add(values)


def _has_exponent(texts: pa.Array) -> bool:
    """Returns whether one of the texts may have an exponent."""
    buffer = texts.buffers()[2]
    content = b"" if buffer is None else memoryview(buffer).tobytes()
    return b"e" in content or b"E" in content


def _bytes_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bytes of texts, and where each begins and the last one ends."""
    _, offsets, buffer = texts.buffers()
    if buffer is None or not len(texts):
        return np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int32)
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(buffer, np.uint8), ends


def _like_dates(texts: pa.Array) -> pa.Array:
    """Returns the texts that may be dates: by their length, and by the bytes at their ends."""
    data, ends = _bytes_of(texts)
    lengths = np.diff(ends)
    if not lengths.any():
        return texts[:0]
    first, last = (_DIGITS.take(data.take(at, mode="clip")) for at in (ends[:-1], ends[1:] - 1))
    is_divided = np.zeros(len(lengths), np.bool_)
    for at in (1, 2, 3, 4):
        is_divided |= _BETWEEN.take(data.take(ends[:-1] + at, mode="clip"))
    third = data.take(ends[:-1] + 2, mode="clip")
    is_word = ~(_DIGITS.take(third) | _BETWEEN.take(third))
    may_be = (first & ~last) | (~first & last & is_word) | (first & last & is_divided)
    may_be &= (lengths >= 4) & (lengths <= 19)
    return texts.filter(pa.array(may_be))


def _long_numbers(texts: pa.Array) -> pa.Array:
    """Returns the texts that are whole numbers of so many digits that a spreadsheet cannot keep them."""
    data, ends = _bytes_of(texts)
    is_long = np.diff(ends) >= _LONG
    if not is_long.any():
        return texts[:0]
    is_long &= _DIGITS.take(data.take(ends[:-1], mode="clip")) & _DIGITS.take(data.take(ends[1:] - 1, mode="clip"))
    long = texts.filter(pa.array(is_long))
    return long.filter(pc.match_substring_regex(long, "^[1-9][0-9]+$"))


def _rounded(texts: pa.Array, stored: pa.ChunkedArray) -> pa.Array:
    """Returns the texts of which a floating-point number does not keep all digits.

    Programs write 0.1 as 0.10000000000000001, too. So only whole numbers, and texts with more digits than that, count.
    """
    is_long = pc.greater_equal(pc.binary_length(texts), _LONG)
    if not pc.any(is_long).as_py():
        return texts[:0]
    long = texts.filter(pc.and_(is_long, stored.combine_chunks().is_valid()))
    long = long.filter(pc.match_substring_regex(long, r"^\s*[-+]?[0-9]+([.,][0-9]+)?\s*$"))
    return long.filter(pa.array([_is_rounded(text) for text in long.to_pylist()], pa.bool_()))


def _is_rounded(text: str) -> bool:
    number = Decimal(text.strip().replace(",", "."))
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    is_whole = number == number.to_integral_value()
    return (is_whole or len(digits) > _FLOAT_DIGITS) and Decimal(repr(float(number))) != number


def _suspects(texts: pa.Array) -> pa.Array:
    """Returns the texts that may look like mistakes: by first and last byte, and by bytes that are not plain."""
    data, ends = _bytes_of(texts)
    used = data[ends[0] : ends[-1]]
    if not len(used):
        return texts[:0]
    # An empty text is judged by its neighbour's bytes: no pattern finds it.
    first = _FIRST.take(data.take(ends[:-1], mode="clip"))
    last = _LAST.take(data.take(ends[1:] - 1, mode="clip"))
    suspect = (first | last) & _EDGE
    numbers = first & last & _DIGIT
    content = used.tobytes() if numbers.any() else b""
    if any(mark in content for mark in _MARKS):
        suspect |= numbers
    which = pa.array(suspect.astype(bool))
    if used.max() > 0x7E or used.min() < 0x20:
        which = pc.or_(which, pc.invert(pc.ascii_is_printable(texts)))
    return texts.filter(which)
