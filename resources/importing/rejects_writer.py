"""The rejected records of a file, in its own format and columns, with what is wrong with each.

After the file's own columns come `REJECTS_COLUMNS`. Fields beyond the header stand after those. An import of the
corrected file passes over them. If the file is a rejects file itself, its four columns are replaced.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain, groupby
from operator import itemgetter
from pathlib import Path

import duckdb

from resources.file_reader import FileReader, TextChunk
from resources.importing.shown_texts import ShownTexts
from resources.packing import pack
from schemas.exports import Packing
from schemas.formulas import unescape_formula
from schemas.mapping import REJECTS_COLUMNS

_NAME_BYTES = 100
_DIGEST = 8
"""Characters of the digest that ends a cut name."""

_ENDING = 60
"""Characters that a cut text keeps for the note on what is left out."""


def write_rejects(
    reader: FileReader,
    problems: Path,
    folder: Path,
    batch_id: str,
    *,
    unescape: bool = False,
    as_shown: Sequence[int] = (),
    mapped: Collection[str] = (),
) -> Path:
    """Writes a row for each rejected record, in the order of the file, without a limit. Returns the rejects file.

    reader: reads the same file once more. problems: the problems of its records, as the preview wrote them.
    unescape: whether the preview took the ' from texts such as '=1+1. Then they get no second one.
    as_shown: the positions of columns with numbers to write as the workbook shows them.
    mapped: the headers of columns that feed a field. They are the user's, whatever their names.
    The rejects file is packed if the file was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    format_, packing = reader.format, reader.packing
    path = folder / f"{_stem(reader.path)}.rejects{format_.suffixes[0]}{f'.{packing}' if packing else ''}"
    unpacked = path.with_name(f"{path.name}.unpacked") if packing else path
    unescape = unescape and format_.escapes_formulas
    ours = [name for name in REJECTS_COLUMNS if name not in mapped]
    own = [position for position, header in enumerate(reader.headers) if header not in ours]
    with format_.write_rejects(unpacked, [*(reader.headers[at] for at in own), *ours], reader.used) as file:
        for values, record, line, found in _rejects(reader, problems, as_shown):
            texts = [format_.escaped(unescape_formula(text) if unescape else text) for text in values]
            note = format_.escaped(format_.note(found, reader.used))
            notes = dict(zip(REJECTS_COLUMNS, (batch_id, str(record), str(line), note), strict=True))
            beyond = texts[len(reader.headers) :]
            file.writerow(
                [*(texts[at] if at < len(texts) else "" for at in own), *(notes[name] for name in ours), *beyond]
            )
    if packing:
        pack(unpacked, path, Packing(packing))
        unpacked.unlink()
    return path


def _stem(path: Path) -> str:
    """Returns the file's name without its suffixes, as UTF-8, short enough for a longer name.

    A name that is cut ends with a digest of the whole. So the rejects file never has the name of its own file, or of
    another file with the same beginning.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[0] or path.name
    name = stem.encode(errors="backslashreplace")
    if len(name) <= _NAME_BYTES:
        return name.decode()
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:_DIGEST]
    return f"{name[: _NAME_BYTES - _DIGEST - 1].decode(errors='ignore')}-{digest}"


def _rejects(reader: FileReader, problems: Path, as_shown: Sequence[int]) -> Iterator[tuple[list[str], int, int, str]]:
    """Yields the texts of each rejected record, its number, its line and its problems."""
    found = _problems(problems, reader.format.cell_characters)
    following = next(found, None)
    shown = ShownTexts(reader.number_formats, dict.fromkeys(as_shown, ""), taken=True)
    for chunk in map(shown.applied, reader.chunks()):
        wanted: dict[int, tuple[int, str]] = {}
        last = _last_record(chunk)
        while following is not None and following[0] <= last:
            wanted[following[0]] = following[1:]
            following = next(found, None)
        for record, values in _rows(chunk, wanted):
            yield values, record, *wanted[record]


def _problems(path: Path, most: int | None = None) -> Iterator[tuple[int, int, str]]:
    """Yields record, line and all problems of each rejected record, in the order of the file.

    most: the characters that a cell holds; a longer text is cut, and says so.
    """
    # DuckDB sorts on disk when memory is short, but keeps in memory what it joins within groups: so Python joins.
    disk = str(path.with_name("sorting"))
    with duckdb.connect(config={"memory_limit": "256MB", "threads": 1, "temp_directory": disk}) as connection:
        found = connection.execute(
            """
            SELECT record, line, coalesce(field || ' ', '') || expected || ' [' || rule || ']'
                || CASE WHEN value IS NULL OR value = '' THEN '' ELSE ': ' || value END
            FROM read_parquet($1) ORDER BY record, field, rule
            """,
            [str(path)],
        )
        rows = chain.from_iterable(iter(lambda: found.fetchmany(10_000), []))
        for record, problems in groupby(rows, itemgetter(0)):
            (line, *_), texts = zip(*((line, text) for _, line, text in problems), strict=True)
            yield record, line, _joined(texts, most)


def _joined(texts: Sequence[str], most: int | None) -> str:
    """Returns the problems of a record in one text. If a cell cannot hold it, it ends with how many are left out."""
    text = "; ".join(texts)
    if most is None or len(text) < most:  # one character is left for the ' before a formula
        return text
    end = most - _ENDING
    whole = sum(stop - 2 <= end for stop in accumulate(len(each) + 2 for each in texts))
    return f"{text[:end]}… and {len(texts) - whole:,} more; see the report"


def _last_record(chunk: TextChunk) -> int:
    numbers = [bad.record for bad in chunk.malformed[-1:]]
    if len(chunk.records):
        numbers.append(chunk.records[-1].as_py())
    return max(numbers)


def _rows(chunk: TextChunk, wanted: dict[int, tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """Returns the wanted records of a chunk with their texts, in order.

    A value without a text is shown as its problem shows it.
    """
    rows = [(bad.record, list(bad.values)) for bad in chunk.malformed if bad.record in wanted]
    positions = [at for at, record in enumerate(chunk.records.to_pylist()) if record in wanted]
    if positions:
        columns = [column.to_pylist() for column in chunk.values.take(positions).columns]
        place_of = {row: place for place, row in enumerate(positions)}
        for cell in chunk.cells:
            if cell.row in place_of and not columns[cell.column][place_of[cell.row]]:
                columns[cell.column][place_of[cell.row]] = cell.value
        records = chunk.records.take(positions).to_pylist()
        rows += [(record, list(values)) for record, *values in zip(records, *columns, strict=True)]
    return sorted(rows)
