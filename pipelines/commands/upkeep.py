"""`records expire`, `maintain`, `accept` and `migrate`. The first two do what Dagster's sensor and schedule do."""

import click

from pipelines.commands import options
from pipelines.commands.group import Subcommands
from pipelines.commands.options import open_store, print_json, progress
from schemas.errors import RecordsError, Refused


@click.command()
@options.as_json
def expire(as_json: bool) -> None:
    """Close the batches that have passed their time, and move their files to the trash.

    Such a commit can no longer be rolled back, and such a preview can no longer be committed.
    """
    from resources.upkeep.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).expire()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.upkeep_texts import print_expiry

        print_expiry(report)


@click.command()
@options.as_json
def maintain(as_json: bool) -> None:
    """Merge and sort the store's files, and remove old ones. Safe at any time, beside anything else."""
    from resources.upkeep.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).maintain()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.upkeep_texts import print_maintenance

        print_maintenance(report)


@click.group(cls=Subcommands)
def accept() -> None:
    """Confirm that an unusual catalog or clock is right."""


@accept.command("catalog")
@click.option("--yes", is_flag=True, help="Accept it. Without this option, only print what is lost.")
@options.as_json
def accept_catalog(yes: bool, as_json: bool) -> None:
    """Accept a catalog that is older than the data, as after a backup of it was restored.

    Commits after the backup are lost: their records are gone, and the history has no batch or export of them.
    Their files stay where they are, and no maintenance touches them. The newer catalog can no longer be used.
    """
    with open_store() as store:
        found = store.outdated_catalog()
        if found is not None and yes:
            store.accept_catalog()
    result: dict[str, object] = {"accepted": found is not None}
    if found is None:
        sentence = "The catalog is as new as the data: there is nothing to accept."
    else:
        newest = "nothing" if found.newest is None else f"{found.newest:%Y-%m-%d %H:%M:%S} UTC"
        result |= {name: vars(found)[name] for name in ("catalog_snapshot", "data_snapshot", "unknown_files")}
        sentence = (
            f"The catalog ends with snapshot {found.catalog_snapshot:,}, and its newest entry is of {newest}. The data "
            f"have files up to snapshot {found.data_snapshot:,}. Commits in between are lost with the newer catalog. "
            f"Files of the lake that this catalog does not have stay where they are: {found.unknown_files:,}."
        )
    if found is not None and not yes:
        raise Refused(sentence, "If you have no newer catalog, accept this one: records accept catalog --yes.")
    if as_json:
        print_json(result)
    else:
        click.echo(f"Accepted. {sentence}" if yes and found is not None else sentence)


@accept.command("clock")
@options.as_json
def accept_clock(as_json: bool) -> None:
    """Accept the clock of this machine after a long time without writing to the store.

    It is needed when a command has refused to write, because the clock seems to be wrong, and it is right.
    """
    with open_store() as store:
        at = store.accept_clock()
    if as_json:
        print_json({"at": at.isoformat()})
    else:
        click.echo(f"It is {at:%Y-%m-%d %H:%M:%S} UTC.")


@click.command()
@click.option(
    "--to",
    required=True,
    metavar="CATALOG",
    envvar="RECORDS_MIGRATE_TO",
    show_envvar=True,
    help="postgresql://USER:PASSWORD@HOST:PORT/DATABASE of a database without a store, or a folder for a new "
    "RECORDS_HOME. A list of processes does not show a password in the environment.",
)
@click.option(
    "--data",
    required=True,
    metavar="LOCATION",
    help="An empty folder, or s3://BUCKET/PREFIX without objects. It may be the folder of --to.",
)
@options.as_json
def migrate(to: str, data: str, as_json: bool) -> None:
    """Copy the store with its whole history to another catalog and another place of data, and compare both.

    The source is the store of RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA. It does not change. It
    accepts no writes during the copy, so stop imports and exports first. The target becomes a store when everything is
    copied. If the command is interrupted, run it again: it continues.
    """
    from resources.migration import Migration

    with open_store() as store:
        migration = Migration(store, to, data)
        try:
            with progress("Copying and comparing", as_json, exact=True, of_bytes=True) as bar:
                report = migration.run(bar)
        except KeyboardInterrupt:
            raise RecordsError(
                "Interrupted: the target is not a store yet, and the source is unchanged.",
                "Run the command again to continue.",
            ) from None
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.upkeep_texts import print_migration

        print_migration(report)
