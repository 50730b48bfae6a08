"""The parts from which a record type is written: the types of fields, `field`, and `RecordModel`."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
from pandera.typing import Series

from schemas.record_type import Field, Percent, RecordType
from schemas.rules import rule_in_words

Text = Series[Annotated[pd.ArrowDtype, pa.string()]]
Integer = Series[Annotated[pd.ArrowDtype, pa.int64()]]
Float = Series[Annotated[pd.ArrowDtype, pa.float64()]]
Boolean = Series[Annotated[pd.ArrowDtype, pa.bool_()]]
Date = Series[Annotated[pd.ArrowDtype, pa.date32()]]
Timestamp = Series[Annotated[pd.ArrowDtype, pa.timestamp("us", "UTC")]]
RESERVED = ("file_row_number", "filename", "rowid", "snapshot_id")
"""Names that no field can have: DuckDB and DuckLake give tables columns of these names."""
Money = Series[Annotated[pd.ArrowDtype, pa.decimal128(18, 2)]]
"""A decimal of 18 digits, 2 of them after the point. Define another precision in the same way."""


def field(
    description: str,
    *,
    example: str = "",
    required: bool = False,
    personal: bool = False,
    aliases: Sequence[str] = (),
    null_markers: Sequence[str] | None = None,
    strip: bool | None = None,
    casefold: bool | None = None,
    value_aliases: Mapping[str, Sequence[str]] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    country: bool = False,
    currency: bool = False,
    percent: Percent | None = None,
    **checks: Any,
) -> Any:
    """Returns a field of a record model.

    required: the field is never null, and a file that creates records must have it. Key fields are required.
    personal: the values are masked wherever people outside the account could read them.
    aliases: other headers of this field.
    null_markers: texts that mean null, besides the empty text. Default: those of the type.
    strip: whether white space of any kind at the edges of a text is removed. Default: only spaces, tabs and line
        breaks, and only if a text that breaks a rule is a value then.
    casefold: whether a text in other case is read, if that gives one valid value. Default: yes for `isin` and country
        codes.
    value_aliases: other texts for a value, which are read as it: `{"customer": ["cust"]}`.
    labels: names of a value in any language. They are proposed for a text that is no value; a boolean is read by them.
    country: whether the values are codes of ISO 3166-1 alpha-2. Then names of countries are proposed as codes.
    currency: whether a number may have the sign or the code of a currency, as `€ 5` and `5 EUR`.
    percent: whether a number may have a percent sign, and what `15 %` is: "fraction" for 0.15, "points" for 15.
    checks: checks of pandera by name: `ge=0`, `isin=[…]`, `str_matches="…"`, `str_length={"max_value": 80}`.
        A check can bring its own words: `str_matches={"pattern": "…", "error": "must be …"}`.
    """
    metadata = {
        "personal": personal,
        "aliases": tuple(aliases),
        "null_markers": None if null_markers is None else tuple(null_markers),
        "example": example,
        "strip": strip,
        "casefold": casefold,
        "value_aliases": _pairs(value_aliases),
        "labels": _pairs(labels),
        "country": country,
        "currency": currency,
        "percent": percent,
    }
    return pandera.Field(nullable=not required, description=description, metadata=metadata, **checks)


class RecordModel(pandera.DataFrameModel):
    """The base class of every record type.

    A subclass has a docstring, fields made with `field`, and a `Config` with the type's `name`. The `metadata` of
    `Config` has the `key`: the fields that identify a record, in sorting order. It may have `null_markers` (texts that
    mean null in every field) and `presets` (name to columns). A check concerns one field, because a file may have only
    some of the fields.
    """

    @classmethod
    def record_type(cls) -> RecordType:
        """Returns the model as plain data.

        Raises TypeError if the key is missing or has a field that is not required. Raises it too if a field is not made
        with `field`, or its name begins with `_` or is reserved. Raises it for a name or alias of two fields, and for a
        check across fields. Raises InvalidRequest if a preset names an unknown field.
        """
        schema = cls.to_schema()
        metadata: Mapping[str, Any] = cls.__config__.metadata or {} if cls.__config__ else {}
        unknown = set(metadata) - {"key", "null_markers", "presets"}
        if unknown:
            raise TypeError(f"{cls.__name__}.Config.metadata has unknown entries {sorted(unknown)}")
        if schema.checks:
            raise TypeError(f"{cls.__name__} has a check across fields; a check concerns one field")
        own_models = [base for base in cls.__mro__ if base not in RecordModel.__mro__]
        annotated = [name for base in own_models for name in inspect.get_annotations(base)]
        for name in [*annotated, *schema.columns]:  # pandera ignores an annotation with "_" silently
            if name.startswith("_"):
                raise TypeError(f"{cls.__name__}.{name} begins with '_', which is reserved for columns of the store")
            if name in RESERVED:
                raise TypeError(f"{cls.__name__}.{name} has the name of a column that DuckDB adds to each table")
        key = tuple(metadata.get("key", ()))
        fields = []
        for name, column in schema.columns.items():
            own = column.metadata
            if not own or "personal" not in own:
                raise TypeError(f"{cls.__name__}.{name} is not made with the function {__name__}.field")
            markers = own["null_markers"]
            fields.append(
                Field(
                    name=name,
                    type=_type_name(getattr(column.dtype.type, "pyarrow_dtype", None)),
                    required=not column.nullable,
                    personal=own["personal"],
                    aliases=own["aliases"],
                    null_markers=tuple(metadata.get("null_markers", ())) if markers is None else markers,
                    rules=tuple(rule_in_words(check) for check in column.checks),
                    description=column.description or "",
                    example=own["example"],
                    **_spelling(column, own, is_key=name in key),
                )
            )
        presets = {preset: tuple(columns) for preset, columns in metadata.get("presets", {}).items()}
        record_type = RecordType(schema.name, (cls.__doc__ or "").strip(), tuple(fields), key, presets)
        required = {field.name for field in fields if field.required}
        if not key:
            raise TypeError(
                f"{cls.__name__}.Config.metadata['key'] is empty: name the required fields that identify a record"
            )
        if not required.issuperset(key):
            raise TypeError(f"{cls.__name__}.Config.metadata['key'] must name one or more required fields; it is {key}")
        meant = {field.name: field.name for field in fields}
        for spelling, name in [(alias, field.name) for field in fields for alias in field.aliases]:
            if meant.setdefault(spelling, name) != name:
                raise TypeError(
                    f"{cls.__name__}.{name} has the alias {spelling!r}, which is {meant[spelling]}'s name or alias; "
                    "a header must stand for one field"
                )
        for field in fields:
            for wrong in _wrong_spelling(field, is_key=field.name in key):
                raise TypeError(f"{cls.__name__}.{field.name} {wrong}")
        for columns in presets.values():
            record_type.columns(columns)
        return record_type


def _pairs(values: Mapping[str, Sequence[str]] | None) -> tuple[tuple[str, str], ...]:
    """Returns each text with its value."""
    return tuple((text, value) for value, texts in (values or {}).items() for text in texts)


def _spelling(column: Any, own: Mapping[str, Any], *, is_key: bool) -> dict[str, Any]:
    """Returns how values of a field may be written, as attributes of `Field`."""
    allowed = [check.statistics["allowed_values"] for check in column.checks if check.name == "isin"]
    choices = tuple(value for values in allowed for value in values if isinstance(value, str))
    names = ("strip", "value_aliases", "labels", "country", "currency", "percent")
    by_default = not is_key and (bool(choices) or own["country"])
    casefold = by_default if own["casefold"] is None else own["casefold"]
    return {**{name: own[name] for name in names}, "choices": choices, "casefold": casefold}


def _wrong_spelling(field: Field, *, is_key: bool) -> Iterator[str]:
    """Yields what contradicts in how values of a field may be written."""
    said = [name for name in ("strip", "casefold", "value_aliases", "labels", "country") if getattr(field, name)]
    signs = [name for name in ("currency", "percent") if getattr(field, name)]
    if is_key and said:
        yield f"is a key and has {said[0]}; keys are never changed"
    if signs and not field.is_number:
        yield f"has {signs[0]}, which is for numbers"
    if field.percent not in (None, "fraction", "points"):
        yield f"has percent={field.percent!r}; valid: fraction, points"
    wrong = [it for it in said if it not in (("labels", "value_aliases") if field.type == "boolean" else ())]
    if wrong and field.type != "text":
        yield f"has {wrong[0]}, which is for fields of text"
    known = ("true", "false") if field.type == "boolean" else field.choices
    meant: dict[str, str] = {}
    for text, value in (*field.value_aliases, *field.labels):
        if known and value not in known:
            yield f"names the value {value!r}, which it does not allow; valid: {', '.join(known)}"
        if (text in known and text != value) or meant.setdefault(text.casefold(), value) != value:
            yield f"has {text!r} for two values"


def _type_name(dtype: pa.DataType | None) -> str:
    if dtype is None:
        raise TypeError(f"the type of a field must be one of those in {__name__}, for example Text, Integer or Money")
    if pa.types.is_decimal128(dtype):
        return f"decimal({dtype.precision},{dtype.scale})"
    names = {
        pa.string(): "text",
        pa.int64(): "integer",
        pa.float64(): "float",
        pa.bool_(): "boolean",
        pa.date32(): "date",
        pa.timestamp("us", "UTC"): "timestamp",
    }
    if dtype not in names:
        raise TypeError(f"a field cannot have the type {dtype}; valid: {', '.join(names.values())}, decimal(p,s)")
    return names[dtype]
