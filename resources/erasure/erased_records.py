"""Tells which rows of a file are erased records: by the value of their key, or by given values.

Keys are compared exactly, because `abc` and `ABC` are two records. A row without a valid key may be a record of a
similar text. Such rows are named, and never removed.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from resources.record_store.ledger_erasure import Values
from schemas.characters import is_unseen
from schemas.filters import value_text
from schemas.record_type import RecordType

_SHORTEST = 3
"""The fewest characters of a key that is searched for in a file that cannot be read as records."""
_ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")

Row = Sequence[Any]


class ErasedRecords:
    """The records to erase: their keys, the values that select them, and all texts that files have of them.

    keys: in the order of the type's key fields. conditions: field to value.
    """

    def __init__(self, record_type: RecordType, keys: Iterable[Row], conditions: Mapping[str, Any]) -> None:
        self.record_type = record_type
        self.keys = {tuple(key) for key in keys}
        self._conditions = dict(conditions)
        self._wanted = {tuple(map(_text, key)) for key in self.keys}
        self._wanted_values = tuple(map(_text, self._conditions.values()))
        self._texts: set[str] = set()
        self._seen: set[tuple[str, ...]] = set()
        if len(self._conditions) == 1:  # each of several is a value that many records can have
            self._take_texts(self._conditions)

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the fields that tell which records they are."""
        return tuple(dict.fromkeys((*self.record_type.key, *self._conditions)))

    @property
    def values(self) -> Values:
        """Returns the texts of the records, as the ledger and reports can have them."""
        keys = {text for key in self.keys for text in map(_text, key) if text}
        return Values(self._texts, keys if len(self.record_type.key) == 1 else ())

    def has_seen(self, key: Row) -> bool:
        """Returns whether a record with this key was found anywhere."""
        return tuple(map(_text, key)) in self._seen

    def add_version(self, version: Mapping[str, Any]) -> None:
        """Take the values of a version of a record among the texts, without values that many records share."""
        self._seen.add(tuple(_text(version[name]) for name in self.record_type.key))
        self._take_texts(version)

    def _take_texts(self, version: Mapping[str, Any]) -> None:
        for field in self.record_type.fields:
            value = version.get(field.name)
            if value is not None and not field.is_coded and not isinstance(value, bool):
                self._texts.add(_text(value))

    def add_texts(self, headers: Mapping[str, int], row: Sequence[str]) -> None:
        """Take the texts of a row of a file among the texts. `headers` are the positions of the mapped fields."""
        coded = {headers[it.name]: it for it in self.record_type.fields if it.is_coded and it.name in headers}
        for position, text in enumerate(row):
            field = coded.get(position)
            if text and (field is None or text not in field.choices):
                self._texts |= {text, text.strip().lstrip("'")}

    def among(self, rows: Mapping[str, Sequence[Any]]) -> list[int]:
        """Returns the positions of the erased records among rows of values, given by field."""
        found = sorted(self._matches(rows, lambda value: None if value is None else _text(value)))
        keys = (self.key_at(rows, at) for at in found)
        self._seen |= {tuple(map(_text, key)) for key in keys if key is not None}
        return found

    def similar(self, texts: Mapping[str, Sequence[str | None]], values: Mapping[str, Sequence[Any]]) -> list[int]:
        """Returns the positions of rows that may be erased records: without a valid key, and with similar texts.

        texts, values: the same rows, as texts and as the valid values that were read of them, by field.
        """
        return [at for at in sorted(self._matches(texts, _form)) if self.key_at(values, at) is None]

    def _matches(self, rows: Mapping[str, Sequence[Any]], form: Callable[[Any], str | None]) -> set[int]:
        """Returns the positions of rows with a key or with all given values, if all are compared in a form."""
        found: set[int] = set()
        for names, wanted in (
            (self.record_type.key, self._wanted),
            (tuple(self._conditions), {self._wanted_values} if self._conditions else set()),
        ):
            if wanted and all(name in rows for name in names):
                forms = {tuple(map(form, each)) for each in wanted}
                compared = zip(*(map(form, rows[name]) for name in names), strict=True)
                found |= {at for at, each in enumerate(compared) if each in forms}
        return found

    def key_at(self, rows: Mapping[str, Sequence[Any]], position: int) -> tuple[Any, ...] | None:
        """Returns the key of a row of values; None if a part of it is missing."""
        key = tuple(rows[name][position] if name in rows else None for name in self.record_type.key)
        return None if None in key else key

    def is_in_malformed(self, values: Sequence[str]) -> bool:
        """Returns whether a record that has no certain fields has a key, alone or inside of a longer text."""
        alone = {(value,) for value in values} if len(self.record_type.key) == 1 else set()
        self._seen |= self._wanted & alone
        return not self._wanted.isdisjoint(alone) or self.is_in_bytes("\x1f".join(values).encode())

    def is_similar(self, values: Sequence[str]) -> bool:
        """Returns whether a record that has no certain fields has a text like a key."""
        forms = {form for key in self._wanted for form in map(_form, key)}
        return len(self.record_type.key) == 1 and not forms.isdisjoint(map(_form, values))

    def is_in_bytes(self, content: bytes) -> bool:
        """Returns whether bytes have all parts of a key, in any usual encoding, not as part of a longer word."""
        found = {tuple(map(_text, key)) for key in self.keys if all(_found(part, content) for part in map(_text, key))}
        self._seen |= found
        return bool(found)


def _form(text: str | None) -> str | None:
    """Returns a text in the form in which similar ones are the same."""
    if text is None:
        return None
    if not (text.isascii() and text.isprintable()):
        text = "".join(it for it in text if it == " " or not is_unseen(it))
    return text.strip().lstrip("'").casefold()


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value_text(value) if isinstance(value, date | bool) else str(value)


def _found(text: str, content: bytes) -> bool:
    if len(text) < _SHORTEST:
        return False
    for encoding in _ENCODINGS:
        try:
            wanted = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        edge = b"0-9A-Za-z" if encoding in ("utf-8", "cp1252") else None
        pattern = re.escape(wanted) if edge is None else b"(?<![%b])%b(?![%b])" % (edge, re.escape(wanted), edge)
        if re.search(pattern, content):
            return True
    return False
