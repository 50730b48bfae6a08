"""Writes the reports of an account's batches again whenever the status of a batch changes."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resources.checksums import checksum, checksum_of
from resources.file_storage import entries, exists, read, remove
from resources.record_store import ledger, ledger_files
from resources.record_store.lake import Connection
from resources.record_store.refusals import no_such_batch
from resources.record_store.transaction import Transaction, TransactionalStore
from resources.report_writer import DETAILS, PAGE
from schemas.batches import Batch, ImportReport
from schemas.errors import DamagedFile, RecordsError
from schemas.files import StoredFile
from schemas.location import Location
from schemas.record_type import RecordType

if TYPE_CHECKING:
    from resources.report_writer.page import Link


class BatchReports:
    """The reports of one account's batches, and the files beside them.

    A new page is made, and its checksum recorded, in the transaction that changes the batch. It replaces the old page
    after the commit. So a failed commit changes no report. If a process is killed between the two, the old page stays.
    It is still a version that the store has written.
    """

    def __init__(self, store: TransactionalStore, account: str) -> None:
        self._store = store
        self._account = account

    def path(self, batch_id: str) -> Location:
        """Returns the location of a batch's report."""
        return self._folder("reports") / batch_id / PAGE

    def with_files(self, report: ImportReport) -> ImportReport:
        """Returns the report with the batch's rejects file and page, if it has them, and the end of its time."""
        batch_id = report.batch.batch_id
        page = self.path(batch_id)
        made = entries(self._folder("rejects") / batch_id)
        rejects = next((file for file in made if ".rejects." in file.name), None)
        return replace(
            report,
            rejects_file=rejects,
            report_file=page if exists(page) else None,
            open_until=report.batch.open_until(self._store.settings.rollback_window),
        )

    @contextmanager
    def rewritten(self, transaction: AbstractContextManager[Transaction]) -> Iterator[Transaction]:
        """Opens the transaction. It also writes the reports of the batches that it changes."""
        made: dict[Path, Location] = {}
        try:
            with transaction as opened:
                yield opened
                for batch in opened.batches:
                    page = self.render(opened.connection, batch, opened.record_types)
                    if page is None:
                        continue
                    final = self.path(batch.batch_id)
                    working = self._store.files.working(final)
                    made[working] = final
                    working.write_text(page, "utf-8")
                    opened.record_files([self._stored(batch, working, final)])
            for working, final in made.items():
                with suppress(OSError, RecordsError):  # the batch has changed even if its report cannot
                    self._store.files.put(working, final)
        finally:
            for working in made:
                remove(working)

    def rebuild(self, batch_id: str, actor: str) -> None:
        """Write the report of a batch again, which is missing or damaged. Its checksum is recorded first."""
        with self._store.transaction(f"report of {batch_id}", actor, writes=()) as transaction:
            batch = ledger.batch(transaction.connection, batch_id, self._account)
            if batch is None:
                raise no_such_batch(batch_id)
            from resources.report_writer.page import render  # imports Jinja, which most commands do not need

            page = render(self.detailed(transaction.connection, batch), transaction.record_types[batch.record_type])
            final = self.path(batch_id)
            working = self._store.files.working(final)
            working.write_text(page, "utf-8")
            transaction.record_files([self._stored(batch, working, final)])
        try:
            self._store.files.put(working, final)
        finally:
            remove(working)

    def render(
        self,
        connection: Connection,
        batch: Batch,
        record_types: Mapping[str, RecordType],
        links: tuple["Link", ...] = (),
    ) -> str | None:
        """Returns the page for the batch's present status; None if the batch has no report."""
        report = self.detailed(connection, batch)
        if report.report_file is None:
            return None
        from resources.report_writer.page import render  # imports Jinja, which most commands do not need

        return render(report, record_types[batch.record_type], links)

    def detailed(self, connection: Connection, batch: Batch) -> ImportReport:
        """Returns the report of a batch with its files and the details of its preview, as far as they are kept."""
        from resources.report_writer.details import with_details

        report = self.with_files(ImportReport(batch))
        details = self._details(connection, batch.batch_id)
        if details is not None:
            with suppress(ValueError, KeyError, TypeError):  # another version wrote them, with other keys
                return with_details(report, details)
        return report

    def _details(self, connection: Connection, batch_id: str) -> str | None:
        """Returns the details of a preview. None if they are damaged, or an earlier version made the preview."""
        place = self._folder("reports") / batch_id / DETAILS
        path = self._store.settings.path_below_data(place)
        known = ledger_files.files(connection, [path]).get(path)
        with suppress(FileNotFoundError, DamagedFile):
            details = read(place)
            if known is not None and known.has_version(checksum_of([details])):
                return details.decode("utf-8")
        return None

    def _stored(self, batch: Batch, page: Path, final: Location) -> StoredFile:
        path = self._store.settings.path_below_data(final)
        return StoredFile(path, page.stat().st_size, checksum(page), self._account, (batch.batch_id,))

    def _folder(self, kind: str) -> Location:
        return self._store.settings.folder(self._account, kind)
