"""Numbers as Excel stores them, as decimal text."""

import re
from decimal import Context, Decimal, DecimalException

import pyarrow as pa
import pyarrow.compute as pc

_EXACT = Context(prec=40_000)
PLAIN = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?"
is_plain = re.compile(rf"(?!-0$){PLAIN}", re.ASCII).fullmatch
_WITH_POINT = r"^[^.@]{0,20}[0-9]\.[0-9][^.@]{0,20}$"
has_point = re.compile(_WITH_POINT).search
"""Whether a text can be a number with a point, perhaps with signs around it."""
is_numeric = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?\s*").fullmatch


def number_text(text: str, computed: bool = False) -> str | None:
    """Returns a stored number as decimal text, as the package describes; None if it is not a number.

    computed: it is the result of a formula.
    """
    if len(text) < 21 and not computed and "." in text and is_plain(text):
        if len(text.lstrip("-0.").replace(".", "")) > 17:
            return text
        shorter = repr(float(text))
        return shorter if len(shorter) < len(text) and "e" not in shorter else text
    if len(text) > 1000 or not is_numeric(text):
        return None
    try:
        value = Decimal(text.strip())
    except DecimalException:
        return None
    if not value:
        return "0"
    digits = len("".join(map(str, value.as_tuple().digits)).strip("0"))
    adjusted = value.adjusted()
    if digits > 15 and digits > adjusted + 1 and (computed or digits <= 17):
        shorter_value = Decimal(f"{float(value):.15g}" if computed else repr(float(value)))
        if shorter_value.is_finite() and shorter_value and len(shorter_value.as_tuple().digits) < digits:
            value = shorter_value
    if not -30 <= adjusted <= 30:
        return f"{value.normalize(_EXACT):E}"
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def number_texts(stored: pa.Array, computed: bool) -> pa.Array:
    """Returns stored numbers as `number_text` does, all at once; null for what is not a number."""
    length = pc.binary_length(stored)
    plain = pc.and_(pc.match_substring_regex(stored, f"^{PLAIN}$"), pc.not_equal(stored, "-0"))
    other = pc.invert(pc.and_(plain, pc.less_equal(length, 16)))
    if not pc.any(other).as_py():
        return stored
    long = pc.and_(pc.and_(plain, other), pc.and_(pc.match_substring(stored, "."), pc.less(length, 19)))
    if not computed and pc.any(long).as_py():  # digits of a double: at most 17
        chosen = stored.filter(long)
        shorter = pa.array(map(repr, chosen.cast(pa.float64()).to_pylist()), pa.string())
        is_shorter = pc.less(pc.binary_length(shorter), pc.binary_length(chosen))
        better = pc.and_not(is_shorter, pc.match_substring(shorter, "e"))
        stored = pc.replace_with_mask(stored, long, pc.if_else(better, shorter, chosen))
        other = pc.and_not(other, long)
    rest = [number_text(each, computed) for each in stored.filter(other).to_pylist()]
    return pc.replace_with_mask(stored, other, pa.array(rest, pa.string()))


def with_points(texts: pa.Array) -> pa.Array:
    """Returns which texts can be numbers with a point, as `has_point` does."""
    if not pc.any(pc.match_substring(texts, ".")).as_py():
        return pa.repeat(False, len(texts))
    return pc.match_substring_regex(texts, _WITH_POINT)
