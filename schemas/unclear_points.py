"""Numbers such as 1.234: the point is a decimal point, or it stands between thousands.

Without `--decimal` they are read with a decimal point. A file that writes any other number with a point, such as 12.5
or 0.125, has decimal points. In all others a user must say which it is. In formats with numbers of their own, only
texts are unclear.
"""

import re
from collections.abc import Mapping
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from schemas.counts import numbered
from schemas.reading import COMMA, POINT, Differing, Question
from schemas.record_type import RecordType
from schemas.spellings import with_point

_UNCLEAR = r"(?:^|[^0-9.,])[1-9][0-9]{0,2}\.[0-9]{3}(?:$|[^0-9.,])"
"""One to three digits, and three behind the point; perhaps with a sign of a currency."""
_NUMBER = re.compile(r"[0-9]+\.[0-9]+")
_OF_A_CHUNK = 200
"""How many numbers of a column are kept from each chunk."""
_SHOWN = 10
_NO_ROWS = pa.array([], pa.int64())


def has_unclear_point(texts: pa.Array) -> pa.Array:
    """Returns which texts are numbers such as 1.234, if they are numbers."""
    return pc.match_substring_regex(texts, _UNCLEAR)


class UnclearPoints:
    """Collects such numbers, a chunk at a time, until one shows that the file has decimal points.

    is_known: whether a user or our export says the decimal sign. can_be_said: whether a user can say it, because the
    format of the file has no numbers of its own.
    """

    def __init__(
        self, record_type: RecordType, fields: tuple[str, ...], *, is_known: bool = False, can_be_said: bool = True
    ) -> None:
        self._names = [name for name in fields if not is_known and record_type.field(name).is_number]
        self._can_be_said = can_be_said
        self._numbers = 0
        self.cells: dict[str, list[tuple[int, str]]] = {}
        """Some of the numbers of each field, with their records."""

    def add(
        self, texts: pa.Table, typed: pa.Table, records: pa.Array, written: Mapping[str, pa.Array] | None = None
    ) -> None:
        """Look at the texts of a chunk. `typed` has the values that were read from them.

        written: by field, the rows that are text in the file, if the format has numbers of its own.
        """
        for name in self._names:
            column, values = texts[name].combine_chunks(), typed[name].combine_chunks()
            of = records
            if not self._can_be_said:
                rows = (written or {}).get(name, _NO_ROWS)
                column, values, of = column.take(rows), values.take(rows), records.take(rows)
            has_point = pc.and_(pc.match_substring(column, "."), pc.is_valid(values))
            if not pc.any(has_point).as_py():
                continue
            unclear = pc.and_(has_point, has_unclear_point(column))
            if pc.any(pc.and_not(has_point, unclear)).as_py():
                self._names, self._numbers, self.cells = [], 0, {}
                return
            rows = pc.indices_nonzero(unclear)
            self._numbers += len(rows)
            rows = rows[:_OF_A_CHUNK]
            found = zip(of.take(rows).to_pylist(), column.take(rows).to_pylist(), strict=True)
            self.cells.setdefault(name, []).extend(found)

    def question(self, headers: Mapping[str, str]) -> Question | None:
        """Returns what to ask; None if nothing is unclear. `headers`: the header of each field."""
        if not self.cells:
            return None
        shown = (
            Differing(headers[name], (found[0], with_point(pa.array([found[0]]), COMMA)[0].as_py()))
            for name, cells in self.cells.items()
            for _, text in cells
            if (found := _NUMBER.search(text))
        )
        values = tuple(islice(dict.fromkeys(shown), _SHOWN))
        of = f"{numbered(self._numbers, 'number')} like {values[0].texts[0]}"
        sentence = f"{of} can have a decimal point, or a point between thousands. They are read with a decimal point."
        if not self._can_be_said:
            return Question(f"{sentence} They are texts in the file: if that is wrong, make them numbers there.")
        return Question(sentence, "decimal", (POINT, COMMA), values)
