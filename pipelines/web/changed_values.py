"""The changed values of a preview, in a file beside the upload, and the pages of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from resources.record_store import RecordStore
from resources.record_store.sql_text import literal
from schemas.batches import Batch, ChangedValue

_FILE = "changes.parquet"


@dataclass(frozen=True)
class Page:
    """A part of a long list: its entries, its number from 1, and how many entries and pages there are."""

    entries: Sequence[ChangedValue]
    number: int
    of: int
    total: int


def keep(store: RecordStore, batch: Batch, upload: Path) -> None:
    """Write all changed values of a preview beside the uploaded file."""
    path = _beside(upload)
    path.unlink(missing_ok=True)
    if batch.counts.updated:
        store.account(batch.account).write_changes(batch.batch_id, path)


def page(upload: Path, number: int, size: int, containing: str = "") -> Page:
    """Returns a page of the changed values of an uploaded file: all, or those that contain a text."""
    path = _beside(upload)
    if not path.exists():
        return Page((), 1, 1, 0)
    condition = "WHERE contains(lower(concat_ws(' ', key, field, old, new)), lower(?))" if containing else ""
    values = [containing] if containing else []
    with _database().cursor() as cursor:
        rows = f"FROM read_parquet({literal(path)}) {condition}"
        (total,) = cursor.execute(f"SELECT count(*) {rows}", values).fetchone() or (0,)
        pages = max(1, -(-total // size))
        number = min(max(number, 1), pages)
        found = cursor.execute(f"SELECT * {rows} LIMIT {size} OFFSET {(number - 1) * size}", values).fetchall()
    return Page([ChangedValue(*row) for row in found], number, pages, total)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Returns the database that reads these files. Making one takes longer than to read a page."""
    return duckdb.connect(config={"threads": 1})


def _beside(upload: Path) -> Path:
    return upload.parent.parent / _FILE
