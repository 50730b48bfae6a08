"""How a file is read: what a user says about it, and what a user must be asked."""

import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo

from schemas.masking import MASK

TAB, COMMA, POINT = "\t", ",", "."


class DateOrder(StrEnum):
    """The order of day, month and year in a date that is not ISO 8601: 31/05/2024, 05/31/2024 or 2024/05/31."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about how a file is written. None means that nothing is said.

    encoding: the name of a Python codec. date_order: the order in dates that are not ISO 8601.
    unescape: whether to remove the ' that an export puts before a text that looks like a formula.
    as_shown: whether a number of a workbook in a field of text is the text that its number format shows.
    decimal: the decimal sign of numbers in delimited text, a comma or a point. They may have thousands separators then.
    time_zone: the time zone of timestamps without an offset from UTC.
    at: the path of the list that has the records of a JSON file, if an object is around it: data.items. A point is the
        object itself.
    or_encodings: encodings that gave the file the same text as `encoding`, when a user chose that text.
    likely_encoding: the encoding of an earlier file of this kind. It counts only if the file is in no certain encoding.
    of: the id of an export of ours that the file says it is. Anybody can write an id into a file.
    """

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    date_order: DateOrder | None = None
    unescape: bool | None = None
    as_shown: bool | None = None
    time_zone: str | None = None
    decimal: str | None = None
    at: str | None = None
    or_encodings: tuple[str, ...] | None = None
    likely_encoding: str | None = None
    of: str | None = None

    @classmethod
    def said_in(cls, request: object) -> Self:
        """Returns the options that a request or policy has as attributes of the same names."""
        return cls(**{name: getattr(request, name) for name in SAID})

    def or_else(self, others: "ReadOptions") -> Self:
        """Returns these options, and the others where nothing is said."""
        unsaid = {name: value for name, value in asdict(others).items() if getattr(self, name) is None}
        if self.encoding is not None:
            unsaid.pop("or_encodings", None)  # they belong to the encoding
        return replace(self, **unsaid)

    def with_answers(self, answers: "Mapping[Question, str]") -> Self:
        """Returns these options and the answers to questions."""
        said = self.said()
        for question, answer in answers.items():
            if question.option is not None:
                said[question.option] = answer
            if question.option == "encoding":
                said["or_encodings"] = (answer == question.proposed and question.alike) or None
        return self.from_said(said)

    def said(self) -> dict[str, Any]:
        """Returns the options that are said, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns the options of the command that say the same, each quoted for a shell."""
        said = {
            name.replace("_", "-"): value for name, value in replace(self, likely_encoding=None, of=None).said().items()
        }
        return tuple(
            f"--{'' if value else 'no-'}{option}"
            if isinstance(value, bool)
            else f"--{option} {'tab' if value == TAB else shlex.quote(value)}"
            for option, value in said.items()
        )

    @classmethod
    def from_said(cls, said: Mapping[str, Any]) -> Self:
        """Returns the options as `said` gives them. Names of other versions are left out."""
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in said.items() if name in known}
        if given.get("or_encodings") is not None:
            given["or_encodings"] = tuple(given["or_encodings"])
        if given.get("date_order") is not None:
            given["date_order"] = DateOrder(given["date_order"])
        return cls(**given)


SAID = tuple(each.name for each in fields(ReadOptions) if each.name not in ("or_encodings", "likely_encoding", "of"))
"""The names of the options that a user says."""


@dataclass(frozen=True)
class Differing:
    """A value of a file that has another text under each candidate of a question.

    header: the header of its column, "" if that is not known; None if it is a header itself.
    """

    header: str | None
    texts: tuple[str, ...]

    def masked(self) -> "Differing":
        """Returns the value with a mask in place of each run of characters that all candidates read alike."""
        start = len(_common(self.texts))
        end = len(_common(tuple(text[start:][::-1] for text in self.texts)))
        return replace(self, texts=tuple(_masked(text, start, end) for text in self.texts))


@dataclass(frozen=True)
class Question:
    """What a user must say before a file is committed, because its bytes fit several readings.

    option: the name of the option that answers it, as in ReadOptions. None if there is nothing to choose, and whoever
        commits the preview accepts how the file is read.
    candidates: the answers, the likeliest first. The preview reads the file with that one.
    values: the first values that differ, each with its text under every candidate.
    alike: other answers that give this file the same text as the first candidate.
    """

    sentence: str
    option: str | None = None
    candidates: tuple[str, ...] = ()
    values: tuple[Differing, ...] = ()
    alike: tuple[str, ...] = ()

    @property
    def proposed(self) -> str:
        """Returns the answer with which the preview reads the file."""
        return self.candidates[0]

    @property
    def flag(self) -> str:
        """Returns the option of the command that answers the question."""
        return f"--{self.option.replace('_', '-')}" if self.option else ""

    def masked(self, shown: Collection[str]) -> "Question":
        """Returns the question with masks in its values. Headers and the columns in `shown` have none."""
        values = tuple(it if it.header is None or it.header in shown else it.masked() for it in self.values)
        return replace(self, values=tuple(dict.fromkeys(values)))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Returns the question that `asdict` has turned into lists and dicts."""
        values = tuple(Differing(value["header"], tuple(value["texts"])) for value in given["values"])
        return cls(
            given["sentence"], given["option"], tuple(given["candidates"]), values, tuple(given.get("alike", ()))
        )


def is_answered(question: Question, options: ReadOptions) -> bool:
    """Returns whether the options answer the question, so that the file is read as a user said.

    A user who chose a text, and not an encoding by its name, has chosen between encodings that differ in this file.
    """
    same = {*question.alike, question.proposed} if question.option == "encoding" else ()
    other = [it for it in options.or_encodings or () if question.option == "encoding" and it not in same]
    return question.option is not None and options.said().get(question.option) == question.proposed and not other


def is_time_zone(name: str) -> bool:
    """Returns whether there is a time zone of that name, such as UTC or Europe/Berlin."""
    with suppress(KeyError, ValueError, OSError):  # for an unknown zone, a text that cannot be a name, a folder
        ZoneInfo(name)
        return True
    return False


def _common(texts: tuple[str, ...]) -> str:
    """Returns the beginning that all texts have."""
    shortest = min(texts, key=len)
    return next((shortest[:at] for at, it in enumerate(shortest) if any(text[at] != it for text in texts)), shortest)


def _masked(text: str, start: int, end: int) -> str:
    middle = text[start : len(text) - end]
    return (MASK if start else "") + middle + (MASK if end else "")
