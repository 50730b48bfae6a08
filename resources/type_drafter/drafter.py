"""Reads a sample file, finds the types and the key of its columns, and drafts a record type."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.file_reader import FileReader, TextChunk
from resources.file_reader.options import ReadLimits
from resources.type_drafter.column import Column, name_fields
from resources.type_drafter.key import find_choices, find_key
from resources.type_drafter.names import LONGEST_NAME, snake_case
from resources.type_drafter.source import source_of
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.mapping import REJECTS_COLUMNS, distinct_names
from schemas.parsing import arrow_type
from schemas.reading import ReadOptions

_MEMORY = "512MB"


def draft(
    path: Path, name: str | None = None, options: ReadOptions | None = None, limits: ReadLimits | None = None
) -> str:
    """Returns the source of a module with a record type that takes every well-formed record of the file.

    name: the name of the record type. Default: made from the file's name.
    options: how the file is written, as far as the user says it. limits: those of an import.
    Raises NotFound or UnreadableFile as `FileReader` does. Raises InvalidRequest if the name is not valid, or if the
    file has no column that a field can hold.
    """
    options = options or ReadOptions()
    with FileReader(path, options, limits) as reader:
        if not reader.format.numbers_are_text:
            options = replace(options, decimal=None)
        options = replace(options, time_zone=options.time_zone or reader.format.time_zone)
        return draft_from(path.name, reader.headers, reader.chunks(), name, options)


def draft_from(
    file: str,
    headers: Sequence[str],
    chunks: Iterable[TextChunk],
    name: str | None = None,
    options: ReadOptions | None = None,
) -> str:
    """Returns the same for a file that is read already: its name, its header row and its records."""
    if name is not None and (not name or snake_case(name, ascii_only=True) != name):
        raise InvalidRequest(
            f"{name!r} is no name for a record type.",
            f"Use at most {LONGEST_NAME} small letters, digits and _, and begin with a letter.",
        )
    type_name = name or snake_case(file.split(".")[0], ascii_only=True) or "drafted"
    options = options or ReadOptions()
    columns = [
        Column(position, header, options)
        for position, header in enumerate(distinct_names(headers))
        if header not in REJECTS_COLUMNS
    ]
    if not columns:
        raise InvalidRequest(f"{file!r} has no column of data.", "Its header must name one.")
    name_fields(columns)
    with tempfile.TemporaryDirectory(prefix="records-draft-") as folder:
        texts, typed, once, spill = (Path(folder) / part for part in ("texts", "typed", "once", "spill"))
        malformed = _write_texts(columns, chunks, texts)
        nested = [column for column in columns if column.nested]
        columns = [column for column in columns if not column.nested]
        if not columns:
            raise InvalidRequest(f"{file!r} has only lists and objects as values.", "A field holds a single value.")
        _write_typed(columns, texts, typed)
        try:
            with duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(spill)}) as database:
                database.execute("SET enable_progress_bar = false")  # it would be printed into the source
                for column in columns:
                    column.choices = find_choices(column, database, typed)
                key = find_key(columns, database, typed, once)
        except duckdb.OutOfMemoryException as error:
            raise UnreadableFile(
                f"Finding the key of {file!r} takes more than {_MEMORY} of memory.",
                "Draft the type from its first records, or from fewer columns.",
            ) from error
    return source_of(file, type_name, columns, nested, key, malformed)


def _write_texts(columns: Sequence[Column], chunks: Iterable[TextChunk], texts: Path) -> int:
    """Write all texts as Parquet and add them to the columns. Returns how many records have no row."""
    malformed = 0
    names = [str(column.position) for column in columns]
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(texts, schema, compression="lz4") as writer:
        for chunk in chunks:
            malformed += len(chunk.malformed)
            nested = Counter(cell.column for cell in chunk.cells if cell.rule == "nested_value")
            if len(chunk.records):
                values = chunk.values.select(names).cast(schema)
                for column, name in zip(columns, names, strict=True):
                    column.add(values[name].combine_chunks(), nested[column.position])
                writer.write_table(values)
    return malformed


def _write_typed(columns: Sequence[Column], texts: Path, typed: Path) -> None:
    """Write the values as Parquet, in the types of an import, because the store compares keys in these types."""
    schema = pa.schema([(column.name, arrow_type(column.field)) for column in columns])
    with pq.ParquetFile(texts) as file, pq.ParquetWriter(typed, schema, compression="lz4") as writer:
        for batch in file.iter_batches():
            values = [
                column.values(batch.column(str(column.position))).cast(arrow_type(column.field)) for column in columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(values, schema=schema))
