"""The asset checks on `exports/<type>`: what must be true of every export.

Checks have no partitions, as with the balance of batches (see `pipelines.balance`). An evaluation names the account
and the export. All fail while the size of any account's latest file differs from its manifest.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.launchpad import flat
from pipelines.runs import tag_run
from pipelines.store_resource import RETRIES, RecordsResource
from resources.export_writer.inspection import Inspection, inspect
from resources.file_storage import exists, size_of
from resources.record_store import RecordStore
from schemas.errors import NotFound
from schemas.exports import ExportManifest
from schemas.record_type import RecordType

COUNTED, CHECKSUM, READ_BACK = "rows_equal_snapshot", "checksum_holds", "file_reads_back"
_WHAT = {
    COUNTED: "the file has as many records as its snapshot",
    CHECKSUM: "the file has the SHA-256 of its manifest",
    READ_BACK: "every record of the file can be read, and their number is that of the manifest",
}


class CheckConfig(dg.Config):
    """The published export to check."""

    account: str = Field(default="", description="The account, for example ua. Required.")
    export_id: str = Field(default="", description="The id of the export, as `records exports` lists it. Required.")


@dg.op(retry_policy=RETRIES)
def check(context: dg.OpExecutionContext, config: CheckConfig, records: RecordsResource) -> None:
    """Check a published export: hash its file and read it to the end."""
    with records.open() as store:
        tag_run(context, account=config.account, export=config.export_id)
        export = store.account(config.account).export(config.export_id)
        if export is None:
            raise NotFound(f"There is no export {config.export_id!r}.", "List the exports: records exports.")
        for event in evaluations(store, export):
            context.log_event(event)  # type: ignore[arg-type]  # accepted, but not declared


@dg.job(config=flat(check.name, CheckConfig))
def check_export() -> None:
    """Check an export that the command made, if it has too many records to be checked by a sensor."""
    check()


def export_checks(record_type: RecordType) -> list[dg.AssetChecksDefinition]:
    """Return the checks on the exports of a type. Run by hand, they check the latest export of each account."""
    return [_check(record_type, name) for name in _WHAT]


def evaluations(store: RecordStore, manifest: ExportManifest) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the evaluations of all checks for an export. They fail if the latest file of any account is damaged."""
    inspection = inspect(store.account(manifest.account), store.record_type(manifest.record_type), manifest)
    damaged = _damaged(store.latest_exports(manifest.record_type))
    shown: dict[str, Any] = {
        "account": manifest.account,
        "export_id": manifest.export_id,
        "rows": manifest.rows,
        "damaged": ", ".join(damaged) or "none",
    }
    for name, (passed, found) in _outcomes(manifest, inspection).items():
        yield dg.AssetCheckEvaluation(
            dg.AssetKey(["exports", manifest.record_type]), name, passed and not damaged, shown | found
        )


def _check(record_type: RecordType, name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["exports", record_type.name],
        name=name,
        description=f"For each export, {_WHAT[name]}. Fails while the latest file of any account is damaged.",
    )
    def check(records: RecordsResource) -> dg.AssetCheckResult:
        with records.open() as store:
            latest = store.latest_exports(record_type.name)
            wrong = [
                f"{manifest.export_id} of {manifest.account}"
                for manifest in latest
                if exists(manifest.path)
                and not _outcomes(manifest, inspect(store.account(manifest.account), record_type, manifest))[name][0]
            ]
        return dg.AssetCheckResult(passed=not wrong, metadata={"damaged": ", ".join(wrong) or "none"})

    return check


def _outcomes(manifest: ExportManifest, found: Inspection) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Return for each check whether it passes, and what was found. An expired snapshot does not fail a check."""
    return {
        COUNTED: (
            found.counted in (None, manifest.rows),
            {"counted": found.counted if found.counted is not None else ""},
        ),
        CHECKSUM: (found.sha256 == manifest.sha256, {"sha256": manifest.sha256, "found": found.sha256 or "no file"}),
        READ_BACK: (
            found.read_back == manifest.rows,
            {"read_back": found.unreadable if found.read_back is None else found.read_back},
        ),
    }


def _damaged(latest: Sequence[ExportManifest]) -> list[str]:
    """Return the exports with a file of another size than in the manifest. A missing file is not damage."""
    return [
        f"{manifest.export_id} of {manifest.account}"
        for manifest in latest
        if size_of(manifest.path) not in (None, manifest.bytes)
    ]
