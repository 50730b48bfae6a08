"""`Draft`: an uploaded file on its way to an import, and the step that it has reached."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pipelines.web import changed_values
from pipelines.web.visit import Site, Visit, error_to_show
from pipelines.web.work import Task
from resources.importing.corrections import Corrections, Progress
from resources.importing.importer import Importer
from resources.importing.peek import Peek, peek
from resources.record_store import RecordStore
from schemas.batches import BatchStatus, ImportReport, OnInvalid
from schemas.errors import AlreadyImported, CommitUnknown, NotFound, PreviewOutdated, RecordsError, Refused
from schemas.people import Role
from schemas.reading import Question
from schemas.uploads import Choices, Failure, Upload
from schemas.warnings import WarningCode

_OF_READING = {WarningCode.DATE_ORDER: "date_order", WarningCode.DECIMAL_STYLE: "decimal"}
"""Warnings of values that another way of reading would read, and the option that says which way."""


class Step(StrEnum):
    """Where an uploaded file is."""

    RECEIVING = "receiving"
    READING = "reading"
    FAILED = "failed"
    PREVIEWED = "previewed"
    SAVED = "saved"


@dataclass(frozen=True)
class Draft:
    """An upload, the step that it has reached, and what is known of it.

    task: what is being done with it now. report: the preview, once there is one. may_work: whether whoever looks at it
    may import files. A viewer's look begins no work.
    """

    site: Site
    upload: Upload
    step: Step
    task: Task | None = None
    report: ImportReport | None = None
    may_work: bool = True

    @property
    def needs_reading(self) -> bool:
        """Returns whether a person should say how the file is to be read."""
        if self.report is None:
            return self.upload.failure is not None
        remembered = self.report.batch.remembered
        said = {} if remembered is None else remembered.options.said()
        warned = {_OF_READING[it.code] for it in self.report.batch.warnings if it.code in _OF_READING}
        return bool(self.open_questions) or not warned <= said.keys()

    @property
    def open_questions(self) -> tuple[Question, ...]:
        """Returns the questions of the preview that the person has neither answered nor accepted."""
        return () if self.report is None else self.upload.choices.leave_open(self.report.questions)

    @property
    def needs_columns(self) -> bool:
        """Returns whether a person should look at what the columns mean."""
        if self.report is None:
            return False
        return any(column.reason == "likeness" for column in self.report.columns)

    @property
    def can_be_saved(self) -> bool:
        """Returns whether a person who has looked at it can save it."""
        batch = None if self.report is None else self.report.batch
        return batch is not None and batch.counts.created + batch.counts.updated > 0

    @property
    def corrections(self) -> Path:
        """Returns the file of the corrected rows of this preview."""
        batch_id = "" if self.report is None else self.report.batch.batch_id
        return self.file.parent.parent / f"{batch_id}.corrections"

    @property
    def corrected(self) -> Corrections | None:
        """Returns the rejected rows that a person corrects, also in an earlier preview; None if nobody has begun."""
        if self.report is None or not any(self.corrections.parent.glob(f"*{self.corrections.suffix}")):
            return None
        if not self.may_work and not self.corrections.exists():  # it would be made first
            return None
        with self.site.stores.lent() as store, suppress(Refused):  # of too many
            return Corrections(store, self.report, self.corrections)
        return None

    @property
    def fixed(self) -> Progress | None:
        """Returns how many rows a person has corrected, also in an earlier preview; None if nobody has begun."""
        corrected = self.corrected
        return None if corrected is None else corrected.progress()

    @property
    def file(self) -> Path:
        """Returns the uploaded file."""
        return self.site.uploads.file(self.upload)

    def peek(self) -> Peek:
        """Returns the beginning of the file. Raises what reading it raises."""
        with self.site.stores.lent() as store:
            return peek(store, self.upload.request(self.file))


def draft_of(visit: Visit) -> Draft:
    """Returns the upload that the address names, with the step that it has reached.

    Begins to read a file that is complete and has neither a preview nor a failure. Goes on with what an earlier server
    has begun. Waits a little, because most files are read within a second. Raises NotFound if the account has no such
    upload. For a person who may not import files it begins nothing, and raises Refused. Raises NotAllowed for a change
    of a file from the inbox that somebody else has opened, if the person is no approver.
    """
    upload = visit.site.uploads.find(visit.account, visit.request.path_params["upload"])
    if visit.request.method == "POST" and upload.arrived is not None and upload.actor != visit.person.name:
        visit.require(Role.APPROVER)
    return of(visit.site, upload, may_work=visit.may(Role.IMPORTER))


def of(site: Site, upload: Upload, *, may_work: bool = True) -> Draft:
    """Returns an upload with the step that it has reached. See `draft_of`."""
    if not (site.uploads.is_complete(upload) if may_work else site.uploads.file(upload).exists()):
        return Draft(site, upload, Step.RECEIVING)
    key = (upload.account, upload.upload_id)
    if upload.batch_id is None and upload.failure is None:
        _begin(site, upload, may_work, lambda task: _preview(site, upload, task))
    task = site.work.of(key)
    if task is not None:
        return Draft(site, upload, Step.READING, task)
    upload = site.uploads.find(upload.account, upload.upload_id)
    if upload.batch_id is None:
        return Draft(site, upload, Step.READING if upload.failure is None else Step.FAILED)
    with site.stores.lent() as store:
        try:
            report = store.account(upload.account).report(upload.batch_id)
        except NotFound:
            return Draft(site, upload.chosen(upload.choices), Step.READING)
    status, by = report.batch.status, upload.saved_by
    if status is BatchStatus.DISCARDED:  # its time has ended: read it again
        if not may_work:
            raise _waits()
        changed = site.uploads.change(upload, lambda it: _read_again(it, upload))
        return of(site, changed)
    if status is BatchStatus.PREVIEWED:
        draft = Draft(site, upload, Step.PREVIEWED, report=report, may_work=may_work)
        is_left = by is not None and upload.failure is None
    else:
        draft = Draft(site, upload, Step.SAVED, report=report, may_work=may_work)
        # If somebody saved the preview elsewhere, nothing else is written.
        is_left = by is not None and not upload.saved and status is BatchStatus.COMMITTED
    if is_left and by is not None:  # the server was ended before it had saved this
        _begin(site, upload, may_work, lambda task: _save(draft, by, task))
        return Draft(site, upload, Step.READING, site.work.of(key))
    return draft


def _begin(site: Site, upload: Upload, may_work: bool, work: Callable[[Task], None]) -> None:
    """Begin some work on an upload, unless some is being done. Raises Refused for whoever may not import files."""
    key = (upload.account, upload.upload_id)
    if may_work:
        site.work.start(key, upload.name, work)
    elif not site.work.runs(key):
        raise _waits()


def _waits() -> Refused:
    return Refused("This file is not read yet.", "Ask somebody who may import files to open this page.")


def _read_again(known: Upload, seen: Upload) -> Upload:
    """Returns the upload without its preview, unless it has another one by now."""
    return known.chosen(known.choices) if known.batch_id == seen.batch_id else known


def choose(draft: Draft, choices: Choices, actor: str) -> None:
    """Save what a person says about the file, and discard the preview of what was said before."""
    upload, key = draft.upload, (draft.upload.account, draft.upload.upload_id)
    is_busy = Refused("This file is saved already, or is being read.", "Look at its page again.")
    if draft.step not in (Step.PREVIEWED, Step.FAILED) or draft.site.work.runs(key):
        raise is_busy
    if draft.report is not None:
        with draft.site.stores.lent() as store:
            try:
                Importer(store, actor).discard(upload.account, draft.report.batch.batch_id)
            except RecordsError:
                if _is_committed(store, upload):  # by another request, just now
                    raise is_busy from None
    draft.site.uploads.change(upload, lambda known: known.chosen(choices))


def accept(draft: Draft, choices: Choices) -> None:
    """Save that a person accepts how the file is read. It is read so already, so its preview stays."""
    if draft.step not in (Step.PREVIEWED, Step.FAILED):
        raise Refused("This file is saved already, or is being read.", "Look at its page again.")
    draft.site.uploads.change(
        draft.upload,
        lambda known: replace(known, choices=replace(known.choices, accepted=choices.accepted)),
    )


def _preview(site: Site, upload: Upload, task: Task) -> None:
    """Preview the file for whoever uploaded it, and record the result or the failure in the upload.

    Another request may have begun this too, and may be done by now. If the person has said something else meanwhile,
    the preview is discarded.
    """
    try:
        upload = site.uploads.find(upload.account, upload.upload_id)
    except NotFound:  # it was removed before its turn came
        return
    if upload.batch_id is not None or upload.failure is not None:
        return
    file, batch_id, failure = site.uploads.file(upload), None, None
    try:
        with site.stores.lent() as store:
            report = Importer(store, upload.actor).preview(upload.request(file), task.progress)
            batch_id = report.batch.batch_id
            changed_values.keep(store, report.batch, file)
    except Exception as error:
        task.require_server()  # it may have ended what was being done
        failure = Failure.of(error_to_show(error, site.settings))
    known = None
    with suppress(NotFound):  # it was removed
        shown = None if failure else batch_id
        known = site.uploads.change(upload, lambda it: _previewed(it, upload, shown, failure))
    if batch_id is not None and (known is None or known.batch_id != batch_id):
        with site.stores.lent() as store, suppress(RecordsError):
            Importer(store, upload.actor).discard(upload.account, batch_id)


def _previewed(known: Upload, read: Upload, batch_id: str | None, failure: Failure | None) -> Upload:
    """Returns the upload with its preview, or its failure, unless the person has said something else meanwhile."""
    is_same = known.choices == read.choices and known.batch_id is None and known.failure is None
    return replace(known, batch_id=batch_id, failure=failure) if is_same else known


def cancel(draft: Draft, actor: str) -> None:
    """Remove an upload that is not saved, in whatever step it is. Reading ends, and a preview is discarded.

    Raises Refused if it is saved, or is being saved.
    """
    site, upload = draft.site, draft.upload
    if draft.step is Step.SAVED or (draft.step is Step.READING and upload.saved_by is not None):
        raise Refused("This file is saved already, or is being saved.", "Look at it in the history.")
    if draft.task is not None:
        draft.task.cancelled = True
    if draft.report is not None:
        with site.stores.lent() as store:
            Importer(store, actor).discard(upload.account, draft.report.batch.batch_id)
    site.uploads.remove(upload)  # a preview that is made nevertheless finds no upload, and is discarded


def save(draft: Draft, actor: str) -> None:
    """Begin to save what the preview has shown, and then the rows that were corrected.

    Errors are kept in the upload, as those of a preview are. If the preview can still be saved, it stays. Raises
    Refused if somebody has said something else about the file meanwhile.
    """
    seen, key = draft.upload, (draft.upload.account, draft.upload.upload_id)

    def begun(known: Upload) -> Upload:
        if known.batch_id != seen.batch_id:
            raise Refused("What you saw is not what is here now.", "Look at the page again, then save.")
        is_begun = known.saved_by is not None and draft.site.work.runs(key)
        return known if is_begun else replace(known, saved_by=actor, failure=None)

    upload = draft.site.uploads.change(seen, begun)
    draft.site.work.start(
        key, upload.name, lambda task: _save(replace(draft, upload=upload), upload.saved_by or actor, task)
    )


def _save(draft: Draft, actor: str, task: Task) -> None:
    """Save what the preview has shown, unless that is done, and then the rows that were corrected."""
    upload, change = draft.upload, draft.site.uploads.change
    try:
        with draft.site.stores.lent() as store:
            if not _is_committed(store, upload):
                Importer(store, actor).commit(upload.account, upload.batch_id or "", OnInvalid.SKIP)
    except PreviewOutdated:  # the next look at its page reads the file again
        change(upload, lambda known: _read_again(known, upload))
        return
    except Exception as error:
        shown = error_to_show(error, draft.site.settings)
        by = actor if isinstance(error, CommitUnknown) else None  # it may be written
        stays = shown.transient or not isinstance(shown, Refused)
        batch_id = upload.batch_id if stays else None

        def failed(known: Upload) -> Upload:
            if known.batch_id != upload.batch_id:
                return known
            return replace(known, batch_id=batch_id, failure=Failure.of(shown), saved_by=by)

        change(upload, failed)
        return
    _save_corrections(draft, actor, task)


def _is_committed(store: RecordStore, upload: Upload) -> bool:
    """Returns whether the preview is saved: by a server that was ended, or by another request."""
    return store.account(upload.account).batch(upload.batch_id or "").status is BatchStatus.COMMITTED


def _save_corrections(draft: Draft, actor: str, task: Task) -> None:
    """Import the corrected rows as a batch of their own. If that fails, they stay among the rejected rows."""
    upload, failure = draft.upload, None
    if draft.report is not None and draft.corrections.exists():
        with draft.site.stores.lent() as store:
            corrections = Corrections(store, draft.report, draft.corrections)
            path = draft.corrections.with_name(f"{Path(upload.name).stem}.corrected.csv")
            try:
                if corrections.write(path):
                    request = corrections.request(path, upload.request(draft.file))
                    Importer(store, actor).import_file(request, OnInvalid.SKIP)
            except AlreadyImported:
                pass  # a server that was ended had done this
            except Exception as error:
                task.require_server()  # it may have ended the reading
                failure = Failure.of(error_to_show(error, draft.site.settings))
    draft.site.uploads.change(upload, lambda known: replace(known, saved=True, failure=failure))
