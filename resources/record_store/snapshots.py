"""Reads the snapshots of the lake: the commit that made each, what it changed, and which are kept."""

import json
from collections.abc import Sequence
from datetime import datetime

from resources.record_store.lake import Connection
from resources.record_store.sql_text import identifier, literal
from resources.record_store.tables import TABLE_ID
from schemas.record_type import RecordType

_BATCHES_AT_ONCE = 500

_CHANGES_OF_RECORDS = """
    list_filter(map_entries(changes), it -> it.key NOT IN ('merge_adjacent', 'rewrite_delete'))
"""
"""The changes of a commit, without those that only moved records to other files."""


def current_number(connection: Connection) -> int:
    """Returns the number of the newest snapshot, or of the one that the transaction reads."""
    number: int = connection.fetch_one("SELECT id FROM ducklake_current_snapshot('lake')")[0]
    return number


def snapshots_of(connection: Connection, batch_ids: Sequence[str]) -> dict[str, int]:
    """Returns the snapshots that the commits of these batches made, by batch, as far as they are kept.

    The catalog's database finds them. DuckLake would give all snapshots with all that they changed.
    """
    found: dict[str, int] = {}
    schema = identifier(connection.catalog_schema)
    for first in range(0, len(batch_ids), _BATCHES_AT_ONCE):
        named = ", ".join(literal(commit_info(batch_id)) for batch_id in batch_ids[first : first + _BATCHES_AT_ONCE])
        snapshots = connection.native(
            f"SELECT c.commit_extra_info AS info, s.snapshot_id AS number FROM {schema}.ducklake_snapshot s "
            f"JOIN {schema}.ducklake_snapshot_changes c ON c.snapshot_id = s.snapshot_id "
            f"WHERE c.commit_extra_info IN ({named})"
        )
        rows = connection.execute(f"SELECT info::VARCHAR, number::BIGINT FROM {snapshots}").fetch_all()
        found |= {json.loads(info)["batch_id"]: number for info, number in rows}
    return found


def commit_info(batch_id: str | None) -> str:
    """Returns what the store adds to a commit: the batch that it is of, as JSON."""
    return json.dumps({} if batch_id is None else {"batch_id": batch_id})


def images_of(connection: Connection, batch_id: str) -> tuple[int, int] | None:
    """Returns the snapshots directly before and after a batch's commit; None if they are no longer kept."""
    after = snapshots_of(connection, [batch_id]).get(batch_id)
    if after is None:
        return None
    kept = connection.of_catalog(
        f"SELECT count(*) AS number FROM {{catalog}}.ducklake_snapshot WHERE snapshot_id = {after - 1:d}"
    )
    (number,) = connection.fetch_one(f"SELECT number::BIGINT FROM {kept}")
    return (after - 1, after) if number else None


def commits_since(
    connection: Connection, record_type: RecordType, snapshot: int
) -> list[tuple[int, str | None, datetime, str | None]]:
    """Returns the commits after a snapshot that changed records of the type, of any account, newest first.

    Each is its snapshot, the batch that it names, its time and its author.

    The catalog's database says first whether there may be any, because DuckLake reads all snapshots.
    """
    changes = connection.of_catalog(
        f"""
        SELECT 1 AS one FROM {{catalog}}.ducklake_snapshot_changes c, {{catalog}}.ducklake_table t
        WHERE c.snapshot_id > {snapshot:d} AND t.table_name = {literal(record_type.name)}
            AND ',' || c.changes_made || ',' LIKE '%:' || t.table_id || ',%' LIMIT 1
        """
    )
    if not connection.execute(f"FROM {changes}").fetch_all():
        return []
    return connection.execute(
        f"""
        SELECT snapshot_id, commit_extra_info ->> 'batch_id', snapshot_time, author
        FROM ducklake_snapshots('lake') WHERE snapshot_id > ? AND list_contains(
            flatten(map_values(map_from_entries({_CHANGES_OF_RECORDS}))),
            {TABLE_ID}::VARCHAR)
        ORDER BY snapshot_id DESC
        """,
        [snapshot, record_type.name],
    ).fetch_all()


def superseded(connection: Connection, horizon: datetime) -> list[int]:
    """Returns the snapshots that were never current since the horizon, oldest first.

    The newest snapshot at or before the horizon is kept, however old it is. It has the records as they were before the
    first commit after the horizon.
    """
    rows = connection.execute(
        """
        SELECT snapshot_id FROM ducklake_snapshots('lake') WHERE snapshot_id <
            (SELECT max(snapshot_id) FROM ducklake_snapshots('lake') WHERE snapshot_time <= ?)
        ORDER BY snapshot_id
        """,
        [horizon],
    ).fetch_all()
    return [snapshot for (snapshot,) in rows]
