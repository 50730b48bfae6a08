"""Prints the results of `records backup`, `backups` and `restore` for people."""

from collections.abc import Sequence
from datetime import datetime

from rich import filesize

from pipelines.commands.terminal import console, escape, table
from resources.record_store.store_format import changes_from
from schemas.backups import BackupReport, ListedBackup, RestoreReport
from schemas.counts import numbered


def print_backup(report: BackupReport) -> None:
    """Print what a backup has, what was new, and what was left out."""
    out = console()
    out.print(f"[bold]{report.backup}[/]  snapshot {report.snapshot:,} of {_at(report.at)}")
    out.print(
        f"{numbered(report.files, 'file')} ({filesize.decimal(report.bytes)}) in {escape(report.place)}. New: "
        f"{report.new_files:,} ({filesize.decimal(report.new_bytes)}); each was read back. "
        f"{report.seconds:,.1f} s, of which writers waited at most {report.lock_seconds:.2f} s."
    )
    for path in report.left_out:
        out.print(f"Not in the backup, because it still arrives: {escape(path)}")
    for path in report.unreadable:
        out.print(f"[bold red]Not in the backup[/], because this user may not read it: {escape(path)}")
    if report.pruned:
        out.print(
            f"Removed: {numbered(len(report.pruned), 'earlier backup')} and {filesize.decimal(report.freed)} of files."
        )


def print_backups(listed: Sequence[ListedBackup], *, verified: bool) -> None:
    """Print the backups of a place. verified: all of their files were read."""
    out = console()
    rows = table("Backup", "Store as of", "Snapshot", "Files", "Bytes", "State", numbers=("Snapshot", "Files", "Bytes"))
    for each in listed:
        if each.damage is not None:
            state = f"[red]damaged: {escape(each.damage)}[/]"
        else:
            state = "verified now" if verified else f"verified {_at(each.verified_at)}"
        numbers = ["?" if it is None else f"{it:,}" for it in (each.snapshot, each.files)]
        size = "?" if each.bytes is None else filesize.decimal(each.bytes)
        rows.add_row(each.backup, _at(each.at), *numbers, size, state)
    if listed:
        out.print(rows)
    else:
        out.print("There is no complete backup yet.")


def print_restore(report: RestoreReport) -> None:
    """Print what was restored and compared, and what to do next."""
    out = console()
    out.print(f"Restored [bold]{report.backup}[/], the store as of {_at(report.at)}, in {report.seconds:,.1f} s.")
    out.print(
        f"The backup was compared with its checksums first, and these were read back: {numbered(report.files, 'file')} "
        f"({filesize.decimal(report.bytes)}). The store has as many as the backup: "
        f"{numbered(report.records, 'record')}, {numbered(report.batches, 'batch', 'batches')}, "
        f"{numbered(report.exports, 'export')}, {numbered(report.accounts, 'account')}."
    )
    out.print(
        f"It has a new id, {report.store}, and needs a place of its own for backups."
        if report.is_new_id
        else f"It keeps its id, {report.store}. Do not use the first store beside it."
    )
    for path in report.kept:
        out.print(f"{escape(path)} was there already and differs from the backup. It stays as it is.")
    if report.erased:
        out.print("[yellow]The backup is older than these erasures, so what they erased is back:[/]")
        for sentence in report.erased:
            out.print(f"  {escape(sentence)}")
        out.print("Erase it again, after records init. No receipt has the keys: take them from your own records.")
    if changes_from(report.store_format):
        out.print(f"It has the older format {report.store_format}. The program that made it can use it as it is.")
        out.print("To use it with this program: records init")
    else:
        out.print("Next: records init")


def _at(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
