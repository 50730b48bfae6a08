"""What must be true of every export, as checks on `exports/<type>`.

As with the balance of batches (see `pipelines.balance`) the checks have no partitions: an evaluation names the account
and the export, and none passes while the latest file of any account has another size than its manifest says.
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
    COUNTED: "the file has as many records as the snapshot that it was written from",
    CHECKSUM: "the file has the SHA-256 that its manifest says",
    READ_BACK: "every record of the file can be read again, and there are as many as its manifest says",
}


class CheckConfig(dg.Config):
    """One published export to look at once more."""

    account: str = Field(default="", description="Whose export, for example ua. Required.")
    export_id: str = Field(default="", description="The export, as records exports lists it. Required.")


@dg.op(retry_policy=RETRIES)
def check(context: dg.OpExecutionContext, config: CheckConfig, records: RecordsResource) -> None:
    """The checks of an export are evaluated: its file is hashed and read to the end."""
    with records.open() as store:
        tag_run(context, account=config.account, export=config.export_id)
        export = store.account(config.account).export(config.export_id)
        if export is None:
            raise NotFound(f"There is no export {config.export_id!r}.", "See which there are: records exports.")
        for event in evaluations(store, export):
            context.log_event(event)  # type: ignore[arg-type]  # it takes them, and says nothing of it


@dg.job(config=flat(check.name, CheckConfig))
def check_export() -> None:
    """Look once more at an export that the command made: one of very many records, for which a tick has no time."""
    check()


def export_checks(record_type: RecordType) -> list[dg.AssetChecksDefinition]:
    """The checks on the exports of a type: evaluated at every export; run by hand, for each account's latest."""
    return [_check(record_type, name) for name in _WHAT]


def evaluations(store: RecordStore, manifest: ExportManifest) -> Iterator[dg.AssetCheckEvaluation]:
    """What the checks say of an export, beside the latest ones of all accounts."""
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
        description=f"Of each export {_WHAT[name]}. Fails while the latest file of any account is damaged.",
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
    """Of each check whether it holds, and what was found. Where the snapshot is gone, nothing speaks against it."""
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
    """Exports whose file is there and has another size. A file that was taken away is nobody's concern here."""
    return [
        f"{manifest.export_id} of {manifest.account}"
        for manifest in latest
        if size_of(manifest.path) not in (None, manifest.bytes)
    ]
