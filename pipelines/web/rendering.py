"""Pages as HTML: the templates, and what all of them can use."""

import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from pipelines.web.texts import Texts
from resources.report_writer.visible import as_html

STATIC = Path(__file__).parent / "static"
_IN_BRACKETS = re.compile(r" ?\([^()]*(?:--[a-z]|RECORDS_[A-Z])[^()]*\)")
_CLAUSE = re.compile(r"; [^;.]*?--[a-z][^;.]*(?=[;.]|$)")
_SENTENCE_END = re.compile(r"(?<=\S[.!?])\s")
_OF_TERMINALS = re.compile(
    r"(?<!\w)--[a-z]|\brecords (?:accept|accounts|backups?|batches|check|commit|erase|exports?|expire|import|init|"
    r"maintain|mappings|migrate|preview|repair|restore|rollback|show|space|types)\b|RECORDS_[A-Z]|\.yaml\b|deploy/|"
    r"(?<!\w)-[ao] [A-Z]|/api/"
)
"""What only somebody at a terminal of the server can use: options, commands, settings and files."""


@cache
def environment() -> Environment:
    """Returns templates that escape every text, and refuse a name that is not defined.

    A text of a file goes through the filter `shown`, which makes hidden characters visible.
    """
    made = Environment(
        loader=PackageLoader("pipelines.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shown"] = lambda text: Markup("") if text is None else as_html(str(text))
    made.filters["plain"] = _plain
    made.filters["time"] = time_element
    made.globals["asset"] = asset
    return made


def render(template: str, texts: Texts, **values: Any) -> str:
    """Returns a page or a part of one."""
    return environment().get_template(template).render(t=texts, number=texts.number, **values)


@cache
def asset(name: str) -> str:
    """Returns the address of a style, script or picture. It changes with the content, so that browsers can keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@pass_context
def _plain(context: Context, text: object) -> Markup:
    """Returns a message as the page shows it: without what only helps at a terminal, in the reader's language."""
    return Markup("") if text is None else as_html(context["t"].translated(plain(str(text))))


def plain(text: str) -> str:
    """Returns a message without what is for people at a terminal: parts and sentences with options and commands."""
    sentences = _SENTENCE_END.split(_CLAUSE.sub("", _IN_BRACKETS.sub("", text)))
    return " ".join(it for it in sentences if not _OF_TERMINALS.search(it))


def time_element(at: datetime | None, words: str = "") -> Markup:
    """Returns a time as an element. A script shows it in the reader's time zone; without one it is in UTC."""
    if at is None:
        return Markup("")
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", words or f"{at:%Y-%m-%d %H:%M} UTC"
    )
