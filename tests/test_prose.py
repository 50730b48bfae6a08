"""The project is written in plain words: see CONTRIBUTING.md."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.prose import ROOT, Text, commands, docstrings, messages, pages, sources


@pytest.mark.parametrize("texts", [pages, commands, docstrings, messages])
def test_sentences_are_short_and_plain(texts: Callable[[], Iterator[Text]]) -> None:
    found = [mistake for text in texts() for mistake in text.mistakes()]
    assert found == [], "\n".join(["", *found])


@pytest.mark.parametrize(
    ("riddle", "mistakes"),
    [
        ("What is no fault of the file leaves it in processing.", 1),
        ("It is told of each batch that was taken back.", 3),
        ("Returns the batch whose time is over.", 1),
        (" ".join(["word"] * 26) + ".", 1),
        (" ".join(["word"] * 25) + ".", 0),
        ("Rolls `told` back.", 0),
        ("One | two " * 20, 0),
    ],
)
def test_a_planted_riddle_is_found(riddle: str, mistakes: int) -> None:
    assert len(list(Text("here", riddle).mistakes())) == mistakes


def test_names_are_plain_words() -> None:
    """Names do not use the words that are banned from sentences."""
    banned = re.compile(r"(?<![a-zA-Z])(told|moments?|taken_back|take_back|undo)(?![a-zA-Z])")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]
        if path.parts[-2:] not in (("prose", "__init__.py"), ("tests", "test_prose.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if banned.search(line)
    ]
    assert found == [], "\n".join(["", *found])


def test_nothing_is_misspelt() -> None:
    files = [str(path.relative_to(ROOT)) for path in [*sources(), *ROOT.glob("*.md"), *ROOT.glob("*/*.md")]]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--ignore-words-list", _CODES, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "", done.stdout


_CODES = "cachable,ende,vor,notin,nd,somme,cliente,potentiel,potencial,falso"
"""Names in libraries and words of other languages that look like spelling mistakes."""
