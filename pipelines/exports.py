"""Exports as Dagster assets: one asset a record type, one partition an account, one step a part of the file."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field, create_model

from pipelines.export_checks import evaluations
from pipelines.imports import OWNER, column_schema
from pipelines.partitions import ACCOUNTS
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.export_writer import ExportWriter
from resources.export_writer.inspection import masked_manifest, preview_of
from resources.export_writer.plan import ExportPlan
from resources.record_store import RecordStore
from resources.running_ui import RunningUi
from schemas.errors import InvalidRequest
from schemas.exports import SHEET_ROWS, ExportFormat, ExportManifest, ExportRequest, Packing
from schemas.record_type import RecordType


class ExportConfig(dg.Config):
    """What to write of an account's records. The account is the partition."""

    format: Literal["csv", "json", "ndjson", "excel", "parquet"] = Field(default="csv", description="Of the file.")
    pack: Literal["", "gz", "zst"] = Field(default="", description="Pack the file; csv, json and ndjson. Empty: not.")
    columns: list[str] = Field(default=[], description="These columns, in this order. Empty: the preset's, or all.")
    preset: str = Field(default="", description="The columns of a preset of the type. Empty: none.")
    saved_preset: str = Field(
        default="",
        description="The columns of a preset that the account has saved, for example newsletter. Empty: none.",
    )
    where: list[str] = Field(
        default=[],
        description='Only records of which all are true, for example ["amount >= 100", "country in DE, FR"].',
    )
    order_by: list[str] = Field(default=[], description='Fields, for example ["country", "amount desc"]. Empty: key.')
    as_of: str = Field(default="", description="The records as of a moment, 2024-05-31T09:30:00Z, a batch or export.")
    changed_since: str = Field(
        default="", description="Only what changed since a moment, a batch or an export. Empty: all."
    )
    encoding: str = Field(default="utf-8", description="Of CSV, for example utf-8-sig for Excel's users.")
    delimiter: str = Field(default=",", description="Of CSV: , ; | or tab.")
    raw: bool = Field(default=False, description="Put no ' before texts in CSV that a spreadsheet takes for formulas.")
    path: str = Field(
        default="", description="File or folder, in the account's export folder (empty) or in RECORDS_EXPORT_ROOTS."
    )
    sheet_rows: int = Field(default=SHEET_ROWS, description="Records on a sheet of Excel.")
    part_rows: int = Field(
        default=0, description="Records of a part, about: one step makes one part. 0: as many as suit the format."
    )
    export_id: str = Field(default="", description="An export that is planned already. Empty: plan one.")
    actor: str = Field(default="", description="Who does it. Empty: RECORDS_ACTOR, else the operating system's user.")

    def request(self, account: str, record_type: str) -> ExportRequest:
        """The request that this config makes."""
        if self.preset and self.saved_preset:
            raise InvalidRequest("Both `preset` and `saved_preset` were given.", "Give one of them.")
        return ExportRequest(
            account=account,
            record_type=record_type,
            columns=tuple(self.columns) or None,
            preset=self.preset or self.saved_preset or None,
            path=Path(self.path) if self.path else None,
            format=ExportFormat(self.format),
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
    """The config of a type's exports, which offers the presets that the type declares."""
    presets = Literal[("", *record_type.presets)]  # type: ignore[valid-type]
    told = ExportConfig.model_fields["preset"]
    return create_model(
        f"Export{record_type.name.title()}Config",
        __base__=ExportConfig,
        __doc__=ExportConfig.__doc__,
        preset=(presets, Field(default="", description=told.description)),
    )


class PlanConfig(ExportConfig):
    """What to plan, and of which records."""

    record_type: str = Field(description="The record type.")


@dg.op(
    retry_policy=RETRIES,
    ins={"records": dg.In(dg.Nothing)},
    out={"export_id": dg.Out(str), "parts": dg.DynamicOut(int)},
)
def plan_export(
    context: dg.OpExecutionContext, config: PlanConfig, records: RecordsResource
) -> Iterator[dg.Output[str] | dg.DynamicOutput[int]]:
    """The plan of the export is on disk: one snapshot, divided by ranges of the order into parts."""
    with records.open() as store:
        account = _account(context)
        tag_run(context, account=account, type=config.record_type)
        writer = _writer(context, store, config.actor)
        plan = (
            writer.load(account, config.export_id)
            if config.export_id
            else writer.plan(config.request(account, config.record_type))
        )
        tag_run(context, actor=plan.actor, export=plan.export_id)
    yield dg.Output(
        plan.export_id,
        output_name="export_id",
        metadata={"rows": plan.rows, "parts": len(plan.parts), "snapshot": plan.selection.snapshot},
    )
    for number in range(len(plan.parts)):
        yield dg.DynamicOutput(number, mapping_key=f"{number + 1:06}", output_name="parts")


@dg.op(retry_policy=RETRIES)
def make_part(context: dg.OpExecutionContext, records: RecordsResource, export_id: str, number: int) -> int:
    """The part is there, checked and counted; one that was made before is left alone."""
    with records.open() as store:
        tag_run(context, export=export_id)
        writer = _writer(context, store)
        plan = writer.load(_account(context), export_id)
        observed = _Observed(context, plan)
        writer.make_part(plan, number)
        observed.after(number)
    return number


@dg.op(retry_policy=RETRIES)
def publish_export(
    context: dg.OpExecutionContext, records: RecordsResource, export_id: str, parts: list[int]
) -> dg.Output[None]:
    """The file has its name and its manifest: all parts of the plan, whatever parts this run has made.

    After a re-execution from failure Dagster knows a part of the parts only, and calls that the whole.
    """
    with records.open() as store:
        tag_run(context, export=export_id)
        writer, account = _writer(context, store), _account(context)
        manifest = writer.published(account, export_id)
        if manifest is None:
            plan = writer.load(account, export_id)
            manifest = writer.finish(plan, _Observed(context, plan).after)
        context.log.info(f"Published {manifest.rows:,} records at {manifest.path}; this run made {len(parts):,} parts.")
        for event in evaluations(store, manifest):
            context.log_event(event)  # type: ignore[arg-type]  # it takes them, and says nothing of it
        return dg.Output(None, metadata=export_metadata(store, manifest))


def export_asset(record_type: RecordType) -> dg.AssetsDefinition:
    """The export files of a record type."""
    plan_config = dg.ConfigMapping(
        config_fn=lambda told: {"plan_export": {"config": {**told, "record_type": record_type.name}}},
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


def export_job(record_type: RecordType, executor: dg.ExecutorDefinition) -> Any:
    """The job that exports one account's records of a type."""
    return dg.define_asset_job(
        f"export_{record_type.name}",
        # Without the checks, which the run evaluates itself: as steps they would look at every account's file.
        selection=dg.AssetSelection.assets(["exports", record_type.name]).without_checks(),
        description=f"Write an account's {record_type.name} to a file, in key order, with a manifest beside it.",
        executor_def=executor,
    )


def export_metadata(store: RecordStore, manifest: ExportManifest) -> Mapping[str, Any]:
    """What Dagster shows of an export. Values of personal fields are masked."""
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
    if manifest.seconds:
        shown |= {"seconds": manifest.seconds, "rows_per_second": round(manifest.rows / manifest.seconds)}
    rows = preview_of(store.account(manifest.account), record_type, manifest)
    if rows:
        shown["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in rows])
    return shown


class _Observed:
    """Progress as observations of the asset: numbers, for Dagster to plot."""

    def __init__(self, context: dg.OpExecutionContext, plan: ExportPlan) -> None:
        self._context = context
        self._plan = plan
        self._started = time.monotonic()

    def after(self, number: int) -> None:
        """The part is there. The rate is that of this part; the time left is what it means for all that come."""
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


def _writer(context: dg.OpExecutionContext, store: RecordStore, actor: str = "") -> ExportWriter:
    return ExportWriter(store, actor or store.settings.actor, context.run_id, confined=True)


def _account(context: dg.OpExecutionContext) -> str:
    """The partition; a run without one has no account, which is not the same as none of its records."""
    if not context.has_partition_key:
        raise dg.Failure(
            "No account was given. Choose the partition: an export is of one account.", allow_retries=False
        )
    return context.partition_key
