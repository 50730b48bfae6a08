"""Other spellings of a value, each with one meaning, turned into the strict form that is converted.

Only texts that are not in the strict form come here, so ordinary files pay nothing.
"""

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

_PLUS = r"^\+([0-9.])", r"\1"
_POINT_ZERO = r"^(-?[0-9]+)\.0*$", r"\1"
_MIDNIGHT = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]00:00(:00(\.0+)?)?Z?$", r"\1"
_UTC = r" ?([Uu][Tt][Cc]|z)$", "Z"
_SPACE_BEFORE_OFFSET = r" ([Zz]|[+-][0-9:]{2,5})$", r"\1"
_ZEROS_BELOW_MICROSECONDS = r"(\.[0-9]{6})0+", r"\1"
NO_NUMBER = "?"
"""A text that is no number."""
_WORDS = {"t": "true", "ja": "true", "f": "false", "nein": "false"}
_EXPONENT = r"^-?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]{1,2}$"


def with_point(texts: pa.Array, decimal: str) -> pa.Array:
    """Returns numbers with a decimal point and without thousands separators, as they are written with a decimal sign.

    decimal: a comma or a point. The thousands separator is a space, an apostrophe, or the other of the two. It stands
        before every third digit, and no 0 begins such a number. A number with an exponent has none.

    A text of another form becomes one that is no number, because 1.234 is 1234 or 1.234.
    """
    other = "." if decimal == "," else ","
    thousands = "|".join(
        f"[1-9][0-9]{{0,2}}({mark}[0-9]{{3}})+" for mark in (f"[{other}]", "[ \u00a0\u202f]", "['\u2019]")
    )
    exponent = rf"[0-9]+([{decimal}][0-9]*)?[eE][-+]?[0-9]+"
    written_so = pc.match_substring_regex(texts, rf"^[-+]?(({thousands}|[0-9]*)([{decimal}][0-9]*)?|{exponent})$")
    plain = pc.replace_substring_regex(texts, rf"[{other} \x{{a0}}\x{{202f}}'\x{{2019}}]", "")
    return pc.if_else(written_so, pc.replace_substring(plain, decimal, "."), pa.scalar(NO_NUMBER))


def respelled(texts: pa.Array, kind: str) -> pa.Array:
    """Returns texts of a field type in its strict form, where they are another spelling of a value.

    Integers: 5.0. Numbers: +5, and 1e3 for 1000. Booleans: t, f, ja, nein. Dates: with the time 00:00. Timestamps: UTC
    for Z, a space before the offset, zeros below the microsecond. All other texts stay as they are.
    """
    if kind == "boolean":
        lowered = pc.utf8_lower(texts)
        for word, value in _WORDS.items():
            texts = pc.if_else(pc.equal(lowered, word), value, texts)
        return texts
    if kind == "date":
        return _replaced(texts, _MIDNIGHT)
    if kind == "timestamp":
        return _replaced(texts, _SPACE_BEFORE_OFFSET, _UTC, _ZEROS_BELOW_MICROSECONDS)
    texts = _replaced(texts, _PLUS)
    if kind == "float":
        return texts
    texts = _without_exponent(texts)
    return _replaced(texts, _POINT_ZERO) if kind == "integer" else texts


def _replaced(texts: pa.Array, *rules: tuple[str, str]) -> pa.Array:
    for pattern, replacement in rules:
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _without_exponent(texts: pa.Array) -> pa.Array:
    """Returns the texts with exponents written out, which is exact."""
    has_exponent = pc.fill_null(pc.match_substring_regex(texts, _EXPONENT), False)
    if not pc.any(has_exponent).as_py():
        return texts
    written = pa.array([f"{Decimal(text):f}" for text in texts.filter(has_exponent).to_pylist()], pa.string())
    return pc.replace_with_mask(texts, has_exponent, written)
