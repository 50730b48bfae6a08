"""`TextFormat`: the base class of formats of text. Their files are parts joined byte by byte, and can be packed."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from resources.export_writer.formats.export_format import ExportFormat, Placed, each_placed
from resources.export_writer.plan import ExportPlan
from resources.packing import pack, packed
from resources.record_store.export_source import ExportSource

_BLOCK = 1 << 18
"""Bytes that are copied at once. So few that after hashing they are still in the processor's cache to be written."""


class TextFormat(ExportFormat):
    """A format of text: a header, the lines of each part, and a footer."""

    options = frozenset({"packing"})
    joins_early = True

    @abstractmethod
    def write_lines(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write the lines of a part to the path, not packed, and return the number of records.

        Raises what `write_part` raises.
        """

    def header(self, plan: ExportPlan) -> bytes:
        """Return what comes before the first part, not packed."""
        return b""

    def footer(self, plan: ExportPlan) -> bytes:
        """Return what comes after the last part, not packed."""
        return b""

    def write_part(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write the lines of a part, packed if the request says so."""
        rows = self.write_lines(plan, number, source, path)
        packing = plan.request.packing
        if packing is not None:
            rewrite(path, lambda target: pack(path, target, packing))
        return rows

    def assemble(self, plan: ExportPlan, parts: Iterator[Path], path: Path, placed: Placed | None = None) -> str:
        """Write the header, all parts and the footer."""
        header, footer = (
            packed(text, plan.request.packing) if text else b"" for text in (self.header(plan), self.footer(plan))
        )
        with _HashedFile(path) as file:
            file.write(header)
            for part in each_placed(plan, parts, placed):
                file.append(part)
            file.write(footer)
            return file.sha256


def rewrite(path: Path, write: Callable[[Path], None]) -> None:
    """Replace the file by what `write` makes of it at another path."""
    target = path.with_name(f"{path.name}.rewritten")
    write(target)
    os.replace(target, path)


class _HashedFile:
    """A new file that computes its SHA-256 while it is written. A context manager."""

    def __init__(self, path: Path) -> None:
        self._digest = hashlib.sha256()
        self._block = memoryview(bytearray(_BLOCK))
        self._file = path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, complete or not."""
        self._file.close()

    @property
    def sha256(self) -> str:
        """The SHA-256 of everything written so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Append the bytes."""
        self._digest.update(data)
        written = 0
        while written < len(data):  # if the disk is nearly full, the system writes a part of the data
            written += self._file.write(data[written:])

    def append(self, part: Path) -> None:
        """Append the bytes of another file, and flush them to the disk."""
        with part.open("rb", buffering=0) as file:
            while size := file.readinto(self._block):
                self.write(self._block[:size])
        os.fdatasync(self._file.fileno())  # now, so that little is left to wait for at the end
