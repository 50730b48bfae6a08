"""Files edited as a person does it: a program reads the whole file, one value is changed, and all of it is saved."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Row = dict[str, Any]
Change = Callable[[list[Row]], None]
"""Changes the rows of a file, in place."""


def edit(path: Path, change: Change, target: Path, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    """Write the file with changed rows to the target, in the same format, packing, encoding and delimiter."""
    kind = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    data = _unpacked(path)
    if kind == "xlsx":
        data = _workbook(data, change)
    elif kind == "parquet":
        table = pq.read_table(io.BytesIO(data))
        rows = table.to_pylist()
        change(rows)
        content = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, table.schema), content)
        data = content.getvalue()
    else:
        text = data.decode(encoding)
        data = _TEXTS[kind](text, change, delimiter).encode(encoding)
    target.write_bytes(_packed(data, path))
    return target


def rows_of(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[Row]:
    """Return the rows of a file."""
    found: list[Row] = []
    edit(path, found.extend, path.with_name(f"read-{path.name}"), encoding, delimiter)
    path.with_name(f"read-{path.name}").unlink()
    return found


def _csv(text: str, change: Change, delimiter: str) -> str:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[Row] = list(reader)
    change(rows)
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, reader.fieldnames or (), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def _json(text: str, change: Change, _: str) -> str:
    rows = json.loads(text)
    change(rows)
    return json.dumps(rows, indent=1, ensure_ascii=False)


def _ndjson(text: str, change: Change, _: str) -> str:
    rows = [json.loads(line) for line in text.split("\n") if line]
    change(rows)
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


_TEXTS = {"csv": _csv, "json": _json, "ndjson": _ndjson}


def _workbook(data: bytes, change: Change) -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book.worksheets[0]
    names = [str(cell.value) for cell in sheet[1]]
    rows = [{name: cell.value for name, cell in zip(names, cells, strict=True)} for cells in sheet.iter_rows(2)]
    before = [dict(row) for row in rows]
    change(rows)
    for number, (old, new) in enumerate(zip(before, rows, strict=False), 2):
        for column, name in enumerate(names, 1):
            if new[name] != old[name]:
                sheet.cell(number, column).value = new[name]
    if len(rows) < len(before):
        sheet.delete_rows(len(rows) + 2, len(before) - len(rows))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data


def _packed(data: bytes, like: Path) -> bytes:
    if like.suffix == ".gz":
        return gzip.compress(data)
    return zstandard.compress(data) if like.suffix == ".zst" else data
