"""`records check`, `repair` and `space`."""

import sys
from contextlib import suppress

import click

from pipelines.commands import options
from pipelines.commands.options import open_store, print_json, progress
from schemas.errors import RecordsError


@click.command()
@click.option("--fast", is_flag=True, help="Compare names and sizes alone, and count no records.")
@options.as_json
def check(fast: bool, as_json: bool) -> None:
    """Compare the whole store with its checksums and its ledger. Changes nothing.

    It may run at any time, beside anything else. If something is wrong, the exit code is 3.
    """
    from resources.health.check import StoreCheck
    from resources.health.last_check import note_check

    with open_store() as store, progress("Comparing", as_json, exact=True, of_bytes=True) as bar:
        report = StoreCheck(store, fast=fast).run(bar)
        with suppress(RecordsError, OSError):  # data that can only be read are checked too
            note_check(store, report)
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.health_texts import print_check

        print_check(report)
    if report.wrong:
        sys.exit(3)


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option(
    "--from", "place", metavar="PLACE", help="A place of backups with whole copies.  [default: that of the last backup]"
)
@click.option("--without-backup", is_flag=True, help="Look in no backup, because there is none any more.")
@options.as_json
def repair(dry_run: bool, place: str | None, without_backup: bool, as_json: bool) -> None:
    """Mend the files that a check finds missing or damaged, as far as that is safe.

    A file is restored from the trash or a backup, or made again from others. If neither is possible, its records are
    marked as lost, so that all others can be used. If something is left to do, the exit code is 3.
    """
    from resources.backup import last_backup
    from resources.health.repair import StoreRepair
    from resources.health.sources import BackupSource

    with open_store() as store, progress("Comparing", as_json, exact=True, of_bytes=True) as bar:
        last = last_backup(store.settings)
        place = place or (last.place if last is not None else None)
        sources = [] if place is None or without_backup else [BackupSource(place, store.settings)]
        report = StoreRepair(store, store.settings.actor, sources=sources).run(dry_run=dry_run, progress=bar)
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.health_texts import print_repair

        print_repair(report)
    if not report.is_whole:
        sys.exit(3)


@click.command()
@options.as_json
def space(as_json: bool) -> None:
    """Show how much room each account takes, what maintenance would free, and how long the disk lasts."""
    from resources.health.last_space import note_space
    from resources.health.space import measure_space

    with open_store() as store:
        report = measure_space(store)
        with suppress(RecordsError, OSError):  # data that can only be read are measured too
            note_space(store, report)
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.health_texts import print_space

        print_space(report)
