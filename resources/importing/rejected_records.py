"""Makes the database of rejected records, in which a person corrects them, from the rejects file of a preview."""

import codecs
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from resources.file_reader import TextChunk
from resources.file_storage import sync
from resources.importing.source import Opener, Source
from resources.record_store import RecordStore
from schemas import load_model
from schemas.batches import Batch, ImportReport, ImportRequest
from schemas.errors import Refused
from schemas.formulas import unescape_formula
from schemas.mapping import REJECTS_COLUMNS

MOST = 20_000
"""The most rejected records that can be corrected one by one. More are corrected in the rejects file."""

_TABLES = """
CREATE TABLE about (headers TEXT, fields TEXT, options TEXT);
CREATE TABLE records (
    record INTEGER PRIMARY KEY, line INTEGER, texts TEXT, first_texts TEXT, key TEXT,
    left_out INTEGER DEFAULT 0, by TEXT
);
CREATE TABLE problems (record INTEGER, field TEXT, rule TEXT, expected TEXT, value TEXT);
CREATE INDEX of_record ON problems (record);
CREATE INDEX of_key ON records (key);
"""


def make_database(store: RecordStore, report: ImportReport, path: Path) -> None:
    """Make the database at a path. Raises Refused if the preview has too many rejected records."""
    batch = report.batch
    if batch.counts.rejected > MOST or report.rejects_file is None:
        raise Refused(
            f"{batch.counts.rejected:,} rows cannot be corrected one by one.",
            f"Up to {MOST:,} can. Download them, correct them in a spreadsheet, and upload the file.",
        )
    records = store.account(batch.account)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with (
        store.files.fetched(report.rejects_file) as rejects,
        store.files.fetched(records.problems(batch.batch_id)) as problems,
        closing(sqlite3.connect(partial)) as database,
    ):
        database.executescript(_TABLES)
        request = ImportRequest(rejects, batch.account, batch.record_type, encoding=_encoding(batch))
        with Opener(store, request) as opener:
            source = opener.source(None)
            headers = [it for it in source.reader.headers if it not in REJECTS_COLUMNS]
            mapped = {it.header: it.field for it in report.columns if it.field is not None}
            fields = {field: headers.index(header) for header, field in mapped.items() if header in headers}
            options = {
                "time_zone": source.time_zone,
                "date_order": source.options.date_order,
                "decimal": source.decimal,
            }
            database.execute("INSERT INTO about VALUES (?, ?, ?)", [*map(json.dumps, (headers, fields, options))])
            key = load_model(batch.record_type).record_type().key
            for record, line, texts in _rejected(source):
                found = [texts[fields[name]] for name in key if name in fields and fields[name] < len(texts)]
                known = json.dumps(found) if found and all(found) else ""
                database.execute(
                    "INSERT INTO records (record, line, texts, first_texts, key) VALUES (?, ?, ?, ?, ?)",
                    [record, line, json.dumps(texts), json.dumps(texts), known],
                )
        for batch_of in _problems(problems):
            database.executemany("INSERT INTO problems VALUES (?, ?, ?, ?, ?)", batch_of)
        database.commit()
    partial.replace(path)
    sync(path.parent)


def _encoding(batch: Batch) -> str | None:
    """Returns the encoding in which the preview has read its file; None if a rejects file says it itself."""
    said = None if batch.remembered is None else batch.remembered.options.encoding
    return None if said is None or codecs.lookup(said).name.startswith("utf") else said


def _rejected(source: Source) -> Iterator[tuple[int, int, list[str]]]:
    """Yields number, line and texts of each record of a rejects file. The number and line are those of its own file."""
    reader = source.reader
    own = [at for at, header in enumerate(reader.headers) if header not in REJECTS_COLUMNS]
    numbers, lines = (reader.headers.index(REJECTS_COLUMNS[at]) for at in (1, 2))
    unescape = reader.format.escapes_formulas
    for chunk in reader.chunks():
        for values in _rows(chunk):
            texts = [values[at] for at in own] + list(values[len(reader.headers) :])
            yield int(values[numbers]), int(values[lines]), [unescape_formula(it) if unescape else it for it in texts]


def _rows(chunk: TextChunk) -> Iterator[Sequence[str]]:
    for bad in chunk.malformed:
        yield bad.values
    yield from zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)


def _problems(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(columns=["record", "field", "rule", "expected", "value"]):
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
