"""Records that are read and not yet delivered, in an unnamed temporary file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from resources.file_reader.json_records.walk import UnfitValue
from resources.file_reader.scratch import temporary_file

_LINE = pa.field("", pa.int64())  # the last column; the others are named by the members


@dataclass(frozen=True)
class Block:
    """Consecutive records: their texts by member name, their lines, and the values without a text.

    with_point: by name, the rows in which the value is text and has a point; None if all values are text.
    """

    columns: dict[str, pa.Array]
    lines: pa.Array
    unfit: list[tuple[int, str, UnfitValue]]
    with_point: dict[str, list[int] | None]


class Spool:
    """Blocks on the disk, in order, until it is closed."""

    def __init__(self) -> None:
        self._file = temporary_file()
        self._sizes: list[int] = []

    def put(self, block: Block) -> None:
        """Writes a block."""
        names = [*block.columns, _LINE.name]
        batch = pa.RecordBatch.from_arrays([*block.columns.values(), block.lines], names=names)
        unfit = json.dumps([(row, name, vars(value)) for row, name, value in block.unfit])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch, {"unfit": unfit, "with_point": json.dumps(block.with_point)})
        data = sink.getvalue()
        self._file.write(data)
        self._sizes.append(data.size)

    def blocks(self) -> Iterator[Block]:
        """Yields all blocks, in order."""
        self._file.flush()
        self._file.seek(0)
        for size in self._sizes:
            stream = pa.ipc.open_stream(self._file.read(size))
            batch, metadata = stream.read_next_batch_with_custom_metadata()
            *names, _ = batch.schema.names
            *columns, lines = batch.columns
            unfit = [(row, name, UnfitValue(**value)) for row, name, value in json.loads(metadata[b"unfit"])]
            with_point = json.loads(metadata[b"with_point"])
            yield Block(dict(zip(names, columns, strict=True)), lines, unfit, with_point)

    def close(self) -> None:
        """Deletes the file."""
        self._file.close()
