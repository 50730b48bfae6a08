"""Files that arrived in the inbox: saved, waiting, or not readable. Those not saved can be opened like an upload."""

from contextlib import suppress
from dataclasses import replace

from starlette.responses import Response

from pipelines.web import changed_values
from pipelines.web.views.history import require_own
from pipelines.web.visit import Visit
from resources.inbox.arrivals import read_policies
from resources.inbox.arrived_file import arrived_file
from resources.record_store import RecordStore
from schemas.batches import Batch, BatchStatus
from schemas.errors import NotFound, RecordsError
from schemas.uploads import Choices

_SHOWN = 100
_COPIED_AT_ONCE = 1 << 20


def listed(visit: Visit) -> Response:
    """Lists the files that arrived, newest first."""
    with visit.store() as store:
        arrived = store.arrived(visit.account, _SHOWN) if store.exists else []
        opened = {it.arrived: it for it in visit.site.uploads.listed(visit.account) if it.arrived}
        # What became of a file that somebody has opened and read otherwise is the state of its newest preview.
        read = {it.batch_id for it in opened.values() if it.batch_id}
        newest = store.batches_named(read) if read else {}
    shown = []
    for batch in arrived:
        upload = opened.get(batch.batch_id)
        shown.append(
            (batch, batch, None)
            if upload is None
            else (batch, newest.get(upload.batch_id or "", batch), upload.upload_id)
        )
    return visit.page("inbox.html.jinja", batches=shown)


def open_file(visit: Visit) -> Response:
    """Opens a file that waits, or that could not be read, like an uploaded one."""
    batch_id = visit.request.path_params["batch"]
    with visit.store() as store:
        batch = store.account(visit.account).batch(batch_id)
        require_own(visit, batch)
        known = next((it for it in visit.site.uploads.listed(visit.account) if it.arrived == batch_id), None)
        if known is not None:
            return visit.go("import", known.upload_id)
        if batch.status not in (BatchStatus.PREVIEWED, BatchStatus.FAILED):
            return visit.go("history", batch_id)
        upload_id = _as_upload(visit, store, batch)
    return visit.go("import", upload_id)


def _as_upload(visit: Visit, store: RecordStore, batch: Batch) -> str:
    """Returns the id of a new upload with the file of a batch from the inbox, and its preview if it has one."""
    place, uploads = arrived_file(store.settings, batch), visit.site.uploads
    if place is None:
        raise NotFound("This file is no longer kept.", "Ask for it once more, or upload it.")
    choices = Choices()
    with suppress(RecordsError):  # of a mistake in the operator's file
        policy = read_policies(store).of(batch.account, batch.record_type)
        choices = Choices(policy.options, value_map=policy.value_map)
    with store.files.fetched(place) as path, path.open("rb") as file:
        upload = uploads.start(
            batch.account, batch.record_type, path.name, path.stat().st_size, visit.person.name, store.clock.now()
        )
        with uploads.receiving(upload, 0) as part:
            while block := file.read(_COPIED_AT_ONCE):
                part.write(block)
    is_open = batch.status is BatchStatus.PREVIEWED
    if is_open:
        changed_values.keep(store, batch, uploads.file(upload))
    batch_id = batch.batch_id if is_open else None
    uploads.change(upload, lambda it: replace(it, choices=choices, batch_id=batch_id, arrived=batch.batch_id))
    return upload.upload_id
