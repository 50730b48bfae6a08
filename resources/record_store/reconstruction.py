"""Makes a lost file of the lake again from others, and drops one from the catalog that cannot be made again.

A merge leaves the files that it merged for a day, so it can be made again. Its rows are sorted by key, and a key is in
it once, so every row has the same place as before. The catalog's lists of deleted rows therefore stay right.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from resources.record_store.lake import METADATA, Connection
from resources.record_store.lake_files import LAKE, LakeFile, compare, listed, needed_by
from resources.record_store.sql_text import identifier, literal
from resources.record_store.tables import table
from schemas.errors import DamagedFile, StoreNotReady
from schemas.location import Location
from schemas.record_type import RecordType

_SNAPSHOT, _ROW = "_ducklake_internal_snapshot_id", "_ducklake_internal_row_id"
"""Columns of DuckLake in a merged file: the snapshot that wrote each row, and the row's own number."""

_DELETION_IDS = "{file_path: 2147483646, pos: 2147483645}"
"""The field ids in a list of deleted rows, as DuckLake writes them."""

_FOOTER = 8


@dataclass(frozen=True)
class Merge:
    """What a merged file was made from.

    sources: the merged files, below the data, each with the snapshot that wrote it. snapshot: set if they were read as
    of a snapshot, without the rows that were deleted by then.
    """

    sources: tuple[tuple[str, int], ...]
    snapshot: int | None = None

    @property
    def paths(self) -> list[str]:
        """Return the paths of the merged files."""
        return [path for path, _ in self.sources]


def merge_of(connection: Connection, data: Location, file: LakeFile) -> Merge | None:
    """Return what a file was merged from, if all of that is still there and whole; None otherwise."""
    return _merged(connection, data, file) or _rewritten(connection, data, file)


def _merged(connection: Connection, data: Location, file: LakeFile) -> Merge | None:
    """Return the files that one merge retired, with as many rows together as the merged file."""
    folder = str(PurePosixPath(file.path).parent)
    rows = connection.execute(
        f"""
        SELECT schedule_start::VARCHAR, list('{LAKE}/' || path ORDER BY path)
        FROM {METADATA}.ducklake_files_scheduled_for_deletion
        WHERE path_is_relative::BOOLEAN AND starts_with('{LAKE}/' || path, ?)
            AND NOT ends_with(path, '-delete.parquet')
        GROUP BY schedule_start ORDER BY schedule_start DESC
        """,
        [f"{folder}/"],
    ).fetch_all()
    (partial_max,) = connection.fetch_one(
        f"SELECT partial_max::BIGINT FROM {METADATA}.ducklake_data_file WHERE data_file_id = ?", [file.data_file_id]
    )
    for _, paths in rows:
        if not _are_whole(connection, data, paths):
            continue
        number = sum(_rows_in(connection, data, path) for path in paths)
        sources = [(path, _written_in(connection, path)) for path in paths]
        begins = [begin for _, begin in sources if begin is not None]
        if number != file.records or len(begins) != len(sources):
            continue
        is_partial = any(_SNAPSHOT in _columns_in(connection, data, path) for path in paths)
        if is_partial or (min(begins), max(begins)) == (file.begin, partial_max or file.begin):
            return Merge(tuple((path, begin) for path, begin in sources if begin is not None))
    return None


def _rewritten(connection: Connection, data: Location, file: LakeFile) -> Merge | None:
    """Return the files that a rewriting without deleted rows has replaced. Older snapshots still need them."""
    sources = [
        it
        for it in listed(connection)
        if not it.is_delete
        and (it.schema, it.table, it.account) == (file.schema, file.table, file.account)
        and it.end == file.begin
    ]
    if not sources or file.begin - 1 not in _snapshots(connection):
        return None
    needed = needed_by(connection, [file.begin - 1], file.table, file.account)
    if not _are_whole(connection, data, needed):
        return None
    merge = Merge(tuple((it.path, it.begin) for it in sources), file.begin - 1)
    (number,) = connection.fetch_one(f"SELECT count(*) FROM ({_rows_of(connection, None, file, merge)})")
    return merge if number == file.records else None


def write_merge(
    connection: Connection, data: Location, file: LakeFile, merge: Merge, record_type: RecordType, made: Path
) -> None:
    """Write the rows of a merge to a file of this machine, sorted by key, with the columns that DuckLake expects."""
    columns = connection.execute(
        f"""
        SELECT column_name, column_id::BIGINT FROM {METADATA}.ducklake_column
        WHERE table_id = (SELECT table_id FROM {METADATA}.ducklake_data_file WHERE data_file_id = ?)
            AND end_snapshot IS NULL AND parent_column IS NULL ORDER BY column_order
        """,
        [file.data_file_id],
    ).fetch_all()
    ids = ", ".join(f"{literal(name)}: {number}" for name, number in columns)
    (is_partial,) = connection.fetch_one(
        f"SELECT partial_max IS NOT NULL FROM {METADATA}.ducklake_data_file WHERE data_file_id = ?",
        [file.data_file_id],
    )
    shown = ", ".join(identifier(name) for name, _ in columns)
    if is_partial:
        shown, ids = f"{shown}, {_SNAPSHOT}", f"{ids}, {_SNAPSHOT}: 2147483539"
    key = ", ".join(f"{identifier(name)} ASC NULLS LAST" for name in record_type.key)
    connection.execute(
        f"COPY (SELECT {shown} FROM ({_rows_of(connection, data, file, merge)}) ORDER BY {key}) "
        f"TO {literal(made)} (FORMAT parquet, FIELD_IDS {{{ids}}})"
    )


def _rows_of(connection: Connection, data: Location | None, file: LakeFile, merge: Merge) -> str:
    """Return SQL for the rows of a merge, with the table's columns and the snapshot that wrote each row."""
    if merge.snapshot is not None or data is None:
        lake = connection.snapshot(merge.snapshot or 0)
        names = ", ".join(literal(PurePosixPath(path).name) for path in merge.paths)
        return (
            f"SELECT *, {file.begin}::BIGINT AS {_SNAPSHOT} FROM {table(file.table, lake)} "
            f"WHERE _account = {literal(file.account or '')} AND parse_filename(filename) IN ({names})"
        )
    of_table = f"(SELECT * FROM {table(file.table)} WHERE false)"
    parts = []
    for path, begin in merge.sources:
        columns = _columns_in(connection, data, path)
        written = _SNAPSHOT if _SNAPSHOT in columns else f"{begin}::BIGINT"
        left_out = [name for name in (_SNAPSHOT, _ROW) if name in columns]
        exclude = f" EXCLUDE ({', '.join(left_out)})" if left_out else ""
        source = f"read_parquet({literal(_address(connection, data / path))}, hive_partitioning = false)"
        parts.append(f"SELECT *{exclude}, {written} AS {_SNAPSHOT} FROM {source}")
    return " UNION ALL BY NAME ".join([f"SELECT *, NULL::BIGINT AS {_SNAPSHOT} FROM {of_table}", *parts])


def deleted_rows(
    connection: Connection, data: Location, file: LakeFile, key: Sequence[str], others: Sequence[str]
) -> str:
    """Return SQL for the positions of a file's rows with a key that another, present file has too.

    A key is present once. So all these rows are deleted.
    """
    keys = ", ".join(map(identifier, key))
    listed_others = ", ".join(literal(_address(connection, data / path)) for path in others)
    source = literal(_address(connection, data / file.path))
    return (
        f"SELECT file_row_number AS pos FROM read_parquet({source}, file_row_number = true, hive_partitioning = false) "
        f"WHERE ({keys}) IN (SELECT ({keys}) FROM read_parquet([{listed_others}], hive_partitioning = false, "
        "union_by_name = true)) ORDER BY pos"
    )


def write_deletions(connection: Connection, data: Location, file: LakeFile, positions: str, made: Path) -> None:
    """Write a list of deleted rows, as DuckLake writes it."""
    path = literal(_address(connection, data / file.path))
    connection.execute(
        f"COPY (SELECT {path} AS file_path, pos FROM ({positions})) TO {literal(made)} "
        f"(FORMAT parquet, FIELD_IDS {_DELETION_IDS})"
    )


def new_path(file: LakeFile) -> str:
    """Return the path of a file that replaces another. Its name is new, because a file of the lake never changes."""
    end = "-delete.parquet" if file.is_delete else ".parquet"
    return str(PurePosixPath(file.path).with_name(f"ducklake-{secrets.token_hex(16)}{end}"))


def replace_file(connection: Connection, file: LakeFile, path: str, made: Path) -> None:
    """Let the catalog name another file, with the same rows in the same order, in place of one."""
    with made.open("rb") as written:
        written.seek(-_FOOTER, os.SEEK_END)
        footer = int.from_bytes(written.read(4), "little")
    (old,) = connection.fetch_one(f"SELECT path FROM {_table_of(file)} WHERE {_is(file)}")
    new = str(PurePosixPath(old).with_name(PurePosixPath(path).name))
    connection.execute(
        f"UPDATE {_table_of(file)} SET path = ?, file_size_bytes = ?, footer_size = ? WHERE {_is(file)}",
        [new, made.stat().st_size, footer],
    )
    if file.is_delete:
        return
    (start,) = connection.fetch_one(f"SELECT row_id_start FROM {_table_of(file)} WHERE {_is(file)}")
    if start is None:  # the rows had numbers of their own, which were lost
        of_table = f"table_id = (SELECT table_id FROM {_table_of(file)} WHERE {_is(file)})"
        (following,) = connection.fetch_one(
            f"SELECT next_row_id::BIGINT FROM {METADATA}.ducklake_table_stats WHERE {of_table}"
        )
        connection.execute(f"UPDATE {_table_of(file)} SET row_id_start = {following} WHERE {_is(file)}")
        connection.execute(
            f"UPDATE {METADATA}.ducklake_table_stats SET next_row_id = {following + file.records} WHERE {of_table}"
        )


def drop_file(connection: Connection, file: LakeFile) -> None:
    """Let no snapshot need a file of records any more, with the lists of its deleted rows. Its rows are lost."""
    for name in (
        "ducklake_data_file",
        "ducklake_delete_file",
        "ducklake_file_column_stats",
        "ducklake_file_partition_value",
        "ducklake_file_variant_stats",
    ):
        connection.execute(f"DELETE FROM {METADATA}.{name} WHERE data_file_id = {file.data_file_id}")


def drop_deletions(connection: Connection, file: LakeFile, following: LakeFile) -> None:
    """Let older snapshots read a later list of deleted rows in place of one that is lost.

    They lack the records then that were changed or removed in between.
    """
    connection.execute(f"DELETE FROM {_table_of(file)} WHERE {_is(file)}")
    connection.execute(f"UPDATE {_table_of(following)} SET begin_snapshot = {file.begin} WHERE {_is(following)}")


def batches_touching(connection: Connection, snapshots: Sequence[int]) -> list[str]:
    """Return the batches with commits that made these snapshots, as far as the snapshots are kept."""
    rows = connection.execute(
        """
        SELECT DISTINCT commit_extra_info ->> 'batch_id' AS batch_id FROM ducklake_snapshots('lake')
        WHERE list_contains(?::BIGINT[], snapshot_id) AND batch_id IS NOT NULL ORDER BY batch_id
        """,
        [list(snapshots)],
    ).fetch_all()
    return [batch_id for (batch_id,) in rows]


def write_keys(
    connection: Connection,
    data: Location,
    sources: Sequence[str],
    others: Sequence[tuple[str, str | None]],
    record_type: RecordType,
    made: Path,
) -> int:
    """Write the keys in some queries that no present record has, as NDJSON. Returns their number.

    others: the whole files of the account's present records, each with the list of its deleted rows. The table itself
    cannot be read while one of its files is damaged.
    """
    keys = ", ".join(map(identifier, record_type.key))
    present = []
    for path, deletions in others:
        source = f"read_parquet({literal(_address(connection, data / path))}, file_row_number = true)"
        without = ""
        if deletions is not None:
            of = literal(_address(connection, data / deletions))
            without = f" ANTI JOIN read_parquet({of}) x ON t.file_row_number = x.pos"
        present.append(f"SELECT {keys} FROM {source} t{without}")
    found = " UNION ALL ".join(f"SELECT {keys} FROM ({source})" for source in sources)
    kept = " UNION ALL ".join(present) or f"SELECT {keys} FROM ({found}) WHERE false"
    (number,) = connection.fetch_one(f"COPY (({found}) EXCEPT ({kept}) ORDER BY ALL) TO {literal(made)} (FORMAT json)")
    return int(number)


def require_keys(connection: Connection, source: str, record_type: RecordType) -> None:
    """Read the keys in a query. Raises what DuckDB raises if they cannot be read."""
    keys = ", ".join(map(identifier, record_type.key))
    connection.fetch_one(f"SELECT count(DISTINCT ({keys})) FROM ({source})")


def rows_in(path: Path) -> str:
    """Return SQL for the rows of a file of this machine."""
    return f"FROM read_parquet({literal(path)}, hive_partitioning = false)"


def _are_whole(connection: Connection, data: Location, paths: Sequence[str]) -> bool:
    try:
        compare(connection, data, paths)
    except (DamagedFile, StoreNotReady):
        return False
    return True


def _address(connection: Connection, place: Location) -> str:
    return str(place) if connection.objects is None else connection.objects.address(place)


def _rows_in(connection: Connection, data: Location, path: str) -> int:
    (number,) = connection.fetch_one(
        f"SELECT num_rows FROM parquet_file_metadata({literal(_address(connection, data / path))})"
    )
    return int(number)


def _columns_in(connection: Connection, data: Location, path: str) -> list[str]:
    rows = connection.execute(
        f"SELECT name FROM parquet_schema({literal(_address(connection, data / path))})"
    ).fetch_all()
    return [name for (name,) in rows]


def _written_in(connection: Connection, path: str) -> int | None:
    """Return the snapshot that wrote a file, from the ledger's row about it. None if there is no such row.

    Maintenance records its files in the commit after the one that made them: see `transaction.py`.
    """
    rows = connection.execute(
        """
        SELECT f.snapshot_id, coalesce(ends_with(s.commit_message, ': checksums'), false)
        FROM (SELECT snapshot_id FROM lake.ledger.files WHERE path = ?) f
        LEFT JOIN ducklake_snapshots('lake') s ON s.snapshot_id = f.snapshot_id
        """,
        [path],
    ).fetch_all()
    return int(rows[0][0]) - bool(rows[0][1]) if rows else None


def _snapshots(connection: Connection) -> set[int]:
    return {
        number for (number,) in connection.execute("SELECT snapshot_id FROM ducklake_snapshots('lake')").fetch_all()
    }


def _table_of(file: LakeFile) -> str:
    return f"{METADATA}.ducklake_delete_file" if file.is_delete else f"{METADATA}.ducklake_data_file"


def _is(file: LakeFile) -> str:
    """Return the condition on the catalog's row about a file. A file of records can have several lists of deletions."""
    return f"data_file_id = {file.data_file_id} AND begin_snapshot = {file.begin}"
