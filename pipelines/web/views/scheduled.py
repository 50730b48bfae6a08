"""Exports that are made every day: the account's entries of `exports.yaml`."""

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from pipelines.web.views.exports import own_delivery, plain_name, request_of, with_problem
from pipelines.web.visit import Visit
from resources.deliveries import Deliveries
from resources.deliveries_file import DeliveriesFile
from schemas.deliveries import Delivery, next_time
from schemas.errors import InvalidRequest

_LATE = timedelta(minutes=15)
"""After this time, an export that was not made is shown as missing."""


def listed(visit: Visit) -> Response:
    """Lists the account's daily exports, each with its next time and its last file."""
    with visit.store() as store:
        now = store.clock.now()
        found = Deliveries(store) if store.exists else None
        own = [] if found is None else [it for it in found.entries.values() if it.account == visit.account]
        entries = [
            (it, next_time([it], now), store.account(visit.account).last_export(it.type, it.actor)) for it in own
        ]
        wrong = [] if found is None else found.mistakes
        home = f"{visit.site.settings.home}/"
        mistakes = [f"{it.message} {it.hint}".replace(home, "") for it in wrong] if visit.may("operator") else []
        due = [] if found is None else [it for it in found.due(now) if now - it.timestamp > _LATE]
        missed = {it.delivery.name: it.timestamp for it in due}
    is_unreadable = bool(wrong) and not entries and not mistakes
    return visit.page(
        "scheduled.html.jinja", entries=entries, mistakes=mistakes, is_unreadable=is_unreadable, missed=missed
    )


def change(visit: Visit) -> Response:
    """Adds, changes or removes a daily export of the account."""
    file, action = DeliveriesFile(visit.site.settings.home / "exports.yaml"), visit.said("action")
    if action in ("add", "replace") and (refused := with_problem(visit)) is not None:
        return refused
    if action == "add":
        file.add(_entry(visit))
        return visit.go("scheduled")
    name = visit.said("name")
    entry = own_delivery(visit, name)
    if action == "remove":
        file.remove(name)
    elif action == "change":
        changed = _checked(
            {**entry.model_dump(exclude_defaults=True), "at": visit.said("at"), "time_zone": _zone(visit)}
        )
        file.change(name, {"at": changed.at, "time_zone": changed.time_zone})
    elif action == "replace":
        values = {**_entry(visit), "name": name, "preset": None}
        if visit.said("keeps_conditions") != "yes":
            values.setdefault("where", None)
        _checked({**entry.model_dump(exclude_defaults=True), **values})
        file.change(name, values)
    return visit.go("scheduled")


def _entry(visit: Visit) -> dict[str, Any]:
    """Returns the entry of a form: an export, and when it is made."""
    if visit.form is None:
        raise InvalidRequest("The form is empty.", "Choose what to export.")
    request = request_of(visit.account, visit.form)
    values: dict[str, Any] = {
        # The account's name comes first, so that a name never says what other accounts have.
        "name": plain_name(f"{visit.account}-{visit.said('delivery_name') or request.record_type}") or "daily",
        "account": visit.account,
        "type": request.record_type,
        "at": visit.said("at"),
        "time_zone": _zone(visit),
        "format": request.format,
    }
    if request.columns is not None:
        values["columns"] = list(request.columns)
    if request.filters:
        values["where"] = list(request.filters)
    _checked(values)
    return values


def _checked(values: dict[str, Any]) -> Delivery:
    try:
        return Delivery.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ", ".join(map(str, wrong["loc"]))
        raise InvalidRequest(f"{place}: {wrong['msg']}.", "Correct it, and try again.") from None


def _zone(visit: Visit) -> str:
    return visit.said("time_zone").strip() or "UTC"
