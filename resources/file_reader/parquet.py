"""Untrusted bytes to numbered text records: Parquet, read through Arrow a batch at a time.

Every value becomes the text that `schemas.parsing` takes for it: exactly, or it is named as a problem of its cell.
The descriptions of column chunks are not looked at from here: pyarrow ends the process over one that is damaged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.file_reader.chunk import CellProblem, TextChunk
from schemas.errors import UnreadableFile

_CHUNK_BYTES = 64 << 20
_CHUNK_CELLS = 4_000_000

_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_LAST_DAY = (date.max - date(1970, 1, 1)).days
_PER_DAY = {unit: 86_400 * 1000**power for power, unit in enumerate(("s", "ms", "us", "ns"))}

_Unfit = Callable[[pa.Array, str, str, Callable[[int], str]], None]
"""Takes which rows do not fit, the rule, what they must be, and how to show a row's value."""


@dataclass(frozen=True)
class ParquetLimits:
    """What a file may ask for at most.

    `footer_bytes` is the longest text, and `footer_items` the longest list, of its description of itself.
    """

    columns: int = 10_000
    name_characters: int = 10_000
    cell_characters: int = 10_000_000
    footer_bytes: int = 64 << 20
    footer_items: int = 1_000_000


class ParquetFile:
    """A Parquet file, open for reading. A context manager; it does not close the file.

    `headers` are the names of the columns; `read` counts the records that `chunks` has delivered. Null is the
    empty text. Raises UnreadableFile where the file is damaged or asks for more than the limits.
    """

    kind: Literal["parquet"] = "parquet"

    def __init__(
        self, file: BinaryIO, name: str, *, chunk_rows: int = 50_000, limits: ParquetLimits = ParquetLimits()
    ) -> None:
        self.read = 0
        self.notes: tuple[str, ...] = ()
        self._name, self._chunk_rows, self._limits = name, chunk_rows, limits
        file.seek(0)
        source = pa.PythonFile(file, "r")
        try:
            self._parquet = self._open(source, [])
            schema = self._parquet.schema_arrow
            self._check(schema)
            # As dictionaries a text that is there a million times is not there a million times in memory.
            texts = [
                self._parquet.metadata.schema.column(column).path
                for column in range(self._parquet.metadata.num_columns)
                if self._parquet.metadata.schema.column(column).physical_type == "BYTE_ARRAY"
            ]
            self._parquet = self._open(source, texts)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self.headers = tuple(schema.names)

    def __enter__(self) -> "ParquetFile":
        """The reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do: whoever opened the file closes it."""

    def _open(self, source: pa.PythonFile, dictionaries: list[str]) -> pq.ParquetFile:
        return pq.ParquetFile(
            source,
            read_dictionary=dictionaries,
            buffer_size=1 << 20,
            pre_buffer=False,
            thrift_string_size_limit=self._limits.footer_bytes,
            thrift_container_size_limit=self._limits.footer_items,
            page_checksum_verification=True,
        )

    def _check(self, schema: pa.Schema) -> None:
        limits, metadata = self._limits, self._parquet.metadata
        hint = "Write it anew with fewer or smaller parts."
        if len(schema.names) > limits.columns or metadata.num_columns > limits.columns:
            raise UnreadableFile(f"{self._name} has more than {limits.columns:,} columns.", hint)
        if any(len(name) > limits.name_characters for name in schema.names):
            raise UnreadableFile(
                f"{self._name} has a column whose name is longer than {limits.name_characters:,} characters.", hint
            )
        repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if repeated:
            raise UnreadableFile(
                f"{self._name} has more than one column {', '.join(map(repr, repeated))}.",
                "Each column needs a name of its own.",
            )

    def chunks(self) -> Iterator[TextChunk]:
        """All records of the file, in order. To be called once."""
        rows = max(1, min(self._chunk_rows, _CHUNK_CELLS // max(1, len(self.headers))))
        batches = self._parquet.iter_batches(batch_size=rows, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    break
                for part in self._parts(batch):
                    chunk = self._chunk(part)
                    self.read += part.num_rows
                    yield chunk
            except (pa.ArrowException, OSError, ValueError) as error:
                raise self._unreadable(error) from error
        if self.read != self._parquet.metadata.num_rows:
            raise UnreadableFile(
                f"{self._name} says it has {self._parquet.metadata.num_rows:,} records and has {self.read:,}.",
                "Nothing was read from it; write it anew.",
            )

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch in parts of which none is too large once its dictionaries are written out."""
        sizes = np.zeros(batch.num_rows, np.int64)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            lengths = _lengths(column)
            if lengths is not None:
                if len(lengths) and lengths.max() > self._limits.cell_characters:
                    record = self.read + int(lengths.argmax()) + 1
                    raise UnreadableFile(
                        f"{self._name}: the value of {name!r} in record {record:,} is longer than "
                        f"{self._limits.cell_characters:,} bytes.",
                        "Nothing was read from it; shorten it.",
                    )
                sizes += lengths
        part = np.cumsum(sizes) // _CHUNK_BYTES
        starts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), batch.num_rows]
        for start, end in pairwise(starts):
            if end > start:
                yield batch.slice(start, end - start)

    def _chunk(self, batch: pa.RecordBatch) -> TextChunk:
        cells: list[CellProblem] = []
        arrays = [_texts(column, position, cells) for position, column in enumerate(batch.columns)]
        numbers = pa.array(np.arange(self.read + 1, self.read + batch.num_rows + 1), pa.int64())
        return TextChunk(
            pa.table(dict(zip(map(str, range(len(arrays))), arrays, strict=True))),
            numbers,
            numbers,
            cells=tuple(sorted(cells, key=lambda cell: (cell.row, cell.column))),
        )

    def _unreadable(self, error: Exception) -> UnreadableFile:
        after = f" after record {self.read:,}" if self.read else ""
        why = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        return UnreadableFile(
            f"{self._name} cannot be read as Parquet{after}: {why}.",
            "Nothing was read from it; write it anew.",
        )


def _lengths(column: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]] | None":
    """The bytes of each value; None where all are short."""
    if pa.types.is_dictionary(column.type):
        lengths = _lengths(column.dictionary)
        if lengths is None or not len(lengths):
            return None
        indices = column.indices.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), lengths[indices], 0)
    if _is_text(column.type) or _is_binary(column.type):
        return pc.binary_length(column).fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _texts(column: pa.Array, position: int, cells: list[CellProblem]) -> pa.Array:
    """The column as text; what has none is "" and among the cells."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column.validate(full=True)
        return _texts(column.dictionary_decode(), position, cells)

    def unfit(rows: pa.Array, rule: str, expected: str, show: Callable[[int], str]) -> None:
        cells.extend(
            CellProblem(row, position, rule, expected, show(row)[:60]) for row in pc.indices_nonzero(rows).to_pylist()
        )

    def shown(row: int) -> str:
        return str(column[row].as_py())

    if _is_text(kind):
        column.validate(full=True)
        texts = column.cast(pa.string())
    elif _is_binary(kind):
        unfit(column.is_valid(), "not_text", "must be text", lambda row: "0x" + column[row].as_py()[:29].hex())
        texts = pa.nulls(len(column), pa.string())
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        texts = column.cast(pa.string())
    elif pa.types.is_decimal(kind):
        texts = _written_out(column, column.cast(pa.string()))
    elif pa.types.is_floating(kind):
        numbers = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
        finite = pc.is_finite(numbers)
        unfit(pc.invert(finite).fill_null(False), "number_out_of_range", "must be a number", shown)
        numbers = pc.if_else(finite, numbers, pa.scalar(None, numbers.type))
        texts = _written_out(numbers, numbers.cast(pa.string()))
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        texts = _dates(column, unfit)
    elif pa.types.is_time(kind):
        texts = _without_zeros(column.cast(pa.string()))
    elif pa.types.is_nested(kind):
        unfit(column.is_valid(), "nested_value", "must be a single value", lambda _: f"a value of type {kind}")
        texts = pa.nulls(len(column), pa.string())
    else:
        unfit(column.is_valid(), "unknown_type", "must be text, a number, a date or a moment", lambda _: str(kind))
        texts = pa.nulls(len(column), pa.string())
    return texts.fill_null("")


def _written_out(numbers: pa.Array, texts: pa.Array) -> pa.Array:
    """The numbers' texts without exponents: 1e+20 is 100000000000000000000."""
    short = pc.match_substring(texts, "e", ignore_case=True)
    if not pc.any(short).as_py():
        return texts
    long = [format(Decimal(text), "f") for text in texts.filter(short).to_pylist()]
    return pc.replace_with_mask(texts, short.fill_null(False), pa.array(long, pa.string()))


def _dates(column: pa.Array, unfit: _Unfit) -> pa.Array:
    """Dates and moments of the years 1 to 9999, as ISO 8601; those with a zone in UTC."""
    kind = column.type
    days = pa.types.is_date32(kind)
    values = column.cast(pa.int32() if days else pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    per_day = 1 if days else _PER_DAY["ms" if pa.types.is_date64(kind) else kind.unit]
    exists = pa.array((values >= _FIRST_DAY * per_day) & (values < (_LAST_DAY + 1) * per_day))
    unfit(pc.invert(exists), "date_out_of_range", "must be in the years 1 to 9999", lambda row: str(values[row]))
    column = pc.if_else(exists, column, pa.scalar(None, kind))
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(pa.string())
    naive = column.cast(pa.int64()).cast(pa.timestamp(kind.unit))  # in UTC: no zone is looked up by its name
    if kind.unit == "ns":
        fine = pa.array(values % 1000 != 0)
        expected = "must have at most 6 decimals of a second"
        unfit(pc.and_(fine, column.is_valid()), "too_precise", expected, lambda row: str(naive.cast(pa.string())[row]))
        naive = pc.if_else(fine, pa.scalar(None, naive.type), naive)
    texts = naive.cast(pa.timestamp("us")).cast(pa.string())
    texts = _without_zeros(pc.replace_substring(texts, " ", "T"))
    return pc.binary_join_element_wise(texts, "Z", "") if kind.tz else texts


def _without_zeros(times: pa.Array) -> pa.Array:
    """09:30:00.500000 as 09:30:00.5, and 09:30:00.000000 as 09:30:00."""
    return pc.replace_substring_regex(times, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
