"""Makes a store with a long history: many batches of many accounts, nearly all expired, as years of imports leave it.

Run as a module: python -m tests.benchmarks.history_store BATCHES ACCOUNTS. It makes `store` in the current folder.

The rows are copies of those of real imports, and are kept in the catalog as small commits keep them.
"""

import sys
from dataclasses import replace
from pathlib import Path

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.lake import METADATA, Connection
from resources.record_store.ledger import newest
from resources.record_store.snapshots import current_number
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import ImportRequest, OnInvalid
from schemas.exports import ExportRequest

OWN = "growing"
"""The account that has records, a preview, a commit and an export."""

_BLOCK = 8
"""How many rows of the ledger a batch has: three states and five files."""

_EXPORT_EVERY = 10


def fill(store: RecordStore, batches: int, accounts: int) -> None:
    """Add batches of accounts to the ledger, as many minutes before now as there are batches. All have expired.

    The store must have at least one batch and one export. They are what the new rows are copied from. The rows are
    written to the catalog's tables: DuckLake takes an hour for so many.
    """
    with store.catalog_change() as connection:
        seq = newest(connection)[0] + 1
        last = _fill(connection, seq, batches, accounts)
        ledger_tables = f"SELECT table_id FROM {METADATA}.ducklake_inlined_data_tables"
        connection.execute(
            f"UPDATE {METADATA}.ducklake_table_stats SET next_row_id = ?, record_count = ? "
            f"WHERE table_id IN ({ledger_tables})",
            [last + 1, last + 1],
        )
        connection.execute(
            f"UPDATE {METADATA}.ducklake_table_column_stats SET max_value = ? WHERE column_id = 1 "
            f"AND table_id IN ({ledger_tables})",
            [str(last)],
        )
    for number in range(accounts):
        for kind in ("staging", "reports", "rejects", "exports"):
            (store.settings.accounts / _account(number) / kind).mkdir(parents=True, exist_ok=True)


def _account(number: int) -> str:
    return f"account-{number:05}"


def _put(connection: Connection, name: str, rows: str) -> None:
    """Add rows to a table of the ledger, as DuckLake keeps them in the catalog."""
    connection.execute(
        f"INSERT INTO {METADATA}.{connection.kept_in_catalog[name]} BY NAME "
        f"SELECT seq AS row_id, {current_number(connection)} AS begin_snapshot, * FROM ({rows})"
    )


def _fill(connection: Connection, seq: int, batches: int, accounts: int) -> int:
    """Write the rows with the numbers from `seq` on, without gaps. The files come after the states of their batch.

    Returns the number of the last row.
    """
    made = f"""
        SELECT {{}} FROM (
            SELECT i, 'account-' || lpad((i % {accounts})::VARCHAR, 5, '0') AS of_account,
                now() - INTERVAL 3 DAY - to_minutes({batches} - i) AS began,
                strftime(began, '%Y%m%d-%H%M%S') || '000-' || lpad(i::VARCHAR, 6, '0') AS id,
                {seq} + i * {_BLOCK} AS first
            FROM range({batches}) t(i)
        )
    """
    columns = "run_id, file_name, read, created, updated, unchanged, rejected, duplicate"
    states = {
        "previewed": ("first", "began", "previewed"),
        "committed": ("first + 1", "began + INTERVAL 1 MINUTE", "committed"),
        "expired": ("first + 2", "began + INTERVAL 1 DAY", "committed"),
    }
    for status, (number, at, like) in states.items():
        rows = made.format(
            f"{number} AS seq, {at} AS recorded_at, 'b-' || id AS batch_id, of_account AS account, "
            f"'{status}' AS status, 'benchmark' AS actor, sha256(id) AS file_sha256"
        )
        _put(
            connection,
            "batches",
            f"""
            SELECT made.*, record_type, {columns},
                regexp_replace(detail, '"committed_at": "[^"]*"', '"committed_at": "' || recorded_at || '"') AS detail
            FROM ({rows}) made, (
                SELECT record_type, {columns}, detail FROM lake.ledger.batches WHERE status = '{like}'
                ORDER BY seq DESC LIMIT 1)
            """,
        )
    for place, name in enumerate(
        ("staging/records.parquet", "staging/problems.parquet", "rejects/r.csv", "reports/report.html", "")
    ):
        kind, _, name = name.partition("/")
        path = f"'accounts/' || of_account || '/{kind}/b-' || id || '/{name}'"
        if not kind:
            path = "'lake/records/contacts/_account=' || of_account || '/ducklake-' || sha256(id) || '.parquet'"
        file = made.format(
            f"first + 3 + {place} AS seq, began AS recorded_at, {path} AS path, 1000 AS bytes, "
            "substr(sha256(id), 1, 16) AS checksum, of_account AS account, ['b-' || id] AS batches"
        )
        _put(connection, "files", file)
    after = seq + batches * _BLOCK
    rows = made.format(
        f"{after} + i // {_EXPORT_EVERY} AS seq, began AS recorded_at, 'e-' || id AS export_id, "
        "of_account AS account, sha256(id) AS sha256, '/exports/' || of_account || '.csv' AS path"
    )
    _put(
        connection,
        "exports",
        f"""
        SELECT made.*, like_it.* FROM ({rows} WHERE i % {_EXPORT_EVERY} = 0) made, (
            SELECT record_type, actor, run_id, format, columns, snapshot, snapshot_at, rows, bytes, detail
            FROM lake.ledger.exports ORDER BY seq DESC LIMIT 1) like_it
        """,
    )
    after += -(-batches // _EXPORT_EVERY)
    for table, values in {
        "accounts": "'benchmark' AS actor",
        "presets": "'contacts' AS record_type, 'names' AS name, ['external_id', 'email'] AS columns, 'x' AS actor",
    }.items():
        _put(
            connection,
            table,
            f"""
            SELECT {after} + i AS seq, now() AS recorded_at, 'account-' || lpad(i::VARCHAR, 5, '0') AS account, {values}
            FROM range({accounts}) t(i)
            """,
        )
        after += accounts
    return after - 1


def make(folder: Path, batches: int, accounts: int) -> str:
    """Make `store` in a folder. Returns the id of a batch of OWN that is previewed; another one is committed."""
    settings = Settings.from_environment({"RECORDS_HOME": str(folder / "store"), "RECORDS_ACTOR": "benchmark"})
    folder.mkdir(exist_ok=True)
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        batch_id = _preview(store, folder / "first.csv", "first")
    # The rows that are copied are of a commit that can be rolled back for a short time only.
    with RecordStore(replace(settings, rollback_hours=1e-6)) as store:
        _commit_and_export(store, "first", batch_id)
        fill(store, batches, accounts)
    with RecordStore(settings) as store:
        _commit_and_export(store, OWN, _preview(store, folder / "first.csv", OWN))
        return _preview(store, folder / "second.csv", OWN)


def _commit_and_export(store: RecordStore, account: str, batch_id: str) -> None:
    """Commit the batch, and export the records of its account."""
    Importer(store, "benchmark").commit(account, batch_id, OnInvalid.ABORT)
    ExportWriter(store, "benchmark").export(ExportRequest(account, "contacts"))


def _preview(store: RecordStore, file: Path, account: str) -> str:
    """Preview contacts that the file's name distinguishes from others. Returns the id of the batch."""
    rows = (f"{file.stem}-{number},{number}@example.org,lead" for number in range(100))
    file.write_text("\n".join(["external_id,email,status", *rows]) + "\n")
    return Importer(store, "benchmark").preview(ImportRequest(file, account, "contacts")).batch.batch_id


if __name__ == "__main__":
    print(make(Path.cwd(), *map(int, sys.argv[1:])))
