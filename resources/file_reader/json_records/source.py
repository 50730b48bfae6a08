"""A file read into a buffer, and its bytes decoded."""

from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 1 << 20
WHITE = b" \t\n\r"


@dataclass(frozen=True)
class Place:
    """A place in a file: its offset (from 0) and line (from 1)."""

    offset: int
    line: int


class Source:
    """A buffer of a file's bytes. `offset` (from 0) and `line` (from 1) are those of its first byte.

    start, end: the bytes that are read, from the line `line` on. None is the end of the file.
    """

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None, line: int = 1) -> None:
        self._file, self._end = file, end
        self._file.seek(start)
        self.buffer, self.offset, self.line, self.ended = b"", start, line, False

    def more(self) -> None:
        """Reads as many bytes again as the buffer has, or to the end."""
        size = max(BLOCK, len(self.buffer))
        if self._end is not None:
            size = min(size, self._end - self.offset - len(self.buffer))
        data = self._file.read(size)
        self.buffer += data
        self.ended = not data

    def drop(self, size: int) -> None:
        """Removes bytes from the start of the buffer."""
        if size:
            self.line += self.buffer.count(b"\n", 0, size)
            self.offset += size
            self.buffer = self.buffer[size:]

    def skip_white(self) -> None:
        """Removes white space, up to the next other byte or the end."""
        while True:
            self.drop(len(self.buffer) - len(self.buffer.lstrip(WHITE)))
            if self.buffer or self.ended:
                return
            self.more()


@dataclass(frozen=True)
class Decoded:
    """Decoded bytes: the text up to the first byte that is not UTF-8.

    `bad` is that byte. `cut`: more bytes could complete the character.
    """

    text: str
    bad: bytes
    cut: bool

    @classmethod
    def of(cls, data: bytes) -> "Decoded":
        """Decodes bytes."""
        try:
            return cls(data.decode(), b"", False)
        except UnicodeDecodeError as error:
            bad = data[error.start : error.start + 1]
            return cls(data[: error.start].decode(), bad, error.reason == "unexpected end of data")

    @property
    def not_utf8(self) -> str:
        """What is wrong with the bad byte."""
        return f"the byte 0x{self.bad.hex()} is not UTF-8"
