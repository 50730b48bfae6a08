"""What was done with an account's records: imports, their details and their rollbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from pipelines.web.visit import NotAllowed, Visit
from resources.importing.importer import Importer
from schemas.batches import STANDING, Batch, BatchStatus, ImportReport, OnInvalid
from schemas.errors import ModifiedSince, Refused
from schemas.people import Role
from schemas.rollbacks import OnModified, RollbackReport, RollbackRequest

_PAGE = 30


@dataclass(frozen=True)
class Entry:
    """A line of the history: a batch, and until when it can be rolled back or saved.

    name: the name of its file, or of that of the import that it rolled back. corrections: the batches that have saved
    corrected rows of it. upload: the id of the upload that it is the preview of.
    """

    batch: Batch
    name: str
    corrections: Sequence[Batch] = ()
    open_until: datetime | None = None
    upload: str | None = None

    @property
    def at(self) -> datetime:
        """Returns when it was saved; if it was not, when it got its status."""
        return self.batch.committed_at or self.batch.at

    @property
    def fixed(self) -> int:
        """Returns how many of its rejected rows were corrected and saved."""
        return sum(it.counts.read - it.counts.rejected for it in self.corrections)

    @property
    def left_out(self) -> int:
        """Returns how many of its rows are not saved."""
        return max(0, self.batch.counts.rejected - self.fixed)


def listed(visit: Visit) -> Response:
    """Lists what was done, newest first."""
    number = page_number(visit)
    with visit.store() as store:
        window = store.settings.rollback_window
        found = store.batches(visit.account, offset=(number - 1) * _PAGE, limit=_PAGE + 1) if store.exists else []
        # Each new answer about a file discards a preview. These are no events to anybody.
        events = [batch for batch in found[:_PAGE] if batch.status is not BatchStatus.DISCARDED]
        uploads = {it.batch_id: it.upload_id for it in visit.site.uploads.listed(visit.account)}
        corrected = [it.batch_id for it in events if it.status in STANDING and it.counts.rejected]
        corrections = store.account(visit.account).corrections_of(*corrected) if corrected else []
        named = store.batches_named({it.undone.batch_id for it in events if it.undone})
        entries = [
            Entry(
                batch,
                _name(batch, named),
                [it for it in corrections if it.parent == batch.batch_id],
                batch.open_until(window),
                uploads.get(batch.batch_id),
            )
            for batch in events
        ]
    return visit.page("history.html.jinja", entries=entries, page=number, has_more=len(found) > _PAGE)


def details(visit: Visit) -> Response:
    """Shows one import or rollback, and what can be done about it."""
    report = _report(visit)
    entry, parent = _with_relatives(visit, report.batch)
    may = may_roll_back(visit, report.batch)
    return visit.page("event.html.jinja", report=report, batch=report.batch, entry=entry, parent=parent, may=may)


def save(visit: Visit) -> Response:
    """Saves a file that waits for approval. What can be read in several ways must be accepted as it is read."""
    batch = _report(visit).batch
    require_own(visit, batch)
    if batch.questions and visit.said("accept") != "yes":
        raise Refused(batch.questions[0].sentence, "Confirm that the file is to be read so.")
    if batch.counts.rejected and visit.said("leave_out") != str(batch.counts.rejected):
        raise Refused(f"{batch.counts.rejection}.", "Confirm that they are left out.")
    with visit.store() as store:
        Importer(store, visit.person.name).commit(visit.account, batch.batch_id, OnInvalid.SKIP)
    return visit.go("history", batch.batch_id)


def discard(visit: Visit) -> Response:
    """Discards a file that is not saved yet."""
    batch = _report(visit).batch
    require_own(visit, batch)
    with visit.store() as store:
        Importer(store, visit.person.name).discard(visit.account, batch.batch_id)
    return visit.go("history", batch.batch_id)


def plan_rollback(visit: Visit) -> Response:
    """Shows what a rollback would do, as one question."""
    batch = _report(visit).batch
    plans, may = _plans(visit, batch), may_roll_back(visit, batch)
    entry, parent = _with_relatives(visit, batch)
    relatives = [it for it in (parent, *entry.corrections) if it is not None and it.status is BatchStatus.COMMITTED]
    return visit.page("rollback.html.jinja", batch=batch, entry=entry, plans=plans, may=may, relatives=relatives)


def roll_back(visit: Visit) -> Response:
    """Rolls back an import, or a rollback, as the form says."""
    batch = _report(visit).batch
    if not may_roll_back(visit, batch):
        raise NotAllowed("You may look at this, but not roll it back.", "Ask somebody who may approve imports.")
    choice = OnModified(visit.said("on_modified")) if visit.said("on_modified") in [*OnModified] else OnModified.STOP
    with visit.store() as store:
        try:
            request = RollbackRequest(visit.account, batch.batch_id, choice)
            report = store.account(visit.account).roll_back(request, visit.person.name, None)
        except ModifiedSince:  # records were modified after the page was shown
            return visit.go("history", batch.batch_id, "rollback")
    return visit.go("history", report.batch_id or batch.batch_id)


def _with_relatives(visit: Visit, batch: Batch) -> tuple[Entry, Batch | None]:
    """Returns a batch as a line of the history, and the batch that its rows come from, if they are corrected ones."""
    with visit.store() as store:
        of = {it for it in (batch.parent, batch.undone.batch_id if batch.undone else None) if it is not None}
        named = {name: it for name, it in store.batches_named(of).items() if it.account == visit.account}
        corrections = store.account(visit.account).corrections_of(batch.batch_id) if batch.counts.rejected else []
    return Entry(batch, _name(batch, named), corrections), named.get(batch.parent or "")


def _name(batch: Batch, named: Mapping[str, Batch]) -> str:
    """Returns the name of a batch's file; of a rollback that of the import that was rolled back first."""
    undone = None if batch.undone is None else named.get(batch.undone.batch_id)
    return batch.file_name if undone is None else undone.file_name


def _plans(visit: Visit, batch: Batch) -> dict[OnModified, RollbackReport]:
    """Returns what a rollback would do for each choice; only for one if no record was modified since."""
    with visit.store() as store:
        records = store.account(visit.account)
        plans = {}
        for choice in OnModified:
            plans[choice] = records.plan_rollback(RollbackRequest(visit.account, batch.batch_id, choice))
            if not plans[choice].counts.modified:
                break
    return plans


def _report(visit: Visit) -> ImportReport:
    with visit.store() as store:
        return store.account(visit.account).report(visit.request.path_params["batch"])


def may_roll_back(visit: Visit, batch: Batch) -> bool:
    """Returns whether the person may roll back or discard a batch: their own, or as an approver any."""
    return visit.may(Role.APPROVER) or (visit.may(Role.IMPORTER) and batch.actor == visit.person.name)


def require_own(visit: Visit, batch: Batch) -> None:
    """Raises NotAllowed if the person may save or discard only files of their own, and this is another's."""
    if batch.status is BatchStatus.PREVIEWED and not may_roll_back(visit, batch):
        raise NotAllowed("Somebody who may approve imports must do this.", "Ask your operator who that is.")


def page_number(visit: Visit) -> int:
    """Returns the number of the page that the address names; 1 if it names none."""
    text = visit.request.query_params.get("page", "1")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else 1
