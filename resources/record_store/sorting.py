"""Rows divided so that each part can be sorted in memory.

What is inserted is sorted by key first, and DuckDB may run out of memory over a sort that only just does not fit it
(1.5.5, found here).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from resources.record_store.lake import Connection, identifier
from schemas.record_type import RecordType

_SORTED_BYTES = 48_000_000
"""Of rows, unpacked: what is sorted at once. DuckDB needs some four times as much for it."""

_SAMPLE = 10_000


def parts_to_sort(size: int) -> int:
    """In how many parts so many bytes of rows are sorted."""
    return max(1, -(-size // _SORTED_BYTES))


def key_ranges(
    connection: Connection, record_type: RecordType, source: str, ranges: int
) -> Iterator[tuple[str, list[Any]]]:
    """Conditions on rows `s` with their bound values, which divide those of a source by key, evenly enough.

    source: what follows FROM, and names the rows `s`.
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
