"""Records read and not yet handed out, in an unnamed file of the private folder."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from resources.file_reader.json_records.walk import UnfitValue

_LINE = pa.field("", pa.int64())  # the last column; the others are named by the members


@dataclass(frozen=True)
class Block:
    """Consecutive records: their texts by member name, the line each begins on, and what has no text."""

    columns: dict[str, pa.Array]
    lines: pa.Array
    unfit: list[tuple[int, str, UnfitValue]]


class Spool:
    """Blocks in the order in which they were put in; they take the disk until it is closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the reading
        self._sizes: list[int] = []

    def put(self, block: Block) -> None:
        """The block is in the file."""
        names = [*block.columns, _LINE.name]
        batch = pa.RecordBatch.from_arrays([*block.columns.values(), block.lines], names=names)
        unfit = json.dumps([(row, name, asdict(value)) for row, name, value in block.unfit])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch, {"unfit": unfit})
        data = sink.getvalue()
        self._file.write(data)
        self._sizes.append(data.size)

    def blocks(self) -> Iterator[Block]:
        """All blocks."""
        self._file.flush()
        self._file.seek(0)
        for size in self._sizes:
            stream = pa.ipc.open_stream(self._file.read(size))
            batch, metadata = stream.read_next_batch_with_custom_metadata()
            *names, _ = batch.schema.names
            *columns, lines = batch.columns
            unfit = [(row, name, UnfitValue(**value)) for row, name, value in json.loads(metadata[b"unfit"])]
            yield Block(dict(zip(names, columns, strict=True)), lines, unfit)

    def close(self) -> None:
        """The file is gone."""
        self._file.close()
