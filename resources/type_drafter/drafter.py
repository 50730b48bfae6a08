"""Reads a sample file, finds the types and the key of its columns, and drafts a record type."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.file_reader import FileReader, TextChunk
from resources.file_reader.header_row import SECOND_HEADER
from resources.file_reader.options import ReadLimits
from resources.importing.last_lines import LastLines
from resources.type_drafter.column import Column, name_fields
from resources.type_drafter.key import find_choices, find_key
from resources.type_drafter.names import LONGEST_NAME, snake_case
from resources.type_drafter.reading import columns_read, likely_options
from resources.type_drafter.source import source_of
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.footers import Footer
from schemas.mapping import REJECTS_COLUMNS, distinct_names
from schemas.parsing import arrow_type
from schemas.reading import ReadOptions, is_answered
from schemas.record_type import RecordType
from schemas.unclear_points import UnclearPoints

_MEMORY = "512MB"


@dataclass(frozen=True)
class Draft:
    """A drafted record type. `unsaid` has what a person must still say, as sentences; its module has them too."""

    module: str
    unsaid: tuple[str, ...] = ()


def draft(
    path: Path, name: str | None = None, options: ReadOptions | None = None, limits: ReadLimits | None = None
) -> Draft:
    """Returns a module with a record type that takes every well-formed record of the file.

    What nobody has said is read in the likeliest way, as for a preview. Last lines that look like no records, and a
    second header row, are left out unless the options say otherwise.

    name: the name of the record type. Default: made from the file's name.
    options: how the file is written, as far as the user says it. limits: those of an import.
    Raises NotFound or UnreadableFile as `FileReader` does. Raises InvalidRequest if the name is not valid, or if the
    file has no column that a field can hold.
    """
    options = options or ReadOptions()
    with FileReader(path, options, limits) as reader:
        if not reader.format.numbers_are_text:
            options = replace(options, decimal=None)
        said = replace(options, time_zone=options.time_zone or reader.format.time_zone)
        last_lines = LastLines(options.footer or Footer.SKIP, (), len(reader.headers))
        chunks = reader.chunks()
        has_second_header = SECOND_HEADER in reader.questions
        if has_second_header:
            chunks = _without_first(chunks)

        def unsaid() -> Iterator[str]:
            for question in reader.questions:
                if question == SECOND_HEADER:
                    yield f"{question.sentence} The draft leaves it out: take it out of the file, or say --header-row."
                elif not is_answered(question, said):
                    yield f"{question.sentence} {' or '.join(question.flags)}".strip()
            if options.footer is None and last_lines.skipped:
                lines = _lines(last_lines.lines)
                yield f"The draft leaves out {lines} at the end, which is no record. An import needs: --footer skip"

        are_text = reader.format.numbers_are_text
        passed = last_lines.passed(chunks)
        return draft_from(path.name, reader.headers, passed, name, said, unsaid, numbers_are_text=are_text)


def draft_from(
    file: str,
    headers: Sequence[str],
    chunks: Iterable[TextChunk],
    name: str | None = None,
    options: ReadOptions | None = None,
    unsaid: Callable[[], Iterable[str]] = tuple,
    *,
    numbers_are_text: bool = True,
) -> Draft:
    """Returns the same for a file that is read already: its name, its header row and its records.

    unsaid: returns what a person must say about how the file is read, after the last chunk. numbers_are_text: whether
    its format has no numbers of its own.
    """
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
        options, likely = likely_options(columns, texts, options, numbers_are_text=numbers_are_text)
        if likely:
            columns = columns_read(columns, texts, options)
        points = _write_typed(columns, texts, typed, is_known=options.decimal is not None or not numbers_are_text)
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
    sentences = tuple(map(_printed, (*unsaid(), *likely, *points)))
    module = source_of(file, type_name, columns, nested, key, malformed, sentences)
    if not key.columns:
        sentences += ("No field is certain to be the key: name it in the module, which does not load before.",)
    return Draft(module, sentences)


def _without_first(chunks: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Yields the chunks without the first record, if it is well-formed."""
    for chunk in chunks:
        if len(chunk.records) and chunk.records[0].as_py() == 1:
            chunk = replace(
                chunk,
                values=chunk.values.slice(1),
                records=chunk.records[1:],
                lines=chunk.lines[1:],
                cells=tuple(replace(cell, row=cell.row - 1) for cell in chunk.cells if cell.row),
                formats=None if chunk.formats is None else chunk.formats[1:],
            )
        yield chunk


def _lines(lines: Sequence[int]) -> str:
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(f'{line:,}' for line in lines)}"


def _printed(sentence: str) -> str:
    """Returns a sentence on one line, which cannot end a comment."""
    return "".join(character for character in " ".join(sentence.split()) if character.isprintable())


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


def _write_typed(columns: Sequence[Column], texts: Path, typed: Path, *, is_known: bool) -> list[str]:
    """Write the values as Parquet, in the types of an import, because the store compares keys in these types.

    Returns what to ask about points in numbers. is_known: whether the decimal sign is.
    """
    record_type = RecordType("draft", "", tuple(column.field for column in columns), (), {})
    shown = {column.name: column for column in columns if not column.personal}
    points = UnclearPoints(record_type, tuple(shown), is_known=is_known)
    schema = pa.schema([(column.name, arrow_type(column.field)) for column in columns])
    with pq.ParquetFile(texts) as file, pq.ParquetWriter(typed, schema, compression="lz4") as writer:
        for batch in file.iter_batches():
            values = [
                column.values(batch.column(str(column.position))).cast(arrow_type(column.field)) for column in columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(values, schema=schema))
            given = {name: batch.column(str(column.position)) for name, column in shown.items()}
            points.add(pa.table(given), pa.table(dict(zip(schema.names, values, strict=True))), _rows(batch))
    question = points.question({name: column.header for name, column in shown.items()})
    return [] if question is None else [f"{question.sentence} {' or '.join(question.flags)}"]


def _rows(batch: pa.RecordBatch) -> pa.Array:
    return pa.array(range(batch.num_rows), pa.int64())
