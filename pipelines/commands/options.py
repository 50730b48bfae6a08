"""What commands share: options, the store that they work on, and how they print for programs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types

PAGE = 50

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
account = click.option(
    "-a", "--account", envvar="RECORDS_ACCOUNT", show_envvar=True, help="Whose; nothing else exists then."
)
required_account = click.option(
    "-a", "--account", envvar="RECORDS_ACCOUNT", show_envvar=True, required=True, help="Whose records."
)
record_type = click.option("-t", "--type", "record_type", required=True, help="Record type: see records types.")
page = click.option("--page", type=click.IntRange(min=1), default=1, show_default=True, help=f"{PAGE} a page.")


@contextmanager
def open_store(*, make: bool = False) -> Iterator[RecordStore]:
    """The store of the environment's settings; made first when it is not there and the command may make it."""
    with RecordStore(Settings.from_environment()) as store:
        if make and not store.exists:
            store.initialise(load_record_types())
            click.echo(f"Made a new store in {store.settings.place}.", err=True)
        yield store


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))
