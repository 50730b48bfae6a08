"""Parts to one file: text byte by byte, Parquet and Excel encoded anew, a few thousand rows at a time."""

import csv
import hashlib
import io
import os
from pathlib import Path
from typing import Self

from resources.checksums import sha256_of
from resources.export_writer.encodings import encode, mark_of
from resources.export_writer.parts import part_path
from resources.export_writer.plan import ExportPlan
from resources.packing import packed
from schemas.exports import ExportFormat

_BLOCK = 1 << 18
"""Bytes of text that are moved at once: so few that hashing leaves them in the processor's cache to be written."""


class TextFile:
    """A file of text that is put together from parts. A context manager; parts are appended in their order."""

    def __init__(self, plan: ExportPlan, path: Path) -> None:
        self._before, self._after = (packed(data, plan.request.packing) if data else b"" for data in _around(plan))
        self._digest = hashlib.sha256()
        self._block = memoryview(bytearray(_BLOCK))
        self._file = path.open("wb", buffering=0)
        self._write(self._before)

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, complete or not."""
        self._file.close()

    def append(self, part: Path) -> None:
        """The part's bytes stand at the end, on the disk."""
        with part.open("rb", buffering=0) as file:
            while size := file.readinto(self._block):
                self._write(self._block[:size])
        os.fdatasync(self._file.fileno())  # now, so that there is little left to wait for at the end

    def complete(self) -> str:
        """Nothing more comes; returns the file's SHA-256."""
        self._write(self._after)
        return self._digest.hexdigest()

    def _write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        written = 0
        while written < len(data):  # for the system takes what there is room for, and refuses only the rest
            written += self._file.write(data[written:])


def assemble(plan: ExportPlan, path: Path) -> str:
    """The file at `path` is put together from all parts of the plan, which must be there; returns its SHA-256."""
    if plan.format.is_text:
        with TextFile(plan, path) as file:
            for number in range(len(plan.parts)):
                file.append(part_path(plan, number))
            return file.complete()
    if plan.format is ExportFormat.EXCEL:
        from resources.export_writer.excel import write_workbook

        write_workbook(plan, path)
    else:
        from resources.export_writer.parquet import write_parquet

        write_parquet(plan, path)
    return sha256_of(path)


def _around(plan: ExportPlan) -> tuple[bytes, bytes]:
    """What stands before the parts and after them."""
    if plan.format is ExportFormat.CSV:
        encoding = plan.request.encoding
        return mark_of(encoding) + encode(_header_line(plan), encoding), b""
    if plan.format is ExportFormat.JSON:
        return b"[\n", b"\n]\n" if plan.rows else b"]\n"
    return b"", b""


def _header_line(plan: ExportPlan) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, delimiter=plan.request.delimiter).writerow(plan.selection.written)
    return line.getvalue()
