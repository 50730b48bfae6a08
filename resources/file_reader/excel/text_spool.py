"""Many texts on the disk, by number. Memory holds those that were read lately."""

import mmap
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from resources.file_reader.scratch import temporary_file


class TextSpool:
    """Texts in two unnamed temporary files: their bytes, and where each ends."""

    def __init__(self) -> None:
        self._data: BinaryIO = temporary_file()
        self._ends: BinaryIO = temporary_file()
        self._ends.write(bytes(4))
        self._maps: list[mmap.mmap] = []
        self._bytes = 0
        self._count = 0

    @property
    def size(self) -> int:
        """The bytes on the disk. The texts may take 2³¹ of them."""
        return self._bytes + 4 * self._count

    def put(self, texts: pa.Array) -> None:
        """Appends texts, none of them null."""
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
        """Returns all texts as one array that is mapped from the files. Nothing can be appended after that."""
        buffers = [None, self._mapped(self._ends), self._mapped(self._data)]
        return pa.Array.from_buffers(pa.string(), self._count, buffers)

    def close(self) -> None:
        """Deletes the files."""
        self._data.close()
        self._ends.close()

    def forget(self) -> None:
        """Frees the memory of what was read. The system reads it again from the files when needed."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, file: BinaryIO) -> pa.Buffer:
        with file:
            if not file.tell():  # an empty file cannot be mapped
                return pa.py_buffer(b"")
            file.flush()
            self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pa.py_buffer(self._maps[-1])
