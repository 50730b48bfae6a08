"""What a record type is written with: the types of fields, `field`, and `RecordModel`."""

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
"""A decimal of 18 digits, 2 of them after the point. Another precision is written the same way."""


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
    """A field of a record model.

    required: never null; a file that creates records must have it. Key fields are required.
    personal: its values are masked wherever people other than the account's own could read them.
    aliases: other headers that mean this field.
    null_markers: texts that stand for null, besides the empty one; default: the type's own.
    checks: pandera's, by name: `ge=0`, `isin=[…]`, `str_matches="…"`, `str_length={"max_value": 80}`,
        or with words of one's own: `str_matches={"pattern": "…", "error": "must be …"}`.
    """
    metadata = {
        "personal": personal,
        "aliases": tuple(aliases),
        "null_markers": None if null_markers is None else tuple(null_markers),
        "example": example,
    }
    return pandera.Field(nullable=not required, description=description, metadata=metadata, **checks)


class RecordModel(pandera.DataFrameModel):
    """The base of every record type.

    A subclass has a docstring, fields made with `field`, and a `Config` with the type's `name`
    and, in its `metadata`, the `key` (the fields that identify a record, in the order to sort by)
    and optionally `null_markers` (texts that mean null in every field) and `presets` (name to
    columns). A check concerns one field: a check across fields could not run on a file that maps
    only some of them.
    """

    @classmethod
    def record_type(cls) -> RecordType:
        """The model as plain data.

        Raises TypeError when the model has no key, its key is not of required fields, a field is
        not made with `field` or its name begins with `_`, two fields have one alias or one has the
        other's name for an alias, or there is a check across fields; InvalidRequest when a preset
        names an unknown field.
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
        for name in [*annotated, *schema.columns]:  # pandera leaves out an annotation with "_" without a word
            if name.startswith("_"):
                raise TypeError(f"{cls.__name__}.{name} begins with '_', which is kept for the store's own columns")
        fields = []
        for name, column in schema.columns.items():
            own = column.metadata
            if not own or "personal" not in own:
                raise TypeError(f"{cls.__name__}.{name} is not made with schemas.model.field")
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
        raise TypeError("a field's type is one of those in schemas.model, as Text, Integer or Money")
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
        raise TypeError(f"{dtype} is no field type; valid: {', '.join(names.values())}, decimal(p,s)")
    return names[dtype]
