"""A previewed file, staged as Parquet outside the lake, and read on this machine.

A staging folder holds

- `records.parquet`: every record that has the right number of fields, typed: `_record` and `_line` (from 1),
  `_valid` (no cell breaks a rule), `_unread` (the texts that break a rule) and the mapped fields;
- `problems.parquet`: the problems of these records;
- `excluded.parquet`: the records that will not be written: `_record` and `_outcome` (rejected, duplicate).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.record_store.lake import Connection
from resources.record_store.sorting import key_ranges, parts_to_sort
from resources.record_store.sql_text import identifier, literal
from schemas.record_type import RecordType

PROBLEMS = "problems.parquet"

_KEY_RANGES = 4


@dataclass(frozen=True)
class Staging:
    """A staging folder, and the fields that the file has."""

    folder: Path
    fields: tuple[str, ...]

    @property
    def records(self) -> Path:
        """Returns the file of all staged records."""
        return self.folder / "records.parquet"

    @property
    def excluded(self) -> Path:
        """Returns the file of the records that will not be written."""
        return self.folder / "excluded.parquet"

    @property
    def problems(self) -> Path:
        """Returns the file of the problems."""
        return self.folder / PROBLEMS

    @property
    def included_sql(self) -> str:
        """Returns a SQL query of the records that will be written or are unchanged."""
        return (
            f"SELECT s.* FROM read_parquet({literal(self.records)}) s "
            f"ANTI JOIN read_parquet({literal(self.excluded)}) x USING (_record)"
        )

    def sortable_parts(
        self, connection: Connection, record_type: RecordType, records: int
    ) -> Iterator[tuple[range, str, list[Any]]]:
        """Yields parts of the file for sorting: record numbers, a condition on rows `s`, and its values.

        The parts divide `records` evenly. Each stretch of the file is divided by ranges of the key.
        """
        file = literal(self.records)
        size, last = connection.fetch_one(
            f"SELECT (SELECT sum(total_uncompressed_size) FROM parquet_metadata({file})), max(_record) "
            f"FROM read_parquet({file})"
        )
        parts = parts_to_sort(size * records // last)
        ranges = min(parts, _KEY_RANGES)
        step = -(-last * ranges // parts)
        for low in range(1, last + 1, step):
            numbers = range(low, low + step)
            source = f"read_parquet({file}) s WHERE {within('s._record', numbers)}"
            for condition, bounds in key_ranges(connection, record_type, source, ranges):
                yield numbers, condition, bounds


def within(column: str, numbers: range) -> str:
    """Returns a condition that a column has one of the numbers."""
    return f"{column} BETWEEN {numbers.start} AND {numbers.stop - 1}"


@dataclass(frozen=True)
class Comparison:
    """What a commit would do: counts of staged records, and by field those of two kinds of changes.

    cleared: stored values that would become null. without_zeros: stored texts that would lose the zeros at their
    beginning, as 00123 does if the file has 123.
    """

    created: int
    updated: int
    unchanged: int
    rejected: int
    duplicate: int
    cleared: dict[str, int]
    without_zeros: dict[str, int]


def same_key(record_type: RecordType, left: str, right: str) -> str:
    """Returns a condition that two rows have the same key."""
    return " AND ".join(f"{left}.{identifier(name)} = {right}.{identifier(name)}" for name in record_type.key)


def differs(record_type: RecordType, fields: Sequence[str], left: str, right: str) -> str:
    """Returns a condition that two rows of one key differ in one of the fields."""
    others = [identifier(name) for name in fields if name not in record_type.key]
    return " OR ".join(f"{left}.{name} IS DISTINCT FROM {right}.{name}" for name in others) or "false"
