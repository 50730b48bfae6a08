"""Many texts, by their number, on the disk: in memory are those that were looked at lately."""

import mmap
import tempfile
from typing import BinaryIO

import numpy as np
import pyarrow as pa


class TextSpool:
    """Texts one after the other, in two unnamed files of the private folder: their bytes, and where each ends."""

    def __init__(self) -> None:
        self._data: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - they live as long as the reading
        self._ends: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self._ends.write(bytes(4))
        self._maps: list[mmap.mmap] = []
        self._bytes = 0
        self._count = 0

    @property
    def size(self) -> int:
        """The bytes that they take; at most 2³¹ of them are texts."""
        return self._bytes + 4 * self._count

    def put(self, texts: pa.Array) -> None:
        """These texts follow; none of them is null."""
        _, offsets, data = texts.buffers()
        if not len(texts):
            return
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        if data is not None:
            self._data.write(memoryview(data)[ends[0] : ends[-1]])
        self._ends.write((ends[1:].astype(np.int64) - ends[0] + self._bytes).astype(np.int32).tobytes())
        self._bytes += int(ends[-1] - ends[0])
        self._count += len(texts)

    def texts(self) -> pa.Array:
        """All of them, as one array that lies in the files; nothing more is put in."""
        buffers = [None, self._mapped(self._ends), self._mapped(self._data)]
        return pa.Array.from_buffers(pa.string(), self._count, buffers)

    def close(self) -> None:
        """They are not wanted after all."""
        self._data.close()
        self._ends.close()

    def forget(self) -> None:
        """What was looked at takes no memory any more: the system reads it again from the files."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, file: BinaryIO) -> pa.Buffer:
        with file:
            if not file.tell():  # there is no map of nothing
                return pa.py_buffer(b"")
            file.flush()
            self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pa.py_buffer(self._maps[-1])
