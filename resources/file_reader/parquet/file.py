"""A Parquet file, read by Arrow a batch at a time.

The metadata of column chunks are never read from here: pyarrow ends the process if they are damaged.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.file_reader.chunk import CellProblem, TextChunk
from resources.file_reader.parquet.cross_check import ParquetCrossCheck
from resources.file_reader.parquet.limits import ParquetLimits
from resources.file_reader.parquet.texts import enum_column, is_text, text_column, value_lengths
from schemas.errors import UnreadableFile
from schemas.reading import Question, ReadOptions

_CHUNK_BYTES = 64 << 20
_CHUNK_CELLS = 4_000_000
_FEW_RECORDS = 1_000_000
_BUFFER = 1 << 20
_ROWS_OF_TEXT = 4_096  # of a batch with texts that are not in dictionaries
_SHOWN = 3
_WIDE = 1_000
"""With more columns, the file is confirmed some columns at a time."""
_BUFFERS = 64 << 20  # of all columns


class ParquetFile:
    """A Parquet file, open for reading. A context manager; it does not close the file.

    `read` counts the records that `chunks` has delivered, and `share_read` is their share of all records. Null is the
    empty text. Raises UnreadableFile if the file is damaged or exceeds a limit, or DuckDB reads a record differently.
    """

    understood = (("Format", "Parquet"),)
    questions: tuple[Question, ...] = ()
    number_formats: None = None
    used = ReadOptions()

    def __init__(
        self, file: BinaryIO, name: str, *, chunk_rows: int = 50_000, limits: ParquetLimits | None = None
    ) -> None:
        self.read = 0
        self.notes: tuple[str, ...] = ()
        self._file, self._name, self._chunk_rows, self._limits = (file, name, chunk_rows, limits or ParquetLimits())
        file.seek(0)
        source = pa.PythonFile(file, "r")
        try:
            self._parquet = self._open(source, [], _BUFFER)
            schema = self._parquet.schema_arrow
            self._check(schema)
            # A dictionary keeps a repeated text in memory once. Arrow has none within lists and structures. Those of
            # 10,000 columns would take more memory than their texts.
            columns = [self._parquet.metadata.schema.column(i) for i in range(self._parquet.metadata.num_columns)]
            names = set(schema.names)
            few = len(columns) <= _WIDE
            self._dictionaries = [
                it.path for it in columns if it.physical_type == "BYTE_ARRAY" and it.path in names and few
            ]
            enums = {it.path for it in columns if "ENUM" in (it.converted_type, it.logical_type.type)}
            self._enums = frozenset(at for at, name in enumerate(schema.names) if name in enums)
            int96 = {it.path for it in columns if it.physical_type == "INT96"}
            self._int96 = frozenset(at for at, name in enumerate(schema.names) if name in int96)
            self._source, self._buffer = source, max(1 << 12, _BUFFERS // max(1, len(columns)))
            self._parquet = self._open(source, self._dictionaries, self._buffer)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self.headers = tuple(schema.names)
        self.float_columns = tuple(at for at, kind in enumerate(schema.types) if pa.types.is_floating(kind))
        self.text_columns = tuple(at for at, kind in enumerate(schema.types) if is_text(kind))

    def __enter__(self) -> "ParquetFile":
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: the caller closes the file."""

    def _open(self, source: pa.PythonFile, dictionaries: list[str], buffer: int) -> pq.ParquetFile:
        return pq.ParquetFile(
            source,
            read_dictionary=dictionaries,
            buffer_size=min(buffer, _BUFFER),
            pre_buffer=False,
            thrift_string_size_limit=self._limits.footer_bytes,
            thrift_container_size_limit=self._limits.footer_items,
            page_checksum_verification=True,
        )

    def _check(self, schema: pa.Schema) -> None:
        limits, metadata = self._limits, self._parquet.metadata
        hint = "Write it again with fewer or shorter columns."
        if len(schema.names) > limits.columns or metadata.num_columns > limits.columns:
            raise UnreadableFile(f"{self._name} has more than {limits.columns:,} columns (RECORDS_MAX_COLUMNS).", hint)
        if any(len(name) > limits.name_characters for name in schema.names):
            raise UnreadableFile(
                f"{self._name} has a column with a name longer than {limits.name_characters:,} characters "
                "(RECORDS_MAX_HEADER_CHARACTERS).",
                hint,
            )
        records, size = metadata.num_rows, self._file.seek(0, 2)
        if records > max(_FEW_RECORDS, size * limits.records_per_byte):
            raise UnreadableFile(
                f"{self._name} says it has {records:,} records in {size:,} bytes, more than "
                f"{limits.records_per_byte:,} for each byte (RECORDS_MAX_RECORDS_PER_BYTE).",
                "Most of its records must be equal. If that is right, raise the limit.",
            )
        repeated = sorted(name for name, times in Counter(schema.names).items() if times > 1)
        if repeated:
            raise UnreadableFile(
                f"{self._name} has more than one column {', '.join(map(repr, repeated))}.",
                "Give each column its own name.",
            )

    @property
    def share_read(self) -> float:
        """The share of the records that `chunks` has delivered, by the file's own count."""
        return self.read / max(1, int(self._parquet.metadata.num_rows))

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the file, in order, each confirmed by the cross-check. Call it once."""
        types = self._parquet.schema_arrow.types
        kinds = [pa.string() if at in self._enums else kind for at, kind in enumerate(types)]
        rows = max(1, min(self._chunk_rows, _CHUNK_CELLS // max(1, len(self.headers))))
        cross_check = None if len(kinds) > _WIDE else ParquetCrossCheck(self._file, self._name, kinds)
        try:
            unconfirmed = set() if cross_check else self._confirmed_in_parts(kinds, rows)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        batches = self._batches(rows)
        while self.read <= self._parquet.metadata.num_rows:
            try:
                batch = next(batches, None)
                if batch is None:
                    break
                for part in self._parts(batch, self.read):
                    chunk = self._chunk(part)
                    if cross_check:
                        cross_check.confirm(chunk)
                    self.read += part.num_rows
                    yield chunk
            except MemoryError:
                raise
            except (pa.ArrowException, OSError, ValueError) as error:
                raise self._unreadable(error) from error
        if self.read != self._parquet.metadata.num_rows:
            raise UnreadableFile(
                f"{self._name} says it has {self._parquet.metadata.num_rows:,} records and has {self.read:,}.",
                "Nothing was read from it. Write it again.",
            )
        if cross_check:
            cross_check.expect_end()
            unconfirmed = set(cross_check.unconfirmed)
        self.notes = self._unconfirmed(sorted(unconfirmed))

    def _confirmed_in_parts(self, kinds: Sequence[pa.DataType], rows: int) -> set[int]:
        """Confirms all records before they are delivered, some columns at a time. Returns the unconfirmed columns.

        DuckDB keeps 2,048 values of each column that it reads: more than 300 MB for 10,000 columns of text.
        """
        unconfirmed: set[int] = set()
        for start in range(0, len(kinds), _WIDE):
            positions = range(len(kinds))[start : start + _WIDE]
            cross_check = ParquetCrossCheck(self._file, self._name, kinds, positions)
            done = 0
            for batch in self._batches(rows, [self.headers[position] for position in positions]):
                for part in self._parts(batch, done):
                    cross_check.confirm(self._chunk(part, start, done))
                    done += part.num_rows
            cross_check.expect_end()
            unconfirmed |= cross_check.unconfirmed
        return unconfirmed

    def _batches(self, rows: int, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yields all records, of these columns or all.

        Arrow cannot read some encodings of texts into dictionaries. Such a file is read again without them.
        """
        done = 0
        try:
            for batch in self._parquet.iter_batches(batch_size=rows, use_threads=False, columns=names):
                done += batch.num_rows
                yield batch
        except (pa.ArrowNotImplementedError, OSError) as error:
            if not self._dictionaries or "not yet implemented" not in str(error).lower():
                raise
            self._dictionaries = []
            self._parquet = self._open(self._source, [], self._buffer)
            for batch in self._parquet.iter_batches(
                batch_size=min(rows, _ROWS_OF_TEXT), use_threads=False, columns=names
            ):
                yield batch.slice(min(done, batch.num_rows))
                done -= min(done, batch.num_rows)

    def _unconfirmed(self, positions: list[int]) -> tuple[str, ...]:
        if not positions:
            return ()
        shown = ", ".join(f"`{self.headers[position]}`" for position in positions[:_SHOWN])
        more = f" and {len(positions) - _SHOWN:,} more columns" if positions[_SHOWN:] else ""
        return (
            f"Only one parser could read {shown}{more}. The other lacks {'its' if len(positions) == 1 else 'their'} "
            "encoding or compression, so it confirms nothing there.",
        )

    def _parts(self, batch: pa.RecordBatch, before: int) -> Iterator[pa.RecordBatch]:
        """Yields the batch in parts, none of them too large once its dictionaries are expanded.

        before: how many records come before it.
        """
        sizes = np.zeros(batch.num_rows, np.int64)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            lengths = value_lengths(column)
            if lengths is not None:
                if len(lengths) and lengths.max() > self._limits.cell_characters:
                    record = before + int(lengths.argmax()) + 1
                    raise UnreadableFile(
                        f"{self._name}: the value of {name!r} in record {record:,} is longer than "
                        f"{self._limits.cell_characters:,} bytes (RECORDS_MAX_CELL_MB).",
                        "Nothing was read from it. Shorten the value.",
                    )
                sizes += lengths
        part = np.cumsum(sizes) // _CHUNK_BYTES
        starts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), batch.num_rows]
        for start, end in pairwise(starts):
            if end > start:
                yield batch.slice(start, end - start)

    def _chunk(self, batch: pa.RecordBatch, first: int = 0, before: int | None = None) -> TextChunk:
        """Returns the batch as text.

        first: the position of its first column. before: how many records come before it; those delivered by default.
        """
        before = self.read if before is None else before
        cells: list[CellProblem] = []
        columns = [enum_column(it) if at in self._enums else it for at, it in enumerate(batch.columns, first)]
        arrays = [text_column(column, position, cells) for position, column in enumerate(columns)]
        numbers = pa.array(np.arange(before + 1, before + batch.num_rows + 1), pa.int64())
        return TextChunk(
            pa.table(dict(zip(map(str, range(len(arrays))), arrays, strict=True))),
            numbers,
            numbers,
            cells=tuple(sorted(map(self._explained, cells), key=lambda cell: (cell.row, cell.column))),
        )

    def _explained(self, cell: CellProblem) -> CellProblem:
        """Returns the problem of a cell, with the range of INT96 if it has that type.

        Arrow reads INT96 in nanoseconds. A timestamp beyond their range becomes another one, which has nanoseconds.
        """
        if cell.rule != "too_precise" or cell.column not in self._int96:
            return cell
        expected = "must be in the years 1678 to 2261, in microseconds, as INT96 has no others"
        return replace(cell, expected=expected, value="a timestamp of the type INT96")

    def _unreadable(self, error: Exception) -> UnreadableFile:
        after = f" after record {self.read:,}" if self.read else ""
        why = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        return UnreadableFile(
            f"{self._name} cannot be read as Parquet{after}: {why}.",
            "Nothing was read from it. Write it again.",
        )
