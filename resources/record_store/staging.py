"""A previewed file, staged as Parquet outside the lake.

A staging folder holds

- `records.parquet`: every record that has the right number of fields, typed: `_record` and `_line` (from 1),
  `_valid` (no cell breaks a rule), `_unread` (the texts that break a rule) and the mapped fields;
- `problems.parquet`: what is wrong with which of them;
- `excluded.parquet`: the records that will not be written: `_record` and `_outcome` (rejected, duplicate).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.record_store.lake import identifier, literal
from schemas.record_type import RecordType


@dataclass(frozen=True)
class Staging:
    """A staging folder, and the fields that the file has."""

    folder: Path
    fields: tuple[str, ...]

    @property
    def records(self) -> Path:
        """Every staged record."""
        return self.folder / "records.parquet"

    @property
    def excluded(self) -> Path:
        """The records that will not be written."""
        return self.folder / "excluded.parquet"

    @property
    def problems(self) -> Path:
        """What is wrong with them."""
        return self.folder / "problems.parquet"

    @property
    def included_sql(self) -> str:
        """The records that will be written or are unchanged, as a SQL query."""
        return (
            f"SELECT s.* FROM read_parquet({literal(self.records)}) s "
            f"ANTI JOIN read_parquet({literal(self.excluded)}) x USING (_record)"
        )


@dataclass(frozen=True)
class Comparison:
    """What a commit would do: counts of staged records, and values it would clear, by field."""

    created: int
    updated: int
    unchanged: int
    rejected: int
    duplicate: int
    cleared: dict[str, int]


def same_key(record_type: RecordType, left: str, right: str) -> str:
    """A condition that two rows have the same key."""
    return " AND ".join(f"{left}.{identifier(name)} = {right}.{identifier(name)}" for name in record_type.key)


def differs(record_type: RecordType, fields: Sequence[str], left: str, right: str) -> str:
    """A condition that two rows of one key differ in one of the fields."""
    others = [identifier(name) for name in fields if name not in record_type.key]
    return " OR ".join(f"{left}.{name} IS DISTINCT FROM {right}.{name}" for name in others) or "false"
