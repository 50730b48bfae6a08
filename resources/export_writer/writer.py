"""`ExportWriter`: makes exports from a store, all at once or step by step."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import duckdb

from resources.clock import new_id
from resources.export_writer.allowed import require_allowed, require_replaceable
from resources.export_writer.concurrent_parts import Progress, write_parts
from resources.export_writer.formats import checked, format_named
from resources.export_writer.formats.export_format import ExportFormat, Placed
from resources.export_writer.parts import Part, find_part, make_part, note_placed, upload_part
from resources.export_writer.plan import ExportPlan, PlannedPart, working_folder
from resources.export_writer.publish import (
    destination,
    manifest_path,
    partial_files,
    partial_path,
    replacing,
    require_room,
    require_writable,
    writing_errors,
)
from resources.file_storage import is_local, local, make_folder, opening, share
from resources.record_store import AccountRecords, RecordStore, losses
from resources.record_store.export_source import ExportSource
from schemas.errors import Unaccounted
from schemas.exports import ExportManifest, ExportRequest
from schemas.location import Location

_PART_BYTES = 64_000_000
"""The most bytes of text in a part. DuckDB needs about three times as much to sort it."""


@dataclass(frozen=True)
class WrittenFile:
    """A complete file that is not published yet."""

    path: Path
    sha256: str


class ExportWriter:
    """Makes exports from a store, as one actor and, inside Dagster, in one run.

    `export` does everything. The command calls its steps: `planned`, `write` and `publish`. In Dagster the steps are
    `plan`, `make_part` and `finish`. Any process can do each of these, and repeat it if another process was ended.
    confined: paths come from Dagster, so they must lie in allowed folders.
    """

    def __init__(self, store: RecordStore, actor: str, run_id: str | None = None, *, confined: bool = False) -> None:
        self._store = store
        self._actor = actor
        self._run_id = run_id
        self._confined = confined
        self._files = store.files

    def export(self, request: ExportRequest, progress: Progress | None = None) -> ExportManifest:
        """Write the account's records of one snapshot to a file, and record the export in the ledger.

        The final name never has a partial file: an older file of that name is replaced in one step. If anything is
        raised, nothing is left behind. Raises what `planned`, `write` and `publish` raise.
        """
        with self.planned(request) as (plan, source):
            written = self.write(plan, source, progress)
        return self.publish(plan, written)

    @contextmanager
    def planned(self, request: ExportRequest) -> Iterator[tuple[ExportPlan, ExportSource]]:
        """Yield the plan of the export, which is saved, and the source of its records.

        The destination can be written and has room, as estimated. Raises NotFound for an unknown account, type or
        batch. Raises InvalidRequest for a wrong format, option, column, filter or path. Raises DiskFull without room.
        """
        request = checked(request)
        records = self._store.account(request.account)
        if request.path is not None:
            records.require_destination(request.path)
            if self._confined:
                require_allowed(self._store.settings, records.name, request.path)
        selection, snapshot_at = records.select(request)
        now = self._store.clock.now()
        export_id = new_id("e", now)
        folder = records.folder("exports") / export_id
        file_format = format_named(request.format)
        path: Location = folder / file_format.file_name(request)
        confined = self._confined and request.path is not None
        if request.path is not None:
            path = destination(request.path, path.name)
            if confined:
                self._require_allowed(records, path)
            require_writable(path, export_id)
        with records.export_source(selection) as source:
            with opening(folder):
                rows = source.count()
                value_bytes = source.bytes_per_row()
                parts = source.divide(rows, request.part_rows or _part_rows(file_format, value_bytes))
                escaped = source.count_escaped(rows) if request.escaped else {}
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
                escaped=escaped,
                confined=confined,
            )
            try:
                with writing_errors(folder):
                    make_folder(plan.work)
                    _require_room(plan, file_format, self._files.disk(path.parent), value_bytes)
                    plan.save(self._files)
            except BaseException:
                plan.clear()
                raise
            yield plan, source

    def write(self, plan: ExportPlan, source: ExportSource, progress: Progress | None = None) -> WrittenFile:
        """Write the file of an export in this process, under a temporary name. `progress` is called for each part.

        If anything is raised, nothing is left behind.
        """
        partial, file_format = _partial(plan), format_named(plan.request.format)
        try:
            with writing_errors(plan.path.parent), closing(write_parts(plan, source, progress)) as written:
                parts = _deleted_after_use(written) if file_format.joins_early else iter([*written])
                return WrittenFile(partial, file_format.assemble(plan, parts, partial))
        except BaseException:
            partial.unlink(missing_ok=True)
            plan.clear()
            raise

    def publish(self, plan: ExportPlan, written: WrittenFile) -> ExportManifest:
        """Publish a file that this process has written. If anything is raised, nothing is left behind."""
        try:
            with writing_errors(plan.path.parent):
                return self._publish(plan, written)
        finally:
            written.path.unlink(missing_ok=True)
            plan.clear()

    def plan(self, request: ExportRequest) -> ExportPlan:
        """Return the plan of an export, which is saved. Raises what `planned` raises."""
        with self.planned(request) as (plan, _):
            plan.delete_local_parts()
            return plan

    def load(self, account: str, export_id: str) -> ExportPlan:
        """Return the saved plan of an export of the account, by any actor. Raises NotFound if there is none."""
        records = self._store.account(account)
        return ExportPlan.load(records.name, records.folder("exports"), export_id, self._files)

    def make_part(self, plan: ExportPlan, number: int) -> Part:
        """Write a part to where every process finds it. A part that is finished already is left alone."""
        try:
            with writing_errors(plan.parts_folder):
                part = find_part(plan, number, self._files)
                if part is None:
                    part = self._make_part(plan, number)
                    upload_part(plan, number, self._files)
                return part
        finally:
            plan.delete_local_parts()

    def finish(
        self, plan: ExportPlan, made: Callable[[int], None] | None = None, placed: Placed | None = None
    ) -> ExportManifest:
        """Put the parts together, publish the file, and return its manifest.

        Parts that are missing or damaged are made first, and `made` is called with the number of each of those. Then
        `placed` is called with the number of records that are in the file. What they raise ends the work. An
        export that is already in the ledger is left as it is. Several processes may do this at the same time: one of
        them publishes its file, and all return its manifest.
        """
        account = plan.request.account
        manifest = self.published(account, plan.export_id)
        if manifest is None:
            if plan.confined:  # checked again: the plan may be hours old
                self._require_allowed(self._records(plan), local(plan.path))
            partial = _partial(plan)
            try:
                with self._store.operation():  # an operation compares the files of the records once, not for each part
                    self._complete(plan, made)
                with writing_errors(plan.path.parent):
                    parts = map(plan.part_path, range(len(plan.parts)))

                    def noted(rows: int) -> None:
                        note_placed(plan, rows)
                        if placed is not None:
                            placed(rows)

                    noted(0)
                    sha256 = format_named(plan.request.format).assemble(plan, parts, partial, noted)
                    manifest = self._publish(plan, WrittenFile(partial, sha256))
            except Exception:
                manifest = self.published(account, plan.export_id)
                if manifest is None:  # else another process was faster, and has deleted the parts
                    raise
            finally:
                partial.unlink(missing_ok=True)
                plan.delete_local_parts()
        plan.clear()
        self._delete_partial_files(plan)
        return manifest

    def published(self, account: str, export_id: str) -> ExportManifest | None:
        """Return the manifest of an export of the account, or None if the ledger does not have it."""
        return self._store.account(account).export(export_id)

    def _complete(self, plan: ExportPlan, made: Callable[[int], None] | None) -> None:
        """Bring all parts to this machine. Raises Unaccounted if they have more or fewer records than planned."""
        rows = 0
        for number in range(len(plan.parts)):
            part = find_part(plan, number, self._files)
            if part is None:
                with writing_errors(plan.work):
                    part = self._make_part(plan, number)
                if made is not None:
                    made(number)
            rows += part.rows
        if rows != plan.rows:
            raise Unaccounted(
                f"The parts of {plan.export_id} have {rows:,} records where {plan.rows:,} were planned.",
                "Nothing was published. This is a defect of records; please report it.",
            )

    def _make_part(self, plan: ExportPlan, number: int) -> Part:
        with self._records(plan).export_source(plan.selection) as source:
            return make_part(plan, number, source)

    def _publish(self, plan: ExportPlan, written: WrittenFile) -> ExportManifest:
        """Give the file and its manifest their final names, and record the export in the ledger.

        Another export to the same folder waits, and so does another process with this export. So the file, its manifest
        and the last row of the ledger fit together.
        """
        seconds = self._store.settings.lock_seconds
        own = self._store.lock(f"export {plan.export_id}", seconds)  # into its own folder no other export writes
        with own if plan.request.path is None else self._store.folder_lock(local(plan.path).parent):
            published = self.published(plan.request.account, plan.export_id)
            return self._publish_alone(plan, written) if published is None else published

    def _publish_alone(self, plan: ExportPlan, written: WrittenFile) -> ExportManifest:
        manifest = self._manifest(plan, written.sha256, written.path.stat().st_size)
        note = manifest_path(written.path)
        if plan.confined:  # before the note replaces that of an attempt that was killed: it vouches for the file
            self._require_allowed(self._records(plan), local(plan.path))
        try:
            note.write_text(manifest.text, encoding="utf-8")
            if plan.request.path is not None:
                for file in (written.path, note):
                    share(file, self._store.settings.umask)
            with replacing(plan.path, plan.export_id):
                self._files.put(written.path, plan.path)
            self._files.put(note, manifest.manifest_path)
        finally:
            note.unlink(missing_ok=True)
        self._records(plan).record_export(manifest)
        return manifest

    def _delete_partial_files(self, plan: ExportPlan) -> None:
        """Delete what killed attempts have left. An attempt that still goes on finds the export in the ledger."""
        if is_local(plan.path):
            for left in partial_files(plan.path, plan.export_id):
                left.unlink(missing_ok=True)

    def _require_allowed(self, records: AccountRecords, path: Path) -> None:
        require_allowed(self._store.settings, records.name, path)
        require_replaceable(records, path)

    def _records(self, plan: ExportPlan) -> AccountRecords:
        return self._store.account(plan.request.account)

    def _manifest(self, plan: ExportPlan, sha256: str, size: int) -> ExportManifest:
        selection = plan.selection
        with self._store.reading() as connection:
            lost = losses.messages(connection, plan.request.account, selection.record_type.name)
        return ExportManifest(
            export_id=plan.export_id,
            account=plan.request.account,
            record_type=selection.record_type.name,
            actor=plan.actor,
            at=plan.at,
            format=plan.request.format,
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
            notes=(*_notes(plan), *lost),
            versions={"records": version("records-exchange"), "duckdb": duckdb.__version__},
        )


def _deleted_after_use(parts: Iterator[Path]) -> Iterator[Path]:
    """Yield the parts, and delete each one when the next is asked for: most are never written to the disk then."""
    for part in parts:
        yield part
        part.unlink()


def _partial(plan: ExportPlan) -> Path:
    """Return where the file is written: beside its final path, or on this machine if that is in an object store."""
    return partial_path(plan.path if is_local(plan.path) else plan.work / plan.path.name, plan.export_id)


def _part_rows(file_format: ExportFormat, value_bytes: float) -> int:
    """Return the number of records of a part: the longer they are, the fewer."""
    return max(1, min(file_format.part_rows, int(_PART_BYTES / max(value_bytes, 1))))


def _require_room(plan: ExportPlan, file_format: ExportFormat, folder: Path, value_bytes: float) -> None:
    """Raise DiskFull unless there is room for the parts and for the file, which may lie on two disks."""
    text = plan.rows * file_format.text_bytes(plan.selection.written, value_bytes)
    parts, file = text * file_format.part_ratio, text * file_format.file_ratio
    what = f"Exporting {plan.rows:,} {plan.selection.record_type.name}"
    if plan.work.stat().st_dev == folder.stat().st_dev:
        require_room(folder, parts + file, what)
    else:
        require_room(plan.work, parts, what)
        require_room(folder, file, what)


def _notes(plan: ExportPlan) -> tuple[str, ...]:
    """Return what a person must know about the file."""
    notes = []
    if plan.selection.full:
        notes.append(
            f"The records as of {plan.request.changed_since} have expired, so changes since then cannot be found. "
            "The file has all records, and `_change` is full in each."
        )
    columns = ", ".join(f"{name} ({number:,})" for name, number in plan.escaped.items() if number)
    if columns:
        notes.append(f"Texts that a spreadsheet would compute have a ' before them: {columns}.")
    return tuple(notes)
