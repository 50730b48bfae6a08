"""From a dropped file to a saved import: what the file says, what its columns mean, and what would happen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from pipelines.web import drafts
from pipelines.web.drafts import Draft, Step, draft_of
from pipelines.web.visit import Visit
from pipelines.web.work import Task
from resources.importing.importer import Importer
from resources.importing.peek import Peek
from resources.notifier import Notifier
from schemas.columns import Column
from schemas.errors import InvalidRequest, NotFound, RecordsError, Refused
from schemas.notices import asking
from schemas.reading import NO, SAID, TAB, YES, DateOrder, ReadOptions
from schemas.record_type import RecordType
from schemas.uploads import Failure
from schemas.values import joined, value_map

_CHANGES = 50
_LISTED = 20
_HEADER_ROWS = 10
"""How many first rows are offered as the one that names the columns."""
_ANSWERS = {"tab": TAB, YES: True, NO: False}
"""What answers of the page mean, other than themselves."""


def first(visit: Visit) -> Response:
    """Leads to the first page of an account."""
    return visit.go("import")


def drop(visit: Visit) -> Response:
    """Shows where to drop a file, and the files that are not saved yet."""
    with visit.store() as store:
        types = list(store.record_types().values()) if store.exists else []
    listed = [it for it in visit.site.uploads.listed(visit.account) if not it.saved][:_LISTED]
    waiting = [(it, visit.site.uploads.received(it)) for it in listed]
    return visit.page("drop.html.jinja", types=types, waiting=waiting)


def overview(visit: Visit) -> Response:
    """Leads to the step at which the person is needed; shows the progress while the file is read."""
    draft = draft_of(visit)
    upload = draft.upload.upload_id
    if draft.step is Step.RECEIVING:
        received = visit.site.uploads.received(draft.upload)
        return visit.page("receiving.html.jinja", upload=draft.upload, received=received)
    if draft.step is Step.READING:
        template = "_progress.html.jinja" if visit.is_fragment else "progress.html.jinja"
        return visit.page(template, draft=draft, task=draft.task)
    if draft.step is Step.SAVED and draft.report is not None:
        if draft.upload.failure is not None:
            return visit.page("saved_in_part.html.jinja", draft=draft, batch=draft.report.batch)
        return visit.go("history", draft.report.batch.batch_id)
    if draft.step is Step.FAILED:
        found, _ = _peeked(draft)
        is_read = found is not None and not found.questions and _is_of_columns(draft)
        return visit.go("import", upload, "columns" if is_read else "reading")
    if draft.needs_reading:
        return visit.go("import", upload, "reading")
    return visit.go("import", upload, "columns" if draft.needs_columns else "preview")


@dataclass(frozen=True)
class Choice:
    """One question of the page, and its answers: value and words. `chosen` is the answer that counts now."""

    name: str
    answers: Sequence[tuple[str, str]]
    chosen: str
    is_open: bool = False
    sentence: str = ""
    examples: Sequence[tuple[str, Sequence[str]]] = ()


def reading(visit: Visit) -> Response:
    """Shows how the file is read, and asks what it leaves open."""
    draft = draft_of(visit)
    if draft.step not in (Step.PREVIEWED, Step.FAILED):
        return visit.go("import", draft.upload.upload_id)
    found, error = _peeked(draft)
    failure = None if error is None else Failure.of(error)
    if draft.upload.failure is not None and (found is None or not _is_of_columns(draft)):
        failure = draft.upload.failure
    choices = [] if found is None else list(_choices(visit, draft, found))
    return visit.page("reading.html.jinja", draft=draft, peek=found, failure=failure, choices=choices)


def say_reading(visit: Visit) -> Response:
    """Takes how the file is to be read, and reads it again."""
    draft = draft_of(visit)
    said = draft.upload.choices.reading.said()
    for name in SAID:
        if visit.form is not None and name in visit.form and visit.said(name) != visit.said(f"was_{name}"):
            said.pop(name, None)
            if visit.said(name):
                said[name] = _ANSWERS.get(visit.said(name), visit.said(name))
    choices = replace(draft.upload.choices, reading=ReadOptions.from_said(said))
    if visit.said("again") == "yes":
        choices = replace(choices, again=True)
    proposed = value_map(visit.all_said("value"))
    choices = replace(choices, value_map=joined(proposed, choices.value_map))
    drafts.choose(draft, choices, visit.person.name)
    return visit.go("import", draft.upload.upload_id)


def _is_of_columns(draft: Draft) -> bool:
    """Returns whether the failure may be mended by saying where the columns go, if the file itself can be read."""
    return draft.upload.failure is not None and draft.upload.failure.code == InvalidRequest.code


def _peeked(draft: Draft) -> tuple[Peek | None, RecordsError | None]:
    try:
        return draft.peek(), None
    except RecordsError as error:
        return None, error


def _choices(visit: Visit, draft: Draft, found: Peek) -> "list[Choice]":
    t, used, said = visit.texts, found.used, draft.upload.choices.reading
    asked = {question.option: question for question in found.questions if question.option}
    made = []
    if used.encoding is not None:
        question = asked.get("encoding")
        names = list(dict.fromkeys([*(question.candidates if question else ()), used.encoding, *_ENCODINGS]))
        examples = (
            []
            if question is None
            else [
                (name, [value.texts[at] for value in question.values[:5]])
                for at, name in enumerate(question.candidates)
            ]
        )
        made.append(
            Choice(
                "encoding",
                [(name, name) for name in names],
                said.encoding or used.encoding,
                question is not None,
                question.sentence if question else "",
                examples,
            )
        )
    if used.delimiter is not None:
        made.append(
            Choice(
                "delimiter",
                [(value, t(f"reading.delimiters.{name}")) for value, name in _DELIMITERS.items()],
                "tab" if used.delimiter == "\t" else used.delimiter,
                "delimiter" in asked,
                asked["delimiter"].sentence if "delimiter" in asked else "",
            )
        )
    if used.header_row is not None and "header_row" not in asked:
        rows = range(1, max(_HEADER_ROWS, used.header_row) + 1)
        made.append(Choice("header_row", [(str(row), str(row)) for row in rows], str(used.header_row)))
    if found.date is not None:
        answers = [
            (
                order.value,
                t("reading.date_is", text=found.date.text, iso=_in_words(visit, found.date.readings[order.value])),
            )
            for order in DateOrder
            if order.value in found.date.readings
        ]
        chosen = said.date_order.value if said.date_order else _only(answers)
        made.append(Choice("date_order", answers, chosen, said.date_order is None))
    if found.number is not None:
        answers = [
            (sign, t("reading.number_is", text=found.number.text, number=value))
            for sign, value in found.number.readings.items()
        ]
        made.append(Choice("decimal", answers, said.decimal or _only(answers), said.decimal is None))
    for option, question in asked.items():
        if option is not None and option not in {choice.name for choice in made}:
            words = [(it, str(t(f"reading.{it}")) if it in (YES, NO) else it) for it in question.candidates]
            examples = [
                (it, [value.texts[at] for value in question.values[:5]]) for at, it in enumerate(question.candidates)
            ]
            made.append(Choice(option, words, question.proposed, True, question.sentence, examples))
    return made


_ENCODINGS = ("utf-8", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "utf-16")
_DELIMITERS = {",": "comma", ";": "semicolon", "tab": "tab", "|": "bar"}


def _only(answers: Sequence[tuple[str, str]]) -> str:
    """Returns the answer if there is one alone; "" if the person must choose."""
    return answers[0][0] if len(answers) == 1 else ""


def _in_words(visit: Visit, iso: str) -> str:
    year, month, day = (int(part) for part in iso[:10].split("-"))
    return str(visit.texts("format.date", day=str(day), month=visit.texts(f"format.months.m{month}"), year=str(year)))


def columns(visit: Visit) -> Response:
    """Shows where each column goes."""
    draft = draft_of(visit)
    if draft.step not in (Step.PREVIEWED, Step.FAILED):
        return visit.go("import", draft.upload.upload_id)
    found, _ = _peeked(draft)
    if found is None:
        return visit.go("import", draft.upload.upload_id, "reading")
    record_type = _record_type(visit, draft)
    groups: dict[str, list[Column]] = {"check": [], "matched": [], "left_out": []}
    for column in found.columns:
        groups[_group(column)].append(column)
    missing = [record_type.field(name) for name in found.missing if record_type.field(name).required]
    return visit.page(
        "columns.html.jinja",
        draft=draft,
        record_type=record_type,
        groups=groups,
        missing=missing,
        problem=found.problem or (draft.upload.failure.message if draft.upload.failure else ""),
    )


def _group(column: Column) -> str:
    if column.reason == "likeness":
        return "check"
    return "left_out" if column.field is None else "matched"


def say_columns(visit: Visit) -> Response:
    """Takes where the columns go, and reads the file again."""
    draft = draft_of(visit)
    given = zip(visit.all_said("header"), visit.all_said("field"), visit.all_said("proposed"), strict=False)
    # Whoever has looked at the page has confirmed what it proposes. Columns that it leaves out are not said.
    chosen = {header: field for header, field, proposed in given if field or proposed}
    drafts.choose(draft, replace(draft.upload.choices, column_map=chosen), visit.person.name)
    return visit.go("import", draft.upload.upload_id, "preview")


def preview(visit: Visit) -> Response:
    """Shows what would happen. Nothing is saved yet."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        return visit.go("import", draft.upload.upload_id)
    number, text = _number(visit.request.query_params.get("page", "1")), visit.request.query_params.get("find", "")
    changes = draft.changes(number, _CHANGES, text)
    values: dict[str, Any] = {"draft": draft, "report": draft.report, "changes": changes, "find": text}
    if visit.is_fragment:
        return visit.page("_changes.html.jinja", **values)
    fixed = draft.fixed
    left = draft.report.batch.counts.rejected - (fixed.ready if fixed else 0)
    return visit.page("preview.html.jinja", fixed=fixed, open=left, **values)


def save(visit: Visit) -> Response:
    """Saves what the page has shown, and leads to it in the history."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        return visit.go("import", draft.upload.upload_id)
    batch = draft.report.batch
    if visit.said("batch") != batch.batch_id:
        raise Refused("What you saw is not what is here now.", "Look at the page again, then save.")
    left = batch.counts.rejected - (draft.fixed.ready if draft.fixed else 0)
    if left and visit.said("leave_out") != str(left):
        raise InvalidRequest(f"{batch.counts.rejection}.", "Fix them, or confirm that they are left out.")
    if draft.report.questions and visit.said("accept") != "yes":
        raise Refused(draft.report.questions[0].sentence, "Answer the question about how to read the file.")
    drafts.save(draft, visit.person.name)
    return visit.go("import", draft.upload.upload_id)


def ask_for_approval(visit: Visit) -> Response:
    """Records that the person asks somebody else to save the file, and sends a notice with the page's address."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        raise NotFound("There is nothing to approve.", "Look at the file's page.")
    visit.site.uploads.change(draft.upload, lambda known: replace(known, wants_approval=visit.person.name))
    origin = visit.request.headers.get("origin") or str(visit.request.base_url).rstrip("/")
    address = origin + visit.path("import", draft.upload.upload_id, "preview")
    message = asking(draft.report.batch, visit.person.name, address)

    def send(_: Task) -> None:
        notifier = Notifier(visit.site.settings)
        for receiver in notifier.receivers:
            notifier.send(receiver, message)

    visit.site.work.start(("notice", draft.upload.upload_id), "a notice", send)
    return visit.go("import", draft.upload.upload_id, "preview")


def remove(visit: Visit) -> Response:
    """Removes an upload, and discards its preview."""
    draft = draft_of(visit)
    if draft.step is Step.READING:
        raise Refused("The file is being read.", "Wait until that has ended.")
    if draft.step is Step.PREVIEWED and draft.report is not None:
        with visit.store() as store:
            Importer(store, visit.person.name).discard(visit.account, draft.report.batch.batch_id)
    visit.site.uploads.remove(draft.upload)
    return visit.go("import")


def _record_type(visit: Visit, draft: Draft) -> RecordType:
    with visit.store() as store:
        return store.record_type(draft.upload.record_type)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
