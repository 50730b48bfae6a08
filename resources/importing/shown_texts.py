"""Numbers of a workbook in fields of text, what the workbook shows of them, and texts in fields of numbers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader import FileReader, TextChunk
from resources.file_reader.chunk import TEXT_WITH_POINT
from schemas.characters import shown
from schemas.counts import numbered
from schemas.number_formats import shown_numbers
from schemas.warnings import BatchWarning, WarningCode

_EXAMPLES = 3


@dataclass
class _Found:
    """How many numbers of a field are shown in another way than they are stored, and the first different ones."""

    numbers: int = 0
    examples: dict[str, None] = field(default_factory=dict)

    def add(self, stored: pa.Array, what: str, shown_: pa.Array | str) -> None:
        self.numbers += len(stored)
        shown_ = pa.array([shown_] * len(stored[:_EXAMPLES])) if isinstance(shown_, str) else shown_
        for number, text in zip(stored[:_EXAMPLES].to_pylist(), shown_[:_EXAMPLES].to_pylist(), strict=True):
            if len(self.examples) < _EXAMPLES:
                self.examples[f"{shown(number)} {what} {shown(text)}"] = None


class ShownTexts:
    """Compares numbers in columns of text with what the workbook shows of them, a chunk at a time.

    formats: the codes of the number formats of the file. columns: the fields of text, by the position of their column.
    taken: whether the texts that are shown take the place of the numbers.
    """

    def __init__(self, formats: Sequence[str], columns: Mapping[int, str], *, taken: bool) -> None:
        self._formats, self._columns, self._taken = formats, columns, taken
        self._differing: dict[str, _Found] = defaultdict(_Found)
        self._unknown: dict[str, _Found] = defaultdict(_Found)

    def applied(self, chunk: TextChunk) -> TextChunk:
        """Returns the chunk, with the texts that are shown if they are taken. Counts the numbers that differ."""
        if chunk.formats is None or not len(chunk.formats.values):
            return chunk
        rows, cells = pc.list_parent_indices(chunk.formats).to_numpy(), pc.list_flatten(chunk.formats)
        columns, formats = (pc.struct_field(cells, field).to_numpy() for field in ("column", "format"))
        is_number = formats != TEXT_WITH_POINT
        rows, columns, formats = rows[is_number], columns[is_number], formats[is_number]
        values = chunk.values
        for position, name in self._columns.items():
            of_column = np.flatnonzero(columns == position)
            ordered = of_column[np.argsort(formats[of_column], kind="stable")]
            texts = values.column(position).combine_chunks()
            changed, by_format = [rows[:0]], [texts[:0]]
            for of_format in np.split(ordered, np.flatnonzero(np.diff(formats[ordered])) + 1):
                if len(of_format):
                    at, code = rows[of_format], self._formats[formats[of_format[0]]]
                    differing, shown_ = self._compared(name, texts.take(pa.array(at)), code)
                    changed.append(at[differing.to_numpy(zero_copy_only=False)])
                    by_format.append(shown_)
            places = np.concatenate(changed)
            if self._taken and len(places):
                chosen = np.zeros(len(texts), np.bool_)
                chosen[places] = True
                shown_ = pa.concat_arrays(by_format).take(pa.array(np.argsort(places)))
                texts = pc.replace_with_mask(texts, pa.array(chosen), shown_)
                values = values.set_column(position, values.field(position), texts)
        return replace(chunk, values=values)

    def warnings(self) -> Iterator[BatchWarning]:
        """Yields a warning for each field with numbers that are shown in another way than they are read."""
        code = WarningCode.SHOWN_OTHERWISE
        for name, found in {} if self._taken else self._differing.items():
            number = numbered(found.numbers, "number")
            sentence = f"`{name}`: the workbook shows {number} as another text; --as-shown reads that text."
            yield BatchWarning(code, name, found.numbers, sentence, tuple(found.examples))
        for name, found in self._unknown.items():
            have = numbered(found.numbers, "number has", "numbers have")
            sentence = f"`{name}`: {have} a format that is not known here; the stored number is read."
            yield BatchWarning(code, name, found.numbers, sentence, tuple(found.examples))

    def _compared(self, name: str, stored: pa.Array, code: str) -> tuple[pa.Array, pa.Array]:
        """Returns which of these numbers are shown as another text, and these texts."""
        texts = shown_numbers(stored, code)
        unknown = stored.filter(pc.is_null(texts))
        if len(unknown):
            self._unknown[name].add(unknown, "with the format", code)
        differing = pc.fill_null(pc.not_equal(texts, stored), False)
        texts = texts.filter(differing)
        if len(texts):
            self._differing[name].add(stored.filter(differing), "shown as", texts)
        return differing, texts


def rows_of_texts(chunk: TextChunk, fields: Mapping[str, int], reader: FileReader) -> dict[str, pa.Array]:
    """Returns by field the rows in which the cell is text and looks like a number. `fields` has their columns."""
    of_text = {name for name, column in fields.items() if column in reader.text_columns}
    found = dict.fromkeys(of_text, pa.array(range(len(chunk.records)), pa.int64()))
    if chunk.formats is None or not len(chunk.formats.values):
        return found
    rows, cells = pc.list_parent_indices(chunk.formats), pc.list_flatten(chunk.formats)
    is_text = pc.equal(pc.struct_field(cells, "format"), TEXT_WITH_POINT)
    rows, columns = rows.filter(is_text), pc.struct_field(cells, "column").filter(is_text)
    return {name: rows.filter(pc.equal(columns, column)) for name, column in fields.items()} | found
