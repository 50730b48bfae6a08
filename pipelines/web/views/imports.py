"""From a dropped file to a saved import: what the file says, what its columns mean, and what would happen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.responses import Response

from pipelines.web import changed_values, drafts
from pipelines.web.drafts import Draft, Step, draft_of
from pipelines.web.questions import choices, doubts, header_rows, in_words, unnamed_sheet
from pipelines.web.visit import Visit
from pipelines.web.work import Task
from resources.importing.corrections import Progress
from resources.importing.peek import Peek
from resources.notifier import Notifier
from schemas.blanks import Blank
from schemas.columns import Column
from schemas.errors import AlreadyImported, InvalidRequest, NotFound, RecordsError, Refused
from schemas.notices import asking
from schemas.reading import NO, SAID, TAB, YES, ReadOptions
from schemas.record_type import RecordType
from schemas.uploads import Choices, Failure, Upload
from schemas.values import MappedValue, joined, value_map

_CHANGES = 50
_LISTED = 20
_SURE, _MOST_VALUES = 90, 50
"""The least score of a proposed value that is accepted unless the person says no, and how many values are offered."""
_ANSWERS = {"tab": TAB, YES: True, NO: False}
"""What answers of the page mean, other than themselves."""
_OF_ROWS = ("delimiter", "sheet", "at", "header_row")
"""The options that say which rows a file has."""


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
        is_open = found is None or draft.upload.choices.leave_open(found.questions)
        is_read = not is_open and _is_of_columns(draft)
        return visit.go("import", upload, "columns" if is_read else "reading")
    if draft.needs_reading:
        return visit.go("import", upload, "reading")
    return visit.go("import", upload, "columns" if draft.needs_columns else "preview")


def reading(visit: Visit) -> Response:
    """Shows how the file is read, and asks what it leaves open."""
    draft = draft_of(visit)
    if draft.step not in (Step.PREVIEWED, Step.FAILED):
        return visit.go("import", draft.upload.upload_id)
    found, error = _peeked(draft)
    failure, is_as_said = None if error is None else Failure.of(error), True
    if found is None:  # what was said does not fit the file: show what it says itself
        unsaid = replace(draft.upload.choices, reading=ReadOptions())
        draft, is_as_said = replace(draft, upload=replace(draft.upload, choices=unsaid)), False
        found, _ = _peeked(draft)
    if draft.upload.failure is not None and (error is not None or not _is_of_columns(draft)):
        failure = draft.upload.failure
    if failure is not None and failure.code == AlreadyImported.code:
        earlier = None if found is None else found.same_file
        return visit.page("already_imported.html.jinja", draft=draft, failure=failure, earlier=earlier)
    rows, asks_row = ((), False) if found is None else header_rows(draft, found)
    return visit.page(
        "reading.html.jinja",
        draft=draft,
        peek=found,
        failure=failure,
        choices=list(unnamed_sheet(draft) if found is None else choices(visit.texts, draft, found)),
        header_rows=rows,
        doubts=list(doubts(draft, found)),
        asks_row=asks_row,
        is_as_said=is_as_said,
        has_mapped=bool(draft.upload.choices.column_map),
        in_words=partial(in_words, visit.texts),
    )


def say_reading(visit: Visit) -> Response:
    """Takes how the file is to be read, and reads it again."""
    draft = draft_of(visit)
    said = {} if visit.said("forget") == "yes" else draft.upload.choices.reading.said()
    for name in SAID:
        if visit.form is not None and name in visit.form and visit.said(name) != visit.said(f"was_{name}"):
            said.pop(name, None)
            if visit.said(name):
                said[name] = _ANSWERS.get(visit.said(name), visit.said(name))
    try:
        chosen = replace(draft.upload.choices, reading=ReadOptions.from_said(said))
    except ValueError:
        raise InvalidRequest("This is no answer to a question of the page.", "Look at the page again.") from None
    if visit.said("again") == "yes":
        chosen = replace(chosen, again=True)
    chosen = _with_values(visit, _with_accepted(visit, draft, chosen))
    if replace(chosen, accepted=draft.upload.choices.accepted) == draft.upload.choices != chosen:
        drafts.accept(draft, chosen)
    else:
        drafts.choose(draft, chosen, visit.person.name)
    return visit.go("import", draft.upload.upload_id)


def _with_accepted(visit: Visit, draft: Draft, chosen: Choices) -> Choices:
    """Returns what was chosen, and what the form accepts. What was accepted for other rows is asked again."""
    before, now = (it.reading.said() for it in (draft.upload.choices, chosen))
    is_other = any(before.get(name) != now.get(name) for name in _OF_ROWS)
    said = visit.all_said("accepted") if visit.said("sure") == "yes" else ()
    accepted = () if is_other else (*draft.upload.choices.accepted, *said)
    return replace(chosen, accepted=tuple(dict.fromkeys(accepted)))


def _with_values(visit: Visit, chosen: Choices) -> Choices:
    """Returns what was chosen, and the mappings of values that the form accepts."""
    return replace(chosen, value_map=joined(value_map(filter(None, visit.all_said("value"))), chosen.value_map))


def _is_of_columns(draft: Draft) -> bool:
    """Returns whether the failure may be mended by saying where the columns go, if the file itself can be read."""
    return draft.upload.failure is not None and draft.upload.failure.code == InvalidRequest.code


def _peeked(draft: Draft) -> tuple[Peek | None, RecordsError | None]:
    try:
        return draft.peek(), None
    except RecordsError as error:
        return None, error


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
    blank = draft.upload.choices.reading.blank or found.options.blank or Blank.CLEAR.value
    return visit.page(
        "columns.html.jinja",
        draft=draft,
        record_type=record_type,
        groups=groups,
        missing=missing,
        report=draft.report,
        meanings=_meanings(record_type, draft),
        blank=blank,
        blanks=list(dict.fromkeys([*(it.value for it in Blank), blank])),
        problem=found.problem or (draft.upload.failure.message if draft.upload.failure else ""),
    )


@dataclass(frozen=True)
class Meaning:
    """A text that is no value of a field, and the values that it can be read as. proposed: the likeliest; "" if none.

    is_sure: whether it is read so unless the person says something else.
    """

    found: MappedValue
    values: Sequence[str]
    proposed: str
    is_sure: bool


def _meanings(record_type: RecordType, draft: Draft) -> list[Meaning]:
    """Returns what texts of the file may stand for. The person accepts or refuses each."""
    made = []
    for it in () if draft.report is None else draft.report.proposals:
        field = record_type.field(it.field)
        values = list(dict.fromkeys([*filter(None, [it.value]), *field.choices[:_MOST_VALUES]]))
        if values:
            is_sure = it.value is not None and (it.score or 0) >= _SURE
            made.append(Meaning(it, values, it.value or "", is_sure))
    return made


def _group(column: Column) -> str:
    if column.reason == "likeness":
        return "check"
    return "left_out" if column.field is None else "matched"


def say_columns(visit: Visit) -> Response:
    """Takes where the columns go, and reads the file again."""
    draft = draft_of(visit)
    given = zip(visit.all_said("header"), visit.all_said("field"), visit.all_said("proposed"), strict=False)
    # Whoever has looked at the page has confirmed what it proposes. Columns that it leaves out are not said.
    chosen = replace(
        draft.upload.choices,
        column_map={header: field for header, field, proposed in given if field or proposed},
    )
    if visit.said("blank") != visit.said("was_blank"):
        chosen = replace(chosen, reading=replace(chosen.reading, blank=visit.said("blank") or None))
    drafts.choose(draft, _with_values(visit, chosen), visit.person.name)
    return visit.go("import", draft.upload.upload_id, "preview")


def preview(visit: Visit) -> Response:
    """Shows what would happen. Nothing is saved yet. To a page that asks for a part, it shows the changed values."""
    if visit.is_fragment:
        return _changes(visit)
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        return visit.go("import", draft.upload.upload_id)
    batch, corrected = draft.report.batch, draft.corrected
    rejected = batch.counts.rejected
    fixed = Progress(0, 0, rejected) if corrected is None else corrected.progress()
    return visit.page(
        "preview.html.jinja",
        draft=draft,
        report=draft.report,
        meanings=_meanings(_record_type(visit, draft), draft),
        fixed=fixed,
        problems=batch.problems if corrected is None else corrected.groups(),
        not_saved=rejected - fixed.ready,
        **_changed_values(visit, draft.upload),
    )


def _changes(visit: Visit) -> Response:
    """Shows a page of the changed values. Many people page at once, so it asks no store."""
    upload = visit.site.uploads.find(visit.account, visit.request.path_params["upload"])
    if upload.batch_id is None:
        return visit.go("import", upload.upload_id)
    return visit.page("_changes.html.jinja", **_changed_values(visit, upload))


def _changed_values(visit: Visit, upload: Upload) -> dict[str, Any]:
    """Returns what the table of changed values shows: the page and the text that the address asks for."""
    number, text = _number(visit.request.query_params.get("page", "1")), visit.request.query_params.get("find", "")
    found = changed_values.page(visit.site.uploads.file(upload), number, _CHANGES, text)
    return {"changes": found, "find": text, "address": visit.path("import", upload.upload_id, "preview")}


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
    if draft.open_questions and visit.said("accept") != "yes":
        raise Refused(draft.open_questions[0].sentence, "Answer the question about how to read the file.")
    drafts.save(draft, visit.person.name)
    return visit.go("import", draft.upload.upload_id)


def ask_for_approval(visit: Visit) -> Response:
    """Records that the person asks somebody else to save the file, and sends a notice with the page's address."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        raise NotFound("There is nothing to approve.", "Look at the file's page.")
    visit.site.uploads.change(draft.upload, lambda known: replace(known, wants_approval=visit.person.name))
    said = visit.site.settings.web_url
    origin = said or visit.request.headers.get("origin") or str(visit.request.base_url).rstrip("/")
    address = origin + visit.path("import", draft.upload.upload_id, "preview")
    message = asking(draft.report.batch, visit.person.name, address)

    def send(_: Task) -> None:
        notifier = Notifier(visit.site.settings)
        for receiver in notifier.receivers:
            notifier.send(receiver, message)

    visit.site.work.start(("notice", draft.upload.upload_id), "a notice", send)
    return visit.go("import", draft.upload.upload_id, "preview")


def remove(visit: Visit) -> Response:
    """Removes an upload, ends its reading, and discards its preview."""
    drafts.cancel(draft_of(visit), visit.person.name)
    return visit.go("import")


def _record_type(visit: Visit, draft: Draft) -> RecordType:
    with visit.store() as store:
        return store.record_type(draft.upload.record_type)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
