"""The first page: the person's accounts."""

from starlette.responses import RedirectResponse, Response

from pipelines.web.visit import Visit
from resources.record_store.refusals import check_account
from schemas.errors import RecordsError


def accounts(visit: Visit) -> Response:
    """Lists the person's accounts. If there is only one, shows its pages."""
    found = known_accounts(visit)
    if len(found) == 1 and not visit.person.has_every_account:
        return RedirectResponse(f"/a/{found[0]}/import")
    return visit.page("accounts.html.jinja", accounts=found, problem="", name="")


def open_account(visit: Visit) -> Response:
    """Leads to the account that the form names, which may be new for an operator."""
    name = visit.said("name").strip()
    try:
        check_account(name)
    except RecordsError as error:
        return visit.page(
            "accounts.html.jinja", accounts=known_accounts(visit), problem=error.message, name=name, status=422
        )
    return RedirectResponse(f"/a/{name}/import", 303)


def known_accounts(visit: Visit) -> list[str]:
    """Returns the names of the person's accounts."""
    with visit.store() as store:
        return visit.person.accounts(store.accounts() if store.exists else ())
