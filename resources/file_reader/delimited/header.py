"""What the first records of a file show about its header row: whether it names columns, and whether it fits them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from resources.file_reader.delimited.by_line import is_marked
from resources.file_reader.header_row import (
    SECOND_HEADER,
    are_names,
    columns_of,
    describes_columns,
    has_sign,
    kind_of,
    kind_of_all,
)
from schemas.counts import numbered
from schemas.errors import UnreadableFile
from schemas.reading import Question

_LOOKED_AT = 50
"""How many records are looked at."""
_DELIMITERS = ",;\t|"
_YEARS = range(1900, 2101)


@dataclass(frozen=True)
class Header:
    """The header row as it fits the records.

    names: the names of the columns. beyond: how many of them, at the end, the header row does not have; each record has
    an empty field there. typed: the positions of columns of numbers, dates or addresses, if there are several.
    questions: what to ask about the header row.
    """

    names: tuple[str, ...]
    beyond: int = 0
    typed: tuple[int, ...] = ()
    questions: tuple[Question, ...] = ()
    understood: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def fitted(names: tuple[str, ...], rows: Sequence[Sequence[str]], delimiter: str, name: str) -> Header:
    """Returns the header row as it fits the first records below it.

    delimiter: of the dialect. name: what messages call the file.
    Raises UnreadableFile if each line is in quotation marks as a whole.
    """
    if _are_marked(names):
        asked = Question("A name of a column is in quotation marks that are not those of the records.")
        return Header(names, questions=(asked,))
    if not rows:
        return Header(names)
    _check_wrapped(names, rows, delimiter, name)
    widths = {len(row) for row in rows}
    if widths == {len(names)} or len(widths) > 1:
        kinds = [kind_of_all(values) for values in columns_of(rows, len(names))]
        typed = tuple(at for at, kind in enumerate(kinds) if kind)
        return Header(names, 0, typed if len(typed) > 1 else (), _ask(names, rows, kinds), _nameless(names, rows))
    (width,) = widths
    every = "the first record" if len(rows) == 1 else f"all of the first {len(rows):,} records"
    if width > len(names):
        beyond = width - len(names)
        if not any(any(row[len(names) :]) for row in rows):
            fields = numbered(beyond, "empty field")
            said = ("Beyond the header, left out", f"{fields} at the end of {every}")
            return Header((*names, *[""] * beyond), beyond, understood=(said,))
    elif sum(map(bool, names)) == width:
        said = (
            "Columns without a name, left out",
            f"{len(names) - width:,}; {every} {'has' if len(rows) == 1 else 'have'} {numbered(width, 'field')}",
        )
        doubt = f"The header has {len(names):,} fields, and {every} {width:,}. The empty names are left out."
        questions = () if all(names[:width]) else (Question(doubt),)
        return Header(tuple(filter(None, names)), questions=questions, understood=(said,))
    else:
        return Header(names)  # `Widths` says it of all records
    why = "Perhaps a name or a delimiter is missing in the header."
    return Header(names, notes=(f"The header has {numbered(len(names), 'field')}, and {every} {width:,}. {why}",))


def _nameless(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Returns how many columns at the end have neither a name nor a value, as label and value."""
    rows = [row for row in rows if len(row) == len(names)]
    backwards = zip(*map(reversed, [names, *rows]), strict=True)
    empty = next((at for at, column in enumerate(backwards) if any(column)), 0)
    if not empty or not rows:
        return ()
    return (("Columns without a name or value, left out", f"{empty:,} at the end"),)


def are_alike(record: Sequence[str], other: Sequence[str]) -> bool:
    """Returns whether a record may be of the same table as another one: it has a number where that has one."""
    pairs = [(mine, its) for mine, its in zip(record, other, strict=False) if mine and its]
    return all(not kind_of(mine) or kind_of(mine) == kind_of(its) for mine, its in pairs) and not (
        record and has_sign(record[0]) and not has_sign(other[0])
    )


def is_typed(text: str) -> bool:
    """Returns whether a value is a number, a date or an address."""
    return bool(kind_of(text))


def names_another_table(values: Sequence[str]) -> bool:
    """Returns whether the values of a record in typed columns are texts, as names of columns are."""
    return bool(values) and all(value and not has_sign(value) for value in values)


def _ask(names: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str]) -> tuple[Question, ...]:
    """Returns what to ask if the header row looks like a record, or the first record like a second header row."""
    if rows and _is_ruled_line(rows[0]):
        return (
            Question("Below the header is a ruled line, as in a table for people. Spaces in its columns are kept."),
        )
    if rows and describes_columns(rows[0]):
        return (SECOND_HEADER,)
    if len(rows) < 2:
        return ()
    typed = [(kind_of(name), kind, name) for name, kind in zip(names, kinds, strict=False) if kind]
    if typed and all(own == kind for own, kind, _ in typed) and not _number_columns([name for *_, name in typed]):
        return (Question("The first line looks like a record: the file seems to have no header row."),)
    kinds = [kind_of_all(values) for values in columns_of(rows[1:], len(names))]
    second = [value for value, kind in zip(rows[0], kinds, strict=False) if kind]
    is_second = len(rows) > 2 and len(second) > 1 and names_another_table(second)
    return (SECOND_HEADER,) if is_second or are_names(rows[0], rows[1:]) else ()


def _are_marked(names: Sequence[str]) -> bool:
    """Returns whether a name, or several in a row, stand in quotation marks."""
    names = [name.strip(" \ufeff") for name in names]
    return any(is_marked(name, mark) for name in names for mark in "\"'") or (
        any(name[:1] == "'" for name in names) and any(name[-1:] == "'" for name in names)
    )


def _is_ruled_line(row: Sequence[str]) -> bool:
    """Returns whether a row is a line of signs, as a terminal and a page draw it below a header: ---+----."""
    text = "".join(row)
    return "---" in text and {*text} <= {*"-+:=| "}


def _number_columns(names: Sequence[str]) -> bool:
    """Returns whether names are years, or whole numbers that count columns: 1, 2, 3."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return False
    numbers = [*map(int, names)]
    if all(number in _YEARS for number in numbers):
        return True
    steps = {after - before for before, after in pairwise(numbers)}
    return len(numbers) > 2 and len(steps) == 1 and 0 not in steps


def _check_wrapped(names: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str, name: str) -> None:
    if any(len(row) != 1 for row in rows[:_LOOKED_AT]):
        return
    for tried in _DELIMITERS if len(names) == 1 else delimiter:
        width = len(names) if len(names) > 1 else names[0].count(tried) + 1
        if width > 2 and all(row[0].count(tried) >= width - 1 for row in rows[:_LOOKED_AT]):
            raise UnreadableFile(
                f"In {name} each line is in quotation marks as a whole.",
                "Remove those around the lines, and write doubled ones inside as single ones.",
            )
