"""The pages quote real output, name what exists, and name everything that exists."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from pipelines.commands.cli import main
from pipelines.definitions import defs
from resources.file_reader import ReadLimits
from tests.pages.session import PAGES, ROOT, comparable, run_page

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
WHOLE = "\n".join(TEXTS.values())
SOURCES = [path for layer in ("schemas", "resources", "pipelines") for path in (ROOT / layer).rglob("*.py")]

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def commands_of(group: click.Group, name: str = "records") -> Iterator[tuple[str, click.Command]]:
    for command in group.commands.values():
        path = f"{name} {command.name}"
        yield path, command
        if isinstance(command, click.Group):
            yield from commands_of(command, path)


COMMANDS = dict(commands_of(main))
_OF_OTHERS = re.compile(r"\b(createuser|systemctl|docker compose)\b")
"""Lines of pages that start other programs, which have options of their own."""
OPTIONS = {
    option
    for command in (main, *COMMANDS.values())
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option.startswith("--")
} | {"--help"}


def settings_in_the_code() -> set[str]:
    """Return the environment variables in the sources. Those of limits are made from the names of fields."""
    named = {name for path in SOURCES for name in re.findall(r'"(RECORDS_[A-Z_]*[A-Z])"', path.read_text("utf-8"))}
    return named | {f"RECORDS_MAX_{limit.name.upper()}" for limit in fields(ReadLimits)}


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(name: str, page: str) -> list[str]:
    """Return the broken links of a page. `make faults TABLE=1` writes FAULTS.md; a checkout may lack it."""
    missing = []
    for link in _LINK.findall(re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)):
        if "://" in link or link == "FAULTS.md":
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            missing.append(link)
    return missing


@pytest.mark.parametrize("name", TEXTS)
def test_the_output_that_a_page_quotes_was_printed_by_the_command_beside_it(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_reading: None
) -> None:
    monkeypatch.setenv("RECORDS_ACTOR", "you")
    monkeypatch.delenv("RECORDS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ".local" / "share"))

    outputs = run_page(TEXTS[name], tmp_path)

    for command, printed in outputs:
        assert comparable(printed) == comparable(command.output), f"$ {command.line}: run `make pages`"


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
    assert len(TEXTS["README.md"].split()) <= 1300


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    assert missing_links(name, TEXTS[name]) == []


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("README.md", "CHANGELOG.md")])
def test_a_page_begins_with_a_table_of_all_its_contents(name: str) -> None:
    contents, sections = (
        re.findall(pattern, TEXTS[name], re.MULTILINE) for pattern in (r"^- \[(.+)\]\(#", r"^## (.+)")
    )
    assert contents == sections


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_named_in_a_page(name: str) -> None:
    assert re.search(rf"{name}\b", WHOLE) or f"`{name.removeprefix('records ')}`" in WHOLE


def test_every_command_that_a_page_names_exists() -> None:
    groups = {name for name, command in COMMANDS.items() if isinstance(command, click.Group)}
    named = re.findall(r"(?:`|^\$ |^)(records [a-z]+)(?: ([a-z]+)\b)?", WHOLE, re.MULTILINE)
    assert len(named) > 60
    unknown = {command for command, _ in named if command not in COMMANDS}
    unknown |= {f"{group} {command}" for group, command in named if command and group in groups} - set(COMMANDS)
    assert unknown == set()


def test_every_option_is_named_in_a_page_and_every_option_named_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", WHOLE))
    of_records = "\n".join(line for line in WHOLE.splitlines() if not _OF_OTHERS.search(line))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", of_records)) - OPTIONS == set()
    assert OPTIONS - named == set()


def test_every_setting_is_named_in_a_page_and_every_setting_named_exists() -> None:
    named = set(re.findall(r"\bRECORDS_[A-Z_]*[A-Z]\b", WHOLE))
    assert named == settings_in_the_code()


def test_every_setting_of_limits_has_its_default_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `RECORDS_MAX_(\w+)` \| (\d+) \|", TEXTS["pipelines/README.md"], re.MULTILINE))
    assert rows == {limit.name.upper(): str(limit.default) for limit in fields(ReadLimits)}


# Dagster 1.13 reads pydantic's `__fields__` when it makes a resource.
@pytest.mark.filterwarnings(
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
)
def test_everything_in_dagster_is_named_in_a_page() -> None:
    repository = defs().get_repository_def()
    jobs = {re.sub(r"^export_.*", "export_<type>", job.name) for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    sensors = {sensor.name for sensor in repository.sensor_defs}
    schedules = {schedule.name for schedule in repository.schedule_defs}
    assert {name for name in jobs | sensors | schedules if f"`{name}`" not in TEXTS["pipelines/README.md"]} == set()


@pytest.mark.parametrize("name", TEXTS)
def test_files_of_the_project_that_a_page_names_exist(name: str) -> None:
    named = {
        code
        for code in _CODE.findall(TEXTS[name])
        if re.fullmatch(r"(schemas|resources|pipelines|deploy|tests)/[\w./-]*", code)
    }
    made = {"deploy/FAULTS.md", "schemas/airports.py"}  # read by a command, and by the reader of an example
    assert {path for path in named - made if not (ROOT / path).exists()} == set()


def test_every_make_target_is_named_in_contributing_or_the_readme() -> None:
    targets = " ".join(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make (\w+)", TEXTS["CONTRIBUTING.md"] + TEXTS["README.md"]))
    assert named == set(targets.split())


def test_the_glossary_has_at_most_25_terms() -> None:
    glossary = TEXTS["CONTRIBUTING.md"].partition("## Glossary")[2]
    assert 1 < len(re.findall(r"^\| (?!---|term)", glossary, re.MULTILINE)) <= 25


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ("[a](nowhere.md)", ["nowhere.md"]),
        ("[a](README.md#nothing)", ["README.md#nothing"]),
        ("# A b\n[a](#a-b) [c](README.md) [d](#c)", ["#c"]),
    ],
)
def test_a_broken_link_is_found(page: str, links: list[str], tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    assert [link for link in missing_links("README.md", page) if link != "#a-b"] == links
