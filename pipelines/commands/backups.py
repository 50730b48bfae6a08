"""`records backup`, `backups` and `restore`."""

import sys

import click

from pipelines.commands import options
from pipelines.commands.options import open_store, print_json, progress
from schemas.errors import RecordsError


@click.command()
@click.argument("place", metavar="PLACE")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Remove all backups but the newest N afterwards.")
@options.as_json
def backup(place: str, keep: int | None, as_json: bool) -> None:
    """Back the store up to PLACE, a folder or s3://BUCKET/PREFIX, while others read and write.

    Only new files are copied, and each is read back. The backup equals the store at one point in time. If the command
    is interrupted, run it again: it continues. If this user may not read a file, the backup has all others, and the
    exit code is 3.
    """
    from resources.backup import Backup, BackupPlace

    with open_store() as store:
        made = Backup(store, BackupPlace(place, store.settings))
        try:
            with progress("Copying", as_json, of_bytes=True) as bar:
                report = made.run(keep=keep, progress=bar)
        except KeyboardInterrupt:
            raise RecordsError(
                "Interrupted: no new backup was made, and the earlier ones are as before.", "Run the command again."
            ) from None
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.backup_texts import print_backup

        print_backup(report)
    if report.unreadable:
        sys.exit(3)


@click.command()
@click.argument("place", metavar="PLACE")
@click.option("--verify", is_flag=True, help="Read all files of all backups, and compare them with their checksums.")
@options.as_json
def backups(place: str, verify: bool, as_json: bool) -> None:
    """List the backups in PLACE, newest first. Needs no store.

    Ends with exit code 1 if a backup is damaged.
    """
    from resources.backup import BackupPlace
    from resources.settings import Settings

    with progress("Verifying", as_json or not verify, exact=True, of_bytes=True) as bar:
        listed = BackupPlace(place, Settings.from_environment()).listed(verify=verify, progress=bar)
    if as_json:
        print_json({"items": [each.to_dict() for each in listed], "next": None})
    else:
        from pipelines.commands.backup_texts import print_backups

        print_backups(listed, verified=verify)
    if any(each.damage for each in listed):
        sys.exit(1)


@click.command()
@click.argument("place", metavar="PLACE")
@click.option(
    "--at", metavar="BACKUP", help="The backup to restore; `records backups` lists them. Default: the newest."
)
@click.option("--new-id", is_flag=True, help="Give the store an id of its own, because the first one goes on.")
@click.option("--catalog-only", is_flag=True, help="The data are still there: restore the catalog, and missing files.")
@options.as_json
def restore(place: str, at: str | None, new_id: bool, catalog_only: bool, as_json: bool) -> None:
    """Restore a backup from PLACE to RECORDS_HOME, RECORDS_DATA and RECORDS_CATALOG, which must be empty.

    The whole backup is compared with its checksums first, and what was restored is compared with the backup. Until the
    end there is no store. If the command is interrupted, run it again: it continues.
    """
    from resources.backup import BackupPlace, Restore
    from resources.settings import Settings

    settings = Settings.from_environment()
    made = Restore(BackupPlace(place, settings), settings, new_id=new_id, catalog_only=catalog_only)
    try:
        with progress("Verifying and restoring", as_json, exact=True, of_bytes=True) as bar:
            report = made.run(at, bar)
    except KeyboardInterrupt:
        raise RecordsError("Interrupted: there is no store yet.", "Run the command again to continue.") from None
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.backup_texts import print_restore

        print_restore(report)
