"""The report of a batch as one HTML page that a person can read anywhere. It has no script and loads nothing."""

import base64
import hashlib
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from resources.report_writer import DETAILS, PAGE
from resources.report_writer.details import details_of
from resources.report_writer.visible import as_html, as_text
from schemas.batches import Batch, BatchStatus, ImportReport
from schemas.columns import Column
from schemas.counts import Counts, numbered
from schemas.record_type import RecordType

_KINDS = {
    BatchStatus.PREVIEWED: "Preview of an import",
    BatchStatus.COMMITTED: "Import",
    BatchStatus.DISCARDED: "Discarded preview",
    BatchStatus.FAILED: "Failed import",
    BatchStatus.ROLLED_BACK: "Import, rolled back",
    BatchStatus.EXPIRED: "Import",
}
_OUTCOMES = {
    "created": "their key is new",
    "updated": "their key exists and a mapped field differs",
    "unchanged": "their key exists and no mapped field differs",
    "rejected": "they break a rule",
    "duplicate": "they equal an earlier record of the file",
}
_REASONS = {
    "given": "as the user said",
    "remembered": "as for an earlier file with this header row",
    "ours": "added by a rejects file or an export of changes, not data",
    "name": "the field's name",
    "alias": "another name of the field",
    "normalised": "a name of the field, apart from case and punctuation",
    "likeness": "like a name of the field",
    "ignored": "no field takes it",
}


@dataclass(frozen=True)
class Link:
    """A link on a page: its words and its address."""

    words: str
    address: str


@dataclass(frozen=True)
class _Outcome:
    name: str
    meaning: str
    records: int
    share: str
    width: float


@dataclass(frozen=True)
class _Column:
    position: int
    header: str
    field: str | None
    reason: str
    samples: tuple[str, ...]


def write_report(folder: Path, report: ImportReport, record_type: RecordType) -> None:
    """Write the page and its details into a new folder."""
    folder.mkdir()
    (folder / DETAILS).write_text(details_of(report), "utf-8")
    (folder / PAGE).write_text(render(report, record_type), "utf-8")


def render(report: ImportReport, record_type: RecordType, links: tuple[Link, ...] = ()) -> str:
    """Returns the page for the batch's present status.

    The page shows values of personal fields: it belongs in the account's own folder. Its content security policy
    allows no script, request, form or frame, and no style but its own.

    links: what a server of the page offers beside it. A page in a file has none.
    """
    batch = report.batch
    outcomes = _outcomes(batch.counts)
    columns = [_column(column) for column in report.columns]
    mapped = {column.field: column for column in columns if column.field is not None}
    missing = [field for field in record_type.fields if columns and field.name not in mapped]
    style = _stylesheet() + "".join(f"#{outcome.name} i {{ width: {outcome.width:.2f}% }}\n" for outcome in outcomes)
    changes = groupby(report.changes, lambda change: (change.record, change.key))
    return _environment().get_template("report.html.jinja").render(
        title=Markup(escape(as_text(batch.file_name))),  # noqa: S704  # escaped
        style=Markup(style),  # noqa: S704  # ours, and numbers
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        batch=batch,
        report=report,
        record_type=record_type,
        kind=_KINDS[batch.status],
        verdict=_verdict(batch),
        previewed=batch.status is BatchStatus.PREVIEWED,
        written=batch.status in (BatchStatus.COMMITTED, BatchStatus.EXPIRED),
        writes=batch.counts.created + batch.counts.updated,
        links=links,
        columns=columns,
        mapped=mapped,
        missing=missing,
        outcomes=outcomes,
        problems=sum(problem.records for problem in batch.problems),
        shown_problems=sum(problem.records for problem in report.samples),
        changes=[(of, list(group)) for of, group in changes],
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Returns templates that escape every text, make it visible, and refuse a name that is not defined."""
    environment = Environment(
        loader=PackageLoader("resources.report_writer", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: as_html(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["numbered"] = numbered
    environment.filters["utc"] = _utc
    environment.filters["shell"] = shlex.quote
    return environment


@cache
def _stylesheet() -> str:
    environment = _environment()
    assert environment.loader is not None  # noqa: S101  # it was given one
    return environment.loader.get_source(environment, "report.css")[0]


def _outcomes(counts: Counts) -> list[_Outcome]:
    found = []
    for name, meaning in _OUTCOMES.items():
        number: int = getattr(counts, name)
        width = 100 * number / counts.read if counts.read else 0.0
        found.append(_Outcome(name, meaning, number, _share(number, counts.read), width))
    return found


def _share(part: int, whole: int) -> str:
    """Returns a percentage. It is 0% only for none and 100% only for all."""
    if not part or part == whole:
        return "100%" if part else "0%"
    share = 100 * part / whole
    return "< 0.1%" if share < 0.1 else "> 99.9%" if share > 99.9 else f"{share:.1f}%"


def _verdict(batch: Batch) -> str:
    """Returns the one sentence to read."""
    counts = batch.counts
    if batch.status is BatchStatus.ROLLED_BACK:
        return "This import was rolled back."
    if batch.status is BatchStatus.DISCARDED:
        return "This preview was discarded."
    if not counts.read:
        return "The file has no records."
    if batch.status is not BatchStatus.PREVIEWED:
        left_out = f" {counts.rejection} and left out." if counts.rejected else ""
        return f"{counts.created:,} created, {counts.updated:,} updated.{left_out}"
    if batch.questions:
        return batch.questions[0].sentence
    if counts.rejected:
        return f"{counts.rejection}."
    if not counts.created and not counts.updated:
        return "Nothing would change: the store already has what the file says."
    return f"No record is rejected: {counts.created:,} would be created, {counts.updated:,} updated."


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _column(column: Column) -> _Column:
    reason = _REASONS[column.reason]
    if column.score is not None:
        reason += f" ({column.score}% alike)"
    if column.like is not None:
        reason += f"; it is like {column.like}, which no column feeds"
    return _Column(column.position + 1, column.header, column.field, reason, column.samples)
