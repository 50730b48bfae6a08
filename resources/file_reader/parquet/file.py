"""A Parquet file, read by Arrow a batch at a time.

The metadata of column chunks are never read from here: pyarrow ends the process if they are damaged.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.file_reader.chunk import CellProblem, TextChunk
from resources.file_reader.parquet.cross_check import ParquetCrossCheck
from resources.file_reader.parquet.limits import ParquetLimits
from resources.file_reader.parquet.texts import text_column, value_lengths
from schemas.errors import UnreadableFile
from schemas.reading import Question, ReadOptions

_CHUNK_BYTES = 64 << 20
_CHUNK_CELLS = 4_000_000
_FEW_RECORDS = 1_000_000
_BUFFER = 1 << 20
_BUFFERS = 64 << 20  # of all columns


class ParquetFile:
    """A Parquet file, open for reading. A context manager; it does not close the file.

    `read` counts the records that `chunks` has delivered, and `share_read` is their share of all records. Null is the
    empty text. Raises UnreadableFile if the file is damaged or exceeds a limit, or DuckDB reads a record differently.
    """

    understood = (("Format", "Parquet"),)
    questions: tuple[Question, ...] = ()
    number_formats: tuple[str, ...] = ()
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
            # A dictionary keeps a repeated text in memory once. Arrow has none within lists and structures.
            columns = [self._parquet.metadata.schema.column(i) for i in range(self._parquet.metadata.num_columns)]
            names = set(schema.names)
            texts = [it.path for it in columns if it.physical_type == "BYTE_ARRAY" and it.path in names]
            self._parquet = self._open(source, texts, max(1 << 12, _BUFFERS // max(1, len(columns))))
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self.headers = tuple(schema.names)
        self.float_columns = tuple(at for at, kind in enumerate(schema.types) if pa.types.is_floating(kind))

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
        repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
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
        cross_check = ParquetCrossCheck(self._file, self._name, self._parquet.schema_arrow)
        rows = max(1, min(self._chunk_rows, _CHUNK_CELLS // max(1, len(self.headers))))
        batches = self._parquet.iter_batches(batch_size=rows, use_threads=False)
        while self.read <= self._parquet.metadata.num_rows:
            try:
                batch = next(batches, None)
                if batch is None:
                    break
                for part in self._parts(batch):
                    chunk = self._chunk(part)
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
        cross_check.expect_end()

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yields the batch in parts, none of them too large once its dictionaries are expanded."""
        sizes = np.zeros(batch.num_rows, np.int64)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            lengths = value_lengths(column)
            if lengths is not None:
                if len(lengths) and lengths.max() > self._limits.cell_characters:
                    record = self.read + int(lengths.argmax()) + 1
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

    def _chunk(self, batch: pa.RecordBatch) -> TextChunk:
        cells: list[CellProblem] = []
        arrays = [text_column(column, position, cells) for position, column in enumerate(batch.columns)]
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
            "Nothing was read from it. Write it again.",
        )
