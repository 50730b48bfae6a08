"""Finds erased records in a file that was imported, or waits for its import, as the import would read it."""

import gzip
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from resources.erasure.erased_records import ErasedRecords
from resources.file_reader import FileReader, TextChunk
from resources.importing.source import Opener, Source
from resources.importing.stager import reason_to_unescape, unescaped
from resources.record_store import RecordStore
from schemas import load_model
from schemas.batches import Batch, ImportRequest
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.mapping import REJECTS_COLUMNS, map_headers
from schemas.reading import SAID, ReadOptions
from schemas.validation import validate

if TYPE_CHECKING:
    import pyarrow as pa

_UNPACKED = 256_000_000
"""The most bytes that are unpacked of a file that cannot be read as records."""


@dataclass(frozen=True)
class FoundRecords:
    """The erased records of a file.

    records: their numbers, from 1. lines: the lines on which each begins and the next record begins; None for the end.
    total: the number of all records. None if the file cannot be read as records, and has a key anyway.
    form, packing, used: the name of the file's format, its packing, and how it was read.
    has_similar: whether other rows may be erased records. They have no valid key, and a text like that of a record.
    """

    records: frozenset[int] = frozenset()
    lines: tuple[tuple[int, int | None], ...] = ()
    total: int | None = 0
    form: str = ""
    packing: str | None = None
    used: ReadOptions = field(default_factory=ReadOptions)
    has_similar: bool = False

    @property
    def has_any(self) -> bool:
        """Returns whether the file has an erased record."""
        return self.total is None or bool(self.records)


class SourceSearch:
    """Searches files of one account and type."""

    def __init__(self, store: RecordStore, account: str, erased: ErasedRecords) -> None:
        self._store = store
        self._account = account
        self._erased = erased
        self._type = erased.record_type
        self._model = load_model(self._type.name)

    def find(self, path: Path, batch: Batch | None = None) -> FoundRecords:
        """Returns the erased records of a file, and takes their texts. batch: the batch that has imported the file."""
        remembered = None if batch is None else batch.remembered
        said = {} if remembered is None else {name: getattr(remembered.options, name) for name in SAID}
        maps = {} if remembered is None else remembered.column_map
        try:
            request = ImportRequest(path, self._account, self._type.name, **said)
            with Opener(self._store, request) as opener:
                return self._searched(request, opener.source(), maps)
        except (InvalidRequest, UnreadableFile):
            return FoundRecords(total=None) if is_anywhere(self._erased, path) else FoundRecords()

    def _searched(self, request: ImportRequest, source: Source, maps: Mapping[str, str]) -> FoundRecords:
        reader = source.reader
        earlier = source.earlier.remembered if source.earlier else None
        fields = map_headers(
            reader.headers, self._type, {}, maps or (earlier.column_map if earlier else {}), needs_key=False
        ).fields
        if not set(self._erased.fields) & fields.keys():
            raise InvalidRequest("No column has what tells the records apart.", "")
        gone: set[int] = set()
        lines: list[tuple[int, int | None]] = []
        total, opened, has_similar = 0, None, False
        unescapes = reason_to_unescape(source, request) is not None
        for chunk in reader.chunks():
            erased, are_similar = self._in_chunk(source, chunk, fields, unescapes=unescapes)
            gone |= erased
            has_similar |= are_similar
            for record, line in _in_order(chunk):
                total += 1
                if opened is not None:
                    lines.append((opened, line))
                    opened = None
                if record in erased:
                    opened = line
        if opened is not None:
            lines.append((opened, None))
        form, packing, used = reader.format.name, reader.packing, reader.used
        return FoundRecords(frozenset(gone), tuple(lines), total, form, packing, used, has_similar)

    def _in_chunk(
        self, source: Source, chunk: TextChunk, fields: Mapping[str, int], *, unescapes: bool
    ) -> tuple[set[int], bool]:
        """Returns the numbers of the erased records of a chunk, and whether others may be erased records.

        unescapes: whether an import takes the ' from texts such as '=1+1.
        """
        import pyarrow as pa

        found = {it.record for it in chunk.malformed if self._erased.is_in_malformed(it.values)}
        has_similar = any(it.record not in found and self._erased.is_similar(it.values) for it in chunk.malformed)
        for malformed in chunk.malformed:
            if malformed.record in found:
                ours = len(REJECTS_COLUMNS) if set(REJECTS_COLUMNS) <= set(source.reader.headers) else 0
                self._erased.add_texts({}, malformed.values[: len(malformed.values) - ours])
        if not len(chunk.records):
            return found, has_similar
        columns = chunk.values.columns
        texts = {name: columns[fields[name]] for name in self._erased.fields if name in fields}
        typed, failures = validate(
            self._model,
            pa.table({name: unescaped(column) if unescapes else column for name, column in texts.items()}),
            time_zone=source.time_zone,
            date_order=source.options.date_order,
            decimal=source.decimal,
        )
        values = {name: typed[name].to_pylist() for name in typed.column_names}
        rows = self._erased.among(values)
        valid = {name: [*column] for name, column in values.items()}
        for failure in failures:
            for at in failure.rows.to_pylist() if failure.field in valid else ():
                valid[failure.field][at] = None
        similar = self._erased.similar({name: column.to_pylist() for name, column in texts.items()}, valid)
        own = {at for at, header in enumerate(source.reader.headers) if header in REJECTS_COLUMNS}
        for at in rows:
            row = ["" if number in own else column[at].as_py() or "" for number, column in enumerate(columns)]
            self._erased.add_texts(fields, row)
        return found | {chunk.records[at].as_py() for at in rows}, has_similar or not {*rows}.issuperset(similar)


def has_the_others(before: Path, after: Path, found: FoundRecords) -> bool:
    """Returns whether a file has exactly the records that another one has besides those that were found."""
    with FileReader(before, found.used) as old, FileReader(after, found.used) as new:
        if old.headers != new.headers or old.format.name != new.format.name:
            return False
        left = (row for record, row in _rows(old) if record not in found.records)
        try:
            return all(one == other for one, (_, other) in zip(left, _rows(new), strict=True))
        except ValueError:  # one has more records
            return False


def _rows(reader: FileReader) -> Iterator[tuple[int, Sequence[str | None]]]:
    for chunk in reader.chunks():
        values: list[tuple[int, Sequence[str | None]]] = [(it.record, it.values) for it in chunk.malformed]
        columns = [column.to_pylist() for column in chunk.values.columns]
        values += zip(chunk.records.to_pylist(), zip(*columns, strict=True), strict=True) if columns else ()
        yield from sorted(values)


def _in_order(chunk: TextChunk) -> list[tuple[int, int]]:
    """Returns the number and the line of each record of a chunk, in the order of the file."""
    good: pa.Array = chunk.records
    return sorted(
        [
            *zip(good.to_pylist(), chunk.lines.to_pylist(), strict=True),
            *((it.record, it.line) for it in chunk.malformed),
        ]
    )


def is_anywhere(erased: ErasedRecords, path: Path) -> bool:
    """Returns whether the bytes of a file have a key, also beside its records: in a title, or on another sheet."""
    return any(map(erased.is_in_bytes, _unpacked(path)))


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yields the bytes of a file, as they are and unpacked."""
    with path.open("rb") as file:
        content = file.read(_UNPACKED)
    yield content
    with suppress(OSError, EOFError), gzip.open(path) as packed:
        yield packed.read(_UNPACKED)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        with suppress(zstandard.ZstdError), path.open("rb") as file:
            yield zstandard.ZstdDecompressor().stream_reader(file).read(_UNPACKED)
    with suppress(zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                yield member.read(_UNPACKED)
