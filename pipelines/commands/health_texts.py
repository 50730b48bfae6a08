"""Prints the results of `records check`, `repair` and `space` for people."""

from datetime import timedelta

from rich import filesize

from pipelines.commands.terminal import console, escape, table
from schemas.checks import CheckReport, Finding, Kind, Remedy, RepairReport, listed
from schemas.counts import numbered
from schemas.space import SpaceReport

_REMEDIES = {
    Remedy.RESTORE: ("restored", "would be restored"),
    Remedy.REBUILD: ("made again", "would be made again"),
    Remedy.LOSE: ("marked as lost", "would be marked as lost"),
    Remedy.NONE: ("cannot be mended", "cannot be mended"),
}


def print_check(report: CheckReport) -> None:
    """Print what is wrong, then the notes, then what was compared."""
    out = console()
    for finding in report.wrong:
        out.print(f"[bold red]{finding.kind.value}[/]  {escape(finding.sentence)}{escape(_by_account(finding))}")
    for finding in report.notes:
        out.print(f"[dim]{finding.kind.value}[/]  {escape(finding.sentence)}")
    how = "by name and size" if report.fast else "by checksum"
    size = filesize.decimal(report.bytes)
    compared = f"Compared {numbered(report.files, 'file')} {how} in {report.seconds:,.1f} s"
    out.print(compared + ("." if report.fast else f": {size}. Counted {numbered(report.records, 'record')}."))
    if report.wrong:
        out.print(f"{numbered(len(report.wrong), 'thing')} to mend. {report.advice}".strip())
    elif any(finding.kind is Kind.LOST for finding in report.notes):
        out.print("Nothing else is missing.")
    else:
        is_as_written = not report.fast and all(finding.kind is not Kind.EDITED for finding in report.notes)
        out.print("Everything is there and as it was written." if is_as_written else "Every file is there.")


def print_repair(report: RepairReport) -> None:
    """Print what was done about each file, or would be done."""
    out = console()
    for repair in report.repairs:
        what = _REMEDIES[repair.remedy][report.dry_run]
        out.print(f"[bold]{what}[/]  {escape(repair.sentence)}")
        if repair.remedy is Remedy.LOSE:
            if repair.batches:
                out.print(f"  Batches that can no longer be rolled back: {listed(repair.batches)}")
            if not report.dry_run:
                out.print(f"  The keys are listed in {escape(repair.keys)}" if repair.keys else "  No key is known.")
    if not report.repairs:
        out.print("There is nothing to mend.")
    elif report.dry_run:
        out.print("Nothing was changed. To do it: records repair")
    elif any(repair.remedy is not Remedy.NONE for repair in report.repairs):
        out.print("Damaged files are in the trash. Compare the store again: records check")


def print_space(report: SpaceReport) -> None:
    """Print a line for each account and record type, and how long the disk lasts."""
    out = console()
    names = ("Present", "History", "Staging", "Results", "Exports", "Archive", "Trash", "Total")
    rows = table("Account", "Type", *names, numbers=names)
    for (account, record_type), room in report.accounts.items():
        rows.add_row(account or "(all)", record_type, *(_size(it) for it in (*vars(room).values(), room.total)))
    total = report.room
    rows.add_row("[bold]all", "", *(_size(it) for it in (*vars(total).values(), total.total)))
    out.print(rows)
    out.print(f"The ledger and the catalog take {filesize.decimal(report.ledger)}.")
    out.print(f"records maintain and the end of the trash will free {filesize.decimal(report.reclaimable)}, or more.")
    if report.free is not None:
        lasts = "" if report.lasts is None else f", enough for {_days(report.lasts)} at that rate"
        rate = filesize.decimal(report.a_day)
        since = "day" if report.days == 1 else f"{report.days} days"
        out.print(f"In the last {since} the store has written {rate} a day.")
        out.print(f"The disk has {filesize.decimal(report.free)} free{lasts}.")


def _size(number: int) -> str:
    return filesize.decimal(number) if number else ""


def _days(lasts: timedelta) -> str:
    return numbered(lasts.days, "day") if lasts.days < 3_650 else "more than ten years"


def _by_account(finding: Finding) -> str:
    account = "" if finding.account is None else f" It belongs to account {finding.account}"
    batches = f", batches {listed(finding.batches)}" if finding.batches else ""
    return f"{account}{batches}." if account else ""
