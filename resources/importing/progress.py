"""The progress of reading a file."""

from collections.abc import Iterator
from typing import Protocol

from resources.file_reader import FileReader, TextChunk


class Progress(Protocol):
    """Receives the progress."""

    def __call__(self, records: int, expected: int | None) -> None:
        """Take the number of records read and checked, and an estimate of all; None if there is no estimate."""


def observed_chunks(reader: FileReader, progress: Progress | None) -> Iterator[TextChunk]:
    """Yields the chunks of the file, and reports progress after each and at the end.

    The estimate of all records follows from the records so far and the share of the file that was read.
    """
    for chunk in reader.chunks():
        yield chunk
        if progress is None or not len(chunk.records):
            continue
        records = chunk.records[-1].as_py()
        progress(records, max(records, round(records / reader.share_read)) if reader.share_read else None)
    if progress is not None:
        progress(reader.read, reader.read)
