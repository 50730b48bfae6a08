"""Which row of a table names its columns: of a sheet, or of any other rows of texts.

Titles and notes often stand above the header row. They fill few of the columns in which the records have values.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from schemas.counts import numbered
from schemas.reading import Differing, Question

SECOND_HEADER = Question("The first record looks like a second header row.")
MOST_ABOVE = 20
"""How many lines or rows above the header are recognised."""
FIRST_ROWS = 30
"""How many first rows are shown to a person who says which one is the header."""
_ROWS, _COLUMNS = 50, 50
"""How many records and columns are looked at."""
_NEARLY_ALL, _FEW = 0.9, 0.5
_SHOWN, _LONGEST = 4, 60
"""How many values of a row are shown, and how many characters."""
_KINDS = {
    "number": re.compile(r"[-+(]?[$€£]?[\d.,]{0,30}\d[)%]?"),
    "date": re.compile(r"\d{1,4}([-/.:]\d{1,4})+([T ][\d:.+-]{0,20}Z?)?"),
    "address": re.compile(r"[^@\s]{1,99}@[^@\s]{1,99}\.[^@\s.]{1,20}"),
}
_DESCRIPTION = re.compile(
    r"(string|text|n?varchar2?|char|int(eger)?|bigint|number|numeric|decimal|float|double|real|date(time)?|time(stamp)?|"
    r"bool(ean)?|uuid|enum)(\s*\([\d, ]+\))?|"
    r"\(?(required|optional|mandatory|unique|key|primary key|not null|null(able)?|pflicht\w*)\)?|"
    r"(e\.g\.|z\. ?b\.|p\. ?ex\.|examples?:|beispiel:) ?.+",
    re.IGNORECASE,
)
"""What a row below the header says of its columns: a type, whether a value must be there, or an example."""
_Rows = Sequence[tuple[int, Sequence[str]]]


@dataclass(frozen=True)
class HeaderRow:
    """The row that names the columns. `number` is counted from 1.

    above: how many rows above it have values. questions: what to ask if the row is not certain.
    """

    number: int
    above: int = 0
    questions: tuple[Question, ...] = ()


def find_header_row(rows: Iterable[tuple[int, Sequence[str]]], noun: str = "row") -> HeaderRow | None:
    """Returns the header row of a table; None if no row has a value.

    rows: the first rows in order, each with its number from 1. A row can be shorter than others. noun: what questions
    call a row.

    It is the first row with two values, unless a row below it fits the records better. It is certain if no row
    with a value stands above it, or if a blank row does. It is certain too if it has names above numbers or dates.
    """
    filled = list(islice(((number, row) for number, row in rows if _own(row)), MOST_ABOVE + _ROWS))
    if not filled:
        return None
    chosen, is_certain = _chosen(filled)
    if is_certain:
        is_second = chosen + 1 < len(filled) and (
            (not _names(filled, chosen) and _names(filled, chosen + 1)) or describes_columns(filled[chosen + 1][1])
        )
        return HeaderRow(filled[chosen][0], chosen, (SECOND_HEADER,) if is_second else ())
    first = _first_of_several(filled)
    candidates = [chosen, *dict.fromkeys(at for at in (first, 0) if at != chosen)]
    numbers, texts = zip(*((filled[at][0], beginning(filled[at][1])) for at in candidates), strict=True)
    return HeaderRow(filled[chosen][0], chosen, (above_header(numbers, chosen, noun, texts),))


def above_header(candidates: Sequence[int], above: int, noun: str, texts: Sequence[str] = ()) -> Question:
    """Returns the question which line or row names the columns.

    candidates: their numbers, the likeliest first. above: how many stand above it and are left out. texts: how each of
    the candidates begins.
    """
    are = "is" if above == 1 else "are"
    return Question(
        f"{noun.capitalize()} {candidates[0]:,} is perhaps not the header: "
        f"{numbered(above, noun)} above it {are} left out.",
        "header_row",
        tuple(map(str, candidates)),
        (Differing("", tuple(texts)),) if texts else (),
    )


def beginning(row: Iterable[str]) -> str:
    """Returns the first values of a row, as people read them."""
    text = " | ".join(islice(filter(None, row), _SHOWN))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def has_values(row: Sequence[str]) -> bool:
    """Returns whether a row of text is more than delimiters. A field alone is a value, though it is empty."""
    return len(row) == 1 or any(row)


def describes_columns(row: Sequence[str]) -> bool:
    """Returns whether a row describes the columns above which it could stand: most of its values are such words."""
    filled = [text.strip() for text in row if text.strip()]
    described = sum(_DESCRIPTION.fullmatch(text) is not None for text in filled)
    return described > 1 and described * 2 > len(filled)


def are_names(row: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether a row names columns: all different, and without a digit or @ above columns that have them."""
    if not all(row) or len({*row}) < len(row) or any(map(kind_of, row)):
        return False
    return any(
        not has_sign(name) and len(values) > 1 and all(map(has_sign, values))
        for name, values in zip(row, columns_of(rows, len(row)), strict=False)
    )


def columns_of(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Returns the values of the first columns that are not empty."""
    rows = [row for row in rows[:_ROWS] if len(row) == width]
    return [[row[at] for row in rows if row[at]] for at in range(min(width, _COLUMNS))]


def kind_of_all(values: Sequence[str]) -> str:
    """Returns the kind that nearly all of two or more values share; "" if there is none."""
    kind, count = Counter(map(kind_of, values)).most_common(1)[0] if len(values) > 1 else ("", 0)
    return kind if count >= len(values) * _NEARLY_ALL else ""


def kind_of(text: str) -> str:
    """Returns the kind of a value: a number, a date or time, or an e-mail address; "" if it is another text."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(text)), "")


def has_sign(text: str) -> bool:
    """Returns whether a text has a digit or @, as values have and names have not."""
    return any(character.isdigit() or character == "@" for character in text)


def _chosen(rows: _Rows) -> tuple[int, bool]:
    """Returns the position of the header row, and whether it is certain."""
    first = _first_of_several(rows)
    if _names(rows, first):
        return first, True
    below = range(first + 1, min(first + 1 + MOST_ABOVE, len(rows) - 1))
    fitting = [at for at in below if _share_below(rows, at) >= _NEARLY_ALL]
    named = next((at for at in fitting if _names(rows, at)), None)
    share = _share_below(rows, first)
    if share >= _NEARLY_ALL:
        if named is not None and _is_below_blank(rows, named):
            return named, False
    elif named is not None:
        return named, share <= _FEW or _is_below_blank(rows, named)
    elif share < _FEW and fitting:
        return fitting[0], False
    return first, not first or _is_below_blank(rows, first)


def _first_of_several(rows: _Rows) -> int:
    """Returns the first row with several values; the first row if there is none."""
    return next((at for at, (_, row) in enumerate(rows) if len(_own(row)) > 1), 0)


def _own(row: Sequence[str]) -> list[int]:
    """Returns the columns in which a row has values."""
    return [at for at, text in enumerate(row) if text.strip()]


def _share_below(rows: _Rows, at: int) -> float:
    """Returns which share of the values below a row stand in its columns."""
    own = {*_own(rows[at][1])}
    below = [column for _, row in rows[at + 1 : at + 1 + _ROWS] for column in _own(row)]
    return sum(column in own for column in below) / len(below) if below else 1.0


def _names(rows: _Rows, at: int) -> bool:
    """Returns whether a row names the columns in which it has values."""
    _, row = rows[at]
    own = _own(row)
    below = [[each[column] if column < len(each) else "" for column in own] for _, each in rows[at + 1 :]]
    return are_names([row[column] for column in own], below)


def _is_below_blank(rows: _Rows, at: int) -> bool:
    return at > 0 and rows[at][0] - rows[at - 1][0] > 1
