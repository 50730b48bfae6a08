"""Sentences that the code writes in English, in another language: rules, warnings, questions and errors.

The command line and the pages have one source, the English sentence. A file for each language has its translation,
with places in braces for the values. So a sentence without a translation is still there, in English.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "texts" / "sentences"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader of libyaml takes a tenth of the time of others."""

_PLACE = re.compile(r"\\\{(\w+)\\\}")
_OF_PLACES = {"n": "[0-9,]+", "word": r"\S+"}
"""What stands in a place of these names. Others have any text within a sentence."""

_WITHIN = r"(?:(?![.!?]\s).)+?"
_KIND = "kind"
"""What stands in a place of this name has a translation of its own."""

_OF_FIELD = re.compile(r"(`[^`]+`: )(.+)", re.DOTALL)
_WITH_REASON = re.compile(r"(.+) \(([^()]+)\)", re.DOTALL)
_BETWEEN = (re.compile(r"((?<=[.!?])\s+)"), re.compile(r"(; )"))
"""What stands between sentences, and between parts of one."""
_NUMBER = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")


class Sentences:
    """The sentences of one language. thousands: what stands between the thousands of its numbers."""

    def __init__(self, language: str, thousands: str) -> None:
        self._file = FOLDER / f"{language}.yaml"
        self._thousands = thousands

    def __call__(self, text: str) -> str:
        """Returns a text with each sentence in this language, as far as there is a translation."""
        return "".join(found or part for part, found in self._parts(text))

    def has(self, text: str) -> bool:
        """Returns whether all sentences of a text have a translation."""
        return all(found is not None for _, found in self._parts(text))

    @cached_property
    def _known(self) -> list[tuple[re.Pattern[str], str]]:
        if not self._file.exists():
            return []
        pairs = yaml.load(self._file.read_text("utf-8"), LOADER)  # noqa: S506 - a safe one
        return [
            (re.compile(_PLACE.sub(_pattern, re.escape(first)), re.DOTALL), other) for first, other in pairs.items()
        ]

    def _parts(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Yields the parts of a text, and each in this language; None for one without a translation."""
        whole = self._whole(text)
        if whole is not None or not self._known:
            yield text, whole
            return
        for between in _BETWEEN:
            if len(parts := between.split(text)) > 1:
                for number, part in enumerate(parts):
                    yield from [(part, part)] if number % 2 else self._parts(part)
                return
        if of_field := _OF_FIELD.fullmatch(text):
            yield of_field[1], of_field[1]
            yield from self._parts(of_field[2])
        else:
            yield text, None

    def _whole(self, text: str) -> str | None:
        """Returns the translation of one sentence, with or without a full stop."""
        if not text.strip():
            return text
        body, end = (text[:-1], ".") if text.endswith(".") else (text, "")
        if with_reason := _WITH_REASON.fullmatch(body):
            name = None if " " in with_reason[1] else with_reason[1]
            first, reason = self._whole(with_reason[1]) or name, self._whole(with_reason[2])
            if first is not None and reason is not None:
                return f"{first} ({reason}){end}"
        for pattern, other in self._known:
            if found := pattern.fullmatch(body):
                values = {name: self._number(value) for name, value in found.groupdict().items()}
                if _KIND in values:
                    if (kind := self._whole(values[_KIND])) is None:
                        continue
                    values[_KIND] = kind
                return other.format(**values) + end
        return None

    def _number(self, value: str) -> str:
        return value.replace(",", self._thousands) if _NUMBER.fullmatch(value) else value


def _pattern(place: re.Match[str]) -> str:
    name = place[1]
    return f"(?P<{name}>{_OF_PLACES.get(name, _WITHIN)})"
