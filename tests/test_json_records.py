"""Untrusted JSON: every value is read as it was written, or the refusal names the place."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resources.file_reader.json_records.source as source
from resources.file_reader.chunk import CellProblem
from resources.file_reader.json_records import JsonFile, JsonLimits
from resources.file_reader.json_records.columns import text_columns
from resources.file_reader.json_records.records import Records
from resources.file_reader.json_records.walk import UnfitValue
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.reading import Question
from tests.examples import tried

ROOT = Path(__file__).parent.parent
CORPORA = Path(os.environ.get("RECORDS_CORPORA", ROOT / "../shared/corpora")) / "jsontestsuite"
with_corpora = pytest.mark.skipif(
    not CORPORA.is_dir() and not os.environ.get("CI"), reason="the corpora are not here (RECORDS_CORPORA)"
)

READERS = ("msgspec", "walk")
"""Both readers must agree on every file: the one that decodes blocks by msgspec, and the walk alone."""


def _file(content: bytes) -> BinaryIO:
    """Return an unnamed file: DuckDB reads it by its descriptor."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.flush()
    return file


class Whole:
    """Everything that the reader reads from a file."""

    def __init__(self, content: bytes | str, **options: Any) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.rows: list[tuple[str, ...]] = []
        self.records: list[int] = []
        self.lines: list[int] = []
        self.cells: list[tuple[int, CellProblem]] = []
        self.sizes: list[int] = []
        with _file(data) as bytes_of_it, JsonFile(bytes_of_it, "f.json", **options) as file:
            self.kind, self.headers, self.notes = file.kind, file.headers, file.notes
            self.at, self.understood = file.used.at, file.understood
            self.questions: tuple[Question, ...] = file.questions
            for chunk in file.chunks():
                assert len(chunk.records) == len(chunk.lines)
                assert not chunk.malformed
                self.cells += [(chunk.records[cell.row].as_py(), cell) for cell in chunk.cells]
                if self.headers:
                    assert chunk.values.num_rows == len(chunk.records)
                    assert chunk.values.column_names == [str(i) for i in range(len(self.headers))]
                    self.rows += zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
                self.records += chunk.records.to_pylist()
                self.lines += chunk.lines.to_pylist()
                self.sizes.append(len(chunk.records))
        assert self.records == list(range(1, file.read + 1))


def _outcome(content: bytes) -> Any:
    """Return the records of a file, or the reason of the parser's refusal, without the cross-check."""
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    cells: list[tuple[int, str, UnfitValue]] = []
    tables: list[tuple[dict[str, Any], int]] = []
    records = Records(io.BytesIO(content), "f.json", JsonLimits())
    try:
        for found, their_lines, _ in records.batches():
            columns, unfit, _ = text_columns(found, {})
            cells += [(len(lines) + row, name, value) for row, name, value in unfit]
            tables.append(({name: column.to_pylist() for name, column in columns.items()}, len(found)))
            lines += their_lines
    except UnreadableFile as refusal:
        return refusal.message
    for table, size in tables:
        rows += zip(*(table.get(name, [""] * size) for name in records.names), strict=True)
    return records.kind, records.names, rows, lines, sorted(cells, key=str), records.notes


def _refusal(content: bytes | str, **options: Any) -> str:
    with pytest.raises(UnreadableFile) as refused:
        Whole(content, **options)
    return refused.value.message


def _walk_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Records, "_plain", lambda *_: False)
    patch.setattr(Records, "_nested", lambda *_: False)


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "walk":
        _walk_only(monkeypatch)
    return str(request.param)


def _corpus(folder: str, begin: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted((CORPORA / folder).glob(f"{begin}*.json"))}
    assert files
    return files


def _wrapped(value: bytes) -> bytes:
    return b'[{"v": ' + value + b"}]"


@with_corpora
@pytest.mark.usefixtures("reader")
def test_every_valid_value_of_the_corpus_is_accepted() -> None:
    valid = _corpus("test_parsing", "y_")
    assert len(valid) == 95
    assert {
        name: refused for name, value in valid.items() if isinstance(refused := _outcome(_wrapped(value)), str)
    } == {}


@with_corpora
def test_duckdb_reads_every_valid_value_of_the_corpus_the_same() -> None:
    values = list(_corpus("test_parsing", "y_").values())
    assert len(Whole(b"[" + b",".join(b'{"v": ' + value + b"}" for value in values) + b"]").rows) == 95
    lines = [b'{"v": ' + value.replace(b"\n", b" ") + b"}" for value in values]
    assert len(Whole(b"\n".join(lines)).rows) == 95


@with_corpora
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("wrap", [bytes, _wrapped])
def test_every_invalid_value_of_the_corpus_is_refused_and_its_place_named(wrap: Callable[[bytes], bytes]) -> None:
    invalid = _corpus("test_parsing", "n_")
    assert len(invalid) == 188
    place = re.compile(r"line [\d,]+, byte offset [\d,]+")
    outcomes = {name: _outcome(wrap(value)) for name, value in invalid.items()}
    assert {
        name: found for name, found in outcomes.items() if not isinstance(found, str) or not place.search(found)
    } == {}


@with_corpora
def test_both_readers_say_the_same_of_the_whole_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [*_corpus("test_parsing", "").values(), *_corpus("test_transform", "").values()]
    contents += [_wrapped(content) for content in contents]
    found = [_outcome(content) for content in contents]
    _walk_only(monkeypatch)
    assert [_outcome(content) for content in contents] == found


@with_corpora
@pytest.mark.usefixtures("reader")
def test_the_values_of_the_corpus_survive_exactly_or_are_refused() -> None:
    """Each value is read as `[value]`. An object with a member twice is refused as a record."""
    found: dict[str, str] = {}
    for name, content in _corpus("test_transform", "").items():
        if name.startswith("object"):
            outcome = _outcome(content)
        else:
            outcome = _outcome(_wrapped(content.strip().removeprefix(b"[").removesuffix(b"]")))
        if isinstance(outcome, str):
            found[name] = "refused"
        else:
            (row,), cells = outcome[2], outcome[4]
            found[name] = cells[0][2].rule if cells else "|".join(row)
    assert found == {
        "number_-9223372036854775808.json": "-9223372036854775808",
        "number_-9223372036854775809.json": "-9223372036854775809",
        "number_1.0.json": "1.0",
        "number_1.000000000000000005.json": "1.000000000000000005",
        "number_1000000000000000.json": "1000000000000000",
        "number_10000000000000000999.json": "10000000000000000999",
        "number_1e-999.json": "number_out_of_range",
        "number_1e6.json": "1000000",
        "number_9223372036854775807.json": "9223372036854775807",
        "number_9223372036854775808.json": "9223372036854775808",
        "object_key_nfc_nfd.json": "NFC|NFD",
        "object_key_nfd_nfc.json": "NFD|NFC",
        "object_same_key_different_values.json": "refused",
        "object_same_key_same_value.json": "refused",
        "object_same_key_unclear_values.json": "refused",
        "string_1_escaped_invalid_codepoint.json": "refused",
        "string_1_invalid_codepoint.json": "refused",
        "string_2_escaped_invalid_codepoints.json": "refused",
        "string_2_invalid_codepoints.json": "refused",
        "string_3_escaped_invalid_codepoints.json": "refused",
        "string_3_invalid_codepoints.json": "refused",
        "string_with_escaped_NULL.json": "A\0B",
    }


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"a\\"b\\\\\\u00e9\\ud83d\\ude00"', 'a"b\\é😀'),
        ('""', ""),
        ("null", ""),
        ("true", "true"),
        ("false", "false"),
        ("0", "0"),
        ("-0", "0"),
        ("1.10", "1.10"),
        ("-0.50", "-0.50"),
        ("1e2", "100"),
        ("1.5E+3", "1500"),
        ("-12.50e-4", "-0.001250"),
        ("0e99999999999999999999", "0"),
        ("1e308", "1" + "0" * 308),
        ("9" * 400, "9" * 400),
        ("9" * 6000, "9" * 6000),
        ('"1e2"', "1e2"),
    ],
)
def test_a_value_becomes_its_text(written: str, text: str) -> None:
    for content in (f'[{{"v":{written}}}]', f'{{"v":{written}}}\n{{"v":"x"}}\n', f'[{{"v":{written}}},{{"v":1.5}}]'):
        file = Whole(content)
        assert (file.rows[0], file.cells) == ((text,), [])


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("written", "rule", "shown"),
    [
        ("1e400", "number_out_of_range", "1e400"),
        ("2e-324", "number_out_of_range", "2e-324"),
        ("1.8e308", "number_out_of_range", "1.8e308"),
        ("1e1000000", "number_out_of_range", "1e1000000"),
        ("-1e-999999999999999999999", "number_out_of_range", "-1e-999999999999999999999"),
        ("[1, 2]", "nested_value", "[1, 2]"),
        ('{"a": {}, "a": "]"}', "nested_value", '{"a": {}, "a": "]"}'),
        ("[" * 63 + "]" * 63, "nested_value", "[" * 59 + "…"),
    ],
)
def test_a_value_that_is_no_text_is_a_problem_of_its_cell(written: str, rule: str, shown: str) -> None:
    file = Whole(f'{{"a":"x","b":2}}\n{{"a":"y","b":{written}}}\n')
    assert file.rows == [("x", "2"), ("y", "")]
    ((record, cell),) = file.cells
    assert (record, cell.row, cell.column, cell.rule, cell.value) == (2, 1, 1, rule, shown)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "the file is empty (line 1, byte offset 0)"),
        (b'"x"', "line 1, byte offset 0"),
        (b'[{"a":1},\n {"b":1,"b":1}]', "has the member 'b' twice (record 2, line 2, byte offset 18)"),
        (b'{"a":1}\n{"b":1,"c":"\\"","b":1}\n', "has the member 'b' twice (record 2, line 2, byte offset 24)"),
        (b'[{"a":1},]', "an object is expected, not ']' (record 2, line 1, byte offset 9)"),
        (b'[{"a":1,}]', "(record 1, line 1, byte offset 8)"),
        (b'[{"a":1}//x\n]', "a comma or ] is expected (line 1, byte offset 8)"),
        (b'{"a":1}\n{"a":2} {"a":3}', "'{' follows the object on its line (record 2, line 2, byte offset 16)"),
        (b'{"a":1},{"a":2} {"a":3}', "a comma is expected before '{' (line 1, byte offset 16)"),
        (b'{"a":1}{"a":2},{"a":3}', "an object is expected, not ',' (record 3, line 1, byte offset 14)"),
        (b'{"a":\n1}\n{"a":2', "the file ends in the middle of the object (record 2, line 3, byte offset 15)"),
        (b'{"r":[{"a":1},\n{"a":1,}],"n":{}}', "(record 2, line 2, byte offset 22)"),
        (b'{"r":[{"a":1}],"n":{},}', "what is around the list 'r' is no JSON, or too long"),
        (b'{"r":[{"a":1}],"r":[{"a":1}]}', "more than one list under 'r'"),
        (b'{"type":"FeatureCollection","features":[{"properties":{"a":1}}]}', "is GeoJSON"),
        (b'{"a":{"0":1,"1":2},"b":{"0":3,"1":4}}', "has columns in place of records"),
        (b'{"a":[1,2],"b":[3,4]}', "has columns in place of records"),
        ('[{"a":1}]'.encode("utf-16-le")[:-1], "is UTF-16-LE, except for the bytes at offset 16"),
        ("\ufeff".encode("utf-32-le") + b"\xff" * 8, "is UTF-32-LE, except for the bytes at offset 4"),
        (b"{a:1}\n", "double quotes"),
        (b"{'a':1}\n", "double quotes"),
        (b'[{"a":1},\n3]', "an object is expected, not '3' (record 2, line 2, byte offset 10)"),
        (b'{"a":1}\n[{"a":1}]\n', "an object is expected, not '[' (record 2, line 2, byte offset 8)"),
        (b'[{"a":NaN}]', "byte offset 6"),
        (b'[{"a":Infinity}]', "byte offset 6"),
        (b'[{"a":-Infinity}]', "byte offset 6"),
        (b'[{"a":"\xc3\xa9\\ud800"}]', "half of a surrogate pair"),
        (b'[{"\\udc00":1}]', "half of a surrogate pair"),
        (b'[{"a":"\xc3\xa9\t"}]', "Invalid control character (record 1, line 1, byte offset 9)"),
        (b'[{"a":"x"},\n{"a":"\xff"}]', "the byte 0xff is not UTF-8 (record 2, line 2, byte offset 18)"),
        (b'[{"a":"\xed\xa0\x80"}]', "the byte 0xed is not UTF-8"),
        (b'{"\xb9": [], "a": 1}', "the byte 0xb9 is not UTF-8"),
        (b'{"\xb9":"0",}', "the byte 0xb9 is not UTF-8"),
        (b'[{"a":1},\xef\xbb\xbf{"a":1}]', "byte offset 9"),
        (b'[{"a":1}]x', "something follows the end of the array (line 1, byte offset 9)"),
        (b'[{"a":1}\n', "the file ends before the array does"),
        (b'[{"a":1},\n{"a":', "the file ends in the middle of the array (record 2, line 2, byte offset 15)"),
        (b'{"a":1}\n{"a":2', "the file ends in the middle of the object (record 2, line 2, byte offset 14)"),
        (b'{"a":1}\n{"a":\n2}\n', "the object does not end on its line (record 2, line 2, byte offset 13)"),
        (
            b'{"a":' + b"[" * 100_000,
            "brackets are more than 64 deep, the limit of RECORDS_MAX_DEPTH (record 1, line 1, byte offset 68)",
        ),
        (b'[{"a":' + b'{"b":' * 100_000, "brackets are more than 64 deep"),
        (b"[" * 100_000, "an object is expected, not '['"),
    ],
)
def test_what_is_not_json_records_is_refused_and_its_place_named(content: bytes, found: str) -> None:
    assert found in _refusal(content)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("limits", "within", "found"),
    [
        (JsonLimits(depth=3), '"v":[[1]]', "more than 3 deep"),
        (JsonLimits(name_characters=5), '"12345":1', "a member's name is longer than 5 characters"),
        (JsonLimits(names=2), '"a":1,"b":2', "more than 2 different member names"),
        (JsonLimits(cell_characters=3), '"v":"\\u00e9éé"', "a text is longer than 3 characters"),
    ],
)
def test_limits(limits: JsonLimits, within: str, found: str) -> None:
    beyond = (
        within.replace("[[1]]", "[[[1]]]")
        .replace("12345", "123456")
        .replace("éé", "ééé")
        .replace('"b":2', '"b":2,"c":3')
    )
    for form in ("[{%s}]", "{%s}\n"):
        assert Whole(form % within, limits=limits).records == [1]
        assert found in _refusal(form % beyond, limits=limits)


def test_nested_values_are_skipped_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walking through 40 MB of them took 25 seconds."""
    records = [{"a": n, "b": {"c": [n, '"{'], "d": {"e": None}}, "f": "x"} for n in range(50)]
    contents = (json.dumps(records, indent=1), "".join(json.dumps(record) + "\n" for record in records))
    found = [_outcome(content.encode()) for content in contents]
    assert [len(outcome[4]) for outcome in found] == [50, 50]
    walked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("resources.file_reader.json_records.records.read_object", lambda *_: walked.append("object"))
        assert ([_outcome(content.encode()) for content in contents], walked) == (found, [])
    _walk_only(monkeypatch)
    assert [_outcome(content.encode()) for content in contents] == found


@pytest.mark.parametrize("form", ["array", "lines"])
def test_as_many_columns_as_the_limit_allows_are_read(form: str) -> None:
    """DuckDB ran out of memory with 5,000."""
    values = ["x", "", None, True, 1.10, 7, [1], "1e400"]
    record = {f"column_{n}": values[n % 8] for n in range(10_000)}
    sparse = [{"column_3": "y"}, {}, {"column_9999": {}}]
    rows = [record, *sparse]
    file = Whole(json.dumps(rows) if form == "array" else "".join(json.dumps(row) + "\n" for row in rows))
    texts = ["x", "", "", "true", "1.1", "7", "", "1e400"]
    assert (len(file.headers), len(file.cells)) == (10_000, 1251)
    assert file.rows[0] == tuple(texts[n % 8] for n in range(10_000))
    assert [(row[3], "".join(row)) for row in file.rows[1:]] == [("y", "y"), ("", ""), ("", "")]


def test_a_record_without_an_end_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK", 1000)
    for begin in (b"[", b""):
        content = begin + b'{"a":[' + b"1," * 100_000
        assert "the record is longer than 5,000 bytes" in _refusal(content, limits=JsonLimits(record_bytes=5000))


@pytest.mark.usefixtures("reader")
def test_headers_are_the_names_of_all_records_in_order_and_what_lacks_is_empty() -> None:
    file = Whole('[{"b":1,"a":null},\n{"c":"","a":true}, {},\n\n{"a":{"z":1}}]', chunk_rows=3)
    assert (file.kind, file.headers, file.sizes) == ("json", ("b", "a", "c"), [3, 1])
    assert file.rows == [("1", "", ""), ("", "true", ""), ("", "", ""), ("", "", "")]
    assert file.lines == [1, 2, 2, 4]
    assert [record for record, _ in file.cells] == [4]
    assert Whole(" [ ] ").headers == ()


@pytest.mark.usefixtures("reader")
def test_lines_are_those_of_the_file() -> None:
    file = Whole(b'\xef\xbb\xbf\n{"a":"}{"}\r\n\n  {"a":"x\\n"}\n\t\n{"a":1}')
    assert (file.kind, file.lines, file.rows) == ("ndjson", [2, 4, 6], [("}{",), ("x\n",), ("1",)])
    assert file.notes == (
        "The byte order mark at the beginning was skipped.",
        "2 blank lines were skipped.",
    )
    assert Whole('[\n {\n  "a": "}{"\n },\n {"a":\n1}, {\n"a":1}\n]\n').lines == [2, 5, 6]


def _canonical(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return format(Decimal(repr(value)), "f") if "e" in str(value) and isinstance(value, float) else str(value)


ROWS = [("1", "x"), ("2", '}{["')]
FORMS = {
    "commas": '{"a":1,"b":"x"},\n{"a":2,"b":"}{[\\""},\n',
    "stream": '{\n"a":1,"b":"x"}\n{"a":2,"b":"}{[\\""\n}',
    "one line": '{"a":1,"b":"x"}{"a":2,"b":"}{[\\""}',
    "list": '{"n": {"pages": [1, 2], "\\"[": "{"}, "r": \n[{"a":1,"b":"x"},{"a":2,"b":"}{[\\""}]}',
    "deeper": '{"data": {"items": [{"a":1,"b":"x"},\n{"a":2,"b":"}{[\\""}], "e": []}}',
}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("form", "lines", "at"),
    [
        ("commas", [1, 2], None),
        ("stream", [1, 3], None),
        ("one line", [1, 1], None),
        ("list", [2, 2], "r"),
        ("deeper", [1, 2], "data.items"),
    ],
)
def test_records_are_found_in_whatever_way_they_are_arranged(
    monkeypatch: pytest.MonkeyPatch, form: str, lines: list[int], at: str | None, block: int
) -> None:
    monkeypatch.setattr(source, "BLOCK", block)
    for encoding in ("utf-8-sig", "utf-16-le", "utf-16", "utf-32-be"):
        file = Whole(FORMS[form].encode(encoding))
        assert (file.headers, file.rows, file.lines, file.at, file.questions) == (("a", "b"), ROWS, lines, at, ())


def test_what_can_be_several_lists_or_a_record_is_asked() -> None:
    several = '{"contacts": [{"a": 1}], "page": 1, "companies": [{"b": 2}, {"b": 3}], "tags": ["x"], "none": []}'
    file = Whole(several)
    (question,) = file.questions
    assert (file.at, file.rows, question.candidates) == ("companies", [("2",), ("3",)], ("companies", "contacts", "."))
    assert question.sentence == (
        "The file is one object with several lists of records: companies (2 records), contacts (1 record). "
        "Say which one with --at."
    )
    said = Whole(several, at="contacts")
    assert (said.rows, said.questions) == ([("1",)], ())
    assert ("Records", "the list `contacts` of the object that the file is") in said.understood
    record = Whole(several, at=".")
    assert (record.headers[:2], record.records, record.questions, record.at) == (("contacts", "page"), [1], (), ".")
    assert Whole(several, at="none").records == []
    (question,) = Whole('{"id": 7, "orders": [{"id": 1}]}').questions
    assert (question.option, question.candidates) == ("at", ("orders", "."))
    assert (Whole('{"results": []}').records, Whole('{"id": 7, "tags": []}').records) == ([], [1])


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ('{"a": 1, "r": [{}], "s": [{}]}', "Say --at r, --at s."),
        ('[{"a": 1}]', "Leave --at out: nothing is around its records."),
        ('{"a": 1}\n{"a": 2}', "Leave --at out: nothing is around its records."),
    ],
)
def test_a_list_that_does_not_exist_is_refused(content: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Whole(content, at="results")
    assert (refused.value.message, refused.value.hint) == ("f.json has no list of records at 'results'.", hint)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(
    TEXTS,
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
RECORDS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=5), min_size=1, max_size=20)


@settings(max_examples=tried(40))
@given(
    RECORDS,
    st.booleans(),
    st.sampled_from([None, 0, 2]),
    st.integers(1, 200),
    st.integers(1, 30),
    st.booleans(),
    st.sampled_from([0, 1000]),
)
def test_what_json_writes_comes_back(
    records: list[dict[str, Any]],
    ascii_only: bool,
    indent: int | None,
    block: int,
    chunk_rows: int,
    plain: bool,
    wide: int,
) -> None:
    headers = tuple(dict.fromkeys(name for record in records for name in record))
    rows = [tuple(_canonical(record.get(name)) for name in headers) for record in records] if headers else []
    array = json.dumps(records, ensure_ascii=ascii_only, indent=indent)
    lines = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        if not plain:
            _walk_only(patch)
        stream = "".join(json.dumps(record, ensure_ascii=ascii_only, indent=indent) for record in records)
        commas = ",".join(json.dumps(record, ensure_ascii=ascii_only, indent=indent) for record in records)
        wrapped = f'{{"n": {{}}, "r": {array}}}'
        patch.setattr("resources.file_reader.json_records.file.WIDE", wide)
        for content in (array, lines, lines.rstrip("\n"), wrapped, stream * 2, commas + "," + commas):
            file = Whole(content, chunk_rows=chunk_rows)
            if content.startswith((stream + stream, commas + ",")):
                assert (file.headers, file.rows, file.cells) == (headers, rows * 2, [])
                continue
            assert (file.headers, file.rows, file.cells) == (headers, rows, [])
            assert max(file.sizes) <= chunk_rows
            if content not in (array, wrapped):
                assert file.lines == file.records


NESTED = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
NESTED_RECORDS = st.lists(st.dictionaries(TEXTS, NESTED, max_size=4), min_size=1, max_size=8)


@settings(max_examples=tried(150))
@given(RECORDS | NESTED_RECORDS, st.booleans(), st.randoms(use_true_random=False), st.integers(1, 100))
def test_both_readers_say_the_same_of_damaged_files(
    records: list[dict[str, Any]], array: bool, random: Any, block: int
) -> None:
    """Python's parser accepts what they accept."""
    content = bytearray(
        json.dumps(records, indent=1).encode() if array else b"\n".join(json.dumps(r).encode() for r in records)
    )
    undamaged = bytes(content)
    for _ in range(random.randrange(3)):
        at = random.randrange(len(content))
        content[at : at + random.randrange(2)] = random.choice(
            [b"", b",", b'"', b"{", b"}", b"]", b"\n", b"0", b"\\", b"\xc3"]
        )
    found = _outcome(bytes(content))
    assert content != undamaged or not isinstance(found, str)
    if not isinstance(found, str):
        parsed = (
            json.loads(content) if found[0] == "json" else [json.loads(x) for x in content.split(b"\n") if x.strip()]
        )
        assert len(parsed) == len(found[3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        assert _outcome(bytes(content)) == found
        _walk_only(patch)
        assert _outcome(bytes(content)) == found


@pytest.mark.parametrize("later", [b'{"a":1}\n', b'{"a":1}\n{"a":3}\n', b'{"a":1}\n{"b":2}\n', b"[]"])
def test_a_file_that_changes_before_the_cross_check_is_refused(later: bytes) -> None:
    with _file(b'{"a":1}\n{"a":2}\n') as file, JsonFile(file, "f.json") as reader:
        file.seek(0)
        file.truncate()
        file.write(later)
        file.flush()
        with pytest.raises(UnreadableFile, match=r"two parsers disagree about record [12] \(line [12]\)"):
            list(reader.chunks())


def _spoilt(rows: list[Any], how: str, victim: int) -> list[Any]:
    row = rows[victim]
    first, second = row
    return [
        *rows[:victim],
        *{
            "drop": [],
            "double": [row, row],
            "split": [{**row, second: None}, {**row, first: None}],
            "shift": [{first: row[second], second: row[first]}],
            "empty": [{**row, first: None}],
        }[how],
        *rows[victim + 1 :],
    ]


@pytest.mark.parametrize(
    ("how", "victim", "form"),
    [
        *((how, victim, "lines") for how in ("drop", "double", "split", "shift", "empty") for victim in (0, 250, 499)),
        *((how, 250, form) for how in ("drop", "double", "split", "shift") for form in ("array", "odd names")),
        *((how, 250, "wide") for how in ("drop", "double", "split", "shift", "empty")),
    ],
)
def test_a_record_that_one_of_the_parsers_reads_otherwise_stops_the_reading(
    monkeypatch: pytest.MonkeyPatch, how: str, victim: int, form: str
) -> None:
    names = ("a", "A") if form == "odd names" else ("a", "b")
    if form == "wide":
        monkeypatch.setattr("resources.file_reader.json_records.file.WIDE", 1)
    rows = [{names[0]: f"x{n}", names[1]: n} for n in range(500)]
    content = json.dumps(rows) if form == "array" else "".join(json.dumps(row) + "\n" for row in rows)
    assert Whole(content).records[-1] == 500
    genuine = Records.batches

    def batches(records: Records) -> Iterator[Any]:
        for found, lines, size in genuine(records):
            spoilt = _spoilt(found, how, victim)
            yield spoilt, ([*lines, *lines])[: len(spoilt)], size

    monkeypatch.setattr(Records, "batches", batches)
    differing = victim + 1 + (how == "double")
    assert _refusal(content).startswith(
        f"f.json can be read in two ways: two parsers disagree about record {differing}"
    )


@pytest.mark.parametrize("around", [(b"[", b"]"), (b'{"results":[', b'],"page":{"n":1}}')], ids=["array", "object"])
def test_a_large_array_on_one_line_takes_no_more_memory_than_a_chunk(
    tmp_path: Path, around: tuple[bytes, bytes]
) -> None:
    path = tmp_path / "large.json"
    record = json.dumps({"id": 12345, "name": "Grace Hopper", "note": "x" * 200, "amount": 1.5}).encode()
    with path.open("wb") as file:
        file.write(around[0] + record)
        for _ in range(220):
            file.write((b"," + record) * 1000)
        file.write(around[1])
    assert path.stat().st_size > 55 << 20
    script = (
        "import resource, sys\n"
        "from resources.file_reader.json_records import JsonFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open(sys.argv[1], 'rb') as file, JsonFile(file, 'f') as reader:\n"
        "    rows = sum(len(chunk.records) for chunk in reader.chunks())\n"
        "print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 220_001
    assert megabytes < 80 + 60  # Arrow's libraries load on first use
