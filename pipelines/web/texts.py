"""The words of the pages, one file for each language in `texts/`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup, escape

from pipelines.web.sentences import LOADER, Sentences

FOLDER = Path(__file__).parent / "texts"
FIRST = "en"
"""The language of whoever has asked for none of the others."""


class Texts:
    """The texts of one language, by name, such as `import.drop`.

    A text has places for values in braces. A text with several forms is a mapping: `one` for the number 1, else
    `other`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        content = yaml.load((FOLDER / f"{language}.yaml").read_text("utf-8"), LOADER)  # noqa: S506 - a safe one
        self._texts = dict(_flat(content))
        self.translated = Sentences(language, self._texts["format.thousands"])

    def __call__(self, name: str, /, **values: Any) -> Markup:
        """Returns a text of HTML with the values in their places, escaped. Raises KeyError for an unknown name.

        A value `n` chooses the form, and is shown with separators for thousands.
        """
        text = self._texts[name]
        if isinstance(text, Mapping):
            text = text["one" if values["n"] == 1 else "other"]
        shown = {key: escape(self.number(value) if isinstance(value, int) else value) for key, value in values.items()}
        return Markup(escape(text).format_map(shown))  # noqa: S704 - both parts are escaped

    def template(self, name: str) -> str:
        """Returns a text as the file has it, for a script that fills in the values."""
        text: str = self._texts[name]
        return text

    def __contains__(self, name: str) -> bool:
        """Returns whether there is a text of this name."""
        return name in self._texts

    @property
    def names(self) -> frozenset[str]:
        """Returns the names of all texts."""
        return frozenset(self._texts)

    def forms(self, name: str) -> tuple[str, ...]:
        """Returns all forms of a text, as the file has them."""
        text = self._texts[name]
        return tuple(text.values()) if isinstance(text, Mapping) else (text,)

    def number(self, number: int) -> str:
        """Returns a number as the language writes it: 1,234 or 1.234."""
        return f"{number:,}".replace(",", self._texts["format.thousands"])

    def decimal(self, text: str) -> str:
        """Returns a number with a decimal point as the language writes it: 1234.50 or 1234,50."""
        return text.replace(".", self._texts["format.point"])

    def bytes(self, number: int) -> str:
        """Returns a size in words: 12 kB or 1.2 MB."""
        size, unit = float(number), "B"
        for unit in ("B", "kB", "MB", "GB"):  # noqa: B007
            if size < 1000:
                break
            size /= 1000
        else:
            unit = "TB"
        text = f"{size:.0f}" if unit == "B" or size >= 100 else f"{size:.1f}"
        return f"{text.replace('.', self._texts['format.point'])} {unit}"

    def duration(self, seconds: float) -> Markup:
        """Returns a time span in words, rounded up."""
        whole = int(-(-seconds // 1))
        if whole < 60:
            return self("format.seconds", n=max(whole, 1))
        return self("format.minutes", n=-(-whole // 60))


@cache
def languages() -> Mapping[str, Texts]:
    """Returns the texts of all languages, by their code."""
    return {path.stem: Texts(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}


def chosen(accepted: str) -> Texts:
    """Returns the texts of the language that the browser prefers of those that exist.

    accepted: the header Accept-Language.
    """
    known = languages()
    weighted = []
    for number, part in enumerate(accepted.split(",")):
        code, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((-float(weight or 1), number, code.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((known[code] for _, _, code in sorted(weighted) if code in known), known[FIRST])


def _flat(content: Mapping[str, Any], before: str = "") -> "list[tuple[str, Any]]":
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value.keys() != {"one", "other"}:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((before + str(name), value))
    return found
