"""Exports that are delivered every day, as `exports.yaml` in the home asks for them."""

from datetime import UTC, date, datetime

from resources.export_writer import ExportWriter, require_allowed
from resources.operator_file import checked_entries, read_operator_file
from resources.record_store import RecordStore
from schemas.deliveries import Delivery, DeliveryFile, Due, last_time
from schemas.errors import InvalidRequest, NotFound, RecordsError
from schemas.exports import ExportManifest


class Deliveries:
    """The entries of the file that the store can serve, by name, and what is wrong with the others, or with it all."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._path = store.settings.home / "exports.yaml"
        self._written = datetime.max.replace(tzinfo=UTC)
        if self._path.exists():
            self._written = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        self.entries: dict[str, Delivery] = {}
        self.mistakes: list[RecordsError] = []
        try:
            told = read_operator_file(self._path, DeliveryFile).exports
        except InvalidRequest as error:
            self.mistakes.append(error)
            return
        entries, mistakes = checked_entries(self._path, "exports", told, Delivery)
        self.mistakes += mistakes
        for entry in entries:
            try:
                self._check(entry)
            except RecordsError as error:
                self.mistakes.append(error)
            else:
                self.entries[entry.name] = entry

    def due(self, now: datetime) -> list[Due]:
        """The newest time of each delivery that has come and of which the ledger tells no export yet.

        A delivery that was never made is not due for a time before the file was written.
        """
        newest = [last_time(entry, now) for entry in self.entries.values()]
        return [due for due in newest if due.moment > self._known_since(due.delivery)]

    def deliver(self, name: str, now: datetime, run_id: str | None) -> ExportManifest:
        """Make the delivery's export for its newest time. Raises NotFound, and what an export raises.

        NotFound has the mistakes in the file, because one of them may be the reason.
        """
        if name not in self.entries:
            raise NotFound(
                f"{self._path} has no valid export {name!r}.",
                " ".join(map(str, self.mistakes)) or f"Its exports: {', '.join(self.entries) or 'none'}.",
            )
        entry = self.entries[name]
        last = self._last(entry) if entry.changes_only else None
        request = entry.request(last_time(entry, now).day, None if last is None else last.export_id)
        return ExportWriter(self._store, entry.actor, run_id, confined=True).export(request)

    def _check(self, entry: Delivery) -> None:
        """The store has what the entry names, and the name is its own."""
        if entry.name in self.entries:
            raise InvalidRequest(
                f"{self._path} has two exports called {entry.name!r}; the first one counts.",
                "Give each a name of its own.",
            )
        try:
            request = entry.request(date.min, None)
            self._store.account(entry.account).select(request)
            if request.path is not None:
                require_allowed(self._store.settings, entry.account, request.path)
        except RecordsError as error:
            raise InvalidRequest(f"{self._path}, export {entry.name!r}: {error.message}", error.hint) from error

    def _last(self, entry: Delivery) -> ExportManifest | None:
        return self._store.account(entry.account).last_export(entry.type, entry.actor)

    def _known_since(self, entry: Delivery) -> datetime:
        last = self._last(entry)
        return self._written if last is None else last.at
