"""Rejected rows in a grid: each wrong value with a sentence, corrected in place and checked at once."""

import tempfile
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from starlette.responses import Response

from pipelines.web.drafts import Draft, Step, draft_of
from pipelines.web.visit import Visit
from resources.importing.corrections import Corrections
from schemas.errors import InvalidRequest, NotFound, RecordsError

_ROWS = 25
_EXAMPLES = 3
"""How many texts show what a repair does."""


def grid(visit: Visit) -> Response:
    """Shows the rejected rows, all or those with one problem."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None or not draft.report.batch.counts.rejected:
        return visit.go("import", draft.upload.upload_id)
    said, group = visit.request.query_params, _group(visit)
    page = int(said["page"]) if said.get("page", "").isdigit() and len(said["page"]) < 8 else 1
    try:
        corrections = _corrections(visit, draft)
    except RecordsError as error:
        return visit.page("fix.html.jinja", draft=draft, problem=error, corrections=None)
    rows = corrections.rows((max(page, 1) - 1) * _ROWS, _ROWS + 1, group)
    return visit.page(
        "fix.html.jinja",
        draft=draft,
        problem=None,
        corrections=corrections,
        rows=rows[:_ROWS],
        has_more=len(rows) > _ROWS,
        page=max(page, 1),
        group=group,
        groups=corrections.groups(),
        progress=corrections.progress(),
        columns=_shown_columns(draft, corrections),
        repairs=corrections.repairs() if page <= 1 else [],  # they take longer than a page of rows
        examples=_EXAMPLES,
    )


def download(visit: Visit) -> Response:
    """Returns the rows that still need attention, as a workbook."""
    draft = draft_of(visit)
    corrections = _corrections(visit, draft)
    with tempfile.TemporaryDirectory(dir=draft.file.parent.parent) as folder:
        path = Path(folder) / "rows.xlsx"
        corrections.write_workbook(path)
        content = path.read_bytes()
    name = quote(f"{Path(draft.upload.name).stem}.rejects.xlsx", safe="")
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{name}", "Cache-Control": "no-store"}
    return Response(content, media_type="application/octet-stream", headers=headers)


def correct(visit: Visit) -> Response:
    """Takes a corrected value, or leaves a row out. Answers with the row as it is now."""
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED:
        raise NotFound("There is nothing to correct.", "Look at the file's page.")
    corrections, actor = _corrections(visit, draft), visit.person.name
    record, action = _number(visit.said("record") or "0"), visit.said("action")
    changed = [record]
    if action == "set":
        everywhere = visit.said("everywhere") == "yes"
        column = _number(visit.said("column"))
        changed = corrections.correct(record, column, visit.said("text"), actor, everywhere=everywhere)
    elif action in ("leave_out", "take_in"):
        corrections.leave_out(record, left_out=action == "leave_out")
    elif action == "keep_only":
        corrections.keep_only(record)
    elif action == "leave_out_open":
        corrections.leave_out_open((visit.said("field"), visit.said("rule")) if visit.said("rule") else None)
    elif action == "repair":
        corrections.repair(visit.said("field"), visit.said("kind"), actor)
    if not visit.is_fragment or len(changed) > 1 or action in ("keep_only", "leave_out_open", "repair"):
        return visit.back("import", draft.upload.upload_id, "fix")
    return visit.page(
        "_row.html.jinja",
        draft=draft,
        corrections=corrections,
        row=corrections.row(record),
        columns=_shown_columns(draft, corrections),
        group=_group(visit),
        groups=corrections.groups(),
        progress=corrections.progress(),
    )


def _corrections(visit: Visit, draft: Draft) -> Corrections:
    if draft.report is None:
        raise NotFound("There is nothing to correct.", "Look at the file's page.")
    with visit.store() as store:
        return Corrections(store, draft.report, draft.corrections)


def _shown_columns(draft: Draft, corrections: Corrections) -> list[tuple[int, str, str]]:
    """Returns the columns that feed a field: position, header and field. First those in which the file has mistakes."""
    wrong = () if draft.report is None else {it.field for it in draft.report.batch.problems}
    found = [(at, corrections.headers[at], field) for field, at in corrections.fields.items()]
    return sorted(found, key=lambda it: (it[2] not in wrong, it))


def _group(visit: Visit) -> tuple[str, str] | None:
    """Returns the field and the rule by which the page shows rows; None if it shows all."""
    shown = parse_qs(urlsplit(visit.request.headers.get("hx-current-url", "")).query)
    said = visit.request.query_params or {name: values[0] for name, values in shown.items()}
    return (said.get("field", ""), said["rule"]) if said.get("rule") else None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise InvalidRequest("The row is not named.", "Look at the page again.")
    return int(text)
