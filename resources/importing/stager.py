"""Staging a file: read it, map its columns, check it, compare it with the records, count the outcomes."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.file_reader import FileReader, TextChunk
from resources.file_reader.formats import options_of_others
from resources.importing.change_column import ChangeColumn
from resources.importing.failed_rows import cell_failures, elsewhere, malformed_rows, problem_rows, unread, valid
from resources.importing.last_lines import LastLines, without_others
from resources.importing.lessons import Lessons
from resources.importing.progress import Progress, observed_chunks
from resources.importing.resemblance import Resemblance
from resources.importing.shown_texts import ShownTexts, rows_of_texts
from resources.importing.source import Source
from resources.importing.used_values import UsedValues
from resources.record_store import Comparison, RecordStore, Staging
from resources.record_store.comparison import StagedFile
from resources.record_store.problems import ProblemFile, proposed_values, summarise
from resources.record_store.refusals import outdated_type
from schemas import load_model
from schemas.batches import ChangedValue, ImportRequest, ProblemCount, Remembered, RowProblem
from schemas.blanks import Blank, Blanks
from schemas.cleaning import CleanedValues
from schemas.columns import Column
from schemas.counts import Counts
from schemas.dates import DateOrders
from schemas.decimals import DecimalSigns
from schemas.errors import InvalidRequest, Unaccounted
from schemas.formulas import ESCAPED
from schemas.mapping import REJECTS_COLUMNS, Mapping, map_headers, naming
from schemas.model import RecordModel
from schemas.parsing import arrow_type
from schemas.plausibility import Plausibility
from schemas.reading import SAID, Question, ReadOptions
from schemas.record_type import Field, RecordType
from schemas.unclear_points import UnclearPoints
from schemas.validation import fields_with, validate
from schemas.values import Cleaned, MappedValue
from schemas.warnings import BatchWarning, WarningCode

_CHANGED_RECORDS = 20
_AS_SHOWN = ("Numbers in fields of text", "as the workbook shows them, as --as-shown says")
_PARTS = {"sheet": "sheet: --sheet NAME", "at": "list: --at PLACE"}
"""What else the records could be in, by the option that says so, and how to say it."""
_SAMPLES, _SAMPLED = 3, 1000
"""How many values of a column a report shows, and how many records are searched for different ones."""


@dataclass(frozen=True)
class StagedPreview:
    """The findings of a preview. `snapshot` is the version of the records that the file was compared with.

    as_shown: the positions of the columns with numbers that are read as the workbook shows them.
    """

    sha256: str
    counts: Counts
    problems: tuple[ProblemCount, ...]
    samples: tuple[RowProblem, ...]
    cleared: MappingOf[str, int]
    changes: tuple[ChangedValue, ...]
    columns: tuple[Column, ...]
    remembered: Remembered
    used: ReadOptions
    unescape: bool
    questions: tuple[Question, ...]
    proposals: tuple[MappedValue, ...]
    learnt: tuple[MappedValue, ...]
    cleaned: tuple[Cleaned, ...]
    understood: tuple[tuple[str, str], ...]
    warnings: tuple[BatchWarning, ...]
    as_shown: tuple[int, ...]
    parent: str | None
    fields: tuple[str, ...]
    record_type: RecordType
    snapshot: int


@dataclass(frozen=True)
class _Checks:
    """What looks at every value of a file, beside its rules.

    may_be_empty: the required fields for which an empty cell stands for the stored value.
    """

    dates: DateOrders
    decimals: DecimalSigns
    points: UnclearPoints
    plausibility: Plausibility
    change_column: ChangeColumn
    last_lines: LastLines
    may_be_empty: Collection[str]
    cleaned: CleanedValues
    lessons: Lessons
    resemblance: Resemblance

    def add(self, texts: pa.Table, typed: pa.Table, records: pa.Array, written: MappingOf[str, pa.Array]) -> None:
        """Count the texts of a chunk. `typed` has the values that were read from them.

        written: by field, the rows in which the file has a text that looks like a number, and not a number.
        """
        self.dates.add(texts, typed, records)
        self.decimals.add(texts, typed, records)
        self.points.add(texts, typed, records, written)
        self.plausibility.add(texts, typed)


def stage_file(
    store: RecordStore,
    request: ImportRequest,
    batch_id: str,
    source: Source,
    progress: Progress | None = None,
) -> StagedPreview:
    """Stage the whole file, typed, each record with its outcome, in the account's staging folder for the batch.

    Reads the records as of one snapshot and writes none. If anything is raised, nothing is left.
    """
    reader = source.reader
    earlier = source.earlier.remembered if source.earlier else None
    record_type, snapshot = store.pin(request.record_type)
    records = store.account(request.account)
    model = load_model(record_type.name)
    if model.record_type() != record_type:
        raise outdated_type(record_type.name)
    mapping = _mapped(reader, record_type, request, earlier)
    values = UsedValues(model, request, earlier, records.accepted_values(record_type.name))
    fields = tuple(name for name in record_type.field_names if name in mapping.fields)
    missing = [name for name in mapping.missing if record_type.field(name).required]
    why_unescape = reason_to_unescape(source, request)
    unescape = why_unescape is not None
    texts = {mapping.fields[name]: name for name in fields if record_type.field(name).type == "text"}
    shown = ShownTexts(reader.number_formats, texts, taken=bool(source.options.as_shown))
    floats = [name for position, name in texts.items() if position in reader.float_columns]
    blanks = _blanks(source, record_type)
    last_lines = LastLines(
        source.options.footer, [mapping.fields[name] for name in record_type.key], len(reader.headers)
    )
    are_text = reader.format.numbers_are_text
    points = UnclearPoints(record_type, fields, is_known=source.decimal_is_known, can_be_said=are_text)
    checks = _Checks(
        DateOrders(record_type, fields, source.options.date_order),
        DecimalSigns(record_type, fields, source.decimal, can_be_said=are_text),
        points,
        Plausibility(record_type, fields, fields_with(model, "str_matches", "isin"), floats),
        ChangeColumn(source, mapping),
        last_lines,
        frozenset(name for name in fields if record_type.field(name).required and blanks.of(name) is not Blank.CLEAR),
        CleanedValues(values.used),
        Lessons(records, source, record_type),
        Resemblance(source, {it.field: it.header for it in mapping.columns if it.field is not None}, points),
    )
    with store.files.making(records.folder("staging") / batch_id) as folder:
        folder.mkdir()
        staging = Staging(folder, fields)
        with ProblemFile(staging.problems) as problems:
            chunks = map(shown.applied, last_lines.passed(observed_chunks(reader, progress)))
            staged, examples = _stage(source, chunks, model, mapping, staging, problems, unescape, checks)
            pa.default_memory_pool().release_unused()  # DuckDB needs it now
            with records.compare(record_type, staging, snapshot) as staged_file:
                staged_file.resolve_blanks(blanks)
                limits = store.settings.limits
                problems.add_all(staged_file.exclude_repeated_keys(request.on_duplicate, limits.records_per_key))
                problems.add_all(staged_file.exclude_other_forms())
                problems.add_all(staged_file.exclude_unfilled(blanks))
                problems.add_all(staged_file.exclude_forbidden(request.mode, missing))
                comparison = staged_file.compare()
                source = checks.resemblance.settled(staged_file)
                warnings = _with_stored_values(checks.plausibility, staged_file, comparison, record_type)
                changes = staged_file.changes(_CHANGED_RECORDS) if comparison.updated else []
        read = reader.read - last_lines.skipped
        counts = _balanced(read, read - staged, comparison)
        problem_counts, samples = summarise(staging.problems)
        proposals = proposed_values(staging.problems, record_type)
    columns = tuple(
        replace(column, samples=texts) for column, texts in zip(mapping.columns, examples, strict=bool(examples))
    )
    return StagedPreview(
        sha256=reader.sha256,
        counts=counts,
        problems=problem_counts,
        samples=samples,
        cleared=comparison.cleared,
        changes=tuple(changes),
        columns=columns,
        remembered=_to_remember(source, mapping, request, record_type, values),
        used=reader.used,
        unescape=unescape,
        questions=source.questions,
        proposals=proposals,
        learnt=checks.lessons.pairs,
        cleaned=checks.cleaned.counts,
        understood=(
            *source.understood,
            *_without_column(request, fields),
            *naming(reader.headers, columns),
            *([("Comes from", source.origin.name)] if source.origin is not None and source.origin.name else []),
            *checks.dates.understood,
            *checks.decimals.understood,
            *_time_zone(source, record_type, fields),
            *last_lines.understood,
            *((("Empty cells", f"{source.options.blank}, as --blank says"),) if source.options.blank else ()),
            *((("Texts like '=1+1", f"lose the ', because {why_unescape}"),) if why_unescape else ()),
            *((_AS_SHOWN,) if source.options.as_shown and reader.number_formats else ()),
            *values.understood(checks.cleaned.mapped),
            *checks.lessons.understood,
            *(("Note", note) for note in reader.notes),
        ),
        warnings=(
            *checks.dates.warnings(),
            *checks.decimals.warnings(),
            *shown.warnings(),
            *checks.cleaned.warnings(),
            *warnings,
            *last_lines.warnings(),
        ),
        as_shown=tuple(texts) if source.options.as_shown else (),
        parent=source.parent.batch_id if source.parent else None,
        fields=fields,
        record_type=record_type,
        snapshot=snapshot,
    )


def _blanks(source: Source, record_type: RecordType) -> Blanks:
    """Returns what empty cells do. Raises InvalidRequest if the request names a field that the type does not have."""
    unknown = [name for name in Blanks.parse(source.request.blank).of_fields if name not in record_type.field_names]
    if unknown:
        raise InvalidRequest(
            f"{record_type.name} has no field {unknown[0]!r}, which --blank names.",
            f"Its fields: {', '.join(record_type.field_names)}.",
        )
    return Blanks.parse(source.options.blank)


def _without_column(request: ImportRequest, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the options that were said for this file about fields without a column, as label and value.

    A mapping's text is left out: it can be a personal value.
    """
    blanks = Blanks.parse(request.blank).of_fields
    flags = [f"--blank {name}={choice.value}" for name, choice in blanks.items() if name not in fields]
    flags += [f"--value {name}:…" for name in request.value_map if name not in fields]
    if flags:
        yield "Options without effect", f"{' '.join(flags)} (no column feeds the field)"


def _time_zone(source: Source, record_type: RecordType, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the time zone that was said, as label and value, if a field needs it."""
    if source.options.time_zone is not None and any(record_type.field(name).type == "timestamp" for name in fields):
        yield "Timestamps without an offset", f"are in {source.options.time_zone}, as --time-zone says"


def _mapped(reader: FileReader, record_type: RecordType, request: ImportRequest, earlier: Remembered | None) -> Mapping:
    """Returns the mapping of the columns. Raises InvalidRequest as map_headers, with what is odd about the header."""
    try:
        headers = reader.headers or record_type.field_names  # JSON without records names no columns
        return map_headers(headers, record_type, request.column_map, earlier.column_map if earlier else {})
    except InvalidRequest as error:
        doubts = [question.sentence for question in reader.questions if question.option is None]
        quoted = " ".join(filter(None, [error.quoted, reader.outline]))
        others = [
            f"Or read another {what}." for name, what in _PARTS.items() if len(reader.alternatives.get(name, ())) > 1
        ]
        raise InvalidRequest(" ".join([error.message, *doubts]), " ".join([error.hint, *others]), quoted) from error


def reason_to_unescape(source: Source, request: ImportRequest) -> str | None:
    """Returns why texts such as '=1+1 lose the '; None if they do not."""
    if request.unescape is not None:
        return "unescape is set" if request.unescape else None
    if set(REJECTS_COLUMNS).issubset(source.reader.headers) and source.reader.format.escapes_formulas:
        return "this is a rejects file"  # whatever was said for the file that it comes from
    origin = source.origin
    if origin is not None and (origin.is_certain or "unescape" in source.unsure):
        return origin.why if source.options.unescape else None
    return "unescape is set" if source.options.unescape else None


def _to_remember(
    source: Source, mapping: Mapping, request: ImportRequest, record_type: RecordType, values: UsedValues
) -> Remembered:
    """Returns what a user said about this file, or earlier about one with the same header row."""
    unsaid = (
        source.options != request.options
        or values.is_remembered
        or any(column.reason == "remembered" for column in mapping.columns)
    )
    return Remembered(
        source.header_row,
        mapping.to_remember(request.column_map),
        source.options_if_committed,
        source.said_by_export,
        source.earlier.batch_id if source.earlier and unsaid else None,
        values.said,
        _needed(source, [record_type.field(name) for name in mapping.fields]),
    )


def _needed(source: Source, fields: Collection[Field]) -> tuple[str, ...]:
    """Returns the options that were said for an earlier file and say something about this one, which has `fields`."""
    earlier = source.earlier.remembered if source.earlier else None
    said = earlier.for_others.said().keys() - source.request.options.said().keys() if earlier else ()
    is_needed = {
        "encoding": any(question.option == "encoding" for question in source.reader.questions),
        "decimal": any(field.is_number for field in fields),
        "date_order": any(field.type in ("date", "timestamp") for field in fields),
        "time_zone": any(field.type == "timestamp" for field in fields),
        "as_shown": bool(source.reader.number_formats),
        "unescape": source.reader.format.escapes_formulas,
    }
    others = options_of_others(source.reader.format)
    return tuple(name for name in SAID if name in said and name not in others and is_needed.get(name, True))


def _with_stored_values(
    plausibility: Plausibility, staged_file: StagedFile, comparison: Comparison, record_type: RecordType
) -> tuple[BatchWarning, ...]:
    """Returns the warnings, those that need the stored values too."""
    key = record_type.key[0]
    plausibility.add_examples(key, WarningCode.LEADING_ZEROS, *staged_file.without_zeros())
    for name, number in comparison.without_zeros.items():
        plausibility.add_examples(name, WarningCode.LEADING_ZEROS, number, staged_file.losing_zeros(name))
    matching = 0
    if key in plausibility.floats:
        matching = comparison.updated + comparison.unchanged
    elif plausibility.records(key, WarningCode.LOOKS_LIKE_FLOAT):
        matching = staged_file.with_point_zero()
    return tuple(plausibility.warnings(matching))


def _stage(
    source: Source,
    chunks: Iterable[TextChunk],
    model: type[RecordModel],
    mapping: Mapping,
    staging: Staging,
    problems: ProblemFile,
    unescape: bool,
    checks: _Checks,
) -> tuple[int, list[tuple[str, ...]]]:
    """Write every well-formed record of the chunks, typed, and its problems.

    Returns the number of these records, and each column's first values.
    """
    schema = _schema(model.record_type(), staging.fields)
    reader = source.reader
    positions = [mapping.fields[name] for name in staging.fields]
    numbers = {name: mapping.fields[name] for name in staging.fields if model.record_type().field(name).is_number}
    staged, examples = 0, None
    with _RecordFile(staging.records, schema) as file:
        for chunk in chunks:
            problems.add_all(malformed_rows(chunk, len(reader.headers)))
            if not len(chunk.records):
                continue
            examples = examples or _first_values(chunk)
            texts = chunk.values.select(positions).rename_columns(list(staging.fields))
            checks.resemblance.add(texts, chunk.records)
            if unescape:
                texts = pa.table([unescaped(column) for column in texts.columns], names=texts.column_names)
            typed, failures = validate(
                model,
                texts,
                time_zone=source.time_zone,
                date_order=checks.dates.order,
                decimal=checks.decimals.sign,
                cleaned=checks.cleaned,
            )
            checks.add(texts, typed, chunk.records, rows_of_texts(chunk, numbers, reader))
            failures = (
                [*cell_failures(chunk, mapping), *elsewhere(failures, chunk, mapping)] if chunk.cells else failures
            )
            failures = [
                *(it for it in failures if it.rule != "required" or it.field not in checks.may_be_empty),
                *checks.change_column.failures(chunk),
                *checks.last_lines.failures(chunk),
            ]
            checks.lessons.add(chunk, texts, typed, failures)
            problems.add_all(problem_rows(failure, chunk) for failure in without_others(failures))
            columns = [
                chunk.records,
                chunk.lines,
                valid(len(chunk.records), failures),
                unread(len(chunk.records), failures),
                *typed.columns,
            ]
            file.write(pa.table(columns, schema=schema))
            staged += len(chunk.records)
    return staged, examples or [()] * len(reader.headers)


def _schema(record_type: RecordType, fields: Sequence[str]) -> pa.Schema:
    """Returns the columns of the staged records."""
    types = {name: arrow_type(record_type.field(name)) for name in fields}
    return pa.schema(
        {"_record": pa.int64(), "_line": pa.int64(), "_valid": pa.bool_(), "_unread": pa.string(), **types}
    )


def _first_values(chunk: TextChunk) -> list[tuple[str, ...]]:
    """Returns the first different values of each column, without empty ones."""
    columns = [pc.unique(column.slice(0, _SAMPLED)).to_pylist() for column in chunk.values.columns]
    return [tuple(value for value in column if value)[:_SAMPLES] for column in columns]


class _RecordFile:
    """The staged records. Writes each chunk while the next is checked. A context manager; complete when it ends."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        statistics = ["_record"]  # no others are used
        self._writer = pq.ParquetWriter(
            path, schema, compression="lz4", use_dictionary=False, write_statistics=statistics
        )
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        """Returns the file itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish the file. Raises the error of the last write, if it failed."""
        with self._writer, self._thread:
            if kind is None:
                self._wait()

    def write(self, chunk: pa.Table) -> None:
        """Start writing the chunk, when the chunk before it is written."""
        self._wait()
        self._last = self._thread.submit(self._writer.write_table, chunk)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


def unescaped(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns the texts without their escapes: what schemas.formulas.unescape_formula does, a column at a time."""
    return pc.replace_substring_regex(texts, ESCAPED, r"\1")


def _balanced(read: int, malformed: int, comparison: Comparison) -> Counts:
    counts = Counts(
        read=read,
        created=comparison.created,
        updated=comparison.updated,
        unchanged=comparison.unchanged,
        rejected=comparison.rejected + malformed,
        duplicate=comparison.duplicate,
    )
    if counts.accounted != counts.read:
        raise Unaccounted(
            f"{counts.read:,} records were read and {counts.accounted:,} accounted for: {asdict(counts)}.",
            "Nothing was written. This is a defect of records; please report it.",
        )
    return counts
