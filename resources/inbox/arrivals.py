"""Imports the files of a bundle, and moves each to the archive or into quarantine."""

import shlex
from contextlib import suppress
from dataclasses import replace

from resources.checksums import sha256_of
from resources.defects import defect
from resources.file_storage import is_local
from resources.importing.importer import Importer, rejects_found
from resources.inbox import BundledFile, inbox_of
from resources.inbox.bundles import checked_bundle, rejects_name
from resources.operator_file import read_operator_file
from resources.record_store import RecordStore
from resources.system_errors import system_error
from schemas.arrivals import APPROVE, Arrival, Arrived, CommitPolicy, InboxPolicies, Outcome, printable
from schemas.batches import Batch, BatchStatus, ImportReport, ImportRequest, OnInvalid
from schemas.errors import (
    AlreadyImported,
    CommitUnknown,
    DiskFull,
    NotAccessible,
    OutOfMemory,
    PreviewOutdated,
    RecordsError,
    Refused,
    StoreNotReady,
)
from schemas.location import Location

ACTOR = "inbox"

_NOTHING_TO_DO = "Nothing needs to be done."
"""Stands in the reason for a file that was imported before. Also after a crash, when only the reason is known."""

_POSTPONING = (CommitUnknown, DiskFull, NotAccessible, OutOfMemory, PreviewOutdated, StoreNotReady)
"""Errors that the file did not cause: it stays in processing, and a later run retries it.

After a commit without a confirmation, the ledger shows whether it was written.
"""


def read_policies(store: RecordStore) -> InboxPolicies:
    """Return the policies in `inbox.yaml` in the home. Raises InvalidRequest if the file is not valid."""
    return read_operator_file(store.settings.home / "inbox.yaml", InboxPolicies)


class Arrivals:
    """Imports bundles into a store and, inside Dagster, in one run.

    The ledger decides what is new. If the arrival of a file has a batch already, as after a crash, that batch is used.
    """

    def __init__(self, store: RecordStore, run_id: str | None = None) -> None:
        self._store = store
        self._inbox = inbox_of(store)
        self._importer = Importer(store, ACTOR, run_id)

    def folders(self, bundle: str) -> list[str]:
        """Return the folders `<account>/<type>` of a bundle that have files. Raises InvalidRequest for another name."""
        return self._inbox.bundles().get(checked_bundle(bundle), [])

    def import_bundle(self, bundle: str, folder: str = "") -> list[Arrived]:
        """Import each file of the bundle, or of one folder of it. Returns what became of each.

        Files of one account and type depend on each other: they are imported one after another, in their order.
        A file is committed, waits for approval, or goes into quarantine beside a text with the reason. If the file is
        not the cause of a failure (for example, a full disk), it stays in processing and is retried later.
        """
        policies = read_policies(self._store)
        with self._inbox.bundle(bundle, folder) as files:
            known = self._store.arrivals(bundle, {file.account for file in files}) if files else {}
            return [
                self._settled(file, policies.of(file.account, file.record_type), known.get(file.arrival_id))
                for file in files
            ]

    def _settled(self, file: BundledFile, policy: CommitPolicy, known: Batch | None) -> Arrived:
        arrived = Arrived(printable(file.path.name), file.account, file.record_type, Outcome.POSTPONED)
        try:
            since = self._store.last_row()
            with self._inbox.opened(file) as path:
                if path is None:
                    return self._refused(file, arrived, "It is no longer a file. Only files are imported.")
                arrival, said = Arrival(file.arrival_id, policy, since), policy.options.said()
                request = ImportRequest(
                    path,
                    file.account,
                    file.record_type,
                    arrival=arrival,
                    value_map=policy.value_map,
                    **said,
                )
                try:
                    batch = self._batch(request, known)
                except RecordsError as error:
                    if error.transient or isinstance(error, _POSTPONING):
                        raise
                    return self._failed(file, arrived, request, self._sentences(error, file), error.quoted)
                except Exception as error:
                    if system_error(error) is not None:
                        raise
                    return self._failed(file, arrived, request, _unexpected(error))
            return self._put_away(file, replace(arrived, batch_id=batch.batch_id), policy, batch)
        except Exception as error:
            known_error = system_error(error, self._store.settings.data, self._store.settings.home)
            return replace(arrived, sentence=_unexpected(error) if known_error is None else str(known_error))

    def _batch(self, request: ImportRequest, known: Batch | None) -> Batch:
        """Return the batch of the file: the known one, committed if it was only previewed, or a new one."""
        if known is not None and known.status is not BatchStatus.DISCARDED:
            if known.waits or known.status is not BatchStatus.PREVIEWED:
                return known
            try:
                return self._importer.commit(known.account, known.batch_id, OnInvalid.SKIP).batch
            except Refused:
                with suppress(Refused):  # it may have expired meanwhile
                    self._importer.discard(known.account, known.batch_id)
        return self._importer.import_file(request, OnInvalid.SKIP).batch

    def _put_away(self, file: BundledFile, arrived: Arrived, policy: CommitPolicy, batch: Batch) -> Arrived:
        if batch.failure is not None:
            return self._refused(file, arrived, batch.failure)
        if batch.waits and batch.counts.rejected and policy.commit != APPROVE and not batch.questions:
            records = self._store.account(batch.account)
            records.require_whole(batch.batch_id, ["rejects"])
            report = records.with_files(ImportReport(batch))
            error = rejects_found(batch)
            why = f"{error.message} In this inbox {policy}. {error.hint}"
            return self._refused(file, arrived, why, self._next_steps(report, file), report.rejects_file)
        self._inbox.archive(file, batch.batch_id)
        if batch.waits:
            sentence = f"It waits for approval{_why(batch, policy)}: records commit {batch.batch_id}."
            return replace(arrived, outcome=Outcome.WAITS, sentence=sentence)
        left_out = f"{batch.counts.rejection} and left out." if batch.counts.rejected else ""
        return replace(arrived, outcome=Outcome.COMMITTED, sentence=left_out)

    def _failed(
        self, file: BundledFile, arrived: Arrived, request: ImportRequest, why: str, quoted: str = ""
    ) -> Arrived:
        """Record the failure in the ledger, unless the file cannot be read, and put the file into quarantine."""
        with suppress(PermissionError):
            arrived = replace(arrived, batch_id=self._importer.fail(request, sha256_of(request.path), why).batch_id)
        return self._refused(file, arrived, why, quoted)

    def _refused(
        self, file: BundledFile, arrived: Arrived, why: str, more: str = "", rejects: Location | None = None
    ) -> Arrived:
        text = [
            f"{arrived.file} arrived in inbox/{file.account}/{file.record_type} and was not imported"
            f"{f' (batch {arrived.batch_id})' if arrived.batch_id else ''}.",
            why,
            *([more] if more else []),
        ]
        if _NOTHING_TO_DO not in why:
            text.append(
                f"Put a corrected file into inbox/{file.account}/{file.record_type}. Or import it yourself, with the "
                "options that it needs: " + self._command(file)
            )
        self._inbox.quarantine(file, "\n\n".join(text), rejects)
        return replace(arrived, outcome=Outcome.QUARANTINED, sentence=why)

    def _next_steps(self, report: ImportReport, file: BundledFile) -> str:
        """Return what to do with a file that has rejected records."""
        open_until = report.open_until
        until = "" if open_until is None else f" The preview can be committed until {open_until:%Y-%m-%d %H:%M} UTC."
        rejects = report.rejects_file
        beside = "" if rejects is None else rejects_name(file.path.name, rejects.name)
        command = report.batch.rejects_command(self._in_quarantine(file, beside))
        return (
            f"The rejected records are beside this text, each with its problems: {printable(beside)}. After the other "
            f"records are committed, correct that file and put it into inbox/{file.account}/{file.record_type}.{until}"
            f"\nOr import it yourself: {command}"
        )

    def _sentences(self, error: RecordsError, file: BundledFile) -> str:
        """Return what was wrong and what to do, for the user who put the file into the inbox."""
        if isinstance(error, AlreadyImported):
            return f"{error.message} {_NOTHING_TO_DO} To import it once more: {self._command(file, '--again')}."
        return str(error)

    def _command(self, file: BundledFile, *more: str) -> str:
        """Return the command that imports a file of the quarantine."""
        place = self._in_quarantine(file, file.path.name)
        return shlex.join(["records", "import", place, "-a", file.account, "-t", file.record_type, *more])

    def _in_quarantine(self, file: BundledFile, name: str) -> str:
        """Return the path of a file in quarantine. One of an object store must be fetched first: only its name."""
        folder = self._store.settings.quarantine / file.account / file.record_type / file.arrival_id
        return printable(str(folder / name) if is_local(folder) else name)


def _why(batch: Batch, policy: CommitPolicy) -> str:
    """Returns why a file waits, other than for a policy that commits none."""
    if batch.questions:
        return ", because it can be read in several ways"
    stopping = ", ".join(policy.stopping(batch.warnings))
    return f" because of warnings ({stopping})" if stopping else ""


def _unexpected(error: Exception) -> str:
    """Return a sentence about a defect. The text of the error is left out, because it can quote the file."""
    return f"{defect(error)}. This is a defect of records; please report it."
