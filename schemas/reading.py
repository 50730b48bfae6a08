"""How a file is read: what a user says about it, and what a user must be asked."""

import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from itertools import chain, zip_longest
from typing import Any, Self
from zoneinfo import ZoneInfo

from schemas.footers import Footer
from schemas.masking import MASK

TAB, COMMA, POINT = "\t", ",", "."
YES, NO = "yes", "no"
"""The answers to a question about an option that is set or not."""


class DateOrder(StrEnum):
    """The order of day, month and year in a date that is not ISO 8601: 31/05/2024, 05/31/2024 or 2024/05/31."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class ShortRows(StrEnum):
    """What to do with records of delimited text that have fewer fields than the header."""

    REJECT = "reject"
    FILL = "fill"


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about how a file is written. None means that nothing is said.

    encoding: the name of a Python codec. date_order: the order in dates that are not ISO 8601.
    unescape: whether to remove the ' that an export puts before a text that looks like a formula.
    as_shown: whether a number of a workbook in a field of text is the text that its number format shows.
    decimal: the decimal sign of numbers in delimited text, a comma or a point. They may have thousands separators then.
    time_zone: the time zone of timestamps without an offset from UTC.
    footer: what is done with last lines that look like no records.
    blank: what empty cells do, as `schemas.blanks` reads it.
    header_row: the line of a text or the row of a sheet that names the columns, from 1.
    short_rows: what to do with records that have fewer fields than the header. `fill` adds empty ones.
    at: the path of the list that has the records of a JSON file, if an object is around it: data.items. A point is the
        object itself.
    or_encodings: encodings that gave the file the same text as `encoding`, when a user chose that text.
    not_encodings: encodings that gave it another text, which the user saw and did not choose.
    likely_encoding: the encoding of an earlier file of this kind. It counts only if the file is in no certain encoding.
    likely_at: the list of a JSON file that is likeliest to have the records. It counts only if `at` is not said.
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
    footer: Footer | None = None
    blank: str | None = None
    header_row: int | None = None
    short_rows: ShortRows | None = None
    at: str | None = None
    or_encodings: tuple[str, ...] | None = None
    not_encodings: tuple[str, ...] | None = None
    likely_encoding: str | None = None
    likely_at: str | None = None
    of: str | None = None

    @classmethod
    def said_in(cls, request: object) -> Self:
        """Returns the options that a request or policy has as attributes of the same names."""
        return cls(**{name: getattr(request, name) for name in SAID})

    def or_else(self, others: "ReadOptions") -> Self:
        """Returns these options, and the others where nothing is said."""
        unsaid = {name: value for name, value in asdict(others).items() if getattr(self, name) is None}
        if self.encoding is not None:
            unsaid = {name: value for name, value in unsaid.items() if name not in _OF_ENCODING}
        return replace(self, **unsaid)

    def with_answers(self, answers: "Mapping[Question, str]") -> Self:
        """Returns these options and the answers to questions."""
        said = self.said()
        for question, answer in answers.items():
            if question.option is not None:
                said[question.option] = {YES: True, NO: False}.get(answer, answer)
            if question.option == "encoding":
                others = [question.group(it) for it in question.candidates if answer not in question.group(it)]
                said["or_encodings"] = question.group(answer)[1:] or None
                said["not_encodings"] = tuple(chain(*others)) or None
        return self.from_said(said)

    def said(self) -> dict[str, Any]:
        """Returns the options that are said, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns the options of the command that say the same, each quoted for a shell."""
        return tuple(
            _flag(name, value)
            for name, said in self.said().items()
            if name in SAID
            for value in (said.split(",") if name == "blank" else [said])
        )

    @classmethod
    def from_said(cls, said: Mapping[str, Any]) -> Self:
        """Returns the options as `said` gives them. Names of other versions are left out."""
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in said.items() if name in known}
        given |= {name: tuple(given[name]) for name in _OF_ENCODING if given.get(name) is not None}
        if given.get("date_order") is not None:
            given["date_order"] = DateOrder(given["date_order"])
        if given.get("footer") is not None:
            given["footer"] = Footer(given["footer"])
        if given.get("header_row") is not None:
            given["header_row"] = int(given["header_row"])
        if given.get("short_rows") is not None:
            given["short_rows"] = ShortRows(given["short_rows"])
        return cls(**given)


_OF_ENCODING = ("or_encodings", "not_encodings")
"""The names of the options that belong to the encoding."""
_UNSAID = (*_OF_ENCODING, "likely_encoding", "likely_at", "of")
OF_FORM = (*_OF_ENCODING, "encoding", "delimiter", "sheet", "header_row", "at")
"""The names of the options that say in which form a file has its records, and nothing about its values."""
SAID = tuple(each.name for each in fields(ReadOptions) if each.name not in _UNSAID)
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
    alike: for each candidate the other answers that give this file the same text.
    contrary: the candidate that the file itself suggests, if the first one is that of an earlier file.
    """

    sentence: str
    option: str | None = None
    candidates: tuple[str, ...] = ()
    values: tuple[Differing, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    contrary: str | None = None

    @property
    def proposed(self) -> str:
        """Returns the answer with which the preview reads the file."""
        return self.candidates[0]

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns for each candidate the option of the command that gives this answer, quoted for a shell."""
        return tuple(_flag(self.option or "", {YES: True, NO: False}.get(it, it)) for it in self.candidates)

    def group(self, answer: str) -> tuple[str, ...]:
        """Returns the answer and all others that give this file the same text, the answer first."""
        groups = [(it, *alike) for it, alike in zip_longest(self.candidates, self.alike, fillvalue=())]
        group = next((group for group in groups if answer in group), (answer,))
        return (answer, *(it for it in group if it != answer))

    def masked(self, shown: Collection[str]) -> "Question":
        """Returns the question with masks in its values. Headers and the columns in `shown` have none."""
        values = tuple(it if it.header is None or it.header in shown else it.masked() for it in self.values)
        return replace(self, values=tuple(dict.fromkeys(values)))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Returns the question that `asdict` has turned into lists and dicts."""
        values = tuple(Differing(value["header"], tuple(value["texts"])) for value in given["values"])
        alike = given.get("alike") or ()
        if alike and isinstance(alike[0], str):  # earlier versions wrote the first group alone
            alike = [alike]
        return cls(
            given["sentence"],
            given["option"],
            tuple(given["candidates"]),
            values,
            tuple(map(tuple, alike)),
            given.get("contrary"),
        )


def is_answered(question: Question, options: ReadOptions) -> bool:
    """Returns whether the options answer the question, so that the file is read as a user said.

    A user who chose a text, and not an encoding by its name, has chosen between encodings that differ in this file. A
    user who chose an encoding has not seen that a later file suggests another one.
    """
    if question.option is None or _flag(question.option, options.said().get(question.option)) != question.flags[0]:
        return False
    if question.option != "encoding":
        return True
    is_chosen = {*(options.or_encodings or ())} <= {*question.group(question.proposed)}
    return is_chosen and question.contrary in (None, *(options.not_encodings or ()))


def is_time_zone(name: str) -> bool:
    """Returns whether there is a time zone of that name, such as UTC or Europe/Berlin."""
    with suppress(KeyError, ValueError, OSError):  # for an unknown zone, a text that cannot be a name, a folder
        ZoneInfo(name)
        return True
    return False


def _flag(option: str, value: Any) -> str:
    """Returns an option of the command with its value, quoted for a shell."""
    name = option.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{name}"
    return f"--{name} {'tab' if value == TAB else shlex.quote(str(value))}"


def _common(texts: tuple[str, ...]) -> str:
    """Returns the beginning that all texts have."""
    shortest = min(texts, key=len)
    return next((shortest[:at] for at, it in enumerate(shortest) if any(text[at] != it for text in texts)), shortest)


def _masked(text: str, start: int, end: int) -> str:
    middle = text[start : len(text) - end]
    return (MASK if start else "") + middle + (MASK if end else "")
