"""DuckDB reads a file a second time, to cross-check the parser that delivers the values.

It runs in the same process and on the same descriptor, with one thread, little memory, and no access to other files.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from schemas.errors import UnreadableFile

_MEMORY = "400MB"
_LACKS = re.compile(r"not implemented|(not|only) supported|unsupported", re.IGNORECASE)


class DuckDBReadFailed(Exception):
    """DuckDB cannot read the file to its end. Its message may quote the file."""

    @property
    def lacks_a_feature(self) -> bool:
        """Whether DuckDB says that it does not know a codec, an encoding or a type."""
        return _LACKS.search(str(self)) is not None


class DuckDBReader:
    """Queries on one file. `path` is that of its descriptor, as /dev/fd/7; DuckDB can read no other file."""

    def __init__(self, path: Path) -> None:
        self._connection = duckdb.connect(
            config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": "", "preserve_insertion_order": True}
        )
        self._connection.execute(f"SET allowed_paths = ['{path}']")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def types(self, query: str) -> list[str]:
        """Returns the types of a query's columns, as DuckDB names them. Raises DuckDBReadFailed, or MemoryError."""
        with _failures():
            return [kind for _, kind, *_ in self._connection.execute(f"DESCRIBE {query}").fetchall()]

    def rows(self, query: str, parameters: dict[str, Any], at_once: int) -> "Rows":
        """Returns the rows of a query, of which `at_once` are in memory at a time."""
        return Rows(lambda: self._connection.execute(query, parameters).to_arrow_reader(at_once))


class Rows:
    """The rows of a query, in order. The query starts with the first `take`."""

    def __init__(self, run: Callable[[], pa.RecordBatchReader]) -> None:
        self._run = run
        self._reader: pa.RecordBatchReader | None = None
        self._waiting: list[pa.Table] = []

    def take(self, rows: int) -> pa.Table:
        """Returns the next rows, or fewer at the end. Raises DuckDBReadFailed, or MemoryError."""
        with _failures():
            self._reader = self._reader or self._run()
            while sum(table.num_rows for table in self._waiting) < rows:
                try:
                    self._waiting.append(pa.Table.from_batches([self._reader.read_next_batch()]))
                except StopIteration:
                    break
        whole = pa.concat_tables(self._waiting) if self._waiting else self._reader.schema.empty_table()
        self._waiting = [whole.slice(rows)] if whole.num_rows > rows else []
        return whole.slice(0, rows)


@contextmanager
def _failures() -> Iterator[None]:
    """Raises DuckDBReadFailed for every error by which DuckDB or Arrow reports that reading failed."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if isinstance(error, duckdb.OutOfMemoryException | pa.ArrowMemoryError) or "Out of Memory Error" in str(error):
            raise MemoryError from error
        raise DuckDBReadFailed(str(error)) from error


def disagreement(name: str, record: int, line: int | None = None) -> UnreadableFile:
    """Returns the error for a file that two parsers read differently."""
    place = f"record {record:,}" + ("" if line is None else f" (line {line:,})")
    return UnreadableFile(
        f"{name} can be read in two ways: two parsers disagree about {place}.",
        "Nothing was read from it. Save it again, with another program if you can.",
    )
