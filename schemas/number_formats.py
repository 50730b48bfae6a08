"""Texts of numbers as a spreadsheet shows them, by their number format.

The text is exact for the formats that ids, phone numbers, amounts and shares have. These are digits (00000, 000-00),
texts around them ("+"0), thousands, decimals and millions (#,##0.00), percentages and exponents (0.00E+00). For others,
such as fractions, conditions and the fill of a cell's width, no text is known. The signs are those of the code: a
decimal point, and a comma between thousands. A spreadsheet in another language may show others.

Source: ECMA-376 part 1, 18.8.31.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

_CONTEXT = Context(prec=1_000, rounding=ROUND_HALF_UP)
_PLAIN = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?", re.ASCII).fullmatch
_LONGEST = 255
"""The characters of a code that Excel allows."""

_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | (?P<space>_.) | \[\$(?P<currency>[^\]\-]*)(-[0-9a-f]{1,4})?\]
    | (?P<color>\[(black|blue|cyan|green|magenta|red|white|yellow|color\ ?[0-9]{1,2})\])
    | (?P<digits>[0#?.,]|E[+-]) | (?P<end>;) | (?P<plain>[-+$():!^&'~{}<>=\ %]|[^\x00-\x7f])
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_GROUPED = re.compile("(?:#[#,]*)?(?:0[0,]*)?")
_BODY = re.compile(r"(?P<whole>[0#?,]*?)(?P<scale>,*)(?:\.(?P<decimals>[0#?]*)(?P<more>,*))?(?P<exponent>E[+-]0+)?")


@dataclass(frozen=True)
class _Section:
    """How a section of a format shows a number without its sign.

    before, after: the texts around the digits. whole: the places of digits before the point, and texts between them.
    decimals: the places after the point; None without a point. exponent: its sign and zeros, or "".
    grouped: whether there is a comma between thousands. shift: by how many digits the point is moved to the right.
    """

    before: str
    whole: tuple[str, ...]
    decimals: str | None
    exponent: str
    after: str
    grouped: bool
    shift: int

    def text(self, number: Decimal) -> str | None:
        """Returns the text of a number that is not negative; None if it is not known."""
        if self.exponent:
            digits = self._with_exponent(number)
        else:
            rounded = number.scaleb(self.shift, _CONTEXT).quantize(
                Decimal(1).scaleb(-len(self.decimals or "")), context=_CONTEXT
            )
            whole, _, fraction = f"{rounded:f}".partition(".")
            point = "" if self.decimals is None else "." + _fraction(fraction, self.decimals)
            digits = self._whole("" if whole == "0" else whole) + point
        return None if digits is None else f"{self.before}{digits}{self.after}"

    @property
    def zeros(self) -> int:
        """Returns how many digits a whole number has at least; 0 if this format shows more than its digits."""
        is_plain = self.decimals is None and not (self.exponent or self.grouped or self.shift)
        return len(self.whole) if is_plain and set(self.whole) == {"0"} else 0

    def _whole(self, digits: str) -> str:
        """Returns the digits before the point in their places. The first place has all digits that are left over."""
        if self.grouped:
            digits = digits.zfill(self.whole.count("0"))
            return f"{digits[: len(digits) % 3]}{''.join(_groups(digits))}".removeprefix(",")
        texts = list(self.whole)
        places = [at for at, part in enumerate(texts) if part in _EMPTY]
        for at in reversed(places):
            take = len(digits) if at == places[0] else 1
            texts[at] = digits[len(digits) - take :] if digits else _EMPTY[texts[at]]
            digits = digits[: len(digits) - take]
        return "".join(texts)

    def _with_exponent(self, number: Decimal) -> str | None:
        if len(self.whole) != 1 or self.grouped or self.shift or {*(self.decimals or "")} - {"0"}:
            return None
        precise = Context(prec=1 + len(self.decimals or ""), rounding=ROUND_HALF_UP).plus(number)
        exponent = precise.adjusted() if precise else 0
        digits = "".join(map(str, precise.as_tuple().digits)).ljust(1 + len(self.decimals or ""), "0")
        point = "" if self.decimals is None else "." + digits[1 : 1 + len(self.decimals)]
        sign = "-" if exponent < 0 else self.exponent[1].replace("-", "")
        return f"{digits[0]}{point}E{sign}{str(abs(exponent)).zfill(len(self.exponent) - 2)}"


_EMPTY = {"0": "0", "#": "", "?": " "}
"""What a place shows that no digit is left for."""


def shown_number(text: str, code: str) -> str | None:
    """Returns what a number format shows of a number; None if that is not known.

    text: the number as a plain decimal, for example -1234.5. code: the code of the format, for example #,##0.00.
    """
    sections = _sections(code)
    if sections is None or not _PLAIN(text):
        return None
    number = Decimal(text)
    of_sign = 0 if number > 0 else 1 if number else 2
    section = sections[of_sign if of_sign < len(sections) else 0]
    shown = None if section is None else section.text(number.copy_abs())
    if number >= 0 or len(sections) > 1:
        return shown
    return f"-{shown}" if shown and re.search("[1-9]", shown) else None  # programs differ in the sign of a rounded zero


def shown_numbers(texts: pa.Array, code: str) -> pa.Array:
    """Returns what a number format shows of each number, as `shown_number` does; null if that is not known."""
    sections = _sections(code)
    if sections is None:
        return pa.nulls(len(texts), pa.string())
    only = sections[0] if len(sections) == 1 else None
    if only and only.zeros and pc.all(pc.match_substring_regex(texts, "^[0-9]{1,400}$")).as_py():
        return pc.binary_join_element_wise(only.before, pc.utf8_lpad(texts, only.zeros, "0"), only.after, "")
    distinct = texts.dictionary_encode()
    shown = [shown_number(text, code) for text in distinct.dictionary.to_pylist()]
    return pa.array(shown, pa.string()).take(distinct.indices)


@lru_cache(200)
def _sections(code: str) -> tuple[_Section | None, ...] | None:
    """Returns the sections of a format for positive numbers, negative ones and zero; None if they are not known.

    A section that is empty, or the fourth, which is for texts, is not known.
    """
    if len(code) > _LONGEST:
        return None
    parts: list[list[tuple[str, str]]] = [[]]
    at = 0
    while at < len(code) and len(parts) < 4:
        token = _TOKEN.match(code, at)
        if token is None:
            return None
        at = token.end()
        if token.lastgroup == "end":
            parts.append([])
        else:
            parts[-1].append(_meaning(token))
    return tuple(map(_section, parts[:3]))


def _meaning(token: re.Match[str]) -> tuple[str, str]:
    """Returns the kind of a token, `digits`, `percent` or `text`, and what it shows."""
    found = token.groupdict()
    if found["digits"]:
        return "digits", found["digits"].upper()
    if found["plain"] == "%":
        return "percent", "%"
    if found["space"]:
        return "text", " "
    return "text", next((found[name] for name in ("quoted", "escaped", "currency", "plain") if found[name]), "")


def _section(tokens: list[tuple[str, str]]) -> _Section | None:
    places = [at for at, (kind, _) in enumerate(tokens) if kind == "digits"]
    if not places:
        return None
    before, body, after = tokens[: places[0]], tokens[places[0] : places[-1] + 1], tokens[places[-1] + 1 :]
    signs = "".join(shown for kind, shown in body if kind == "digits")
    found = _BODY.fullmatch(signs)
    if found is None:
        return None
    whole = found["whole"].replace(",", "")
    grouped = "," in found["whole"]
    has_texts = len(body) > sum(kind == "digits" for kind, _ in body)
    is_only_whole = signs == whole
    if (has_texts and not is_only_whole) or (grouped and not _GROUPED.fullmatch(found["whole"])):
        return None
    percent = sum(kind == "percent" for kind, _ in tokens)
    return _Section(
        before="".join(shown for _, shown in before),
        whole=tuple(shown for _, shown in body) if has_texts else tuple(whole),
        decimals=found["decimals"],
        exponent=found["exponent"] or "",
        after="".join(shown for _, shown in after),
        grouped=grouped,
        shift=2 * percent - 3 * len(found["scale"] + (found["more"] or "")),
    )


def _fraction(digits: str, places: str) -> str:
    """Returns the digits after the point, without the zeros that the places leave out."""
    kept = digits
    for place in reversed(places):
        if place == "0" or not kept.endswith("0"):
            break
        kept = kept[:-1]
    return kept + "".join(" " for place in places[len(kept) :] if place == "?")


def _groups(digits: str) -> Iterator[str]:
    """Yields the groups of three digits, each with the comma before it."""
    for at in range(len(digits) % 3, len(digits), 3):
        yield "," + digits[at : at + 3]
