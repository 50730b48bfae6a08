"""A sample file to the source of a first record type: `records types draft FILE`.

The whole file is read, in bounded memory: a chunk at a time it is looked at and laid down as Parquet in a
temporary folder, where DuckDB finds out what identifies a record. What a text may look like is asked of
`schemas.parsing`, so that the drafted type takes every record it was drafted from. Whatever comes from the
file stands in the source as a quoted literal, or as a name made of letters, digits and "_".
"""

import keyword
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.file_reader import FileReader, TextChunk
from resources.record_store.databases import literal
from resources.record_store.lake import identifier
from schemas import model
from schemas.errors import InvalidRequest
from schemas.mapping import REJECTS_COLUMNS
from schemas.parsing import arrow_type, parse_column
from schemas.record_type import Field

NULL_MARKERS = ("NA", "N/A", "NULL", "null", "None", "-", "#N/A", "nan", "NaN")
"""What programs write for null; declared where the other cells of the column are of another type than text."""

_TYPES = ("integer", "decimal(38,19)", "float", "boolean", "date", "timestamp")
"""In the order of preference; a column keeps those that every one of its texts can be read as."""
_NUMBERS = ("integer", "decimal(38,19)", "float")
_CLASSES = {
    "text": "Text",
    "integer": "Integer",
    "float": "Float",
    "boolean": "Boolean",
    "date": "Date",
    "timestamp": "Timestamp",
    "decimal(18,2)": "Money",
}
_LONGEST_INTEGER = 15
"""Digits; a longer one is an identifier, and spreadsheets would round it."""
_FLOAT_DIGITS = 17
"""A float keeps no more."""
_CHOICES, _CHOICE_RECORDS = 12, 10
"""Most distinct values of a text field that takes no others, and the least records that each has on average."""
_SHOWN, _NAME, _WIDTH = 40, 60, 120
"""Longest value shown, longest name made of a header, longest line."""
_MEMORY = "512MB"
_FIRST_LOOK = 1_000
_PREFIX = 20_000
_KEY_COLUMNS = 16

_IDENTIFYING = re.compile(r"(?:.+_)?(?:id|uuid|guid|key|code)")
_MONEY = re.compile(
    r"(?:.*_)?(?:amount|price|total|subtotal|cost|fee|balance|revenue|salary|wage|tax|vat|budget|paid|credit|debit)s?"
    r"(?:_.*)?"
)
_MONEY_ALWAYS = re.compile(r"(?:.*_)?(?:amount|price|cost|fee|balance|revenue|salary|wage|budget)s?")
"""Money even if the sample has no decimals."""
_STAYS_TEXT = re.compile(
    r"(.*_)?(phone|telephone|mobile|fax|tel|telefon|handy|zip|zipcode|postcode|postal|plz|ssn|iban|bic|ean|gtin|isbn)(_.*)?"
)
_PERSONAL = re.compile(
    r"(.*_)?(e?mail|(sur|fore|first|last|full|user|vor|nach|pre)?n(ame|om)|(tele)?(phone|fon)|mobile|handy|fax|tel"
    r"|add?ress?e?|anschrift|street|strasse|birth(day|date)?|geburts(tag|datum)|dob|born|ssn|passport|iban|gender|sex"
    r"|notes?|comments?|remarks?)(_.*)?"
)
_NAME_OF_A_THING = re.compile(
    r"(.*_)?(company|product|file|host|domain|event|airport|type|field|class|country|city)(_.*)?_name"
)
_TAKEN = frozenset({*dir(model.RecordModel), "field"})
"""What a field may not be called, for it would hide a part of the model or the function that makes fields."""


def draft(path: Path, name: str | None = None) -> str:
    """The source of a module for `schemas/` whose record type takes every well-formed record of the file.

    name: of the record type; default: made of the file's name.
    Raises NotFound or UnreadableFile as `FileReader` does, and InvalidRequest for a name that is none or a
    file without a column.
    """
    with FileReader(path) as reader:
        return draft_from(path.name, reader.headers, reader.chunks(), name)


def draft_from(file: str, headers: Sequence[str], chunks: Iterable[TextChunk], name: str | None = None) -> str:
    """The same of what was read already: the file's name, its header row and its records."""
    if name is not None and (not name or _snake(name, ascii_only=True) != name):
        raise InvalidRequest(
            f"{name!r} is no name for a record type.",
            f"Use at most {_NAME} small letters, digits and _, and begin with a letter.",
        )
    type_name = name or _snake(file.split(".")[0], ascii_only=True) or "drafted"
    columns = [_Column(position, header) for position, header in enumerate(headers) if header not in REJECTS_COLUMNS]
    if not columns:
        raise InvalidRequest(f"{file!r} has no column of data.", "Its header must name one.")
    _name_fields(columns)
    with tempfile.TemporaryDirectory(prefix="records-draft-") as folder:
        texts, typed, once, spill = (Path(folder) / part for part in ("texts", "typed", "once", "spill"))
        malformed = _write_texts(columns, chunks, texts)
        _write_typed(columns, texts, typed)
        with duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(spill)}) as database:
            database.execute("SET enable_progress_bar = false")  # it would stand in the midst of the source
            for column in columns:
                column.choices = _find_choices(column, database, typed)
            key = _find_key(columns, database, typed, once)
    return _source(file, type_name, columns, key, malformed)


@dataclass
class _Column:
    """A column of the file, and what is known of it after each chunk."""

    position: int
    header: str
    name: str = ""
    types: list[str] = field(default_factory=lambda: list(_TYPES))
    markers: dict[str, int] = field(default_factory=dict)
    records: int = 0
    empty: int = 0
    filled: int = 0
    digits: int = 0
    """Most digits before the point, and in `scale` after it."""
    scale: int = 0
    scales: set[int] = field(default_factory=set)
    example: str = ""
    choices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if _STAYS_TEXT.fullmatch(_snake(self.header)):
            self.types = []

    def add(self, texts: pa.Array) -> None:
        """Learn from more texts of the column."""
        self.records += len(texts)
        filled = texts.filter(pc.not_equal(texts, ""))
        self.empty += len(texts) - len(filled)
        is_marker = pc.is_in(filled, pa.array(NULL_MARKERS))
        for found in pc.value_counts(filled.filter(is_marker)).to_pylist():
            self.markers[found["values"]] = self.markers.get(found["values"], 0) + found["counts"]
        values = filled.filter(pc.invert(is_marker))
        self.filled += len(values)
        if not self.example:
            shown = (text for text in values[:_FIRST_LOOK].to_pylist() if len(text) <= _SHOWN and text.isprintable())
            self.example = next(shown, "")
        if self.types and len(values):
            self._narrow(values[:_FIRST_LOOK])  # most types end here, on few texts
            self._narrow(values)

    def _narrow(self, texts: pa.Array) -> None:
        trimmed = pc.utf8_trim_whitespace(texts)
        if pc.any(pc.match_substring_regex(trimmed, r"^-?0[0-9]|^-?[0-9]{16}")).as_py():
            self.types = [kept for kept in self.types if kept not in _NUMBERS]
        whole = "integer" in self.types and _all_are("integer", texts)  # then they are numbers of every kind
        self.types = [kept for kept in self.types if (whole and kept in _NUMBERS) or _all_are(kept, texts)]
        if "decimal(38,19)" in self.types and "integer" not in self.types:
            parts = pc.extract_regex(trimmed, r"^-?(?P<whole>[0-9]*)\.?(?P<rest>[0-9]*)$")
            self.digits = max(self.digits, pc.max(pc.utf8_length(pc.struct_field(parts, "whole"))).as_py())
            self.scales.update(pc.unique(pc.utf8_length(pc.struct_field(parts, "rest"))).to_pylist())
            self.scale = max(self.scales)
        elif "decimal(38,19)" in self.types:
            self.digits = max(self.digits, pc.max(pc.utf8_length(trimmed)).as_py())
            self.scales.add(0)

    @property
    def type(self) -> str:
        """The type of the field, as `Field.type` tells it."""
        if not self.filled or not self.types:
            return "text"
        first = self.types[0]
        header = _snake(self.header)
        if first == "integer" and _MONEY_ALWAYS.fullmatch(header):
            return "decimal(18,2)"
        if first != "decimal(38,19)":
            return first
        fixed = len(self.scales) == 1 or (_MONEY.fullmatch(header) is not None and self.scale <= 4)
        if "float" in self.types and not fixed and self.digits + self.scale <= _FLOAT_DIGITS:
            return "float"
        scale = max(self.scale, 2)
        return f"decimal({max(18, self.digits + scale)},{scale})"

    @property
    def null_markers(self) -> tuple[str, ...]:
        """The texts that stand for null; none in a column of text, where "NA" may be Namibia."""
        return () if self.type == "text" else tuple(self.markers)

    @property
    def nulls(self) -> int:
        """How many records have no value."""
        return self.empty + sum(self.markers[marker] for marker in self.null_markers)

    @property
    def required(self) -> bool:
        """Whether every record has a value."""
        return self.records > 0 and not self.nulls

    @property
    def personal(self) -> bool:
        """Whether the header says that the values tell of a person."""
        header = _snake(self.header)
        return bool(_PERSONAL.fullmatch(header)) and not _NAME_OF_A_THING.fullmatch(header)

    @property
    def field(self) -> Field:
        """What the values are parsed as."""
        return Field(self.name, self.type, null_markers=self.null_markers)


def _all_are(type_: str, texts: pa.Array) -> bool:
    return not len(parse_column(texts, Field("", type_))[1])


@dataclass(frozen=True)
class _Key:
    """The columns that identify a record; `note` says how that was found out."""

    columns: tuple[_Column, ...]
    note: str


def _write_texts(columns: Sequence[_Column], chunks: Iterable[TextChunk], texts: Path) -> int:
    """All texts lie in Parquet, and the columns have learnt from them; returns how many records had no row."""
    malformed = 0
    names = [str(column.position) for column in columns]
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(texts, schema, compression="lz4") as writer:
        for chunk in chunks:
            malformed += len(chunk.malformed)
            if len(chunk.records):
                values = chunk.values.select(names).cast(schema)
                for column, name in zip(columns, names, strict=True):
                    column.add(values[name].combine_chunks())
                writer.write_table(values)
    return malformed


def _write_typed(columns: Sequence[_Column], texts: Path, typed: Path) -> None:
    """The values lie in Parquet as an import would store them, for that is how the store compares keys."""
    schema = pa.schema([(column.name, arrow_type(column.field)) for column in columns])
    with pq.ParquetFile(texts) as file, pq.ParquetWriter(typed, schema, compression="lz4") as writer:
        for batch in file.iter_batches():
            values = [
                parse_column(batch.column(str(column.position)), column.field)[0].cast(arrow_type(column.field))
                for column in columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(values, schema=schema))


def _find_choices(column: _Column, database: duckdb.DuckDBPyConnection, typed: Path) -> list[str]:
    """The values of a text column that has few; of no personal one, for they would stand in the source."""
    if column.type != "text" or column.personal or not column.filled:
        return []
    name = identifier(column.name)
    database.execute(
        f"SELECT DISTINCT {name} FROM {_from(typed)} WHERE {name} IS NOT NULL LIMIT {_CHOICES + 1}",
    )
    found = sorted(value for (value,) in database.fetchall())
    many = (column.records - column.empty) >= _CHOICE_RECORDS * len(found)
    short = all(len(value) <= _SHOWN for value in found)
    return found if 2 <= len(found) <= _CHOICES and many and short else []


def _find_key(columns: Sequence[_Column], database: duckdb.DuckDBPyConnection, typed: Path, once: Path) -> _Key:
    """The fewest columns that no two records share; records that are repeated whole count once, as in an import."""
    records = columns[0].records
    able = [column for column in columns if column.required and column.type in ("text", "integer", "date", "timestamp")]
    able = [column for column in able if not (column.type == "text" and column.markers)]
    able.sort(key=lambda column: (_key_rank(column, columns[0]), column.position))
    if able:
        found = _smallest(able, database, typed, records)
        if found:
            return _Key(found, f"Unique in all {records:,} records of the file.")
        database.execute(f"COPY (SELECT DISTINCT * FROM {_from(typed)}) TO {literal(once)} (FORMAT parquet)")
        distinct = _count(database, f"SELECT 1 FROM {_from(once)}")
        found = _smallest(able, database, once, distinct) if distinct < records else ()
        if found:
            repeated = records - distinct
            return _Key(
                found, f"Unique in all {records:,} records of the file but {repeated:,} that are repeated whole."
            )
    fallback = tuple(column for column in columns if column in able) or (columns[0],)
    return _Key(fallback, f"No key was found in the {records:,} records of the file: say what identifies a record.")


def _key_rank(column: _Column, first: _Column) -> int:
    if column.personal:
        return 4
    if column.name in ("id", "uuid", "guid", "key", "code"):
        return 0
    return 1 if _IDENTIFYING.fullmatch(column.name) else 2 if column is first else 3


def _smallest(
    able: Sequence[_Column], database: duckdb.DuckDBPyConnection, file: Path, records: int
) -> tuple[_Column, ...]:
    """One, two, three or at last more of the columns whose values no two records share, in the file's order."""
    database.execute(f"CREATE OR REPLACE TEMP TABLE prefix AS SELECT * FROM {_from(file)} LIMIT {_PREFIX}")
    prefix = min(records, _PREFIX)

    def unique(chosen: Sequence[_Column]) -> bool:
        """Whether it is unique: first asked of some records, where most choices fail at once."""
        names = ", ".join(identifier(column.name) for column in chosen)
        return (
            _count(database, f"SELECT DISTINCT {names} FROM prefix") == prefix
            and _count(database, f"SELECT DISTINCT {names} FROM {_from(file)}") == records
        )

    for column in able:
        if unique([column]):
            return (column,)
    varied = [
        column
        for column in sorted(able, key=lambda column: column.type == "integer")  # text and time tell records apart
        if len(column.choices) > 1
        or _count(database, f"SELECT DISTINCT {identifier(column.name)} FROM {_from(file)} LIMIT 2") > 1
    ][:_KEY_COLUMNS]
    for size in (2, 3):
        for chosen in combinations(varied, size):
            if unique(chosen):
                return _in_order(chosen)
    if not varied or not unique(varied):
        return ()
    for column in reversed(varied):  # more than three: leave out what is not needed, the least likely first
        fewer = [other for other in varied if other is not column]
        varied = fewer if unique(fewer) else varied
    return _in_order(varied)


def _in_order(columns: Iterable[_Column]) -> tuple[_Column, ...]:
    return tuple(sorted(columns, key=lambda column: column.position))


def _from(file: Path) -> str:
    return f"read_parquet({literal(file)})"


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    """How many rows the query has; DuckDB uses the disk where the distinct ones do not fit its memory."""
    row = database.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return int(row[0]) if row else 0


def _name_fields(columns: Sequence[_Column]) -> None:
    """Each column has a field name of its own; a header that is one already keeps it, wherever it stands."""
    taken: set[str] = set()
    for column in sorted(columns, key=lambda column: _snake(column.header) != column.header):
        name = _snake(column.header) or f"column_{column.position + 1}"
        candidates: Iterator[str] = (name if i == 1 else f"{name.rstrip('_')}_{i}" for i in range(1, len(columns) + 2))
        column.name = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(column.name)


def _snake(text: str, *, ascii_only: bool = False) -> str:
    """A name made of a text: "Ärztliche ID-Nr." is arztliche_id_nr; "" where nothing of it can be in a name."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFKC", plain)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    plain = unicodedata.normalize("NFKC", plain.casefold())
    kept = "".join(c if f"a{c}".isidentifier() and (c.isascii() or not ascii_only) else "_" for c in plain)
    name = re.sub(r"_+", "_", kept).strip("_")[:_NAME].strip("_")
    if name and not name.isidentifier():
        name = f"n_{name}"
    return f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name


def _source(file: str, type_name: str, columns: Sequence[_Column], key: _Key, malformed: int) -> str:
    """The module, as ruff would format it."""
    file = _plain(file)
    class_name = "".join(word.capitalize() for word in type_name.split("_"))
    if hasattr(model, class_name) or class_name == "Annotated":
        class_name += "Records"
    types = {column.type for column in columns}
    title = _plain(type_name.strip("_").replace("_", " ").capitalize())
    lines = [f'"""{title}: drafted from {file}, to be read and corrected."""', ""]
    others = sorted(types - set(_CLASSES))
    if others:
        lines += ["from typing import Annotated", "", "import pandas as pd", "import pyarrow as pa"]
        lines += ["from pandera.typing import Series", ""]
    imported = sorted({"RecordModel", *(_CLASSES[name] for name in types & set(_CLASSES))})
    lines += [f"from schemas.model import {', '.join(imported)}, field", ""]
    lines += ["# The line to add to RECORD_TYPES in schemas/__init__.py:"]
    lines += [f'#     "{type_name}": "schemas.{type_name}:{class_name}",', ""]
    for name in others:
        arrow = arrow_type(Field("", name))
        size = f"{arrow.precision}, {arrow.scale}"
        lines.append(f"{_class(name)} = Series[Annotated[pd.ArrowDtype, pa.decimal128({size})]]")
    lines += [""] if others else []
    lines += ["", f"class {class_name}(RecordModel):", f'    """{title}, as {file} has them."""', ""]
    for column in columns:
        lines += _field_lines(column, forced=column in key.columns)
    lines += ["", "    class Config:", '        """The type\'s name and key."""', ""]
    lines += [f"        name = {_quoted(type_name)}", f"        # {key.note}"]
    unfilled = [column for column in key.columns if column.nulls]
    lines += [f"        # {column.name} is empty in {column.nulls:,} of them." for column in unfilled]
    if malformed:
        lines.append(
            f"        # {malformed:,} more have another number of fields than the header; they will be rejected."
        )
    names = ", ".join(_quoted(column.name) for column in key.columns) + ("," if len(key.columns) == 1 else "")
    whole = f'        metadata = {{"key": ({names})}}'
    if len(whole) <= _WIDTH:
        lines.append(whole)
    else:
        listed = [f"                {_quoted(column.name)}," for column in key.columns]
        lines += ["        metadata = {", '            "key": (', *listed, "            ),", "        }"]
    return "\n".join(lines) + "\n"


def _class(type_: str) -> str:
    """The name of a field's type in the source."""
    return _CLASSES.get(type_) or "Decimal{}_{}".format(*re.findall(r"\d+", type_))


def _field_lines(column: _Column, *, forced: bool) -> Iterator[str]:
    """The lines of a field: one if it is short enough, else one an argument."""
    readable = column.name.strip("_").replace("_", " ")
    arguments = [_quoted(f"{readable[:1].upper()}{readable[1:]}.")]
    if column.example and not column.personal:  # a person's data does not belong into source code
        arguments.append(f"example={_quoted(column.example)}")
    if column.required or forced:
        arguments.append("required=True")
    if column.personal:
        arguments.append("personal=True")
    if column.header != column.name:
        arguments.append(f"aliases=({_quoted(column.header)},)")
    if column.null_markers:
        listed = ", ".join(map(_quoted, column.null_markers))
        arguments.append(f"null_markers=({listed}{',' if len(column.null_markers) == 1 else ''})")
    if column.choices:
        arguments.append(f"isin=[{', '.join(map(_quoted, column.choices))}]")
    if column.type == "text":
        for marker, cells in column.markers.items():
            yield f"    # {cells:,} cells hold {_quoted(marker)}; null_markers=({_quoted(marker)},) makes them null."
    whole = f"    {column.name}: {_class(column.type)} = field({', '.join(arguments)})"
    if len(whole) <= _WIDTH:
        yield whole
        return
    yield f"    {column.name}: {_class(column.type)} = field("
    for argument in arguments:
        if len(argument) + 9 <= _WIDTH:
            yield f"        {argument},"
        elif argument.startswith("isin"):
            yield from (
                "        isin=[",
                *(f"            {_quoted(choice)}," for choice in column.choices),
                "        ],",
            )
        else:
            yield from ("        aliases=(", f"            {_quoted(column.header)},", "        ),")
    yield "    )"


def _quoted(text: str) -> str:
    """A text as a literal of Python, in double quotes unless the other ones need fewer backslashes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = (f"\\{c}" if c in (quote, "\\") else c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f"{quote}{''.join(escaped)}{quote}"


def _plain(text: str) -> str:
    """A text for a docstring: what could end it or be read as an escape is left out."""
    return "".join(c for c in text if c.isprintable() and c not in '"\\')[:_NAME].strip() or "a file"
