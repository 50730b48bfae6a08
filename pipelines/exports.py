"""Exports as Dagster assets: one asset a record type, one partition an account."""

from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from pipelines.partitions import ACCOUNTS
from pipelines.store_resource import RecordsResource
from resources.export_writer import ExportWriter
from schemas.exports import ExportManifest, ExportRequest
from schemas.record_type import RecordType


class ExportConfig(dg.Config):
    """What to write of an account's records. The account is the partition."""

    format: Literal["csv"] = Field(default="csv", description="The format of the file.")
    columns: list[str] = Field(default=[], description="These columns, in this order. Empty: the preset's, or all.")
    preset: str = Field(default="", description="The columns of a preset of the record type. Empty: none.")
    actor: str = Field(default="", description="Who does it. Empty: RECORDS_ACTOR, else the operating system's user.")


def export_asset(record_type: RecordType) -> dg.AssetsDefinition:
    """The export files of a record type."""

    @dg.asset(
        key=["exports", record_type.name],
        deps=[["records", record_type.name]],
        partitions_def=ACCOUNTS,
        group_name="exports",
        kinds={"csv"},
        description=f"The latest file of an account's {record_type.name}. Columns: "
        + "; ".join([f"preset {name}" for name in record_type.presets] + ["any in any order"]),
    )
    def export(
        context: dg.AssetExecutionContext, config: ExportConfig, records: RecordsResource
    ) -> dg.MaterializeResult[None]:
        """The file holds the account's records of one snapshot, and its manifest lies beside it."""
        request = ExportRequest(
            account=context.partition_key,
            record_type=record_type.name,
            columns=tuple(config.columns) or None,
            preset=config.preset or None,
        )
        with records.open() as store:
            writer = ExportWriter(store, config.actor or store.settings.actor, context.run.run_id)
            return dg.MaterializeResult(metadata=export_metadata(writer.export(request)))

    return export


def export_job(record_type: RecordType) -> Any:
    """The job that exports one account's records of a type."""
    return dg.define_asset_job(
        f"export_{record_type.name}",
        selection=dg.AssetSelection.assets(["exports", record_type.name]),
        description=f"Write an account's {record_type.name} to a file, in key order, with a manifest beside it.",
    )


def export_metadata(manifest: ExportManifest) -> Mapping[str, Any]:
    """What Dagster shows of an export. No values of records."""
    return {
        "dagster/row_count": manifest.rows,
        "bytes": manifest.bytes,
        "path": dg.MetadataValue.path(manifest.path),
        "sha256": manifest.sha256,
        "snapshot": manifest.snapshot,
        "columns": ", ".join(manifest.columns),
        "export_id": manifest.export_id,
        "actor": manifest.actor,
    }
