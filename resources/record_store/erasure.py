"""Removes records from every file of the lake, so that no snapshot and no byte has them any more.

DuckLake can delete a record from the present only. Earlier snapshots keep its file. So each file with such a record is
written anew without it, and takes the place of the old file in DuckLake's own tables. The file keeps its number, its
snapshots and the order of its records. Three things follow from the removed positions, and are corrected with them:

- a file of deletions names positions, so it is written anew with the positions of the shorter file;
- the least and greatest values of each column, of the file and of its table, are those of the records that are left;
- a file without any record left is removed from the tables, with its deletions.

Other records stay exactly as they are, in each snapshot: see `tests/test_erasure.py`.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import duckdb

from resources.record_store.lake import METADATA, Connection
from resources.record_store.lake_files import LAKE, compare, existing, named, retired
from resources.record_store.snapshots import current_number
from resources.record_store.sql_text import identifier, literal
from resources.record_store.tables import sql_type
from schemas.location import Location
from schemas.record_type import RecordType

_STATISTICS = {
    "column_size_bytes": "column_size_bytes",
    "null_count": "null_count",
    "min_value": "min",
    "max_value": "max",
    "contains_nan": "has_nan",
}


@dataclass(frozen=True)
class LakeFile:
    """A file of records that DuckLake's tables name: its number, its path below the data, and how it is counted."""

    number: int
    table: int
    path: str
    records: int
    bytes: int
    begin: int
    is_present: bool


@dataclass(frozen=True)
class Rewritten:
    """A step of an erasure: the removed records, and the paths of the files that nothing names any more."""

    records: int
    paths: tuple[str, ...]


class RecordsErasure:
    """The records of one account to remove from the files of a type. `lists` must come first.

    data: where the store's files are.
    """

    def __init__(self, connection: Connection, data: Location, record_type: RecordType, account: str) -> None:
        self._connection = connection
        self._data = data
        self._type = record_type
        self._account = account
        self._folder = f"{LAKE}/records/{record_type.name}"
        self._key = ", ".join(map(identifier, record_type.key))

    def files(self) -> list[LakeFile]:
        """Returns the account's files of records that any snapshot needs, oldest first."""
        rows = self._connection.execute(
            f"""
            SELECT f.data_file_id, f.table_id, f.path, f.record_count, f.file_size_bytes, f.begin_snapshot,
                f.end_snapshot IS NULL
            FROM {METADATA}.ducklake_data_file f
            JOIN {METADATA}.ducklake_table t USING (table_id)
            JOIN {METADATA}.ducklake_schema s USING (schema_id)
            JOIN {METADATA}.ducklake_file_partition_value p USING (data_file_id)
            WHERE s.schema_name = 'records' AND t.table_name = ? AND t.end_snapshot IS NULL AND p.partition_value = ?
            ORDER BY f.data_file_id
            """,
            [self._type.name, self._account],
        ).fetch_all()
        return [
            LakeFile(number, table, f"{self._folder}/{path}", records, size, begin, is_present)
            for number, table, path, records, size, begin, is_present in rows
        ]

    def lists(self, keys: Iterable[Sequence[Any]]) -> None:
        """List the keys to remove, in a temporary table of this connection."""
        columns = ", ".join(f"{identifier(name)} {self._sql_type(name)}" for name in self._type.key)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE erased ({columns})")
        marks = ", ".join("?" * len(self._type.key))
        for key in keys:
            self._connection.execute(f"INSERT INTO erased VALUES ({marks})", list(key))

    def keys(self, conditions: Mapping[str, Any]) -> set[tuple[Any, ...]]:
        """Returns the keys of all records, of any snapshot, that have these values."""
        files = self.files()
        if not files:
            return set()
        compare(self._connection, self._data, [file.path for file in files])
        wanted = " AND ".join(f"{identifier(name)} = ?" for name in conditions)
        rows = self._connection.execute(
            f"SELECT DISTINCT {self._key} FROM {self._read(file.path for file in files)} WHERE {wanted}",
            list(conditions.values()),
        )
        return set(rows.fetch_all())

    def versions(self) -> list[dict[str, Any]]:
        """Returns each version of the listed records that any file has, by field. Records with their batch."""
        files = [file.path for file in self.files()]
        if not files:
            return []
        compare(self._connection, self._data, files)
        found = self._connection.execute(
            f"SELECT DISTINCT * FROM {self._read(files)} WHERE ({self._key}) IN (FROM erased)"
        )
        columns = found.columns
        return [dict(zip(columns, row, strict=True)) for row in found.fetch_all()]

    def affected(self) -> dict[LakeFile, int]:
        """Returns the files with listed records, and how many records each has of them."""
        files = {file.path: file for file in self.files()}
        if not files:
            return {}
        rows = self._connection.execute(
            f"SELECT filename, count(*) FROM {self._read(files)} WHERE ({self._key}) IN (FROM erased) GROUP BY filename"
        ).fetch_all()
        by_name = {PurePosixPath(path).name: file for path, file in files.items()}
        return {by_name[PurePosixPath(name).name]: records for name, records in rows}

    def superfluous(self) -> list[str]:
        """Returns the paths of files with listed records that no snapshot needs.

        They wait for their removal, or a killed process left them. A file that cannot be read counts as well, because
        it may be a part of such a file.
        """
        mine = f"{self._folder}/_account={self._account}/"
        known = {file.path for file in named(self._connection)}
        loose = set(retired(self._connection)) | existing(self._data, [f"{mine}ducklake-*.parquet"])
        return sorted(path for path in loose - known if path.startswith(mine) and self.has_listed(path))

    def rewrite(self, file: LakeFile) -> Rewritten:
        """Write a file anew without the listed records, with its deletions, in the transaction of the connection.

        Returns the number of removed records, and the files that the commit makes superfluous.
        """
        connection = self._connection
        compare(connection, self._data, [file.path])
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE gone AS SELECT file_row_number AS _pos "
            f"FROM {self._read([file.path], 'file_row_number = true')} WHERE ({self._key}) IN (FROM erased)"
        )
        (removed,) = connection.fetch_one("SELECT count(*) FROM gone")
        if not removed:
            return Rewritten(0, ())
        deletions = self._deletions(file)
        if removed == file.records:
            self.remove([file])
            return Rewritten(removed, (file.path, *deletions.values()))
        path = f"{self._folder}/_account={self._account}/ducklake-{secrets.token_hex(16)}.parquet"
        written = self._copy(
            f"SELECT * EXCLUDE (file_row_number) FROM {self._read([file.path], 'file_row_number = true', name=False)} "
            "ANTI JOIN gone ON _pos = file_row_number ORDER BY file_row_number",
            path,
            file.path,
        )
        self._replace("ducklake_data_file", "data_file_id", file.number, path, written, "record_count")
        self._set_statistics(file, written["column_statistics"])
        self._count_table(file, removed, written["file_size_bytes"])
        replaced = [file.path]
        for number, old in deletions.items():
            replaced.append(old)
            self._rewrite_deletions(number, old, path)
        self._set_table_statistics(file.table)
        return Rewritten(removed, tuple(replaced))

    def remove(self, files: Collection[LakeFile]) -> tuple[str, ...]:
        """Remove whole files from DuckLake's tables. Returns the paths that nothing names any more."""
        paths: list[str] = []
        for file in files:
            paths += [file.path, *self._deletions(file).values()]
            for table in ("data_file", "delete_file", "file_column_stats", "file_partition_value"):
                self._connection.execute(
                    f"DELETE FROM {METADATA}.ducklake_{table} WHERE data_file_id = ?", [file.number]
                )
            self._count_table(file, file.records, 0)
        for number in {file.table for file in files}:
            self._set_table_statistics(number)
        return tuple(paths)

    def first_snapshot(self) -> int | None:
        """Returns the first snapshot of which a file has listed records. Returns None if no file has any."""
        return min((file.begin for file in self.affected()), default=None)

    def _deletions(self, file: LakeFile) -> dict[int, str]:
        """Returns the files of deletions from a file of records: the path by number."""
        rows = self._connection.execute(
            f"SELECT delete_file_id, path FROM {METADATA}.ducklake_delete_file WHERE data_file_id = ? ORDER BY ALL",
            [file.number],
        ).fetch_all()
        return {number: f"{self._folder}/{path}" for number, path in rows}

    def _rewrite_deletions(self, number: int, old: str, records: str) -> None:
        """Write a file of deletions anew: without the removed positions, and with those of the shorter file."""
        compare(self._connection, self._data, [old])
        left = (
            f"SELECT * REPLACE ({literal(self._address(records))} AS file_path, "
            "pos - (SELECT count(*) FROM gone WHERE _pos < d.pos) AS pos) "
            f"FROM {self._read([old], name=False)} d WHERE pos NOT IN (SELECT _pos FROM gone) ORDER BY pos"
        )
        (count,) = self._connection.fetch_one(f"SELECT count(*) FROM ({left})")
        if not count:
            self._connection.execute(f"DELETE FROM {METADATA}.ducklake_delete_file WHERE delete_file_id = ?", [number])
            return
        path = f"{self._folder}/ducklake-{secrets.token_hex(16)}-delete.parquet"
        written = self._copy(left, path, old)
        self._replace("ducklake_delete_file", "delete_file_id", number, path, written, "delete_count")

    def _copy(self, query: str, path: str, like: str) -> dict[str, Any]:
        """Write the rows of a query to a new file with the field ids of another one. Returns DuckDB's statistics."""
        ids = self._connection.execute(
            f"SELECT name, field_id FROM parquet_schema({literal(self._address(like))}) WHERE field_id IS NOT NULL"
        ).fetch_all()
        fields = ", ".join(f"{identifier(name)}: {number}" for name, number in ids)
        done = self._connection.execute(
            f"COPY ({query}) TO {literal(self._address(path))} (FORMAT parquet, RETURN_STATS, FIELD_IDS {{{fields}}})"
        )
        columns = done.columns
        (row,) = done.fetch_all()
        return dict(zip(columns, row, strict=True))

    def _replace(self, table: str, key: str, number: int, path: str, written: Mapping[str, Any], count: str) -> None:
        self._connection.execute(
            f"UPDATE {METADATA}.{table} SET path = ?, {count} = ?, file_size_bytes = ?, footer_size = ? "
            f"WHERE {key} = ?",
            [
                path.removeprefix(f"{self._folder}/"),
                written["count"],
                written["file_size_bytes"],
                written["footer_size_bytes"],
                number,
            ],
        )

    def _set_statistics(self, file: LakeFile, statistics: Mapping[str, Mapping[str, str]]) -> None:
        columns = dict(
            self._connection.execute(
                f"SELECT column_name, column_id FROM {METADATA}.ducklake_column "
                "WHERE table_id = ? AND end_snapshot IS NULL",
                [file.table],
            ).fetch_all()
        )
        for quoted, found in statistics.items():
            name = quoted[1:-1].replace('""', '"')
            if name not in columns:
                continue  # one of DuckLake's own
            values = {ours: found.get(theirs) for ours, theirs in _STATISTICS.items()}
            nan = values["contains_nan"]
            values["contains_nan"] = None if nan is None else str(int(nan in ("true", "1")))
            values["value_count"] = str(int(found["num_values"]) - int(found.get("null_count", 0)))
            self._connection.execute(
                f"UPDATE {METADATA}.ducklake_file_column_stats SET {', '.join(f'{name} = ?' for name in values)} "
                "WHERE data_file_id = ? AND column_id = ?",
                [*values.values(), file.number, columns[name]],
            )

    def _count_table(self, file: LakeFile, removed: int, size: int) -> None:
        """Correct the numbers of the table. They count the files that the present needs."""
        if file.is_present:
            self._connection.execute(
                f"UPDATE {METADATA}.ducklake_table_stats SET record_count = greatest(record_count - ?, 0), "
                "file_size_bytes = greatest(file_size_bytes - ?, 0) WHERE table_id = ?",
                [removed, file.bytes - size, file.table],
            )

    def _set_table_statistics(self, table: int) -> None:
        """Make the least and greatest values of a table's columns those of its files."""
        rows = self._connection.execute(
            f"""
            SELECT c.column_id, c.column_name, list(s.min_value), list(s.max_value),
                count(*) FILTER (s.value_count > 0 AND s.min_value IS NULL)
            FROM {METADATA}.ducklake_column c
            LEFT JOIN {METADATA}.ducklake_file_column_stats s ON s.table_id = c.table_id AND s.column_id = c.column_id
            WHERE c.table_id = ? AND c.end_snapshot IS NULL GROUP BY ALL
            """,
            [table],
        ).fetch_all()
        for column, name, least, greatest, unknown in rows:
            kind = self._sql_type(name)
            low, high = self._connection.fetch_one(
                f"SELECT arg_min(t, t::{kind}), arg_max(u, u::{kind}) "
                "FROM (SELECT unnest(?::VARCHAR[]) AS t, unnest(?::VARCHAR[]) AS u)",
                [least, greatest],
            )
            self._connection.execute(
                f"UPDATE {METADATA}.ducklake_table_column_stats SET min_value = ?, max_value = ? "
                "WHERE table_id = ? AND column_id = ?",
                [None if unknown else low, None if unknown else high, table, column],
            )

    def has_listed(self, path: str) -> bool:
        """Returns whether a file of records has listed ones, or cannot be read."""
        try:
            (found,) = self._connection.fetch_one(
                f"SELECT count(*) FROM {self._read([path])} WHERE ({self._key}) IN (FROM erased)"
            )
        except (duckdb.Error, OSError):
            return True
        return bool(found)

    def _read(self, paths: Iterable[str], *options: str, name: bool = True) -> str:
        files = ", ".join(literal(self._address(path)) for path in paths)
        given = ["union_by_name = true", "hive_partitioning = false", *options, *(["filename = true"] if name else [])]
        return f"read_parquet([{files}], {', '.join(given)})"

    def _address(self, path: str) -> str:
        place, objects = self._data / path, self._connection.objects
        return str(place) if objects is None else objects.address(place)

    def _sql_type(self, name: str) -> str:
        return sql_type(self._type.field(name).type) if name in self._type.field_names else "VARCHAR"


def oldest_snapshot(connection: Connection) -> int:
    """Returns the number of the oldest snapshot that is kept."""
    (number,) = connection.fetch_one(f"SELECT min(snapshot_id) FROM {METADATA}.ducklake_snapshot")
    return current_number(connection) if number is None else int(number)
