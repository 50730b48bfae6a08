"""The lake's files kept few, sorted and needed, in steps that end in seconds.

Each function is one step for a transaction of its own. None changes a record: what a snapshot shows stays as it is.
"""

from collections.abc import Sequence
from datetime import datetime

from resources.record_store.databases import literal
from resources.record_store.lake import METADATA, Connection
from schemas.maintenance import Removed, Storage
from schemas.record_type import RecordType

_DELETED_SHARE = 0.2
"""From which share of deleted records on a file is written anew."""

_RECORDS_A_STEP = 2_000_000
"""How many records are written anew in one step, or one file's where it has more."""


def merge_small_files(connection: Connection, record_type: RecordType) -> tuple[int, int]:
    """Adjacent small files of one account are one file, sorted by key; returns how many were, and are. None: (0, 0)."""
    return _files(
        connection.execute(
            "CALL ducklake_merge_adjacent_files('lake', ?, schema => 'records', max_compacted_files => 1)",
            [record_type.name],
        )
    )


def rewrite_deleted(connection: Connection, record_type: RecordType) -> tuple[int, int]:
    """The files of which the most records are deleted hold only the others; returns how many were, and are.

    DuckLake rewrites every file from a share on; the share is chosen so that a step has few of them.
    """
    files = connection.execute(
        f"""
        SELECT d.record_count, x.delete_count / d.record_count AS share
        FROM {METADATA}.ducklake_data_file d
        JOIN {METADATA}.ducklake_delete_file x USING (data_file_id)
        WHERE d.table_id = (SELECT table_id FROM ducklake_table_info('lake') WHERE table_name = ?)
            AND d.end_snapshot IS NULL AND x.end_snapshot IS NULL AND share >= {_DELETED_SHARE}
        ORDER BY share DESC
        """,
        [record_type.name],
    ).fetch_all()
    if not files:
        return 0, 0
    threshold, records = files[0][1], 0
    for count, share in files:
        records += count
        if records > _RECORDS_A_STEP:
            break
        threshold = share
    return _files(
        connection.execute(
            "CALL ducklake_rewrite_data_files('lake', ?, schema => 'records', delete_threshold => ?)",
            [record_type.name, threshold],
        )
    )


def expire_snapshots(connection: Connection, snapshots: Sequence[int]) -> None:
    """The lake cannot be read as of these snapshots any more; files that only they needed can be removed later.

    By number, never by age: `older_than` would take the snapshot that was current until a minute ago.
    """
    listed = ", ".join(map(str, snapshots))
    connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{listed}])")


def remove_old_files(connection: Connection, before: datetime) -> Removed:
    """The files that no snapshot has needed since `before` are gone: whoever has read them then has done by now."""
    return _remove(connection, "ducklake_cleanup_old_files", before)


def remove_orphans(connection: Connection, before: datetime) -> Removed:
    """The files last written before `before` that were never part of the lake are gone: what killed writers leave."""
    return _remove(connection, "ducklake_delete_orphaned_files", before)


def storage(connection: Connection) -> Storage:
    """What the lake's files take now."""
    current, held = connection.fetch_one(
        f"""
        SELECT coalesce(sum(file_size_bytes) FILTER (end_snapshot IS NULL), 0)::BIGINT,
            coalesce(sum(file_size_bytes) FILTER (end_snapshot IS NOT NULL), 0)::BIGINT
        FROM (
            SELECT file_size_bytes, end_snapshot FROM {METADATA}.ducklake_data_file
            UNION ALL SELECT file_size_bytes, end_snapshot FROM {METADATA}.ducklake_delete_file
        )
        """
    )
    scheduled = connection.execute("FROM ducklake_cleanup_old_files('lake', dry_run => true, cleanup_all => true)")
    return Storage(current, held + _bytes(connection, [path for (path,) in scheduled.fetch_all()]))


def _files(done: Connection) -> tuple[int, int]:
    """How many files DuckLake says to have taken, and made of them."""
    rows = done.fetch_all()
    taken, made = (done.columns.index(name) for name in ("files_processed", "files_created"))
    return sum(row[taken] for row in rows), sum(row[made] for row in rows)


def _remove(connection: Connection, function: str, before: datetime) -> Removed:
    """What a dry run names is measured, then removed."""
    limit = literal(before.isoformat())
    found = connection.execute(f"FROM {function}('lake', dry_run => true, older_than => {limit}::TIMESTAMPTZ)")
    paths = [path for (path,) in found.fetch_all()]
    if not paths:
        return Removed()
    taken = _bytes(connection, paths)
    connection.execute(f"CALL {function}('lake', older_than => {limit}::TIMESTAMPTZ)")
    return Removed(len(paths), taken)


def _bytes(connection: Connection, paths: Sequence[str]) -> int:
    """What files take; one that is gone already, by a process that was killed over it, takes nothing."""
    total = 0
    for path in paths:
        total += connection.fetch_one("SELECT coalesce(sum(size), 0)::BIGINT FROM read_blob(?)", [f"{path}*"])[0]
    return total
