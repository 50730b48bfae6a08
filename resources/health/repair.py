"""`StoreRepair`: mends what a check finds, as far as that is safe.

A repair is planned first, and `--dry-run` prints the plan. Each step can be repeated: a process that is killed leaves
the store as it was before a step or after it, and the next repair goes on. No repair needs anything that it removes:
damaged files go into the trash.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import duckdb

from resources.checksums import checksum
from resources.file_storage import blocks_of, size_of
from resources.health.comparing import Comparison
from resources.health.inventory import Inventory, Wanted, batch_of, present_files, take_inventory
from resources.health.sources import SHA256, Source, TrashSource
from resources.importing.progress import Progress
from resources.record_store import RecordStore, ledger, ledger_files, losses, reconstruction
from resources.record_store.lake import Connection
from resources.record_store.lake_files import LAKE, LakeFile
from resources.record_store.losses import Loss
from resources.record_store.reconstruction import Merge, rows_in
from resources.record_store.staging import Staging
from resources.report_writer import PAGE
from resources.trash import Trash
from schemas.checks import MENDABLE, Finding, Remedy, Repair, RepairReport
from schemas.counts import numbered
from schemas.errors import RecordsError
from schemas.files import StoredFile
from schemas.location import Location
from schemas.record_type import RecordType

_BACKUP = "If there is another backup: records repair --from PLACE."


@dataclass(frozen=True)
class _Step:
    """A repair, and the function that does it. Without one, nothing can be done."""

    repair: Repair
    do: Callable[[], Repair | None] | None = None


class StoreRepair:
    """Repairs a store, as one actor. It holds the write lock, but not while it looks for what is wrong.

    sources: places with copies of files, besides the trash. They are asked in order.
    """

    def __init__(self, store: RecordStore, actor: str, *, sources: Sequence[Source] = ()) -> None:
        self._store = store
        self._settings = store.settings
        self._data = store.settings.data
        self._actor = actor
        self._trash = Trash(store.settings)
        self._sources = (TrashSource(store.settings), *sources)

    def run(self, *, dry_run: bool = False, progress: Progress | None = None) -> RepairReport:
        """Mend what is wrong with the files of the store. Returns what was done, or would be done.

        A file is restored from a copy, or made again from others. If neither is possible, its records are marked as
        lost, so that all other records can be used.
        """
        if not dry_run:
            self._store.require_format()
        suspects = self._wrong(self._inventory(), progress)
        done: list[Repair] = []
        with self._store.write_lock:
            # A list of deleted rows can be made again after its file of records was.
            for plan in (self._restoring, self._rebuilding, self._rebuilding, self._losing):
                inventory = self._inventory()
                comparison = Comparison(self._data, fast=False)
                wanted = [inventory.wanted[path] for path in suspects if path in inventory.wanted]
                found = comparison.findings(wanted)
                planned = {repair.path for repair in done} if dry_run else set()
                for step in plan(inventory, found):
                    if step.repair.path not in planned:
                        done.append(step.repair if dry_run or step.do is None else step.do() or step.repair)
        return RepairReport(tuple(done), dry_run=dry_run)

    def _inventory(self) -> Inventory:
        present = present_files(self._settings)
        with self._store.examining() as connection:
            return take_inventory(self._settings, connection, present, self._store.time(connection))

    def _wrong(self, inventory: Inventory, progress: Progress | None) -> list[str]:
        total = sum(inventory.present[path].bytes for path in inventory.wanted.keys() & inventory.present.keys())
        comparison = Comparison(self._data, fast=False, progress=progress, total=total)
        found = comparison.findings(inventory.wanted.values())
        return sorted(path for path, finding in found.items() if finding.kind in MENDABLE)

    # Restore

    def _restoring(self, inventory: Inventory, found: dict[str, Finding]) -> Iterator[_Step]:
        for path, finding in found.items():
            wanted = inventory.wanted[path]
            copy = self._copy_of(wanted) if wanted.has_checksum else None
            if copy is not None:
                sentence = f"{finding.sentence} A whole copy is in {copy}."
                repair = _repair(Remedy.RESTORE, finding, sentence, source=str(copy))
                yield _Step(repair, self._restores(wanted, copy))

    def _copy_of(self, wanted: Wanted) -> Location | None:
        """Return a copy with the newest bytes; None if there is none. An earlier version may have erased records."""
        file = wanted.known or StoredFile(wanted.path, wanted.bytes, f"{SHA256}{wanted.sha256}")
        newest = replace(file, earlier=())
        for source in self._sources:
            place = source.find(newest)
            if place is not None and self._is_whole(place, replace(wanted, known=wanted.known and newest)):
                return place
        return None

    def _is_whole(self, place: Location, wanted: Wanted) -> bool:
        comparison = Comparison(place.parent, fast=False)
        return comparison.finding(replace(wanted, path=place.name, is_required=True)) is None

    def _restores(self, wanted: Wanted, copy: Location) -> Callable[[], None]:
        def restore() -> None:
            with self._making(wanted.path) as made, made.open("wb") as file:
                for block in blocks_of(copy):
                    file.write(block)

        return restore

    @contextmanager
    def _making(self, path: str) -> Iterator[Path]:
        """Yield where to make a file, then put the damaged one into the trash and the new one in its place."""
        final = self._data / path
        with self._store.files.making(final) as made:
            yield made
            self._discard(path)

    def _discard(self, path: str) -> None:
        """Put a damaged file into the trash, if it is there."""
        place = self._data / path
        if size_of(place) is not None:
            self._trash.put(place, self._store.clock.now())

    # Make again

    def _rebuilding(self, inventory: Inventory, found: dict[str, Finding]) -> Iterator[_Step]:
        lake = {file.path: file for file in inventory.lake}
        for path, finding in found.items():
            file = lake.get(path)
            if file is not None and file.schema == "records" and not _is_blind(found):
                step = self._rebuilt_file(inventory, found, file, finding)
                if step is not None:
                    yield step
            elif (
                path.endswith(f"/{PAGE}")
                and not _is_blind(found)
                and (batch := inventory.batches.get(batch_of(path) or "")) is not None
            ):
                repair = _repair(Remedy.REBUILD, finding, f"{finding.sentence} The ledger has what is in it.")
                yield _Step(repair, self._rebuilds_page(path, batch.account, batch.batch_id))
            elif path.endswith(".manifest.json"):
                manifest = inventory.exports[path.split("/")[3]]
                repair = _repair(Remedy.REBUILD, finding, f"{finding.sentence} The ledger has what is in it.")
                yield _Step(repair, self._rebuilds_text(path, manifest.text))

    def _rebuilds_page(self, path: str, account: str, batch_id: str) -> Callable[[], None]:
        def rebuild() -> None:
            self._discard(path)
            self._store.account(account).rebuild_report(batch_id, self._actor)

        return rebuild

    def _rebuilds_text(self, path: str, content: str) -> Callable[[], None]:
        def rebuild() -> None:
            with self._making(path) as made:
                made.write_text(content, "utf-8")

        return rebuild

    def _rebuilt_file(
        self, inventory: Inventory, found: dict[str, Finding], file: LakeFile, finding: Finding
    ) -> _Step | None:
        """Return how a file of the lake is made again from others that are whole; None if it cannot be."""
        with self._store.examining() as connection:
            record_type = ledger.record_types(connection)[file.table]
            if file.is_delete:
                data_file = _data_file(inventory, file)
                if file.end is not None or data_file is None or data_file.path in found:
                    return None
                positions = self._deleted(connection, inventory, found, data_file, record_type)
                (number,) = connection.fetch_one(f"SELECT count(*) FROM ({positions})") if positions else (None,)
                if positions is None or number != file.records:
                    return None
                of = f"the {numbered(file.records, 'record')} with a later version"
                step_of = self._rebuilds_deletions(inventory, found, file, data_file, record_type)
            else:
                merge = reconstruction.merge_of(connection, self._data, file)
                if merge is None:
                    return None
                of = f"the {numbered(len(merge.sources), 'file')} that it was merged from"
                step_of = self._rebuilds_merge(file, merge, record_type)
        repair = _repair(Remedy.REBUILD, finding, f"{finding.sentence} It is made again from {of}.", source=of)
        return _Step(repair, step_of)

    def _rebuilds_merge(self, file: LakeFile, merge: Merge, record_type: RecordType) -> Callable[[], None]:
        def write(connection: Connection, made: Path) -> None:
            reconstruction.write_merge(connection, self._data, file, merge, record_type, made)

        return lambda: self._replace(file, write)

    def _deleted(
        self,
        connection: Connection,
        inventory: Inventory,
        found: dict[str, Finding],
        data_file: LakeFile,
        record_type: RecordType,
    ) -> str | None:
        """Return SQL for the rows of a file that are certainly deleted; None if no other file can show it."""
        others = [it.path for it in _beside(inventory, found, data_file) if it.begin >= data_file.begin]
        if not others:
            return None
        return reconstruction.deleted_rows(connection, self._data, data_file, record_type.key, others)

    def _rebuilds_deletions(
        self,
        inventory: Inventory,
        found: dict[str, Finding],
        file: LakeFile,
        data_file: LakeFile,
        record_type: RecordType,
    ) -> Callable[[], None]:
        def write(connection: Connection, made: Path) -> None:
            positions = self._deleted(connection, inventory, found, data_file, record_type)
            if positions is not None:
                reconstruction.write_deletions(connection, self._data, data_file, positions, made)

        return lambda: self._replace(file, write)

    def _replace(self, file: LakeFile, write: Callable[[Connection, Path], None]) -> None:
        """Make a file of the lake again under a new name, and let the catalog name it.

        The ledger gets its checksum first. So a file that a killed process leaves is one that maintenance removes.
        """
        path = reconstruction.new_path(file)
        working = self._settings.scratch / PurePosixPath(path).name
        working.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._store.examining() as connection:
                known = ledger_files.files(connection, [file.path]).get(file.path)
                write(connection, working)
            batches = () if known is None else known.batches
            stored = StoredFile(path, working.stat().st_size, checksum(working), file.account, batches)
            with self._store.transaction(f"make {file.path} again", self._actor, writes=()) as transaction:
                transaction.record_files([stored])
            with self._store.files.making(self._data / path) as made, made.open("wb") as copy:
                for block in blocks_of(working):
                    copy.write(block)
            with self._store.catalog_change() as connection:
                reconstruction.replace_file(connection, file, path, working)
        finally:
            working.unlink(missing_ok=True)
        self._discard(file.path)

    # Mark as lost

    def _losing(self, inventory: Inventory, found: dict[str, Finding]) -> Iterator[_Step]:
        lake = {file.path: file for file in inventory.lake}
        dropped: set[int] = set()
        for path, finding in found.items():
            file = lake.get(path)
            if file is None or file.schema != "records" or _is_blind(found):
                yield _Step(_repair(Remedy.NONE, finding, f"{finding.sentence} {self._advice(inventory, path)}"))
                continue
            following = _following(inventory, file) if file.is_delete else None
            data_file = _data_file(inventory, file) if file.is_delete else file
            if data_file is None or data_file.data_file_id in dropped:
                continue
            if following is None:
                dropped.add(data_file.data_file_id)
            lost = 0 if following is not None else _present(inventory, data_file)
            with self._store.examining() as connection:
                batches = self._batches_of(connection, inventory, data_file, file if following is not None else None)
            sentence = f"{finding.sentence} {_lost(lost, data_file, following is not None)}"
            repair = replace(_repair(Remedy.LOSE, finding, sentence), batches=tuple(batches), lost=lost)
            yield _Step(repair, self._loses(inventory, found, repair, data_file, file, following))

    def _batches_of(
        self, connection: Connection, inventory: Inventory, data_file: LakeFile, deletions: LakeFile | None
    ) -> list[str]:
        """Return the batches with records or before-images in a file. They cannot be rolled back without it.

        deletions: the list of deleted rows that is lost, if the file itself is whole.
        """
        lists = [it for it in inventory.lake if it.is_delete and it.data_file_id == data_file.data_file_id]
        if deletions is not None:
            changed = [end for end in (deletions.begin, deletions.end) if end is not None]
            return reconstruction.batches_touching(connection, changed)
        changed = [data_file.begin, *(it.begin for it in lists), *([data_file.end] if data_file.end else [])]
        known = ledger_files.files(connection, [data_file.path]).get(data_file.path)
        named = set() if known is None else set(known.batches)
        return sorted(named | set(reconstruction.batches_touching(connection, changed)))

    def _loses(
        self,
        inventory: Inventory,
        found: dict[str, Finding],
        repair: Repair,
        data_file: LakeFile,
        file: LakeFile,
        following: LakeFile | None,
    ) -> Callable[[], Repair]:
        def lose() -> Repair:
            with self._store.examining() as connection:
                recorded = losses.recorded(connection, [file.path])
            # The ledger comes first, so that no record is ever missing without a row about it.
            keys = self._list_keys(inventory, found, data_file, repair.batches) if following is None else None
            if not recorded:
                self._record(repair, data_file, keys)
            with self._store.catalog_change() as connection:
                if following is None:
                    reconstruction.drop_file(connection, data_file)
                else:
                    reconstruction.drop_deletions(connection, file, following)
            lists = [it.path for it in inventory.lake if it.is_delete and it.data_file_id == data_file.data_file_id]
            for path in [file.path] if following is not None else [data_file.path, *lists]:
                self._discard(path)
            return replace(repair, keys=keys)

        return lose

    def _record(self, repair: Repair, data_file: LakeFile, keys: str | None) -> None:
        with self._store.transaction(f"{repair.path} is lost", self._actor, writes=()) as transaction:
            loss = Loss(
                repair.path,
                data_file.account or "",
                data_file.table,
                repair.lost,
                repair.batches,
                keys,
                self._actor,
                transaction.at,
            )
            transaction.append(losses.append_loss, loss)

    def _list_keys(
        self, inventory: Inventory, found: dict[str, Finding], data_file: LakeFile, batches: Sequence[str]
    ) -> str | None:
        """Write the keys of the lost records to a file of the account. Returns its path; None if no key is known.

        They come from the staged records of the batches, and from the damaged file, as far as it can be read.
        """
        account = data_file.account or ""
        path = f"accounts/{account}/lost/{PurePosixPath(data_file.path).stem}.keys.ndjson"
        with self._store.examining() as connection:
            record_type = ledger.record_types(connection)[data_file.table]
        lists = {it.data_file_id: it.path for it in inventory.lake if it.is_delete and it.end is None}
        others = [
            (it.path, lists.get(it.data_file_id))
            for it in _beside(inventory, found, data_file)
            if lists.get(it.data_file_id) not in found
        ]
        with ExitStack() as stack:
            sources = [*self._readable(stack, data_file, record_type, batches)]
            if not sources:
                return None
            with self._store.examining() as connection, self._store.files.making(self._data / path) as made:
                reconstruction.write_keys(connection, self._data, sources, others, record_type, made)
        return path

    def _readable(
        self, stack: ExitStack, data_file: LakeFile, record_type: RecordType, batches: Sequence[str]
    ) -> Iterator[str]:
        """Yield SQL for the rows of the staged files of the batches, and of the damaged file, if they can be read.

        The files are fetched to this machine until the stack ends.
        """
        folder = self._settings.folder(data_file.account or "", "staging")
        for place in (*(folder / batch_id for batch_id in batches), self._data / data_file.path):
            with suppress(FileNotFoundError, RecordsError, duckdb.Error):
                fetched = stack.enter_context(self._store.files.fetched(place))
                is_staged = place.parent == folder
                source = Staging(fetched, record_type.key).included_sql if is_staged else rows_in(fetched)
                with self._store.examining() as connection:
                    reconstruction.require_keys(connection, source, record_type)
                yield source

    def _advice(self, inventory: Inventory, path: str) -> str:
        """Return what a person can do about a file that nothing here can make again."""
        kind = path.split("/")[2] if path.startswith("accounts/") else path.split("/")[0]
        return {
            "staging": "Discard the preview, and preview its file again.",
            "rejects": "Preview the file again to get its rejects file.",
            "reports": _BACKUP,
            "exports": "Export the records again.",
            "archive": "The records are whole. Get the file from its sender if you need it.",
        }.get(kind, f"Nothing else has what is in it. {_BACKUP}")


def _repair(remedy: Remedy, finding: Finding, sentence: str, source: str | None = None) -> Repair:
    return Repair(remedy, finding.path or "", sentence, finding.account, finding.batches, source)


def _is_blind(found: dict[str, Finding]) -> bool:
    """Return whether a file of the ledger is damaged. It must be restored first: nothing else says what records are."""
    return any(path.startswith(f"{LAKE}/ledger/") for path in found)


def _data_file(inventory: Inventory, deletions: LakeFile) -> LakeFile | None:
    """Return the file with the records that a list deletes."""
    files = (it for it in inventory.lake if not it.is_delete and it.data_file_id == deletions.data_file_id)
    return next(files, None)


def _beside(inventory: Inventory, found: dict[str, Finding], data_file: LakeFile) -> list[LakeFile]:
    """Return the other whole files with present records of the same account and type."""
    of = (data_file.schema, data_file.table, data_file.account)
    return [
        it
        for it in inventory.lake
        if not it.is_delete
        and it.end is None
        and it.path not in found
        and it.path != data_file.path
        and (it.schema, it.table, it.account) == of
    ]


def _following(inventory: Inventory, deletions: LakeFile) -> LakeFile | None:
    """Return the list of deleted rows that replaced an older one; None if there is none."""
    lists = (it for it in inventory.lake if it.is_delete and it.data_file_id == deletions.data_file_id)
    return next((it for it in lists if it.begin == deletions.end), None)


def _present(inventory: Inventory, data_file: LakeFile) -> int:
    """Return how many records of the present a file has."""
    if data_file.end is not None:
        return 0
    lists = [it for it in inventory.lake if it.is_delete and it.data_file_id == data_file.data_file_id]
    return data_file.records - sum(it.records for it in lists if it.end is None)


def _lost(lost: int, data_file: LakeFile, is_history: bool) -> str:
    if is_history or data_file.end is not None:
        return f"Earlier versions of {data_file.table} of {data_file.account} are lost; the present records are whole."
    return (
        f"{numbered(lost, 'record')} of {data_file.table} of {data_file.account} {'is' if lost == 1 else 'are'} lost."
    )
