"""Finds the key of the records, and text columns with few values, with DuckDB."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb

from resources.record_store.databases import literal
from resources.record_store.lake import identifier
from resources.type_drafter.column import LONGEST_SHOWN, Column
from schemas.counts import numbered

_CHOICES, _CHOICE_RECORDS = 12, 10
"""Most values of a text field that takes no others, and the fewest records for each of them."""
_PREFIX = 20_000
_KEY_COLUMNS = 16
_IDENTIFYING = re.compile(r"(?:.+_)?(?:id|uuid|guid|key|code)")


@dataclass(frozen=True)
class Key:
    """The columns that identify a record; `note` says how they were found."""

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
    """Returns the fewest columns that identify a record. Equal records count once, as in an import."""
    records = columns[0].records
    able = [column for column in columns if column.required and column.type in ("text", "integer", "date", "timestamp")]
    able = [column for column in able if not (column.type == "text" and column.markers)]
    able.sort(key=lambda column: (_key_rank(column, columns[0]), column.position))
    if able:
        found = _smallest(able, database, typed, records)
        if found:
            return Key(found, f"Unique in all {records:,} records of the file.")
        database.execute(f"COPY (SELECT DISTINCT * FROM {_from(typed)}) TO {literal(once)} (FORMAT parquet)")
        distinct = _count(database, f"SELECT 1 FROM {_from(once)}")
        found = _smallest(able, database, once, distinct) if distinct < records else ()
        if found:
            repeated = numbered(records - distinct, "record")
            once_each = f"Equal records count once; the file repeats {repeated}."
            return Key(found, f"Unique in all {records:,} records of the file. {once_each}")
    fallback = tuple(column for column in columns if column in able) or (columns[0],)
    return Key(fallback, f"No key was found in the {records:,} records of the file. Name what identifies a record.")


def _key_rank(column: Column, first: Column) -> int:
    if column.personal:
        return 4
    if column.name in ("id", "uuid", "guid", "key", "code"):
        return 0
    return 1 if _IDENTIFYING.fullmatch(column.name) else 2 if column is first else 3


def _smallest(
    able: Sequence[Column], database: duckdb.DuckDBPyConnection, file: Path, records: int
) -> tuple[Column, ...]:
    """Returns the fewest columns that are unique together, in the file's order; empty if none are."""
    database.execute(f"CREATE OR REPLACE TEMP TABLE prefix AS SELECT * FROM {_from(file)} LIMIT {_PREFIX}")
    prefix = min(records, _PREFIX)

    def unique(chosen: Sequence[Column]) -> bool:
        """Returns whether the columns are unique together. Most choices fail in the prefix, which is fast."""
        names = ", ".join(identifier(column.name) for column in chosen)
        return (
            _count(database, f"SELECT DISTINCT {names} FROM prefix") == prefix
            and _count(database, f"SELECT DISTINCT {names} FROM {_from(file)}") == records
        )

    for column in able:
        if unique([column]):
            return (column,)
    varied = [
        column
        for column in sorted(able, key=lambda column: column.type == "integer")  # texts and times vary most
        if len(column.choices) > 1
        or _count(database, f"SELECT DISTINCT {identifier(column.name)} FROM {_from(file)} LIMIT 2") > 1
    ][:_KEY_COLUMNS]
    for size in (2, 3):
        for chosen in combinations(varied, size):
            if unique(chosen):
                return _in_order(chosen)
    if not varied or not unique(varied):
        return ()
    for column in reversed(varied):  # more than three: drop each one that is not needed
        fewer = [other for other in varied if other is not column]
        varied = fewer if unique(fewer) else varied
    return _in_order(varied)


def _in_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    return tuple(sorted(columns, key=lambda column: column.position))


def _from(file: Path) -> str:
    return f"read_parquet({literal(file)})"


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    """Returns how many rows the query has."""
    row = database.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return int(row[0]) if row else 0
