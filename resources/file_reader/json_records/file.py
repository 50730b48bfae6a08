"""A file of JSON records: its kind, its headers, and its records in chunks."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import TEXT_WITH_POINT, CellProblem, TextChunk
from resources.file_reader.formatted_cells import formatted_cells
from resources.file_reader.json_records.arrangement import WHOLE, Form, arrangement_of
from resources.file_reader.json_records.columns import cell_problem, text_columns
from resources.file_reader.json_records.cross_check import JsonCrossCheck
from resources.file_reader.json_records.limits import JsonLimits
from resources.file_reader.json_records.part import as_file
from resources.file_reader.json_records.records import Records
from resources.file_reader.json_records.spool import Block, Spool
from resources.file_reader.json_records.text import in_utf8
from resources.file_reader.json_records.wide_check import WIDE, WideCrossCheck
from schemas.reading import Question, ReadOptions

_CHUNK_BYTES = 8 << 20
_CHUNK_CELLS = 4_000_000
_KINDS = {
    Form.LINES: "JSON, one object a line",
    Form.COMMAS: "JSON, objects with commas between them",
    Form.STREAM: "JSON, one object after another",
}
_LIKE_A_NUMBER = r"[0-9]\.[0-9]"
_NAMES_SHOWN, _NAME_CHARACTERS = 5, 60


class JsonFile:
    """A file of JSON records, open for reading. A context manager; it does not close the file.

    at: the path of the list that has the records, if they are in an object; as `data.items`.
    likely_at: the one to propose, if nothing is said and there is a choice.

    The whole file is read and checked at once. `headers` are the names of all members, in the order in which they first
    appear. `read` counts the records that `chunks` has delivered, and `share_read` is their share of all records.

    A missing member, null and "" are all the empty text. Numbers keep their text, but exponents are written out. Raises
    UnreadableFile, with line and byte offset, if the file is not JSON, has no records or exceeds a limit; and if DuckDB
    reads a record differently.
    """

    kind: Literal["json", "ndjson"]
    number_formats: tuple[str, ...] = ()
    float_columns: tuple[int, ...] = ()

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        at: str | None = None,
        likely_at: str | None = None,
        chunk_rows: int = 50_000,
        limits: JsonLimits | None = None,
    ) -> None:
        self.read = 0
        self._name, self._chunk_rows = name, chunk_rows
        limits = limits or JsonLimits()
        self._largest_block = 0
        self._fewest_rows = chunk_rows  # of a full chunk
        with ExitStack() as copies:
            text, self._encoding = in_utf8(file, name)
            copies.callback(_close, text, unless=file)
            arranged = arrangement_of(text, name, limits, at, likely_at)
            self._spool = Spool()
            copies.callback(self._spool.close)
            records = Records(text, name, limits, arranged)
            kinds: dict[str, set[type]] = {}
            for rows, lines, size in records.batches():
                step = max(1, _CHUNK_CELLS // max(1, len(records.names)))
                for start in range(0, len(rows), step):
                    columns, unfit, with_point = text_columns(rows[start : start + step], kinds)
                    of_rows = pa.array(lines[start : start + step], pa.int64())
                    self._spool.put(Block(columns, of_rows, unfit, with_point))
                self._largest_block = max(self._largest_block, size)
                self._fewest_rows = min(self._fewest_rows, len(rows) * _CHUNK_BYTES // max(1, size))
            self._file = as_file(text, arranged)
            copies.callback(_close, self._file, unless=text)
            self._copies = copies.pop_all()
        self._arranged = arranged
        self.questions: tuple[Question, ...] = () if arranged.question is None else (arranged.question,)
        self.used = ReadOptions(at=arranged.at)
        self.lists = arranged.lists
        self.names_beside = arranged.beside
        self._records = records.read
        self.kind = records.kind
        self.headers = records.names
        with_texts = [
            (at, kinds[name] - {str, type(None)}) for at, name in enumerate(self.headers) if str in kinds[name]
        ]
        self.text_columns = tuple(at for at, others in with_texts if not others)
        self._mixed = [at for at, others in with_texts if others]
        self.notes = records.notes

    def __enter__(self) -> "JsonFile":
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Deletes the temporary copies. The caller closes the file."""
        self._copies.close()

    @property
    def understood(self) -> list[tuple[str, str]]:
        """Which kind of JSON it is, and where its records are."""
        known = [("Format", "JSON array" if self.kind == "json" else _KINDS[self._arranged.form])]
        if self._arranged.at not in (None, WHOLE):
            known.append(("Records", f"the list `{self._arranged.at}` of the object that the file is"))
            if self.names_beside:
                more = ", …" if self.names_beside[_NAMES_SHOWN:] else ""
                names = ", ".join(name[:_NAME_CHARACTERS] for name in self.names_beside[:_NAMES_SHOWN])
                known.append(("Values beside the records, left out", names + more))
        if self._encoding != "utf-8":
            known.append(("Encoding", self._encoding.upper()))
        return known

    @property
    def outline(self) -> str:
        """Which list has the records, and what else could have them; "" if nothing is around the records."""
        if not self.lists:
            return ""
        at = self._arranged.at or WHOLE
        others = [ReadOptions(at=it).flags[0] for it in self.lists if it != at]
        read = "the object that the file is" if at == WHOLE else f"in the list {at!r}"
        return f"The records were taken to be {read}. Say {' or '.join(others[:_NAMES_SHOWN])} to read others."

    @property
    def is_empty(self) -> bool:
        """Whether it has no records."""
        return not self._records

    @property
    def share_read(self) -> float:
        """The share of the records that `chunks` has delivered."""
        return self.read / max(1, self._records)

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the file, in order, each confirmed by the cross-check. Call it once."""
        most = max(1, min(self._chunk_rows, _CHUNK_CELLS // max(1, len(self.headers))))
        cross_check = self._cross_check(max(16, min(most, self._fewest_rows)))
        waiting: list[TextChunk] = []
        size = 0
        for block in self._spool.blocks():
            whole = self._chunk(block)
            at = 0
            while at < len(whole.records):
                part = _part(whole, at, most - sum(len(chunk.records) for chunk in waiting))
                at += len(part.records)
                waiting.append(part)
                size += part.values.nbytes
                if sum(len(chunk.records) for chunk in waiting) == most or size >= _CHUNK_BYTES:
                    yield self._checked(waiting, cross_check)
                    waiting, size = [], 0
        if waiting:
            yield self._checked(waiting, cross_check)
        cross_check.expect_end(self.read)

    def _cross_check(self, rows: int) -> JsonCrossCheck | WideCrossCheck:
        if len(self.headers) > WIDE:
            return WideCrossCheck(self._file, self._name, self.headers)
        return JsonCrossCheck(
            self._file,
            self._name,
            form=Form.ARRAY if self.kind == "json" else self._arranged.form,
            headers=self.headers,
            record_bytes=self._largest_block,
            rows=rows,
        )

    def _chunk(self, block: Block) -> TextChunk:
        size = len(block.lines)
        nothing = pa.repeat(pa.scalar("", pa.string()), size)
        arrays = [block.columns.get(name, nothing) for name in self.headers]
        positions = {name: position for position, name in enumerate(self.headers)}
        cells = [cell_problem(row, positions[name], value) for row, name, value in block.unfit]
        return TextChunk(
            pa.table(dict(zip(map(str, range(len(arrays))), arrays, strict=True))),
            block.lines,  # the records are numbered when they are delivered
            block.lines,
            cells=tuple(sorted(cells, key=lambda cell: (cell.row, cell.column))),
            formats=self._texts_with_point(block, arrays),
        )

    def _texts_with_point(self, block: Block, arrays: list[pa.Array]) -> pa.Array:
        """Returns which cells are texts like a number with a point, in columns that have other values too."""
        found = [np.zeros((0, 2), np.int64)]
        for at in self._mixed:
            rows = block.with_point.get(self.headers[at], [])
            places = np.arange(len(block.lines)) if rows is None else np.array(rows, np.int64)
            like = pc.match_substring_regex(arrays[at].take(pa.array(places)), _LIKE_A_NUMBER)
            places = places[like.to_numpy(zero_copy_only=False)]
            found.append(np.stack((places, np.full_like(places, at)), axis=1))
        cells = np.concatenate(found)
        rows, columns = cells[np.argsort(cells[:, 0], kind="stable")].T
        return formatted_cells(len(block.lines), rows, columns, np.full_like(rows, TEXT_WITH_POINT))

    def _checked(self, parts: list[TextChunk], cross_check: JsonCrossCheck | WideCrossCheck) -> TextChunk:
        lines = pa.concat_arrays([part.lines for part in parts])
        cells: list[CellProblem] = []
        before = 0
        for part in parts:
            cells += [
                CellProblem(before + cell.row, cell.column, cell.rule, cell.expected, cell.value) for cell in part.cells
            ]
            before += len(part.lines)
        chunk = TextChunk(
            pa.concat_tables([part.values for part in parts]).combine_chunks(),
            pa.array(np.arange(self.read + 1, self.read + before + 1), pa.int64()),
            lines,
            cells=tuple(cells),
            formats=pa.concat_arrays([part.formats for part in parts]),
        )
        cross_check.confirm(chunk)
        self.read += before
        return chunk


def _close(file: BinaryIO, unless: BinaryIO) -> None:
    """Closes the file, unless it is the other one."""
    if file is not unless:
        file.close()


def _part(chunk: TextChunk, at: int, most: int) -> TextChunk:
    """Returns at most so many records of a chunk, from one on."""
    end = min(at + most, len(chunk.records))
    if at == 0 and end == len(chunk.records):
        return chunk
    cells = [
        CellProblem(cell.row - at, cell.column, cell.rule, cell.expected, cell.value)
        for cell in chunk.cells
        if at <= cell.row < end
    ]
    formats = None if chunk.formats is None else chunk.formats[at:end]
    return TextChunk(
        chunk.values.slice(at, end - at),
        chunk.records[at:end],
        chunk.lines[at:end],
        cells=tuple(cells),
        formats=formats,
    )
