"""The records of a chunk that break a rule, as rows of problems, and which records are valid."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader import CellProblem, Malformed, TextChunk
from resources.record_store.problems import PROBLEMS
from schemas.counts import numbered
from schemas.mapping import Mapping
from schemas.validation import Failures


def cell_failures(chunk: TextChunk, mapping: Mapping) -> list[Failures]:
    """Returns the cells of mapped columns that the reader could not read as a value."""
    fields = {position: name for name, position in mapping.fields.items()}
    found: dict[tuple[str, str, str], list[CellProblem]] = {}
    for cell in chunk.cells:
        if cell.column in fields:
            found.setdefault((fields[cell.column], cell.rule, cell.expected), []).append(cell)
    return [
        Failures(*broken, pa.array([cell.row for cell in cells], pa.uint64()), pa.array([cell.value for cell in cells]))
        for broken, cells in found.items()
    ]


def elsewhere(failures: list[Failures], chunk: TextChunk, mapping: Mapping) -> list[Failures]:
    """Returns the failures without those of cells that the reader has already reported."""
    known: dict[str | None, list[int]] = {}
    fields = {position: name for name, position in mapping.fields.items()}
    for cell in chunk.cells:
        known.setdefault(fields.get(cell.column, ""), []).append(cell.row)
    kept = []
    for failure in failures:
        new = pc.invert(pc.is_in(failure.rows, pa.array(known.get(failure.field, []), pa.uint64())))
        kept.append(replace(failure, rows=failure.rows.filter(new), values=failure.values.filter(new)))
    return [failure for failure in kept if len(failure.rows)]


def malformed_rows(chunk: TextChunk, expected: int) -> list[pa.RecordBatch]:
    """Returns the records that are no rows of the table, as problems. expected: how many fields a record has."""
    texts = {
        Malformed.FIELD_COUNT: f"must have {numbered(expected, 'field')}, as the header has",
        Malformed.QUOTATION_MARK: "must have quotation marks only around whole fields",
        Malformed.REPEATED_HEADER: "must not be the header again",
    }
    found = {Malformed.QUOTATION_MARK: "one elsewhere", Malformed.REPEATED_HEADER: "the names of the columns"}
    rows = [
        {
            "record": bad.record,
            "line": bad.line,
            "field": None,
            "rule": bad.why.value,
            "expected": texts[bad.why],
            "value": found.get(bad.why, numbered(bad.fields, "field")),
        }
        for bad in chunk.malformed
    ]
    return [pa.RecordBatch.from_pylist(rows, PROBLEMS)] if rows else []


def problem_rows(failure: Failures, chunk: TextChunk) -> pa.RecordBatch:
    """Returns the records that break one rule, as problems."""
    size = len(failure.rows)
    columns = [
        chunk.records.take(failure.rows),
        chunk.lines.take(failure.rows),
        pa.repeat(failure.field, size),
        pa.repeat(failure.rule, size),
        pa.repeat(failure.expected, size),
        failure.values,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PROBLEMS)


def valid(size: int, failures: list[Failures]) -> pa.Array:
    """Returns for each of so many records whether it breaks no rule."""
    if not failures:
        return pa.repeat(True, size)
    failed = pa.concat_arrays([failure.rows for failure in failures])
    return pc.invert(pc.is_in(pa.array(range(size), pa.uint64()), failed))


def unread(size: int, failures: list[Failures]) -> pa.Array:
    """Returns for each record its texts that break a rule. They distinguish records with values that were not read."""
    found: list[str | None] = [None] * size
    for failure in failures:
        for row, value in zip(failure.rows.to_pylist(), failure.values.to_pylist(), strict=True):
            found[row] = json.dumps([found[row], failure.field, value])
    return pa.array(found, pa.string())
