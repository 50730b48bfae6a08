"""The beginning of a file, as an import would read it: for a person who says how it is to be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.importing.source import Opener, Source
from resources.record_store import RecordStore
from schemas import load_model
from schemas.batches import Batch, ImportRequest
from schemas.cleaning import CleanedValues
from schemas.columns import Column
from schemas.dates import as_iso, needs_order
from schemas.decimals import fits_sign
from schemas.errors import InvalidRequest
from schemas.mapping import distinct_names, map_headers
from schemas.parsing import needs_zone, parse_column
from schemas.reading import COMMA, POINT, DateOrder, Question, ReadOptions
from schemas.record_type import RecordType
from schemas.spellings import with_point
from schemas.unclear_points import UnclearPoints

_ROWS = 8
_SAMPLES = 3
_ISO = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"


@dataclass(frozen=True)
class Example:
    """A text of the file, and how it is read under each answer: ISO 8601 for dates, a decimal point for numbers."""

    text: str
    readings: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """A text of the file. value: what it is read as, if that differs from the text. None if it is no value."""

    text: str
    value: Any = None
    is_wrong: bool = False


@dataclass(frozen=True)
class Peek:
    """The beginning of a file.

    rows: the first records. columns: what each column feeds, with its first different texts.
    missing: fields that no column feeds. problem: why the columns cannot be mapped; "" if they can.
    date, number: a text that an option gives its meaning; None if there is none.
    letters: a text that depends on the encoding. local_time: a time without its zone. "" if there is none.
    time_zone: the zone of such times, as said or as the format has it; None if they are no values.
    first_rows: the first rows of the table, also those above the header, each with its number from 1.
    alternatives: what else options could say, by their names.
    same_file: the last commit of the same content; None if there is none.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    understood: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]
    used: ReadOptions
    options: ReadOptions
    columns: tuple[Column, ...]
    missing: tuple[str, ...]
    problem: str = ""
    date: Example | None = None
    number: Example | None = None
    letters: str = ""
    local_time: str = ""
    time_zone: str | None = None
    first_rows: tuple[tuple[int, tuple[str, ...]], ...] = ()
    alternatives: Mapping[str, list[str]] = field(default_factory=dict)
    same_file: Batch | None = None


def peek(store: RecordStore, request: ImportRequest) -> Peek:
    """Returns the beginning of the file. Raises what a preview raises if the file cannot be read."""
    with Opener(store, request) as opener:
        source = opener.source(None)
        reader, record_type = source.reader, store.record_type(request.record_type)
        remembered = source.earlier.remembered if source.earlier else None
        headers = reader.headers or record_type.field_names
        chunk = reader.first_chunk()
        texts = [] if chunk is None else [column.combine_chunks() for column in chunk.values.columns]
        problem = ""
        try:
            mapping = map_headers(
                headers, record_type, request.column_map, remembered.column_map if remembered else {}, needs_key=False
            )
            columns, missing = mapping.columns, mapping.missing
        except InvalidRequest as error:
            problem = f"{error.message} {error.quoted}".strip()
            columns = tuple(
                Column(number, header, None, "ignored") for number, header in enumerate(distinct_names(headers))
            )
            missing = record_type.field_names
        sampled = tuple(
            Column(it.position, it.header, it.field, it.reason, it.score, _first_different(texts, it.position))
            for it in columns
        )
        date = _date(record_type, columns, texts)
        number = _number(record_type, columns, texts) if reader.format.numbers_are_text else None
        order = _only(date)
        proposed = ReadOptions(date_order=DateOrder(order) if order else None, decimal=_only(number))
        return Peek(
            headers=tuple(headers),
            rows=_understood(store, request, source, proposed, columns, texts) if texts else (),
            understood=source.understood,
            questions=(*source.questions, *_unclear_points(source, record_type, columns, texts)),
            used=reader.used,
            options=source.options,
            columns=sampled,
            missing=missing,
            problem=problem,
            date=date,
            number=number,
            letters=next((text for column in texts for text in column.to_pylist() if not text.isascii()), ""),
            local_time=_local_time(record_type, columns, texts),
            time_zone=source.time_zone,
            first_rows=reader.first_rows,
            alternatives=reader.alternatives,
            same_file=source.same_file,
        )


def _only(example: Example | None) -> str | None:
    """Returns the answer under which a text has a meaning, if there is one alone: it is proposed."""
    return next(iter(example.readings)) if example is not None and len(example.readings) == 1 else None


def _understood(
    store: RecordStore,
    request: ImportRequest,
    source: Source,
    proposed: ReadOptions,
    columns: tuple[Column, ...],
    texts: list[pa.Array],
) -> tuple[tuple[Cell, ...], ...]:
    """Returns the first records: each text, and what it is read as. What nobody has said is as proposed."""
    from resources.importing.used_values import UsedValues  # these import pandas
    from schemas.validation import validate

    model = load_model(request.record_type)
    record_type = model.record_type()
    earlier = source.earlier.remembered if source.earlier else None
    accepted = store.account(request.account).accepted_values(request.record_type)
    used = UsedValues(model, request, earlier, accepted).used
    first = [column[:_ROWS] for column in texts]
    cells = [[Cell(text) for text in column.to_pylist()] for column in first]
    mapped = {it.field: it.position for it in columns if it.field is not None and it.position < len(first)}
    if mapped:
        typed, failures = validate(
            model,
            pa.table({name: first[position] for name, position in mapped.items()}),
            time_zone=source.time_zone,
            date_order=source.options.date_order or proposed.date_order,
            decimal=source.decimal or proposed.decimal,
            cleaned=CleanedValues(used),
        )
        wrong = {(it.field, row) for it in failures for row in it.rows.to_pylist()}
        for name, position in mapped.items():
            for row, value in enumerate(typed[name].to_pylist()):
                text, is_wrong = cells[position][row].text, (name, row) in wrong
                is_other = record_type.field(name).type != "text" or value != text
                cells[position][row] = Cell(text, value if is_other and not is_wrong else None, is_wrong)
    return tuple(zip(*cells, strict=True))


def _local_time(record_type: RecordType, columns: tuple[Column, ...], texts: list[pa.Array]) -> str:
    """Returns a time of a timestamp field that does not say its zone; "" if there is none."""
    for column in columns:
        if column.field is not None and record_type.field(column.field).type == "timestamp":
            found = texts[column.position] if column.position < len(texts) else pa.array([], pa.string())
            local = found.filter(needs_zone(found))
            if len(local):
                return str(local[0].as_py())
    return ""


def _first_different(texts: list[pa.Array], position: int) -> tuple[str, ...]:
    if position >= len(texts):
        return ()
    found = (text for text in texts[position][:1000].to_pylist() if text)
    return tuple(dict.fromkeys(found))[:_SAMPLES]


def _date(record_type: RecordType, columns: tuple[Column, ...], texts: list[pa.Array]) -> Example | None:
    """Returns a date that is not in the form of ISO 8601; best one that only one order can read."""
    best: Example | None = None
    for column in columns:
        if column.field is None or record_type.field(column.field).type not in ("date", "timestamp"):
            continue
        unclear = texts[column.position] if column.position < len(texts) else pa.array([], pa.string())
        unclear = pc.unique(unclear.filter(needs_order(unclear)))[:1000]
        for text in unclear.to_pylist():
            readings = {}
            for order in DateOrder:
                iso = as_iso(pa.array([text.strip()]), order)
                if pc.match_substring_regex(iso, _ISO)[0].as_py():
                    readings[order.value] = iso[0].as_py()
            if readings and (best is None or len(readings) < len(best.readings)):
                best = Example(text, readings)
    return best


def _unclear_points(
    source: Source, record_type: RecordType, columns: tuple[Column, ...], texts: list[pa.Array]
) -> Iterator[Question]:
    """Yields what to ask about the points of the first numbers."""
    numbers = {
        it.field: it
        for it in columns
        if it.field is not None and record_type.field(it.field).is_number and it.position < len(texts)
    }
    are_text = source.reader.format.numbers_are_text
    points = UnclearPoints(record_type, tuple(numbers), is_known=source.decimal_is_known, can_be_said=are_text)
    given = pa.table({name: texts[it.position] for name, it in numbers.items()})
    typed = {name: parse_column(texts[it.position], record_type.field(name))[0] for name, it in numbers.items()}
    points.add(given, pa.table(typed), pa.array(range(len(given))))
    question = points.question({name: it.header for name, it in numbers.items()})
    if question is not None:
        yield question


def _number(record_type: RecordType, columns: tuple[Column, ...], texts: list[pa.Array]) -> Example | None:
    """Returns a number that the decimal sign gives its meaning; best one that only one sign can read."""
    best: Example | None = None
    for column in columns:
        if column.field is None or not record_type.field(column.field).is_number or column.position >= len(texts):
            continue
        found = pc.utf8_trim_whitespace(texts[column.position])
        comma, point = fits_sign(found, COMMA), fits_sign(found, POINT)
        has_mark = pc.match_substring_regex(found, r"[, '\x{a0}\x{202f}\x{2019}]")
        unclear = pc.fill_null(pc.and_(pc.or_(comma, point), has_mark), False)
        for text in pc.unique(found.filter(unclear))[:1000].to_pylist():
            one = pa.array([text])
            readings = {
                sign: with_point(one, sign)[0].as_py() for sign in (COMMA, POINT) if fits_sign(one, sign)[0].as_py()
            }
            if readings and (best is None or len(readings) < len(best.readings)):
                best = Example(text, readings)
    return best
