"""How far the reading of a file has come."""

from collections.abc import Iterator
from typing import Protocol

import pyarrow.compute as pc

from resources.file_reader import FileReader, TextChunk


class Progress(Protocol):
    """Somebody who wants to know how far it has come."""

    def __call__(self, records: int, expected: int | None) -> None:
        """So many records are read and checked, of about so many; None where nobody can know."""


def observed_chunks(reader: FileReader, progress: Progress | None) -> Iterator[TextChunk]:
    """The chunks of the file; `progress` is told of each when it has been dealt with, and at last of all of them.

    How many records are expected follows from the size of the file and of the records so far, where a record takes
    about as many bytes in the file as its text: in delimited text that is not packed.
    """
    size = _size_as_text(reader)
    taken = 0
    for chunk in reader.chunks():
        yield chunk
        if progress is None or not len(chunk.records):
            continue
        lengths = (pc.sum(pc.binary_length(column)).as_py() or 0 for column in chunk.values.columns)
        taken += sum(lengths) + chunk.values.num_columns * len(chunk.records)
        records = chunk.records[-1].as_py()
        progress(records, None if size is None else max(records, round(records * size / taken)))
    if progress is not None:
        progress(reader.read, reader.read)


def _size_as_text(reader: FileReader) -> int | None:
    """The bytes of a file whose text has one byte a character, or about so; None of any other."""
    understood = dict(reader.understood)
    wide = understood.get("Encoding", "").startswith(("utf-16", "utf-32"))
    if reader.format != "delimited" or wide or "Packed with" in understood:
        return None
    return reader.path.stat().st_size
