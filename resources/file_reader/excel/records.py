"""Rows of cells, collected into records: a filled row is the header, wider rows are malformed."""

from itertools import islice

import numpy as np
import pyarrow as pa

from resources.file_reader.chunk import CellProblem, MalformedRecord, TextChunk
from resources.file_reader.excel.cells import ProblemText
from resources.file_reader.excel.progress import Progress
from resources.file_reader.excel.references import column_names
from resources.file_reader.formatted_cells import formatted_cells

_MALFORMED_COUNTED = 16 << 10


class RecordCollector:
    """Collects rows, one cell after another, until `take` returns them as a chunk. `progress` counts them.

    A row is `begin_row`, its cells in ascending columns (from 1), and `end_row`.
    """

    __slots__ = (
        "_append",
        "_beyond", "_blanks", "_done", "_flat", "_formats", "_furthest", "_lines", "_malformed", "_problems",
        "_progress", "_records", "_width", "values",
    )  # fmt: skip

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._blanks = [""] * progress.limits.columns
        known = progress.headers
        self._width = progress.limits.columns if known is None else len(known)  # of the header, once there is one
        self._flat: list[str] = []  # the values of complete rows, then of the open row
        self._append = self._flat.append
        self._records: list[int] = []
        self._lines: list[int] = []
        self._malformed: list[MalformedRecord] = []
        self._problems: list[CellProblem] = []
        self._formats: list[tuple[int, int, int]] = []  # row, column from 0 and number format
        self._beyond: list[tuple[int, str]] = []  # columns and values of the open row, beyond the width
        self._done = 0  # the last filled column of the open row within the width
        self._furthest = 0  # the last filled column beyond it
        self.values = 0  # of the records that were taken

    @property
    def is_empty(self) -> bool:
        """Whether no complete record waits to be taken."""
        return not self._records and not self._malformed

    @property
    def cells(self) -> int:
        """About how many cells wait to be taken."""
        return len(self._flat) + sum(bad.fields for bad in self._malformed[-_MALFORMED_COUNTED:])

    @property
    def open_characters(self) -> int:
        """The characters of the open row."""
        complete = len(self._records) * len(self._progress.headers or ())
        return sum(map(len, islice(self._flat, complete, None))) + sum(len(text) for _, text in self._beyond)

    def begin_row(self) -> None:
        """Begins a row."""
        self._done = self._furthest = 0
        self._beyond.clear()

    def add(self, column: int, text: str) -> None:
        """Adds the text of a cell to the open row."""
        if column == self._done + 1 <= self._width:
            self._append(text)
            self._done = column
        elif column > self._width:
            self._furthest = column
            self._beyond.append((column, text))
        else:
            self._flat.extend(self._blanks[: column - 1 - self._done])
            self._flat.append(text)
            self._done = column

    def add_format(self, column: int, format_: int) -> None:
        """Adds the number format of a cell that was added to the open row."""
        if column <= self._width:
            self._formats.append((len(self._records), column - 1, format_))

    def add_problem(self, column: int, problem: ProblemText) -> None:
        """Adds a cell that has a problem to the open row."""
        self._progress.problems += 1 + len(problem.value) // 100
        if column <= self._width:
            row = len(self._records)
            self._problems.append(CellProblem(row, column - 1, problem.rule, problem.expected, problem.value))
        else:
            self._furthest = column
        if problem.text:
            self.add(column, problem.text)

    def end_row(self, row: int, *, hidden: bool) -> None:
        """Ends a row of that number. If it has a value or a problem, it is the header or a record."""
        progress, done, flat = self._progress, self._done, self._flat
        if not (done or self._furthest or (self._problems and self._problems[-1].row == len(self._records))):
            return
        self._check_gap(row)
        progress.last_filled = row
        own = flat[len(flat) - done :]
        size = sum(map(len, own)) + sum(len(text) for _, text in self._beyond)
        if size > progress.limits.row_characters:
            raise progress.refuse_long_row(f"row {row:,}")
        if progress.headers is None:
            if row >= progress.first_row:
                self._end_header(row)
            self._flat.clear()
            self._formats.clear()
            self._problems.clear()
            return
        progress.read += 1
        progress.hidden += hidden
        if self._furthest:
            self._end_malformed(row, own)
        else:
            if done < self._width:
                flat.extend(self._blanks[: self._width - done])
            self._records.append(progress.read)
            self._lines.append(row)
        progress.check(row, size)

    def take(self) -> TextChunk:
        """Returns the complete records, and forgets them; an open row stays."""
        width = len(self._progress.headers or ())
        whole, count = len(self._records) * width, len(self._records)
        flat = self._flat[:whole]
        self.values += len(flat) - flat.count("")
        self.values += sum(len(bad.values) - bad.values.count("") for bad in self._malformed)
        complete = np.array([it for it in self._formats if it[0] < count], np.int64).reshape(-1, 3)
        chunk = TextChunk(
            pa.table({str(i): pa.array(flat[i::width], pa.string()) for i in range(width)}),
            pa.array(self._records, pa.int64()),
            pa.array(self._lines, pa.int64()),
            tuple(self._malformed),
            tuple(it for it in self._problems if it.row < count),
            formatted_cells(count, *complete.T),
        )
        self._formats[:] = [(0, column, format_) for row, column, format_ in self._formats if row >= count]
        of_open_row = [it for it in self._problems if it.row >= count]
        self._problems[:] = [CellProblem(0, it.column, it.rule, it.expected, it.value) for it in of_open_row]
        del self._flat[:whole]
        self._records.clear()
        self._lines.clear()
        self._malformed.clear()
        return chunk

    def _check_gap(self, row: int) -> None:
        progress = self._progress
        empty = row - progress.last_filled - 1
        if empty > progress.limits.empty_rows:
            raise progress.refuse(
                f"row {row:,}",
                f"has a value after {empty:,} empty rows",
                f"Delete the empty rows, or what lies below row {progress.last_filled:,}.",
            )

    def _end_header(self, row: int) -> None:
        if self._problems:
            first = self._problems[0]
            raise self._progress.refuse(
                f"{column_names(self._progress.limits.columns)[first.column]}{row}",
                f"is a header, and {first.expected}",
                quoted=f"It is {first.value[:100]!r}.",
            )
        self._progress.header_row = row
        self._progress.headers = tuple(self._flat)
        self._width = self._done

    def _end_malformed(self, row: int, own: list[str]) -> None:
        """A row that is wider than the header is passed on as it is, without its problems and number formats."""
        self._progress.beyond += self._furthest
        del self._flat[len(self._flat) - self._done :]
        while self._problems and self._problems[-1].row == len(self._records):
            self._problems.pop()
        while self._formats and self._formats[-1][0] == len(self._records):
            self._formats.pop()
        values = [*own, *self._blanks[: self._furthest - self._done]]
        for column, text in self._beyond:
            values[column - 1] = text
        self._malformed.append(MalformedRecord(self._progress.read, row, self._furthest, tuple(values)))
