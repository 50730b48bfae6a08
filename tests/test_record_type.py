"""Record types as plain data, and the models made from them."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from pandera.typing import Series

from schemas import RECORD_TYPES, load_model
from schemas.errors import InvalidRequest
from schemas.model import Boolean, Date, Float, Integer, Money, RecordModel, Text, Timestamp, field
from schemas.record_type import Field, RecordType

TYPE = RecordType(
    name="things",
    description="Things.",
    fields=(
        Field("id", "text", required=True, aliases=("no",)),
        Field("size", "integer", rules=("must be 0 or more",)),
    ),
    key=("id",),
    presets={"short": ("id",)},
)


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_a_record_type_of_this_installation_is_the_same_after_json(name: str) -> None:
    record_type = load_model(name).record_type()
    copy = RecordType.from_json(record_type.to_json())
    assert copy == record_type
    assert copy.hash == record_type.hash


@pytest.mark.parametrize(
    "other",
    [
        replace(TYPE, name="items"),
        replace(TYPE, description="Items."),
        replace(TYPE, key=("size",)),
        replace(TYPE, presets={"brief": ("id",)}),
        replace(TYPE, presets={"short": ("size",)}),
        replace(TYPE, fields=TYPE.fields[:1]),
        replace(TYPE, fields=TYPE.fields[::-1]),
        *(
            replace(TYPE, fields=(TYPE.fields[0], replace(TYPE.fields[1], **change)))
            for change in (
                {"name": "length"},
                {"type": "float"},
                {"required": True},
                {"personal": True},
                {"aliases": ("cm",)},
                {"null_markers": ("NA",)},
                {"rules": ("must be 1 or more",)},
                {"description": "In cm."},
                {"example": "3"},
            )
        ),
    ],
)
def test_the_hash_changes_with_anything_in_the_description(other: RecordType) -> None:
    assert other.hash != TYPE.hash


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "import schemas; print([t.hash for t in schemas.load_record_types()])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[load_model(name).record_type().hash for name in RECORD_TYPES]}\n"}


def test_columns_are_those_named_or_of_the_preset_or_all() -> None:
    assert TYPE.columns() == ("id", "size")
    assert TYPE.columns(["size", "id"]) == ("size", "id")
    assert TYPE.columns(preset="short") == ("id",)


@pytest.mark.parametrize(
    ("names", "preset", "message", "hint"),
    [
        (["id", "colour"], None, "things has no column 'colour'.", "Its columns: id, size."),
        (["id", "id"], None, "Column id was given twice.", "Its columns: id, size."),
        ([], None, "No column was given.", "Its columns: id, size."),
        (None, "long", "things has no preset 'long'.", "Its presets: short."),
        (["id"], "short", "Both columns and a preset were given.", "Give one of them."),
    ],
)
def test_invalid_columns_are_refused_with_the_valid_names(
    names: list[str] | None, preset: str | None, message: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        TYPE.columns(names, preset)
    assert (refusal.value.message, refusal.value.hint) == (message, hint)


def test_a_field_is_found_by_name_alone() -> None:
    assert TYPE.field("size") is TYPE.fields[1]
    with pytest.raises(KeyError, match="colour"):
        TYPE.field("colour")


def test_a_model_becomes_plain_data() -> None:
    class Things(RecordModel):
        """Things."""

        number: Integer = field("Number.", example="7", required=True, aliases=["no"], ge=1)
        name: Text = field("Name.", personal=True, null_markers=())
        size: Float = field("Size.")
        sold: Boolean = field("Sold.")
        made: Date = field("Made.")
        seen: Timestamp = field("Seen.")
        price: Money = field("Price.")

        class Config:
            name = "things"
            metadata = {"key": ("number",), "null_markers": ("NA",), "presets": {"short": ["number", "name"]}}

    markers = ("NA",)
    assert Things.record_type() == RecordType(
        name="things",
        description="Things.",
        fields=(
            Field("number", "integer", True, False, ("no",), markers, ("must be 1 or more",), "Number.", "7"),
            Field("name", "text", personal=True, description="Name."),
            Field("size", "float", null_markers=markers, description="Size."),
            Field("sold", "boolean", null_markers=markers, description="Sold."),
            Field("made", "date", null_markers=markers, description="Made."),
            Field("seen", "timestamp", null_markers=markers, description="Seen."),
            Field("price", "decimal(18,2)", null_markers=markers, description="Price."),
        ),
        key=("number",),
        presets={"short": ("number", "name")},
    )


class _Keyed(RecordModel):
    """A valid model, for tests to break."""

    id: Text = field("Id.", required=True)
    size: Integer = field("Size.")

    class Config:
        name = "keyed"
        metadata = {"key": ("id",)}


def _no_key() -> type[RecordModel]:
    class Invalid(_Keyed):
        class Config:
            metadata: dict[str, object] = {}

    return Invalid


def _key_of_a_field_that_may_be_null() -> type[RecordModel]:
    class Invalid(_Keyed):
        class Config:
            metadata = {"key": ("size",)}

    return Invalid


def _key_of_no_field() -> type[RecordModel]:
    class Invalid(_Keyed):
        class Config:
            metadata = {"key": ("colour",)}

    return Invalid


def _unknown_metadata() -> type[RecordModel]:
    class Invalid(_Keyed):
        class Config:
            metadata = {"key": ("id",), "keys": ("id",)}

    return Invalid


def _panderas_own_field() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Text = pandera.Field(nullable=True)

    return Invalid


def _underscore() -> type[RecordModel]:
    class Invalid(_Keyed):
        _colour: Text = field("Colour.")

    return Invalid


def _underscore_by_alias() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Text = field("Colour.", alias="_colour")

    return Invalid


def _alias_of_two() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Text = field("Colour.", aliases=("tone",))
        sound: Text = field("Sound.", aliases=("noise", "tone"))

    return Invalid


def _alias_that_is_a_name() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Text = field("Colour.", aliases=("sound",))
        sound: Text = field("Sound.")

    return Invalid


def _across_fields() -> type[RecordModel]:
    class Invalid(_Keyed):
        @pandera.dataframe_check
        def larger(cls: Any, records: Any) -> Any:  # type: ignore[misc]  # noqa: N805
            return records["size"] > 0

    return Invalid


def _narrow_integer() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Series[Annotated[pd.ArrowDtype, pa.int32()]] = field("Colour.")

    return Invalid


def _numpy_integer() -> type[RecordModel]:
    class Invalid(_Keyed):
        colour: Series[int] = field("Colour.")

    return Invalid


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (_no_key, "is empty: name the required fields that identify a record"),
        (_key_of_a_field_that_may_be_null, r"must name one or more required fields; it is \('size',\)"),
        (_key_of_no_field, r"must name one or more required fields; it is \('colour',\)"),
        (_unknown_metadata, r"unknown entries \['keys'\]"),
        (_panderas_own_field, r"Invalid.colour is not made with the function schemas.model.field"),
        (_underscore, r"Invalid._colour begins with '_'"),
        (_underscore_by_alias, r"Invalid._colour begins with '_'"),
        (_alias_of_two, r"Invalid.sound has the alias 'tone', which is colour's name or alias; .* one field"),
        (_alias_that_is_a_name, r"Invalid.colour has the alias 'sound', which is sound's name or alias"),
        (_across_fields, r"Invalid has a check across fields"),
        (_narrow_integer, r"a field cannot have the type int32; valid: text, integer"),
        (_numpy_integer, r"the type of a field must be one of those in schemas.model"),
    ],
)
def test_a_misused_model_is_a_type_error_that_says_what_is_wrong(
    invalid: Callable[[], type[RecordModel]], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        invalid().record_type()


def test_a_preset_of_an_unknown_field_is_refused() -> None:
    class Invalid(_Keyed):
        class Config:
            metadata = {"key": ("id",), "presets": {"short": ("colour",)}}

    with pytest.raises(InvalidRequest, match="has no column 'colour'"):
        Invalid.record_type()


def test_plain_descriptions_are_read_without_pandas_or_pandera() -> None:
    code = (
        "import sys, schemas.record_type, schemas.errors, schemas.batches, schemas.exports; "
        "print(sorted({'pandas', 'pandera', 'pyarrow', 'dagster', 'duckdb'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
