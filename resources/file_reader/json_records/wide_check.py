"""Cross-check of JSON records with many members, for which DuckDB needs too much memory: Python's json reads them.

DuckDB keeps 2,048 values of every column in memory: more than 300 MB for 10,000 columns.
"""

import codecs
import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TextChunk
from resources.file_reader.duckdb_reader import disagreement
from resources.file_reader.json_records.cross_check import same_number
from resources.file_reader.json_records.source import BLOCK

WIDE = 1_000
"""From how many columns on this check is used."""
_CELLS = 500_000
"""Cells that are Python objects at once."""
_WORDS = {True: "true", False: "false", None: ""}
_decode = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode  # a number keeps its text


class WideCrossCheck:
    """Python's json reads the file in step with the parser, and confirms each chunk or refuses the file.

    It compares as `JsonCrossCheck` does.
    """

    def __init__(self, file: BinaryIO, name: str, headers: Sequence[str]) -> None:
        self._name = name
        self._columns = {header: position for position, header in enumerate(headers)}
        self._objects = _objects(file)

    def confirm(self, chunk: TextChunk) -> None:
        """Compares the chunk with the next objects. Raises UnreadableFile, which names the first that differs."""
        step = max(1, _CELLS // len(self._columns))
        for start in range(0, len(chunk.records), step):
            part = chunk.values.slice(start, step)
            unfit = {
                cell.column * part.num_rows + cell.row - start
                for cell in chunk.cells
                if start <= cell.row < start + part.num_rows
            }
            wrong = self._first_wrong(part, unfit)
            if wrong is not None:
                raise disagreement(self._name, chunk.records[start + wrong].as_py(), chunk.lines[start + wrong].as_py())

    def expect_end(self, read: int) -> None:
        """Raises UnreadableFile if there are more objects."""
        if next(self._objects, None) is not None:
            raise disagreement(self._name, read + 1)

    def _first_wrong(self, part: pa.Table, unfit: set[int]) -> int | None:
        """Returns the first row that differs from the next objects; None if there is none.

        unfit: the cells without a text, counted column by column.
        """
        rows = part.num_rows
        texts = [""] * (rows * len(self._columns))
        wrong = []
        for row, found in enumerate(islice(chain(self._objects, repeat(None)), rows)):
            if found is None:
                wrong.append(row)
                break
            for name, value in found.items():
                place = self._columns.get(name, -1) * rows + row
                if type(value) is str and place not in unfit:
                    texts[place] = value
                elif name not in self._columns or (place in unfit) != (isinstance(value, dict | list | str)):
                    wrong.append(row)
                elif place not in unfit:
                    texts[place] = _WORDS[value]
        delivered = pa.concat_arrays([column.combine_chunks() for column in part.columns])
        other = pa.array(texts, pa.string())
        places = pc.indices_nonzero(pc.not_equal(delivered, other)).to_pylist()
        wrong += [it % rows for it in places if not same_number(delivered[it].as_py(), texts[it])]
        return min(wrong, default=None)


def _objects(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the objects of the file, whatever is between them; ends at the first that cannot be read."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    text, at, ended = "", 0, False
    while True:
        at = text.find("{", at)
        if at >= 0:
            try:
                value, at = _decode(text, at)
            except (json.JSONDecodeError, RecursionError):
                if ended:
                    return
            else:
                yield value
                continue
        elif ended:
            return
        data = file.read(max(BLOCK, len(text)))
        ended = not data
        text, at = (text[at:] if at >= 0 else "") + decoder.decode(data, final=ended), 0
