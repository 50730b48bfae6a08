"""Validates a chunk of text records with pandera, and returns typed records and failures."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from schemas.characters import shown, unseen_in_keys, unseen_in_patterns
from schemas.cleaning import CleanedValues, Variant, candidates, first_valid, signs_in, variants
from schemas.model import RecordModel
from schemas.parsing import beyond_floats, parse_column, type_in_words
from schemas.reading import DateOrder, ReadOptions
from schemas.record_type import Field, RecordType
from schemas.rules import rule_in_words
from schemas.unread_dates import reasons
from schemas.values import Cleaning, MappedValue, ValueMap, as_pairs

NOT_EMPTY = "must not be empty"
SEEN_KEY = "must have no white space at its edges, and no invisible or control character"
SEEN = "must have no invisible or control character"
BEYOND = {
    "large": "must not be too large for a number of 64 bits",
    "small": "must not be too small for a number of 64 bits",
}
NO_SIGN = {"currency": ", without a currency sign", "percent": ", without a percent sign"}


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
    cleaned: CleanedValues | None = None,
) -> tuple[pa.Table, list[Failures]]:
    """Returns the typed values of a chunk of texts, and all failures.

    texts: a string column for each mapped field, with the field's name.
    time_zone, date_order, decimal: see `parse_column`.
    cleaned: maps values, and counts those that are cleaned.

    A cell is reported once for each rule that it breaks. A text that is not a value of the field's type breaks only
    that rule, and is null in the result. A text that breaks a rule is cleaned if it can only mean one value.
    """
    rules = _Rules(model, ReadOptions(time_zone=time_zone, date_order=date_order, decimal=decimal))
    cleaned = cleaned or CleanedValues()
    record_type = _record_type(model)
    given = {name: texts[name].combine_chunks() for name in texts.column_names}
    columns = {
        name: column if name in record_type.key else cleaned.prepared(column, record_type.field(name))
        for name, column in given.items()
    }
    typed, failures = rules.checked(columns)
    repaired = _repaired(rules, record_type, columns, failures, cleaned)
    for name, (rows, values) in repaired.items():
        which = pc.is_in(pa.array(range(len(typed)), pa.uint64()), rows)
        column = pc.replace_with_mask(typed[name].combine_chunks(), which, values)
        typed = typed.set_column(typed.column_names.index(name), name, column)
    return typed, [
        replace(it, values=it.values if it.rule == "unseen" else given[it.field].take(it.rows))
        for it in (_without(failure, repaired) for failure in failures)
        if len(it.rows)
    ]


@dataclass(frozen=True)
class _Rules:
    """The rules of a model, and how its texts are read."""

    model: type[RecordModel]
    options: ReadOptions

    def checked(self, columns: Mapping[str, pa.Array]) -> tuple[pa.Table, list[Failures]]:
        """Returns the typed values of texts as they are, by field, and all failures."""
        typed: dict[str, pa.Array] = {}
        failures: list[Failures] = []
        unparsed: dict[str, pa.Array] = {}
        said = self.options
        for name, column in columns.items():
            field = _record_type(self.model).field(name)
            typed[name], bad = parse_column(
                column, field, time_zone=said.time_zone, date_order=said.date_order, decimal=said.decimal
            )
            if len(bad):
                unparsed[name] = bad
                failures += _unparsed(field, bad, column.take(bad), said)
            if field.type == "text":
                failures += _unseen(self.model, field, column)
        table = pa.table(typed)
        for name, rule, expected, rows in _check(self.model, table):
            if name in unparsed:
                rows = rows.filter(pc.invert(pc.is_in(rows, unparsed[name])))
            if len(rows):
                failures.append(Failures(name, rule, expected, rows, columns[name].take(rows)))
        return table, failures


def _repaired(
    rules: _Rules,
    record_type: RecordType,
    columns: Mapping[str, pa.Array],
    failures: Sequence[Failures],
    cleaned: CleanedValues,
) -> dict[str, tuple[pa.Array, pa.Array]]:
    """Returns rows and values of the texts that break a rule, and become a value when they are cleaned, by field."""
    found: dict[str, tuple[pa.Array, pa.Array]] = {}
    for name in dict.fromkeys(it.field for it in failures if it.field is not None):
        field = record_type.field(name)
        rows = pc.unique(pa.concat_arrays([it.rows for it in failures if it.field == name])).sort()
        coded = columns[name].take(rows).dictionary_encode()
        worth = candidates(coded.dictionary, field)
        if name in record_type.key or not pc.any(worth).as_py():
            continue
        tried = [
            (code, variant)
            for code in pc.indices_nonzero(worth).to_pylist()
            for variant in variants(coded.dictionary[code].as_py(), field, rules.options.decimal)
        ]
        if not tried:
            continue
        values, wrong = rules.checked({name: pa.array([text for _, (text, _) in tried], pa.string())})
        invalid = {row for it in wrong for row in it.rows.to_pylist()}
        chosen = _chosen(tried, invalid)
        place = pa.array([chosen.get(code) for code in range(len(coded.dictionary))], pa.int64()).take(coded.indices)
        if place.null_count < len(place):
            found[name] = rows.filter(pc.is_valid(place)), values[name].combine_chunks().take(place.drop_null())
            _count(cleaned, field, coded, tried, chosen)
    return found


def _chosen(tried: Sequence[tuple[int, Variant]], invalid: Collection[int]) -> dict[int, int]:
    """Returns the position of the variant that each text is read as. Texts without one are left out."""
    chosen = {}
    for code, group in groupby(enumerate(tried), lambda it: it[1][0]):
        members = [(at, variant) for at, (_, variant) in group]
        best = first_valid([variant for _, variant in members], [at not in invalid for at, _ in members])
        if best is not None:
            chosen[code] = next(at for at, variant in members if variant == best)
    return chosen


def _count(
    cleaned: CleanedValues,
    field: Field,
    coded: pa.DictionaryArray,
    tried: Sequence[tuple[int, Variant]],
    chosen: Mapping[int, int],
) -> None:
    """Count the texts of a column that were cleaned."""
    records = Counter(coded.indices.to_pylist())
    for code, at in chosen.items():
        for kind in tried[at][1][1]:
            cleaned.add(field, kind, records[code])
            if kind is Cleaning.CURRENCY:
                cleaned.add_currency(field, coded.dictionary[code].as_py(), records[code])


def _without(failure: Failures, repaired: Mapping[str, tuple[pa.Array, pa.Array]]) -> Failures:
    """Returns the failure without the rows that were repaired."""
    if failure.field is None or failure.field not in repaired:
        return failure
    kept = pc.invert(pc.is_in(failure.rows, repaired[failure.field][0]))
    return replace(failure, rows=failure.rows.filter(kept), values=failure.values.filter(kept))


def _unparsed(field: Field, rows: pa.Array, values: pa.Array, said: ReadOptions) -> Iterator[Failures]:
    """Yields the failures of texts that are not values of the field's type. Those of dates and numbers say why."""
    expected = type_in_words(field, said.date_order, said.decimal)
    if field.type in ("date", "timestamp"):
        others = pc.is_valid(values)
        for reason, which in reasons(values, field.type, said.date_order, said.time_zone):
            yield from _of(field, f"{expected} ({reason})", rows, values, which)
            others = pc.and_not(others, which)
        rows, values = rows.filter(others), values.filter(others)
    if field.is_number:
        others = pc.is_valid(values)
        allowed = {"currency": field.currency, "percent": field.percent}
        for sign, signed in signs_in(values).items():
            if not allowed[sign]:
                yield from _of(field, f"{expected}{NO_SIGN[sign]}", rows, values, signed)
                others = pc.and_not(others, signed)
        for beyond, which in beyond_floats(values, said.decimal) if field.type == "float" else ():
            yield from _of(field, BEYOND[beyond], rows, values, pc.and_(others, which))
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


def invalid_values(model: type[RecordModel], values: ValueMap) -> Iterator[tuple[MappedValue, str]]:
    """Yields each mapping that cannot be used, and why: its field is a key, or its value breaks a rule."""
    record_type = _record_type(model)
    for name, texts in values.items():
        pairs = as_pairs({name: texts})
        if name not in record_type.field_names:
            yield from ((it, f"{record_type.name} has no field {name!r}") for it in pairs)
        elif name in record_type.key:
            yield from ((it, f"{name} is a key, and keys are never changed") for it in pairs)
        else:
            failures = _Rules(model, ReadOptions()).checked({name: pa.array(texts.values(), pa.string())})[1]
            yield from ((pairs[row], f"{name} {it.expected}") for it in failures for row in it.rows.to_pylist())


def are_values(
    model: type[RecordModel], name: str, texts: Sequence[str], options: ReadOptions | None = None
) -> list[bool]:
    """Returns which texts are values of a field as they are. options: how they are written."""
    failures = _Rules(model, options or ReadOptions()).checked({name: pa.array(texts, pa.string())})[1]
    wrong = {row for it in failures for row in it.rows.to_pylist()}
    return [row not in wrong for row in range(len(texts))]


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
