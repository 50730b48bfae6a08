"""Detects the dialect of delimited text from its beginning, before any value is read."""

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from resources.file_reader.delimited.by_line import is_marked
from resources.file_reader.delimited.dialect import Dialect, written
from resources.file_reader.header_row import MOST_ABOVE, HeaderRow, above_header, are_names, find_header_row, has_values
from schemas.errors import InvalidRequest
from schemas.reading import Question

DELIMITERS = (",", ";", "\t", "|")
_RARE_DELIMITERS = ("^", "~", ":", " ")
_SAMPLE_RECORDS = 1_000
_MOST_STRAY = 20
"""How many stray quotation marks are passed over in a sample."""
_NEARLY_ALL = 0.9
"""The share of records that must agree on a rare delimiter."""
_FEW = 0.5
"""The share of records that must agree on a delimiter, or the user is asked."""
_NEAR = 0.1
"""The difference in score below which two delimiters fit alike."""
_FIELD_START = r"(?:^|[,;\t|])"
_ESCAPED = re.compile(rf'{_FIELD_START}"(?:[^"\\]|\\.)*\\"[^,;\t|\r\n"]', re.DOTALL | re.MULTILINE)
_DOUBLE_QUOTED = re.compile(rf'{_FIELD_START} *"', re.MULTILINE)
_SINGLE_QUOTED = re.compile(rf"{_FIELD_START}'[^'\r\n]*'(?=[,;\t|\r\n]|$)", re.MULTILINE)


@dataclass(frozen=True)
class Beginning:
    """What the beginning of a file shows: its dialect, its first records, and what to ask about the dialect.

    rows: the records from the header on that can be parsed.
    """

    dialect: Dialect
    rows: list[list[str]]
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class _Sample:
    """The first lines of a file, and the text that they are from. has_header: the first line is the header."""

    lines: list[str]
    text: str
    has_header: bool


def detect(text: str, given: str | None, name: str, *, whole: bool, header_row: int | None = None) -> Beginning:
    """Returns what a file shows that begins with a text.

    given: its delimiter. name: what messages call the file. `whole`: the text is the rest of the file. header_row: the
    line with which the text begins, if that is said to be the header. Raises InvalidRequest if only another delimiter
    fits.
    """
    lines = list(io.StringIO(text, newline=""))
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    lines = lines[:_SAMPLE_RECORDS]
    first = lines[0].strip("\r\n") if lines else ""
    if first[:4].lower() == "sep=" and len(first) == 5:
        return _as_first_line_says(_Sample(lines[1:], text, has_header=False), given, first[4])
    sample = _Sample(lines, text, header_row is not None)
    tried = _tried(sample, [given] if given else DELIMITERS)
    best = max(tried, key=_rank)
    if not given and (best.score == 0.0 or best.share < _FEW or best.skipped_lines):
        rare = max(_tried(sample, _RARE_DELIMITERS), key=_rank)
        columns = 3 if rare.dialect.delimiter in ": " else 2
        if rare.share > _NEARLY_ALL and len(rare.rows) > 2 and rare.width >= columns and rare.score > best.score:
            tried, best = [*tried, rare], rare
    if given and (best.score == 0.0 or best.skipped_lines):
        _check_given(sample, best, name)
    if best.score == 0.0:
        sure = "as you said" if given else "there is one column"
        dialect = replace(best.dialect, delimiter=given or ",", skipped_lines=(header_row or 1) - 1, sure=sure)
        return Beginning(dialect, [row for _, row in best.rows])
    sure = "as you said" if given else f"{best.share:.0%} of the first records have as many fields as the header"
    dialect = replace(best.dialect, skipped_lines=(header_row or 1) - 1 + best.skipped_lines, sure=sure)
    questions = (*([] if given else _ask(best, tried)), *_ask_above(best, lines))
    return Beginning(dialect, [row for _, row in best.rows[best.header :]], questions)


def _as_first_line_says(sample: _Sample, given: str | None, said: str) -> Beginning:
    """Returns what a file shows below a line such as `sep=;`, and what to ask if only another delimiter fits."""
    best = _best(sample, given or said)
    dialect = replace(best.dialect, skipped_lines=1, sure="as you said" if given else "certain: the file says so")
    other = max(_tried(sample, [it for it in DELIMITERS if it != said]), key=_rank)
    if given or best.score or not _sets_apart(other):
        return Beginning(dialect, [row for _, row in best.rows])
    sentence = f"The first line says that the delimiter is the {dialect.delimiter_name}, but the header row has none."
    question = Question(sentence, "delimiter", (written(other.dialect.delimiter), written(said)))
    dialect = replace(other.dialect, skipped_lines=1, sure="proposed: it sets the fields of all lines apart")
    return Beginning(dialect, [row for _, row in other.rows], (question,))


@dataclass(frozen=True)
class _Try:
    """A dialect tried on the first lines of a file. `rows` are its records with their lines, from 1.

    has_header: the first row is the header.
    """

    dialect: Dialect
    rows: list[tuple[int, list[str]]]
    stray: int
    has_header: bool

    @cached_property
    def header(self) -> int | None:
        """The position of the header among the rows; None if there is none.

        It is the first row with a field after the first that is not empty. If most rows share a greater width, it is
        the first row of that width, if that has names and the rows below do not. Else a header that is narrower than
        the records stays the header: the user should see that. If rows are filled up with empty fields, as those of a
        spreadsheet are, the columns decide in which they have values.
        """
        if self.has_header and self.rows:
            return 0
        if self.filled_up is not None:
            return next(at for at, (line, _) in enumerate(self.rows) if line == self.filled_up.number)
        first = next((i for i, (_, row) in enumerate(self.rows) if len(row) > 1 and any(row[1:])), None)
        if first is None:
            return None
        below = [row for _, row in self.rows[first + 1 :]]
        shared, count = Counter(map(len, below)).most_common(1)[0] if below else (0, 0)
        if shared > len(self.rows[first][1]) and count > 2 and count > len(below) / 2:
            wide = next(i for i, (_, row) in enumerate(self.rows) if i > first and len(row) == shared)
            rows = [row for _, row in self.rows[wide + 1 :] if len(row) == shared]
            if wide - first <= MOST_ABOVE and are_names(self.rows[wide][1], rows):
                return wide
        return first

    @cached_property
    def filled_up(self) -> HeaderRow | None:
        """The header, if rows above it are filled up with empty fields to the width of the records."""
        first = next((row for _, row in self.rows if len(row) > 1), [])
        if all(first) or len({len(row) for _, row in self.rows}) > 1:
            return None
        return find_header_row(self.rows, "line")

    @cached_property
    def width(self) -> int:
        """The number of columns of the header; 0 without one."""
        return 0 if self.header is None else len(self.rows[self.header][1])

    @cached_property
    def agreeing(self) -> int:
        """The number of rows that are as wide as the header, itself included."""
        return sum(len(row) == self.width for _, row in self.rows[self.header or 0 :])

    @cached_property
    def share(self) -> float:
        """The share of rows from the header on that are as wide as the header; 0 if lines above it must be records.

        They must be if fewer rows are as wide as the header than have one field, as in a file of one column.
        """
        if self.header is None or (self.header > 0 and self.agreeing < max(2, 1 + self.below[1])):
            return 0.0
        return self.agreeing / (len(self.rows) - self.header + self.stray)

    @cached_property
    def below(self) -> Counter[int]:
        """The widths of the rows below the header."""
        return Counter(len(row) for _, row in self.rows[(self.header or 0) + 1 :])

    @cached_property
    def score(self) -> float:
        """The share, in proportion to how much of a row the delimiters set apart: of two columns a half.

        Rows that agree on another width than that of the header count nearly as much.
        """
        if not self.share:
            return 0.0
        width, count = self.below.most_common(1)[0] if self.below else (0, 0)
        other = count / (self.below.total() + self.stray) * (1 - 1 / width) * 0.9 if width else 0.0
        return max(self.share * (1 - 1 / self.width), other)

    @cached_property
    def skipped_lines(self) -> int:
        """The number of lines above the header."""
        return self.rows[self.header][0] - 1 if self.header else 0


def _rank(tried: _Try) -> tuple[float, int]:
    return tried.score, -tried.skipped_lines  # of equals the one with the fewest skipped lines


def _tried(sample: _Sample, delimiters: Sequence[str]) -> list[_Try]:
    return [_best(sample, delimiter) for delimiter in delimiters]


def _best(sample: _Sample, delimiter: str) -> _Try:
    """Returns the best try of the dialects that a delimiter may have. Marks in the text decide which ones are tried."""
    text, plain = sample.text, Dialect(delimiter, '"', None, 0, "")
    tried = [_try(sample, plain)]
    if '\\"' in text and _ESCAPED.search(text):
        tried.append(_try(sample, replace(plain, escape="\\")))
    if "'" in text and not _DOUBLE_QUOTED.search(text) and len(_SINGLE_QUOTED.findall(text)) > 1:
        single = _try(sample, replace(plain, quote="'"))
        if not single.stray and (single.share > tried[0].share or _fill_columns(tried[0], "'")):
            tried.append(single)
    best = max(reversed(tried), key=lambda it: it.share)  # of equals the last one: marks in the text speak for it
    if f"{delimiter} " in text and delimiter != " ":
        spaced = _try(sample, replace(best.dialect, skips_space=True))
        if _follow_each_delimiter(best, spaced) or _precede_quotes(best, spaced):
            return spaced
    return best


def _try(sample: _Sample, dialect: Dialect) -> _Try:
    stray = 0
    rows: list[tuple[int, list[str]]] = []
    for line, row in _rows(sample.lines, dialect):
        if row is None:
            stray += 1
        elif row and has_values(row):
            rows.append((line, row))
    return _Try(dialect, rows, stray, sample.has_header)


def _rows(lines: list[str], dialect: Dialect) -> Iterator[tuple[int, list[str] | None]]:
    """Yields the first records with the lines on which they begin, and None for a line that cannot be parsed."""
    at = 0

    def feed() -> Iterator[str]:
        nonlocal at
        while at < len(lines):
            at += 1
            yield lines[at - 1]

    for _ in range(_MOST_STRAY):
        start = at
        try:
            for row in dialect.reader(feed()):
                yield start + 1, row
                start = at
        except csv.Error:  # the sample ends inside a quoted field, or a quotation mark is out of place
            yield start + 1, None
            at = start + 1
        else:
            return


def _fill_columns(plain: _Try, mark: str) -> bool:
    """Returns whether the values of two columns are in marks, each value below the header that is not empty."""
    rows = [row for _, row in plain.rows[(plain.header or 0) + 1 :] if len(row) == plain.width]
    columns = [[row[at] for row in rows if row[at]] for at in range(plain.width)]
    return sum(bool(values) and all(is_marked(value, mark) for value in values) for values in columns) > 1


def _follow_each_delimiter(plain: _Try, spaced: _Try) -> bool:
    """Returns whether a space follows every delimiter, unless the field is empty."""
    if len(plain.rows) < 2 or spaced.width < 2 or spaced.score < plain.score:
        return False
    spaces = fields = 0
    for _, row in plain.rows[plain.header or 0 :]:
        fields += sum(field != "" for field in row[1:])
        spaces += sum(field[:1] == " " for field in row[1:])
    kept = any(field[:1] == " " for _, row in spaced.rows for field in row[1:])
    return spaces == fields > 0 and not kept


def _precede_quotes(plain: _Try, spaced: _Try) -> bool:
    """Returns whether fields in quotation marks have spaces before them."""
    better = spaced.stray <= plain.stray and spaced.score >= plain.score > 0
    return better and _spaces_before_marks(plain) > _spaces_before_marks(spaced)


def _spaces_before_marks(tried: _Try) -> int:
    mark = tried.dialect.quote
    fields = (field for _, row in tried.rows for field in row[1:] if field[:1] == " ")
    return sum(field.lstrip(" ")[:1] == mark for field in fields)


def _sets_apart(tried: _Try) -> bool:
    """Returns whether a delimiter sets fields apart in nearly all of several records."""
    return tried.share > _NEARLY_ALL and len(tried.rows) > 1 and tried.score > 0


def _check_given(sample: _Sample, given: _Try, name: str) -> None:
    """Raises InvalidRequest if another delimiter than the given one sets fields apart in nearly all records."""
    other = max(_tried(sample, [it for it in DELIMITERS if it != given.dialect.delimiter]), key=_rank)
    if _sets_apart(other) and other.score > given.score:
        raise InvalidRequest(
            f"The header of {name} has no {given.dialect.delimiter_name} between fields. "
            f"With the {other.dialect.delimiter_name}, the file has {other.width:,} columns.",
            f"Say --delimiter {shlex.quote(written(other.dialect.delimiter))} or leave --delimiter out.",
        )


def _ask(best: _Try, tried: Sequence[_Try]) -> tuple[Question, ...]:
    """Returns what to ask about a delimiter that few records share, or that another one equals."""
    others = [it for it in sorted(tried, key=_rank, reverse=True) if it.score > 0 and it is not best]
    candidates = tuple(written(it.dialect.delimiter) for it in (best, *others))
    records = len(best.rows) - (best.header or 0) - 1
    fits_too = records > 0 and any(_fits_like(best, it) for it in others)
    if records < 2 and not fits_too:
        return ()
    rare = best.dialect.delimiter in _RARE_DELIMITERS
    short = not others and max(best.below, default=0) <= best.width  # they lack empty fields at their end
    agree = best.share >= _FEW or len(best.below) == 1 or short
    if agree and not rare and not fits_too:
        return ()
    sentence = (
        f"The delimiter is probably the {best.dialect.delimiter_name}: {best.share:.0%} of the first records have as "
        "many fields as the header."
    )
    return (Question(sentence, "delimiter", candidates),)


def _fits_like(best: _Try, other: _Try) -> bool:
    """Returns whether another delimiter fits as well, or nearly: in as many records, with about as many columns."""
    is_near = other.share >= best.share and other.width > 2 and best.score - other.score < _NEAR
    return is_near or _rank(other) == _rank(best)


def _ask_above(best: _Try, lines: Sequence[str]) -> tuple[Question, ...]:
    """Returns what to ask if nothing but their width shows that lines above the header are no records."""
    if best.filled_up is not None:
        return best.filled_up.questions
    above = [line for line in lines[: best.skipped_lines] if line.strip()]
    if not above or not lines[best.skipped_lines - 1].strip() or best.header is None:
        return ()
    (_, names), *below = best.rows[best.header :]
    if are_names(names, [row for _, row in below]):
        return ()
    first = next(at for at, line in enumerate(lines, 1) if line.strip())
    return (above_header([best.skipped_lines + 1, first], len(above), "line"),)
