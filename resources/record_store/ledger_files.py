"""Reads and appends the rows of the ledger about files: their sizes, checksums and owners."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from resources.record_store.lake import Connection
from resources.record_store.ledger_rows import append_rows, is_among, is_below
from resources.record_store.ledger_rows import rows as rows_of
from schemas.files import StoredFile

_ROWS_AT_ONCE = 50
"""How many rows a statement appends: fewer than DuckLake keeps in the catalog."""


def append_files(transaction: Connection, seq: int, at: datetime, files: Sequence[StoredFile]) -> None:
    """Record files with their checksums, or without one if a killed writer left it behind. `seq` is the first number.

    Several rows in one statement take a fraction of the time. DuckLake keeps the rows in the catalog if they are few.
    """
    rows = [
        {
            "seq": number,
            "recorded_at": at,
            "path": file.path,
            "bytes": file.bytes,
            "checksum": file.checksum,
            "account": file.account,
            "batches": list(file.batches),
        }
        for number, file in enumerate(files, seq)
    ]
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        append_rows(transaction, "files", *rows[first : first + _ROWS_AT_ONCE])


def files(connection: Connection, paths: Collection[str]) -> dict[str, StoredFile]:
    """Returns the recorded files with these paths, by path. Files that the store did not write are left out."""
    if not paths:
        return {}
    rows = connection.execute(
        f"SELECT path, bytes, checksum, account, batches "
        f"FROM {rows_of(connection, 'files', is_among(connection, 'path', paths))} "
        "WHERE path IN (SELECT unnest(?::VARCHAR[])) ORDER BY seq",
        [list(paths)],
    ).fetch_all()
    return _newest(map(_file, rows))


def recorded_before(connection: Connection, paths: Collection[str], before: datetime) -> list[str]:
    """Returns those of the paths that were first recorded by that time, sorted."""
    if not paths:
        return []
    rows = connection.execute(
        f"SELECT DISTINCT path FROM {rows_of(connection, 'files', is_among(connection, 'path', paths))} "
        "WHERE path IN (SELECT unnest(?::VARCHAR[])) AND recorded_at <= ? ORDER BY path",
        [list(paths), before],
    ).fetch_all()
    return [path for (path,) in rows]


def files_below(connection: Connection, folder: str) -> list[StoredFile]:
    """Returns the recorded files in a folder and its subfolders."""
    rows = connection.execute(
        f"SELECT path, bytes, checksum, account, batches "
        f"FROM {rows_of(connection, 'files', is_below(connection, 'path', f'{folder}/'))} "
        "WHERE starts_with(path, ?) ORDER BY seq",
        [f"{folder}/"],
    ).fetch_all()
    return [*_newest(map(_file, rows)).values()]


def files_in(connection: Connection, folders: Collection[str]) -> dict[str, StoredFile]:
    """Returns the recorded files directly in one of these folders, by path."""
    rows = connection.execute(
        "SELECT path, bytes, checksum, account, batches FROM lake.ledger.files "
        "WHERE regexp_replace(path, '/[^/]*$', '') IN (SELECT unnest(?::VARCHAR[])) ORDER BY seq",
        [list(folders)],
    ).fetch_all()
    return _newest(map(_file, rows))


def _file(row: Sequence[Any]) -> StoredFile:
    path, size, checksum, account, batches = row
    return StoredFile(path, size, checksum, account, tuple(batches))


def _newest(files: Iterable[StoredFile]) -> dict[str, StoredFile]:
    """Returns the newest version of each file, by path. The files come in the order in which they were written."""
    newest: dict[str, StoredFile] = {}
    for file in files:
        before = newest.get(file.path)
        if before is not None and before.checksum is not None:
            file = replace(file, earlier=(*before.earlier, before.checksum))
        newest[file.path] = file
    return newest
