"""Imports as Dagster jobs, and the records that they change as assets."""

import enum
import time
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from pipelines.partitions import ACCOUNTS
from pipelines.store_resource import RecordsResource
from resources.importer import Importer
from resources.record_store import RecordStore
from schemas import RECORD_TYPES
from schemas.batches import DateOrder, ImportReport, ImportRequest, Mode, OnDuplicate, OnInvalid
from schemas.record_type import RecordType

RecordTypeName = enum.Enum("RecordTypeName", {name: name for name in RECORD_TYPES})  # type: ignore[misc]
"""The record types as an enum, for the launchpad to offer."""

_FIRST = next(iter(RecordTypeName))
ACTOR = "Who does it, as the history will show. Empty: RECORDS_ACTOR, else the operating system's user."
ACCOUNT = "Whose records, for example ua. Required."
_LOG_SECONDS = 5.0
_ON_INVALID = "When records are rejected: abort writes nothing, skip leaves those out."


class PreviewConfig(dg.Config):
    """One file to read and compare."""

    account: str = Field(default="", description=ACCOUNT)
    record_type: RecordTypeName = Field(default=_FIRST, description="What the file holds.")
    path: str = Field(default="", description="The file, for example /data/contacts.csv. Required.")
    mode: Literal["insert", "update", "upsert"] = Field(
        default="upsert", description="Create records, change existing ones, or both."
    )
    on_duplicate: Literal["reject", "first", "last"] = Field(
        default="reject", description="Of records with one key and different values: reject all, or take one."
    )
    column_map: dict[str, str] = Field(
        default={}, description='Header to field, for example {"Mail": "email"}; an empty field leaves the column out.'
    )
    encoding: str = Field(default="", description="How the file is encoded, as utf-8 or cp1252. Empty: detected.")
    delimiter: str = Field(default="", description="What stands between fields, as ; or tab. Empty: detected.")
    sheet: str = Field(default="", description="Which sheet of a workbook. Empty: the first.")
    date_order: Literal["", "dmy", "mdy", "ymd"] = Field(
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
        return ImportRequest(
            path=Path(self.path),
            account=self.account,
            record_type=self.record_type.value,
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

    on_invalid: Literal["abort", "skip"] = Field(default="abort", description=_ON_INVALID)


class CommitConfig(dg.Config):
    """One previewed batch to write."""

    account: str = Field(default="", description=ACCOUNT)
    batch_id: str = Field(default="", description="The batch, as its preview named it. Required.")
    on_invalid: Literal["abort", "skip"] = Field(default="abort", description=_ON_INVALID)
    actor: str = Field(default="", description=ACTOR)


@dg.op
def preview(context: dg.OpExecutionContext, config: PreviewConfig, records: RecordsResource) -> str:
    """The whole file is read, checked, compared with the records and staged; the records are as they were."""
    with records.open() as store:
        return _reported(
            context, _importer(context, store, config.actor).preview(config.request(), _Logged(context.log))
        )


@dg.op
def commit(context: dg.OpExecutionContext, config: CommitConfig, records: RecordsResource) -> str:
    """What was previewed is in the store: exactly that, or nothing."""
    with records.open() as store:
        importer = _importer(context, store, config.actor)
        return _reported(context, importer.commit(config.account, config.batch_id, OnInvalid(config.on_invalid)))


@dg.op
def import_file(context: dg.OpExecutionContext, config: ImportConfig, records: RecordsResource) -> str:
    """The file is previewed and committed; where records changed in between, previewed again."""
    with records.open() as store:
        importer = _importer(context, store, config.actor)
        on_invalid = OnInvalid(config.on_invalid)
        return _reported(context, importer.import_file(config.request(), on_invalid, _Logged(context.log)))


@dg.job
def preview_import() -> None:
    """Read and check a whole file and compare it with the records; write nothing to them."""
    preview()


@dg.job
def commit_batch() -> None:
    """Write what was previewed: exactly that, or nothing."""
    commit()


@dg.job
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
        partitions_def=ACCOUNTS,
        metadata={
            "key": ", ".join(record_type.key),
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn(
                        field.name,
                        field.type,
                        field.description,
                        dg.TableColumnConstraints(nullable=not field.required, other=list(field.rules)),
                    )
                    for field in record_type.fields
                ]
            ),
        },
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


def _importer(context: dg.OpExecutionContext, store: RecordStore, actor: str) -> Importer:
    return Importer(store, actor or store.settings.actor, context.run_id)


def _reported(context: dg.OpExecutionContext, report: ImportReport) -> str:
    """The counts are metadata of the step; the batch id is its output."""
    context.add_output_metadata(batch_metadata(report))
    return report.batch.batch_id


def batch_metadata(report: ImportReport) -> dict[str, Any]:
    """What Dagster shows of a batch. No values of records."""
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
    for name, path in (("report", report.report_file), ("rejects_file", report.rejects_file)):
        if path is not None:
            shown[name] = dg.MetadataValue.path(path)
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
