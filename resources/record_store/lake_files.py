"""The files of the lake: lists them, flushes them, records their checksums, and compares them before they are read.

DuckLake does not flush the Parquet files that it writes, and does not compare their bytes when it reads them. So each
transaction flushes its files before it commits, and records a checksum of each. Every reader compares a file first.
Otherwise a bit that has changed on the disk would come back as a value.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from resources.checksums import checksum
from resources.file_storage import is_local, names_matching, size_of, sync
from resources.record_store import ledger, ledger_files
from resources.record_store.lake import METADATA, Connection
from resources.record_store.pending_files import pending_files
from resources.record_store.refusals import damaged, no_checksum
from resources.record_store.sql_text import literal
from resources.record_store.tables import table
from schemas.errors import DamagedFile, RecordsError, Refused
from schemas.files import StoredFile
from schemas.location import Location

LAKE = "lake"
"""The lake's folder below the data. The paths of its files begin with it."""

EVERYWHERE = (f"{LAKE}/**/ducklake-*.parquet",)
"""Matches all files that DuckLake may have written."""

_AT_ONCE = 4
"""How many files of an object store are compared at a time."""

_NAMED = f"""
    SELECT '{LAKE}/' || t.folder || f.path AS path, f.file_size_bytes AS bytes, t.schema_name, t.table_name,
        f.begin_snapshot, f.end_snapshot, f.is_delete, p.partition_value AS account,
        t.relative AND f.relative AS relative, f.data_file_id, f.records
    FROM (
        SELECT data_file_id, table_id, path, file_size_bytes, begin_snapshot, end_snapshot, 0 AS is_delete,
            path_is_relative AS relative, record_count AS records FROM {{catalog}}.ducklake_data_file
        UNION ALL
        SELECT data_file_id, table_id, path, file_size_bytes, begin_snapshot, end_snapshot, 1,
            path_is_relative, delete_count FROM {{catalog}}.ducklake_delete_file
    ) f
    JOIN (
        SELECT DISTINCT table_id, schema_name, table_name, s.path || t.path AS folder,
            s.path_is_relative AND t.path_is_relative AS relative
        FROM {{catalog}}.ducklake_table t JOIN {{catalog}}.ducklake_schema s USING (schema_id)
    ) t USING (table_id)
    LEFT JOIN {{catalog}}.ducklake_file_partition_value p ON f.data_file_id = p.data_file_id
"""


def _named(connection: Connection) -> str:
    """Return SQL for every file that any snapshot needs.

    A file of deletions belongs to the account of the records that it deletes.
    """
    return f"""
        SELECT path::VARCHAR AS path, bytes::BIGINT AS bytes, schema_name::VARCHAR AS schema_name,
            table_name::VARCHAR AS table_name, begin_snapshot::BIGINT AS begin_snapshot,
            end_snapshot::BIGINT AS end_snapshot, is_delete::BIGINT::BOOLEAN AS is_delete, account::VARCHAR AS account,
            relative::BOOLEAN AS relative, data_file_id::BIGINT AS data_file_id, records::BIGINT AS records
        FROM {connection.of_catalog(_NAMED)}
    """


@dataclass(frozen=True)
class NamedFile:
    """A file that the catalog names: its path below the data, its bytes, and whether it is in the lake's folder."""

    path: str
    bytes: int
    relative: bool = True


@dataclass(frozen=True)
class LakeFile:
    """A file that the catalog names, with what it says of it.

    schema: `records` or `ledger`. end: the snapshot from which no snapshot needs it; None if the present one does.
    data_file_id: of the file itself, or of the file with the records that it deletes.
    records: how many it has or deletes.
    """

    path: str
    bytes: int
    schema: str
    table: str
    begin: int
    end: int | None
    is_delete: bool
    account: str | None
    data_file_id: int
    records: int


def patterns_of(record_type: str, account: str) -> tuple[str, ...]:
    """Return patterns of all files that a change of one account's records of a type can make."""
    folder = f"{LAKE}/records/{record_type}"
    return f"{folder}/ducklake-*.parquet", f"{folder}/_account={account}/ducklake-*.parquet"


def named(connection: Connection) -> list[NamedFile]:
    """Return the files that any snapshot needs, sorted by path."""
    rows = connection.execute(
        f"SELECT DISTINCT path, bytes, relative FROM ({_named(connection)}) ORDER BY ALL"
    ).fetch_all()
    return [NamedFile(*row) for row in rows]


def listed(connection: Connection) -> list[LakeFile]:
    """Return all that the catalog says of the files that any snapshot needs, sorted by path."""
    rows = connection.execute(
        "SELECT DISTINCT path, bytes, schema_name, table_name, begin_snapshot, end_snapshot, is_delete, account, "
        f"data_file_id, records FROM ({_named(connection)}) ORDER BY ALL"
    ).fetch_all()
    return [LakeFile(*row) for row in rows]


def bytes_of(connection: Connection, account: str) -> int:
    """Return the bytes of the files with an account's records, of the present and of earlier snapshots."""
    (number,) = connection.fetch_one(
        f"SELECT coalesce(sum(bytes), 0)::BIGINT FROM (SELECT DISTINCT path, bytes FROM ({_named(connection)}) "
        "WHERE account = ?)",
        [account],
    )
    return int(number)


def needed(connection: Connection) -> list[NamedFile]:
    """Return the files to copy for any snapshot, sorted by path. Raises Refused if one is outside the data."""
    files = named(connection)
    if not all(file.relative for file in files):
        raise Refused(
            "The store has files outside its folder of data, which would not be copied.",
            "Another program than records has changed the store. Export its records and import them there.",
        )
    return files


def record_numbers(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of records by record type and account, as the catalog counts them."""
    counted = connection.of_catalog(
        """
        SELECT t.table_name, p.partition_value AS account, f.record_count AS records, d.delete_count AS deleted
        FROM {catalog}.ducklake_data_file f
        JOIN {catalog}.ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
        JOIN {catalog}.ducklake_schema s ON s.schema_id = t.schema_id AND s.schema_name = 'records'
        LEFT JOIN {catalog}.ducklake_file_partition_value p ON p.data_file_id = f.data_file_id
        LEFT JOIN {catalog}.ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
        WHERE f.end_snapshot IS NULL
        """
    )
    rows = connection.execute(
        f"""
        SELECT table_name::VARCHAR, account::VARCHAR,
            sum(records::BIGINT - coalesce(deleted::BIGINT, 0))::BIGINT AS found
        FROM {counted} GROUP BY ALL HAVING found > 0 ORDER BY ALL
        """
    ).fetch_all()
    return {(name, account): number for name, account, number in rows}


def read_numbers(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of records by record type and account, after reading them."""
    found: dict[tuple[str, str], int] = {}
    for name in ledger.record_types(connection):
        rows = connection.execute(f"SELECT _account, count(*) FROM {table(name)} GROUP BY _account").fetch_all()
        found |= {(name, account): number for account, number in rows}
    return found


def retired(connection: Connection) -> list[str]:
    """Return the paths of files that no snapshot needs, and that are not removed yet, sorted."""
    rows = connection.execute(
        f"SELECT path FROM {METADATA}.ducklake_files_scheduled_for_deletion "
        "WHERE path_is_relative::BOOLEAN ORDER BY path"
    ).fetch_all()
    return [f"{LAKE}/{path}" for (path,) in rows]


def existing(data: Location, patterns: Iterable[str]) -> set[str]:
    """Return the paths of the files below the data that match the patterns."""
    return {path for pattern in patterns for path in names_matching(data, pattern)}


def unknown(connection: Connection, paths: Collection[str]) -> set[str]:
    """Return the paths that neither the catalog nor the ledger knows."""
    listed = {file.path for file in named(connection)} | set(retired(connection))
    return set(paths) - listed - ledger_files.files(connection, paths).keys()


def unlisted(connection: Connection, data: Location, paths: Collection[str]) -> list[StoredFile]:
    """Return the files that the ledger does not know. Those that the catalog names have checksums."""
    new = set(paths) - ledger_files.files(connection, paths).keys()
    listed = {file.path for file in named(connection)}
    left, pending = new - listed - set(retired(connection)), pending_files(data)
    return [
        *(pending[path] for path in sorted(new & listed & pending.keys())),
        *written(connection, data, (new & listed) - pending.keys(), None, None),
        *map(StoredFile, sorted(left)),
    ]


def known_files(connection: Connection, data: Location, paths: Collection[str]) -> dict[str, StoredFile]:
    """Return the recorded versions of files, by path, including files with a ledger commit still to come."""
    known = ledger_files.files(connection, paths)
    if set(paths) - known.keys():
        known = pending_files(data) | known
        if set(paths) - known.keys():  # that commit may have come meanwhile
            known |= ledger_files.files(connection, paths)
    return known


def written(
    connection: Connection, data: Location, paths: Iterable[str], account: str | None, batch_id: str | None
) -> list[StoredFile]:
    """Flush new files, and the names of their folders. Returns the files with their checksums."""
    files = []
    for path in sorted(paths):
        place = data / path
        if is_local(place):
            sync(place)
        batches = (batch_id,) if batch_id else _batches_in(connection, place)
        objects = connection.objects
        digest = connection.checksums.of(place) if objects is None else objects.checksum(place)
        files.append(StoredFile(path, size_of(place), digest, account or _account_of(path), batches))
    if is_local(data):
        folders = {folder for file in files for folder in PurePosixPath(file.path).parents}
        for folder in sorted(folders, reverse=True):
            sync(data / folder)
    return files


def without_checksum(connection: Connection, data: Location) -> list[StoredFile]:
    """Return the files that the catalog names and the ledger does not know, with their checksums."""
    paths = [file.path for file in named(connection)]
    return written(connection, data, set(paths) - ledger_files.files(connection, paths).keys(), None, None)


def compare_descriptions(connection: Connection, data: Location) -> None:
    """Compare the small files that describe the record types. All other files depend on them.

    Raises DamagedFile. Skips files with a commit of their checksums that is still to come.
    """
    files = connection.of_catalog(
        f"SELECT DISTINCT path FROM ({_NAMED}) n WHERE schema_name = 'ledger' AND table_name = 'record_types'"
    )
    rows = connection.execute(f"SELECT path::VARCHAR FROM {files}").fetch_all()
    known = ledger_files.files(connection, [path for (path,) in rows])
    _compare_known(connection, data, known, sorted(known), anew=False)


def needed_by(
    connection: Connection, snapshots: Collection[int], record_type: str, account: str | None, condition: str = "true"
) -> list[str]:
    """Return the paths of the files that snapshots need of a type's records, of one account or of all, sorted.

    condition: a condition on `bytes` in SQL of the catalog's database, for fewer files.
    """
    owned = "true" if account is None else f"(account = {literal(account)} OR account IS NULL)"
    needed = " OR ".join(
        f"(begin_snapshot <= {number} AND (end_snapshot IS NULL OR end_snapshot > {number}))" for number in snapshots
    )
    files = connection.of_catalog(  # which filters by itself: DuckDB plans a query on all columns for 4 ms
        f"SELECT DISTINCT path FROM ({_NAMED}) n "
        f"WHERE ({needed}) AND schema_name = 'records' AND table_name = {literal(record_type)} AND {owned} "
        f"AND ({condition})"
    )
    rows = connection.execute(f"SELECT path::VARCHAR AS path FROM {files} ORDER BY path").fetch_all()
    return [path for (path,) in rows]


def compare(connection: Connection, data: Location, paths: Sequence[str], *, anew: bool = False) -> None:
    """Compare files with their checksums. Raises DamagedFile for the first that is missing or differs.

    anew: read also the files that this operation has read already.
    """
    _compare_known(connection, data, known_files(connection, data, paths), paths, anew=anew)


def _compare_known(
    connection: Connection, data: Location, known: Mapping[str, StoredFile], paths: Sequence[str], *, anew: bool
) -> None:
    read = checksum if anew else connection.checksums.of
    objects = connection.objects

    def is_whole(path: str) -> bool:
        if path not in known:
            return False
        try:
            if objects is not None and path.startswith(f"{LAKE}/"):
                return objects.is_whole(data / path, known[path].checksum, anew=anew)
            return known[path].has_version(read(data / path))
        except (FileNotFoundError, DamagedFile):
            return False

    if is_local(data):
        whole = [is_whole(path) for path in paths]
    else:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            whole = list(threads.map(is_whole, paths))
    for path, is_as_written in zip(paths, whole, strict=True):
        if not is_as_written:
            raise not_whole(data, path, known.get(path))


def compare_read(connection: Connection, data: Location) -> None:
    """Compare the files that DuckDB has read from an object store, and that were not compared before.

    There are such files if maintenance ran at the same time. Raises DamagedFile, and the errors of reading and writing
    objects since the connection was opened.
    """
    if connection.objects is None:
        return
    connection.objects.require_written()
    uncompared = connection.objects.uncompared(data)
    if uncompared:
        compare(connection, data, sorted(known_files(connection, data, uncompared)))


def not_whole(data: Location, path: str, known: StoredFile | None) -> RecordsError:
    """Return the error for a file that is missing or differs from its recorded version."""
    place = data / path
    size = size_of(place)
    if size is None:
        what = "is missing"
    elif known is None:  # another program has written it
        return no_checksum(place)
    elif size != known.bytes:
        what = f"has {size:,} bytes, and {known.bytes or 0:,} were written"
    else:
        what = "has other bytes than were written"
    return damaged(place, what, known)


def _account_of(path: str) -> str | None:
    """Return the account that the folder of a file names; None if it names none."""
    folder = PurePosixPath(path).parent.name
    return folder.removeprefix("_account=") if folder.startswith("_account=") else None


def _batches_in(connection: Connection, place: Location) -> tuple[str, ...]:
    """Return the batches that wrote the records of a file; none for a file without records."""
    if place.name.endswith("-delete.parquet") or _account_of(str(place)) is None:
        return ()
    path = str(place) if connection.objects is None else connection.objects.address(place)
    (batches,) = connection.fetch_one(
        f"SELECT list(DISTINCT _batch ORDER BY _batch) FROM read_parquet({literal(path)}, hive_partitioning = false)"
    )
    return tuple(batches or ())
