"""Imports as Dagster jobs, and the records that they change as assets."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.choices import DateOrderName, ModeName, OnDuplicateName, OnInvalidName, RecordTypeName
from pipelines.launchpad import flat
from pipelines.partitions import ACCOUNTS
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.running_ui import RunningUi
from schemas import record_type_names
from schemas.batches import Batch, BatchStatus, DateOrder, ImportReport, ImportRequest, Mode, OnDuplicate, OnInvalid
from schemas.errors import InvalidRequest
from schemas.record_type import RecordType

_FIRST = record_type_names()[0]
ACTOR = "Who does it, as the history will show. Empty: RECORDS_ACTOR, else the operating system's user."
ACCOUNT = "Whose records, for example ua. Required."
OWNER = "team:records"
_LOG_SECONDS = 5.0
_CHANGES = dg.TableSchema(
    [dg.TableColumn("record", "integer"), dg.TableColumn("field"), dg.TableColumn("old"), dg.TableColumn("new")]
)
_ON_INVALID = "When records are rejected: abort writes nothing, skip leaves those out."


class PreviewConfig(dg.Config):
    """One file to read and compare."""

    account: str = Field(default="", description=ACCOUNT)
    record_type: RecordTypeName = Field(default=_FIRST, description="What the file holds.")
    path: str = Field(default="", description="The file, for example /data/contacts.csv. Required.")
    mode: ModeName = Field(default="upsert", description="Create records, change existing ones, or both.")
    on_duplicate: OnDuplicateName = Field(
        default="reject", description="Of records with one key and different values: reject all, or take one."
    )
    column_map: dict[str, str] = Field(
        default={}, description='Header to field, for example {"Mail": "email"}; an empty field leaves the column out.'
    )
    encoding: str = Field(default="", description="How the file is encoded, as utf-8 or cp1252. Empty: detected.")
    delimiter: str = Field(default="", description="What stands between fields, as ; or tab. Empty: detected.")
    sheet: str = Field(default="", description="Which sheet of a workbook. Empty: the first.")
    date_order: DateOrderName = Field(
        default="",
        description="How dates are written that are not 2024-05-31: dmy 31/05/2024, mdy 05/31/2024, ymd 2024/05/31. "
        "Empty: there are none; they are rejected.",
    )
    unescape: bool = Field(
        default=False, description="Take away the ' before texts like =1+1, as our exports put it there."
    )
    again: bool = Field(default=False, description="Read a file whose content has been imported already.")
    actor: str = Field(default="", description=ACTOR)

    def request(self) -> ImportRequest:
        """The request that this config makes."""
        if not self.path:
            raise InvalidRequest("`path` names no file.", "Give the path of one, for example /data/contacts.csv.")
        return ImportRequest(
            path=Path(self.path),
            account=self.account,
            record_type=self.record_type,
            mode=Mode(self.mode),
            on_duplicate=OnDuplicate(self.on_duplicate),
            column_map=self.column_map,
            encoding=self.encoding or None,
            delimiter=self.delimiter or None,
            sheet=self.sheet or None,
            date_order=DateOrder(self.date_order) if self.date_order else None,
            unescape=self.unescape,
            again=self.again,
        )


class ImportConfig(PreviewConfig):
    """One file to read, compare and write."""

    on_invalid: OnInvalidName = Field(default="abort", description=_ON_INVALID)


class CommitConfig(dg.Config):
    """One previewed batch to write."""

    account: str = Field(default="", description=ACCOUNT)
    batch_id: str = Field(default="", description="The batch, as its preview named it. Required.")
    on_invalid: OnInvalidName = Field(default="abort", description=_ON_INVALID)
    actor: str = Field(default="", description=ACTOR)


@dg.op(retry_policy=RETRIES)
def preview(context: dg.OpExecutionContext, config: PreviewConfig, records: RecordsResource) -> str:
    """The whole file is read, checked, compared with the records and staged; the records are as they were."""
    with records.open() as store:
        importer = _importer(context, store, config)
        return _reported(context, store, importer.preview(config.request(), _Logged(context.log)))


@dg.op(retry_policy=RETRIES)
def commit(context: dg.OpExecutionContext, config: CommitConfig, records: RecordsResource) -> str:
    """What was previewed is in the store: exactly that, or nothing."""
    with records.open() as store:
        importer = _importer(context, store, config)
        return _reported(context, store, importer.commit(config.account, config.batch_id, OnInvalid(config.on_invalid)))


@dg.op(retry_policy=RETRIES)
def import_file(context: dg.OpExecutionContext, config: ImportConfig, records: RecordsResource) -> str:
    """The file is previewed and committed; where records changed in between, previewed again.

    A run that starts another one again, which was killed, tells of the batch that the other one had committed.
    """
    with records.open() as store:
        importer = _importer(context, store, config)
        done = next((batch for batch in _of_run(store, config.account, context.run.parent_run_id)), None)
        if done is not None:
            return _reported(context, store, store.account(config.account).report(done.batch_id))
        on_invalid = OnInvalid(config.on_invalid)
        return _reported(context, store, importer.import_file(config.request(), on_invalid, _Logged(context.log)))


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
    """The stored records of a type. Jobs write them, so that Dagster only observes: an external asset."""
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
    """The fields of a type, for the catalogue."""
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
    """Progress as lines of a run's log, some seconds apart."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._told = time.monotonic()

    def __call__(self, records: int, expected: int | None) -> None:
        """So many records are read, of about so many."""
        if time.monotonic() - self._told >= _LOG_SECONDS:
            self._told = time.monotonic()
            of = "" if expected in (None, records) else f" of about {expected:,}"
            self._log.info(f"{records:,}{of} records read.")


def _importer(context: dg.OpExecutionContext, store: RecordStore, config: PreviewConfig | CommitConfig) -> Importer:
    actor = config.actor or store.settings.actor
    record_type = config.record_type if isinstance(config, PreviewConfig) else ""
    tag_run(context, account=config.account, type=record_type, actor=actor)
    return Importer(store, actor, context.run_id)


def _of_run(store: RecordStore, account: str, run_id: str | None) -> list[Batch]:
    """The batches of an account that a run has committed."""
    return [
        batch for batch in store.batches(account, status=BatchStatus.COMMITTED) if run_id and batch.run_id == run_id
    ]


def _reported(context: dg.OpExecutionContext, store: RecordStore, report: ImportReport) -> str:
    """The counts are metadata of the step; the batch id is its output."""
    context.add_output_metadata(batch_metadata(store, report))
    tag_run(context, batch=report.batch.batch_id, type=report.batch.record_type)
    return report.batch.batch_id


def batch_metadata(store: RecordStore, report: ImportReport) -> dict[str, Any]:
    """What Dagster shows of a batch. No values of personal fields."""
    batch, counts = report.batch, report.batch.counts
    shown: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "account": batch.account,
        "status": batch.status.value,
        "actor": batch.actor,
        "file": batch.file_name,
        **vars(counts),
    }
    if batch.warnings:
        shown["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in batch.warnings))
    if batch.failure is not None:
        shown["failure"] = batch.failure
    if batch.undone is not None:
        shown |= {"undone": batch.undone.batch_id, **vars(batch.undone.counts)}
    shown |= {name: dg.MetadataValue.timestamp(until) for name, until in report.deadlines.items() if until is not None}
    if report.snapshot is not None:
        shown["snapshot"] = report.snapshot
    running = RunningUi.of(store.settings)
    links = running.links(report) if running else {}
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
