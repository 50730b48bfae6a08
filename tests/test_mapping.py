"""Headers to fields: as given, by name, by alias, else ignored."""

import pytest

from schemas.errors import InvalidRequest
from schemas.mapping import Column, Mapping, map_headers
from schemas.record_type import Field, RecordType

TYPE = RecordType(
    name="things",
    description="Things.",
    fields=(Field("id", "text", required=True, aliases=("number", "no")), Field("size", "integer", aliases=("cm",))),
    key=("id",),
    presets={},
)


def test_a_header_is_mapped_by_name_or_alias_and_anything_else_is_ignored() -> None:
    mapping = map_headers(["cm", "colour", "id"], TYPE)
    assert mapping == Mapping(
        (Column(0, "cm", "size", "alias"), Column(1, "colour", None, "ignored"), Column(2, "id", "id", "name")), ()
    )
    assert mapping.fields == {"size": 0, "id": 2}


def test_a_given_header_wins_over_name_and_alias() -> None:
    mapping = map_headers(["id", "size", "no", "ref"], TYPE, {"ref": "id", "no": "size"})
    assert mapping.columns == (
        Column(0, "id", None, "ignored"),
        Column(1, "size", None, "ignored"),
        Column(2, "no", "size", "given"),
        Column(3, "ref", "id", "given"),
    )


def test_a_column_given_no_field_is_left_out_and_its_field_is_missing() -> None:
    mapping = map_headers(["id", "size"], TYPE, {"size": ""})
    assert mapping == Mapping((Column(0, "id", "id", "name"), Column(1, "size", None, "ignored")), ("size",))


@pytest.mark.parametrize(
    ("headers", "given", "message", "hint"),
    [
        (["id"], {"ID": "id"}, "The file has no column 'ID'.", "Its columns: 'id'."),
        (["id"], {"id": "ident"}, "things has no field 'ident'.", "Its fields: id, size."),
        (
            ["id", "no"],
            {},
            "The columns 'id' and 'no' both stand for id.",
            "Say which one is meant: --map 'no'= leaves that one out.",
        ),
        (
            ["a", "b"],
            {"a": "id", "b": "id"},
            "The columns 'a' and 'b' both stand for id.",
            "Say which one is meant: --map 'b'= leaves that one out.",
        ),
        (
            ["ID", "size"],
            {},
            "No column stands for id, which identifies things; the file has 'ID', 'size'.",
            'Name the column: --map "HEADER=id".',
        ),
        (
            ["id", "size"],
            {"id": ""},
            "No column stands for id, which identifies things; the file has 'id', 'size'.",
            'Name the column: --map "HEADER=id".',
        ),
    ],
    ids=["unknown header", "unknown field", "name and alias", "given twice", "no key", "key left out"],
)
def test_a_mapping_that_cannot_be_meant_is_refused(
    headers: list[str], given: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        map_headers(headers, TYPE, given)
    assert (refusal.value.message, refusal.value.hint) == (message, hint)
