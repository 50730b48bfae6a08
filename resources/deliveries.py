"""Exports that are delivered every day, as configured by `exports.yaml` in RECORDS_HOME."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from resources.export_writer import ExportWriter, require_allowed
from resources.export_writer.formats import checked, choose_format
from resources.operator_file import checked_entries, read_operator_file
from resources.record_store import RecordStore
from schemas.deliveries import DATE, Delivery, DeliveryFile, Due, last_time
from schemas.errors import InvalidRequest, NotFound, RecordsError
from schemas.exports import ExportManifest, ExportRequest


class Deliveries:
    """The valid entries of the file by name, and the mistakes in the others or in the whole file."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._path = store.settings.home / "exports.yaml"
        self._written = datetime.max.replace(tzinfo=UTC)
        if self._path.exists():
            self._written = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        self.entries: dict[str, Delivery] = {}
        self.mistakes: list[RecordsError] = []
        try:
            found = read_operator_file(self._path, DeliveryFile).exports
        except InvalidRequest as error:
            self.mistakes.append(error)
            return
        entries, mistakes = checked_entries(self._path, "exports", found, Delivery)
        self.mistakes += mistakes
        for entry in entries:
            try:
                self._check(entry)
            except RecordsError as error:
                self.mistakes.append(error)
            else:
                self.entries[entry.name] = entry

    def due(self, now: datetime) -> list[Due]:
        """Return the newest time of each delivery that is not in the future and not exported yet.

        A new delivery is not due for a time before the file was written.
        """
        newest = [last_time(entry, now) for entry in self.entries.values()]
        return [due for due in newest if due.timestamp > self._known_since(due.delivery)]

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
        request = request_of(entry, last_time(entry, now).day, None if last is None else last.export_id)
        return ExportWriter(self._store, entry.actor, run_id, confined=True).export(request)

    def _check(self, entry: Delivery) -> None:
        """Raise InvalidRequest if the name is taken, or the store does not have what the entry names."""
        if entry.name in self.entries:
            raise InvalidRequest(
                f"{self._path} has two exports named {entry.name!r}. The first one is used.",
                "Give each export a different name.",
            )
        try:
            request = request_of(entry, date.min, None)
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


def request_of(entry: Delivery, day: date, since: str | None) -> ExportRequest:
    """Return the export to make on a local day, of the changes since an earlier export if one is given.

    Raises InvalidRequest if there is no such format, or if format, packing and file name contradict each other.
    """
    path = None if entry.to is None else Path(entry.to.replace(DATE, day.isoformat()))
    is_folder = entry.to is not None and entry.to.endswith("/")
    file_format, packing = choose_format(None if is_folder else path, entry.format)
    request = checked(
        ExportRequest(
            account=entry.account,
            record_type=entry.type,
            columns=None if entry.columns is None else tuple(entry.columns),
            preset=entry.preset,
            path=path,
            format=file_format.name,
            packing=entry.pack or packing,
            filters=tuple(entry.where),
            order_by=tuple(entry.order_by),
            as_of=entry.as_of,
            changed_since=since or entry.changed_since,
            encoding=entry.encoding,
            delimiter=entry.delimiter,
            raw=entry.raw,
            sheet_rows=entry.sheet_rows,
        )
    )
    return replace(request, path=path / file_format.file_name(request)) if path is not None and is_folder else request
