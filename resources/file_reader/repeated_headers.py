"""Finds records that are the header again, or the header of another table below the first one."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import Malformed, MalformedRecord, TextChunk
from resources.file_reader.header_row import has_sign, kind_of

_MOST = 1_000
"""How many records of a chunk are compared name by name."""


class RepeatedHeaders:
    """Finds such records, a chunk at a time.

    others: the lines of what is or may be the header of another table, with other columns than the file's.
    forms: other spellings of the first name, as a byte order mark or quotation marks make them.
    """

    def __init__(self, names: Sequence[str], forms: Collection[str] = ()) -> None:
        self._names = [folded(name) for name in names]
        self._first = {*self._names[:1], *map(folded, forms)}
        self._are_names = bool(self._names and self._names[0]) and not any(map(kind_of, self._names))
        self.others: list[int] = []

    def found(self, values: pa.Table, lines: pa.Array) -> pa.ChunkedArray:
        """Returns which records are such a header."""
        if not self._are_names:
            return pa.chunked_array([np.zeros(values.num_rows, np.bool_)])
        first = folded_all(values.column(0))
        names = pa.array([*self._first, *filter(None, self._names[1:])], pa.string())
        candidates = pc.is_in(first, names)
        if not pc.any(candidates).as_py():
            return candidates
        same = pc.is_in(first, pa.array([*self._first], pa.string()))
        for column, name in zip(values.columns[1:], self._names[1:], strict=False):
            same = pc.and_(same, pc.equal(folded_all(column), name))
        rest = np.flatnonzero(pc.and_not(candidates, same).to_numpy())[:_MOST]
        texts = [folded_all(column.take(rest)).to_pylist() for column in values.columns]
        rows = [*zip(*texts, strict=True)]
        other = rest[[self._has_names(row) for row in rows]] if rows else rest
        perhaps = rest[[self._may_name_others(row) for row in rows]] if rows else rest
        self.others += lines.take(np.union1d(other, perhaps)).to_pylist()
        marked = same.to_numpy().copy()
        marked[other] = True
        return pa.chunked_array([marked])

    def _has_names(self, row: Sequence[str]) -> bool:
        """Returns whether a record has several of the names, each once, and nothing else."""
        filled = [text for text in row if text]
        return len(filled) > 1 and len({*filled}) == len(filled) and {*filled} <= {*self._names}

    def _may_name_others(self, row: Sequence[str]) -> bool:
        """Returns whether a record has the first name, and beside it only texts that may be other names."""
        return row[0] in self._first and sum(map(bool, row)) > 1 and not any(map(has_sign, row))


def rejected(chunk: TextChunk, headers: pa.ChunkedArray) -> TextChunk:
    """Returns the chunk with these records among the malformed ones."""
    if not pc.any(headers).as_py():
        return chunk
    left_out = headers.to_numpy()
    found = [
        MalformedRecord(
            chunk.records[at].as_py(),
            chunk.lines[at].as_py(),
            chunk.values.num_columns,
            tuple(column[at].as_py() or "" for column in chunk.values.columns),
            Malformed.REPEATED_HEADER,
        )
        for at in np.flatnonzero(left_out).tolist()
    ]
    kept = pa.array(~left_out)
    places = np.cumsum(~left_out) - 1
    return replace(
        chunk,
        values=chunk.values.filter(kept),
        records=chunk.records.filter(kept),
        lines=chunk.lines.filter(kept),
        malformed=tuple(sorted([*chunk.malformed, *found], key=lambda bad: bad.record)),
        cells=tuple(replace(cell, row=int(places[cell.row])) for cell in chunk.cells if not left_out[cell.row]),
        formats=None if chunk.formats is None else chunk.formats.filter(kept),
    )


def folded(name: str) -> str:
    """Returns a name as `folded_all` returns it: in small letters, without white space around it."""
    text: str = folded_all(pa.array([name]))[0].as_py()
    return text


def folded_all(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns texts in small letters, without white space around them."""
    return pc.utf8_lower(pc.utf8_trim_whitespace(column))
