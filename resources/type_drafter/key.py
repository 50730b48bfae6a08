"""Finds the key of the records, and text columns with few values, with DuckDB."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb

from resources.record_store.sql_text import identifier, literal
from resources.type_drafter.column import LONGEST_SHOWN, Column
from schemas.counts import numbered

_CHOICES, _CHOICE_RECORDS = 12, 10
"""Most values of a text field that takes no others, and the fewest records for each of them."""
_PREFIX = 20_000
_KEY_COLUMNS = 16
_IDENTIFYING = re.compile(r"(?:.+_)?(?:id|uuid|guid|key|code|no|nr|nummer|sku|ref|reference|ean|gtin|isbn)")
"""Names of columns that identify a record, if their values are unique."""
_CODE, _CAPITAL, _LETTER = "^[A-Za-z0-9][A-Za-z0-9_./:-]{0,39}$", "[A-Z0-9]", "[A-Za-z]"
"""Short codes, such as C-1 or JFK: no space, and a capital letter or digit. Most of them have a letter."""


@dataclass(frozen=True)
class Key:
    """The columns that identify a record, or none if a person must name them; `note` says what was found."""

    columns: tuple[Column, ...]
    note: str


def find_choices(column: Column, database: duckdb.DuckDBPyConnection, typed: Path) -> list[str]:
    """Returns the values of a text column that has few. A personal column has none: they would be in the source."""
    if column.type != "text" or column.personal or not column.filled:
        return []
    name = identifier(column.name)
    database.execute(
        f"SELECT DISTINCT {name} FROM {_from(typed)} WHERE {name} IS NOT NULL LIMIT {_CHOICES + 1}",
    )
    found = sorted(value for (value,) in database.fetchall())
    many = (column.records - column.empty) >= _CHOICE_RECORDS * len(found)
    short = all(len(value) <= LONGEST_SHOWN for value in found)
    return found if 2 <= len(found) <= _CHOICES and many and short else []


def find_key(columns: Sequence[Column], database: duckdb.DuckDBPyConnection, typed: Path, once: Path) -> Key:
    """Returns the column that identifies a record, if there is one with unique values that look like ids.

    Without one the key has no column, and the note says which columns are unique together. Equal records count once,
    as in an import.
    """
    records = columns[0].records
    able = [column for column in columns if column.required and column.type in ("text", "integer", "date", "timestamp")]
    able = [column for column in able if not (column.type == "text" and column.markers)]
    able.sort(key=lambda column: (_key_rank(column, columns[0]), column.position))
    if able:
        ids = [column for column in able if _are_ids(column, database, typed)]
        unique = Unique(database, typed, records)
        note = f"{records:,} records of the file."
        found = unique.single(ids)
        if not found:
            database.execute(f"COPY (SELECT DISTINCT * FROM {_from(typed)}) TO {literal(once)} (FORMAT parquet)")
            distinct = _count(database, f"SELECT 1 FROM {_from(once)}")
            if distinct < records:
                unique = Unique(database, once, distinct)
                note += f" Equal records count once; the file repeats {numbered(records - distinct, 'record')}."
                found = unique.single(ids)
        if found:
            return Key(found, f"Unique in all {note}")
        together = unique.smallest(able)
        if together:
            names = ", ".join(column.name for column in together)
            return Key((), f"Perhaps by chance, {names} {'is' if len(together) == 1 else 'are'} unique in all {note}")
    return Key((), f"No fields are unique in the {records:,} records of the file.")


def _key_rank(column: Column, first: Column) -> int:
    if column.personal:
        return 4
    if column.name in ("id", "uuid", "guid", "key", "code"):
        return 0
    return 1 if _IDENTIFYING.fullmatch(column.name) else 2 if column is first else 3


def _are_ids(column: Column, database: duckdb.DuckDBPyConnection, typed: Path) -> bool:
    """Returns whether values look like ids: by the name of their column, or because all are short codes."""
    if column.personal or column.type not in ("text", "integer"):
        return False
    if _IDENTIFYING.fullmatch(column.name):
        return True
    if column.type != "text":
        return False
    name = identifier(column.name)
    code, capital, letter = (f"regexp_matches({name}, {literal(it)})" for it in (_CODE, _CAPITAL, _LETTER))
    are_codes = f"bool_and({code} AND {capital}) AND avg({letter}::INT) > 0.5"
    return _count(database, f"SELECT 1 FROM {_from(typed)} HAVING {are_codes}") == 1


class Unique:
    """Finds columns that are unique, alone or together, among so many records of a file."""

    def __init__(self, database: duckdb.DuckDBPyConnection, file: Path, records: int) -> None:
        self._database = database
        self._file = file
        self._records = records
        self._prefix = min(records, _PREFIX)
        database.execute(f"CREATE OR REPLACE TEMP TABLE prefix AS SELECT * FROM {_from(file)} LIMIT {_PREFIX}")

    def single(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """Returns the first column that is unique alone; none if there is none."""
        return next(((column,) for column in columns if self._has([column])), ())

    def smallest(self, able: Sequence[Column]) -> tuple[Column, ...]:
        """Returns the fewest columns that are unique together, in the file's order; none if no columns are."""
        alone = self.single(able)
        if alone:
            return alone
        varied = [
            column
            for column in sorted(able, key=lambda column: column.type == "integer")  # texts and times vary most
            if len(column.choices) > 1
            or _count(self._database, f"SELECT DISTINCT {identifier(column.name)} FROM {_from(self._file)} LIMIT 2") > 1
        ][:_KEY_COLUMNS]
        for size in (2, 3):
            for chosen in combinations(varied, size):
                if self._has(chosen):
                    return _in_order(chosen)
        if not varied or not self._has(varied):
            return ()
        for column in reversed(varied):  # more than three: drop each one that is not needed
            fewer = [other for other in varied if other is not column]
            varied = fewer if self._has(fewer) else varied
        return _in_order(varied)

    def _has(self, chosen: Sequence[Column]) -> bool:
        """Returns whether the columns are unique together. Most choices fail in the prefix, which is fast."""
        names = ", ".join(identifier(column.name) for column in chosen)
        return (
            _count(self._database, f"SELECT DISTINCT {names} FROM prefix") == self._prefix
            and _count(self._database, f"SELECT DISTINCT {names} FROM {_from(self._file)}") == self._records
        )


def _in_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    return tuple(sorted(columns, key=lambda column: column.position))


def _from(file: Path) -> str:
    return f"read_parquet({literal(file)})"


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    """Returns how many rows the query has."""
    row = database.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return int(row[0]) if row else 0
