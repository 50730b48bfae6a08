"""The last lines of a file to import that look like no records, such as a total."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader import TextChunk
from schemas.footers import TOTALS, Footer, is_figure, is_footer, is_remark
from schemas.validation import Failures
from schemas.warnings import BatchWarning, WarningCode

_MOST = 5
"""How many records at the end of a file are looked at."""
_COMPARED = 50
"""How many records above the last ones are compared with them."""
_LONGEST, _SHOWN, _MOST_TOTALS = 60, 3, 10_000
_RULE = "footer"
_EXPECTED = "must be no total or note at the end; --footer skip leaves it out, --footer keep reads it"


@dataclass(frozen=True)
class _LastLine:
    record: int
    line: int
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """Returns its first text, shortened."""
        first = next(text for text in self.texts if text.strip())
        return first if len(first) <= _LONGEST else f"{first[:_LONGEST]}…"


class LastLines:
    """Finds the last lines of a file that look like no records. They are left out, rejected or read as records.

    choice: what a user says about them. None means that they are rejected.
    key: the positions of the columns that feed the key. width: the number of columns.
    """

    def __init__(self, choice: Footer | None, key: Collection[int], width: int) -> None:
        self._choice = choice
        self._key = key
        self._width = width
        self._found: list[_LastLine] = []
        self._totals: list[tuple[int, str]] = []

    @property
    def skipped(self) -> int:
        """Returns how many of them are left out; complete after the last chunk."""
        return len(self._found) if self._choice is Footer.SKIP else 0

    @property
    def lines(self) -> list[int]:
        """Returns on which lines they are; complete after the last chunk."""
        return [it.line for it in self._found]

    @property
    def understood(self) -> tuple[tuple[str, str], ...]:
        """Returns what is left out, as label and value."""
        if not self.skipped:
            return ()
        lines = ", ".join(f"{it.line:,}" for it in self._found)
        return (("Last lines", f"left out, as --footer skip says: line{'s' if self.skipped > 1 else ''} {lines}"),)

    def passed(self, chunks: Iterable[TextChunk]) -> Iterator[TextChunk]:
        """Yields the chunks, without the last lines if these are left out."""
        waiting: deque[TextChunk] = deque()
        for chunk in chunks:
            self._note_totals(chunk)
            waiting.append(chunk)
            while len(waiting) > 1 and sum(map(_size, list(waiting)[1:])) >= _MOST:
                yield waiting.popleft()
        if self._choice is not Footer.KEEP:
            for chunk in reversed(waiting):
                found = self._in(chunk)
                self._found = [*found, *self._found]
                if len(found) < _size(chunk):
                    break
        yield from (_before(chunk, self._found[0].record) for chunk in waiting) if self.skipped else waiting

    def failures(self, chunk: TextChunk) -> list[Failures]:
        """Returns those of the chunk as problems, if a user has not said what to do with them."""
        texts = {it.record: it.text for it in self._found if self._choice is None}
        if not texts:
            return []
        rows = pc.indices_nonzero(pc.is_in(chunk.records, pa.array(list(texts), pa.int64())))
        if not len(rows):
            return []
        values = [texts[record] for record in chunk.records.take(rows).to_pylist()]
        return [Failures(None, _RULE, _EXPECTED, rows.cast(pa.uint64()), pa.array(values))]

    def warnings(self) -> Iterator[BatchWarning]:
        """Yields a warning about those that a user has said nothing about."""
        if self._found and self._choice is None:
            number = len(self._found)
            sentence = (
                f"The last {'line looks' if number == 1 else f'{number} lines look'} like no "
                f"{'record' if number == 1 else 'records'}, and {'is' if number == 1 else 'are'} rejected. "
                f"To leave {'it' if number == 1 else 'them'} out: --footer skip."
            )
            yield BatchWarning(WarningCode.FOOTER, None, number, sentence, tuple(it.text for it in self._found))
        known = {it.record for it in self._found}
        totals = [text for record, text in self._totals if record not in known]
        if totals and self._choice is not Footer.KEEP:
            what = "record has" if len(totals) == 1 else "records have"
            sentence = (
                f"{len(totals):,} {what} a word for a total as key, and {'is' if len(totals) == 1 else 'are'} read."
            )
            yield BatchWarning(WarningCode.FOOTER, None, len(totals), sentence, tuple(dict.fromkeys(totals))[:_SHOWN])

    def _note_totals(self, chunk: TextChunk) -> None:
        """Note the records with a word for a total as key, wherever they stand."""
        at = next(iter(self._key), None)
        if at is None or not len(chunk.records) or len(self._totals) > _MOST_TOTALS:
            return
        keys = pc.utf8_trim_whitespace(chunk.values.column(at))
        rows = pc.indices_nonzero(pc.is_in(pc.utf8_lower(keys), pa.array([*TOTALS])))
        self._totals += zip(chunk.records.take(rows).to_pylist(), keys.take(rows).to_pylist(), strict=True)

    def _in(self, chunk: TextChunk) -> list[_LastLine]:
        """Returns the last lines of the chunk that look like no records, in order."""
        end = max(len(chunk.records) - _MOST, 0)
        rows = zip(
            chunk.records[end:].to_pylist(),
            chunk.lines[end:].to_pylist(),
            zip(*(column.slice(end).to_pylist() for column in chunk.values.columns), strict=True),
            strict=True,
        )
        last = [_LastLine(record, line, tuple(it or "" for it in texts)) for record, line, texts in rows]
        last += [_LastLine(bad.record, bad.line, bad.values) for bad in chunk.malformed[-_MOST:]]
        last = sorted(last, key=lambda it: it.record)[-_MOST:]
        found: list[_LastLine] = []
        for at in reversed(range(len(last))):  # a remark may stand between or below them
            keys = self._keys(chunk, last[at].record)
            texts = last[at].texts
            if is_footer(texts, self._key, self._width, keys) or is_remark(texts, keys):
                found = last[at:]
            elif sum(1 for text in texts if text.strip()) > 1:
                break
        return found

    def _keys(self, chunk: TextChunk, before: int) -> list[str]:
        """Returns the keys of the records above one, as far as they are looked at."""
        above = _before(chunk, before).values.slice(max(len(chunk.records) - _COMPARED, 0))
        at = next(iter(self._key), 0)
        keys = above.column(at).to_pylist() if above.num_columns > at else []
        return [text for text in keys if text and not is_figure(text)]


def without_others(failures: list[Failures]) -> list[Failures]:
    """Returns the failures of a chunk. Of a last line that looks like no record, this alone is a problem."""
    last = next((it.rows for it in failures if it.rule == _RULE), None)
    if last is None:
        return failures
    kept = []
    for failure in failures:
        of_records = pc.invert(pc.is_in(failure.rows, last))
        if failure.rule == _RULE:
            kept.append(failure)
        elif pc.any(of_records).as_py():
            rows, values = failure.rows.filter(of_records), failure.values.filter(of_records)
            kept.append(replace(failure, rows=rows, values=values))
    return kept


def _size(chunk: TextChunk) -> int:
    return len(chunk.records) + len(chunk.malformed)


def _before(chunk: TextChunk, record: int) -> TextChunk:
    """Returns the records of a chunk before that one."""
    rows = pc.sum(pc.less(chunk.records, record)).as_py() or 0
    return replace(
        chunk,
        values=chunk.values.slice(0, rows),
        records=chunk.records[:rows],
        lines=chunk.lines[:rows],
        malformed=tuple(bad for bad in chunk.malformed if bad.record < record),
        cells=tuple(cell for cell in chunk.cells if cell.row < rows),
        formats=None if chunk.formats is None else chunk.formats[:rows],
    )
