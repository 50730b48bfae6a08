"""Reads the ledger and counts the records, for a check of the store. Nothing here writes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from resources.record_store.lake import Connection
from resources.record_store.tables import LEDGER, exists, table

_SHOWN = 5


@dataclass(frozen=True)
class Numbers:
    """The numbers of the ledger's rows: how many there are, the last one, and the first that is missing or there twice.

    They are without gaps if no number is missing and none is there twice. An erasure removes rows, so numbers before
    the last one may be missing.
    """

    rows: int
    last: int
    missing: tuple[int, ...]
    twice: tuple[int, ...]


def numbers(connection: Connection) -> Numbers:
    """Return the numbers of the rows of all tables of the ledger."""
    names = [name for name in LEDGER if exists(connection, "ledger", name)]
    every = " UNION ALL ".join(f"SELECT seq FROM {connection.rows_of('ledger', name)}" for name in names)
    rows, last = connection.fetch_one(f"SELECT count(*), coalesce(max(seq), 0) FROM ({every})")
    erased = 0
    if "erasures" in names:
        (erased,) = connection.fetch_one(
            f"SELECT coalesce(max(seq), 0) FROM {connection.rows_of('ledger', 'erasures')}"
        )
    after = connection.execute(
        f"""
        SELECT coalesce(before, 0) + 1 FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM ({every}))
        WHERE seq > coalesce(before, 0) + 1 AND seq > ? ORDER BY 1 LIMIT {_SHOWN}
        """,
        [erased],
    ).fetch_all()
    doubled = connection.execute(
        f"SELECT seq FROM ({every}) GROUP BY seq HAVING count(*) > 1 ORDER BY seq LIMIT {_SHOWN}"
    ).fetch_all()
    return Numbers(rows, last, tuple(seq for (seq,) in after), tuple(seq for (seq,) in doubled))


def counts_of_catalog(connection: Connection, record_type: str, snapshot: int) -> dict[str, int]:
    """Return how many records of a type each account has in a snapshot, as the catalog says. No file is read."""
    rows = connection.execute(
        f"""
        SELECT account::VARCHAR, sum(records::BIGINT)::BIGINT FROM {connection.of_catalog(_records(snapshot))}
        WHERE table_name::VARCHAR = ? GROUP BY account
        """,
        [record_type],
    ).fetch_all()
    return dict(rows)


def _records(snapshot: int | None = None) -> str:
    """Return SQL of the catalog for the numbers of records by file, in a snapshot or at present.

    The catalog is read as it is now: its own database knows nothing of the snapshot that a transaction reads.
    """
    file, list_ = (
        f"{name}.end_snapshot IS NULL"
        if snapshot is None
        else f"{name}.begin_snapshot <= {snapshot:d} AND coalesce({name}.end_snapshot, {snapshot + 1:d}) > {snapshot:d}"
        for name in ("f", "x")
    )
    return f"""
        SELECT table_name, partition_value AS account, records FROM (
            SELECT data_file_id, table_id, record_count AS records FROM {{catalog}}.ducklake_data_file f WHERE {file}
            UNION ALL SELECT x.data_file_id, x.table_id, -delete_count FROM {{catalog}}.ducklake_delete_file x
            JOIN {{catalog}}.ducklake_data_file f ON f.data_file_id = x.data_file_id WHERE {file} AND {list_}
        ) n
        JOIN {{catalog}}.ducklake_file_partition_value p ON n.data_file_id = p.data_file_id
        JOIN {{catalog}}.ducklake_table t ON t.table_id = n.table_id
        WHERE t.end_snapshot IS NULL
    """


def records_by_batch(
    connection: Connection, record_type: str, accounts: Collection[str] | None
) -> list[tuple[str, str, int]]:
    """Return account, batch and number of the present records of a type, of some accounts, or of all if None.

    It reads the files of these accounts only, because the files of another one may be damaged.
    """
    counted = f"SELECT _account, _batch, count(*) FROM {connection.rows_of('records', record_type)}"
    if accounts is None:
        return connection.execute(f"{counted} GROUP BY ALL ORDER BY ALL").fetch_all()
    of_one = f"{counted} WHERE _account = ? GROUP BY ALL ORDER BY ALL"
    return [row for account in sorted(accounts) for row in connection.execute(of_one, [account]).fetch_all()]


def written_by(connection: Connection, record_type: str, account: str, batch_id: str) -> int:
    """Return how many records of an account name a batch, in the snapshot of the connection."""
    (number,) = connection.fetch_one(
        f"SELECT count(*) FROM {table(record_type)} WHERE _account = ? AND _batch = ?", [account, batch_id]
    )
    return int(number)


def bytes_written(connection: Connection, since: datetime) -> tuple[int, datetime | None]:
    """Return the bytes of the files that the store has written since a time, and when it wrote its first file."""
    number, first = connection.fetch_one(
        "SELECT coalesce(sum(bytes) FILTER (recorded_at >= ?), 0)::BIGINT, min(recorded_at) FROM lake.ledger.files",
        [since],
    )
    return number, first


def records_of(connection: Connection, account: str) -> int:
    """Return how many present records of all types an account has, as the catalog says. No file is read."""
    (number,) = connection.fetch_one(
        f"SELECT coalesce(sum(records::BIGINT), 0)::BIGINT FROM {connection.of_catalog(_records())} "
        "WHERE account::VARCHAR = ?",
        [account],
    )
    return int(number)


def files_previewed(connection: Connection, account: str, since: datetime) -> set[str]:
    """Return the SHA-256 of the different files that an account has previewed since a time."""
    rows = connection.execute(
        f"""
        SELECT file_sha256 FROM {connection.rows_of("ledger", "batches")}
        WHERE account = ? AND status = 'previewed' GROUP BY file_sha256 HAVING min(recorded_at) >= ?
        """,
        [account, since],
    ).fetch_all()
    return {sha256 for (sha256,) in rows}
