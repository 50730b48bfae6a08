"""`records expire` and `maintain`, what the sensor and the schedule do, by hand; `accept` and `migrate`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from pipelines.commands.options import open_store, print_json
from schemas.errors import RecordsError, Refused

if TYPE_CHECKING:
    from resources.importing.progress import Progress


@click.command()
@options.as_json
def expire(as_json: bool) -> None:
    """Close the batches whose time has ended, and move what they no longer need to the trash.

    Commits can no longer be taken back then, and previews no longer be committed.
    """
    from resources.upkeep.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).expire()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.terminal import print_expiry

        print_expiry(report)


@click.command()
@options.as_json
def maintain(as_json: bool) -> None:
    """Keep the store's files few, sorted and needed; may be done at any time, beside anything else."""
    from resources.upkeep.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).maintain()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.terminal import print_maintenance

        print_maintenance(report)


@click.group()
def accept() -> None:
    """Confirm what the store refuses to take for granted."""


@accept.command("catalog")
@click.option("--yes", is_flag=True, help="The catalog counts from now on. Without it, only say what is lost.")
@options.as_json
def accept_catalog(yes: bool, as_json: bool) -> None:
    """The catalog counts although it is older than the data, as after a backup of it was restored.

    What was committed after the backup is lost: its batches and exports are in no history, and its records are gone.
    Its files stay where they are, and no maintenance touches them. The newer catalog does not fit the data any more.
    """
    with open_store() as store:
        found = store.outdated_catalog()
        if found is not None and yes:
            store.accept_catalog()
    told: dict[str, object] = {"accepted": found is not None}
    if found is None:
        sentence = "The catalog is as new as the data: there is nothing to accept."
    else:
        newest = "nothing" if found.newest is None else f"{found.newest:%Y-%m-%d %H:%M:%S} UTC"
        told |= {name: vars(found)[name] for name in ("catalog_snapshot", "data_snapshot", "unknown_files")}
        sentence = (
            f"The catalog ends with snapshot {found.catalog_snapshot:,}, and its newest entry is of {newest}. The data "
            f"have files up to snapshot {found.data_snapshot:,}. What was committed in between is lost with the newer "
            f"catalog. Files of the lake that it does not know stay where they are: {found.unknown_files:,}."
        )
    if found is not None and not yes:
        raise Refused(sentence, "If there is no newer catalog, accept this one: records accept catalog --yes.")
    if as_json:
        print_json(told)
    else:
        click.echo(f"Accepted. {sentence}" if yes and found is not None else sentence)


@accept.command("clock")
@options.as_json
def accept_clock(as_json: bool) -> None:
    """The clock of this machine is right, although nothing was written to the store for a long time."""
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
    help="postgresql://USER:PASSWORD@HOST:PORT/DATABASE, whose database has no store; or a folder that becomes a "
    "RECORDS_HOME. In the environment a password is in no list of processes.",
)
@click.option(
    "--data",
    required=True,
    metavar="LOCATION",
    help="A folder, or s3://BUCKET/PREFIX, that has no file; it may be --to.",
)
@options.as_json
def migrate(to: str, data: str, as_json: bool) -> None:
    """Copy the store to another catalog and place of data, with its whole history, and compare both.

    The source is the store of RECORDS_HOME, RECORDS_CATALOG and RECORDS_DATA; it stays as it was. Nobody can write to
    it meanwhile, so end what imports and exports first. Nothing there is a store until everything is there; when it
    does not end, the same command goes on.
    """
    from resources.migration import Migration

    with open_store() as store:
        migration = Migration(store, to, data)
        try:
            with _progress(as_json) as progress:
                report = migration.run(progress)
        except KeyboardInterrupt:
            raise RecordsError(
                "Interrupted: what is there is no store yet, and the source is as it was.", "The same command goes on."
            ) from None
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.commands.terminal import print_migration

        print_migration(report)


@contextmanager
def _progress(as_json: bool) -> "Iterator[Progress | None]":
    """A bar on standard error, for somebody who sits before it."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from pipelines.commands.terminal import progress_bar

    with progress_bar("Copying and comparing", exact=True, of_bytes=True) as progress:
        yield progress
