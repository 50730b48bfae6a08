"""What a user corrected in a rejects file: pairs of a wrong text and the right value."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.file_reader import TextChunk
from resources.importing.source import Source
from resources.record_store import AccountRecords
from schemas.mapping import REJECTS_COLUMNS
from schemas.record_type import Field, RecordType
from schemas.validation import Failures
from schemas.values import MappedValue, can_be_typed, folded

_MOST = 100
"""How many pairs a batch keeps."""
_RULES = ("isin", "str_matches", "type")
_RECORD = REJECTS_COLUMNS[1]


class Lessons:
    """Learns from a corrected rejects file, a chunk at a time: in coded fields that are not personal.

    A rejects file names its batch, and the number that each record has there. If that batch's problems are no longer
    stored, nothing is learnt, and `understood` says so.
    """

    def __init__(self, records: AccountRecords, source: Source, record_type: RecordType) -> None:
        self._found: Counter[tuple[str, str, str]] = Counter()
        self._spelling: dict[str, str] = {}
        self._wrong: dict[Field, pa.Table] = {}
        self.understood: tuple[tuple[str, str], ...] = ()
        headers = source.reader.headers
        if source.parent is None or _RECORD not in headers:
            return
        self._position = headers.index(_RECORD)
        coded = [it for it in record_type.fields if it.is_coded and not it.personal and it.name not in record_type.key]
        try:
            with records.files.fetched(records.problems(source.parent.batch_id)) as problems:
                filters = [("field", "in", [it.name for it in coded]), ("rule", "in", list(_RULES))]
                found = pq.read_table(problems, columns=["record", "field", "value"], filters=filters)
        except FileNotFoundError:
            why = f"the problems of {source.parent.batch_id} are no longer kept"
            self.understood = (("Mappings learnt from the corrections", f"none, because {why}"),)
        else:
            tables = {field: found.filter(pc.equal(found["field"], field.name)) for field in coded}
            self._wrong = {field: wrong for field, wrong in tables.items() if len(wrong)}

    @property
    def pairs(self) -> tuple[MappedValue, ...]:
        """Returns each wrong text and its right value, with the number of records, the most frequent first."""
        return tuple(
            MappedValue(name, self._spelling[text], value, records)
            for (name, text, value), records in self._found.most_common(_MOST)
        )

    def add(self, chunk: TextChunk, texts: pa.Table, typed: pa.Table, failures: Sequence[Failures]) -> None:
        """Learn from the values of a chunk that break no rule."""
        if not self._wrong:
            return
        numbers = pc.cast(_numbers(chunk.values.column(self._position)), pa.int64())
        for field, wrong in self._wrong.items():
            if field.name not in typed.column_names:
                continue
            place = pc.index_in(numbers, wrong["record"].combine_chunks())
            before = wrong["value"].combine_chunks().take(place).to_pylist()
            failed = {row for it in failures if it.field == field.name for row in it.rows.to_pylist()}
            values = pc.cast(typed[field.name], pa.string()).to_pylist()
            now = texts[field.name].to_pylist()
            for row, text in enumerate(before):
                value = values[row]
                if text is None or value is None or row in failed or folded(text) == folded(now[row]):
                    continue
                if can_be_typed(text):
                    self._spelling.setdefault(folded(text), text.strip())
                    self._found[field.name, folded(text), value] += 1


def _numbers(texts: pa.Array) -> pa.Array:
    """Returns the texts that are numbers of records; null for others."""
    return pc.if_else(pc.match_substring_regex(texts, "^[0-9]{1,18}$"), texts, pa.scalar(None, pa.string()))
