"""The bytes of a part, cut into whole elements."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from resources.file_reader.excel.package import Package

_MARKUP = re.compile(rb"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """Some elements, one after the other.

    `bare` is `data` with comments, instructions and CDATA overwritten, for they may hold what looks like a tag. `last`
    says that the parent element ends here. Then `rest` is what follows.
    """

    data: bytes
    bare: bytes
    last: bool = False
    rest: bytes = b""

    @property
    def has_markup(self) -> bool:
        """Whether there are comments, instructions or CDATA."""
        return self.data is not self.bare

    def part(self, start: int, end: int) -> "Piece":
        """Returns some of the elements."""
        data = self.data[start:end]
        return Piece(data, self.bare[start:end] if self.has_markup else data)


def cut(
    package: Package,
    part: str,
    start: bytes,
    blocks: Iterator[bytes],
    child: bytes,
    parent: bytes,
    most: int,
    size: int = 1 << 20,
) -> Iterator[Piece]:
    """Yields pieces of about `size` bytes. Each but the last ends where a child element ends.

    start: what was read of the parent's content before `blocks`. A child of more than `most` bytes is refused after a
    last piece that holds a part of it. If the blocks end early, so does the last piece.
    """
    end_child, end_parent = b"</" + child + b">", b"</" + parent
    begin_child = [b"<" + child + end for end in (b" ", b"/", b">")]  # a child may have no end tag
    buffer = start
    while True:
        bare = _bare(buffer)
        ended = bare.find(end_parent)
        if ended >= 0:
            data = buffer[:ended]
            yield Piece(data, data if bare is buffer else bare[:ended], True, buffer[ended:])
            return
        if len(buffer) >= size:
            whole = max(_after(bare, end_child), *(bare.rfind(each) for each in begin_child))
            if whole > 0:
                data = buffer[:whole]
                yield Piece(data, data if bare is buffer else bare[:whole])
                buffer = buffer[whole:]
            elif len(buffer) > most:
                yield Piece(buffer, bare)
                raise package.unreadable(f"has a <{child.decode()}> of more than {most:,} bytes in {part}")
        more = [block for _, block in zip(range(max(1, size >> 16)), blocks, strict=False)]
        if not more:
            yield Piece(buffer, bare)
            return
        buffer += b"".join(more)


def _after(data: bytes, tag: bytes) -> int:
    """Returns where the last such tag ends, or 0."""
    return data.rfind(tag) + len(tag) if tag in data else 0


def _bare(data: bytes) -> bytes:
    """Returns data of the same length without comments, instructions and CDATA; the same object if there are none."""
    if b"<!" not in data and b"<?" not in data:
        return data
    return _MARKUP.sub(lambda found: (b"x" if found[0].startswith(b"<![") else b" ") * len(found[0]), data)
