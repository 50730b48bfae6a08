"""`records mappings`: what texts stand for in all files of an account and type."""

from collections.abc import Sequence

import click

from pipelines.commands import options
from pipelines.commands.group import Subcommands
from pipelines.commands.options import open_store, print_json
from resources.record_store import RecordStore
from schemas.values import KnownValue, value_map

_pairs = click.argument("pairs", metavar="FIELD:TEXT=VALUE...", nargs=-1, required=True)


@click.group(cls=Subcommands)
def mappings() -> None:
    """List, accept and forget mappings of values, such as status:Kunde=customer."""


@mappings.command("list")
@options.required_account
@click.option("-t", "--type", "record_type", help="Only mappings of this record type.")
@options.as_json
def list_mappings(account: str, record_type: str | None, as_json: bool) -> None:
    """List the mappings of an account.

    Some were accepted, and others were learnt from its corrected rejects files. A learnt one is used once it is
    accepted.
    """
    with open_store() as store:
        _print(store, account, list(store.record_types()) if record_type is None else [record_type], as_json)


@mappings.command("accept")
@_pairs
@options.required_account
@options.record_type
@options.as_json
def accept_mappings(pairs: Sequence[str], account: str, record_type: str, as_json: bool) -> None:
    """Use mappings for all later files of an account and type."""
    from resources.importing.value_mappings import accept_values

    with open_store() as store:
        accept_values(store, account, record_type, value_map(pairs), store.settings.actor)
        _print(store, account, [record_type], as_json)


@mappings.command("forget")
@click.argument("texts", metavar="FIELD:TEXT...", nargs=-1, required=True)
@options.required_account
@options.record_type
@options.as_json
def forget_mappings(texts: Sequence[str], account: str, record_type: str, as_json: bool) -> None:
    """Forget the mappings of these texts, and what was learnt of them."""
    from resources.importing.value_mappings import forget_values

    with open_store() as store:
        forget_values(store, account, record_type, texts, store.settings.actor)
        _print(store, account, [record_type], as_json)


def _print(store: RecordStore, account: str, record_types: Sequence[str], as_json: bool) -> None:
    known: list[KnownValue] = []
    for name in record_types:
        known += store.account(account).known_values(name)
    if as_json:
        print_json({"items": [it.to_dict() for it in known], "next": None})
    else:
        from pipelines.commands.type_texts import print_mappings

        print_mappings(known)
