"""The rejected records of a file, in its own format and columns, with what is wrong with each: ready to correct.

After the file's own columns come `_batch`, `_record`, `_line` and `_problems`; what a record has beyond the
header stands after those. When the corrected file is imported, those columns are passed over.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate, chain, groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.cell import Cell

from resources.file_reader import FileReader, TextChunk
from resources.file_reader.excel import ExcelLimits, encode
from resources.packing import pack
from schemas.exports import Packing
from schemas.formulas import escape_formula

OUR_COLUMNS = ("_batch", "_record", "_line", "_problems")

_SUFFIXES = {"delimited": ".csv", "excel": ".xlsx", "json": ".json", "ndjson": ".ndjson", "parquet": ".parquet"}
_CELLS = 1_000_000
_EXCEL = ExcelLimits()
_ENDING = 60
"""Characters that are kept for the words on what is left out."""


def _escape_if_it_fits(text: str) -> str:
    """The text as `escape_formula` gives it, unless that is longer than a cell; no text of a sheet is computed."""
    escaped = escape_formula(text)
    return escaped if len(escaped) <= _EXCEL.cell_characters else text


ESCAPED = {"delimited": escape_formula, "excel": _escape_if_it_fits}
"""The formats that a spreadsheet opens, and how there a text is escaped that it would take for a formula."""


class _Writer(Protocol):
    """A file that takes rows of text."""

    def writerow(self, row: Sequence[str]) -> Any:
        """Write one row."""


def write_rejects(reader: FileReader, problems: Path, folder: Path, batch_id: str) -> Path:
    """One row for each rejected record, in the order of the file, never capped; returns the file.

    `reader` reads the same file once more; `problems` is its file of problems. The rejects file is packed as the file
    was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = reader.path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[0] or reader.path.name
    # A file name is bytes, at most 255 of them; this one is UTF-8 whatever the upload's was.
    stem = stem.encode(errors="backslashreplace")[:100].decode(errors="ignore")
    path = folder / f"{stem}.rejects{_SUFFIXES[reader.format]}{f'.{reader.packing}' if reader.packing else ''}"
    escape_cell = ESCAPED.get(reader.format, str)
    headers = [*reader.headers, *OUR_COLUMNS]
    unpacked = path.with_name(f"{path.name}.unpacked") if reader.packing else path
    with _FILES[reader.format](unpacked, headers) as file:
        told = _problems(problems, _EXCEL.cell_characters if reader.format == "excel" else None)
        following = next(told, None)
        for chunk in reader.chunks():
            wanted: dict[int, tuple[int, str]] = {}
            last = _last_record(chunk)
            while following is not None and following[0] <= last:
                wanted[following[0]] = following[1:]
                following = next(told, None)
            for record, values in _rows(chunk, wanted):
                line, text = wanted[record]
                own, beyond = values[: len(reader.headers)], values[len(reader.headers) :]
                padded = [*own, *[""] * (len(reader.headers) - len(own))]
                row = [*padded, batch_id, str(record), str(line), text, *beyond]
                file.writerow([cell and escape_cell(cell) for cell in row])
    if reader.packing:
        pack(unpacked, path, Packing(reader.packing))
        unpacked.unlink()
    return path


def _problems(path: Path, most: int | None = None) -> Iterator[tuple[int, int, str]]:
    """Record, line and all that is wrong with it, in the order of the file; visibly cut where a cell holds no more."""
    # DuckDB sorts on the disk where memory does not do; what it puts together within groups it keeps in memory.
    disk = str(path.with_name("sorting"))
    with duckdb.connect(config={"memory_limit": "256MB", "threads": 1, "temp_directory": disk}) as connection:
        found = connection.execute(
            """
            SELECT record, line, coalesce(field || ' ', '') || expected || ' [' || rule || ']'
                || CASE WHEN value IS NULL OR value = '' THEN '' ELSE ': ' || value END
            FROM read_parquet($1) ORDER BY record, field, rule
            """,
            [str(path)],
        )
        rows = chain.from_iterable(iter(lambda: found.fetchmany(10_000), []))
        for record, problems in groupby(rows, itemgetter(0)):
            (line, *_), texts = zip(*((line, text) for _, line, text in problems), strict=True)
            yield record, line, _joined(texts, most)


def _joined(texts: Sequence[str], most: int | None) -> str:
    """The problems of a record in one text; where it is too long for a cell, it tells how many it has not in full."""
    text = "; ".join(texts)
    if most is None or len(text) < most:  # one character is left for the ' before a formula
        return text
    end = most - _ENDING
    whole = sum(stop - 2 <= end for stop in accumulate(len(each) + 2 for each in texts))
    return f"{text[:end]}… and {len(texts) - whole:,} more; see the report"


def _last_record(chunk: TextChunk) -> int:
    numbers = [bad.record for bad in chunk.malformed[-1:]]
    if len(chunk.records):
        numbers.append(chunk.records[-1].as_py())
    return max(numbers)


def _rows(chunk: TextChunk, wanted: dict[int, tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The wanted records of a chunk with their texts, in order; a value that has none as its problem shows it."""
    rows = [(bad.record, list(bad.values)) for bad in chunk.malformed if bad.record in wanted]
    positions = [at for at, record in enumerate(chunk.records.to_pylist()) if record in wanted]
    if positions:
        columns = [column.to_pylist() for column in chunk.values.take(positions).columns]
        place_of = {row: place for place, row in enumerate(positions)}
        for cell in chunk.cells:
            if cell.row in place_of and not columns[cell.column][place_of[cell.row]]:
                columns[cell.column][place_of[cell.row]] = cell.value
        records = chunk.records.take(positions).to_pylist()
        rows += [(record, list(values)) for record, *values in zip(records, *columns, strict=True)]
    return sorted(rows)


class _DelimitedFile(AbstractContextManager[_Writer]):
    """CSV in UTF-8 with a byte order mark, so that a spreadsheet reads it right."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(headers)

    def __enter__(self) -> _Writer:
        return self._writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class _TextCell(Cell):
    """A cell of text as it is given: openpyxl would refuse it or cut it off, or take it for a formula or an error."""

    __slots__ = ()

    def __init__(self, sheet: Any, text: str) -> None:
        super().__init__(sheet, 1, 1, text)  # where it stands is said when its row is written
        self.data_type = "s"

    def check_string(self, value: Any) -> Any:
        """The text as the sheet spells it."""
        return encode(value)


class _ExcelFile(AbstractContextManager[_Writer]):
    """A workbook of one sheet; every cell is text."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._path = path
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet("Rejects")
        self._sheet.freeze_panes = "A2"
        self.writerow(headers)

    def writerow(self, row: Sequence[str]) -> None:
        """Write one row; what no sheet has a column for is counted in the last."""
        most = _EXCEL.columns
        if len(row) > most:
            row = [*row[: most - 1], f"… and {len(row) - most + 1:,} more cells; see the file that was sent"]
        self._sheet.append([_TextCell(self._sheet, text) if text else None for text in row])

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._book.save(self._path)


class _NdjsonFile(AbstractContextManager[_Writer]):
    """A JSON object on each line; every value is text."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._headers = headers

    def writerow(self, row: Sequence[str]) -> None:
        self._file.write(json.dumps(dict(zip(self._headers, row, strict=True)), ensure_ascii=False) + "\n")

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class _ParquetFile(AbstractContextManager[_Writer]):
    """A Parquet file; every column is text."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._schema = pa.schema([(header, pa.string()) for header in headers])
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[Sequence[str]] = []

    def writerow(self, row: Sequence[str]) -> None:
        self._rows.append(row)
        if len(self._rows) * len(row) >= _CELLS:
            self._write()

    def _write(self) -> None:
        columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows:
            self._write()
        self._writer.close()


class _JsonFile(AbstractContextManager[_Writer]):
    """A JSON array of objects; every value is text."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._headers = headers
        self._separator = "["

    def writerow(self, row: Sequence[str]) -> None:
        record = json.dumps(dict(zip(self._headers, row, strict=True)), ensure_ascii=False)
        self._file.write(f"{self._separator}\n{record}")
        self._separator = ","

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.write("\n]\n" if self._separator == "," else "[]\n")
        self._file.close()


_FILES: dict[str, type[Any]] = {
    "delimited": _DelimitedFile,
    "excel": _ExcelFile,
    "json": _JsonFile,
    "ndjson": _NdjsonFile,
    "parquet": _ParquetFile,
}
