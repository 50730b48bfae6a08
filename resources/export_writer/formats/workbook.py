"""A workbook from parts: written row by row, in as many sheets as needed, with real dates and numbers where exact."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rustpy_xlsxwriter import FastExcel, Format

from resources.export_writer.formats.export_format import Placed
from resources.export_writer.formats.row_batches import batches, first_of, schema_of
from resources.export_writer.formats.workbook_package import write_with_property
from resources.export_writer.plan import ExportPlan
from resources.process_state import temporary_files_in
from schemas.errors import RecordsError
from schemas.exports import EXPORT_PROPERTY

_ROWS = 5_000
_EXACT = 10**15
"""Excel keeps 15 digits of a number. A number with more digits is written as text."""
_EPOCH = 25_569
"""Excel's number of 1970-01-01, from which Arrow counts."""
_FIRST_DAY = 61 - _EPOCH
"""1900-03-01. Excel has a 1900-02-29, so it numbers earlier days differently from version to version, or not at all."""
_DAY = 86_400_000_000
_SHEET_NAME = 25
_NARROWEST, _WIDEST = 8, 60
_DATE_FORMAT, _TIME_FORMAT = "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"

Row = dict[str, Any]
Numbers = np.ndarray[Any, np.dtype[Any]]


def write_workbook(plan: ExportPlan, parts: Iterator[Path], path: Path, placed: Placed | None = None) -> None:
    """Write the rows of all parts. Each sheet begins with the names of the columns, bold and frozen.

    Raises RecordsError if the package fails.
    """
    sheets = max(1, -(-plan.rows // plan.request.sheet_rows))
    name = plan.selection.record_type.name[:_SHEET_NAME]
    first, parts = first_of(parts)
    schema = schema_of(first)
    widths, formats = _widths(first, schema), _formats(schema)
    rows = _rows(parts, placed)
    with _working_file(plan.work) as made, temporary_files_in(plan.work), _panics_as_errors():
        book = FastExcel(str(made)).format(bold_headers=True).freeze(row=1)
        for number in range(1, sheets + 1):
            title = name if sheets == 1 else f"{name} {number}"
            data = islice(rows, plan.request.sheet_rows) if plan.rows else iter([dict.fromkeys(schema.names)])
            book.sheet(title, data, column_widths=widths, column_formats=formats)
        book.save()
        write_with_property(made, path, EXPORT_PROPERTY, plan.export_id)


@contextmanager
def _working_file(folder: Path) -> Iterator[Path]:
    """Yield a path that ends in .xlsx, and delete the file there at the end.

    It is another one each time, because two processes may write one export. The package writes other formats for other
    endings, and keeps the workbook in memory for an open file.
    """
    made = folder / f"book-{secrets.token_hex(4)}.xlsx"
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Raise OSError or RecordsError in place of the package's PanicException, which is not an Exception."""
    try:
        yield
    except BaseException as error:
        code = re.search(r"code: (\d+)", str(error))
        if type(error).__name__ != "PanicException":
            raise
        if code is None:
            raise RecordsError(f"The workbook could not be written: {error}.", "Export as csv or parquet.") from error
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _widths(part: Path, schema: pa.Schema) -> dict[str, float]:
    """Return the width of each column: that of its name, or of the widest among the first values."""
    widths = {name: max(len(name), _NARROWEST) for name in schema.names}
    for batch in islice(batches(iter([part]), _ROWS), 1):
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


def _rows(parts: Iterator[Path], placed: Placed | None) -> Iterator[Row]:
    done = 0
    for batch in batches(parts, _ROWS):
        names = batch.schema.names
        for values in zip(*map(_cells, batch.columns), strict=True):
            yield dict(zip(names, values, strict=True))
        done += batch.num_rows
        if placed is not None:
            placed(done)


def _cells(column: pa.Array) -> list[Any]:
    """Return the values for cells: timestamps, dates and decimals as numbers, or as text where no number is exact."""
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
    """Return where Excel keeps every digit."""
    # Without the absolute value: that of the least 64-bit number would be negative.
    return (numbers > -_EXACT) & (numbers < _EXACT)


def _stored(column: pa.Array, kind: type[np.signedinteger[Any]], width: int = 1) -> Numbers:
    """Return the stored numbers of the values, `width` for each value. A null has any number."""
    every = np.frombuffer(column.buffers()[1] or b"", kind)
    return every[column.offset * width : (column.offset + len(column)) * width]


def _mixed(column: pa.Array, numbers: Numbers, exact: Numbers) -> list[Any]:
    """Return the numbers, or the values of the column as text where the numbers are not exact."""
    values: list[Any] = numbers.tolist()
    valid = np.array(column.is_valid().to_pylist(), bool)  # to_numpy would import pandas
    for position in np.flatnonzero(~valid).tolist():
        values[position] = None
    for position in np.flatnonzero(valid & ~exact).tolist():
        values[position] = column.slice(position, 1).cast(pa.string())[0].as_py()
    return values
