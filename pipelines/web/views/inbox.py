"""Files that arrived in the inbox: saved, waiting, or not readable."""

from starlette.responses import Response

from pipelines.web.visit import Visit

_SHOWN = 100


def listed(visit: Visit) -> Response:
    """Lists the files that arrived, newest first."""
    with visit.store() as store:
        found = store.batches(visit.account) if store.exists else []
        arrived = [batch for batch in found if batch.arrival_id is not None and batch.undone is None][:_SHOWN]
    return visit.page("inbox.html.jinja", batches=arrived)
