"""What people read of the project, as sentences, and the rules for them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent.parent
MOST_WORDS = 25
"""Words of a sentence, as GOV.UK's and dlt's writing rules have it."""

BANNED = {
    r"\btold\b": "recorded, reported, notified, or the name of the thing",
    r"\b(is|are|be|being) told\b": "gets, reads, learns",
    r"\btells? of\b": "records, reports",
    r"\b(take|takes|took|taken|taking)\b( \S+){0,4} back\b": "roll back",
    r"\b(undo|undoes|undoing|undone)\b": "roll back",
    r"\bmoments?\b": "time, timestamp",
    r"\bwhat is no\b": "say what it is",
    r"\bwhose\b": "a sentence of its own",
    r"\bin vain\b": "without success",
    r"\bwants? to know\b": "reads",
}
"""Phrases that readers stumbled over, and what to write instead."""

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"``[^`]*``|`[^`]*`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n|\n\s*(?=[-*#|>]|\d+\. )|\|")
_WORD = re.compile(r"[^\W_][\w'.,-]*")


@dataclass(frozen=True)
class Text:
    """A text that people read, and where it stands."""

    place: str
    content: str

    def sentences(self) -> list[str]:
        """Its sentences; code counts as one word."""
        return [each for each in (part.strip() for part in _END.split(_CODE.sub("X", self.content))) if each]

    def mistakes(self) -> Iterator[str]:
        """What is wrong with it, each with the place and the sentence."""
        for sentence in self.sentences():
            words = len(_WORD.findall(sentence))
            if words > MOST_WORDS:
                yield f"{self.place}: {words} words: {sentence}"
            for phrase, better in BANNED.items():
                if re.search(phrase, sentence, re.IGNORECASE):
                    yield f"{self.place}: write {better}: {sentence}"


def pages() -> Iterator[Text]:
    """The project's own pages, without code and what is generated."""
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md"), *ROOT.glob("[a-z]*/*/*.md")]):
        if path.name != "FAULTS.md" and ".venv" not in path.parts:
            prose = _LINK.sub(r"\1", _COMMENT.sub("", _FENCE.sub("", path.read_text("utf-8"))))
            yield Text(path.relative_to(ROOT).as_posix(), prose)


def commands() -> Iterator[Text]:
    """What `--help` says of each command and option."""
    from pipelines.commands.cli import main

    def walk(command: click.Command, name: str) -> Iterator[Text]:
        yield Text(name, command.help or "")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield Text(f"{name} {parameter.opts[0]}", parameter.help or "")
        if isinstance(command, click.Group):
            for word, each in command.commands.items():
                yield from walk(each, f"{name} {word}")

    yield from walk(main, "records")


def sources() -> list[Path]:
    """The modules of the product."""
    return sorted(path for layer in ("schemas", "resources", "pipelines") for path in (ROOT / layer).rglob("*.py"))


def docstrings() -> Iterator[Text]:
    """Each docstring, without the indented list of its parameters' names."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                place = f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 1)}"
                yield Text(place, ast.get_docstring(node) or "")


def messages() -> Iterator[Text]:
    """The sentences of errors, notices, descriptions and helps: the literals given to what shows them."""
    shown = {"help", "description", "epilog", "short_help", "error"}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).split(".")[-1]
            values = [*node.args, *(it.value for it in node.keywords if it.arg in {"hint", "message"})]
            if name not in _ERRORS and name != "Message":
                values = [it.value for it in node.keywords if it.arg in shown]
            for value in values:
                for text in _literals(value):
                    yield Text(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", text)


def _literals(node: ast.expr) -> Iterator[str]:
    """The texts of an expression; what is filled in counts as a word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(it.value if isinstance(it, ast.Constant) else "X" for it in node.values)  # type: ignore[misc]
    elif isinstance(node, ast.BinOp):
        yield from ("".join(pair) for pair in [[*_literals(node.left), *_literals(node.right)]])
    elif isinstance(node, ast.IfExp):
        yield from (*_literals(node.body), *_literals(node.orelse))


def _error_names() -> set[str]:
    tree = ast.parse((ROOT / "schemas" / "errors.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


_ERRORS = _error_names()
