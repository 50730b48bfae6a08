"""Maps the headers of a file to the fields of a record type.

The mapping has stages: given, remembered, name, alias, normalised, likeness. Each stage takes its fields before the
next one begins. So a header with the exact name of a field always gets it, even if another header is similar.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

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
_SHORT = 4
"""A header with fewer letters and digits is similar to too many fields."""
_LONG = 60
"""The most characters of a header that a message shows."""
_HEADERS_SHOWN, _CANDIDATES_SHOWN, _CANDIDATE = 20, 3, 60


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

    given: header to field, as the user gives it. An empty field means that the column is ignored.
    remembered: the same from an earlier file with the same header row. Unknown fields are skipped.
    needs_key: whether each field of the key must have a column.

    The next stages compare exact names, then aliases, then both without case, accents and punctuation. The last stage
    takes a field that is clearly the most similar one. It maps no column if two columns are similar to one field.

    Raises InvalidRequest if a given header or field does not exist, or if a key field gets no column. Raises it too if
    two columns claim one field in the same stage, except for "remembered" and "likeness".
    """
    given = given or {}
    _check_given(given, headers, record_type)
    known = {header: field for header, field in (remembered or {}).items() if field in ("", *record_type.field_names)}
    spellings = _spellings(record_type)
    normalised = _unambiguous((_normalised(text), field) for text, field in spellings if _normalised(text))
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
        ("alias", _unambiguous((alias, field.name) for field in record_type.fields for alias in field.aliases).get),
        ("normalised", lambda header: normalised.get(_normalised(header))),
        ("likeness", most_similar),
    )
    for reason, field_of in stages:
        claims: dict[str, list[int]] = {}
        for position, header in enumerate(headers):
            field = None if position in columns else field_of(header)
            if field == "":
                columns[position] = Column(position, header, None, "ignored" if reason == "given" else reason)
            elif field is not None and field not in feeding:
                claims.setdefault(field, []).append(position)
        for field, positions in claims.items():
            first, *others = positions
            if not others:
                feeding[field] = headers[first]
                score = scores[headers[first]] if reason == "likeness" else None
                columns[first] = Column(first, headers[first], field, reason, score)
            elif reason not in ("remembered", "likeness"):
                raise InvalidRequest(
                    f"The columns {_quoted([headers[first]])} and {_quoted([headers[others[0]]])} "
                    f"both stand for {field}.",
                    f"Say which one is meant: {_option(headers[others[0]], '')} leaves that one out.",
                )
    result = tuple(columns.get(i, Column(i, header, None, "ignored")) for i, header in enumerate(headers))
    missing_key = [name for name in record_type.key if name not in feeding]
    if missing_key and needs_key:
        unused = [column.header for column in result if column.field is None and column.reason != "ours"]
        raise InvalidRequest(
            f"No column stands for {', '.join(missing_key)}, which identifies {record_type.name}.",
            "Say which column it is: --map 'HEADER=field'.",
            f"The file has {_quoted(headers)}; the nearest: "
            f"{'; and '.join(_candidates(name, unused, record_type) for name in missing_key)}.",
        )
    return Mapping(result, tuple(name for name in record_type.field_names if name not in feeding))


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


def _likeness(words: list[str], others: list[str]) -> float:
    """Returns how similar two lists of words are, from 0 to 100; 0 if they are similar and mean different things.

    The meaning is different if a word has another first letter ("inactive since", "active since") or another number
    ("line 1", "line 2"). It is also different if one word is another one ("minimum temperature", "maximum
    temperature"), or if one list has more words.
    """
    score = fuzz.ratio("".join(words), "".join(others), score_cutoff=_LIKE - _AHEAD)
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


def _candidates(field: str, headers: Sequence[str], record_type: RecordType) -> str:
    """Returns the headers that are most similar to a field, each as the option that maps it."""
    texts = [" ".join(_words(text)) for text, name in _spellings(record_type) if name == field]
    ranked = []
    for header in filter(_can_be_typed, headers):
        score = max(fuzz.WRatio(" ".join(_words(header)), text) for text in texts)
        if score >= _CANDIDATE:
            ranked.append((-score, header))
    nearest = [header for _, header in sorted(ranked)[:_CANDIDATES_SHOWN]]
    return ", or ".join(_option(header, field) for header in nearest or ["HEADER"])


def _option(header: str, field: str) -> str:
    """Returns the option that maps a header, quoted for a shell."""
    shown = header if _can_be_typed(header) else "HEADER"
    quoted = shown.replace("'", "'\"'\"'")
    return f"--map '{quoted}={field}'"


def _can_be_typed(header: str) -> bool:
    return header.isprintable() and len(header) <= _LONG


def _quoted(headers: Sequence[str]) -> str:
    """Returns the first headers in quotation marks. Long ones are cut."""
    shown = [repr(header if len(header) <= _LONG else f"{header[:_LONG]}…") for header in headers[:_HEADERS_SHOWN]]
    more = len(headers) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
