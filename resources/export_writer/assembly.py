"""Parts to one file: text joined by the kernel, Parquet and Excel encoded anew, a few thousand rows at a time."""

import csv
import hashlib
import io
import os
from pathlib import Path

from resources.export_writer.encodings import encode, mark_of
from resources.export_writer.parts import part_path, sha256_of
from resources.export_writer.plan import ExportPlan
from resources.packing import packed
from schemas.exports import ExportFormat

_BLOCK = 1 << 20


def assemble(plan: ExportPlan, path: Path) -> str:
    """The file at `path` is put together from all parts of the plan, which must be there; returns its SHA-256."""
    if plan.format is ExportFormat.EXCEL:
        from resources.export_writer.excel import write_workbook

        write_workbook(plan, path)
        return sha256_of(path)
    if plan.format is ExportFormat.PARQUET:
        from resources.export_writer.parquet import write_parquet

        write_parquet(plan, path)
        return sha256_of(path)
    return _join(plan, path)


def _join(plan: ExportPlan, path: Path) -> str:
    digest = hashlib.sha256()
    before, after = (packed(data, plan.request.packing) if data else b"" for data in _around(plan))
    with path.open("wb", buffering=0) as output:
        output.write(before)
        digest.update(before)
        for number in range(len(plan.parts)):
            with part_path(plan, number).open("rb") as part:
                _append(output.fileno(), part.fileno())
                while data := part.read(_BLOCK):
                    digest.update(data)
        output.write(after)
        digest.update(after)
    return digest.hexdigest()


def _append(output: int, part: int) -> None:
    """The bytes of a part stand at the end of a file; the kernel moves them."""
    offset, size = 0, os.fstat(part).st_size
    while offset < size:
        offset += os.sendfile(output, part, offset, size - offset)


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
