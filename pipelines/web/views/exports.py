"""Exports: what to export, how far one is, and the files that were made."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.responses import Response

from pipelines.deployment import Deployment
from pipelines.web.visit import Site, Visit
from pipelines.web.work import Task
from resources.deliveries import Deliveries
from resources.export_writer import ExportWriter
from resources.export_writer.formats import FORMATS
from resources.export_writer.parts import rows_done, rows_placed
from resources.export_writer.plan import ExportPlan
from resources.record_store import AccountRecords, RecordStore
from resources.record_store.refusals import no_such_export
from schemas.deliveries import Delivery
from schemas.errors import InvalidRequest, NoDeployment, NotFound, RecordsError
from schemas.exports import ExportManifest, ExportRequest, Packing
from schemas.filters import parse_filter
from schemas.record_type import RecordType

OPERATORS = ("=", "!=", ">=", "<=", "contains", "starts", "in", "is-null", "is-null false")
"""The conditions of the page, as `schemas.filters` reads them."""
_WITHOUT_VALUE = ("is-null", "is-null false")
_CONDITIONS = 4
_LISTED = 20
_VALUES = 30
"""How many values of a field are named if no record has the one that was asked for."""
_FORMATS = ("excel", "csv", "json", "ndjson", "parquet")
_FOR_SPREADSHEETS = "utf-8-sig"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True)
class Made:
    """An export and, if it is not made yet, its plan and what is being done.

    task: what this server does. rows_placed: how many records are in the file, once it is being put together.
    is_in_works: whether this server, or a run of Dagster, makes the export.
    """

    manifest: ExportManifest | None = None
    plan: ExportPlan | None = None
    task: Task | None = None
    rows_done: int = 0
    rows_placed: int | None = None
    is_in_works: bool = False


@dataclass(frozen=True)
class Problem:
    """A condition that cannot be used: its number on the page, and why."""

    condition: int
    error: RecordsError


def choose(visit: Visit) -> Response:
    """Shows what can be exported, how much it would be, and the last exports."""
    return _form(visit, visit.request.query_params, None)


def _form(visit: Visit, said: Any, problem: Problem | None) -> Response:
    """Shows the form; with what was said, and what is wrong, if a condition cannot be used."""
    with visit.store() as store:
        types = store.record_types() if store.exists else {}
        found = store.exports(visit.account, limit=_LISTED) if store.exists else []
        record_type = types.get(said.get("type", "")) or next(iter(types.values()), None)
        presets = {} if record_type is None else store.presets(visit.account, record_type.name)
        if visit.is_fragment:
            return _estimate(visit, store, said)
    chosen = presets.get(said.get("preset", ""), () if record_type is None else record_type.field_names)
    delivery, filled = None, None
    name = said.get("name" if said.get("action") == "replace" else "delivery", "")
    if record_type is not None and name:
        delivery = own_delivery(visit, name)
        chosen = tuple(delivery.columns or presets.get(delivery.preset or "", record_type.field_names))
        filled = conditions_of(delivery.where)
    if problem is not None:
        chosen, filled = _columns(said) or (), _conditions(said)
    return visit.page(
        "export.html.jinja",
        types=list(types.values()),
        record_type=record_type,
        presets=presets,
        chosen=chosen,
        formats=_FORMATS,
        operators=OPERATORS,
        conditions=range(_CONDITIONS),
        exports=found,
        said=said,
        problem=problem,
        format=said.get("format", "") or (delivery.format if delivery else ""),
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        delivery=delivery,
        filled=filled or [("", "=", "")] * _CONDITIONS,
        keeps_conditions=delivery is not None and filled is None,
    )


def own_delivery(visit: Visit, name: str) -> Delivery:
    """Returns a daily export of the account. Raises NotFound if it has none with this name."""
    with visit.store() as store:
        entry = Deliveries(store).entries.get(name)
    if entry is None or entry.account != visit.account:
        raise NotFound(f"There is no daily export {name!r}.", "Look at the list again.")
    return entry


def conditions_of(filters: Sequence[str]) -> list[tuple[str, str, str]] | None:
    """Returns conditions as the form has them: field, operator and value. None if it cannot show all of them."""
    found = []
    for text in filters:
        name, _, rest = text.strip().partition(" ")
        operator = next((it for it in sorted(OPERATORS, key=len, reverse=True) if rest.startswith(it)), None)
        if operator is None or (operator not in _WITHOUT_VALUE and not rest.removeprefix(operator).startswith(" ")):
            return None
        found.append((name, operator, rest.removeprefix(operator).strip()))
    return None if len(found) > _CONDITIONS else [*found, *[("", "=", "")] * (_CONDITIONS - len(found))]


def _estimate(visit: Visit, store: RecordStore, said: QueryParams) -> Response:
    """Returns how many records the form would export, and about how large the file would be."""
    try:
        request = request_of(visit.account, said)
        records = store.account(visit.account)
        selection, _ = records.select(request)
        with records.export_source(selection) as source:
            rows = source.count()
            size = rows * FORMATS[request.format].text_bytes(selection.written, source.bytes_per_row())
            size *= FORMATS[request.format].file_ratio
    except RecordsError as error:
        return visit.page("_estimate.html.jinja", problem=error, rows=0, size=0)
    of = {name for name, _, _ in _conditions(said)} if not rows else set()
    known = [it for it in store.record_type(request.record_type).fields if it.name in of and (it.choices or it.rules)]
    return visit.page("_estimate.html.jinja", problem=None, rows=rows, size=round(size), known=known, most=_VALUES)


def start(visit: Visit) -> Response:
    """Begins an export, and leads to its page. Saves the choice of columns under a name if the form gives one."""
    form = visit.form
    if form is None:
        raise InvalidRequest("The form is empty.", "Choose what to export.")
    request = request_of(visit.account, form)
    name = plain_name(visit.said("save_as"))
    if (refused := with_problem(visit)) is not None:
        return refused
    with visit.store() as store:
        records = store.account(visit.account)
        if name and request.columns is not None:
            records.save_preset(request.record_type, name, list(request.columns), visit.person.name)
        if visit.said("action") == "keep":
            if not name:
                raise InvalidRequest("The choice has no name.", "Write a name for it, and save it again.")
            return visit.go(f"export?type={quote(request.record_type)}&preset={quote(name)}")
        plan = ExportWriter(store, visit.person.name).plan(request)
    make(visit.site, plan)
    return visit.go("export", plan.export_id)


def with_problem(visit: Visit) -> Response | None:
    """Returns the form with what is wrong, if one of its conditions cannot be used; None if all can."""
    with visit.store() as store:
        problem = _problem(store.record_type(visit.said("type")), visit.form or {})
    return None if problem is None else _form(visit, visit.form, problem)


def plain_name(text: str) -> str:
    """Returns a text as a name: small letters and digits, with hyphens between; "" if it has none."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return _NOT_IN_NAMES.sub("-", plain).strip("-_")[:63]


def make(site: Site, plan: ExportPlan) -> None:
    """Begin a planned export: as a run of Dagster if it is large and a deployment answers, else in this server."""
    if plan.rows < site.settings.background_rows or not _submitted(site, plan):
        _begin(site, plan)


def details(visit: Visit) -> Response:
    """Shows an export: its file, or how far it is."""
    export_id = visit.request.path_params["export"]
    found = made(visit, export_id)
    if visit.is_fragment and found.manifest is not None:
        return visit.go("export", export_id)
    template = "_export_progress.html.jinja" if visit.is_fragment else "exported.html.jinja"
    return visit.page(template, made=found, export_id=export_id)


def go_on(visit: Visit) -> Response:
    """Makes the rest of an export that was interrupted."""
    export_id = visit.request.path_params["export"]
    with visit.store() as store:
        plan = ExportWriter(store, visit.person.name).load(visit.account, export_id)
    _begin(visit.site, plan)
    return visit.go("export", export_id)


def made(visit: Visit, export_id: str) -> Made:
    """Returns an export of the account, or how far it is. Raises NotFound if there is none with this id."""
    visit.site.work.of((visit.account, export_id))  # waits for one that is quick
    with visit.store() as store:
        return _made(visit.site, store, store.account(visit.account), export_id)


def cancel(visit: Visit) -> Response:
    """Ends an export that is being made, and leads to the others; to its page if it is done."""
    export_id = visit.request.path_params["export"]
    return visit.go("export") if end(visit, export_id) else visit.go("export", export_id)


def end(visit: Visit, export_id: str) -> bool:
    """End an export that is being made, by this server or by a run of Dagster. Returns False if it is done.

    Raises NotFound if the account has none with this id.
    """
    with visit.store() as store:
        try:
            plan = ExportWriter(store, visit.person.name).load(visit.account, export_id)
        except NotFound:
            if store.account(visit.account).export(export_id) is None:
                raise no_such_export(export_id) from None
            return False
    task = visit.site.work.of((visit.account, export_id))
    if task is not None:
        task.cancelled = True
    Deployment(visit.site.settings).cancel_export(export_id)
    if visit.site.work.of((visit.account, export_id)) is None:  # else the task deletes them when it ends
        plan.clear()
    return True


def _made(site: Site, store: RecordStore, records: AccountRecords, export_id: str) -> Made:
    manifest = records.export(export_id)
    if manifest is not None:
        return Made(manifest)
    try:
        plan = ExportWriter(store, "").load(records.name, export_id)
    except NotFound:
        raise no_such_export(export_id) from None
    task = site.work.of((records.name, export_id))
    is_in_works = task is not None or Deployment(site.settings).is_exporting(export_id)
    return Made(None, plan, task, rows_done(plan), rows_placed(plan), is_in_works)


def _begin(site: Site, plan: ExportPlan) -> Task:
    """Make an export in a thread of this server."""

    def make(task: Task) -> None:
        with site.stores.lent() as store:
            writer = ExportWriter(store, plan.actor)

            def made(number: int) -> None:
                task.progress(plan.rows_before(number + 1), plan.rows)

            try:
                writer.finish(plan, made, lambda rows: task.progress(rows, plan.rows))
            finally:
                if task.cancelled and writer.published(plan.request.account, plan.export_id) is None:
                    plan.clear()

    return site.work.start((plan.request.account, plan.export_id), plan.export_id, make)


def _submitted(site: Site, plan: ExportPlan) -> bool:
    """Submit a large export to Dagster. Returns whether a deployment has taken it."""
    try:
        Deployment(site.settings).submit_export(plan)
    except NoDeployment:
        return False
    return True


def request_of(account: str, said: Any) -> ExportRequest:
    """Returns the export that a form asks for. Raises InvalidRequest for what is not valid."""
    kind, packing = said.get("format", "excel"), said.get("pack", "")
    spreadsheet = kind == "csv" and said.get("for_spreadsheets") == "yes"
    request = ExportRequest(
        account=account,
        record_type=said.get("type", ""),
        columns=_columns(said),
        format=kind if kind in FORMATS else "csv",
        packing=Packing(packing) if packing in [*Packing] else None,
        filters=tuple(_filters(said)),
        order_by=tuple(filter(None, [said.get("order_by", "")])),
    )
    if spreadsheet:
        request = replace(request, encoding=_FOR_SPREADSHEETS)
    return request


def _columns(said: Any) -> tuple[str, ...] | None:
    """Returns the ticked columns, by the numbers beside them; None if none is ticked."""
    ticked = said.getlist("column")

    def place(name: str) -> int:
        number = said.get(f"place_{name}", "")
        return int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0

    return tuple(sorted(dict.fromkeys(ticked), key=place)) or None


def _conditions(said: Any) -> list[tuple[str, str, str]]:
    """Returns the conditions of the form: field, operator and value."""
    return [
        (said.get(f"field_{at}", ""), said.get(f"operator_{at}", "="), said.get(f"value_{at}", "").strip())
        for at in range(_CONDITIONS)
    ]


def _filter(name: str, operator: str, value: str) -> str | None:
    """Returns a condition as a filter; None if it says nothing."""
    if not name or operator not in OPERATORS or not (value or operator in _WITHOUT_VALUE):
        return None
    return f"{name} {operator}" if operator in _WITHOUT_VALUE else f"{name} {operator} {value}"


def _filters(said: Any) -> Sequence[str]:
    return [text for it in _conditions(said) if (text := _filter(*it)) is not None]


def _problem(record_type: RecordType, said: Any) -> Problem | None:
    """Returns the first condition of the form that cannot be used."""
    for at, it in enumerate(_conditions(said)):
        try:
            if text := _filter(*it):
                parse_filter(text, record_type)
        except InvalidRequest as error:
            return Problem(at, error)
    return None
