"""Presets of columns that accounts save for themselves."""

import re
from collections.abc import Sequence

from resources.record_store import ledger
from resources.record_store.selection import known_type, require_account
from resources.record_store.transaction import Transaction
from schemas.errors import InvalidRequest

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def save_preset(
    transaction: Transaction, account: str, record_type: str, name: str, columns: Sequence[str], actor: str
) -> None:
    """The account's preset of that name has these columns from now on.

    Raises NotFound for an unknown account or type, InvalidRequest for an unknown column, or a name that cannot be
    one or is that of a preset of the type.
    """
    connection = transaction.connection
    require_account(connection, account)
    known = known_type(connection, record_type)
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be a preset's name.", "It is 1 to 63 of a-z, 0-9, - and _, a letter or digit first."
        )
    if name in known.presets:
        raise InvalidRequest(f"{record_type} has a preset {name!r} of its own.", "Give this one another name.")
    chosen = known.columns(columns)
    transaction.append(ledger.append_preset, transaction.at, account, record_type, name, chosen, actor)
