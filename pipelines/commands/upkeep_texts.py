"""Prints the results of `records expire`, `maintain` and `migrate` for people."""

from rich import filesize

from pipelines.commands.terminal import console, escape, table
from schemas.counts import numbered
from schemas.maintenance import ExpiryReport, MaintenanceReport, Removed
from schemas.migration import MigrationReport


def print_expiry(report: ExpiryReport) -> None:
    """Print the batches that were closed."""
    out = console()
    for what, batches in (("Expired", report.expired), ("Discarded", report.discarded)):
        for batch_id in batches:
            out.print(f"{what} {batch_id}")
    if not report.expired and not report.discarded:
        out.print("No batch has passed its time.")
    if report.removed.number:
        out.print(
            f"Moved {report.removed.number:,} folders of files to the trash: {filesize.decimal(report.removed.bytes)}."
        )


def print_maintenance(report: MaintenanceReport) -> None:
    """Print what maintenance did and reclaimed, and the size of the store."""
    out, done = console(), table("What", "Number", "Reclaimed", numbers=("Number", "Reclaimed"))
    done.add_row("batches expired", f"{len(report.expiry.expired):,}", "")
    done.add_row("previews discarded", f"{len(report.expiry.discarded):,}", "")
    done.add_row("folders of closed batches", *_removed(report.expiry.removed))
    done.add_row("snapshots expired", f"{report.snapshots:,}", "")
    done.add_row("small files merged", f"{report.merged:,}", "")
    done.add_row("files with deleted records rewritten", f"{report.rewritten:,}", "")
    done.add_row("replaced files", *_removed(report.old_files))
    done.add_row("files of killed writers", *_removed(report.orphans))
    done.add_row("old exports, and unfinished ones", *_removed(report.exports))
    done.add_row("old archived and quarantined files", *_removed(report.archived))
    done.add_row("what old runs passed on between steps", *_removed(report.steps))
    done.add_row("emptied from the trash", *_removed(report.trash))
    out.print(done)
    if report.unknown:
        out.print(
            f"The lake's folder has {numbered(len(report.unknown), 'file')} that this store did not write, for example "
            f"{report.unknown[0]}. They were left alone."
        )
    out.print(
        f"Moved {filesize.decimal(report.reclaimed)} to the trash. The records take "
        f"{filesize.decimal(report.storage.current)}. Earlier snapshots, which rollbacks need, take "
        f"{filesize.decimal(report.storage.held)} more."
    )


def print_migration(report: MigrationReport) -> None:
    """Print what was copied and compared, and what to do next."""
    out = console()
    out.print(
        f"Copied to [bold]{escape(report.to)}[/] and {escape(report.data)} in {report.seconds:,.1f} s: "
        f"{numbered(report.files, 'file')} ({filesize.decimal(report.bytes)}), "
        f"{numbered(report.snapshots, 'snapshot')}, {numbered(report.batches, 'batch', 'batches')}, "
        f"{numbered(report.exports, 'export')}, {numbered(report.accounts, 'account')}, "
        f"{numbered(report.record_types, 'record type')}."
    )
    out.print(
        "Every file was read back and has the SHA-256 of its source. Ledger and records are equal now, and before and "
        f"after each batch that can be rolled back ({numbered(report.compared, 'snapshot')}). The source is unchanged."
    )
    out.print("\nTo work there, set:")
    for name, value in report.environment.items():
        out.print(escape(f"  unset {name}" if value is None else f"  {name}={value}"))
    if report.is_server:
        out.print("  with the password and the options that --to has; they are not shown.")
    for path in report.by_hand:
        out.print(f"Copy {escape(path)} by hand into the RECORDS_HOME there.")
    out.print("Then, there: records init")
    out.print("Dagster's runs and the states of its schedules stay here. Its history there begins with the ledger.")


def _removed(removed: Removed) -> tuple[str, str]:
    return f"{removed.number:,}", filesize.decimal(removed.bytes) if removed.number else ""
