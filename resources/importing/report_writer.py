"""What a preview found, as one HTML page that a person can read anywhere and that can do nothing."""

import base64
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from schemas.batches import BatchStatus, ChangedValue, ImportReport
from schemas.columns import Column
from schemas.counts import Counts
from schemas.record_type import RecordType

LONGEST = 300
"""Characters of a value that are shown; of a longer one the middle is left out."""

_HEAD, _TAIL = 180, 100
_OUTCOMES = {
    "created": "their key is new",
    "updated": "their key exists and a mapped field differs",
    "unchanged": "their key exists and no mapped field differs",
    "rejected": "they break a rule",
    "duplicate": "they equal an earlier record of the file",
}
_REASONS = {
    "given": "as the request says",
    "remembered": "as for an earlier file with this header row",
    "ours": "added by a rejects file, not data",
    "name": "the field's name",
    "alias": "another name of the field",
    "normalised": "a name of the field, but for case and punctuation",
    "likeness": "like a name of the field",
    "ignored": "no field takes it",
}
_CONTROLS = {
    **dict(enumerate((
        "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
        "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
    ))),
    0x7F: "DEL",
}  # fmt: skip
"""What a control character is called: readable where no font draws Unicode's pictures of them."""
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
_BLANK = {*"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"}  # letters, marks and signs that draw nothing
_JOINERS = {"\u200c", "\u200d"}  # emoji, Persian and the scripts of India need them to look right
_SELECTORS = {*map(chr, [*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])}


@dataclass(frozen=True)
class _Character:
    """A character that would hide, move or be taken for another, and what is shown instead of it."""

    shown: str
    name: str


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


def write_report(
    path: Path,
    report: ImportReport,
    record_type: RecordType,
    *,
    understood: Sequence[tuple[str, str]],
    changes: Sequence[ChangedValue],
    generated_at: datetime,
) -> None:
    """The page lies at `path`.

    `understood` are label and value, as ("Encoding", "UTF-8, certain"); `changes` the first changed values, those
    of one record together. Values of personal fields are shown: the page belongs in the account's own folder.
    The page has no script and its policy allows none, nor any request, form, frame or style but its own.
    """
    page = _render(report, record_type, understood, changes, generated_at).encode("utf-8")
    path.write_bytes(page)


def _render(
    report: ImportReport,
    record_type: RecordType,
    understood: Sequence[tuple[str, str]],
    changes: Sequence[ChangedValue],
    generated_at: datetime,
) -> str:
    batch = report.batch
    outcomes = _outcomes(batch.counts)
    columns = [_column(column) for column in report.columns]
    mapped = {column.field: column for column in columns if column.field is not None}
    missing = [field for field in record_type.fields if columns and field.name not in mapped]
    style = _stylesheet() + "".join(f"#{outcome.name} i {{ width: {outcome.width:.2f}% }}\n" for outcome in outcomes)
    return _environment().get_template("report.html.jinja").render(
        title=Markup(escape(_as_text(batch.file_name))),  # noqa: S704  # escaped
        style=Markup(style),  # noqa: S704  # ours, and numbers
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        batch=batch,
        report=report,
        record_type=record_type,
        previewed=batch.status is BatchStatus.PREVIEWED,
        verdict=_verdict(batch.counts),
        understood=understood,
        columns=columns,
        mapped=mapped,
        missing=missing,
        outcomes=outcomes,
        problems=sum(problem.records for problem in batch.problems),
        changes=[(of, list(group)) for of, group in groupby(changes, lambda change: (change.record, change.key))],
        generated_at=generated_at,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Templates in which whatever is put in is escaped and made visible, and nothing may be undefined."""
    environment = Environment(
        loader=PackageLoader("resources.importing", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: _as_html(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["records"] = _records
    environment.filters["utc"] = lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
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
    """A percentage that is 0% or 100% only where it is none or all."""
    if not part or part == whole:
        return "100%" if part else "0%"
    share = 100 * part / whole
    return "< 0.1%" if share < 0.1 else "> 99.9%" if share > 99.9 else f"{share:.1f}%"


def _verdict(counts: Counts) -> str:
    """The one sentence to read."""
    if not counts.read:
        return "The file has no records."
    if counts.rejected:
        are = "is" if counts.rejected == 1 else "are"
        return f"{counts.rejected:,} of {_records(counts.read)} {are} rejected."
    if not counts.created and not counts.updated:
        return "Nothing would change: what the file says is stored already."
    return f"No record is rejected: {counts.created:,} would be created, {counts.updated:,} updated."


def _records(number: int) -> str:
    return f"{number:,} record{'' if number == 1 else 's'}"


def _column(column: Column) -> _Column:
    reason = _REASONS[column.reason]
    if column.score is not None:
        reason += f" ({column.score}% alike)"
    return _Column(column.position + 1, column.header, column.field, reason)


def _as_html(text: str) -> Markup:
    """The text, escaped, abbreviated, and with nothing in it that cannot be seen."""
    pieces = [
        escape(piece)
        if isinstance(piece, str)
        else Markup('<span class="char" title="{}">{}</span>').format(piece.name, piece.shown)
        for piece in _visible(text)
    ]
    if len(pieces) > LONGEST:
        left_out = Markup('<span class="cut">… {} characters, the middle left out …</span>').format(f"{len(text):,}")
        pieces = [*pieces[:_HEAD], left_out, *pieces[-_TAIL:]]
    return Markup("").join(pieces)


def _as_text(text: str) -> str:
    """As `_as_html`, for a place that holds no elements."""
    shown = [piece if isinstance(piece, str) else piece.shown for piece in _visible(text)]
    return "".join(shown if len(shown) <= LONGEST else [*shown[:_HEAD], "…", *shown[-_TAIL:]])


def _visible(text: str) -> list[str | _Character]:
    """The text's characters, one by one.

    Left as they are: what draws something, a space between two others, and a joiner or variation selector right
    behind a character that is not ASCII (then it belongs to an emoji or a script that needs it).
    """
    if len(text) > 2 * LONGEST:  # the middle is not shown, whatever is in it; keeps a value of megabytes cheap
        return [*_visible(text[:LONGEST]), *_visible(text[-LONGEST:])]
    first, last = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    pieces: list[str | _Character] = []
    for i, character in enumerate(text):
        before = pieces[-1] if pieces else None
        if character == " ":
            inside = first <= i < last
            pieces.append(character if inside else _Character("SP", "U+0020 SPACE"))
        elif character in _JOINERS or character in _SELECTORS:
            after_selector = isinstance(before, str) and before in _SELECTORS and character in _JOINERS
            joins = isinstance(before, str) and not before.isascii() and before not in _JOINERS | _SELECTORS
            pieces.append(character if joins or after_selector else _replaced(character))
        elif character in _BLANK or unicodedata.category(character) in _INVISIBLE:
            pieces.append(_replaced(character))
        else:
            pieces.append(character)
    return pieces


def _replaced(character: str) -> _Character:
    code = ord(character)
    name = f"U+{code:04X} {unicodedata.name(character, '')}".rstrip()
    return _Character(_CONTROLS.get(code, f"U+{code:04X}"), name)
