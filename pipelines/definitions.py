"""The definitions that Dagster loads: everything in one list."""

from itertools import chain

import dagster as dg

from pipelines.arrivals import file_arrival, import_arrivals
from pipelines.balance import balance_check
from pipelines.deliveries import daily_exports, deliver_exports
from pipelines.executors import executor_of
from pipelines.expiry import batch_expiry, expire_batches
from pipelines.export_checks import check_export, export_checks
from pipelines.exports import export_asset, export_job
from pipelines.health import check_store, nightly_check
from pipelines.imports import commit_batch, import_records, preview_import, records_asset
from pipelines.ledger_events import ledger_events
from pipelines.logs import log_as_set
from pipelines.maintenance import maintain_store, nightly_maintenance
from pipelines.notices import run_failures
from pipelines.rollback import roll_back_batch
from pipelines.runs import lost_runs
from pipelines.step_results import StepResults
from pipelines.store_resource import RecordsResource
from resources.process_state import keep_files_private
from resources.settings import Settings
from schemas import load_record_types


@dg.definitions
def defs() -> dg.Definitions:
    """All assets, checks, jobs, sensors, schedules and resources of the code location `records`."""
    keep_files_private()  # Dagster calls this once in each process that runs our code
    log_as_set()
    record_types = load_record_types()
    return dg.Definitions(
        assets=[*map(records_asset, record_types), *map(export_asset, record_types)],
        asset_checks=[*map(balance_check, record_types), *chain.from_iterable(map(export_checks, record_types))],
        jobs=[
            *(preview_import, commit_batch, import_records, roll_back_batch, expire_batches, maintain_store),
            *(import_arrivals, check_store),
            *map(export_job, record_types),
            *(check_export, deliver_exports),
        ],
        sensors=[file_arrival, ledger_events, batch_expiry, run_failures, lost_runs],
        schedules=[daily_exports, nightly_maintenance, nightly_check],
        resources={"records": RecordsResource(), "io_manager": StepResults()},
        executor=executor_of(Settings.from_environment()),
    )
