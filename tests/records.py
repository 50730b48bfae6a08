"""Files to import, and records as they are stored, for tests."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resources.record_store import RecordStore, ledger
from schemas.batches import ImportRequest, Mode, OnDuplicate

Row = Mapping[str, str]


def write_csv(path: Path, rows: Iterable[Row], headers: Iterable[str] | None = None) -> Path:
    """Write a CSV file of the rows; its columns are those of the first row unless given."""
    rows = list(rows)
    names = list(headers or rows[0])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def contact(number: int, **fields: str) -> Row:
    """Return a valid contact."""
    return {"external_id": f"C-{number:06}", "status": "lead", "amount": f"{number}.50", **fields}


def contacts_of(
    path: Path,
    account: str = "ua",
    mode: Mode = Mode.UPSERT,
    on_duplicate: OnDuplicate = OnDuplicate.REJECT,
    column_map: Mapping[str, str] | None = None,
    *,
    again: bool = False,
) -> ImportRequest:
    """Return a request to import a file of contacts."""
    return ImportRequest(path, account, "contacts", mode, on_duplicate, column_map or {}, again=again)


def stored(store: RecordStore, record_type: str = "contacts", account: str = "ua") -> list[dict[str, Any]]:
    """Return an account's records with the store's own columns, in the order of the table's columns."""
    with store.reading() as connection:
        result = connection.execute(
            f'SELECT * FROM lake.records."{record_type}" WHERE _account = ? ORDER BY ALL', [account]
        )
        names = result.columns
        return [dict(zip(names, row, strict=True)) for row in result.fetch_all()]


def values(store: RecordStore, field: str, record_type: str = "contacts", account: str = "ua") -> dict[Any, Any]:
    """Return one field of an account's contacts, by external id."""
    return {row["external_id"]: row[field] for row in stored(store, record_type, account)}


def put(store: RecordStore, sql: str, account: str = "ua", batch_id: str | None = None) -> int:
    """Write the result of a query to an account's contacts, in one commit, like an import. Returns the snapshot.

    The query gives fields of contacts by name, external_id and status among them.
    """
    with store.transaction("put", "tester", batch_id) as transaction:
        if account not in ledger.accounts(transaction.connection):
            transaction.append(ledger.append_account, transaction.at, account, "tester")
        transaction.connection.execute(
            f"INSERT INTO lake.records.contacts BY NAME SELECT ? AS _account, ? AS _batch, * FROM ({sql})",
            [account, batch_id or "b-none"],
        )
    assert transaction.snapshot is not None
    return transaction.snapshot


def change(store: RecordStore, sql: str) -> None:
    """Change the records by a statement, in one commit."""
    with store.transaction("change", "tester") as transaction:
        transaction.connection.execute(sql)
