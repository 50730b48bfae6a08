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
    """Save the columns of an account's preset.

    Raises NotFound for an unknown account or type, and InvalidRequest for an unknown column. Also raises InvalidRequest
    if the name is not valid, or if the type has a preset with that name.
    """
    connection = transaction.connection
    require_account(connection, account)
    known = known_type(connection, record_type)
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} is not a valid name of a preset.",
            "A name has 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit.",
        )
    if name in known.presets:
        raise InvalidRequest(f"{record_type} has its own preset {name!r}.", "Give your preset another name.")
    chosen = known.columns(columns)
    transaction.append(ledger.append_preset, transaction.at, account, record_type, name, chosen, actor)
