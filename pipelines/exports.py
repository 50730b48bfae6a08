"""Exports as Dagster assets: one asset per record type, one partition per account, one step per part of a file."""

import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field, create_model

from pipelines.export_checks import evaluations
from pipelines.imports import OWNER, column_schema
from pipelines.partitions import ACCOUNTS
from pipelines.runs import HIDDEN, tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.checksums import Checksums
from resources.export_writer import ExportWriter
from resources.export_writer.formats import FORMATS, supporting
from resources.export_writer.inspection import masked_manifest, preview_of
from resources.export_writer.plan import ExportPlan
from resources.record_store import RecordStore
from resources.running_ui import RunningUi, page_of
from schemas.counts import numbered
from schemas.errors import InvalidRequest
from schemas.exports import SHEET_ROWS, ExportManifest, ExportRequest, Packing
from schemas.record_type import RecordType

_PLAN = f"{HIDDEN}plan"


class ExportConfig(dg.Config):
    """What to export of an account's records. The account is the partition."""

    format: str = Field(default=ExportRequest.format, description="Format of the file.")
    pack: str = Field(
        default="", description=f"Compress the file, if it is {supporting('packing')}. Empty: do not compress."
    )
    columns: list[str] = Field(default=[], description="These columns, in this order. Empty: the preset's, or all.")
    preset: str = Field(default="", description="The columns of a preset of the type. Empty: none.")
    saved_preset: str = Field(
        default="",
        description="The columns of a preset that the account has saved, for example newsletter. Empty: none.",
    )
    where: list[str] = Field(
        default=[],
        description='Only records that meet all conditions, for example ["amount >= 100", "country in DE, FR"].',
    )
    order_by: list[str] = Field(
        default=[], description='Sort by fields, for example ["country", "amount desc"]. Empty: by key.'
    )
    as_of: str = Field(
        default="",
        description="The records as of a time (2024-05-31T09:30:00Z), a batch or an export. Empty: as of now.",
    )
    changed_since: str = Field(
        default="", description="Only changes since a time, a batch or an export. Empty: all records."
    )
    encoding: str = Field(default=ExportRequest.encoding, description="Encoding of CSV. For Excel users: utf-8-sig.")
    delimiter: str = Field(default=ExportRequest.delimiter, description="Delimiter of CSV: , ; | or tab.")
    raw: bool = Field(default=False, description="Write texts in CSV that look like formulas without a ' before them.")
    path: str = Field(
        default="",
        description="File or folder, in RECORDS_EXPORT_ROOTS. Empty: the account's export folder.",
    )
    sheet_rows: int = Field(default=SHEET_ROWS, description="Number of records on a sheet of Excel.")
    part_rows: int = Field(
        default=0,
        description="Approximate number of records of a part. One step makes one part. 0: what suits the format.",
    )
    export_id: str = Field(default="", description="An export that is already planned. Empty: plan a new one.")
    actor: str = Field(default="", description="Who exports. Empty: RECORDS_ACTOR, or the operating system's user.")

    def request(self, account: str, record_type: str) -> ExportRequest:
        """Return the request. Raises InvalidRequest if it contradicts itself."""
        if self.preset and self.saved_preset:
            raise InvalidRequest("Both `preset` and `saved_preset` were given.", "Give only one of them.")
        return ExportRequest(
            account=account,
            record_type=record_type,
            columns=tuple(self.columns) or None,
            preset=self.preset or self.saved_preset or None,
            path=Path(self.path) if self.path else None,
            format=self.format,
            packing=Packing(self.pack) if self.pack else None,
            filters=tuple(self.where),
            order_by=tuple(self.order_by),
            as_of=self.as_of or None,
            changed_since=self.changed_since or None,
            encoding=self.encoding,
            delimiter=self.delimiter,
            raw=self.raw,
            part_rows=self.part_rows or None,
            sheet_rows=self.sheet_rows,
        )


def _config_of(record_type: RecordType) -> type[ExportConfig]:
    """Return the config of a type's exports. The launchpad offers its closed sets of values as enums."""
    choices = {
        "format": tuple(FORMATS),
        "pack": ("", *(packing.value for packing in Packing)),
        "preset": ("", *record_type.presets),
    }
    fields: dict[str, Any] = {
        name: (Literal[values], ExportConfig.model_fields[name]) for name, values in choices.items()
    }
    return create_model(
        f"Export{record_type.name.title()}Config", __base__=ExportConfig, __doc__=ExportConfig.__doc__, **fields
    )


class PlanConfig(ExportConfig):
    """What to plan."""

    record_type: str = Field(description="The record type.")


@dg.op(
    retry_policy=RETRIES,
    ins={"records": dg.In(dg.Nothing)},
    out={"export_id": dg.Out(str), "parts": dg.DynamicOut(int)},
)
def plan_export(
    context: dg.OpExecutionContext, config: PlanConfig, records: RecordsResource
) -> Iterator[dg.Output[str] | dg.DynamicOutput[int]]:
    """Plan the export: choose a snapshot, and divide its records into parts by ranges of the order.

    A step that repeats a killed one continues with the killed one's plan.
    """
    with records.open() as store:
        account = _account(context)
        tag_run(context, account=account, type=config.record_type)
        writer = _writer(context, store, config.actor)
        plan = (
            writer.load(account, planned)
            if (planned := config.export_id or planned_before(context))
            else writer.plan(config.request(account, config.record_type))
        )
        tag_run(context, actor=plan.actor, export=plan.export_id)
        context.instance.add_run_tags(context.run_id, {_PLAN: f"{context.run_id}@{plan.export_id}"})
    yield dg.Output(
        plan.export_id,
        output_name="export_id",
        metadata={"rows": plan.rows, "parts": len(plan.parts), "snapshot": plan.selection.snapshot},
    )
    for number in range(len(plan.parts)):
        yield dg.DynamicOutput(number, mapping_key=f"{number + 1:06}", output_name="parts")


@dg.op(retry_policy=RETRIES)
def make_part(context: dg.OpExecutionContext, records: RecordsResource, export_id: str, number: int) -> int:
    """Write a part of the file, and check and count it. A part that is finished already is left alone."""
    with records.open() as store:
        tag_run(context, export=export_id)
        writer = _writer(context, store)
        plan = writer.load(_account(context), export_id)
        progress = _Progress(context, plan)
        with store.operation(_compared_for(context.run_id)):
            writer.make_part(plan, number)
        progress.after(number)
    return number


@dg.op(retry_policy=RETRIES)
def publish_export(
    context: dg.OpExecutionContext, records: RecordsResource, export_id: str, parts: list[int]
) -> dg.Output[None]:
    """Put all parts of the plan together, and publish the file and its manifest.

    The plan decides which parts there are. After a re-execution from failure Dagster passes on some of them only.
    """
    with records.open() as store:
        tag_run(context, export=export_id)
        writer, account = _writer(context, store), _account(context)
        manifest = writer.published(account, export_id)
        if manifest is None:
            plan = writer.load(account, export_id)
            manifest = writer.finish(plan, _Progress(context, plan).after)
        records_done, made = numbered(manifest.rows, "record"), numbered(len(parts), "part")
        context.log.info(f"Published {records_done} at {manifest.path}; this run made {made}.")
        for event in evaluations(store, manifest):
            context.log_event(event)  # type: ignore[arg-type]  # accepted, but not declared
        return dg.Output(None, metadata=export_metadata(store, manifest))


def export_asset(record_type: RecordType) -> dg.AssetsDefinition:
    """Return the asset for the export files of a record type."""
    plan_config = dg.ConfigMapping(
        config_fn=lambda given: {"plan_export": {"config": {**given, "record_type": record_type.name}}},
        config_schema=_config_of(record_type).to_config_schema(),
    )

    @dg.graph_asset(
        key=["exports", record_type.name],
        ins={"records": dg.AssetIn(["records", record_type.name], dagster_type=dg.Nothing)},
        partitions_def=ACCOUNTS,
        group_name="exports",
        kinds={"duckdb"},
        owners=[OWNER],
        metadata={"dagster/column_schema": column_schema(record_type)},
        config=plan_config,
        description=f"The latest file of an account's {record_type.name}. Columns: "
        + "; ".join([f"preset {name}" for name in record_type.presets] + ["any in any order"]),
    )
    def export(records: Any) -> Any:
        export_id, parts = plan_export(records)
        return publish_export(export_id, parts.map(lambda number: make_part(export_id, number)).collect())

    return export


def export_job(record_type: RecordType) -> Any:
    """Return the job that exports one account's records of a type."""
    return dg.define_asset_job(
        f"export_{record_type.name}",
        # The run evaluates the checks itself, for this export. As steps they would check every account's file.
        selection=dg.AssetSelection.assets(["exports", record_type.name]).without_checks(),
        description=f"Write an account's {record_type.name} to a file, in key order, with a manifest beside it.",
    )


def export_metadata(store: RecordStore, manifest: ExportManifest) -> Mapping[str, Any]:
    """Return what Dagster shows of an export. Values of personal fields are masked."""
    record_type = store.record_type(manifest.record_type)
    types = {field.name: field.type for field in record_type.fields}
    shown: dict[str, Any] = {
        "dagster/row_count": manifest.rows,
        "dagster/column_schema": dg.TableSchema(
            [dg.TableColumn(name, types.get(name, "text")) for name in manifest.columns]
        ),
        "bytes": manifest.bytes,
        "path": dg.MetadataValue.path(str(manifest.path)),
        "sha256": manifest.sha256,
        "snapshot": manifest.snapshot,
        "columns": ", ".join(manifest.columns),
        "export_id": manifest.export_id,
        "actor": manifest.actor,
        "manifest": dg.MetadataValue.json(masked_manifest(record_type, manifest)),
    }
    running = RunningUi.of(store.settings)
    link = running.export_link(store.settings, manifest) if running else None
    if link is not None:
        shown["file_link"] = dg.MetadataValue.url(link)
    page = page_of(store.settings, manifest.account, "export", manifest.export_id)
    if page is not None:
        shown["page"] = dg.MetadataValue.url(page)
    if manifest.seconds:
        shown |= {"seconds": manifest.seconds, "rows_per_second": round(manifest.rows / manifest.seconds)}
    rows = preview_of(store.account(manifest.account), record_type, manifest)
    if rows:
        shown["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in rows])
    return shown


class _Progress:
    """Reports progress as observations of the asset, with numbers that Dagster can plot."""

    def __init__(self, context: dg.OpExecutionContext, plan: ExportPlan) -> None:
        self._context = context
        self._plan = plan
        self._started = time.monotonic()

    def after(self, number: int) -> None:
        """Report that a part is finished. The time left is estimated from the rate of this part."""
        plan, seconds = self._plan, max(time.monotonic() - self._started, 0.001)
        rows, done = plan.parts[number].rows, plan.rows_before(number + 1)
        rate = rows / seconds
        self._context.log_event(
            dg.AssetObservation(
                ["exports", plan.selection.record_type.name],
                partition=plan.request.account,
                metadata={
                    "rows_done": done,
                    "rows_total": plan.rows,
                    "rows_per_second": round(rate),
                    "seconds_left": round((plan.rows - done) / rate, 1) if rate else 0.0,
                    "part": number + 1,
                    "parts": len(plan.parts),
                    "export_id": plan.export_id,
                },
            )
        )
        self._started = time.monotonic()


def planned_before(context: dg.OpExecutionContext) -> str:
    """Return the export that this run has planned; empty if it has not. A retry has the tags of the first run."""
    run = context.instance.get_run_by_id(context.run_id)
    run_id, _, export_id = (run.tags.get(_PLAN, "") if run is not None else "").partition("@")
    return export_id if run_id == context.run_id else ""


@lru_cache(maxsize=1)
def _compared_for(run_id: str) -> Checksums:
    """Return the checksums that this process has read for a run: its export is one operation, whatever the parts."""
    return Checksums()


def _writer(context: dg.OpExecutionContext, store: RecordStore, actor: str = "") -> ExportWriter:
    return ExportWriter(store, actor or store.settings.actor, context.run_id, confined=True)


def _account(context: dg.OpExecutionContext) -> str:
    """Return the account, which is the partition of the run. Raises Failure if the run has none."""
    if not context.has_partition_key:
        raise dg.Failure("No account was given. Choose a partition: each is an account.", allow_retries=False)
    return context.partition_key
