"""`Repair`: a way to correct many rejected values at once, such as to remove spaces or to write dates otherwise.

A repair is a proposal. Nothing is changed until a person accepts it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import pyarrow as pa

from schemas.dates import as_iso
from schemas.decimals import fits_sign
from schemas.model import RecordModel
from schemas.reading import COMMA, POINT, DateOrder, ReadOptions
from schemas.record_type import Field
from schemas.spellings import with_point
from schemas.validation import are_values
from schemas.values import ValueMap, folded

_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""The categories of characters that nobody sees."""


class RepairKind(StrEnum):
    """What is done with a value. The first kind that gives a value is proposed."""

    SPACES = "spaces"
    CASE = "case"
    MAPPING = "mapping"
    DATE = "date"
    NUMBER = "number"


@dataclass(frozen=True)
class Repair:
    """One kind of correction of one field: the text that replaces each wrong one, and how many records have those.

    texts: the wrong text to the right one, the most frequent first.
    """

    field: str
    kind: RepairKind
    texts: Mapping[str, str]
    records: int


def repairs(
    model: type[RecordModel], name: str, wrong: Mapping[str, int], options: ReadOptions, values: ValueMap
) -> list[Repair]:
    """Returns how the wrong texts of a field can be corrected. A text that nothing mends has no part in it.

    wrong: each text, and how many records have it. options: how the texts are read.
    values: what texts are proposed to stand for, by field.
    """
    field, decimal = model.record_type().field(name), options.decimal or POINT
    tried = [it for text in wrong for it in _candidates(field, text, decimal, values.get(name, {})) if it.right != text]
    are_right = are_values(model, name, [it.right for it in tried], options) if tried else []
    valid = [it for it, is_right in zip(tried, are_right, strict=True) if is_right]
    mended = Counter(it.style for it in valid)
    found: dict[RepairKind, dict[str, str]] = {}
    for text, of_text in groupby(valid, lambda it: it.text):
        first, *others = of_text
        rivals = sorted((it for it in (first, *others) if it.kind is first.kind), key=lambda it: -mended[it.style])
        best, *rest = rivals if first.style else [first]
        # 05/06 is a day of May or June. The style that mends more of the column is meant, if one does.
        if all(it.right == best.right or mended[it.style] < mended[best.style] for it in rest):
            found.setdefault(best.kind, {})[text] = best.right
    return [
        Repair(name, kind, dict(sorted(texts.items(), key=lambda it: -wrong[it[0]])), sum(wrong[it] for it in texts))
        for kind, texts in found.items()
    ]


@dataclass(frozen=True)
class _Candidate:
    """A text that can be meant by a wrong one. style: how dates or numbers are written then; "" for other kinds."""

    text: str
    kind: RepairKind
    right: str
    style: str = ""


def _candidates(field: Field, text: str, decimal: str, values: Mapping[str, str]) -> Iterator[_Candidate]:
    """Yields what can be meant by a wrong text, the nearest first."""
    plain = _without_unseen(text)
    yield _Candidate(text, RepairKind.SPACES, plain)
    if field.type == "text":
        yield _Candidate(text, RepairKind.SPACES, plain.replace(" ", ""))
    for other in (*_of_choices(field, plain), plain.lower(), plain.upper()):
        yield _Candidate(text, RepairKind.CASE, other)
    meant = {folded(known): value for known, value in values.items()}.get(folded(text))
    if meant:
        yield _Candidate(text, RepairKind.MAPPING, meant)
    one = pa.array([plain])
    if field.type in ("date", "timestamp"):
        for order in DateOrder:
            yield _Candidate(text, RepairKind.DATE, as_iso(one, order)[0].as_py(), order.value)
    if field.is_number:
        for sign in (COMMA, POINT):
            if fits_sign(one, sign)[0].as_py():
                number = with_point(one, sign)[0].as_py().replace(POINT, decimal)
                yield _Candidate(text, RepairKind.NUMBER, number, sign)


def _of_choices(field: Field, text: str) -> Sequence[str]:
    return [it for it in field.choices if it.casefold() == text.casefold()]


def _without_unseen(text: str) -> str:
    """Returns the text without characters that nobody sees, and with single spaces between its words."""
    seen = "".join(" " if it.isspace() else "" if unicodedata.category(it) in _UNSEEN else it for it in text)
    return " ".join(seen.split())
