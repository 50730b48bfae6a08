"""Headers are mapped to fields: as given, as saved, by name, by alias, normalised, by likeness; else ignored."""

import shlex
import time
from dataclasses import replace

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import load_model
from schemas.columns import Column
from schemas.errors import InvalidRequest
from schemas.mapping import REJECTS_COLUMNS, Mapping, distinct_names, header_row, map_headers, naming
from schemas.record_type import Field, RecordType

TYPE = RecordType(
    name="things",
    description="Things.",
    fields=(Field("id", "text", required=True, aliases=("number", "no")), Field("size", "integer", aliases=("cm",))),
    key=("id",),
    presets={},
)
CONTACTS = load_model("contacts").record_type()


def named(*fields: str, key: str = "id") -> RecordType:
    """Return a type of text fields; aliases may follow each name, as in "size|cm"."""
    parts = [field.split("|") for field in fields]
    return RecordType(
        "things", "", tuple(Field(name, "text", aliases=tuple(more)) for name, *more in parts), (key,), {}
    )


def fields_of(mapping: Mapping) -> dict[str, str | None]:
    return {column.header: column.field for column in mapping.columns}


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


def test_each_stage_claims_its_fields_before_the_next_one_looks() -> None:
    assert map_headers(["no", "ID", "id", "Size"], TYPE).columns == (
        Column(0, "no", None, "ignored"),
        Column(1, "ID", None, "ignored"),
        Column(2, "id", "id", "name"),
        Column(3, "Size", "size", "normalised"),
    )


def test_what_was_remembered_comes_after_what_is_given_and_before_names() -> None:
    mapping = map_headers(["id", "size", "ref", "len"], TYPE, {"len": "size"}, {"ref": "id", "size": ""})
    assert mapping.columns == (
        Column(0, "id", None, "ignored"),
        Column(1, "size", None, "remembered"),
        Column(2, "ref", "id", "remembered"),
        Column(3, "len", "size", "given"),
    )


@pytest.mark.parametrize(
    "remembered",
    [{"gone": "id"}, {"no": "no such field"}, {"no": "size", "ref": "size"}, {"no": "size"}],
    ids=["no such header", "no such field", "two of one field", "a field that is given"],
)
def test_what_is_remembered_and_no_longer_fits_is_skipped(remembered: dict[str, str]) -> None:
    mapping = map_headers(["id", "cm", "no", "ref"], TYPE, {"cm": "size", "ref": ""}, remembered)
    assert fields_of(mapping) == {"id": "id", "cm": "size", "no": None, "ref": None}


def test_what_was_said_now_or_before_and_holds_is_what_to_remember() -> None:
    given = {"len": "size", "x": ""}
    mapping = map_headers(["id", "cm", "ref", "len", "x"], TYPE, given, {"ref": "id", "cm": "size", "gone": "id"})
    assert mapping.to_remember(given) == {"ref": "id", "len": "size", "x": ""}
    assert map_headers(["id", "cm", "ref", "len", "x"], TYPE, None, mapping.to_remember(given)).fields == mapping.fields


def test_a_header_row_and_that_of_its_rejects_file_are_one() -> None:
    assert header_row(["_batch", "_record", "_line", "a", "b", "_problems"]) == header_row(["a", "b"])


def test_a_header_row_is_known_by_its_headers_in_their_order() -> None:
    assert header_row(("a", "b")) == header_row(["a", "b"])
    rows = [["a", "b"], ["b", "a"], ["a,b"], ["a", "b", ""], ["A", "b"]]
    assert len({header_row(row) for row in rows}) == len(rows)


def test_two_remembered_headers_of_one_field_are_both_skipped() -> None:
    mapping = map_headers(["a", "b", "id"], TYPE, None, {"a": "size", "b": "size"})
    assert mapping.columns[:2] == (Column(0, "a", None, "ignored"), Column(1, "b", None, "ignored"))


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("External ID", "external_id"),
        ("externalId", "external_id"),
        ("_id", "external_id"),
        (" E-Mail: ", "email"),
        ("FIRST-NAME", "first_name"),
        ("Dáte_of_Bírth", "birthday"),
        ("ｅｍａｉｌ", "email"),  # noqa: RUF001
    ],
)
def test_case_accents_and_punctuation_do_not_matter(header: str, field: str) -> None:
    key = {} if field == "external_id" else {"key": "external_id"}
    (column, *_) = map_headers([header, *key], CONTACTS, key).columns
    assert column == Column(0, header, field, "normalised")


EXPORTS = {
    "HubSpot": {
        "Record ID": "external_id", "First Name": "first_name", "Last Name": "last_name", "Email": "email",
        "Phone Number": "phone", "Mobile Phone Number": None, "Contact owner": None, "Lead Status": None,
        "Create Date": "signed_up", "Lifecycle Stage": "status", "Company Name": "company", "Associated Company": None,
        "Country/Region": "country", "Date of birth": "birthday", "Total Revenue": "amount", "Annual Revenue": None,
        "Job Title": None, "Last Activity Date": None, "Close Date": None,
    },
    "Salesforce": {
        "Id": "external_id", "AccountId": None, "LastName": "last_name", "FirstName": "first_name", "Name": None,
        "MailingCountry": "country", "OtherCountry": None, "Phone": "phone", "Fax": None, "MobilePhone": None,
        "HomePhone": None, "Email": "email", "Title": None, "Birthdate": "birthday", "Description": "notes",
        "CreatedDate": "signed_up", "LastModifiedDate": None,
    },
    "a report of Salesforce": {
        "Contact ID": "external_id", "Account ID": None, "First Name": "first_name", "Last Name": "last_name",
        "Account Name": "company", "Mailing Country": "country", "Phone": "phone", "Mobile": None, "Email": "email",
        "Created Date": "signed_up", "Contact Owner": None,
    },
    "Pipedrive": {
        "Person - ID": "external_id", "Person - Name": None, "Person - First name": "first_name",
        "Person - Last name": "last_name", "Person - Organization": "company", "Organization - ID": None,
        "Person - Email - Work": "email", "Person - Email - Home": None, "Person - Phone - Work": "phone",
        "Person - Phone - Mobile": None, "Person - Person created": "signed_up", "Person - Owner": None,
        "Person - Open deals": None,
    },
    "Google Contacts": {
        "First Name": "first_name", "Middle Name": None, "Last Name": "last_name", "Nickname": None,
        "Organization Name": "company", "Organization Title": None, "Birthday": "birthday", "Notes": "notes",
        "Labels": None, "E-mail 1 - Label": None, "E-mail 1 - Value": "email", "E-mail 2 - Value": None,
        "Phone 1 - Label": None, "Phone 1 - Value": "phone", "Phone 2 - Value": None, "Address 1 - Country": "country",
    },
    "an older Google Contacts": {
        "Name": None, "Given Name": "first_name", "Family Name": "last_name", "Organization 1 - Name": "company",
        "E-mail 1 - Type": None, "E-mail 1 - Value": "email", "Phone 1 - Type": None, "Phone 1 - Value": "phone",
    },
    "Outlook": {
        "First Name": "first_name", "Middle Name": None, "Last Name": "last_name", "Suffix": None,
        "E-mail Address": "email", "E-mail 2 Address": None, "Home Phone": None, "Business Phone": "phone",
        "Business Phone 2": None, "Mobile Phone": None, "Primary Phone": None, "Company": "company",
        "Home Country/Region": "country", "Business Country/Region": None, "Birthday": "birthday", "Notes": "notes",
    },
    "a program in German": {
        "Kundennummer": "external_id", "Vorname": "first_name", "Nachname": "last_name", "Name": None,
        "Firma": "company", "Land": "country", "Bundesland": None, "Umsatz": "amount", "Umsatz Vorjahr": None,
        "Geburtsdatum": "birthday", "Notizen": "notes", "Telefon": "phone", "Telefax": None, "Handy": None,
        "Mobiltelefon": None, "E-Mail": "email", "Status": "status", "Kreditlimit": "credit_limit",
        "Erstellt am": "signed_up", "Geändert am": None, "Straße": None, "PLZ": None, "Ort": None, "Anrede": None,
    },
    "another program in German": {
        "Kunden-Nr.": "external_id", "VORNAME": "first_name", "Familienname": "last_name", "Unternehmen": "company",
        "E-Mail-Adresse": "email", "Telefonnummer": "phone", "Faxnummer": None, "Gesamtumsatz": "amount",
        "Geburtstag": "birthday", "Bemerkungen": "notes", "Rechnungsnummer": None, "Kundengruppe": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("fields", EXPORTS.values(), ids=EXPORTS)
def test_an_export_of_a_known_program_is_mapped(fields: dict[str, str | None]) -> None:
    key = {} if "external_id" in fields.values() else {"Key": "external_id"}  # address books have no ids
    assert fields_of(map_headers([*fields, *key], CONTACTS, key)) == {**fields, **key}


@pytest.mark.parametrize("name", ["Name", "Kunde", "Kontakt"])
def test_a_german_header_that_can_mean_several_fields_is_not_mapped(name: str) -> None:
    (_, column) = map_headers(["Kundennummer", name], CONTACTS).columns
    assert (column.field, column.reason) == (None, "ignored")


def test_two_german_headers_of_one_field_are_asked_about() -> None:
    with pytest.raises(InvalidRequest, match="'Telefon' and 'Telefonnummer' both stand for phone"):
        map_headers(["Kundennummer", "Telefon", "Telefonnummer"], CONTACTS)


def test_a_fields_own_name_wins_over_its_aliases_also_where_both_are_spelt_otherwise() -> None:
    assert fields_of(map_headers(["ID", "Mobile", "Phone"], CONTACTS)) == {
        "ID": "external_id",
        "Mobile": None,
        "Phone": "phone",
    }


@pytest.mark.parametrize(
    ("header", "field", "score"),
    [
        ("Telephon", "phone", 94),
        ("number, phone", "phone", 100),
        ("Compagny", "company", 93),
        ("lifecycle staus", "status", 96),
        ("frist_name", "first_name", 88),
    ],
)
def test_a_header_that_is_clearly_like_one_field_is_mapped_with_its_score(header: str, field: str, score: int) -> None:
    assert map_headers(["id", header], CONTACTS).columns[1] == Column(1, header, field, "likeness", score)


@pytest.mark.parametrize(
    ("field", "header"),
    [
        ("minimum_temperature", "maximum temperature"),
        ("active_customer_since", "inactive customer since"),
        ("internal_identifier", "external identifier"),
        ("delivery_address_line_1", "delivery address line 2"),
        ("scheduled_departure_time", "scheduled arrival time"),
        ("customer_identifier", "old customer identifier"),
        ("notes", "no notes"),
        ("abc", "abx"),
        ("name", "nam"),
    ],
)
def test_a_header_that_means_something_else_is_not_mapped_by_likeness(field: str, header: str) -> None:
    column = map_headers(["id", header], named("id", field)).columns[1]
    assert (column.field, column.reason) == (None, "ignored")


@pytest.mark.parametrize(
    ("header", "like"),
    [
        ("Company title", "company"),
        ("Handy phone", "phone"),
        ("Compny", None),  # clear enough to be mapped
        ("Facebook page", None),
        ("Grid", None),  # no word of it is id
        ("", None),
    ],
)
def test_an_ignored_header_is_proposed_for_a_field_without_a_column(header: str, like: str | None) -> None:
    assert map_headers(["id", header], CONTACTS).columns[1].like == like
    said = {distinct_names(["id", header])[1]: ""}
    assert map_headers(["id", header], CONTACTS, said).columns[1].like is None, "the user has said it"
    fed = map_headers(["id", header, "company", "phone"], CONTACTS, {"company": "company", "phone": "phone"})
    assert fed.columns[1].like is None


def test_at_most_three_headers_are_proposed_for_a_field() -> None:
    mapping = map_headers(["id", *(f"phone {kind}" for kind in "abcde")], CONTACTS)
    assert [column.like for column in mapping.columns] == [None, "phone", "phone", "phone", None, None]


def test_a_header_that_is_like_two_fields_is_mapped_to_neither() -> None:
    mapping = map_headers(["id", "delivery adress"], named("id", "delivery_address", "delivery_addresss"))
    assert fields_of(mapping) == {"id": "id", "delivery adress": None}


def test_two_headers_that_are_like_one_field_are_both_ignored() -> None:
    mapping = map_headers(["id", "Compagny", "Companny"], CONTACTS)
    assert fields_of(mapping) == {"id": "external_id", "Compagny": None, "Companny": None}


def test_a_header_that_is_most_like_a_field_that_is_fed_gets_no_other() -> None:
    mapping = map_headers(["id", "shipping_date", "shiping date"], named("id", "shipping_date", "shopping_date"))
    assert fields_of(mapping) == {"id": "id", "shipping_date": "shipping_date", "shiping date": None}


def test_the_columns_of_our_own_rejects_file_are_no_fields() -> None:
    mapping = map_headers(["id", *sorted(REJECTS_COLUMNS)], named("id", "line", "record", "batch", "problems"))
    assert [column.reason for column in mapping.columns] == ["name", "ours", "ours", "ours", "ours"]
    assert mapping.missing == ("line", "record", "batch", "problems")
    assert map_headers(["_line", "id"], TYPE, {"_line": "size"}).fields == {"size": 0, "id": 1}


LONG = "x" * 10_000
ODD = [
    "id",
    "id'; DROP TABLE records; --",
    'a "quoted" header',
    "it's",
    "select",
    "order by",
    "class",
    "__proto__",
    "_secret",
    "",
    "   ",
    "---",
    "=1+1",
    "\x00",
    "two\nlines",
    "\x1b[31mred",
    "\u202egnp",
    "Id\u200b.",
    "😀",
    "名前",
    "Size",
    LONG,
]


def test_no_header_is_too_odd() -> None:
    mapping = map_headers(ODD, TYPE)
    assert {column.header: column.field for column in mapping.columns if column.field} == {"id": "id", "Size": "size"}
    assert [column.position for column in mapping.columns] == list(range(len(ODD)))
    every = map_headers(ODD, named("id"), dict.fromkeys(distinct_names(ODD)[1:], ""))
    assert every.fields == {"id": 0}


def test_a_refusal_abbreviates_long_headers_and_many_headers() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        map_headers([LONG, "\x1b[31mred", *(f"column {i}" for i in range(5_000))], TYPE)
    assert len(refusal.value.quoted) < 600
    assert f"{'x' * 60}…" in refusal.value.quoted
    assert "x" * 60 not in str(refusal.value)
    assert "'column 17' and 4,982 more" in refusal.value.quoted
    assert refusal.value.quoted.isprintable()


def test_thousands_of_headers_take_no_longer_than_reading_them() -> None:
    started = time.process_time()
    map_headers(["id", *(f"telephone number {i} of the contact" for i in range(5_000))], CONTACTS)
    assert time.process_time() - started < 2


@for_all(st.lists(st.text(max_size=12) | st.sampled_from([*ODD, "ID", "E-mail", "phone"]), unique=True, max_size=8))
def test_every_column_is_mapped_or_ignored_or_the_row_is_refused(headers: list[str]) -> None:
    try:
        mapping = map_headers(headers, CONTACTS)
    except InvalidRequest:
        return
    assert tuple(column.header for column in mapping.columns) == distinct_names(headers)
    fed = [column.field for column in mapping.columns if column.field]
    assert len(set(fed)) == len(fed)
    assert set(mapping.missing) == set(CONTACTS.field_names) - set(fed)


@pytest.mark.parametrize(
    ("headers", "given", "message", "hint"),
    [
        (["id"], {"ID": "id"}, "The file has no column 'ID'.", "It has 'id'."),
        (["id"], {"id": "ident"}, "things has no field 'ident'.", "Its fields: id, size."),
        (
            ["number", "no"],
            {},
            "The columns 'number' and 'no' both stand for id.",
            "Say which one is meant: --map 'no=' leaves that one out.",
        ),
        (
            ["a", "b"],
            {"a": "id", "b": "id"},
            "The columns 'a' and 'b' both stand for id.",
            "Say which one is meant: --map 'b=' leaves that one out.",
        ),
        (
            ["Id", "ID", "size"],
            {},
            "The columns 'Id' and 'ID' both stand for id.",
            "Say which one is meant: --map 'ID=' leaves that one out.",
        ),
        (
            ["colour", "size"],
            {},
            "No column stands for id, which identifies things.",
            "Say which column it is: --map 'HEADER=id'. The file has 'colour', 'size'; none is like id.",
        ),
        (
            ["Ident No.", "Numb it's", "idd", "size", "Number of", "colour"],
            {},
            "No column stands for id, which identifies things.",
            "Say which column it is: --map 'HEADER=id'. "
            "The file has 'Ident No.', \"Numb it's\", 'idd', 'size', 'Number of', 'colour'; "
            "the nearest: --map 'Number of=id', or --map 'idd=id', or --map 'Ident No.=id'.",
        ),
        (
            ["id", "size"],
            {"id": ""},
            "No column stands for id, which identifies things.",
            "Say which column it is: --map 'HEADER=id'. The file has 'id', 'size'; the nearest: --map 'id=id'.",
        ),
    ],
    ids=[
        "unknown header",
        "unknown field",
        "two aliases",
        "given twice",
        "equal but for case",
        "no key",
        "nearest candidates",
        "key left out",
    ],
)
def test_an_invalid_mapping_is_refused(headers: list[str], given: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        map_headers(headers, TYPE, given)
    assert (refusal.value.message, f"{refusal.value.hint} {refusal.value.quoted}".strip()) == (message, hint)


def test_equal_and_empty_headers_are_distinct_names() -> None:
    headers = ["Tag", "", "Tag", "Tag (2)", "Tag", "column 6", "", "", "id"]
    names = ("Tag", "column 2", "Tag (3)", "Tag (2)", "Tag (4)", "column 6", "column 7", "column 8", "id")
    assert distinct_names(headers) == names
    assert distinct_names(["column 2", ""]) == ("column 2", "column 2 (2)")
    mapping = map_headers(headers, TYPE, {"Tag (3)": "size"})
    assert fields_of(mapping) == {**dict.fromkeys(names), "id": "id", "Tag (3)": "size"}
    assert map_headers(headers, TYPE, None, mapping.to_remember({"Tag (3)": "size"})).fields == mapping.fields
    columns = [replace(it, samples=("x",)) if it.position in (1, 6) else it for it in mapping.columns]
    assert dict(naming(headers, columns)) == {
        "Columns without a name, left out": "column 2, column 7",
        "Columns of the same name, numbered": "Tag, Tag (3), Tag (4)",
    }
    assert len({*distinct_names(["a"] * 10_000)}) == 10_000


def test_equal_headers_are_refused_only_where_a_field_is_ambiguous() -> None:
    with pytest.raises(InvalidRequest, match=r"'Size' and 'Size \(2\)' both stand for size.* --map 'Size \(2\)='"):
        map_headers(["id", "Size", "Size"], TYPE)
    mapping = map_headers(["id", "Size", "Size"], TYPE, {"Size (2)": "size"})
    assert fields_of(mapping) == {"id": "id", "Size": None, "Size (2)": "size"}


def test_every_missing_key_field_has_its_own_candidates() -> None:
    thing = RecordType("things", "", (Field("place", "text"), Field("minute", "text")), ("place", "minute"), {})
    with pytest.raises(InvalidRequest) as refusal:
        map_headers(["the place", "last minute"], thing)
    assert refusal.value.quoted.endswith("the nearest: --map 'the place=place'; and --map 'last minute=minute'.")


def test_the_option_of_a_hint_can_be_pasted_into_a_shell() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        map_headers(["it's $(id) `no`"], TYPE)
    (_, option) = shlex.split(refusal.value.quoted.rpartition("the nearest: ")[2].removesuffix("."))
    assert option == "it's $(id) `no`=id"


@pytest.mark.parametrize("header", ["id;first name;status", "id  first name   status", "id\tfirst name"])
def test_a_whole_header_row_is_proposed_for_no_field(header: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        map_headers([header], CONTACTS)
    assert "The file has one column." in refused.value.message
    assert "--delimiter" in str(refused.value.hint)
    assert "--map" not in str(refused.value)
