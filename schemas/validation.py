"""Validates a chunk of text records with pandera, and returns typed records and failures."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from schemas.characters import shown, unseen_in_keys, unseen_in_patterns
from schemas.model import RecordModel
from schemas.parsing import parse_column, type_in_words
from schemas.reading import DateOrder
from schemas.record_type import Field, RecordType
from schemas.rules import rule_in_words
from schemas.unread_dates import reasons

NOT_EMPTY = "must not be empty"
SEEN_KEY = "must have no white space at its edges, and no invisible or control character"
SEEN = "must have no invisible or control character"


@dataclass(frozen=True)
class Failures:
    """The records of a chunk that break one rule in one field.

    field: None if the rule concerns the whole record.
    expected: the rule in words, for example "must be 0 or more".
    rows: their positions in the chunk (uint64, ascending).
    values: their texts.
    """

    field: str | None
    rule: str
    expected: str
    rows: pa.Array
    values: pa.Array


def validate(
    model: type[RecordModel],
    texts: pa.Table,
    *,
    time_zone: str | None = None,
    date_order: DateOrder | None = None,
    decimal: str | None = None,
) -> tuple[pa.Table, list[Failures]]:
    """Returns the typed values of a chunk of texts, and all failures.

    texts: a string column for each mapped field, with the field's name.
    time_zone, date_order, decimal: see `parse_column`.

    A cell is reported once for each rule that it breaks. A text that is not a value of the field's type breaks only
    that rule, and is null in the result.
    """
    record_type = _record_type(model)
    columns: dict[str, pa.Array] = {}
    failures: list[Failures] = []
    unparsed: dict[str, pa.Array] = {}
    for name in texts.column_names:
        field = record_type.field(name)
        column = texts[name].combine_chunks()
        columns[name], bad = parse_column(column, field, time_zone=time_zone, date_order=date_order, decimal=decimal)
        if len(bad):
            unparsed[name] = bad
            failures += _unparsed(field, bad, column.take(bad), date_order, time_zone)
        if field.type == "text":
            failures += _unseen(model, field, column)
    typed = pa.table(columns)
    for name, rule, expected, rows in _check(model, typed):
        if name in unparsed:
            rows = rows.filter(pc.invert(pc.is_in(rows, unparsed[name])))
        if len(rows):
            failures.append(Failures(name, rule, expected, rows, texts[name].combine_chunks().take(rows)))
    return typed, failures


def _unparsed(
    field: Field, rows: pa.Array, values: pa.Array, date_order: DateOrder | None, time_zone: str | None
) -> Iterator[Failures]:
    """Yields the failures of texts that are not values of the field's type. Those of dates say why."""
    expected = type_in_words(field, date_order)
    if field.type in ("date", "timestamp"):
        others = pc.is_valid(values)
        for reason, which in reasons(values, field.type, date_order, time_zone):
            yield from _of(field, f"{expected} ({reason})", rows, values, which)
            others = pc.and_not(others, which)
        rows, values = rows.filter(others), values.filter(others)
    yield from _of(field, expected, rows, values, pc.is_valid(values))


def _of(field: Field, expected: str, rows: pa.Array, values: pa.Array, which: pa.Array) -> Iterator[Failures]:
    if pc.any(which).as_py():
        yield Failures(field.name, "type", expected, rows.filter(which), values.filter(which))


def _unseen(model: type[RecordModel], field: Field, texts: pa.Array) -> Iterator[Failures]:
    """Yields the failure of texts that look like others: in a key, and in a field that must match a pattern.

    DuckLake 1.0 cannot compare keys with U+0000 either (found here).
    """
    if field.name in _record_type(model).key:
        rows, expected = unseen_in_keys(texts), SEEN_KEY
    elif field.name in fields_with(model, "str_matches"):
        rows, expected = unseen_in_patterns(texts), SEEN
    else:
        return
    if len(rows):
        yield Failures(field.name, "unseen", expected, rows, pa.array(map(shown, texts.take(rows).to_pylist())))


def _check(model: type[RecordModel], typed: pa.Table) -> list[tuple[str, str, str, pa.Array]]:
    """Returns field, rule, rule in words and failing rows of each failed check.

    The rows come from pandera's mask. Its table of failure cases has missed equal neighbours (pandera#531).
    """
    schema = _schema(model, tuple(typed.column_names))
    try:
        schema.validate(typed.to_pandas(types_mapper=pd.ArrowDtype), lazy=True)
    except SchemaErrors as errors:
        return [_failed_rows(error) for error in errors.schema_errors]
    return []


def _failed_rows(error: SchemaError) -> tuple[str, str, str, pa.Array]:
    if error.reason_code is SchemaErrorReason.SERIES_CONTAINS_NULLS:
        rows = error.failure_cases["index"].to_numpy()
        return error.schema.name, "required", NOT_EMPTY, pa.array(rows, pa.uint64())
    if error.reason_code is SchemaErrorReason.DATAFRAME_CHECK and isinstance(error.check_output, pd.Series):
        passed = error.check_output
        rows = passed.index[~passed.to_numpy(bool)].to_numpy()
        return error.schema.name, error.check.name, rule_in_words(error.check), pa.array(rows, pa.uint64())
    raise TypeError(f"the check {error.check} of {error.schema.name} did not run: {error.reason_code}") from error


@lru_cache(maxsize=16)
def _schema(model: type[RecordModel], columns: tuple[str, ...]) -> pandera.DataFrameSchema:
    return model.to_schema().select_columns(list(columns))


@lru_cache(maxsize=16)
def _record_type(model: type[RecordModel]) -> RecordType:
    return model.record_type()


@lru_cache(maxsize=16)
def fields_with(model: type[RecordModel], *checks: str) -> frozenset[str]:
    """Returns the fields that have one of the checks of pandera, by name."""
    columns = model.to_schema().columns.items()
    return frozenset(name for name, column in columns if any(check.name in checks for check in column.checks))
