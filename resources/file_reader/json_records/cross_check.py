"""Cross-check of JSON records: DuckDB must read the same texts in the same records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TextChunk
from resources.file_reader.duckdb_reader import DuckDBReader, DuckDBReadFailed, disagreement
from resources.file_reader.json_records.arrangement import Form

_SLACK = 1 << 20
_FORMATS = {Form.ARRAY: "array", Form.COMMAS: "array", Form.LINES: "newline_delimited", Form.STREAM: "unstructured"}


class JsonCrossCheck:
    """DuckDB reads the file in step with the parser, and confirms each chunk or refuses the file.

    Records are compared by number and text. If texts differ, they are compared as numbers: DuckDB reads 1.10 as 1.1.
    For a value without a text, DuckDB must only have a value as well.
    """

    def __init__(
        self, file: BinaryIO, name: str, *, form: Form, headers: Sequence[str], record_bytes: int, rows: int
    ) -> None:
        self._name = name
        self._columns = len(headers)
        path = Path(f"/dev/fd/{file.fileno()}")
        source = f"""'{path}', format = '{_FORMATS[form]}', compression = 'uncompressed',
            maximum_object_size = {record_bytes + _SLACK}"""
        query, parameters = _query(source, headers)
        self._rows = DuckDBReader(path).rows(query, parameters, rows)

    def confirm(self, chunk: TextChunk) -> None:
        """Compares the chunk with DuckDB's next records. Raises UnreadableFile, which names the first that differs."""
        size = len(chunk.records)
        try:
            read = self._rows.take(size)
        except DuckDBReadFailed as error:
            raise disagreement(self._name, chunk.records[0].as_py(), chunk.lines[0].as_py()) from error
        wrong = [read.num_rows] if read.num_rows < size else []
        unfit: dict[int, list[int]] = {}
        for cell in chunk.cells:
            unfit.setdefault(cell.column, []).append(cell.row)
        for position in range(self._columns):
            delivered = chunk.values.column(position)[: read.num_rows]
            other = read.column(position)
            if position in unfit:
                rows = [row for row in unfit[position] if row < read.num_rows]
                wrong += [row for row in rows if other[row].as_py() is None]
                mask = np.zeros(read.num_rows, bool)
                mask[rows] = True
                other = pc.if_else(pa.array(mask), "", other)
            wrong += _differing(delivered, other.fill_null(""))[:1]
        if wrong:
            first = min(wrong)
            raise disagreement(self._name, chunk.records[first].as_py(), chunk.lines[first].as_py())

    def expect_end(self, read: int) -> None:
        """Raises UnreadableFile if DuckDB has more records."""
        try:
            more = self._rows.take(1).num_rows > 0
        except DuckDBReadFailed:
            more = True
        if more:
            raise disagreement(self._name, read + 1)


def _query(source: str, headers: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Returns a query for the texts of all members of all records, and its parameters."""
    if not headers:
        return f"SELECT json_type(json) FROM read_json_objects({source})", {}
    if _can_be_columns(headers):
        names = ", ".join(f"{_quoted(header)}: 'VARCHAR'" for header in headers)
        return f"SELECT * FROM read_json({source}, records = true, columns = {{{names}}})", {}
    values = ", ".join(f"texts[{i}]" for i in range(1, len(headers) + 1))
    texts = f"SELECT json_extract_string(json, $pointers::VARCHAR[]) AS texts FROM read_json_objects({source})"
    pointers = ["/" + header.replace("~", "~0").replace("/", "~1") for header in headers]
    return f"SELECT {values} FROM ({texts})", {"pointers": pointers}


def _can_be_columns(headers: Sequence[str]) -> bool:
    """Returns whether the names can be DuckDB's columns: not empty, and distinct without case."""
    return (
        all(headers)
        and not any("\0" in header for header in headers)
        and (len({header.lower() for header in headers}) == len(headers))
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _differing(delivered: pa.ChunkedArray, other: pa.ChunkedArray) -> list[int]:
    """Returns the rows with different texts that are not the same number."""
    rows = pc.indices_nonzero(pc.not_equal(delivered, other))
    if not len(rows):
        return []
    pairs = zip(rows.to_pylist(), delivered.take(rows).to_pylist(), other.take(rows).to_pylist(), strict=True)
    return [row for row, one, other in pairs if not same_number(one, other)]


def same_number(one: str, other: str) -> bool:
    """Returns whether both texts are the same number."""
    try:
        return float(one) == float(other)
    except ValueError:
        return False
