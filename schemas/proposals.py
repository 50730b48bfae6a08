"""Proposes what a text stands for that is no value of a coded field. A person must say that it is right."""

from collections.abc import Iterator

from rapidfuzz import fuzz, process
from rapidfuzz.utils import default_process

from schemas.countries import country_names
from schemas.record_type import Field
from schemas.values import MappedValue

_LIKE, _AHEAD = 75, 6
"""The least score, and the least lead over another value."""
_SHORT = 4
"""A text with fewer letters and digits must be the name of a value."""
_NEGATIONS = (
    *("ex", "former", "formerly", "ehemals", "ehemalig", "ehemalige", "ehemaliger", "früher", "früherer", "alt", "old"),
    *("no", "not", "non", "never", "kein", "keine", "nicht", "nie", "anti", "un", "in", "pas", "sin", "sans"),
)
"""Words and beginnings of words that turn a name into its opposite."""
_BOOLEANS = {
    "true": ("true", "y", "on", "wahr", "oui", "vrai", "si", "sí", "verdadero", "vero"),
    "false": ("false", "n", "off", "falsch", "non", "faux", "falso"),
}


def proposed(field: Field, text: str, records: int) -> MappedValue:
    """Returns the value that the text is clearly most like, or a name of it; no value if there is none."""
    given = default_process(text)
    least = _LIKE if len(given) >= _SHORT else 100
    alike = process.extract(given, _names(field), scorer=fuzz.ratio, score_cutoff=max(least - _AHEAD, 0), limit=None)
    scores: dict[str, int] = {}
    for _, score, (_, value) in alike if given else ():
        scores[value] = max(scores.get(value, 0), int(score))
    ranked = sorted(((score, value) for value, score in scores.items()), reverse=True)
    if not ranked or ranked[0][0] < least or (len(ranked) > 1 and ranked[0][0] - ranked[1][0] < _AHEAD):
        return MappedValue(field.name, text, None, records)
    best, value = ranked[0]
    if _is_opposite(given, next(name for name, _, (_, of) in alike if of == value)):
        return MappedValue(field.name, text, None, records)
    return MappedValue(field.name, text, value, records, best)


def _is_opposite(given: str, name: str) -> bool:
    """Returns whether one of the texts is like the other one after a negation: ex-customer, inactive, not active."""
    longer, shorter = sorted((given, name), key=len, reverse=True)
    score = fuzz.ratio(longer, shorter)
    return any(
        longer.startswith(it) and not shorter.startswith(it) and fuzz.ratio(longer[len(it) :].strip(), shorter) > score
        for it in _NEGATIONS
    )


def _names(field: Field) -> dict[tuple[str, str], str]:
    """Returns the names of the field's values, each in the form in which texts are compared."""
    return {(name, value): default_process(name) for name, value in _known(field)}


def _known(field: Field) -> Iterator[tuple[str, str]]:
    yield from ((choice, choice) for choice in field.choices)
    yield from (*field.labels, *field.value_aliases)
    if field.country:
        yield from country_names().items()
    if field.type == "boolean":
        yield from ((name, value) for value, names in _BOOLEANS.items() for name in names)
