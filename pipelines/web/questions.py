"""The questions about how a file is read: what a person can answer, with examples from the file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from pipelines.web.drafts import Draft
from pipelines.web.texts import Texts
from resources.file_reader.header_row import SECOND_HEADER
from resources.importing.peek import Peek
from schemas.footers import Footer
from schemas.reading import NO, TAB, YES, DateOrder, Question, ReadOptions
from schemas.warnings import WarningCode

_ENCODINGS = ("utf-8", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "utf-16")
_DELIMITERS = {",": "comma", ";": "semicolon", "tab": "tab", "|": "bar"}
_WORKBOOKS = (".xlsx", ".xlsm")
_EXAMPLES = 5
HEADER_ROW = "header_row"
_ROWS_BELOW = 5
"""How many rows below the one that names the columns are shown, so that a person can choose another one."""


@dataclass(frozen=True)
class Choice:
    """One question of the page, and its answers: value and words. `chosen` is the answer that counts now.

    Without answers, the person types one. is_open: the file leaves it open, so the person should answer.
    examples: what texts of the file are under an answer. about: the texts that the question is about.
    """

    name: str
    answers: Sequence[tuple[str, str]]
    chosen: str
    is_open: bool = False
    sentence: str = ""
    examples: Sequence[tuple[str, Sequence[str]]] = ()
    about: Sequence[str] = ()

    @property
    def is_short(self) -> bool:
        """Returns whether it is shown in one line, because nobody must look at it."""
        return not self.is_open and self.name in ("encoding", "delimiter", "sheet", "at")


def choices(texts: Texts, draft: Draft, found: Peek) -> Iterator[Choice]:
    """Yields what a person can say about a file, in the order in which it is asked."""
    used, said = found.used, draft.upload.choices.reading
    asked = {it.option: it for it in (*_late(draft), *found.questions) if it.option not in (None, HEADER_ROW)}
    for name, current in (("sheet", used.sheet), ("at", used.at)):
        others = list(found.alternatives.get(name, ()))
        if len(others) > 1 and name not in asked:
            yield Choice(name, [(it, _in_words(texts, name, it)) for it in others], current or "")
    if used.encoding is not None:
        yield _encoding(texts, used, said, found.letters, asked.pop("encoding", None))
    if used.delimiter is not None:
        answers = [(value, str(texts(f"reading.delimiters.{name}"))) for value, name in _DELIMITERS.items()]
        question = asked.pop("delimiter", None)
        chosen = "tab" if used.delimiter == TAB else used.delimiter
        yield Choice("delimiter", answers, chosen, question is not None, question.sentence if question else "")
    if found.date is not None:
        readings = found.date.readings
        answers = [
            (order.value, _date(texts, found.date.text, readings[order.value]))
            for order in DateOrder
            if order.value in readings
        ]
        yield Choice("date_order", answers, said.date_order or _only(answers), said.date_order is None)
        asked.pop("date_order", None)
    if found.number is not None:
        answers = [
            (sign, str(texts("reading.number_is", text=found.number.text, number=texts.decimal(value))))
            for sign, value in found.number.readings.items()
        ]
        yield Choice("decimal", answers, said.decimal or _only(answers), said.decimal is None)
        asked.pop("decimal", None)
    if found.local_time or said.time_zone:
        sentence = str(texts("reading.local_time", text=found.local_time)) if found.local_time else ""
        zone = said.time_zone or found.time_zone or ""
        yield Choice("time_zone", (), zone, not zone, sentence)
        asked.pop("time_zone", None)
    footer = _footer(draft)
    if "footer" not in asked and (said.footer is not None or footer):
        answers = [(it.value, _in_words(texts, "footer", it.value)) for it in Footer]
        yield Choice("footer", answers, said.footer or "", said.footer is None, about=footer)
    for option, question in asked.items():
        yield _asked(texts, option or "", question)


def unnamed_sheet(draft: Draft) -> Iterator[Choice]:
    """Yields the question which sheet to read, if a workbook cannot be read without an answer."""
    if draft.upload.name.lower().endswith(_WORKBOOKS):
        yield Choice("sheet", (), draft.upload.choices.reading.sheet or "", True)


def doubts(draft: Draft, found: Peek | None) -> Sequence[str]:
    """Returns the sentences of questions with nothing to choose. The person accepts them, or reads other rows."""
    asked = (*_late(draft), *(() if found is None else found.questions))
    left = draft.upload.choices.leave_open(asked)
    return tuple(dict.fromkeys(it.sentence for it in left if it.option is None))


def header_rows(draft: Draft, found: Peek) -> tuple[Sequence[tuple[int, Sequence[str]]], bool]:
    """Returns the rows of which one names the columns, and whether the file leaves open which one."""
    if found.used.header_row is None:
        return (), False
    shown = [row for row in found.first_rows if row[0] <= found.used.header_row + _ROWS_BELOW]
    asked = draft.upload.choices.leave_open((*_late(draft), *found.questions))
    is_open = any(it.option == HEADER_ROW or it == SECOND_HEADER for it in asked)
    return (shown, is_open) if len(shown) > 1 else ((), False)


def in_words(texts: Texts, value: Any) -> str:
    """Returns a value as a person reads it."""
    if isinstance(value, bool):
        return str(texts("reading.yes" if value else "reading.no"))
    if type(value) is date:
        return _day(texts, value.isoformat())
    if isinstance(value, Decimal | float):
        return texts.decimal(str(value))
    return str(value).replace("+00:00", " UTC")


def _late(draft: Draft) -> Sequence[Question]:
    """Returns the questions that only the whole file has raised."""
    return () if draft.report is None else draft.report.questions


def _encoding(texts: Texts, used: ReadOptions, said: ReadOptions, letters: str, question: Question | None) -> Choice:
    chosen = said.encoding or used.encoding or ""
    candidates = question.candidates if question else ()
    names = list(dict.fromkeys([*candidates, used.encoding or "", *(() if question else _ENCODINGS)]))
    answers = [(name, _in_words(texts, "encodings", name)) for name in names]
    if question is None:
        return Choice("encoding", answers, chosen, examples=[(chosen, [letters])] if letters else ())
    return Choice("encoding", answers, chosen, True, question.sentence, _examples(question))


def _asked(texts: Texts, option: str, question: Question) -> Choice:
    answers = [(it, _in_words(texts, option, it)) for it in question.candidates]
    return Choice(option, answers, question.proposed, True, question.sentence, _examples(question))


def _examples(question: Question) -> Sequence[tuple[str, Sequence[str]]]:
    return [
        (name, [value.texts[at] for value in question.values[:_EXAMPLES]])
        for at, name in enumerate(question.candidates)
        if question.values
    ]


def _in_words(texts: Texts, option: str, answer: str) -> str:
    """Returns an answer in words; the answer itself if there are none for it."""
    name = f"reading.answers.{option}.{answer}"
    if answer in (YES, NO):
        return str(texts(f"reading.{answer}"))
    return str(texts(name)) if name in texts else answer


def _footer(draft: Draft) -> Sequence[str]:
    """Returns how each of the last lines begins that look like no records."""
    warnings = () if draft.report is None else draft.report.batch.warnings
    return [text for it in warnings if it.code is WarningCode.FOOTER for text in it.examples]


def _only(answers: Sequence[tuple[str, str]]) -> str:
    """Returns the answer if there is one alone; "" if the person must choose."""
    return answers[0][0] if len(answers) == 1 else ""


def _date(texts: Texts, text: str, iso: str) -> str:
    return str(texts("reading.date_is", text=text, iso=_day(texts, iso)))


def _day(texts: Texts, iso: str) -> str:
    year, month, day = (int(part) for part in iso[:10].split("-"))
    return str(texts("format.date", day=str(day), month=texts(f"format.months.m{month}"), year=str(year)))
