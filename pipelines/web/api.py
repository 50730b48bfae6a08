"""The pages' steps for programs: JSON below `/api`, described by `/api/openapi.json`. The same rules count.

Each operation is one entry of `OPERATIONS`. The routes and the description are both made from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from starlette.responses import JSONResponse, Response

from pipelines.web import drafts, files
from pipelines.web.drafts import Draft, Step, draft_of
from pipelines.web.views import exports as export_views
from pipelines.web.views import history, home, uploads
from pipelines.web.visit import NotAllowed, Visit
from resources.export_writer import ExportWriter
from schemas.batches import Mode, OnDuplicate
from schemas.errors import InvalidRequest, RecordsError, Refused
from schemas.exports import ExportRequest, Packing
from schemas.footers import Footer
from schemas.people import Role
from schemas.reading import DateOrder, ReadOptions, ShortRows
from schemas.rollbacks import OnModified, RollbackRequest
from schemas.uploads import Choices

_PAGE = 50


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUpload(_Body):
    """A file to upload. Send its bytes in pieces afterwards, each with PATCH and the header Upload-Offset."""

    name: str = Field(description="The file's name.")
    bytes: int = Field(ge=0, description="The size of the whole file.")
    type: str = Field(description="The record type, for example contacts.")


class Reading(_Body):
    """How the file is written. What is not given is detected, or asked."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    date_order: DateOrder | None = None
    decimal: Literal[",", "."] | None = None
    time_zone: str | None = None
    header_row: PositiveInt | None = None
    short_rows: ShortRows | None = None
    at: str | None = Field(default=None, description="The list that has the records of a JSON file.")
    blank: str | None = Field(default=None, description="What an empty cell does: clear, keep or fill.")
    footer: Footer | None = None
    unescape: bool | None = None
    as_shown: bool | None = None


class NewChoices(_Body):
    """What to do with an uploaded file. The file is read again."""

    reading: Reading = Reading()
    columns: dict[str, str] = Field(default={}, description="Header to field. An empty field leaves the column out.")
    values: dict[str, dict[str, str]] = Field(default={}, description="Field to text to the value that it stands for.")
    mode: Mode = Mode.UPSERT
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    again: bool = Field(default=False, description="Whether a file may be imported that was imported before.")


class Saving(_Body):
    """What to save, so that nothing else than what was seen is saved."""

    batch_id: str = Field(description="The preview, as the import's state names it.")
    leave_out: int = Field(default=0, ge=0, description="How many rejected records to leave out: all of them.")


class RollingBack(_Body):
    """What to roll back, and what to do with records that were modified since."""

    on_modified: OnModified = OnModified.STOP
    dry_run: bool = Field(default=False, description="Only say what would happen.")


class NewExport(_Body):
    """What to export."""

    type: str
    format: Literal["csv", "excel", "json", "ndjson", "parquet"] = "csv"
    columns: list[str] | None = None
    preset: str | None = None
    where: list[str] = Field(default=[], description='Conditions, for example "amount >= 100".')
    order_by: list[str] = []
    as_of: str | None = None
    changed_since: str | None = None
    encoding: str = "utf-8"
    delimiter: str = ","
    pack: Packing | None = None


class Cancelling(_Body):
    """An empty object: the address says what to cancel."""


@dataclass(frozen=True)
class Operation:
    """One thing that a program can do: its address below `/api`, who may do it, and what it takes.

    role: None for what concerns no account.
    """

    method: str
    path: str
    summary: str
    act: Callable[[Visit, Any], Response]
    role: Role | None = Role.VIEWER
    body: type[BaseModel] | None = None

    def answer(self, visit: Visit) -> Response:
        """Returns the answer. Raises InvalidRequest if the body is not what the operation takes."""
        if self.body is None:
            return self.act(visit, None)
        try:
            body = self.body.model_validate({} if visit.json is None else visit.json)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"])) or "the body"
            raise InvalidRequest(f"{place}: {wrong['msg']}.", "See /api/openapi.json.") from None
        return self.act(visit, body)


def failure(error: RecordsError, status: int) -> Response:
    """Returns an error as JSON."""
    return JSONResponse(
        {"code": error.code, "message": error.message, "hint": error.hint, "quoted": error.quoted}, status
    )


def _accounts(visit: Visit, _: None) -> Response:
    return JSONResponse({"items": home.known_accounts(visit)})


def _start(visit: Visit, body: NewUpload) -> Response:
    upload = uploads.begin(visit, body.type, body.name, body.bytes)
    place = f"/api/accounts/{visit.account}"
    answer = {
        "upload_id": upload.upload_id,
        "upload": f"{place}/uploads/{upload.upload_id}",
        "import": f"{place}/imports/{upload.upload_id}",
    }
    return JSONResponse(answer, 201, {"Location": answer["upload"]})


def _import(visit: Visit, _: None) -> Response:
    return JSONResponse(_state(draft_of(visit)))


def _choose(visit: Visit, body: NewChoices) -> Response:
    draft = draft_of(visit)
    said = {name: value for name, value in body.reading.model_dump().items() if value is not None}
    choices = Choices(
        reading=ReadOptions.from_said(said),
        column_map=body.columns,
        value_map=body.values,
        mode=body.mode,
        on_duplicate=body.on_duplicate,
        again=body.again,
    )
    drafts.choose(draft, choices, visit.person.name)
    return JSONResponse(_state(draft_of(visit)), 202)


def _save(visit: Visit, body: Saving) -> Response:
    draft = draft_of(visit)
    if draft.step is not Step.PREVIEWED or draft.report is None:
        raise Refused("There is no preview to save.", "Look at the import's state.")
    batch = draft.report.batch
    if body.batch_id != batch.batch_id:
        raise Refused("What you saw is not what is here now.", "Look at the import's state again, then save.")
    if body.leave_out != batch.counts.rejected:
        raise Refused(f"{batch.counts.rejection}.", f"To leave them out, say leave_out: {batch.counts.rejected}.")
    if draft.report.questions:
        raise Refused(draft.report.questions[0].sentence, "Answer the questions with the import's choices.")
    drafts.save(draft, visit.person.name)
    return JSONResponse(_state(draft_of(visit)), 202)


def _cancel(visit: Visit, _: Cancelling) -> Response:
    draft = draft_of(visit)
    drafts.cancel(draft, visit.person.name)
    return JSONResponse({"upload_id": draft.upload.upload_id, "step": "cancelled"})


def _state(draft: Draft) -> dict[str, Any]:
    """Returns where an import is, and what is known of it."""
    task, failed = draft.task, draft.upload.failure
    return {
        "upload_id": draft.upload.upload_id,
        "name": draft.upload.name,
        "step": draft.step.value,
        "received": draft.site.uploads.received(draft.upload),
        "bytes": draft.upload.bytes,
        "records_read": None if task is None else task.records,
        "records_expected": None if task is None else task.expected,
        "failure": None if failed is None else {"code": failed.code, "message": failed.message, "hint": failed.hint},
        "report": None if draft.report is None else draft.report.to_dict(),
    }


def _batches(visit: Visit, _: None) -> Response:
    number = history.page_number(visit)
    with visit.store() as store:
        found = store.batches(visit.account, offset=(number - 1) * _PAGE, limit=_PAGE + 1) if store.exists else []
        items = [report.to_dict() for report in store.reports(found[:_PAGE])]
    return JSONResponse({"items": items, "next": number + 1 if len(found) > _PAGE else None})


def _batch(visit: Visit, _: None) -> Response:
    with visit.store() as store:
        return JSONResponse(store.account(visit.account).report(visit.request.path_params["batch"]).to_dict())


def _roll_back(visit: Visit, body: RollingBack) -> Response:
    with visit.store() as store:
        records = store.account(visit.account)
        batch = records.batch(visit.request.path_params["batch"])
        request = RollbackRequest(visit.account, batch.batch_id, body.on_modified)
        if body.dry_run:
            return JSONResponse(records.plan_rollback(request).to_dict())
        if not history.may_roll_back(visit, batch):
            raise NotAllowed("You may look at this, but not roll it back.", "Ask somebody who may approve imports.")
        return JSONResponse(records.roll_back(request, visit.person.name, None).to_dict())


def _export(visit: Visit, body: NewExport) -> Response:
    request = ExportRequest(
        account=visit.account,
        record_type=body.type,
        columns=None if body.columns is None else tuple(body.columns),
        preset=body.preset,
        format=body.format,
        packing=body.pack,
        filters=tuple(body.where),
        order_by=tuple(body.order_by),
        as_of=body.as_of,
        changed_since=body.changed_since,
        encoding=body.encoding,
        delimiter=body.delimiter,
    )
    with visit.store() as store:
        plan = ExportWriter(store, visit.person.name).plan(request)
    export_views.make(visit.site, plan)
    return JSONResponse(_export_state(visit, plan.export_id), 202)


def _exports(visit: Visit, _: None) -> Response:
    number = history.page_number(visit)
    with visit.store() as store:
        found = store.exports(visit.account, offset=(number - 1) * _PAGE, limit=_PAGE + 1) if store.exists else []
    return JSONResponse(
        {"items": [it.to_dict() for it in found[:_PAGE]], "next": number + 1 if len(found) > _PAGE else None}
    )


def _one_export(visit: Visit, _: None) -> Response:
    return JSONResponse(_export_state(visit, visit.request.path_params["export"]))


def _cancel_export(visit: Visit, _: Cancelling) -> Response:
    export_id = visit.request.path_params["export"]
    if not export_views.end(visit, export_id):
        raise Refused(f"The export {export_id} is done.", "Download its file, or leave it.")
    return JSONResponse({"export_id": export_id, "status": "cancelled"})


def _export_state(visit: Visit, export_id: str) -> dict[str, Any]:
    made = export_views.made(visit, export_id)
    if made.manifest is not None:
        return made.manifest.to_dict()
    assert made.plan is not None  # noqa: S101 - an export has a manifest or a plan
    return {
        "export_id": export_id,
        "status": "making",
        "rows_done": made.rows_done,
        "rows_placed": made.rows_placed,
        "rows": made.plan.rows,
    }


def _file(visit: Visit, _: None) -> Response:
    return files.download(visit)


_OF = "/accounts/{account}"
OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/accounts", "List your accounts.", _accounts, None),
    Operation("POST", f"{_OF}/uploads", "Begin an upload.", _start, Role.IMPORTER, NewUpload),
    Operation("GET", f"{_OF}/imports/{{upload}}", "Say where an import is.", _import),
    Operation(
        "POST", f"{_OF}/imports/{{upload}}/choices", "Say how to read a file.", _choose, Role.IMPORTER, NewChoices
    ),
    Operation("POST", f"{_OF}/imports/{{upload}}/save", "Save what the preview shows.", _save, Role.IMPORTER, Saving),
    Operation(
        "POST",
        f"{_OF}/imports/{{upload}}/cancel",
        "Remove an upload that is not saved. Receiving and reading it ends.",
        _cancel,
        Role.IMPORTER,
        Cancelling,
    ),
    Operation("GET", f"{_OF}/batches", "List what was done, newest first.", _batches),
    Operation("GET", f"{_OF}/batches/{{batch}}", "Show one import or rollback.", _batch),
    Operation(
        "POST", f"{_OF}/batches/{{batch}}/rollback", "Roll an import back.", _roll_back, Role.IMPORTER, RollingBack
    ),
    Operation("GET", f"{_OF}/exports", "List exports, newest first.", _exports),
    Operation("POST", f"{_OF}/exports", "Export records.", _export, Role.IMPORTER, NewExport),
    Operation("GET", f"{_OF}/exports/{{export}}", "Say how far an export is.", _one_export),
    Operation(
        "POST",
        f"{_OF}/exports/{{export}}/cancel",
        "End an export that is being made.",
        _cancel_export,
        Role.IMPORTER,
        Cancelling,
    ),
    Operation("GET", f"{_OF}/files/{{of}}/{{what}}", "Download an export, a report or a rejects_file.", _file),
)


def description(operations: Sequence[Operation] = OPERATIONS) -> Mapping[str, Any]:
    """Returns the operations as a document of OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for operation in operations:
        names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
        described: dict[str, Any] = {
            "summary": operation.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ],
            "responses": {
                "2XX": {"description": "Done, or begun."},
                "4XX": {"description": "Refused: code, message and hint."},
            },
        }
        if operation.body is not None:
            name = operation.body.__name__
            schema = operation.body.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {})
            schemas[name] = schema
            described["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
            }
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = described
    piece = f"/api{_OF}/uploads/{{upload}}"
    paths[piece] = {
        "head": {"summary": "Say how many bytes have arrived: the header Upload-Offset."},
        "patch": {
            "summary": "Send the next bytes, from Upload-Offset on.",
            "requestBody": {"content": {uploads.PIECE: {"schema": {"type": "string", "format": "binary"}}}},
        },
    }
    for each in paths[piece].values():
        each["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("account", "upload")
        ]
        each["responses"] = {"2XX": {"description": "Upload-Offset says how many bytes have arrived."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "records", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
