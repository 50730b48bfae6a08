"""Finds records that have the right width and are others than they seem: header rows, or with other quotation marks."""

import csv
import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import Malformed, MalformedRecord, TextChunk
from resources.file_reader.delimited.detection import DELIMITERS
from resources.file_reader.delimited.dialect import Dialect
from resources.file_reader.delimited.doubts import Doubts
from resources.file_reader.delimited.header import Header, names_another_table
from resources.file_reader.repeated_headers import RepeatedHeaders

_MARK, _APOSTROPHE = "\ufeff", "'"
_GAPS, _MOST_SPACED = 1_000, 1_000
"""How many records of a chunk are looked at, below blank lines and with spaces after all delimiters."""
_MARKED, _COMMENT = r"^(#|//|;|--|%%|(?i:rem) )", r"^(#|//|;|--|%%|(?i:rem)) "
"""How a line begins that may be a comment. Keys begin so too, but few have a space there."""
_MOST_MARKED = 100_000


class OtherRecords:
    """Rejects such records, a chunk at a time. `line` is the line below the header row."""

    def __init__(self, header: Header, dialect: Dialect, doubts: Doubts, line: int) -> None:
        self._header = header
        self._dialect = dialect
        self._doubts = doubts
        self._line = line
        first = header.names[0]
        self._repeated = RepeatedHeaders(
            header.names, (f"{_MARK}{first}", f"{_MARK}{dialect.quote}{first}{dialect.quote}")
        )

    def rejected(self, chunk: TextChunk, *, blank: bool) -> TextChunk:
        """Returns the chunk with these records among the malformed ones. blank: there are blank lines in it."""
        values, lines = chunk.values, chunk.lines
        if not len(lines):
            return chunk
        headers = self._repeated.found(values, lines)
        self._doubts.tables += self._repeated.others
        self._repeated.others.clear()
        if blank and self._header.typed:
            headers = pc.or_(headers, self._other_tables(values, lines))
        beyond, marked = self._beyond(values), self._marked(values)
        self._note_others(values, lines)
        other = pc.or_(pc.or_(headers, beyond), marked)
        if not pc.any(other).as_py():
            return chunk
        found = [*chunk.malformed]
        for at in np.flatnonzero(other.to_numpy()).tolist():
            row = tuple(column[at].as_py() for column in values.columns)
            number, line = chunk.records[at].as_py(), lines[at].as_py()
            if beyond[at].as_py():
                found.append(MalformedRecord(number, line, len(row), row))
            else:
                why = Malformed.REPEATED_HEADER if headers[at].as_py() else Malformed.QUOTATION_MARK
                found.append(MalformedRecord(number, line, len(row), (*[""] * len(row), self._text(row)), why))
        kept = pc.invert(other).combine_chunks()
        return replace(
            chunk,
            values=values.filter(kept),
            records=chunk.records.filter(kept),
            lines=lines.filter(kept),
            malformed=tuple(sorted(found, key=lambda bad: bad.record)),
        )

    def _other_tables(self, values: pa.Table, lines: pa.Array) -> pa.ChunkedArray:
        """Returns which records look like the header of another table: they have names, and a blank line above."""
        below = np.flatnonzero(np.diff(lines.to_numpy(), prepend=self._line) > 1)[:_GAPS]
        texts = [values.column(at).take(below).to_pylist() for at in self._header.typed]
        named = below[[names_another_table(row) for row in zip(*texts, strict=True)]] if len(below) else below
        found = np.zeros(len(lines), np.bool_)
        found[named] = True
        self._doubts.tables += lines.take(named).to_pylist()
        return pa.chunked_array([found])

    def _beyond(self, values: pa.Table) -> pa.ChunkedArray:
        """Returns which records have a value where the others have an empty field beyond the header."""
        found = pa.chunked_array([np.zeros(values.num_rows, np.bool_)])
        for column in values.columns[len(self._header.names) - self._header.beyond :]:
            found = pc.or_(found, pc.not_equal(column, ""))
        return found

    def _marked(self, values: pa.Table) -> pa.ChunkedArray:
        """Returns which records have apostrophes around each field, where another mark is the quotation mark."""
        found = pc.starts_with(values.column(0), _APOSTROPHE)
        if self._dialect.quote == _APOSTROPHE or len(values.columns) < 2:
            return pc.and_(found, False)
        if pc.any(found).as_py():
            for column in values.columns:
                found = pc.and_(found, pc.match_substring_regex(column, f"^{_APOSTROPHE}(?s:.*){_APOSTROPHE}$"))
        return found

    def _note_others(self, values: pa.Table, lines: pa.Array) -> None:
        """Adds doubts about records that may be comments, or written with another delimiter: `Oak, big;in stock, soon`.

        A space follows each delimiter of such a record, and another delimiter would give as many fields.
        """
        first = values.column(0)
        marked = pc.match_substring_regex(first, _MARKED)
        if pc.any(marked).as_py() and len(self._doubts.marked) < _MOST_MARKED:
            self._doubts.marked += lines.filter(marked.combine_chunks()).to_pylist()
            self._doubts.comments += lines.filter(
                pc.match_substring_regex(first, _COMMENT).combine_chunks()
            ).to_pylist()
        if len(values.columns) < 2:
            return
        spaced = pc.starts_with(values.column(1), " ")
        if pc.any(spaced).as_py():
            for column in values.columns[2:]:
                spaced = pc.and_(spaced, pc.starts_with(column, " "))
            for at in np.flatnonzero(spaced.to_numpy())[:_MOST_SPACED].tolist():
                text = "".join(column[at].as_py() for column in values.columns)
                if any(text.count(other) >= len(values.columns) - 1 for other in DELIMITERS):
                    self._doubts.delimited.append(lines[at].as_py())

    def _text(self, row: tuple[str, ...]) -> str:
        written = io.StringIO()
        csv.writer(written, delimiter=self._dialect.delimiter, lineterminator="").writerow(row)
        return written.getvalue()
