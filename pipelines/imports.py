"""Imports as Dagster jobs, and the records that they change as assets."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.choices import (
    DateOrderName,
    DecimalName,
    FooterName,
    ModeName,
    OnDuplicateName,
    OnInvalidName,
    RecordTypeName,
    ShortRowsName,
)
from pipelines.launchpad import flat
from pipelines.partitions import ACCOUNTS
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.running_ui import RunningUi, page_of
from schemas import record_type_names
from schemas.batches import Batch, BatchStatus, ImportReport, ImportRequest, Mode, OnDuplicate, OnInvalid
from schemas.errors import AlreadyImported, InvalidRequest
from schemas.footers import Footer
from schemas.reading import DateOrder, ShortRows
from schemas.record_type import RecordType

_FIRST = record_type_names()[0]
ACTOR = "The actor that the history shows. Empty: RECORDS_ACTOR, else the operating system's user."
ACCOUNT = "The account that owns the records, for example ua. Required."
OWNER = "team:records"
_LOG_SECONDS = 5.0
_CHANGES = dg.TableSchema(
    [dg.TableColumn("record", "integer"), dg.TableColumn("field"), dg.TableColumn("old"), dg.TableColumn("new")]
)
_ON_INVALID = "If records are rejected: abort writes nothing, skip leaves them out."


class PreviewConfig(dg.Config):
    """One file to read and compare."""

    account: str = Field(default="", description=ACCOUNT)
    record_type: RecordTypeName = Field(default=_FIRST, description="The record type of the file.")
    path: str = Field(default="", description="The file, for example /data/contacts.csv. Required.")
    mode: ModeName = Field(
        default="upsert", description="insert creates records, update changes existing ones, upsert does both."
    )
    on_duplicate: OnDuplicateName = Field(
        default="reject",
        description="For records with one key and different values: reject all, or take the first or last.",
    )
    column_map: dict[str, str] = Field(
        default={}, description='Header to field, for example {"Mail": "email"}. An empty field leaves the column out.'
    )
    value_map: dict[str, dict[str, str]] = Field(
        default={}, description='Texts and the values they stand for, by field: {"status": {"Kunde": "customer"}}.'
    )
    encoding: str = Field(
        default="", description="The encoding, for example utf-8 or cp1252. Empty: as before, or detected."
    )
    delimiter: str = Field(
        default="", description="The character between fields, as ; or tab. Empty: as before, or detected."
    )
    sheet: str = Field(default="", description="The sheet of a workbook. Empty: as before, or the first.")
    at: str = Field(
        default="",
        description="The list that has the records of a JSON file, for example results or data.items. "
        "Empty: as before, or as found.",
    )
    header_row: int = Field(
        default=0, description="The line or row that names the columns, from 1. 0: as before, or as detected."
    )
    short_rows: ShortRowsName = Field(
        default="",
        description="For records of delimited text with fewer fields than the header: reject, or fill with empty ones. "
        "Empty: as before, or reject.",
    )
    date_order: DateOrderName = Field(
        default="",
        description="The order in dates unlike 2024-05-31: dmy 31/05/2024, mdy 05/31/2024, ymd 2024/05/31. "
        "Empty: as before, or such dates are rejected.",
    )
    decimal: DecimalName = Field(
        default="",
        description="The decimal sign of numbers in delimited text, which may have thousands separators then. "
        "Empty: as before, or a point without thousands separators.",
    )
    time_zone: str = Field(
        default="",
        description="The time zone of timestamps without an offset, for example Europe/Berlin. Empty: as before, else "
        "UTC for Excel and Parquet. In other formats such timestamps are rejected.",
    )
    blank: str = Field(
        default="",
        description="What an empty cell does to a stored value: clear removes it, keep leaves it. fill only "
        "adds values where the store has none. By field: keep,notes=clear. Empty: as before, or clear.",
    )
    footer: FooterName = Field(
        default="",
        description="Last lines that look like no records, such as a total: skip leaves them out, keep reads them. "
        "Empty: as before, or they are rejected.",
    )
    unescape: bool = Field(default=False, description="Remove the ' that our exports put before texts like =1+1.")
    no_unescape: bool = Field(default=False, description="Keep that ', also in a file that may be an edited export.")
    as_shown: bool = Field(
        default=False, description="Read a number of a workbook in a field of text as the workbook shows it: 00042."
    )
    of: str = Field(default="", description="The id of the export that the file is, edited. Empty: as the file says.")
    again: bool = Field(default=False, description="Import a file even if its content has been imported already.")
    actor: str = Field(default="", description=ACTOR)

    def request(self) -> ImportRequest:
        """Returns the request for this config. Raises InvalidRequest if it names no file."""
        if not self.path:
            raise InvalidRequest("`path` is empty.", "Give the path of a file, for example /data/contacts.csv.")
        return ImportRequest(
            path=Path(self.path),
            account=self.account,
            record_type=self.record_type,
            mode=Mode(self.mode),
            on_duplicate=OnDuplicate(self.on_duplicate),
            column_map=self.column_map,
            value_map=self.value_map,
            encoding=self.encoding or None,
            delimiter=self.delimiter or None,
            sheet=self.sheet or None,
            header_row=self.header_row or None,
            short_rows=ShortRows(self.short_rows) if self.short_rows else None,
            at=self.at or None,
            date_order=DateOrder(self.date_order) if self.date_order else None,
            time_zone=self.time_zone or None,
            decimal=self.decimal or None,
            blank=self.blank or None,
            footer=Footer(self.footer) if self.footer else None,
            unescape=False if self.no_unescape else self.unescape or None,
            as_shown=self.as_shown or None,
            of=self.of or None,
            again=self.again,
        )


class ImportConfig(PreviewConfig):
    """One file to read, compare and write."""

    on_invalid: OnInvalidName = Field(default="abort", description=_ON_INVALID)


class CommitConfig(dg.Config):
    """One previewed batch to write."""

    account: str = Field(default="", description=ACCOUNT)
    batch_id: str = Field(default="", description="The id of the previewed batch. Required.")
    on_invalid: OnInvalidName = Field(default="abort", description=_ON_INVALID)
    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES)
def preview(context: dg.OpExecutionContext, config: PreviewConfig, records: RecordsResource) -> str:
    """Read, check and stage the whole file, and compare it with the records. The records do not change."""
    with records.open() as store:
        importer = _importer(context, store, config)
        return _reported(context, store, importer.preview(config.request(), _Logged(context.log)))


@dg.op(retry_policy=RETRIES)
def commit(context: dg.OpExecutionContext, config: CommitConfig, records: RecordsResource) -> str:
    """Write what was previewed: exactly that, or nothing.

    A step that repeats a killed one reports what the killed one has committed.
    """
    with records.open() as store:
        importer = _importer(context, store, config)
        if any(batch.batch_id == config.batch_id for batch in _committed_before(context, store, config.account)):
            return _reported(context, store, store.account(config.account).report(config.batch_id))
        return _reported(context, store, importer.commit(config.account, config.batch_id, OnInvalid(config.on_invalid)))


@dg.op(retry_policy=RETRIES)
def import_file(context: dg.OpExecutionContext, config: ImportConfig, records: RecordsResource) -> str:
    """Preview the file and commit it. If records change in between, preview it again.

    A step that repeats a killed one reports the batch that the killed one has committed, also meanwhile: it may have
    been executed on a machine that only seemed to be gone.
    """
    with records.open() as store:
        importer = _importer(context, store, config)
        done = _committed_before(context, store, config.account)
        if not done:
            on_invalid = OnInvalid(config.on_invalid)
            try:
                report = importer.import_file(config.request(), on_invalid, _Logged(context.log))
                return _reported(context, store, report)
            except AlreadyImported:
                done = _committed_before(context, store, config.account)
                if not done:
                    raise
        return _reported(context, store, store.account(config.account).report(done[0].batch_id))


@dg.job(config=flat(preview.name, PreviewConfig))
def preview_import() -> None:
    """Read and check a whole file and compare it with the records; write nothing to them."""
    preview()


@dg.job(config=flat(commit.name, CommitConfig))
def commit_batch() -> None:
    """Write what was previewed: exactly that, or nothing."""
    commit()


@dg.job(config=flat(import_file.name, ImportConfig))
def import_records() -> None:
    """Preview a file, then commit it."""
    import_file()


def records_asset(record_type: RecordType) -> dg.AssetSpec:
    """Returns the asset of a type's stored records. It is external: Dagster observes what jobs write."""
    return dg.AssetSpec(
        ["records", record_type.name],
        description=record_type.description,
        group_name="records",
        kinds={"duckdb", "ducklake"},
        owners=[OWNER],
        partitions_def=ACCOUNTS,
        metadata={
            "key": ", ".join(record_type.key),
            "dagster/column_schema": column_schema(record_type),
        },
    )


def column_schema(record_type: RecordType) -> dg.TableSchema:
    """Returns the fields of a type, for Dagster's catalogue."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                field.type,
                field.description,
                dg.TableColumnConstraints(nullable=not field.required, other=list(field.rules)),
            )
            for field in record_type.fields
        ]
    )


class _Logged:
    """Writes progress into the run's log, every few seconds."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._logged = time.monotonic()

    def __call__(self, records: int, expected: int | None) -> None:
        """Log the number of records read, and the estimate of all."""
        if time.monotonic() - self._logged >= _LOG_SECONDS:
            self._logged = time.monotonic()
            of = "" if expected in (None, records) else f" of about {expected:,}"
            self._log.info(f"{records:,}{of} {'record' if records == 1 else 'records'} read.")


def _importer(context: dg.OpExecutionContext, store: RecordStore, config: PreviewConfig | CommitConfig) -> Importer:
    actor = config.actor or store.settings.actor
    record_type = config.record_type if isinstance(config, PreviewConfig) else ""
    tag_run(context, account=config.account, type=record_type, actor=actor)
    return Importer(store, actor, context.run_id)


def _committed_before(context: dg.OpExecutionContext, store: RecordStore, account: str) -> list[Batch]:
    """Returns the batches of the account that this run has committed, or the run that it repeats."""
    runs = {context.run_id, context.run.parent_run_id} - {None}  # batches of the command have no run
    return [batch for batch in store.batches(account, status=BatchStatus.COMMITTED) if batch.run_id in runs]


def _reported(context: dg.OpExecutionContext, store: RecordStore, report: ImportReport) -> str:
    """Show the counts as metadata of the step, and return the batch id as its output."""
    context.add_output_metadata(batch_metadata(store, report))
    tag_run(context, batch=report.batch.batch_id, type=report.batch.record_type)
    return report.batch.batch_id


def summary_of(store: RecordStore, batch: Batch) -> str:
    """Returns what happened to a batch in one line, for Dagster's lists of events: file name, status and time."""
    what = "rollback of " if batch.undone is not None else ""
    status = batch.status.value.replace("_", " ")
    return f"{what}{_file_of(store, batch)}: {status} {batch.at:%Y-%m-%d %H:%M:%S} UTC"


def _file_of(store: RecordStore, batch: Batch) -> str:
    """Returns the name of a batch's file. A rollback has that of the import that it rolled back, however often."""
    while batch.undone is not None:
        batch = store.account(batch.account).batch(batch.undone.batch_id)
    return batch.file_name


def batch_metadata(store: RecordStore, report: ImportReport) -> dict[str, Any]:
    """Returns what Dagster shows of a batch, without values of personal fields."""
    batch, counts = report.batch, report.batch.counts
    shown: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "account": batch.account,
        "status": batch.status.value,
        "actor": batch.actor,
        "file": _file_of(store, batch),
        **vars(counts if batch.undone is None else batch.undone.counts),
    }
    if batch.committed_at is not None:
        shown["committed_at"] = dg.MetadataValue.timestamp(batch.committed_at)
    if batch.questions:
        shown["uncertain"] = " ".join(question.sentence for question in batch.questions)
    if batch.warnings:
        shown["warnings"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "code": warning.code.value,
                        "field": warning.field or "",
                        "records": warning.records,
                        "warning": str(warning),
                    }
                )
                for warning in batch.warnings
            ]
        )
    if batch.cleaned:
        shown["cleaned"] = "; ".join(map(str, batch.cleaned))
    if batch.failure is not None:
        shown["failure"] = batch.failure
    if batch.undone is not None:
        shown["undone"] = batch.undone.batch_id
    shown |= {name: dg.MetadataValue.timestamp(until) for name, until in report.deadlines.items() if until is not None}
    if report.snapshot is not None:
        shown["snapshot"] = report.snapshot
    running = RunningUi.of(store.settings)
    links = running.links(report) if running else {}
    page = page_of(store.settings, batch.account, "history", batch.batch_id)
    if page is not None:
        shown["page"] = dg.MetadataValue.url(page)
    for name, path in report.files.items():
        shown[name] = dg.MetadataValue.path(str(path))
        if name in links:
            shown[f"{name}_link"] = dg.MetadataValue.url(links[name])
    if batch.changes:
        shown["changes"] = dg.MetadataValue.table(
            [
                dg.TableRecord({"record": it.record, "field": it.field, "old": it.old, "new": it.new})
                for it in batch.changes
            ],
            schema=_CHANGES,
        )
    if batch.problems:
        shown["problems"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "field": problem.field or "",
                        "rule": problem.rule,
                        "expected": problem.expected,
                        "records": problem.records,
                    }
                )
                for problem in batch.problems
            ]
        )
    return shown
