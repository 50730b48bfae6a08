"""The console of the commands: tables, lists that fit its width, and a bar of progress."""

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

from rich import box, filesize
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.measure import Measurement
from rich.table import Table

_BAR = 30
_WIDTH_OF_A_FILE = 240
_WIDEST = 1_000
"""A width in which every table has room."""
_BROKEN = 8
"""How many characters a line has at least of a text that is broken into lines."""


def console() -> Console:
    """Returns the console of standard output. If that is no terminal, it prints plain text as wide as necessary."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)


def escape(text: str) -> str:
    """Returns the text without markup, and without characters that control the terminal or move other text."""
    return escape_markup("".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text))


def table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    """Returns a table with these headings. Columns of numbers are aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        is_number = column in set(numbers)
        made.add_column(column, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    return made


@dataclass(frozen=True)
class Listing:
    """Rows to print as a table. `expendable` columns are left out in this order if the terminal is too narrow.

    broken: the column with texts that may be broken into lines; none of the others is then.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()
    expendable: Sequence[str] = ()
    broken: str = ""

    def table(self, left_out: Collection[str]) -> Table:
        """Returns the table without some columns."""
        kept = [position for position, column in enumerate(self.columns) if column not in left_out]
        made = table(*(self.columns[at] for at in kept), numbers=self.numbers)
        made.padding = (0, 1, 0, 0)
        made.columns[0].no_wrap = True
        for column in made.columns if self.broken else ():
            column.no_wrap = column.header != self.broken
        for row in self.rows:
            made.add_row(*(row[at] for at in kept))
        return made

    def least_width(self, left_out: Collection[str], out: Console) -> int:
        """Returns how wide the table is at least, without some columns."""
        is_broken = [name == self.broken for name in self.columns]
        rows = [[text[:_BROKEN] if at else text for text, at in zip(row, is_broken, strict=True)] for row in self.rows]
        options = out.options.update(max_width=_WIDEST)
        return Measurement.get(out, options, replace(self, rows=rows).table(left_out)).maximum


def print_list(shown: Listing, nothing: str, following: int | None) -> None:
    """Print a list, on a terminal no wider than that, so that no id is broken. Other output has all columns."""
    out = console()
    left_out: list[str] = []
    for column in shown.expendable if out.is_terminal else ():
        if shown.least_width(left_out, out) <= out.width:
            break
        left_out.append(column)
    out.print(shown.table(left_out) if shown.rows else nothing)
    if left_out and shown.rows:
        out.print(f"Left out, because the terminal is too narrow: {', '.join(left_out)}")
    if following is not None:
        out.print(f"There are more: --page {following}")


class ProgressBar:
    """A bar on standard error: records, rate and time left. Call it with the number of records and the expected one.

    exact: the expected number is known, not estimated. of_bytes: the numbers are bytes, not records.
    """

    def __init__(self, what: str, *, exact: bool = False, of_bytes: bool = False) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[counted]}"),  # rich's own rate and time left start again with each new total
        )
        self._of = "of " if exact else "of about "
        self._number, self._unit = (filesize.decimal, "") if of_bytes else ("{:,}".format, " records")
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar = self._bars.add_task(what, total=None, counted="")

    def __call__(self, records: int, expected: int | None) -> None:
        """Show the number of records so far, and the expected number of all."""
        rate = records / max(self._bars.tasks[0].elapsed or 0.0, 0.001)
        of = left = ""
        if expected is not None and expected > records > 0:
            minutes, seconds = divmod(round((expected - records) / rate), 60)
            of = f" {self._of}{self._number(expected)}"
            left = f", {minutes}:{seconds:02} left"
        counted = f"{self._number(records)}{of}{self._unit}, {self._number(round(rate))}/s{left}"
        self._bars.update(self._bar, completed=records, total=expected, counted=counted)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._bars.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Remove the bar until the block ends; its time begins again then."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.reset(self._bar)
            self._bars.start()
