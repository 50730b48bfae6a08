"""Untrusted CSV: every record is read with its number and line, or none is."""

import codecs
import csv
import gc
import io
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import resources.file_reader.delimited.structure
from resources.file_reader import Malformed, MalformedRecord, ReadLimits, ReadOptions, TextChunk
from resources.file_reader.delimited import DelimitedFile
from resources.file_reader.delimited.dialect import Dialect
from resources.file_reader.delimited.structure import RecordFinder, _Structure
from resources.importing.failed_rows import malformed_rows
from schemas.errors import InvalidRequest, UnreadableFile
from tests.examples import tried


class Whole:
    """Everything that the parsers read from a file."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.records: list[int] = []
        self.lines: list[int] = []
        self.malformed: list[MalformedRecord] = []
        self.chunks = 0
        limits = ReadLimits(cell_mb=options.pop("cell_mb", 8))
        file = DelimitedFile(path, path.name, ReadOptions(**options), limits)
        self.headers = file.headers
        self.dialect, self.encoding = file.dialect, file.encoding
        for chunk in file.chunks():
            self.chunks += 1
            assert chunk.values.num_rows == len(chunk.records) == len(chunk.lines)
            if chunk.values.num_rows:
                assert chunk.values.column_names == [str(i) for i in range(len(file.headers))]
                self.rows += zip(*(column.to_pylist() for column in chunk.values.columns), strict=True)
            self.records += chunk.records.to_pylist()
            self.lines += chunk.lines.to_pylist()
            self.malformed += chunk.malformed
        self.read = file.read
        self.questions = [question.sentence for question in file.questions]
        self.understood, self.notes = dict(file.understood), file.notes

    @property
    def stray(self) -> list[tuple[int, str]]:
        """The lines that are rejected for a quotation mark, with their texts."""
        found = [bad for bad in self.malformed if bad.why is Malformed.QUOTATION_MARK]
        assert {bad.values[:-1] for bad in found} <= {("",) * len(self.headers)}
        return [(bad.line, bad.values[-1]) for bad in found]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes | str], Path]:
    def write(content: bytes | str) -> Path:
        path = tmp_path / "file.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.file_reader.delimited.structure, "BLOCK", 4096)


def _refusal(path: Path) -> str:
    message = ""
    try:
        Whole(path)
    except UnreadableFile as error:
        message = error.message
    gc.collect()  # a file left open would warn here
    return message


Write = Callable[[bytes | str], Path]


def test_records_and_lines_are_numbered_through_quoted_line_breaks_and_blank_lines(file: Write) -> None:
    whole = Whole(file('a,b\r\n"x\r\ny",2\r\n\r\n\r\n3,"p\n\nq"\r\n"",4'))
    assert whole.headers == ("a", "b")
    assert whole.rows == [("x\r\ny", "2"), ("3", "p\n\nq"), ("", "4")]
    assert (whole.records, whole.lines, whole.malformed, whole.read) == ([1, 2, 3], [2, 6, 9], [], 3)


def test_a_header_may_come_after_blank_lines_and_hold_line_breaks(file: Write) -> None:
    whole = Whole(file('\n\r\n"a\nb",c\n1,2\n'))
    assert (whole.headers, whole.rows, whole.records, whole.lines) == (("a\nb", "c"), [("1", "2")], [1], [5])


@pytest.mark.parametrize("header", ["a,b", '"a","b"'])
def test_a_byte_order_mark_is_no_part_of_the_header(file: Write, header: str) -> None:
    path = file(f"\ufeff{header}\r\n1,\ufeff2\r\n")
    whole = Whole(path)
    assert (whole.headers, whole.rows, whole.lines) == (("a", "b"), [("1", "\ufeff2")], [2])


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
def test_a_header_alone_is_a_file_of_no_records(file: Write, end: str) -> None:
    path = file(f"a,b{end}")
    whole = Whole(path)
    assert (whole.headers, whole.rows, whole.read, whole.malformed) == (("a", "b"), [], 0, [])


def test_three_lines_of_one_column_are_a_header_and_two_records(file: Write) -> None:
    """duckdb#25827: the sniffer finds no record here."""
    whole = Whole(file("c0\nv0\na;b"))
    assert (whole.headers, whole.rows, whole.read) == (("c0",), [("v0",), ("a;b",)], 2)


def test_in_one_column_an_empty_value_is_quoted_and_a_blank_line_is_nothing(file: Write) -> None:
    whole = Whole(file('a\n1\n\n""\n2\n'))
    assert (whole.rows, whole.lines) == ([("1",), ("",), ("2",)], [2, 4, 5])


def test_a_quotation_mark_inside_an_unquoted_field_is_a_character(file: Write) -> None:
    whole = Whole(file('a,b\n5" nail,x""y\n"q" ,1\n "q",2\n\xa0"q",\x00\n'))
    assert whole.rows == [('5" nail', 'x""y'), ('\xa0"q"', "\x00")]
    assert whole.stray == [(3, '"q" ,1'), (4, ' "q",2')]


@pytest.mark.usefixtures("small_blocks")
def test_malformed_records_are_counted_and_later_ones_keep_their_numbers(file: Write) -> None:
    """Malformed records: at the start, at the end, in a row, longer than a block, and of many lines."""
    records: list[tuple[str, int]] = [("1", 1), ('"",2,3', 3)]
    for i in range(3000):
        records.append((f"{i},b", 2))
        if i % 7 == 0:
            records += [("x,y,z", 3), ('"one\nfield"', 1)]
    records += [("x", 1)] * 5000 + [("end,b", 2)] + [("a,b,c,d", 4)] * 3
    text, line, expected = "a,b\n", 2, []
    for record, fields in records:
        expected.append((line, fields))
        text += record + "\n"
        line += record.count("\n") + 1
    path = file(text)
    whole = Whole(path)
    numbered = [(i, line, fields) for i, (line, fields) in enumerate(expected, 1)]
    assert whole.chunks > 5
    assert whole.read == len(records)
    assert list(zip(whole.records, whole.lines, strict=True)) == [(i, at) for i, at, fields in numbered if fields == 2]
    assert [(bad.record, bad.line, bad.fields) for bad in whole.malformed] == [it for it in numbered if it[2] != 2]
    assert whole.rows == [(*record.split(","),) for record, fields in records if fields == 2]


def test_a_file_of_malformed_records_alone_is_read(file: Write) -> None:
    whole = Whole(file("a,b\n1\n1,2,3\n"))
    assert (whole.rows, whole.read) == ([], 2)
    assert whole.malformed == [MalformedRecord(1, 2, 1, ("1",)), MalformedRecord(2, 3, 3, ("1", "2", "3"))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.csv is empty."),
        (b"\xef\xbb\xbf", "file.csv is empty."),
        (b"\n\r\n\n", "file.csv is empty."),
        (
            b'"a"x,b\n1,2\n',
            "file.csv cannot be read: in the record that begins on line 1: "
            "after the quotation mark that ends a field comes another character than the delimiter. "
            "If it is a space, remove the spaces between quotation marks and delimiters.",
        ),
        (
            b'a,"b\n1,2\n',
            "file.csv cannot be read: in the record that begins on line 1: "
            "a quotation mark is opened and never closed.",
        ),
    ],
)
@pytest.mark.parametrize("block", [4096, 16 << 20])
def test_what_is_not_csv_is_refused_with_its_line(
    file: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, block: int
) -> None:
    monkeypatch.setattr(resources.file_reader.delimited.structure, "BLOCK", block)
    assert _refusal(file(content)) == message


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("na\u00efve,b\n".encode("latin-1"), "in line 1 the byte 0xef"),
        (b'a\r\n"x\r\ny"\r\n\xe9\r\n', "in line 4 the byte 0xe9"),
        (b"a,b\n" + b"1,2\n" * 9998 + b"\xe9,2\n", "in line 10,000 the byte 0xe9"),
    ],
)
def test_a_byte_that_is_not_of_the_encoding_is_named_with_its_line(file: Write, content: bytes, place: str) -> None:
    with pytest.raises(UnreadableFile, match=f"file.csv is not UTF-8: {place} is invalid"):
        Whole(file(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(b"a,b\n1,\xc3", "utf-8"), ("a,b\n1,2".encode("utf-16")[:-1], "utf-16"), (b"a,b\n1,\x83", "shift_jis")],
)
def test_a_file_that_ends_inside_a_character_is_refused_as_that(file: Write, content: bytes, encoding: str) -> None:
    with pytest.raises(UnreadableFile, match=f"ends inside a character of {encoding.upper()}, in line 2. Its end is"):
        Whole(file(content), encoding=encoding)


def test_a_missing_byte_order_mark_is_said(file: Write) -> None:
    with pytest.raises(UnreadableFile, match="is not UTF-16: it has no byte order mark at its beginning"):
        Whole(file(b"a,b\n1,2\n"), encoding="utf-16")


@pytest.mark.usefixtures("small_blocks")
def test_an_open_quote_rejects_its_line_and_no_other(file: Write) -> None:
    whole = Whole(file(b"a,b\n" + b"1,2\n" * 5000 + b'3,"4\n' + b"5,6\n" * 5000))
    assert whole.stray == [(5002, '3,"4')]
    assert (whole.read, whole.rows) == (10_001, [("1", "2")] * 5000 + [("5", "6")] * 5000)
    assert whole.lines == [*range(2, 5002), *range(5003, 10_003)]
    assert whole.questions == [
        "1 line with a quotation mark out of place is rejected, from line 5,002 on. All others are read."
    ]


@pytest.mark.usefixtures("small_blocks")
def test_an_open_quote_before_more_than_a_cell_may_hold_rejects_its_line(file: Write) -> None:
    whole = Whole(file(b"a,b\n1,2\n" + b'3,"4\n' + b"5,6\n" * 300_000), cell_mb=1)
    assert whole.stray == [(3, '3,"4')]
    assert (whole.read, whole.lines[1], whole.lines[-1]) == (300_002, 4, 300_003)


@pytest.mark.parametrize("block", [40, 16 << 20])
@pytest.mark.parametrize(
    ("lines", "stray"),
    [
        (['2x"Boots, tall",green'], [0]),
        (['2,x"Boots, tall"green'], [0]),
        (['5" pipe,2x"Boots, tall",green'], [0]),
        (['2x"Boots ""A"", tall",green'], [0]),
        (['2,"Boots,green'], [0]),
        (['2,""Boots, tall",green'], [0]),
        (['2,"Boots" tall,green'], [0]),
        (['2,"Boots, tall"",green'], [0]),
        (['2,"Boots","red', "2,Hat,blue", '2,"Cap, warm",blue'], [0]),
        (['2,"Bo"ots', 'tall, red",green'], [0, 1]),
        (['2,"Bo"ots', "size 4", 'tall, red",green'], [0, 1, 2]),
        (['2,"a', 'b",c', '2,"d', 'e",f'], []),
        (['2,5" pipe,green', '2,x,24"', '2,a "b" c,', '2,"a ""b, c""",x'], []),
        (['2,"5"" pipe",24"', '2,9" and 5",x'], []),
    ],
)
def test_a_quotation_mark_out_of_place_rejects_what_it_makes_unsure(
    file: Write, monkeypatch: pytest.MonkeyPatch, lines: list[str], stray: list[int], block: int
) -> None:
    monkeypatch.setattr(resources.file_reader.delimited.structure, "BLOCK", block)
    around = ["1,hat,red"] * 3
    written = ["id,name,note", *around, *lines, *around]
    whole = Whole(file("\n".join(written) + "\n"))
    assert whole.stray == [(5 + at, lines[at]) for at in stray]
    assert whole.rows[:3] == whole.rows[-3:] == [("1", "hat", "red")] * 3
    assert {*whole.records, *(bad.record for bad in whole.malformed)} == {*range(1, whole.read + 1)}
    assert not any('"Boots' in value for row in whole.rows for value in row)
    assert bool(whole.questions) == bool(stray)


def test_every_record_that_a_stray_mark_joins_with_others_is_read(file: Write) -> None:
    """Both parsers see one record of four lines. It is not as wide as the header, and its second line is."""
    whole = Whole(file('id,name,note\n1,"hat,red\n2,cap,blue\n3,"shoe",red\n4,"sock",blue\n5,"belt,x"\n'))
    assert whole.stray == [(2, '1,"hat,red')]
    assert whole.rows == [("2", "cap", "blue"), ("3", "shoe", "red"), ("4", "sock", "blue")]
    assert [bad.line for bad in whole.malformed] == [2, 6]


@pytest.mark.parametrize("odd", ["", '\n8,9" pipe,x'], ids=["", "line by line"])
def test_a_value_of_lines_that_look_like_records_is_asked_about(file: Write, odd: str) -> None:
    asked = ["1 value of several lines may hold other records, from line 3 on. Perhaps quotation marks are missing."]
    whole = Whole(file('id,name,note\n1,hat,red\n2,"hat,red\n3,cap,blue\n4,shoe",red' + odd))
    assert (whole.rows[1], whole.questions) == (("2", "hat,red\n3,cap,blue\n4,shoe", "red"), asked)
    assert Whole(file('id,name,note\n2,"Dear Ann,\nhats, caps, shoes\nyours, Bo",red' + odd)).questions == []


@pytest.mark.parametrize("odd", ["", '\n8,9" pipe,x'], ids=["", "line by line"])
@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (['2,hat,"red', '3,cap,blue"'], True),
        (['2,"hat,red', '3,cap",blue'], True),
        (['2,hat,"red', "3,cap,blue", '4,shoe,red"'], True),
        (['2,hat,"red', "2,cap,blue", 'x"'], True),
        (['2,hat,"Dear Ann,', 'a hat, a cap, a shoe"'], False),
        (['2,hat,"Dear Ann,', 'from 1,5 to 2,5 kg"'], False),
        (['2,hat,"Sizes:', 'small,large,wide"'], False),
        (['2,"hat', 'of A,B,C",red'], False),
        (['2,hat,"one', "two", 'three"'], False),
    ],
)
def test_a_record_that_a_stray_mark_joins_with_the_next_one_is_asked_about(
    file: Write, lines: list[str], asked: bool, odd: str
) -> None:
    whole = Whole(file("\n".join(["id,name,note", "1,hat,red", *lines, "5,sock,blue"]) + odd))
    assert whole.malformed == []
    assert [question.startswith("1 value of several lines may hold") for question in whole.questions] == [True] * asked


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ('id,note\n1,"x\n2,y"\n3,z\n', "1 value of several lines may hold other records, from line 2 on."),
        ('name,note\nA,"x\nhello,world"\nB,z\n', None),
        ('id,note\n1,"x\nhello,world"\n3,z\n', None),
        ('id,name,"note\n1,a,x"\n2,b,y\n', "A name of a column may hold a record."),
        ('"Good?","Bad, or\nnot?",Why\nyes,no,x\n', None),
        ("id,name\n1,a\n# skip, this\n2,b\n", "1 record may be a comment, from line 3 on."),
        ("id,name\n#1,a\n#2,b\n", None),
    ],
)
def test_other_records_that_were_joined_or_are_none_are_asked_about(
    file: Write, content: str, asked: str | None
) -> None:
    questions = Whole(file(content)).questions
    assert [asked in question for question in questions if asked] == [True] * bool(asked), questions
    assert bool(questions) == bool(asked)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("block", [20, 16 << 20])
def test_the_header_again_is_no_record(file: Write, monkeypatch: pytest.MonkeyPatch, mark: str, block: int) -> None:
    monkeypatch.setattr(resources.file_reader.delimited.structure, "BLOCK", block)
    whole = Whole(file(f"\ufeffid,name\n1,x\n{mark}id,name\nid,x\n2,y\n"))
    assert whole.rows == [("1", "x"), ("id", "x"), ("2", "y")]
    assert whole.malformed == [MalformedRecord(2, 3, 2, ("", "", f"{mark}id,name"), Malformed.REPEATED_HEADER)]
    assert whole.records == [1, 3, 4]


@pytest.mark.parametrize(
    ("content", "records"),
    [
        ("id,n,price\nC-1,1,5.0\nid,price,n\nC-2,6.0,2\n", 2),
        ("id,n,note\nC-1,1,x\nID,Note,\nC-2,y,\n", 2),
        ("n,id\n1,C-1\nid,n\nC-2,2\n", 2),
        ("id,note\nC-1,Ann\n\nid,code\nC-2,A\n", 3),
    ],
)
def test_the_header_of_another_table_is_asked_about(file: Write, content: str, records: int) -> None:
    whole = Whole(file(content))
    assert len(whole.rows) == records
    assert [it for it in whole.questions if "looks like the header of another table" in str(it)]


@pytest.mark.parametrize("mark", ["#", "# ", "//", ";", "-- ", "REM "])
def test_a_record_that_may_be_a_comment_is_asked_about(file: Write, mark: str) -> None:
    def questions(content: str) -> list[object]:
        return [it for it in Whole(file(content)).questions if "may be a comment" in str(it)]

    assert questions(f"sku,note\nC-1,x\n{mark}C-2,y\nC-3,z\n")
    assert questions(f"#sku,note\nC-1,x\n{mark}C-2,y\nC-3,z\n")
    assert bool(questions(f"sku,note\n{mark}1,x\n{mark}2,y\n")) == (mark[-1] == " "), "all keys begin so"


@pytest.mark.usefixtures("small_blocks")
def test_a_byte_order_mark_where_a_block_begins_is_a_character(file: Write) -> None:
    assert Whole(file("id,name\n" + "\ufeffx,y\n" * 3000)).rows == [("\ufeffx", "y")] * 3000


def test_spaces_after_delimiters_are_left_out_and_said(file: Write) -> None:
    whole = Whole(file('id, name, note\nY-1, "Kim, Lee & Co", 5" pipe\nY-2, "say ""hi""", \n\n  \nY-3, a b , c'))
    assert whole.headers == ("id", "name", "note")
    assert whole.rows == [("Y-1", "Kim, Lee & Co", '5" pipe'), ("Y-2", 'say "hi"', ""), ("Y-3", "a b ", "c")]
    assert whole.understood["Spaces after delimiters"] == "left out"
    ordinary = Whole(file('id,name\n1,"a, b"\n2, c\n3,d\n'))
    assert ordinary.rows == [("1", "a, b"), ("2", " c"), ("3", "d")]
    assert "Spaces after delimiters" not in ordinary.understood


def test_a_space_after_a_quoted_field_is_refused(file: Write) -> None:
    refusal = _refusal(file('"a" ,"b"\n"1" ,"2"\n'))
    assert refusal.endswith("remove the spaces between quotation marks and delimiters.")


def test_an_apostrophe_may_be_the_quotation_mark(file: Write) -> None:
    whole = Whole(file("id,name,note\n1,'Ann, Lee','it''s'\n2,Bo,'ok'\n"))
    assert (whole.rows, whole.questions) == ([("1", "Ann, Lee", "it's"), ("2", "Bo", "ok")], [])
    assert whole.understood["Quotation mark"] == "'"
    assert Whole(file("id,name,note\n1,'Ann','ok'\n")).rows == [("1", "Ann", "ok")]
    values = Whole(file("id,name,note\n1,'Ann',x\n2,'Bo',y\n3,C,'z'\n"))
    assert values.rows == [("1", "'Ann'", "x"), ("2", "'Bo'", "y"), ("3", "C", "'z'")], "these may be values"
    names = "id,name,note\n1,'t Hooft,ok'\n2,'s Graven,x\n3,O'Neil,'\n"
    assert Whole(file(names)).rows == [("1", "'t Hooft", "ok'"), ("2", "'s Graven", "x"), ("3", "O'Neil", "'")]


def test_a_record_with_another_quotation_mark_is_rejected(file: Write) -> None:
    whole = Whole(file("id,name\n1,\"a, b\"\n'2','c'\n'3',d\n"))
    assert (whole.stray, whole.rows) == ([(3, "'2','c'")], [("1", "a, b"), ("'3'", "d")])


def test_a_backslash_that_escapes_nothing_stays_and_is_asked_about(file: Write) -> None:
    whole = Whole(file('id,note\n"1","say \\"hi\\" in C:\\temp"\n"2","a \\\\ b"\n3,D:\\x\n'))
    assert whole.rows == [("1", 'say "hi" in C:\\temp'), ("2", "a \\ b"), ("3", "D:\\x")]
    assert whole.questions == [
        "Backslashes escape quotation marks. Elsewhere they are kept as characters: 2 backslashes."
    ]


DOUBLED = "Every backslash of the file is doubled. Both are kept, and perhaps two stand for one."
BEFORE_MARK = "Backslashes stand before quotation marks. They are kept, and perhaps they escape the marks."


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ('id,note\n1,C:\\\\temp\n2,"x\\\\y"\n', [DOUBLED]),
        ("id,a\\\\b\n1,x\n", [DOUBLED]),
        ("id,note\n1,C:\\temp\n2,x\\\\y\n", []),
        ('id,note\n1,"{""a"": ""x\\\\y""}"\n', []),
        ('id,note\n1,"C:\\temp\\"\n2,x\n', []),
        ('id,note\n1,"C:\\temp\\"\n2\n', [BEFORE_MARK]),
    ],
)
def test_backslashes_that_may_be_escapes_are_asked_about(file: Write, content: str, asked: list[str]) -> None:
    questions = Whole(file(content)).questions
    assert [it for it in questions if "ackslash" in it] == asked


def test_a_record_with_another_delimiter_is_asked_about(file: Write) -> None:
    whole = Whole(file("id,name,note\n1,oak,ok\n2;oak, big;in stock, soon\n3, oak, ok\n"))
    assert whole.rows[1:] == [("2;oak", " big;in stock", " soon"), ("3", " oak", " ok")]
    assert whole.questions == ["1 record may have another delimiter, from line 3 on."]


@pytest.mark.parametrize(
    ("content", "headers", "said"),
    [
        ("a,b\n1,2,\n3,4,\n", ("a", "b", ""), "1 empty field at the end of all of the first 2 records"),
        ("a,b,,\n1,2\n3,4\n", ("a", "b"), "2; all of the first 2 records have 2 fields"),
        ("Report, of 2024\nid,name,city\nx1,A,B\nx2,C,D\nx3,E,F\n", ("id", "name", "city"), "1"),
    ],
)
def test_a_header_row_that_does_not_fit_the_records_is_read_as_they_suggest(
    file: Write, content: str, headers: tuple[str, ...], said: str
) -> None:
    whole = Whole(file(content))
    assert (whole.headers, whole.malformed, whole.questions) == (headers, [], [])
    assert said in whole.understood.values()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_with_delimiters_alone_is_a_blank_line(file: Write, quote: str, end: str) -> None:
    lines = [
        "a,b,c",
        ",,",
        *[",".join(f"{quote}{text}{quote}" for text in ("1", "", "2")), ",,,,", ","] * 700,
        '"","",',
    ]
    whole = Whole(file(end.join(lines)))
    assert whole.rows == [("1", "", "2")] * 700
    assert whole.records == list(range(1, 701))
    assert whole.lines == list(range(3, 2103, 3))
    assert (whole.malformed, whole.notes) == (
        [],
        ("1,402 lines with delimiters alone were passed over, as blank lines are.",),
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("quote", ["", '"', "\\"])
def test_short_rows_are_one_finding_and_can_be_filled(file: Write, quote: str) -> None:
    odd = "x\\y" if quote == "\\" else f"{quote}x{quote}"
    path = file("a,b,c\r\n" + f"1,{odd}\r\n2,{odd},z\r\n,\r\n3\r\n4,5,6,7\r\n" * 500)
    refused, whole = Whole(path), Whole(path, short_rows="fill")
    assert (len(refused.rows), len(refused.malformed)) == (500, 1500)
    assert refused.notes[1] == (
        "1,000 records have fewer fields than the header, from line 2 on. "
        "If they lack only empty cells: --short-rows fill"
    )
    text = odd.strip('"')
    assert whole.rows == [("1", text, ""), ("2", text, "z"), ("3", "", "")] * 500
    assert whole.records[:5] == [1, 2, 3, 5, 6]
    assert whole.lines[:5] == [2, 3, 5, 7, 8]
    assert {(bad.fields, bad.values) for bad in whole.malformed} == {(4, ("4", "5", "6", "7"))}
    assert whole.notes == (
        "500 lines with delimiters alone were passed over, as blank lines are.",
        "1,000 records with fewer fields than the header got empty ones at the end, as --short-rows says.",
    )


def test_the_header_can_be_any_line(file: Write) -> None:
    assert Whole(file("a\n" * 3000 + "id,n\n1,2\n"), header_row=3001).rows == [("1", "2")]
    path = file("Contacts,,\nof 2024,by,Ana\n\nid,name,note\nx,y,z\n")
    assert (Whole(path, header_row=4).headers, Whole(path, header_row=4).lines) == (("id", "name", "note"), [5])
    assert Whole(path, header_row=2).rows == [("id", "name", "note"), ("x", "y", "z")]
    for row in (3, 9):
        with pytest.raises(InvalidRequest, match=f"Line {row} of file.csv is blank, or beyond its end"):
            Whole(path, header_row=row)


def test_lines_of_a_spreadsheet_above_the_header_are_known_by_their_empty_fields(file: Write) -> None:
    whole = Whole(file("Contacts,,,\nby,Ana,,\n,,,\nid,name,n,city\n1,A,5,Rome\n2,B,6,Oslo\n"))
    assert (whole.headers, whole.lines, whole.questions) == (("id", "name", "n", "city"), [5, 6], [])
    assert whole.understood["Lines above the header, left out"] == "3"
    whole = Whole(file("Contacts,,\nid,name,city\nx,A,Rome\ny,B,Oslo\n"))
    assert (whole.headers, whole.questions) == (
        ("id", "name", "city"),
        ["Line 2 is perhaps not the header: 1 line above it is left out."],
    )


def test_a_value_beyond_the_header_rejects_its_record(file: Write) -> None:
    whole = Whole(file("a,b\n" + "1,2,\n" * 2000 + "3,4,5\n6,7\n"))
    assert (len(whole.rows), whole.headers) == (2000, ("a", "b", ""))
    assert whole.malformed == [
        MalformedRecord(2001, 2002, 3, ("3", "4", "5")),
        MalformedRecord(2002, 2003, 2, ("6", "7")),
    ]


def test_a_width_that_all_records_share_is_one_finding(file: Write) -> None:
    whole = Whole(file("a,b\n1,2,3\n4,5,6\n"))
    assert len(whole.malformed) == 2
    assert whole.notes == (
        "The header has 2 fields, and all of the first 2 records 3. "
        "Perhaps a name or a delimiter is missing in the header.",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1,Ann,a@ex.org\n2,Bo,b@ex.org\n3,Cy,c@ex.org\n", "The first line looks like a record"),
        ("id,name\nstring,string\nA,Ann\nB,Bob\n", "like a second header row"),
        ("id,name\nVARCHAR(20),TEXT\nA,Ann\n", "like a second header row"),
        ("id,name\ne.g. A,e.g. Ann\nA,Ann\n", "like a second header row"),
        ("id,name,status\n(required),(optional),lead\nA,Ann,lead\n", "like a second header row"),
        ("id,name\nIdentifier,Full name\nK-1,Ann\nK-2,Bob\n", "like a second header row"),
        ("id,day,note\n(no.),(date),(text)\n1,2024-01-01,x\n2,2024-01-02,y\n", "like a second header row"),
        ("id,day\n" + "1,2024-01-01\n" * 10 + "\nno.,date\n3,2024-01-03\n", "Line 13 looks like the header of another"),
        ("Contacts\nname,town\nAnn,Rome\nBo,Oslo\n", "Line 2 is perhaps not the header: 1 line above it is left out."),
        ("a,,b,c\n1,2,3\n4,5,6\n", "The header has 4 fields, and all of the first 2 records 3."),
        ("id | name\n---+-----\n1 | x\n2 | y\n", "Below the header is a ruled line"),
        ("| id | name |\n|---|---|\n| 1 | x |\n", "Below the header is a ruled line"),
        ("'id','name'\n1,\"x\"\n2,y\n", "A name of a column is in quotation marks that are not those"),
        ("a,b,c,d\n1,2\n1,2,3,4,5\n1\n", "The delimiter is probably the comma: 25% of the first records"),
        ("a^b\n1^2\n3^4\n", "The delimiter is probably the '^': 100% of the first records"),
        ("a,b;c\n1,2;3\n4,5;6\n", "The delimiter is probably the comma: 100% of the first records"),
        ("a,b;c\n1,2;3\n", "The delimiter is probably the comma: 100% of the first records"),
        ("a;b,c;d,e;f\n1;2,3;4,5;6\n", "The delimiter is probably the semicolon: 100% of the first records"),
        (
            "sep=,\na;b\n1;2\n3;4,5\n",
            "The first line says that the delimiter is the comma, but the header row has none.",
        ),
    ],
)
def test_a_header_row_or_delimiter_in_doubt_is_asked_about(file: Write, content: str, sentence: str) -> None:
    (asked, *_) = Whole(file(content)).questions
    assert sentence in asked


@pytest.mark.parametrize("content", ["a;b,c\n1;2,3\n4;5\n", "a;b, c;d\n1;2, 3;4\n5;6, 7;8\n", "a;b,c;d\n"])
def test_a_delimiter_that_may_stand_within_a_value_is_not_asked_about(file: Write, content: str) -> None:
    whole = Whole(file(content))
    assert (whole.dialect.delimiter, whole.questions) == (";", [])


def test_a_delimiter_that_no_header_has_is_refused_with_the_one_that_fits(file: Write) -> None:
    path = file("id,name,note\n" + "1,A,x\n2,B,a; b\n" * 20)
    for said, word in ((";", "semicolon"), ("tab", "tab")):
        with pytest.raises(InvalidRequest) as refused:
            Whole(path, delimiter=said)
        assert refused.value.message == (
            f"The header of file.csv has no {word} between fields. With the comma, the file has 3 columns."
        )
        assert refused.value.hint == "Say --delimiter , or leave --delimiter out."
    assert Whole(file("name\nA, b\nB\n"), delimiter=";").rows == [("A, b",), ("B",)]
    assert Whole(file("Contacts, all\nid;name\n1;A, x\n2;B, y\n"), delimiter=";").headers == ("id", "name")


@pytest.mark.parametrize(
    "content",
    [
        "country,2019,2020,2021\nDE,1,2,3\nFR,4,5,6\n",
        "name,1,2,3\nx,4,5,6\ny,7,8,9\n",
        "product,2024-01-01,2024-02-01\nx,5,6\ny,7,8\n",
        "id,name\n1,x\n2,y\n",
        "name\nAnn Lee\nBo Kim\n",
        "time\n10:30\n11:45\n",
        "name,note\nAnn,x\nBo,y\n\nCy,z\n",
        "id;amount\n1;2,50\n2;3,75\n",
    ],
)
def test_an_ordinary_header_row_is_not_asked_about(file: Write, content: str) -> None:
    whole = Whole(file(content))
    assert (whole.questions, whole.notes, whole.malformed) == ([], (), [])
    assert whole.headers == tuple(re.split("[,;]", content.partition("\n")[0]))


@pytest.mark.parametrize(
    "content",
    [
        '"id,name,note"\r\n"1,Ann,x"\r\n"2,""Kim, B"",y"\r\n',
        'id,name,note\n"1,Ann,x"\n"2,""Kim, B"",y"\n',
    ],
)
def test_lines_in_quotation_marks_as_a_whole_are_refused_with_the_remedy(file: Write, content: str) -> None:
    assert _refusal(file(content)) == "In file.csv each line is in quotation marks as a whole."


def test_a_line_end_inside_a_value_is_asked_about(file: Write) -> None:
    """The record below the line `2024-` has the whole width, but not the whole value."""
    whole = Whole(file("day,name,note\n2024-01-01,a,b\n2024-\n01-02,c,d\n\nall of 2024\n"))
    assert whole.questions == [
        "1 line with one field may belong to the record above or below, from line 3 on. "
        "Perhaps a value has a line end without quotation marks."
    ]


@pytest.mark.usefixtures("small_blocks")
def test_a_file_may_be_left_in_the_middle(file: Write) -> None:
    path = file(b"a,b\n" + b"1,2\n" * 20_000)
    for _ in range(20):
        chunks = DelimitedFile(path, "file.csv", ReadOptions(), ReadLimits()).chunks()
        assert next(chunks).records[0].as_py() == 1
        chunks.close()  # type: ignore[attr-defined]
    gc.collect()


UMLAUTS = "name;ort\r\nJürgen;Köln\r\nBjörk;Malmö\r\nŽeljko;Šibenik\r\n"


@pytest.mark.parametrize(
    ("encoding", "sure"),
    [
        ("utf-8", "certain"),
        ("utf-8-sig", "certain"),
        ("utf-16", "certain"),
        ("utf-32", "certain"),
        ("utf-16-le", "certain"),
        ("cp1252", "proposed"),
    ],
)
def test_encodings_are_detected(file: Write, encoding: str, sure: str) -> None:
    whole = Whole(file(UMLAUTS.encode(encoding)))
    assert (whole.headers, whole.rows[0], whole.rows[2]) == (("name", "ort"), ("Jürgen", "Köln"), ("Željko", "Šibenik"))
    assert whole.encoding.sure.startswith(sure)


@pytest.mark.parametrize(("encoding", "word"), [("shift_jis", "山田太郎"), ("latin-1", "Ægir"), ("utf-16-be", "Ægir")])
def test_an_encoding_can_be_said(file: Write, encoding: str, word: str) -> None:
    assert Whole(file(f"a,b\n{word},2\n".encode(encoding)), encoding=encoding).rows == [(word, "2")]


def test_shift_jis_is_detected(file: Write) -> None:
    names = ["山田太郎", "鈴木花子", "佐藤一郎", "高橋さくら", "渡辺ゆうこ"]
    content = "名前,都市\n" + "".join(f"{name},東京都\n" for name in names * 20)
    assert Whole(file(content.encode("shift_jis"))).rows[:5] == [(name, "東京都") for name in names]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_detected(file: Write, delimiter: str, end: str) -> None:
    rows = [["id", "name", "note"], ["1", "A, B; C", "x"], ["2", "", "y|z"], ["3", "d\te", ""]]
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    whole = Whole(file(written.getvalue()))
    assert [list(whole.headers), *map(list, whole.rows)] == rows
    assert whole.dialect.delimiter == delimiter


def test_other_quotation_marks_and_escapes_are_detected(file: Write) -> None:
    assert Whole(file("'a','b'\n'1,5','it''s'\n")).rows == [("1,5", "it's")]
    assert Whole(file('"a","b"\n"say \\"hi\\"","2"\n')).rows == [('say "hi"', "2")]


@pytest.mark.parametrize(
    ("content", "cell", "said"),
    [
        ('"a","b"\n"x\\\\y","2"\n', "x\\\\y", '" (likely; a backslash is a character like any other'),
        ('"a","b"\n"x\\","2"\n', "x\\", '" (likely; a backslash is a character like any other'),
        ('a,b\n"C:\\x",2\n', "C:\\x", '"'),
        ('"a","b"\n"x \\"y\\" \\\\z","2"\n', 'x "y" \\z', '" with \\ before one inside'),
    ],
)
def test_backslashes_that_could_be_escapes_are_said_to_be_none(file: Write, content: str, cell: str, said: str) -> None:
    path = file(content)
    assert Whole(path).rows == [(cell, "2")]
    understood = dict(DelimitedFile(path, "file.csv", ReadOptions(), ReadLimits()).understood)
    assert understood["Quotation mark"].startswith(said)
    assert ("likely" in understood["Quotation mark"]) == ("likely" in said)


def test_no_record_is_taken_for_a_line_above_the_header_where_another_delimiter_needs_none(file: Write) -> None:
    """After a backslash the parsers continue past a closing quotation mark. So any delimiter fits the first lines."""
    whole = Whole(file('"a";"b"\n"x \\"y\\" z";"1"\n"";",0"\n"";",0"\n'))
    assert (whole.headers, whole.rows) == (("a", "b"), [('x "y" z', "1"), ("", ",0"), ("", ",0")])


def test_a_line_that_names_the_delimiter_is_obeyed_and_left_out(file: Write) -> None:
    whole = Whole(file("sep=;\na;b\n1,2;3\n"))
    assert (whole.headers, whole.rows, whole.lines) == (("a", "b"), [("1,2", "3")], [3])


@pytest.mark.parametrize("given", [None, ","])
def test_a_line_that_names_a_delimiter_of_no_line_proposes_the_one_that_fits(file: Write, given: str | None) -> None:
    whole = Whole(file("sep=,\na;b\n1;2\n3;4,5\n"), delimiter=given)
    assert whole.headers == (("a", "b") if given is None else ("a;b",))
    assert Whole(file("sep=,\na\n1;2\n")).headers == ("a",)


def test_one_record_is_spoken_of_as_one(file: Write) -> None:
    assert Whole(file("a,b,c\n1,2\n3,4,5\n")).notes == (
        "1 record has fewer fields than the header, in line 2. If it lacks only empty cells: --short-rows fill",
    )
    assert Whole(file("a,b\n1,2,3\n")).notes[0].startswith("The header has 2 fields, and the first record 3.")
    nothing = pa.array([], pa.int64())
    (batch,) = malformed_rows(TextChunk(pa.table({}), nothing, nothing, (MalformedRecord(2, 3, 1),)), 1)
    (row,) = batch.to_pylist()
    assert (row["expected"], row["value"]) == ("must have 1 field, as the header has", "1 field")


def test_lines_above_the_header_are_left_out_and_counted(file: Write) -> None:
    whole = Whole(file("Report of contacts\n\nid,name\n1,x\n2,y\n"))
    assert (whole.headers, whole.rows, whole.lines) == (("id", "name"), [("1", "x"), ("2", "y")], [4, 5])
    assert whole.dialect.skipped_lines == 2


def test_a_header_with_fewer_fields_than_the_records_is_still_the_header(file: Write) -> None:
    whole = Whole(file("a,b\n1,2,3\n4,5,6\n"))
    assert (whole.headers, whole.rows, len(whole.malformed)) == (("a", "b"), [], 2)


def test_a_record_with_one_empty_field_too_many_is_reported(file: Write) -> None:
    whole = Whole(file("a,b\n1,2\n3,4,\n"))
    assert whole.malformed == [MalformedRecord(2, 3, 3, ("3", "4", ""))]


@pytest.mark.parametrize("options", [{"encoding": "klingon"}, {"encoding": "rot13"}, {"delimiter": "ab"}])
def test_invalid_options_are_refused(file: Write, options: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"There is no encoding|cannot be a delimiter"):
        Whole(file("a,b\n1,2\n"), **options)


CELLS = st.text(
    st.one_of(st.sampled_from(',"\r\n; \t'), st.characters(codec="utf-8", exclude_characters="\0")), max_size=8
)


def filled(table: list[list[str]]) -> list[list[str]]:
    """Return the rows that have a value, or one field."""
    return [row for row in table if any(row) or len(row) == 1]


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Draw a header of unique names that are not empty, and rows as wide."""
    # that would be a byte order mark, not a name
    names = CELLS.filter(lambda name: name != "" and not name.startswith("\ufeff"))
    headers = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    return [headers, *draw(st.lists(st.lists(CELLS, min_size=len(headers), max_size=len(headers)), max_size=12))]


@given(tables(), st.sampled_from(["\r\n", "\n"]), st.booleans())
@example([["a", "b"], ["\r", "\n"], ["", ""], ['"', ","]], "\n", False)
@example([["a", "b"], ["", "\r\\"]], "\r\n", False)
def test_what_python_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], line_end: str, mark: bool
) -> None:
    # Before 3.13 the writer leaves a lone carriage return unquoted where lines end in "\n": quote everything there.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if line_end == "\n" else csv.QUOTE_MINIMAL
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=line_end, quoting=quoting).writerows(table)
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(written.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    whole = Whole(path, delimiter=",", encoding="utf-8-sig" if mark else "utf-8")
    table = filled(table)
    assert [list(whole.headers), *map(list, whole.rows)] == table
    assert whole.records == list(range(1, len(table)))
    assert (whole.read, whole.malformed) == (len(table) - 1, [])


MARKED = {  # the reader detects these
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
SAID = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1252", "latin-1", "shift_jis"]


@cache
def _letters(encoding: str) -> st.SearchStrategy[str]:
    """Return the characters of an encoding; of Shift-JIS only those that a round trip keeps."""
    if encoding.startswith("utf"):
        return st.characters(codec="utf-8", exclude_characters="\0\ufeff")
    ones = [bytes([byte]) for byte in range(1, 256)]
    decoded = {it: it.decode(encoding, "ignore") for it in (*ones, *(a + b for a in ones for b in ones))}
    return st.sampled_from([it for data, it in decoded.items() if len(it) == 1 and it.encode(encoding) == data])


@dataclass(frozen=True)
class Written:
    """A table as a file of some dialect, and the options that the import needs beside the file itself."""

    table: list[list[str]]
    content: bytes
    options: dict[str, str]


@st.composite
def files(draw: st.DrawFn) -> Written:
    """Draw any table in any dialect. The reader finds the delimiter if a line names it or every field is quoted."""
    said = draw(st.booleans())
    encoding = draw(st.sampled_from(SAID if said else [*MARKED]))
    delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    above = draw(st.sampled_from(["", f"sep={delimiter}{end}", f"Contacts{end}", f"Contacts{end}{end}of 2024{end}"]))
    escaped = draw(st.booleans())
    every = escaped or end != "\r\n" or draw(st.booleans())  # before 3.13 the writer leaves other line ends unquoted
    letters = _letters(encoding)
    cells = st.text(st.one_of(st.sampled_from(',;|"\\\r\n\t '), letters), max_size=8)
    width = draw(st.integers(1 if above[:4] in ("", "sep=") and not every else 2, 4))
    header = draw(st.lists(cells.filter(bool), min_size=width, max_size=width, unique=True))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=bool(above), max_size=8))
    assume(not above or any(map(any, rows)))
    if escaped:  # nothing else shows that the backslash is an escape character
        rows.insert(0, ['a "b" c'] * width)
    written = io.StringIO(newline="")
    csv.writer(
        written,
        delimiter=delimiter,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL,
        doublequote=not escaped,
        escapechar="\\" if escaped else None,
    ).writerows([header, *rows])
    body = written.getvalue()
    assume(every or body.count("'") < 4)  # these may be quotation marks
    content = (above + body + end * draw(st.integers(0, 2))).encode(encoding)
    options = {} if every or above.startswith("sep=") else {"delimiter": delimiter}
    if said:
        return Written([header, *rows], content, {**options, "encoding": encoding})
    return Written([header, *rows], MARKED[encoding] + content, options)


@settings(max_examples=tried(300), suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_a_table_in_any_dialect_comes_back(tmp_path_factory: pytest.TempPathFactory, written: Written) -> None:
    path = tmp_path_factory.getbasetemp() / "dialect.csv"
    path.write_bytes(written.content)
    whole = Whole(path, **written.options)
    table = filled(written.table)
    assert [list(whole.headers), *map(list, whole.rows)] == table
    assert (whole.read, whole.malformed) == (len(table) - 1, [])


class _Defective:
    """Arrow's reader of blocks, with a defect: a row is dropped, doubled or split in two, or its values are shifted."""

    def __init__(self, how: str, victim: int) -> None:
        self.how, self.at, self.genuine = how, victim - 1, pyarrow.csv.open_csv

    def __call__(self, *arguments: Any) -> Any:
        with self.genuine(*arguments) as reader:
            table = self._damaged(reader.read_all())
        return nullcontext(SimpleNamespace(read_all=lambda: table))

    def _damaged(self, table: pa.Table) -> pa.Table:
        at = self.at
        self.at -= table.num_rows
        if not 0 <= at < table.num_rows:
            return table
        rows = table.to_pylist()
        row = rows[at]
        rows[at : at + 1] = {
            "drop": [],
            "double": [row, row],
            "split": [{**row, "1": ""}, {**row, "0": ""}],
            "shift": [{"0": row["1"], "1": row["0"]}],
        }[self.how]
        return pa.Table.from_pylist(rows, table.schema)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("tail", [b"", b"x\n"], ids=["", "malformed last"])
@pytest.mark.parametrize("victim", [1, 2500, 5000], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", ["drop", "double", "split", "shift"])
def test_a_record_more_or_less_in_one_of_the_parsers_stops_the_reading(
    file: Write, monkeypatch: pytest.MonkeyPatch, how: str, victim: int, tail: bytes
) -> None:
    path = file(b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(1, 5001)) + tail)
    assert Whole(path).read == 5000 + bool(tail)
    monkeypatch.setattr(pyarrow.csv, "open_csv", _Defective(how, victim))
    # If one of two equal records is missing, or one at the end of a block, only the next record can show it.
    near = victim + (how == "double")
    assert _refusal(path) in [
        f"file.csv can be read in two ways near record {record:,} (line {record + 1:,})." for record in (victim, near)
    ]


@settings(max_examples=tried(300))
@given(st.text('ab,"\r\n', max_size=60), st.integers(1, 40), st.booleans())
@example('a,"b"\r', 7, False)
@example('"a\r\nb",c\r\n"",""""\n', 5, False)
@example('a\r\n,\r\n"",""\n"",\na,b,\n', 40, True)
def test_counting_quotation_marks_and_pythons_parser_find_the_same_records(text: str, block: int, fills: bool) -> None:
    def found(*, by_python: bool) -> tuple[list[Any], str | None]:
        data = io.BytesIO(text.encode())
        dialect = Dialect(",", '"', None, 0, "")
        finder = RecordFinder(data.read, dialect, 2, 1, 1_000_000, fills_short=fills)
        of = (lambda *_, **__: None) if by_python else _Structure.of
        records: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resources.file_reader.delimited.structure, "BLOCK", block)
            patch.setattr(_Structure, "of", of)
            try:
                for it in finder.blocks():
                    texts = bytes(it.texts).decode().split("\x1e")[:-1]
                    records += zip(it.records.tolist(), it.lines.tolist(), texts, strict=True)
                    records += [(bad.record, bad.line, bad.values) for bad in it.malformed]
            except csv.Error as error:
                return [], str(error)
        return sorted(records), None

    assert found(by_python=False) == found(by_python=True)
