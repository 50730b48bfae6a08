"""Erases records of one account and type from the whole store, and says what it did.

The order makes the erasure safe to kill. What is needed to find the rest goes last: first the ledger's texts, then the
files, then the lake, which has the values. So the same command finds after a kill what is left, and completes it.
A file is written anew beside the old one, flushed, and put into its place. So no file is ever missing.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from resources.clock import new_id
from resources.erasure import derived_files
from resources.erasure.erased_records import ErasedRecords
from resources.erasure.receipts import receipt_place, write_receipt
from resources.erasure.run_history import InHistory, RunHistory
from resources.erasure.source_files import SourceFile, SourceFiles, remove_certainly
from resources.file_storage import entries, exists, files_below, remove
from resources.inbox.bundles import WHY
from resources.record_store import RecordStore, lake_files, ledger, ledger_exports
from resources.record_store.compaction import forget
from resources.record_store.erasure import LakeFile, RecordsErasure, oldest_snapshot
from resources.record_store.lake import Connection
from resources.record_store.ledger_erasure import (
    LedgerChanges,
    append_erasure,
    erasures,
    forget_statistics,
    mask_rows,
)
from resources.record_store.selection import known_type, require_account
from resources.record_store.transaction import Transaction
from schemas.batches import Batch, BatchStatus
from schemas.erasure import Erasure, ErasureReport, ErasureRequest, ErasureStatus, Found, Touched, is_erased_since
from schemas.errors import InvalidRequest, Refused, StoreBusy
from schemas.exports import ExportManifest
from schemas.filters import parse_value
from schemas.location import Location
from schemas.record_type import RecordType

_ROUNDS = 10
"""How often files are searched again for what came during an erasure."""


@dataclass
class _Plan:
    """What an erasure has found."""

    erased: ErasedRecords
    batches: list[Batch]
    files: dict[LakeFile, int]
    superfluous: list[str]
    exports: list[ExportManifest]
    sources: list[SourceFile] = field(default_factory=list)
    staged: list[Batch] = field(default_factory=list)
    folders: dict[Found, list[Location]] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    runs: InHistory = field(default_factory=InHistory)
    ledger: LedgerChanges = field(default_factory=LedgerChanges)

    @property
    def previews(self) -> list[Batch]:
        """Returns the open previews that have erased records."""
        had = {it.batch_id for it in self.staged} | {it.batch_id for it in self.sources if it.kind is Found.REJECTS}
        return [it for it in self.batches if it.status is BatchStatus.PREVIEWED and it.batch_id in had]

    @property
    def sources_left(self) -> list[SourceFile]:
        """Returns the files that stay, without their records: those of open previews are removed."""
        gone = {preview.batch_id for preview in self.previews}
        return [it for it in self.sources if it.kind is not Found.REJECTS or it.batch_id not in gone]

    @property
    def is_empty(self) -> bool:
        """Returns whether nothing was found. The folders are searched only if something was."""
        found = [*self.files, *self.superfluous, *self.sources, *self.staged]
        return not found and not self.folders and not self.runs.number and not self.ledger.having


class Eraser:
    """Erases records for one actor. runs: the history of runs, in which values of records can be; None without one."""

    def __init__(self, store: RecordStore, actor: str, runs: RunHistory | None = None) -> None:
        self._store = store
        self._settings = store.settings
        self._actor = actor
        self._runs = runs

    def plan(self, request: ErasureRequest) -> ErasureReport:
        """Returns what an erasure would touch. Changes nothing. Raises what `erase` raises before any change."""
        with working(self._store) as folder:
            found = self._search(request, folder)
            SourceFiles(self._store, request.account, found.erased, folder).require_exact(found.sources)
            return self._report(None, request, self._planned(found), found)

    def erase(self, request: ErasureRequest) -> ErasureReport:
        """Erase the records. Returns the receipt.

        Raises NotFound for an unknown account or type, and InvalidRequest if the request names no records. Raises
        Refused, before any change, if a file that waits for its import cannot be written without them. Raises StoreBusy
        if another erasure or a backup runs for long.
        """
        with self._store.reading() as connection:
            is_begun = any(
                it.status is ErasureStatus.BEGUN and it.record_type == request.record_type
                for it in erasures(connection, request.account, request.record_type)
            )
        with working(self._store) as folder, without_backups(self._store):
            found = self._search(request, folder)
            files = SourceFiles(self._store, request.account, found.erased, folder)
            files.require_exact(found.sources)
            if found.is_empty and not is_begun:
                return self._report(None, request, self._planned(found), found)
            erasure_id = new_id("x", self._store.clock.now())
            discarded = self._discard(found)
            touched = [self._mask_ledger(request, found, erasure_id)]
            touched += self._remove_folders(found)
            touched.append(files.mask_reasons())
            touched += [files.erase(file, self._actor) for file in found.sources]
            touched.append(self._erase_from_runs(found))
            for number in range(_ROUNDS):
                came, previews = self._erase_what_came(request, found, erasure_id, files, folder)
                discarded += previews
                if number and not came:
                    break
                touched += [*came, self._erase_from_lake(request, found)]
            else:
                found.beyond.append("Files with the records arrived during the whole erasure: erase again.")
            touched.append(self._erase_from_runs(found))  # what a sensor has written meanwhile
        self._store.rebuild_history()
        found.beyond += [it for it in files.beyond if it not in found.beyond]
        found.beyond += self._store.vacuum()
        return self._finish(self._report(erasure_id, request, touched, found, discarded))

    # Search

    def _search(self, request: ErasureRequest, folder: Path) -> _Plan:
        with self._store.reading() as connection:
            require_account(connection, request.account)
            record_type = known_type(connection, request.record_type)
            keys, conditions = _asked(request, record_type)
            lake = RecordsErasure(connection, self._settings.data, record_type, request.account)
            if conditions:
                keys |= lake.keys(conditions)
            erased = ErasedRecords(record_type, keys, conditions)
            lake.lists(keys)
            batches = ledger.batches(connection, account=request.account, record_type=record_type.name)
            touched = set()
            for version in lake.versions():
                erased.add_version(version)
                touched.add(version["_batch"])
            first, oldest = lake.first_snapshot(), oldest_snapshot(connection)
            earlier = erasures(connection, request.account, record_type.name)  # of versions that no snapshot has now
            exports = [
                it
                for it in ledger_exports.exports(connection, account=request.account, record_type=record_type.name)
                if it.snapshot < oldest
                or (first is not None and it.snapshot >= first)
                or is_erased_since(earlier, it.account, it.record_type, it.at, (Found.RECORDS,))
                or (it.request is not None and any(map(erased.values.has, it.request.filters)))
            ]
            found = _Plan(erased, batches, lake.affected(), lake.superfluous(), exports)
        sources = SourceFiles(self._store, request.account, erased, folder)
        found.sources = sources.find(batches)
        found.staged = [*derived_files.staged_batches(self._store, request.account, batches, erased, folder)]
        touched |= {it.batch_id for it in found.staged} | {it.batch_id for it in found.sources if it.batch_id}
        self._search_derived(request, found, touched, sources, folder)
        found.beyond += sources.beyond
        return found

    def _search_derived(
        self, request: ErasureRequest, found: _Plan, touched: set[str], sources: SourceFiles, folder: Path
    ) -> None:
        settings, account, name = self._settings, request.account, request.record_type
        values = found.erased.values
        staging = settings.folder(account, "staging")
        uploads = derived_files.uploads_with(self._store, account, name, found.erased, sources.finds_in)
        trash = [*derived_files.trash_of(settings, account, name)]
        lost = [*derived_files.lists_of_lost_keys(settings, account, found.erased)]
        is_elsewhere = uploads or lost or self._is_in_trash(request, found, trash, sources)
        if self._runs is not None:
            found.runs = self._runs.find(found.erased.values)
        with self._store.reading() as connection:
            found.ledger = self._mask_rows(connection, request, found, changes=False)
        if found.is_empty and not is_elsewhere:
            return
        may_have = {it.export_id for it in found.exports}
        published = {it.export_id for it in self._store.exports(account)}
        left, used = derived_files.left_in_scratch(settings, folder)
        found.folders = {  # in this order: the last ones show a later erasure that there is something to erase
            Found.REPORTS: [*derived_files.report_folders(settings, account, found.batches, touched, found.erased)],
            Found.EXPORTS: [
                *derived_files.export_folders(
                    settings, account, name, lambda it: it in may_have if it in published else None
                )
            ],
            Found.TEMPORARY: [*left, *derived_files.error_details_with(settings, found.erased)],
            Found.TRASH: trash,
            Found.LOST: lost,
            Found.PREVIEWS: [],
            Found.STAGED: [staging / it.batch_id for it in found.staged],
            Found.UPLOADS: [*uploads],
        }
        rejects = settings.folder(account, "rejects")
        for preview in found.previews:  # its files would be of no use without it
            places = [rejects / preview.batch_id, staging / preview.batch_id]
            found.folders[Found.PREVIEWS] += [it for it in places if entries(it)]
        found.sources = found.sources_left
        found.beyond += [
            f"An export that may have the records: {each}." for each in derived_files.delivered(settings, found.exports)
        ]
        found.beyond += [
            f"{values.masked_name(path)} is in quarantine and belongs to no account and type, so it was not searched."
            for path in self._nobodys_files()
        ]
        found.beyond += [
            f"{file} has a value of the records: edit it."
            for file in derived_files.operator_files_with(settings, found.erased)
        ]
        if used:
            found.beyond.append(
                f"Other processes use {used:,} temporary files, which end with them. Erase again when they have ended."
            )

    def _nobodys_files(self) -> Iterator[str]:
        """Yields the files that came into folders of the inbox which name no account or no type."""
        quarantine = self._settings.quarantine
        accounts, types = set(self._store.accounts()), self._store.record_types().keys()
        for listed in files_below(quarantine):
            account, _, rest = str(listed.place).removeprefix(str(quarantine)).strip("/").partition("/")
            if (account not in accounts or rest.partition("/")[0] not in types) and listed.place.name != WHY:
                yield self._settings.path_below_data(listed.place)

    def _is_in_trash(self, request: ErasureRequest, found: _Plan, trash: list[Location], sources: SourceFiles) -> bool:
        with self._lake(request, found) as lake:
            for place in trash:
                path = self._settings.path_below_data(place)
                is_of_lake = "/lake/records/" in path and path.endswith(".parquet")
                if not path.endswith("-delete.parquet") and is_of_lake and lake.has_listed(path):
                    return True
        return any(sources.finds_in_place(place) for place in trash if "/lake/" not in str(place))

    # Changes

    def _discard(self, found: _Plan) -> tuple[str, ...]:
        """Discard the previews that have erased records. Their files can be previewed again."""
        discarded = []
        for preview in found.previews:
            try:
                self._store.account(preview.account).discard(preview.batch_id, self._actor, None)
            except Refused:  # it was committed or discarded meanwhile
                continue
            discarded.append(preview.batch_id)
        return tuple(discarded)

    def _remove_folders(self, found: _Plan) -> Iterator[Touched]:
        for kind, places in found.folders.items():
            for place in places:
                if kind is Found.EXPORTS:
                    derived_files.remove_beside_destination(place)
                remove_certainly(place)
            yield Touched(kind, removed=len(places))

    def _erase_what_came(
        self, request: ErasureRequest, found: _Plan, erasure_id: str, files: SourceFiles, folder: Path
    ) -> tuple[list[Touched], tuple[str, ...]]:
        """Erase from files that were moved, and from batches that were recorded, since the search.

        Returns what was done, and the discarded previews. A file that cannot be cut any more is left, and named.
        A preview that has read its file and is not recorded yet is refused by the row that comes first.
        """
        account = request.account
        with self._store.transaction("erase: search again", self._actor, writes=()) as transaction:
            self._erasure(account, request.record_type, erasure_id, ErasureStatus.BEGUN)(transaction)
        with self._store.reading() as connection:
            batches = ledger.batches(connection, account=account, record_type=request.record_type)
        came = _Plan(found.erased, batches, {}, [], [], sources=files.find(batches))
        came.staged = [*derived_files.staged_batches(self._store, account, batches, found.erased, folder)]
        waiting = [it for it in came.sources if it.is_waiting and not it.is_exact]
        named = [
            f"{found.erased.values.masked_name(str(it.place))} came during the erasure and has the records: import or "
            "remove it, then erase again."
            for it in waiting
        ]
        found.beyond += [it for it in (*named, *files.beyond) if it not in found.beyond]
        came.sources = [it for it in came.sources if it not in waiting]
        if not came.sources and not came.staged:
            return [], ()
        touched = {it.batch_id for it in came.staged} | {it.batch_id for it in came.sources if it.batch_id}
        previews = [it.batch_id for it in came.previews]
        kinds = [(Found.PREVIEWS, "rejects", previews), (Found.STAGED, "staging", [it.batch_id for it in came.staged])]
        came.folders = {kind: [self._settings.folder(account, name) / it for it in ids] for kind, name, ids in kinds}
        came.folders[Found.REPORTS] = [
            *derived_files.report_folders(self._settings, account, batches, touched, found.erased)
        ]
        came.sources = came.sources_left
        discarded = self._discard(came)
        done = [self._mask_ledger(request, came, erasure_id), *self._remove_folders(came)]
        return [*done, *(files.erase(file, self._actor) for file in came.sources)], discarded

    def _mask_ledger(self, request: ErasureRequest, found: _Plan, erasure_id: str) -> Touched:
        begun = self._erasure(request.account, request.record_type, erasure_id, ErasureStatus.BEGUN)
        with self._store.rewriting("erase: ledger", self._actor, request.account, (), begun) as connection:
            changes = self._mask_rows(connection, request, found)
            forget_statistics(connection)
        return Touched(Found.LEDGER, rewritten=changes.changed, removed=changes.removed)

    def _mask_rows(
        self, connection: Connection, request: ErasureRequest, found: _Plan, *, changes: bool = True
    ) -> LedgerChanges:
        """Mask the ledger's rows, or count those that it would mask."""
        goes = {self._settings.path_below_data(it.place) for it in found.sources}
        goes |= {self._settings.path_below_data(it) for places in found.folders.values() for it in places}

        def is_left(path: str) -> bool:
            parents = map(str, PurePosixPath(path).parents)
            return path not in goes and goes.isdisjoint(parents) and exists(self._settings.data / path)

        values = found.erased.values
        return mask_rows(connection, request.account, request.record_type, values, is_left, changes=changes)

    def _erase_from_runs(self, found: _Plan) -> Touched:
        """Mask the values in the history of runs. The lake goes after it, because it has the values to look for."""
        if self._runs is None:
            return Touched(Found.RUNS)
        erased = self._runs.erase(found.erased.values)
        found.beyond += [it for it in erased.beyond if it not in found.beyond]
        return Touched(Found.RUNS, rewritten=erased.number)

    def _erase_from_lake(self, request: ErasureRequest, found: _Plan) -> Touched:
        """Write the files of the lake anew, one in each transaction, so that other writers wait for seconds at most.

        The files are found anew in each transaction, because maintenance can have merged them meanwhile.
        """
        rewritten = removed = records = 0
        while True:
            with self._lake(request, found) as lake:
                files = lake.affected()
            if not files:
                break
            patterns = lake_files.patterns_of(request.record_type, request.account)
            paths: tuple[str, ...] = ()
            with self._store.rewriting("erase: records", self._actor, request.account, patterns) as connection:
                lake = RecordsErasure(connection, self._settings.data, found.erased.record_type, request.account)
                lake.lists(found.erased.keys)
                file = next(iter(lake.affected()), None)
                if file is not None:
                    done = lake.rewrite(file)
                    records, paths = records + done.records, done.paths
                    rewritten += done.records != file.records
                    removed += done.records == file.records
            for path in paths:
                remove_certainly(self._settings.data / path)
        with self._lake(request, found) as lake:
            left = lake.superfluous()
        if left:
            with self._store.catalog_change() as connection:
                forget(connection, left)
            for path in left:
                remove_certainly(self._settings.data / path)
        return Touched(Found.RECORDS, rewritten, removed + len(left), records)

    @contextmanager
    def _lake(self, request: ErasureRequest, found: _Plan) -> Iterator[RecordsErasure]:
        with self._store.reading() as connection:
            lake = RecordsErasure(connection, self._settings.data, found.erased.record_type, request.account)
            lake.lists(found.erased.keys)
            yield lake

    def _finish(self, report: ErasureReport) -> ErasureReport:
        """Write the receipt, and record in the ledger that the erasure is done."""
        if report.erasure_id is None:
            return report
        write_receipt(self._store.files, receipt_place(self._settings, report.erasure_id), report)
        done = self._erasure(
            report.account,
            report.record_type,
            report.erasure_id,
            ErasureStatus.DONE,
            {it.place.name.lower(): it.rewritten + it.removed for it in report.touched},
        )
        with self._store.transaction("erase: done", self._actor, writes=()) as transaction:
            done(transaction)
            for begun in erasures(transaction.connection, report.account, report.record_type):
                if begun.status is ErasureStatus.BEGUN and begun.erasure_id != report.erasure_id:
                    self._erasure(begun.account, begun.record_type, begun.erasure_id, ErasureStatus.DONE)(transaction)
        return report

    def _erasure(
        self,
        account: str,
        record_type: str | None,
        erasure_id: str,
        status: ErasureStatus,
        counts: dict[str, int] | None = None,
    ) -> Callable[[Transaction], None]:
        """Returns what records the erasure in a transaction."""

        def record(transaction: Transaction) -> None:
            erasure = Erasure(erasure_id, account, record_type, status, self._actor, transaction.at, counts or {})
            transaction.append(append_erasure, transaction.at, erasure)

        return record

    # Reports

    def _planned(self, found: _Plan) -> list[Touched]:
        planned = [
            Touched(Found.RECORDS, len(found.files), len(found.superfluous), sum(found.files.values())),
            *(Touched(it.kind, int(it.is_exact), int(not it.is_exact), len(it.found.records)) for it in found.sources),
        ]
        if not found.is_empty:
            planned.append(Touched(Found.LEDGER, found.ledger.changed, found.ledger.removed))
        planned.append(Touched(Found.RUNS, rewritten=found.runs.number))
        return [*planned, *(Touched(kind, removed=len(places)) for kind, places in found.folders.items())]

    def _report(
        self,
        erasure_id: str | None,
        request: ErasureRequest,
        touched: list[Touched],
        found: _Plan,
        discarded: tuple[str, ...] | None = None,
    ) -> ErasureReport:
        return ErasureReport(
            erasure_id,
            request.account,
            request.record_type,
            self._actor,
            self._store.now(),
            summed(touched),
            tuple(it.batch_id for it in found.previews) if discarded is None else discarded,
            (*found.beyond, *derived_files.beyond_reach(self._settings)),
            None if erasure_id is None else str(receipt_place(self._settings, erasure_id)),
            tuple(text for text in request.keys if not found.erased.has_seen((_key(text, found.erased.record_type),))),
        )


@contextmanager
def working(store: RecordStore) -> Iterator[Path]:
    """Yields a folder for files on their way. There is one erasure at a time; another one waits."""
    scratch = store.settings.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    with store.lock("erasure", store.settings.lock_seconds), store.operation():
        folder = scratch / f"{derived_files.WORK}{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            with store.files.using_scratch(folder):  # so that the next erasure finds what a killed one leaves
                yield folder
        finally:
            remove(folder)


@contextmanager
def without_backups(store: RecordStore) -> Iterator[None]:
    """Let no backup run meanwhile. Raises StoreBusy if one runs for long: it copies files that would be removed."""
    with ExitStack() as locks:
        try:
            locks.enter_context(store.lock("backup", store.settings.lock_seconds))
        except StoreBusy:
            raise StoreBusy(
                "A backup of this store is running. An erasure would remove files that it copies.",
                "Nothing was erased. Give the same command again when the backup has ended.",
            ) from None
        yield


def summed(touched: list[Touched]) -> tuple[Touched, ...]:
    """Returns one entry for each place, in their order."""
    return tuple(sum((it for it in touched if it.place is place), Touched(place)) for place in Found)


def _asked(request: ErasureRequest, record_type: RecordType) -> tuple[set[tuple[Any, ...]], dict[str, Any]]:
    """Returns the keys and the conditions of a request as values. Raises InvalidRequest if there are none."""
    if request.keys and len(record_type.key) != 1:
        raise InvalidRequest(
            f"A key of {record_type.name} has several fields: {', '.join(record_type.key)}.",
            "Name each of them: " + " ".join(f"--matching {name}=…" for name in record_type.key) + ".",
        )
    unknown = [name for name in request.matching if name not in record_type.field_names]
    if unknown:
        raise InvalidRequest(
            f"{record_type.name} has no field {unknown[0]!r}.", f"Its fields: {', '.join(record_type.field_names)}."
        )
    if not request.keys and not request.matching:
        raise InvalidRequest("No record is named.", "Give keys, or --matching FIELD=VALUE.")
    if not all((*request.keys, *request.matching.values())):
        raise InvalidRequest("A key or a value is empty.", "Give keys and values with at least one character.")
    keys = {(_key(text, record_type),) for text in request.keys}
    conditions = {name: parse_value(text, record_type.field(name)) for name, text in request.matching.items()}
    return keys, conditions


def _key(text: str, record_type: RecordType) -> Any:
    """Returns the key of a type with one key field, as a value. Raises InvalidRequest if the text is none."""
    return parse_value(text, record_type.field(record_type.key[0]))
