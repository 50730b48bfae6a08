"""Imports: preview a file, then commit or discard the preview."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from resources.clock import new_id
from resources.file_reader import FileReader, require_room
from resources.file_storage import remove, size_of, usage
from resources.importing.source import Ask, Opener
from resources.measurements import Work
from resources.quotas import Quotas
from resources.record_store import RecordStore, Staging
from resources.record_store.refusals import already_imported, not_previewed
from schemas.batches import (
    Basis,
    Batch,
    BatchStatus,
    ChangedValue,
    ImportReport,
    ImportRequest,
    OnInvalid,
)
from schemas.counts import Counts
from schemas.errors import AlreadyImported, PreviewOutdated, RejectsFound, Uncertain, UnreadableFile
from schemas.reading import Question
from schemas.values import MappedValue, ValueMap, joined
from schemas.warnings import BatchWarning, WarningCode

if TYPE_CHECKING:
    from resources.importing.progress import Progress
    from resources.importing.stager import StagedPreview

Choose = Callable[[Sequence[MappedValue]], ValueMap]
"""Asks a user which proposed values to map, and returns them."""

_PREVIEWS_PER_IMPORT = 5
_OF_READING = (WarningCode.DECIMAL_STYLE, WarningCode.DATE_ORDER)
"""The warnings that name an option with which rejected values can be read."""
_SHOWN_CHANGES = 10


class Importer:
    """Imports files into a store, for one actor and, inside Dagster, for one run."""

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id

    def preview(
        self,
        request: ImportRequest,
        progress: "Progress | None" = None,
        ask: Ask | None = None,
        choose: Choose | None = None,
    ) -> ImportReport:
        """Read, check and stage the whole file, and compare it with the records. The records do not change.

        Calls `progress` with the number of records read, once for some tens of thousands. What the request does not
        say is taken from the last committed file with the same header row: how to read it and to map its columns.

        ask: asks a user what the file leaves open. Without it, the batch has these questions.
        choose: asks a user which proposed values to map. If there are some, the file is read once more.

        If a preview fails, nothing is left of it. Raises AlreadyImported if the same content has been imported and
        `again` is not set; QuotaExceeded if the account would have more than it may; NotFound if there is no
        such account and one with a name like it; NotFound, UnreadableFile, DiskFull, InvalidRequest or StoreNotReady if
        the file cannot be previewed; Unaccounted if the counts do not balance; PreviewOutdated if records of the
        account and type were erased while the file was read.
        """
        records = self._store.account(request.account)
        if request.arrival is None:  # the inbox has already found the account of its files
            self._store.require_meant(request.account)
            records.require_source(request.path)
        batch_id = new_id("b", self._store.clock.now())
        require_room(request.path, self._store.files.disk(records.folder("staging")))
        quotas = Quotas(self._store, request.account)
        quotas.require_file(size_of(request.path) or 0)
        since = self._store.last_row() if request.arrival is None else request.arrival.since
        staged = self._staged(request, batch_id, progress, ask, quotas)
        try:
            quotas.require_records(staged.counts.created)
            answers = {it: ask(it) for it in staged.questions if it.option} if ask is not None else {}
            said = {question: answer for question, answer in answers.items() if answer is not None}
            is_as_staged = all(answer == question.proposed for question, answer in said.items())
            if is_as_staged:
                left = tuple(it for it in staged.questions if it not in said)
                report = self._recorded(request, batch_id, replace(staged, questions=left), since)
        except BaseException:
            for kind in ("staging", "rejects", "reports"):
                remove(records.folder(kind) / batch_id)
            raise
        if not is_as_staged:
            remove(records.folder("staging") / batch_id)
            return self.preview(request.answered(said), progress, ask, choose)
        chosen = choose(report.proposals) if choose is not None and report.proposals else {}
        if not chosen:
            return report
        self.discard(request.account, batch_id)
        return self.preview(replace(request, value_map=joined(chosen, request.value_map)), progress, ask)

    def _staged(
        self, request: ImportRequest, batch_id: str, progress: "Progress | None", ask: Ask | None, quotas: Quotas
    ) -> "StagedPreview":
        """Open the file and stage it. Raises AlreadyImported if its content was imported and `again` is not set."""
        with Opener(self._store, request) as opener:
            # They import pandas, pandera and Jinja while the file is being read.
            from resources.importing.stager import stage_file
            from resources.report_writer import page  # noqa: F401

            source = opener.source(ask)
            if source.same_file is not None and not request.again:
                raise already_imported(_name(request.path), source.same_file)
            quotas.require_another(source.reader.sha256)
            with self._store.measurements.timing(Work.READ, size_of(request.path) or 0):
                return stage_file(self._store, request, batch_id, source, progress)

    def _recorded(self, request: ImportRequest, batch_id: str, staged: "StagedPreview", since: int) -> ImportReport:
        """Write the files of a staged preview, and record it in the ledger."""
        from resources.report_writer.page import write_report

        records = self._store.account(request.account)
        if staged.counts.rejected:
            self._write_rejects(request, batch_id, staged)
        batch = self._batch(batch_id, request, staged)
        report = records.with_files(
            ImportReport(batch, staged.columns, staged.samples, staged.changes, staged.questions, staged.proposals)
        )
        with self._store.files.making(records.folder("reports") / batch_id) as folder:
            write_report(folder, report, staged.record_type)
        return records.with_files(replace(report, batch=records.record_new(batch, since)))

    def commit(self, account: str, batch_id: str, on_invalid: OnInvalid = OnInvalid.ABORT) -> ImportReport:
        """Write what was previewed to the records, in one commit that names the batch.

        Raises NotFound; Refused if the batch is not previewed; RejectsFound if it has rejected records and `on_invalid`
        does not skip them; PreviewOutdated if the records or the record type have changed since.
        """
        return self._commit(self._store.account(account).batch(batch_id), on_invalid)

    def _commit(self, batch: Batch, on_invalid: OnInvalid) -> ImportReport:
        """Do what `commit` does. The store reads the batch's state once more, when it has the write lock."""
        records, batch_id = self._store.account(batch.account), batch.batch_id
        folder = records.folder("staging") / batch_id
        if batch.status is not BatchStatus.PREVIEWED:
            raise not_previewed(batch, "committed")
        if batch.counts.rejected and on_invalid is OnInvalid.ABORT:
            raise rejects_found(batch)
        try:
            with self._store.files.fetched(folder) as staged:
                staging = Staging(staged, batch.basis.fields if batch.basis else ())
                quotas = Quotas(self._store, batch.account)
                room = quotas.of_commit(usage(staged).bytes if quotas.limits_bytes else 0)
                with self._store.measurements.timing(Work.COMMIT):
                    return records.commit(batch_id, batch.record_type, staging, self._actor, self._run_id, room)
        except FileNotFoundError:
            now = records.batch(batch_id)
            if now.status is not BatchStatus.PREVIEWED:  # another process was faster
                raise not_previewed(now, "committed") from None
            raise PreviewOutdated(
                f"The staged records of preview {batch_id} are gone.", "Preview the file again."
            ) from None

    def import_file(
        self,
        request: ImportRequest,
        on_invalid: OnInvalid = OnInvalid.ABORT,
        progress: "Progress | None" = None,
        ask: Ask | None = None,
        choose: Choose | None = None,
    ) -> ImportReport:
        """Preview a file and commit it. If the records change in between, preview it again.

        A file from the inbox stays previewed if its policy does not commit it. Raises what `preview` and `commit`
        raise; Uncertain if a question about the file is not answered; PreviewOutdated after the fifth preview.
        """
        ask = None if ask is None else cache(ask)  # the file may be previewed again
        with self._store.operation():
            for attempt in range(1, _PREVIEWS_PER_IMPORT + 1):
                report = self.preview(request, progress, ask, choose)
                if report.batch.waits:
                    return report
                if any(it.option is not None or ask is None or ask(it) is None for it in report.questions):
                    raise uncertain(report.batch)
                try:
                    return self._commit(report.batch, on_invalid)
                except (PreviewOutdated, AlreadyImported) as error:
                    self.discard(request.account, report.batch.batch_id)
                    if isinstance(error, AlreadyImported) or attempt == _PREVIEWS_PER_IMPORT:
                        raise
        raise AssertionError("unreachable")

    def discard(self, account: str, batch_id: str) -> ImportReport:
        """Discard a preview: remove its staged records, and refuse to commit it from now on."""
        records = self._store.account(account)
        records.discard(batch_id, self._actor, self._run_id)
        remove(records.folder("staging") / batch_id)
        return records.report(batch_id)

    def fail(self, request: ImportRequest, file_sha256: str, why: str) -> Batch:
        """Record in the ledger that a file could not be imported. `why` says the reason and what to do."""
        now = self._store.clock.now()
        batch = Batch(
            batch_id=new_id("b", now),
            account=request.account,
            record_type=request.record_type,
            status=BatchStatus.FAILED,
            actor=self._actor,
            at=now,
            run_id=self._run_id,
            file_name=_name(request.path),
            file_sha256=file_sha256,
            counts=Counts(),
            failure=why,
            arrival_id=None if request.arrival is None else request.arrival.arrival_id,
        )
        return self._store.account(request.account).record_new(batch)

    def _write_rejects(self, request: ImportRequest, batch_id: str, staged: "StagedPreview") -> None:
        """Read the file once more, for the texts of its rejected records, and write the rejects file."""
        from resources.importing.rejects_writer import write_rejects

        records = self._store.account(request.account)
        with (
            self._store.files.fetched(records.problems(batch_id)) as problems,
            self._store.files.making(records.folder("rejects") / batch_id) as folder,
            FileReader(request.path, staged.used, self._store.settings.limits) as reader,
        ):
            mapped = {column.header for column in staged.columns if column.field is not None}
            write_rejects(
                reader, problems, folder, batch_id, unescape=staged.unescape, as_shown=staged.as_shown, mapped=mapped
            )
        if reader.sha256 != staged.sha256:
            raise UnreadableFile(f"{request.path.name} changed while it was being read.", "Preview it again.")

    def _batch(
        self,
        batch_id: str,
        request: ImportRequest,
        staged: "StagedPreview",
    ) -> Batch:
        arrival = request.arrival
        policy_commits = arrival is None or arrival.policy.commits(staged.counts, staged.warnings)
        return Batch(
            batch_id=batch_id,
            account=request.account,
            record_type=request.record_type,
            status=BatchStatus.PREVIEWED,
            actor=self._actor,
            at=self._store.now(),
            run_id=self._run_id,
            file_name=_name(request.path),
            file_sha256=staged.sha256,
            counts=staged.counts,
            problems=staged.problems,
            cleared=staged.cleared,
            understood=staged.understood,
            warnings=_shown_warnings(staged),
            cleaned=staged.cleaned,
            learnt=staged.learnt,
            basis=Basis(
                record_type_hash=staged.record_type.hash,
                fields=staged.fields,
                mode=request.mode,
                on_duplicate=request.on_duplicate,
                snapshot=staged.snapshot,
                again=request.again,
            ),
            questions=_shown_questions(staged),
            remembered=staged.remembered,
            changes=_shown_changes(staged),
            parent=staged.parent,
            link_token=secrets.token_urlsafe(24),
            arrival_id=None if arrival is None else arrival.arrival_id,
            needs_approval=arrival is not None and (bool(staged.questions) or not policy_commits),
        )


def _name(path: Path) -> str:
    """Returns the file's name. Bytes that are not UTF-8 are escaped."""
    return path.name.encode(errors="backslashreplace").decode()


def _shown_warnings(staged: "StagedPreview") -> tuple[BatchWarning, ...]:
    """Returns the warnings for the ledger: with values of personal fields masked."""
    personal = {field.name for field in staged.record_type.fields if field.personal}
    return tuple(warning.masked() if warning.field in personal else warning for warning in staged.warnings)


def _shown_questions(staged: "StagedPreview") -> tuple[Question, ...]:
    """Returns the questions for the ledger: masked, except for columns of fields that are not personal."""
    personal = {field.name for field in staged.record_type.fields if field.personal}
    shown = {it.header for it in staged.columns if it.field is not None and it.field not in personal}
    return tuple(question.masked(shown) for question in staged.questions)


def _shown_changes(staged: "StagedPreview") -> tuple[ChangedValue, ...]:
    """Returns the first changed values for the ledger: without keys, with values of personal fields masked."""
    personal = {field.name for field in staged.record_type.fields if field.personal}
    shown = [change.masked() if change.field in personal else change for change in staged.changes[:_SHOWN_CHANGES]]
    return tuple(replace(change, key="") for change in shown)


def uncertain(batch: Batch) -> Uncertain:
    """Returns the error for a batch that is not written, because its file can be read in several ways."""
    first = batch.questions[0]
    ways = [f"Say which: {' or '.join(first.flags)}"] if first.flags else []
    if _can_be_committed(batch):
        skip = " --on-invalid skip" if batch.counts.rejected else ""
        ways.append(f"{'or accept' if ways else 'To accept'} what it shows: records commit {batch.batch_id}{skip}")
    ways = ways or ["Every record is rejected: correct the file and import it again"]
    return Uncertain(
        f"{batch.file_name} can be read in several ways, so nothing was written. {first.sentence}",
        f"See them: records show {batch.batch_id}. {'; '.join(ways)}.",
    )


def rejects_found(batch: Batch) -> RejectsFound:
    """Returns the error for a batch that is not written because of its rejected records."""
    rules = [f"{problem.field or 'record'} {problem.expected} ({problem.records:,})" for problem in batch.problems]
    shown = "; ".join(rules[:3]) + ("; …" if len(rules) > 3 else "")
    other_ways = "".join(f"{it.sentence} " for it in batch.warnings if it.code in _OF_READING)
    return RejectsFound(
        f"{batch.counts.rejection}, so nothing was written: {shown}.",
        f"{other_ways}See them: records show {batch.batch_id}. Correct the file and import it again"
        + (
            f", or leave them out: records commit {batch.batch_id} --on-invalid skip."
            if _can_be_committed(batch)
            else "."
        ),
    )


def _can_be_committed(batch: Batch) -> bool:
    """Returns whether a commit would do something: not every record is rejected."""
    return not 0 < batch.counts.rejected == batch.counts.read
