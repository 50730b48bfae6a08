"""Maps the headers of a file to the fields of a record type.

The mapping has stages: given, remembered, name, alias, likeness. Names and aliases are compared exactly, then
normalised: without case, accents and punctuation. Each stage takes its fields before the
next one begins. So a header with the exact name of a field always gets it, even if another header is similar.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from itertools import count

from rapidfuzz import fuzz

from schemas.columns import Column, Reason
from schemas.errors import InvalidRequest
from schemas.exports import CHANGE_COLUMN
from schemas.record_type import RecordType

_Stage = tuple[Reason, Callable[[str], str | None]]

REJECTS_COLUMNS = ("_batch", "_record", "_line", "_problems")
"""The columns that a rejects file adds to those of the rejected file, in order. They are never fields."""

_LIKE, _AHEAD, _WORD_LIKE = 88, 6, 75
"""For a mapping by likeness: the least score, the least lead over the second field, the least score of each word."""
_PROPOSED, _HOLDS = 75, 60
"""The least score of a header that is proposed for a field, and that of one that has all words of a field's name."""
_SHORT = 4
"""A header with fewer letters and digits is similar to too many fields."""
_LONG = 60
"""The most characters of a header that a message shows."""
_BETWEEN_FIELDS = re.compile(r"[;,|\t]| {2,}")
_HEADERS_SHOWN, _CANDIDATES_SHOWN = 20, 3


@dataclass(frozen=True)
class Mapping:
    """All columns of a file, and the fields that get no values from them."""

    columns: tuple[Column, ...]
    missing: tuple[str, ...]

    @property
    def fields(self) -> dict[str, int]:
        """Returns the position of the column of each mapped field."""
        return {column.field: column.position for column in self.columns if column.field is not None}

    def to_remember(self, given: MappingOf[str, str]) -> dict[str, str]:
        """Returns header to field as the user gave it, for this file or an earlier one."""
        return {
            column.header: column.field or ""
            for column in self.columns
            if column.header in given or column.reason == "remembered"
        }


def distinct_names(headers: Sequence[str]) -> tuple[str, ...]:
    """Returns a name for each column: its header, `Tag (2)` for a second column Tag, `column 4` without a header.

    A name that a column has as its header is given to no other.
    """
    own = {*headers}
    names: dict[str, int] = {}
    numbers: dict[str, Iterator[int]] = {}
    for position, header in enumerate(headers, 1):
        name = header or f"column {position}"
        if name in names or (not header and name in own):
            further = numbers.setdefault(name, count(2))
            name = next(each for number in further if (each := f"{name} ({number})") not in own and each not in names)
        names[name] = position
    return tuple(names)


def naming(headers: Sequence[str], columns: Iterable[Column]) -> Iterator[tuple[str, str]]:
    """Yields what to know about columns without a name or with an equal one, as label and value."""
    pairs = list(zip(headers, columns, strict=False))
    nameless = [it.header for header, it in pairs if not header and it.samples and it.field is None]
    if nameless:
        yield "Columns without a name, left out", _listed(nameless)
    counts = Counter(filter(None, headers))
    equal = [it.header for header, it in pairs if counts[header] > 1]
    if equal:
        yield "Columns of the same name, numbered", _listed(equal)


def header_row(headers: Sequence[str]) -> str:
    """Returns a digest that is the same for the same header row, and for that of its rejects file."""
    theirs = [header for header in headers if header not in REJECTS_COLUMNS]
    return hashlib.sha256(json.dumps(theirs).encode()).hexdigest()


def map_headers(
    headers: Sequence[str],
    record_type: RecordType,
    given: MappingOf[str, str] | None = None,
    remembered: MappingOf[str, str] | None = None,
    *,
    needs_key: bool = True,
) -> Mapping:
    """Returns the mapping of a header row: the field of every column, if it has one, and the reason.

    headers: as the file has them; equal ones get numbers, see `distinct_names`.
    given: header to field, as the user gives it. An empty field means that the column is ignored.
    remembered: the same from an earlier file with the same header row. Unknown fields are skipped.
    needs_key: whether each field of the key must have a column.

    The next stages compare names, then aliases, each without case, accents and punctuation too. The last stage
    takes a field that is clearly the most similar one. It maps no column if two columns are similar to one field.

    Raises InvalidRequest if a given header or field does not exist, or if a key field gets no column. Raises it too if
    two columns claim one field in the same stage, except for "remembered" and "likeness".
    """
    given = given or {}
    names = distinct_names(headers)
    _check_given(given, names, record_type)
    known = {header: field for header, field in (remembered or {}).items() if field in ("", *record_type.field_names)}
    spellings = _spellings(record_type)
    normalised = _unambiguous((_normalised(text), field) for text, field in spellings if _normalised(text))
    own_names = {text: field for text, field in normalised.items() if text == _normalised(field)}
    spelled = {text for text, _ in spellings}
    in_words = [(_words(text), field) for text, field in spellings]
    columns: dict[int, Column] = {}
    feeding: dict[str, str] = {}
    scores: dict[str, int] = {}

    def most_similar(header: str) -> str | None:
        field, scores[header] = _most_alike(_words(header), in_words)
        return field

    stages: tuple[_Stage, ...] = (
        ("given", given.get),
        ("remembered", known.get),
        ("ours", dict.fromkeys([*REJECTS_COLUMNS, CHANGE_COLUMN], "").get),
        ("name", {name: name for name in record_type.field_names}.get),
        ("normalised", lambda header: own_names.get(_normalised(header))),
        ("alias", _unambiguous((alias, field.name) for field in record_type.fields for alias in field.aliases).get),
        ("normalised", lambda header: normalised.get(_normalised(header))),
        ("likeness", most_similar),
    )
    for reason, field_of in stages:
        claims: dict[str, list[int]] = {}
        for position, (name, header) in enumerate(zip(names, headers, strict=True)):
            text = name if name in spelled or reason in ("given", "remembered") else header
            field = None if position in columns else field_of(text)
            if field == "":
                columns[position] = Column(position, name, None, "ignored" if reason == "given" else reason)
            elif field is not None and field not in feeding:
                claims.setdefault(field, []).append(position)
        for field, positions in claims.items():
            first, *others = positions
            if not others:
                feeding[field] = names[first]
                score = scores[headers[first]] if reason == "likeness" else None
                columns[first] = Column(first, names[first], field, reason, score)
            elif reason not in ("remembered", "likeness"):
                raise InvalidRequest(
                    f"The columns {_quoted([names[first]])} and {_quoted([names[others[0]]])} both stand for {field}.",
                    f"Say which one is meant: {_option(names[others[0]], '')} leaves that one out.",
                )
    result = tuple(columns.get(i, Column(i, name, None, "ignored")) for i, name in enumerate(names))
    missing = tuple(name for name in record_type.field_names if name not in feeding)
    missing_key = [name for name in record_type.key if name in missing]
    if missing_key and needs_key:
        unused = [column.header for column in result if column.field is None and column.reason != "ours"]
        raise _no_key(missing_key, names, unused, record_type)
    unsaid = [column.header for column in result if column.reason == "ignored" and column.header not in given]
    like = {header: name for name in reversed(missing) for header in _candidates(name, unsaid, in_words)}
    return Mapping(tuple(replace(it, like=like.get(it.header)) for it in result), missing)


def _no_key(
    missing: Sequence[str], headers: Sequence[str], unused: Sequence[str], record_type: RecordType
) -> InvalidRequest:
    in_words = [(_words(text), field) for text, field in _spellings(record_type)]
    if len(headers) == 1 and _is_whole_row(headers[0], in_words):
        return InvalidRequest(
            f"No column stands for {', '.join(missing)}, which identifies {record_type.name}. The file has one column.",
            "Its name looks like a whole header row. Say what is between the fields (--delimiter), or save it as CSV.",
            f"The column is {_quoted(headers)}.",
        )
    nearest = {name: _candidates(name, unused, in_words) for name in missing}
    options = "; and ".join(", or ".join(_option(it, name) for it in found) for name, found in nearest.items() if found)
    unlike = ", ".join(name for name, found in nearest.items() if not found)
    return InvalidRequest(
        f"No column stands for {', '.join(missing)}, which identifies {record_type.name}.",
        f"Say which column it is: {' '.join(_option('HEADER', name) for name in missing)}.",
        f"The file has {_quoted(headers)}"
        + (f"; the nearest: {options}" if options else "")
        + (f"; none is like {unlike}" if unlike else "")
        + ".",
    )


def _is_whole_row(header: str, in_words: Sequence[tuple[list[str], str]]) -> bool:
    """Returns whether a header has the names of several fields, with delimiters or several spaces between them."""
    words = _words(header)
    fields = {field for name, field in in_words if name and set(name).issubset(words)}
    return len(fields) > 1 and _BETWEEN_FIELDS.search(header) is not None


def _check_given(given: MappingOf[str, str], headers: Sequence[str], record_type: RecordType) -> None:
    for header, name in given.items():
        if header not in headers:
            raise InvalidRequest(f"The file has no column {_quoted([header])}.", quoted=f"It has {_quoted(headers)}.")
        if name and name not in record_type.field_names:
            raise InvalidRequest(
                f"{record_type.name} has no field {_quoted([name])}.",
                f"Its fields: {', '.join(record_type.field_names)}.",
            )


def _spellings(record_type: RecordType) -> list[tuple[str, str]]:
    """Returns every name and alias, with its field."""
    return [(text, field.name) for field in record_type.fields for text in (field.name, *field.aliases)]


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the field of each text, without texts of two fields."""
    fields: dict[str, set[str]] = {}
    for text, field in pairs:
        fields.setdefault(text, set()).add(field)
    return {text: next(iter(names)) for text, names in fields.items() if len(names) == 1}


def _words(text: str) -> list[str]:
    """Returns the words of a text in alphabetical order, without case and accents: "Prénom-2" gives 2, prenom."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return sorted("".join(c if c.isalnum() else "" if unicodedata.combining(c) else " " for c in plain).split())


def _normalised(text: str) -> str:
    """Returns the letters and digits of a text, without case and accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(filter(str.isalnum, plain))


def _most_alike(header: list[str], spellings: Sequence[tuple[list[str], str]]) -> tuple[str | None, int]:
    """Returns the field that is clearly most similar to a header, even if it has a column already, and the score."""
    scores = {field: 0.0 for _, field in spellings}
    if sum(map(len, header)) >= _SHORT:
        for words, field in spellings:
            scores[field] = max(scores[field], _likeness(header, words))
    (best, field), *others = sorted(((score, field) for field, score in scores.items()), reverse=True)
    second = others[0][0] if others else 0.0
    return (field if best >= _LIKE and best - second >= _AHEAD else None), int(best)


def _likeness(words: list[str], others: list[str], least: int = _LIKE - _AHEAD) -> float:
    """Returns how similar two lists of words are, from 0 to 100; 0 if they are similar and mean different things.

    It is 0 too if it would be less than `least`.

    The meaning is different if a word has another first letter ("inactive since", "active since") or another number
    ("line 1", "line 2"). It is also different if one word is another one ("minimum temperature", "maximum
    temperature"), or if one list has more words.
    """
    score = fuzz.ratio("".join(words), "".join(others), score_cutoff=least)
    if not score or (len(words) != len(others) and min(len(words), len(others)) > 1):
        return 0.0
    if len(words) != len(others):
        words, others = ["".join(words)], ["".join(others)]
    for word, other in zip(words, others, strict=True):
        if word[0] != other[0] or _digits(word) != _digits(other) or fuzz.ratio(word, other) < _WORD_LIKE:
            return 0.0
    return score


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _candidates(field: str, headers: Sequence[str], spellings: Sequence[tuple[list[str], str]]) -> list[str]:
    """Returns the headers that are most similar to a field, or that have all words of one of its names."""
    names = [words for words, name in spellings if name == field and words]
    ranked = []
    for header in filter(_can_be_typed, headers):
        words = _words(header)
        score = max((_proposal(words, name) for name in names if words), default=0.0)
        if score:
            ranked.append((-score, header))
    return [header for _, header in sorted(ranked)[:_CANDIDATES_SHOWN]]


def _proposal(header: list[str], name: list[str]) -> float:
    """Returns how well a header fits a name of a field, from 0 to 100: the more words it has besides, the less."""
    if set(name).issubset(header):
        return _HOLDS + (100 - _HOLDS) * len("".join(name)) / len("".join(header))
    return _likeness(header, name, _PROPOSED)


def _option(header: str, field: str) -> str:
    """Returns the option that maps a header, quoted for a shell."""
    shown = header if _can_be_typed(header) else "HEADER"
    quoted = shown.replace("'", "'\"'\"'")
    return f"--map '{quoted}={field}'"


def _can_be_typed(header: str) -> bool:
    return header.isprintable() and len(header) <= _LONG


def _listed(headers: Sequence[str]) -> str:
    """Returns the first headers. Long ones are cut."""
    shown = ", ".join(header if len(header) <= _LONG else f"{header[:_LONG]}…" for header in headers[:_HEADERS_SHOWN])
    more = len(headers) - _HEADERS_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _quoted(headers: Sequence[str]) -> str:
    """Returns the first headers in quotation marks. Long ones are cut."""
    shown = [repr(header if len(header) <= _LONG else f"{header[:_LONG]}…") for header in headers[:_HEADERS_SHOWN]]
    more = len(headers) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
