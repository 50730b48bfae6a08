"""The problems of one imported file, in a Parquet file of their own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.batches import ProblemCount, RowProblem
from schemas.proposals import proposed
from schemas.record_type import RecordType
from schemas.values import MappedValue, can_be_typed

PROBLEMS = pa.schema(
    [
        pa.field("record", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("field", pa.string()),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("value", pa.string()),
    ]
)
"""One row for each broken rule of each record, with the columns of `RowProblem`."""


_SEARCHED = 10_000
"""How many problems are searched for the first different ones."""

_PROPOSALS = 20
"""How many different texts a preview proposes values for."""

_KIND = "hash(field, rule, expected, value)"


class ProblemFile:
    """Writes problems as they are found. A context manager; the file is complete when it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = pq.ParquetWriter(path, PROBLEMS)

    def __enter__(self) -> Self:
        """Returns the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file."""
        self._writer.close()

    def add_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Write batches with the columns of `PROBLEMS`."""
        for batch in batches:
            self._writer.write_batch(batch)


def proposed_values(path: Path, record_type: RecordType) -> tuple[MappedValue, ...]:
    """Returns the most frequent texts that are no values of coded fields, each with the value that it is like, if any.

    Personal fields are left out.
    """
    coded = {
        it.name: it for it in record_type.fields if it.is_coded and not it.personal and it.name not in record_type.key
    }
    if not coded or not pq.read_metadata(path).num_rows:
        return ()
    with duckdb.connect(config={"memory_limit": "256MB", "threads": 1}) as connection:
        found = connection.execute(
            """
            SELECT field, min(trim(value)) AS text, count(*) AS records FROM read_parquet($1)
            WHERE field IN (SELECT unnest($2)) AND rule IN ('isin', 'str_matches', 'type') AND value <> ''
            GROUP BY field, lower(trim(value)) ORDER BY records DESC, field, text LIMIT $3
            """,
            [str(path), list(coded), _PROPOSALS],
        ).fetchall()
    values = ((coded[name], text, records) for name, text, records in found if can_be_typed(text))
    return tuple(proposed(field, text, records) for field, text, records in values)


def summarise(path: Path, samples: int = 20) -> tuple[tuple[ProblemCount, ...], tuple[RowProblem, ...]]:
    """Returns how many records break each rule in each field, most first, and the first different problems.

    Problems of one field, rule and value are equal: they share one entry, which names the first record.

    samples: how many different problems to return at most.
    """
    if not pq.read_metadata(path).num_rows:
        return (), ()
    with duckdb.connect(config={"memory_limit": "256MB", "threads": 1}) as connection:
        problems = connection.read_parquet(str(path))
        counts = problems.aggregate("field, rule, expected, count(*) AS records").order("records DESC, field, rule")
        first = connection.execute(
            f"""
            SELECT min(record), arg_min(line, record), field, rule, expected, value, {_KIND}
            FROM (FROM problems ORDER BY record, field, rule LIMIT ?)
            GROUP BY ALL ORDER BY 1, field, rule LIMIT ?
            """,
            [_SEARCHED, samples],
        ).fetchall()
        kinds = ", ".join(str(kind) for *_, kind in first) or "NULL"  # a list of numbers is fastest, measured
        records = dict(problems.filter(f"{_KIND} IN ({kinds})").aggregate(f"{_KIND}, count(*)").fetchall())
        return (
            tuple(ProblemCount(*row) for row in counts.fetchall()),
            tuple(
                RowProblem(record, line, field, rule, expected, value, records[kind])
                for record, line, field, rule, expected, value, kind in first
            ),
        )
