"""The snapshots of the lake: which commit made which, and what it touched."""

from collections.abc import Sequence

from resources.record_store.lake import Connection
from schemas.record_type import RecordType


def snapshots_of(connection: Connection, batch_ids: Sequence[str]) -> dict[str, int]:
    """The snapshot that each batch's commit made, of those that have one still."""
    rows = connection.execute(
        """
        SELECT commit_extra_info ->> 'batch_id' AS batch_id, snapshot_id FROM ducklake_snapshots('lake')
        WHERE list_contains(?::VARCHAR[], commit_extra_info ->> 'batch_id')
        """,
        [list(batch_ids)],
    ).fetch_all()
    return dict(rows)


def touched_since(connection: Connection, record_type: RecordType, snapshot: int) -> bool:
    """Whether any commit after the snapshot changed the type's table, for whatever account."""
    touched: bool = connection.fetch_one(
        """
        SELECT count(*) > 0 FROM ducklake_snapshots('lake') WHERE snapshot_id > ? AND list_contains(
            flatten(map_values(changes)),
            (SELECT table_id::VARCHAR FROM ducklake_table_info('lake') WHERE table_name = ?))
        """,
        [snapshot, record_type.name],
    )[0]
    return touched
