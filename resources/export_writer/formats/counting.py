"""How the records of a published file are read again and counted."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from resources.file_reader import FileReader, ReadOptions
from schemas.errors import RecordsError


def count_by_import(path: Path, options: ReadOptions | None = None) -> int:
    """Return how many records our own import reads in the file. Raises RecordsError for a malformed record."""
    with FileReader(path, options or ReadOptions()) as reader:
        for chunk in reader.chunks():
            if chunk.malformed:
                raise RecordsError(
                    "A record of an exported file has more or fewer values than there are columns.", "Export again."
                )
        return reader.read


def count_by_duckdb(path: Path, columns: Sequence[str], table_function: str) -> int:
    """Return how many records DuckDB reads in the file. It reads every value of them. Raises duckdb.Error.

    The table function has a `?` for the path.
    """
    values = " + ".join(f'count("{name}") * 0' for name in columns)
    with duckdb.connect(config={"memory_limit": "256MB", "enable_external_file_cache": "false"}) as connection:
        row = connection.execute(f"SELECT count(*) + {values} FROM {table_function}", [str(path)]).fetchone()
        return int(row[0]) if row else 0
