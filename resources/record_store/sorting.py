"""Divides rows into parts that can each be sorted in memory.

Rows are sorted by key before they are inserted. DuckDB can run out of memory if a sort is slightly too large for it
(1.5.5, found here).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from resources.record_store.lake import Connection
from resources.record_store.sql_text import identifier
from schemas.record_type import RecordType

_SORTED_BYTES = 48_000_000
"""Uncompressed bytes of rows to sort at a time. DuckDB needs about four times as much memory."""

_SAMPLE = 10_000


def parts_to_sort(size: int) -> int:
    """Return into how many parts so many bytes of rows must be divided."""
    return max(1, -(-size // _SORTED_BYTES))


def key_ranges(
    connection: Connection, record_type: RecordType, source: str, ranges: int
) -> Iterator[tuple[str, list[Any]]]:
    """Yield conditions on rows `s`, with their bound values, that divide a source by key into nearly even parts.

    source: SQL to follow FROM, which names the rows `s`.
    """
    key = f"s.{identifier(record_type.key[0])}"
    shares = [part / ranges for part in range(1, ranges)]
    found = []
    if shares:
        (found,) = connection.fetch_one(
            f"SELECT quantile_disc(key, {shares}) FROM (SELECT {key} AS key FROM {source}) "
            f"TABLESAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1)"
        )
    for start, stop in pairwise([None, *sorted(set(found or ())), None]):
        bounds = {f"{key} >= ?": start, f"{key} < ?": stop}
        given = {condition: bound for condition, bound in bounds.items() if bound is not None}
        yield " AND ".join(given) or "true", list(given.values())
