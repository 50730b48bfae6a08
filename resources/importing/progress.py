"""How far the reading of a file has come."""

from collections.abc import Iterator
from typing import Protocol

from resources.file_reader import FileReader, TextChunk


class Progress(Protocol):
    """Somebody who wants to know how far it has come."""

    def __call__(self, records: int, expected: int | None) -> None:
        """So many records are read and checked, of about so many; None where nobody can know."""


def observed_chunks(reader: FileReader, progress: Progress | None) -> Iterator[TextChunk]:
    """The chunks of the file; `progress` is told of each when it has been dealt with, and at last of all of them.

    How many records are expected follows from those so far and the share of the file that they are.
    """
    for chunk in reader.chunks():
        yield chunk
        if progress is None or not len(chunk.records):
            continue
        records = chunk.records[-1].as_py()
        progress(records, max(records, round(records / reader.share_read)) if reader.share_read else None)
    if progress is not None:
        progress(reader.read, reader.read)
