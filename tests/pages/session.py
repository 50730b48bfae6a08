"""Runs the commands of a page and puts what they print below them.

A block of a page that begins with ```console is a session: each line that begins with `$ ` is a command, and the lines
below it are its output. The blocks of one page run in order, in one folder. `records` runs in this process. Everything
else runs in bash, and so does what stands behind a pipe. `make demo` runs only where it is asked for, because it takes
long; tests/test_demo.py compares its output.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from pipelines.commands.cli import main

FOLDER = "/home/you"
"""The folder that pages show in place of the one in which their commands ran."""

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/README.md")])

DEMO = "make demo"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ID = re.compile(r"\b[ber]-\d{8}-\d{9}-[0-9a-f]{6}\b")
_CHANGES_FOLDER = re.compile(r"(?:^|&& )cd (\S+)")
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "<time>"),
    (re.compile(r"\b\d+ h \d+ min\b"), "<duration>"),
    (re.compile(r" *\b\d+\.\d (s|[kM]B|GB)\b"), "<amount>"),
    (re.compile(r" *\b[\d,]+ rows/s"), "<rate>"),
    (re.compile(r"\b\d+\.\d +[\d,]+ "), "<seconds and rate> "),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)


class Command(NamedTuple):
    """A command of a page, with the output that the page quotes."""

    line: str
    output: str


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of a page in order."""
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            yield Command(line.partition("  #")[0].rstrip(), output)


def comparable(output: str) -> str:
    """Return the output without what differs from run to run: times, durations, rates, sizes and widths of columns."""
    for pattern, name in _CHANGING:
        output = pattern.sub(name, output)
    return "\n".join(line.strip() for line in output.strip().splitlines())


@dataclass
class Session:
    """Runs commands in a folder, and replaces the new ids in their output by the ids of the page.

    A command that ends with `cd` to another folder has the later ones run there.

    ids: the ids of the page, in the order in which they appear. The first new id of a batch stands for the
    first one of the page, and so on. The same holds for exports and rollbacks.
    """

    folder: Path
    ids: list[str] = field(default_factory=list)
    _new_ids: dict[str, str] = field(default_factory=dict)
    _here: Path = field(init=False)

    def __post_init__(self) -> None:
        self._here = self.folder

    def run(self, line: str) -> str:
        """Returns what the command prints, as the page shows it."""
        for new, shown in self._new_ids.items():
            line = line.replace(shown, new)
        line = line.replace(FOLDER, str(self.folder))
        command, _, filters = line.partition(" | ")
        with chdir(self._here):
            if command.startswith("records "):
                output = CliRunner().invoke(main, _words(command)[1:], prog_name="records").output
            else:
                output, filters = "", line
            if filters:
                output = subprocess.run(
                    ["bash", "-c", filters],
                    input=output,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,  # a failure shows in the output
                ).stdout
                for place in _CHANGES_FOLDER.findall(filters):
                    self._here = Path(place).expanduser().absolute()
        return self._shown(output)

    def demo(self) -> str:
        """Returns what `make demo` prints last: its result, without the steps on standard error."""
        printed = CliRunner().invoke(main, ["demo"]).stdout
        return "…\n" + self._shown(printed).strip("\n") + "\n"

    def _shown(self, output: str) -> str:
        for new in ID.findall(output):
            if new not in self._new_ids:
                shown = [page for page in self.ids if page[0] == new[0] and page not in self._new_ids.values()]
                self._new_ids[new] = shown[0] if shown else new
        text = ID.sub(lambda found: self._new_ids[found.group()], output.replace(str(self.folder), FOLDER))
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def run_page(page: str, folder: Path, *, demo: bool = False, until: str = "") -> list[tuple[Command, str]]:
    """Runs the commands of a page in an empty folder that has the project's tests; returns each with what it prints.

    until: the beginning of the last command to run. Without it all commands run.
    """
    (folder / "tests").symlink_to(ROOT / "tests")
    run = [command for command in commands(page) if demo or command.line != DEMO]
    if until:
        run = run[: 1 + next(at for at, command in enumerate(run) if command.line.startswith(until))]
    session = Session(folder, list(dict.fromkeys(ID.findall("".join(map("\n".join, run))))))
    return [(command, session.demo() if command.line == DEMO else session.run(command.line)) for command in run]


def rewritten(page: str, outputs: list[tuple[Command, str]]) -> str:
    """Return the page with new outputs. An output stays as it is if only times and the like differ."""
    end = 0
    for command, output in outputs:
        start = page.index("\n", page.index(f"$ {command.line}", end)) + 1
        same = comparable(command.output) == comparable(output)
        page = page[:start] + (command.output if same else output) + page[start + len(command.output) :]
        end = start
    return page


def _words(command: str) -> list[str]:
    """Split a command into words as bash does: with quotes, variables and file patterns."""
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], text=True, check=True, stdout=subprocess.PIPE
    ).stdout
    return printed.split("\0")[:-1]
