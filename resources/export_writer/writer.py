"""`ExportWriter`: exports from a store, here and now or one step at a time."""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

import duckdb

from resources.clock import new_id
from resources.export_writer.allowed import require_allowed, require_replaceable
from resources.export_writer.assembly import TextFile, assemble
from resources.export_writer.encodings import check_delimiter, check_encoding
from resources.export_writer.parts import Part, make_part, part_made, share_part, write_part
from resources.export_writer.plan import ExportPlan, PlannedPart, working_folder
from resources.export_writer.publish import (
    destination,
    manifest_path,
    partial_path,
    require_room,
    require_writable,
    told_of,
)
from resources.file_storage import is_local, local, make_folder, opening
from resources.record_store import AccountRecords, RecordStore
from resources.record_store.export_source import ExportSource
from schemas.errors import Unaccounted
from schemas.exports import ExportFormat, ExportManifest, ExportRequest
from schemas.location import Location

Progress = Callable[[int, int], None]
"""Told of so many records done, of so many."""

_AT_ONCE = 2
"""Parts that are made at a time, unless snapshots are compared for each."""

_AGAIN_SECONDS = 0.05
"""How often what is being made is interrupted, until it has ended."""

_PART_BYTES = 64_000_000
"""Of records as text: what is sorted at once. DuckDB needs some three times as much for it."""

_SIZES = {
    ExportFormat.CSV: (1.1, 1.1),
    ExportFormat.JSON: (1.1, 1.1),
    ExportFormat.NDJSON: (1.1, 1.1),
    ExportFormat.EXCEL: (0.6, 5.0),  # its sheets are written unpacked first
    ExportFormat.PARQUET: (0.6, 0.8),
}
"""About how large a file, and all its parts, are beside the same records as text."""


class ExportWriter:
    """Exports from a store, as one actor and, inside Dagster, in one run.

    `confined`: the paths of what is planned come from Dagster, so they must lie where `allowed` allows it.
    `export` does it all. In Dagster its steps are done one by one: `plan`, `make_part` and `finish` by whichever
    process, and again where one was ended.
    """

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None, *, confined: bool = False) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id
        self._confined = confined
        self._files = store.files
        self._reading = ExitStack()

    def export(self, request: ExportRequest, progress: Progress | None = None) -> ExportManifest:
        """The file holds the account's records of one snapshot; its manifest lies beside it; the ledger has the export.

        The file's final name never holds a partial file; an older file of that name is replaced in one step. When
        anything is raised, nothing is left. `progress` is told of each part.
        Raises what `planned` and `run` raise.
        """
        with self.planned(request) as (plan, source):
            return self.run(plan, source, progress)

    @contextmanager
    def planned(self, request: ExportRequest) -> Iterator[tuple[ExportPlan, ExportSource]]:
        """The plan of the export, on disk, and its records, to be read.

        The destination can be written and has room, as estimated. Raises NotFound for an unknown account, type or
        batch, InvalidRequest for columns, filters or a path that cannot be, DiskFull when there is no room.
        """
        request = replace(
            request, encoding=check_encoding(request.encoding), delimiter=check_delimiter(request.delimiter)
        )
        records = self._store.account(request.account)
        if request.path is not None:
            records.require_destination(request.path)
            if self._confined:
                require_allowed(self._store.settings, records.name, request.path)
        selection, snapshot_at = records.select(request)
        now = self._store.clock.now()
        export_id = new_id("e", now)
        folder = records.folder("exports") / export_id
        path: Location = folder / request.file_name
        confined = self._confined and request.path is not None
        if request.path is not None:
            path = destination(request.path, request.file_name)
            if confined:
                self._require_allowed(records, path)
            require_writable(path, export_id)
        with self._reading:
            source = self._reading.enter_context(records.export_source(selection))
            with opening(folder):
                rows = source.count()
                row_bytes = source.bytes_per_row()
                parts = source.divide(rows, request.part_rows or _part_rows(request.format, row_bytes))
            plan = ExportPlan(
                export_id=export_id,
                request=request,
                actor=self._actor,
                at=now,
                selection=selection,
                snapshot_at=snapshot_at,
                parts=tuple(PlannedPart(part, number) for part, number in parts),
                folder=folder,
                work=working_folder(folder, self._files),
                path=path,
                confined=confined,
            )
            try:
                with told_of(folder):
                    make_folder(plan.work)
                    _require_room(plan, self._files.disk(path.parent), row_bytes)
                    plan.save(self._files)
            except BaseException:
                plan.clear()
                raise
            yield plan, source

    def plan(self, request: ExportRequest) -> ExportPlan:
        """The plan of the export, on disk. Raises what `planned` raises."""
        with self.planned(request) as (plan, _):
            plan.leave()
            return plan

    def load(self, account: str, export_id: str) -> ExportPlan:
        """The plan of an export of the account, by whomever it was made. Raises NotFound when there is none."""
        records = self._store.account(account)
        return ExportPlan.load(records.name, records.folder("exports"), export_id, self._files)

    def run(self, plan: ExportPlan, source: ExportSource, progress: Progress | None = None) -> ExportManifest:
        """The export is published, by this process alone; nothing is left of it when anything is raised.

        Parts of text are put together while the next ones are made, and taken away.
        """
        partial = _partial(plan)
        try:
            with told_of(plan.path.parent):
                with closing(_made(plan, source, progress)) as parts:
                    if plan.format.is_text:
                        sha256 = _join(plan, parts, partial)
                    else:
                        deque(parts, maxlen=0)
                        sha256 = assemble(plan, partial)
                self._reading.close()  # for the ledger to be written by the DuckDB that is open
                return self._publish(plan, partial, sha256)
        finally:
            partial.unlink(missing_ok=True)
            plan.clear()

    def make_part(self, plan: ExportPlan, number: int) -> Part:
        """The part is where every process finds it; one that was made before is left alone."""
        try:
            with told_of(plan.parts_folder):
                made = part_made(plan, number, self._files)
                if made is None:
                    made = self._make_part(plan, number)
                    share_part(plan, number, self._files)
                return made
        finally:
            plan.leave()

    def finish(self, plan: ExportPlan, made: Callable[[int], None] | None = None) -> ExportManifest:
        """The export is published and in the ledger; parts that are missing or damaged are made first.

        `made` is told the number of each of those. An export that is in the ledger already is left as it is.
        """
        published = self.published(plan.request.account, plan.export_id)
        if published is None:
            if plan.confined:  # for it may be hours since it was planned
                self._require_allowed(self._records(plan), local(plan.path))
            partial = _partial(plan)
            try:
                self._complete(plan, made)
                with told_of(plan.path.parent):
                    published = self._publish(plan, partial, assemble(plan, partial))
            finally:
                partial.unlink(missing_ok=True)
                plan.leave()
        plan.clear()
        return published

    def _complete(self, plan: ExportPlan, made: Callable[[int], None] | None) -> None:
        """All parts are on this machine, as made. Raises Unaccounted when they have other rows than were planned."""
        rows = 0
        for number in range(len(plan.parts)):
            part = part_made(plan, number, self._files)
            if part is None:
                with told_of(plan.work):
                    part = self._make_part(plan, number)
                if made is not None:
                    made(number)
            rows += part.rows
        if rows != plan.rows:
            raise Unaccounted(f"{rows:,} records lie in the parts of {plan.export_id}; {plan.rows:,} were planned.")

    def _make_part(self, plan: ExportPlan, number: int) -> Part:
        with self._records(plan).export_source(plan.selection) as source:
            return make_part(plan, number, source)

    def published(self, account: str, export_id: str) -> ExportManifest | None:
        """The export of the account, when it is published and in the ledger."""
        return self._store.account(account).export(export_id)

    def _publish(self, plan: ExportPlan, partial: Path, sha256: str) -> ExportManifest:
        """The file and its manifest have their names, and the ledger tells of the export."""
        manifest = self._manifest(plan, sha256, partial.stat().st_size)
        note = manifest_path(partial)
        try:
            note.write_text(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            if plan.confined:
                self._require_allowed(self._records(plan), local(plan.path))
            self._files.put(partial, plan.path)
            self._files.put(note, manifest.manifest_path)
        finally:
            note.unlink(missing_ok=True)
        self._records(plan).record_export(manifest)
        return manifest

    def _require_allowed(self, records: AccountRecords, path: Path) -> None:
        require_allowed(self._store.settings, records.name, path)
        require_replaceable(records, path)

    def _records(self, plan: ExportPlan) -> AccountRecords:
        return self._store.account(plan.request.account)

    def _manifest(self, plan: ExportPlan, sha256: str, size: int) -> ExportManifest:
        selection = plan.selection
        return ExportManifest(
            export_id=plan.export_id,
            account=plan.request.account,
            record_type=selection.record_type.name,
            actor=plan.actor,
            at=plan.at,
            format=plan.format.value,
            columns=selection.written,
            snapshot=selection.snapshot,
            snapshot_at=plan.snapshot_at,
            rows=plan.rows,
            bytes=size,
            sha256=sha256,
            path=plan.path,
            run_id=self._run_id,
            request=plan.request,
            since=selection.since,
            full=selection.full,
            seconds=(self._store.clock.now() - plan.at).total_seconds(),
            notes=_notes(plan),
            versions={"records": version("records-exchange"), "duckdb": duckdb.__version__},
        )


def _made(plan: ExportPlan, source: ExportSource, progress: Progress | None) -> Generator[Path]:
    """The parts, in order, each as soon as it is there, while the next ones are made: some at once.

    When it is closed, or anything is raised, nobody makes parts any more.
    """
    numbers = range(len(plan.parts))
    if len(numbers) == 1 or plan.selection.since is not None:  # two comparisons at once can be more than memory holds
        for number in numbers:
            yield write_part(plan, number, source)
            _tell(progress, plan, number)
        return
    with source.split(_AT_ONCE) as sources, ThreadPoolExecutor(_AT_ONCE) as threads:
        idle: SimpleQueue[ExportSource] = SimpleQueue()
        for each in sources:
            idle.put(each)

        def make(number: int) -> Path:
            mine = idle.get()
            try:
                return write_part(plan, number, mine)
            finally:
                idle.put(mine)

        making = deque(threads.submit(make, number) for number in numbers[: _AT_ONCE + 1])
        try:
            for number in numbers:
                part = making[0].result()
                making.popleft()
                making.extend(threads.submit(make, later) for later in numbers[number + _AT_ONCE + 1 :][:1])
                yield part
                _tell(progress, plan, number)
        except BaseException:
            for part_making in making:
                part_making.cancel()
            while wait(making, _AGAIN_SECONDS).not_done:  # between two statements there is nothing to interrupt
                for each in sources:
                    each.interrupt()
            raise


def _join(plan: ExportPlan, parts: Iterator[Path], path: Path) -> str:
    """The file of text at `path` is put together from the parts, which are taken away; returns its SHA-256."""
    with TextFile(plan, path) as file:
        for part in parts:
            file.append(part)
            part.unlink()
        return file.complete()


def _tell(progress: Progress | None, plan: ExportPlan, number: int) -> None:
    if progress is not None:
        progress(plan.rows_before(number + 1), plan.rows)


def _partial(plan: ExportPlan) -> Path:
    """Where the file is put together: beside its place, or on this machine when that is no place of it."""
    return partial_path(plan.path if is_local(plan.path) else plan.work / plan.path.name, plan.export_id)


def _part_rows(format_: ExportFormat, row_bytes: float) -> int:
    """How many rows a part has; the fewer, the longer they are."""
    return max(1, min(format_.part_rows, int(_PART_BYTES / max(row_bytes, 1))))


def _require_room(plan: ExportPlan, place: Path, row_bytes: float) -> None:
    """Both the parts and the file have room, which are on one disk or on two."""
    row_bytes += 3 * len(plan.selection.written)
    if plan.format in (ExportFormat.JSON, ExportFormat.NDJSON):
        row_bytes += sum(len(name) + 3 for name in plan.selection.written)
    factor, part_factor = _SIZES[plan.format]
    parts, file = (plan.rows * row_bytes * each for each in (part_factor, factor))
    what = f"Exporting {plan.rows:,} {plan.selection.record_type.name}"
    if plan.work.stat().st_dev == place.stat().st_dev:
        require_room(place, parts + file, what)
    else:
        require_room(plan.work, parts, what)
        require_room(place, file, what)


def _notes(plan: ExportPlan) -> tuple[str, ...]:
    """What a person must know of the file."""
    notes = []
    if plan.selection.full:
        notes.append(
            f"The records as of {plan.request.changed_since} are not kept any more, so nothing could be compared: "
            "these are all records, each with `_change` full."
        )
    if plan.request.escaped:
        notes.append("Texts that a spreadsheet would take for formulas have a ' before them.")
    return tuple(notes)
