"""Asks on a terminal what a file leaves open: how it is read, and which texts stand for values."""

from collections.abc import Sequence

import click
from rich.console import Console

from pipelines.commands.batch_texts import print_proposals, print_question
from schemas.reading import COMMA, POINT, TAB, YES, Question
from schemas.values import MappedValue, ValueMap, as_map

_NAMES = {
    "at": "list of records",
    "date_order": "order of dates",
    "decimal": "decimal sign",
    "header_row": "row with the names of the columns",
}
"""What an option is about, where that is more than its name."""
_ANSWERS = {
    "at": {POINT: "the object itself"},
    "decimal": {COMMA: "comma", POINT: "point"},
    "delimiter": {COMMA: "comma", ";": "semicolon", TAB: "tab", "|": "bar"},
}
"""The words for answers that are signs."""


def asked(question: Question) -> str | None:
    """Ask on the terminal which candidate is right, and return the answer.

    If there is nothing to choose, ask whether the file may be read so. Returns the only candidate or "yes", or None.
    """
    print_question(question, Console(stderr=True, highlight=False))
    if len(question.candidates) < 2:
        is_right = click.confirm("Is it right to read it so?", err=True)
        return None if not is_right else question.proposed if question.candidates else "yes"
    option = question.option or ""
    words = {it: _ANSWERS.get(option, {}).get(it, it) for it in question.candidates}
    numbers = {str(at): it for at, it in enumerate(question.candidates, 1) if str(at) not in question.candidates}
    shown = [f"{at} for {words[it]}" for at, it in numbers.items()] or question.candidates
    what = "Your answer" if YES in question.candidates else f"Which {_NAMES.get(option, option)} is right"
    answers = {**{word: it for it, word in words.items()}, **{it: it for it in words}, **numbers}
    answer: str = click.prompt(
        f"{what}? ({', '.join(shown)})", type=click.Choice(list(answers)), show_choices=False, err=True
    )
    return answers[answer]


def asked_values(proposals: Sequence[MappedValue]) -> ValueMap:
    """Ask on the terminal which texts to read as the proposed values. Returns these mappings, or none."""
    proposed = [it for it in proposals if it.value is not None]
    if not proposed:
        return {}
    out = Console(stderr=True, highlight=False)
    out.print("\nTexts that are no values, and the values that they are like:")
    print_proposals(proposed, out, are_numbered=True)
    chosen: set[int] = click.prompt(
        "Which of them are right? The file is read so (all, none, or numbers such as 1-3,5)",
        default="none",
        value_proc=lambda text: chosen_numbers(text, len(proposed)),
        err=True,
    )
    return as_map(it for at, it in enumerate(proposed, 1) if at in chosen)


def chosen_numbers(text: str, last: int) -> set[int]:
    """Returns the numbers from 1 to `last` that the text names. Raises click.BadParameter for any other text."""
    wanted = text.strip().lower()
    if wanted in ("all", "none"):
        return set(range(1, last + 1)) if wanted == "all" else set()
    numbers: set[int] = set()
    for part in wanted.split(","):
        first, dash, end = part.partition("-")
        if not first.strip().isdecimal() or (dash and not end.strip().isdecimal()):
            raise click.BadParameter(f"{text!r} is none of them. Type all, none, or numbers such as 1-3,5.")
        numbers |= set(range(int(first), int(end if dash else first) + 1))
    if not numbers or not numbers <= set(range(1, last + 1)):
        raise click.BadParameter(f"The numbers go from 1 to {last}.")
    return numbers
