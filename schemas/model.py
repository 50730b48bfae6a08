"""The parts from which a record type is written: the types of fields, `field`, and `RecordModel`."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
from pandera.typing import Series

from schemas.record_type import Field, RecordType
from schemas.rules import rule_in_words

Text = Series[Annotated[pd.ArrowDtype, pa.string()]]
Integer = Series[Annotated[pd.ArrowDtype, pa.int64()]]
Float = Series[Annotated[pd.ArrowDtype, pa.float64()]]
Boolean = Series[Annotated[pd.ArrowDtype, pa.bool_()]]
Date = Series[Annotated[pd.ArrowDtype, pa.date32()]]
Timestamp = Series[Annotated[pd.ArrowDtype, pa.timestamp("us", "UTC")]]
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
    **checks: Any,
) -> Any:
    """Returns a field of a record model.

    required: the field is never null, and a file that creates records must have it. Key fields are required.
    personal: the values are masked wherever people outside the account could read them.
    aliases: other headers of this field.
    null_markers: texts that mean null, besides the empty text. Default: those of the type.
    checks: checks of pandera by name: `ge=0`, `isin=[…]`, `str_matches="…"`, `str_length={"max_value": 80}`.
        A check can bring its own words: `str_matches={"pattern": "…", "error": "must be …"}`.
    """
    metadata = {
        "personal": personal,
        "aliases": tuple(aliases),
        "null_markers": None if null_markers is None else tuple(null_markers),
        "example": example,
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
        with `field`, or its name begins with `_`. Raises it for a name or alias of two fields, and for a check across
        fields. Raises InvalidRequest if a preset names an unknown field.
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
                )
            )
        presets = {preset: tuple(columns) for preset, columns in metadata.get("presets", {}).items()}
        key = tuple(metadata.get("key", ()))
        record_type = RecordType(schema.name, (cls.__doc__ or "").strip(), tuple(fields), key, presets)
        required = {field.name for field in fields if field.required}
        if not key or not required.issuperset(key):
            raise TypeError(f"{cls.__name__}.Config.metadata['key'] must name one or more required fields; it is {key}")
        meant = {field.name: field.name for field in fields}
        for spelling, name in [(alias, field.name) for field in fields for alias in field.aliases]:
            if meant.setdefault(spelling, name) != name:
                raise TypeError(
                    f"{cls.__name__}.{name} has the alias {spelling!r}, which is {meant[spelling]}'s name or alias; "
                    "a header must stand for one field"
                )
        for columns in presets.values():
            record_type.columns(columns)
        return record_type


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
