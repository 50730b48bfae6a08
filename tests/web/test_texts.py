"""The words of the pages: every page has all of its words, in every language."""

import re
from pathlib import Path

import pytest

from pipelines.web.rendering import environment
from pipelines.web.texts import FIRST, Texts, chosen, languages

TEMPLATES = Path(__file__).parent.parent.parent / "pipelines" / "web" / "templates"
PLACES = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("language", sorted(set(languages()) - {FIRST}))
def test_a_language_has_all_texts_with_the_same_places(language: str) -> None:
    first, other = languages()[FIRST], languages()[language]

    assert other.names == first.names
    for name in first.names:
        places = [{place for form in texts.forms(name) for place in PLACES.findall(form)} for texts in (first, other)]
        assert places[0] == places[1], name


def test_every_text_that_a_page_names_exists() -> None:
    texts = languages()[FIRST]
    named = {
        name
        for template in TEMPLATES.iterdir()
        for name in re.findall(r"\bt(?:\.template)?\('([\w.]+)'[,)]", template.read_text("utf-8"))
    }

    assert named
    assert named <= texts.names


def test_every_page_can_be_read_by_its_engine() -> None:
    for template in TEMPLATES.iterdir():
        environment().get_template(template.name)


def test_values_are_escaped() -> None:
    assert languages()[FIRST]("history.by", name="<b>&") == "by &lt;b&gt;&amp;"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de-AT,en;q=0.5", "de"), ("en,de;q=0.9", "en"), ("fr", "en"), ("", "en"), ("de;q=x", "en")],
)
def test_a_browser_gets_its_language(accepted: str, language: str) -> None:
    assert chosen(accepted).language == language


def test_numbers_and_times_are_written_as_the_language_does() -> None:
    german, english = Texts("de"), Texts("en")

    assert (german.number(12345), english.number(12345)) == ("12.345", "12,345")
    assert (german.bytes(1_234_567), english.bytes(999)) == ("1,2 MB", "999 B")
    assert (german.duration(61), english.duration(0.2)) == ("2 Minuten", "1 second")
