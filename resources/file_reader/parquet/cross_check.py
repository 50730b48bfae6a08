"""Cross-check of Parquet: DuckDB must read the same values in the same records."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TextChunk
from resources.file_reader.duckdb_reader import DuckDBReader, DuckDBReadFailed, Rows, disagreement
from resources.file_reader.parquet.texts import is_text, is_uuid, text_column
from schemas.errors import UnreadableFile

_ROWS = 2048  # of a vector of DuckDB
_LONG_BYTES = 64 << 20
_SHA256_BYTES = 64
_PROBED = 1_000  # columns


def _no_finer_than_microseconds(kind: pa.DataType) -> bool:
    return bool(pa.types.is_time(kind)) and kind.unit != "ns"


_SAME: tuple[tuple[Callable[[pa.DataType], bool], tuple[str, ...]], ...] = (
    (is_text, ("VARCHAR", "UUID", "ENUM", "JSON")),
    (pa.types.is_boolean, ("BOOLEAN",)),
    (pa.types.is_signed_integer, ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")),
    (pa.types.is_unsigned_integer, ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")),
    (pa.types.is_floating, ("FLOAT", "DOUBLE")),
    (pa.types.is_decimal, ("DECIMAL",)),
    (pa.types.is_date, ("DATE",)),
    (_no_finer_than_microseconds, ("TIME",)),
    (pa.types.is_timestamp, ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")),
)
"""Types of Arrow, and the types of DuckDB that have the same values."""


class ParquetCrossCheck:
    """DuckDB reads the file in step with Arrow, and confirms each chunk or refuses the file.

    Records are compared value by value, as text. Long texts are compared by their SHA-256, to save memory. Some values
    have no text, or a type that DuckDB lacks (decimals of more than 38 digits). There DuckDB must only have a value.
    `unconfirmed` has the columns, from 0, that are not compared because DuckDB lacks their codec or encoding.

    positions: the columns that the chunks have, from 0. None means all.
    """

    def __init__(
        self, file: BinaryIO, name: str, kinds: Sequence[pa.DataType], positions: Sequence[int] | None = None
    ) -> None:
        self._name, self._kinds = name, list(map(_plain, kinds))
        self._source = f"read_parquet('/dev/fd/{file.fileno()}', hive_partitioning = false)"
        self._positions = range(len(kinds)) if positions is None else positions
        self._reader = DuckDBReader(Path(f"/dev/fd/{file.fileno()}"))
        self._long = max(_SHA256_BYTES, _LONG_BYTES // (_ROWS * max(1, len(self._positions))))
        self._unread: frozenset[int] = frozenset()
        self.unconfirmed: frozenset[int] = frozenset()
        self._confirmed = 0
        self._types: list[str] = []
        try:
            self._types = self._reader.types(f"SELECT * FROM {self._source}")
            if len(self._types) != len(kinds):
                raise DuckDBReadFailed(f"{len(self._types)} columns")
        except DuckDBReadFailed as error:
            if not error.lacks_a_feature:
                raise self._disagreement() from error
            self.unconfirmed = frozenset(range(len(kinds)))
        compared = zip(self._kinds, self._types, strict=False)
        self._comparable = [_has_type(kind, other) for kind, other in compared]
        self._rows = self._rest()

    def confirm(self, chunk: TextChunk) -> None:
        """Compares the chunk with DuckDB's next records. Raises UnreadableFile, which names the first that differs."""
        size = len(chunk.records)
        if not self._compares:
            self._confirmed += size
            return
        try:
            read = self._next(size)
        except DuckDBReadFailed as error:
            raise self._disagreement() from error
        wrong = [read.num_rows] if read.num_rows < size else []
        unfit: dict[int, list[int]] = {}
        for cell in chunk.cells:
            if cell.row < read.num_rows:
                unfit.setdefault(cell.column, []).append(cell.row)
        for at, position in enumerate(self._positions):
            if position not in self._unread and position not in self.unconfirmed:
                delivered = chunk.values.column(at).slice(0, read.num_rows)
                wrong += self._differing(delivered, read.column(at), position, unfit.get(at, []))[:1]
        if wrong:
            raise disagreement(self._name, chunk.records[min(wrong)].as_py())
        self._confirmed += size

    def expect_end(self) -> None:
        """Raises UnreadableFile if DuckDB has more records."""
        if not self._compares:
            return
        try:
            more = self._next(1).num_rows
        except DuckDBReadFailed:
            more = 1
        if more:
            raise self._disagreement()

    def _next(self, size: int) -> pa.Table:
        try:
            return self._rows.take(size)
        except DuckDBReadFailed as error:
            if error.lacks_a_feature:
                self.unconfirmed |= self._lacking() or frozenset(self._positions)
                if not self._compares:
                    return self._missing(size)
                self._rows = self._rest()
                return self._next(size)
            # A timestamp in milliseconds beyond the range of DuckDB's microseconds: DuckDB cannot read that column.
            kinds = enumerate(self._kinds)
            timestamps = frozenset(i for i, kind in kinds if pa.types.is_timestamp(kind) and kind.unit == "ms")
            if "Conversion Error" not in str(error) or timestamps <= self._unread:
                raise
            self._unread = timestamps
            self._rows = self._rest()
            return self._rows.take(size)

    @property
    def _compares(self) -> bool:
        """Whether DuckDB reads any column, or counts the records of a file without columns."""
        return not self._positions or not self.unconfirmed.issuperset(self._positions)

    def _lacking(self) -> frozenset[int]:
        """Returns the columns, of those still compared, that DuckDB cannot read for lack of a feature."""
        lacking = []
        for position in self._positions[:_PROBED]:
            if position not in self.unconfirmed:
                try:
                    self._reader.rows(self._query([position]), {}, _ROWS).take(1)
                except DuckDBReadFailed as error:
                    if error.lacks_a_feature:
                        lacking.append(position)
        return frozenset(lacking)

    def _missing(self, size: int) -> pa.Table:
        """Returns so many rows of nothing, for columns that are not compared."""
        return pa.table([pa.nulls(size)] * len(self._positions), names=list(map(str, self._positions)))

    def _rest(self) -> Rows:
        """Returns the rows from the first that is not confirmed."""
        return self._reader.rows(f"{self._query(self._positions)} OFFSET {self._confirmed}", {}, _ROWS)

    def _query(self, positions: Iterable[int]) -> str:
        names = ", ".join(f'"{position}"' for position in range(len(self._types)))
        return f"SELECT {', '.join(map(self._value, positions))} FROM {self._source} AS t({names})"

    def _disagreement(self) -> UnreadableFile:
        return disagreement(self._name, self._confirmed + 1)

    def _value(self, position: int) -> str:
        if position in self._unread or position in self.unconfirmed:
            return "NULL"
        if not self._comparable[position]:
            return f'"{position}" IS NOT NULL'
        if is_text(self._kinds[position]):
            text = f'"{position}"' if self._types[position] == "VARCHAR" else f'"{position}"::VARCHAR'
            return f"CASE WHEN strlen({text}) > {self._long} THEN sha256({text}) ELSE {text} END"
        return f'"{position}"'

    def _differing(
        self, delivered: pa.ChunkedArray, other: pa.ChunkedArray, position: int, unfit: list[int]
    ) -> list[int]:
        if self._types[position] == "VARIANT":
            return []  # Arrow sees a structure, also where DuckDB sees null; either has no text
        if not self._comparable[position]:
            said = _mask(pc.not_equal(delivered, ""))
            said[unfit] = True
            return np.flatnonzero(said != _mask(other)).tolist()
        read, kind = other.combine_chunks(), self._kinds[position]
        if pa.types.is_timestamp(kind) and kind.tz and not read.type.tz:
            read = read.cast(pa.timestamp(read.type.unit, "UTC"))  # by the older annotation alone, which DuckDB ignores
        if pa.types.is_float16(kind):
            read = read.cast(pa.float64())  # DuckDB reads them as numbers of 32 bits, which have shorter texts
        texts = text_column(read, position, [])
        differing = _mask(pc.not_equal(self._shortened(delivered.combine_chunks()), texts))
        differing[unfit] = ~_mask(other.is_valid())[unfit]
        return np.flatnonzero(differing).tolist()

    def _shortened(self, texts: pa.Array) -> pa.Array:
        """Returns the texts, long ones as their SHA-256."""
        long = pc.greater(pc.binary_length(texts), self._long)
        if not pc.any(long).as_py():
            return texts
        hashed = [hashlib.sha256(text.encode()).hexdigest() for text in texts.filter(long).to_pylist()]
        return pc.replace_with_mask(texts, long, pa.array(hashed, pa.string()))


def _has_type(kind: pa.DataType, other: str) -> bool:
    """Returns whether DuckDB's type has the same values."""
    name = other.partition("(")[0]
    return any(is_kind(kind) and name in names for is_kind, names in _SAME)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Returns the type of the values, without extensions and dictionaries."""
    if is_uuid(kind):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _mask(rows: pa.Array | pa.ChunkedArray) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    whole = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    return np.array(whole.to_numpy(zero_copy_only=False), bool)
