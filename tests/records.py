"""Files to import and records as they lie in the store, for tests."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resources.record_store import RecordStore
from schemas.batches import ImportRequest, Mode, OnDuplicate

Row = Mapping[str, str]


def write_csv(path: Path, rows: Iterable[Row], headers: Iterable[str] | None = None) -> Path:
    """A CSV file of the rows; its columns are those of the first row unless given."""
    rows = list(rows)
    names = list(headers or rows[0])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def contact(number: int, **fields: str) -> Row:
    """A contact that is valid as it stands."""
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
    """A request to import a file of contacts."""
    return ImportRequest(path, account, "contacts", mode, on_duplicate, column_map or {}, again=again)


def stored(store: RecordStore, record_type: str = "contacts", account: str = "ua") -> list[dict[str, Any]]:
    """An account's records with the store's own columns, in the order of the table's columns."""
    with store.reading() as connection:
        result = connection.execute(
            f'SELECT * FROM lake.records."{record_type}" WHERE _account = ? ORDER BY ALL', [account]
        )
        names = result.columns
        return [dict(zip(names, row, strict=True)) for row in result.fetch_all()]


def values(store: RecordStore, field: str, record_type: str = "contacts", account: str = "ua") -> dict[Any, Any]:
    """One field of an account's contacts, by external id."""
    return {row["external_id"]: row[field] for row in stored(store, record_type, account)}
