"""Merges, sorts and removes the lake's files, in steps that end in seconds.

Each function is one step for a transaction of its own. None changes a record, in any snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from resources.file_storage import size_of
from resources.record_store import ledger_files
from resources.record_store.lake import METADATA, Connection
from resources.record_store.lake_files import EVERYWHERE, LAKE, compare, existing, named, needed_by, retired, unknown
from resources.record_store.tables import FILE_BYTES, TABLE_ID
from resources.record_store.time_travel import current
from schemas.location import Location
from schemas.maintenance import Storage
from schemas.record_type import RecordType

_DELETED_SHARE = 0.2
"""The share of deleted records from which a file is rewritten."""

_RECORDS_A_STEP = 2_000_000
"""How many records one step rewrites. A larger file is a step of its own."""

_COMMIT = timedelta(hours=1)
"""How long a commit may take. The times of its ledger rows and of its files can differ by this."""


@dataclass(frozen=True)
class Replaced:
    """A file that no snapshot needs, and since when."""

    path: str
    since: datetime


def merge_small_files(connection: Connection, data: Location, record_type: RecordType) -> tuple[int, int]:
    """Merge adjacent small files of one account into one file, sorted by key.

    Returns the numbers of files before and after; (0, 0) if nothing was merged.
    Raises DamagedFile before a damaged file is merged.
    """
    now = current(connection).number
    compare(connection, data, needed_by(connection, [now], record_type.name, None, f"bytes < {FILE_BYTES}"))
    return _files(
        connection.execute(
            "CALL ducklake_merge_adjacent_files('lake', ?, schema => 'records', max_compacted_files => 1)",
            [record_type.name],
        )
    )


def rewrite_deleted(connection: Connection, data: Location, record_type: RecordType) -> tuple[int, int]:
    """Rewrite the files with the largest shares of deleted records, without those records.

    DuckLake rewrites every file from a share on. The share is chosen so that a step has few files.
    Returns the numbers of files before and after. Raises DamagedFile before a damaged file is rewritten.
    """
    files = connection.execute(
        f"""
        SELECT d.record_count, x.delete_count / d.record_count AS share
        FROM {METADATA}.ducklake_data_file d
        JOIN {METADATA}.ducklake_delete_file x USING (data_file_id)
        WHERE d.table_id = {TABLE_ID}
            AND d.end_snapshot IS NULL AND x.end_snapshot IS NULL AND share >= {_DELETED_SHARE}
        ORDER BY share DESC
        """,
        [record_type.name],
    ).fetch_all()
    if not files:
        return 0, 0
    compare(connection, data, needed_by(connection, [current(connection).number], record_type.name, None))
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
    """Expire snapshots: they can no longer be read, and later runs can remove the files that only they needed.

    Snapshots are named by number. With `older_than`, DuckLake would expire the one that was current a minute ago.
    """
    listed = ", ".join(map(str, snapshots))
    connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{listed}])")


def replaced(connection: Connection, before: datetime) -> list[Replaced]:
    """Return the files that no snapshot has needed since `before`. Their last readers have ended by now."""
    rows = connection.execute(
        f"""
        SELECT '{LAKE}/' || path, schedule_start::TIMESTAMPTZ AS since
        FROM {METADATA}.ducklake_files_scheduled_for_deletion
        WHERE path_is_relative::BOOLEAN AND since < ? ORDER BY ALL
        """,
        [before],
    ).fetch_all()
    return [Replaced(*row) for row in rows]


def require_replacements(connection: Connection, data: Location, files: Sequence[Replaced]) -> None:
    """Read every file whole that was written since these files were replaced. Raises DamagedFile.

    If the file that replaced others is damaged, the replaced files are the only copies of their records.
    """
    folders = {str(PurePosixPath(file.path).parent) for file in files}
    since = min(file.since for file in files) - _COMMIT
    rows = connection.execute(
        "SELECT path FROM lake.ledger.files WHERE recorded_at >= ? AND checksum IS NOT NULL", [since]
    ).fetch_all()
    alive = {file.path for file in named(connection)}
    paths = [path for (path,) in rows if path in alive and str(PurePosixPath(path).parent) in folders]
    compare(connection, data, paths, anew=True)


def forget(connection: Connection, paths: Sequence[str]) -> None:
    """Delete retired files from the catalog's list. The caller removes the files."""
    connection.execute(
        f"DELETE FROM {METADATA}.ducklake_files_scheduled_for_deletion WHERE list_contains(?::VARCHAR[], path)",
        [[path.removeprefix(f"{LAKE}/") for path in paths]],
    )


def superfluous(connection: Connection, data: Location, before: datetime) -> list[str]:
    """Return the files of this store, recorded before `before`, that no snapshot and no list of the catalog names."""
    left = existing(data, EVERYWHERE) - {file.path for file in named(connection)} - set(retired(connection))
    return ledger_files.recorded_before(connection, left, before)


def unknown_files(connection: Connection, data: Location) -> list[str]:
    """Return the files in the lake's folder that neither the catalog nor the ledger knows. They are not removed."""
    return sorted(unknown(connection, existing(data, EVERYWHERE)))


def storage(connection: Connection, data: Location) -> Storage:
    """Return the present size of the lake's files."""
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
    return Storage(current, held + sum(size_of(data / path) or 0 for path in retired(connection)))


def _files(done: Connection) -> tuple[int, int]:
    """Return how many files DuckLake has read, and how many it has made of them."""
    rows = done.fetch_all()
    taken, made = (done.columns.index(name) for name in ("files_processed", "files_created"))
    return sum(row[taken] for row in rows), sum(row[made] for row in rows)
