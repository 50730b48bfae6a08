"""Tells by the stored values how a file is written: an edited export of ours, or a file like those before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from resources.importing.source import Source
from resources.record_store.comparison import StagedFile
from schemas.formulas import ESCAPED, unescape_formula
from schemas.reading import NO, YES, Differing, Question
from schemas.unclear_points import UnclearPoints

_OF_A_CHUNK = 200
"""How many values of a column are looked at in each chunk."""
_SHOWN = 10

_Cells = Mapping[str, Sequence[tuple[int, str]]]
"""Some values of each field, with their records."""


class Resemblance:
    """Collects the values that depend on how an export is written, if it is not certain that the file is one.

    These are values with the ' of an export, and values that are another text in another encoding. If the file is the
    export, most of them are stored. Else the user is asked. It is the same with numbers that have unclear points.

    headers: the header of each field. points: the numbers with unclear points.
    """

    def __init__(self, source: Source, headers: Mapping[str, str], points: UnclearPoints) -> None:
        self._source = source
        self._headers = headers
        self._points = points
        self._unescapes = "unescape" in source.unsure
        asked = [it for it in source.questions if it.option == "encoding" and source.origin is not None]
        self._encodings = asked[0].candidates if asked else ()
        self._escaped: dict[str, list[tuple[int, str]]] = {name: [] for name in headers}
        self._encoded: dict[str, list[tuple[int, str]]] = {name: [] for name in headers}

    def add(self, texts: pa.Table, records: pa.Array) -> None:
        """Add the values of a chunk as the file has them. The columns of `texts` have the names of their fields."""
        if not self._unescapes and not self._encodings:
            return
        for name in self._headers:
            column = texts[name].combine_chunks()
            if self._unescapes and pc.any(pc.starts_with(column, "'")).as_py():
                self._escaped[name] += _cells(column, records, pc.match_substring_regex(column, ESCAPED))
            if self._encodings:
                found = _cells(column, records, pc.invert(pc.string_is_ascii(column)))
                self._encoded[name] += [cell for cell in found if _differs(cell[1], self._encodings)]

    def settled(self, stored: StagedFile) -> Source:
        """Returns the source without what the stored values settle, and with what they leave open."""
        source, known = self._source, set[str]()
        if self._encodings and _are_stored(self._encoded, stored):
            known.add("encoding")
        if self._unescapes and _are_stored(self._escaped, stored):
            known.add("unescape")
        elif any(self._escaped.values()):
            source = replace(source, doubts=(*source.doubts, self._question()))
        unclear = self._points.question(self._headers)
        if unclear is not None and not _are_stored(self._points.cells, stored):
            source = replace(source, doubts=(*source.doubts, unclear))
        return source.with_known(known)

    def _question(self) -> Question:
        values = (
            Differing(self._headers[name], (unescape_formula(text), text))
            for name, cells in self._escaped.items()
            for _, text in cells
        )
        of = self._source.origin.export_id if self._source.origin else ""
        sentence = (
            f"Its columns are those of the export {of}, which has a ' before texts such as =1+1. "
            f"Perhaps the file comes from it (--of {of}). Is that ' to be removed?"
        )
        return Question(sentence, "unescape", (YES, NO), tuple(islice(dict.fromkeys(values), _SHOWN)))


def _cells(column: pa.Array, records: pa.Array, chosen: pa.Array) -> list[tuple[int, str]]:
    rows = pc.indices_nonzero(chosen)[:_OF_A_CHUNK]
    return [*zip(records.take(rows).to_pylist(), column.take(rows).to_pylist(), strict=True)]


def _differs(text: str, encodings: Sequence[str]) -> bool:
    """Returns whether a text that was read in the first encoding is another one in one of the others."""
    first, *others = encodings
    return any(text.encode(first, "replace").decode(other, "replace") != text for other in others)


def _are_stored(cells: _Cells, stored: StagedFile) -> bool:
    """Returns whether most of the values are those that are stored, after they were read as the preview proposes."""
    same = sum(stored.stored_values(name, [record for record, _ in found]) for name, found in cells.items() if found)
    return 2 * same > sum(map(len, cells.values()))
