"""Names of accounts that are alike: one of them may be the other with a typing mistake."""

from collections.abc import Iterable

from rapidfuzz.distance import OSA

_SHORT, _LONG = 4, 8
"""A shorter name is like no other. A name of this length may have two mistakes, and others one."""


def most_alike(name: str, others: Iterable[str]) -> str | None:
    """Returns the name that differs by one or two typing mistakes; None if there is none.

    A mistake is a missing, superfluous, wrong or exchanged character. Names with different digits, such as `shop-1` and
    `shop-2`, are not alike: they are meant to differ.
    """
    if len(name) < _SHORT:
        return None
    mistakes = 2 if len(name) >= _LONG else 1
    near = [it for it in others if len(it) >= _SHORT and _digits(it) == _digits(name)]
    distances = {it: OSA.distance(name, it, score_cutoff=mistakes) for it in near}
    return min((it for it in near if distances[it] <= mistakes), key=lambda it: (distances[it], it), default=None)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
