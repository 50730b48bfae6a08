"""The encoding of a file that is not marked: found, or the file is refused where a part of it would be misread."""

import io

import pytest

from resources.file_reader.delimited.encoding import detect_encoding, rank
from schemas.errors import UnreadableFile
from tests.encodings import LANGUAGES, found

CP1252 = "external_id;name;city\n" + "".join(f"X-{n};José Núñez;A Coruña\n" for n in range(20))


def detected(data: bytes) -> str:
    return detect_encoding(io.BytesIO(data), "in.csv").name


@pytest.mark.parametrize("encoding", LANGUAGES)
def test_a_hundred_records_show_their_encoding(encoding: str) -> None:
    result = found(encoding, 100, range(10))
    assert result.files >= 10
    assert result.right >= 0.99 * result.files


def test_spanish_is_not_read_as_the_letters_of_central_europe() -> None:
    assert detected(CP1252.encode("cp1252")) == "cp1252"
    assert detected(CP1252.encode("cp1252").rstrip(b"\n") + "á".encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    ("line", "places"),
    [
        (b"X-3,Ana,M\xfcller \x96 S\xf6hne\n", r"3 bytes: line 4, byte 10 \(0xfc\); line 4, byte 16 \(0x96\); line 4,"),
        ("X-3,Jos\u00e9,".encode() + b"M\xfcller\n", r"1 byte: line 4, byte 12 \(0xfc\)"),
        (b"X-3," + b"\xfc" * 9 + b"\n", r"9 bytes: .* and 6 more\."),
    ],
)
def test_utf_8_with_a_few_other_bytes_is_refused_with_their_places(line: bytes, places: str) -> None:
    """To read it as anything else would turn José into JosÃ© in every other line."""
    whole = "id,name,company\n" + "X-1,José,Núñez\n" * 2
    with pytest.raises(UnreadableFile, match=f"in.csv is UTF-8, except for {places}") as refused:
        detected(whole.encode() + line + whole.encode() * 9)
    assert "save the file again as UTF-8" in str(refused.value.hint)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_file_that_ends_inside_a_character_is_refused(missing: int) -> None:
    with pytest.raises(UnreadableFile, match="ends inside a character of UTF-8, in line 3"):
        detected("id,name\nX-1,山田太郎\nX-2,山田太".encode()[:-missing])


@pytest.mark.parametrize("end", ["\u00e9", "\u6f22", "\U0001f600"])
@pytest.mark.parametrize("before", ["b,", "b,X"])
def test_a_file_that_ends_inside_its_only_character_is_refused(end: str, before: str) -> None:
    for cut in range(1, len(end.encode())):
        with pytest.raises(UnreadableFile, match="ends inside a character of UTF-8, in line 2") as refused:
            detected(b"id,name\n" + before.encode() + end.encode()[:cut])
        assert refused.value.hint.endswith("If it is not UTF-8, name its encoding (--encoding).")


def test_a_last_letter_that_may_be_of_another_encoding_is_asked_about() -> None:
    assert detect_encoding(io.BytesIO(b"id,name\n1,Jos\xe9"), "in.csv").candidates[0] == "cp1252"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_ascii_with_wide_characters_behind_it_is_refused_as_that(encoding: str) -> None:
    with pytest.raises(UnreadableFile, match=r"in.csv is ASCII up to line 2, and UTF-16 or UTF-32 follows\."):
        detected(b"id,name\n1,Ada\n" + "2,Al\n3,Bo\n".encode(encoding))


def test_a_last_line_of_half_a_character_is_counted_once() -> None:
    with pytest.raises(UnreadableFile, match="ends inside a character of UTF-8, in line 3"):
        detected("id\n山田太郎\n山".encode()[:-1])


def test_a_bad_byte_in_a_line_longer_than_a_block_is_named_by_its_place() -> None:
    long = "é" * 600_000
    data = f"id,name\nX-1,{long}".encode() + b"\xfc" + f"{long}\n".encode()
    with pytest.raises(UnreadableFile, match=r"1 byte: line 2, byte 1,200,005 \(0xfc\)"):
        detected(data)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["id,name\n1,Ana\n", "id\r1\r", "a\n\u4e00\n"])
def test_text_of_wide_characters_without_a_mark_is_known_by_its_lines(encoding: str, text: str) -> None:
    """In the other order of bytes, "id" is two Chinese characters."""
    data = text.encode(encoding)
    assert detect_encoding(io.BytesIO(data), "in.csv").name == encoding
    assert detect_encoding(io.BytesIO(data), "in.csv").candidates == ()


def test_wide_characters_that_have_lines_in_either_order_are_asked_about() -> None:
    both = detect_encoding(io.BytesIO("a\n\u0a00b\n".encode("utf-16-le")), "in.csv")
    assert both.candidates == ("utf-16-le", "utf-16-be")
    few = detect_encoding(io.BytesIO("\u6161\u6161\u6161\u6161\u6161\n".encode("utf-16-le")), "in.csv")
    assert few.candidates == ("utf-16-le", "utf-8")


def test_a_nul_in_utf_8_is_not_taken_for_a_wide_character() -> None:
    assert detected(b"id,name\n1,A\0na\n") == "utf-8"
    assert detected(b"id,name\n1,A\0n\n") == "utf-8"


def test_a_byte_that_no_language_explains_is_ranked_without_a_warning() -> None:
    assert rank(b"\x83")[:2] == ["mac_roman", "cp850"]


@pytest.mark.parametrize("text", ["name\nM+APw-ller\n", "name,note\nJosh,+AGE-b\n", "a,b\n+T2BZfQ-,C+-+-\n"])
def test_sequences_of_utf_7_are_asked_about(text: str) -> None:
    assert detect_encoding(io.BytesIO(text.encode()), "in.csv").candidates == ("utf-7", "utf-8")


@pytest.mark.parametrize(
    "text", ["+34 600-1", "+1234-5678", "+490-123", "+100-22", "a+-b", "UTC+02-x", "C++-1", "+AGE"]
)
def test_plus_signs_of_ordinary_text_are_not_taken_for_utf_7(text: str) -> None:
    assert detected(f"a,b\n1,{text}\n".encode()) == "utf-8"


def test_an_encoding_of_an_earlier_file_comes_first_and_letters_that_speak_for_another_one_are_said() -> None:
    names = io.BytesIO("name\nGómez\nMuñoz\nPeña\nNúñez\n".encode("cp1252"))
    found = detect_encoding(names, "in.csv", "mac_roman")
    assert (found.name, found.contrary, found.candidates[:2]) == ("mac_roman", "cp1252", ("mac_roman", "cp1252"))
    assert found.sentence.endswith(" Its letters speak for cp1252, not for mac_roman.")
    assert detect_encoding(names, "in.csv", "cp1252").contrary is None
    few = io.BytesIO("name\nGómez\nPeña\n".encode("cp1252"))
    assert detect_encoding(few, "in.csv", "mac_roman").contrary is None, "too few letters to be clear"
