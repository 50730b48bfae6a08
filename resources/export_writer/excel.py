"""A workbook from parts: streamed, in as many sheets as it takes, real dates and numbers where they are exact."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rustpy_xlsxwriter import FastExcel, Format

from resources.export_writer.parquet import batches, schema_of
from resources.export_writer.plan import ExportPlan
from resources.process_state import temporary_files_in
from schemas.errors import RecordsError

_ROWS = 5_000
_EXACT = 10**15
"""What Excel keeps of a number are 15 digits; one that has more is text."""
_EPOCH = 25_569
"""The number of 1970-01-01, from which Arrow counts."""
_FIRST_DAY = 61 - _EPOCH
"""1900-03-01. Days before it have two numbers, for Excel's 1900 was a leap year, or none."""
_DAY = 86_400_000_000
_SHEET_NAME = 25
_NARROWEST, _WIDEST = 8, 60
_DATE_FORMAT, _TIME_FORMAT = "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"

Row = dict[str, Any]
Numbers = np.ndarray[Any, np.dtype[Any]]


def write_workbook(plan: ExportPlan, path: Path) -> None:
    """The file has the rows of all parts. Each sheet begins with the names of the columns, bold and frozen."""
    sheets = max(1, -(-plan.rows // plan.request.sheet_rows))
    name = plan.selection.record_type.name[:_SHEET_NAME]
    schema = schema_of(plan)
    widths, formats = _widths(plan, schema), _formats(schema)
    rows = _rows(plan)
    with _named_xlsx(plan.work, path) as named, temporary_files_in(plan.work), _panics_told():
        book = FastExcel(str(named)).format(bold_headers=True).freeze(row=1)
        for number in range(1, sheets + 1):
            title = name if sheets == 1 else f"{name} {number}"
            data = islice(rows, plan.request.sheet_rows) if plan.rows else iter([dict.fromkeys(schema.names)])
            book.sheet(title, data, column_widths=widths, column_formats=formats)
        book.save()


@contextmanager
def _named_xlsx(folder: Path, path: Path) -> Iterator[Path]:
    """Another name of the file: what ends otherwise the package makes another format of, and a handle's in memory."""
    link = folder / "book.xlsx"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    try:
        yield link
    finally:
        link.unlink(missing_ok=True)


@contextmanager
def _panics_told() -> Iterator[None]:
    """The package panics over what the disk refuses, with an exception that is no Exception."""
    try:
        yield
    except BaseException as error:
        code = re.search(r"code: (\d+)", str(error))
        if type(error).__name__ != "PanicException":
            raise
        if code is None:
            raise RecordsError(f"The workbook could not be written: {error}.", "Export as csv or parquet.") from error
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _widths(plan: ExportPlan, schema: pa.Schema) -> dict[str, float]:
    """How wide each column is shown: as its name, or its widest value among the first."""
    widths = {name: max(len(name), _NARROWEST) for name in schema.names}
    for batch in islice(batches(plan, _ROWS), 1):
        for name, column in zip(schema.names, batch.columns, strict=True):
            widths[name] = max(widths[name], pc.max(pc.utf8_length(column.cast(pa.string()))).as_py() or 0)
    return {name: float(min(width, _WIDEST) + 1) for name, width in widths.items()}


def _formats(schema: pa.Schema) -> dict[str, Format]:
    formats = {}
    for column in schema:
        if pa.types.is_date(column.type):
            formats[column.name] = Format().set_num_format(_DATE_FORMAT)
        elif pa.types.is_timestamp(column.type):
            formats[column.name] = Format().set_num_format(_TIME_FORMAT)
        elif pa.types.is_decimal(column.type):
            formats[column.name] = Format().set_num_format(f"0.{'0' * column.type.scale}".rstrip("."))
    return formats


def _rows(plan: ExportPlan) -> Iterator[Row]:
    for batch in batches(plan, _ROWS):
        names = batch.schema.names
        for values in zip(*map(_cells, batch.columns), strict=True):
            yield dict(zip(names, values, strict=True))


def _cells(column: pa.Array) -> list[Any]:
    """The values as cells hold them: moments, days and decimals as numbers; as text what no number has exactly."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        micros = _stored(column, np.int64)
        exact = (micros >= _FIRST_DAY * _DAY) & (micros % 1000 == 0)
        return _mixed(column, micros / _DAY + _EPOCH, exact)
    if pa.types.is_date(kind):
        days = _stored(column, np.int32)
        return _mixed(column, days + _EPOCH, days >= _FIRST_DAY)
    if pa.types.is_decimal(kind):
        low, high = _stored(column, np.int64, 2).reshape(-1, 2).T
        return _mixed(column, low / 10.0**kind.scale, (high == low >> 63) & _is_exact(low))
    if pa.types.is_integer(kind):
        numbers = _stored(column, np.int64)
        return _mixed(column, numbers, _is_exact(numbers))
    values: list[Any] = column.to_pylist()
    return values


def _is_exact(numbers: Numbers) -> Numbers:
    """Where Excel keeps every digit. Not by the absolute value: of the least 64-bit number it is negative."""
    return (numbers > -_EXACT) & (numbers < _EXACT)


def _stored(column: pa.Array, kind: type[np.signedinteger[Any]], width: int = 1) -> Numbers:
    """The numbers that lie behind the values, `width` for each; any number for a null."""
    every = np.frombuffer(column.buffers()[1] or b"", kind)
    return every[column.offset * width : (column.offset + len(column)) * width]


def _mixed(column: pa.Array, numbers: Numbers, exact: Numbers) -> list[Any]:
    """The numbers; where they are not exact, the values of the column as texts."""
    values: list[Any] = numbers.tolist()
    valid = np.array(column.is_valid().to_pylist(), bool)  # to_numpy would import pandas
    for position in np.flatnonzero(~valid).tolist():
        values[position] = None
    for position in np.flatnonzero(valid & ~exact).tolist():
        values[position] = column.slice(position, 1).cast(pa.string())[0].as_py()
    return values
