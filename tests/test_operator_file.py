"""The files that an operator edits."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from resources.operator_file import checked_entries, read_operator_file
from schemas.errors import InvalidRequest


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    account: str
    format: Literal["csv", "json"] = "csv"


class ExampleFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    exports: list[Entry] = []


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n"])
def test_no_file_and_an_empty_one_say_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "exports.yaml").write_text(text)
    assert read_operator_file(tmp_path / "exports.yaml", ExampleFile) == ExampleFile()


def test_what_it_says_is_read(tmp_path: Path) -> None:
    (tmp_path / "exports.yaml").write_text("exports:\n- account: ua\n  format: json\n")
    assert read_operator_file(tmp_path / "exports.yaml", ExampleFile) == ExampleFile(
        exports=[Entry(account="ua", format="json")]
    )


class Hour(BaseModel):
    at: str = ""
    of: int = 0


def test_a_time_of_day_is_a_text_and_a_number_a_number(tmp_path: Path) -> None:
    (tmp_path / "hour.yaml").write_text("at: 17:30\nof: 12\n")
    assert read_operator_file(tmp_path / "hour.yaml", Hour) == Hour(at="17:30", of=12)


def test_one_wrong_entry_does_not_hide_the_others(tmp_path: Path) -> None:
    listed = [{"account": "ua"}, {"format": "csv"}, "ua", {"account": "dl", "where": ["email = canary@example.org"]}]
    entries, mistakes = checked_entries(tmp_path / "exports.yaml", "exports", listed, Entry)
    assert entries == [Entry(account="ua")]
    assert [each.message.partition(": ")[2] for each in mistakes] == [
        "`exports, entry 2, account` is missing.",
        "`exports, entry 3` was 'ua': input should be a valid dictionary or instance of Entry.",
        "`exports, entry 4, where` is no setting of this file.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("exports:\n- format: xls\n  account: ua", "`exports, entry 1, format` was 'xls': input should be 'csv' or"),
        ("exports:\n- format: csv\n", "`exports, entry 1, account` is missing"),
        ("export: 1\n", "`export` is no setting of this file"),
        ("- 1\n", "`the file` input should be a valid dictionary"),
        ("a: [1\nb: 2", "is not valid YAML in line 2"),
        ("a: !!python/object:os.system {}", "is not valid YAML in line 1"),
        ("a: 2024-02-30", "has a value that cannot be read: day is out of range for month"),
        ("a: !!int abc", "has a value that cannot be read: "),
        ("a: !!bool abc", "has a value that cannot be read: "),
        ("a: " + "[" * 3000, "has a value that cannot be read: "),
        ("exports: \xff", "cannot be read"),
    ],
)  # fmt: skip
def test_an_invalid_entry_is_reported_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "exports.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidRequest) as refused:
        read_operator_file(tmp_path / "exports.yaml", ExampleFile)
    assert sentence in refused.value.message
    assert str(tmp_path / "exports.yaml") in refused.value.message
