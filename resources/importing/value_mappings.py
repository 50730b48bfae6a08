"""Accepts and forgets mappings of values for all files of an account and type."""

from collections.abc import Sequence
from dataclasses import replace

from resources.record_store import RecordStore
from schemas import load_model
from schemas.errors import InvalidRequest
from schemas.model import RecordModel
from schemas.validation import are_values, invalid_values
from schemas.values import ValueMap, as_pairs


def accept_values(store: RecordStore, account: str, record_type: str, values: ValueMap, actor: str) -> None:
    """Apply mappings of values to later files of the account.

    Raises InvalidRequest for an unknown field, a key, a personal field, a text that is a value, and a value that breaks
    a rule. Raises NotFound for an unknown account or type.
    """
    model = load_model(record_type)
    for mapping, why in invalid_values(model, values):
        raise InvalidRequest(f"The mapping {mapping.pair!r} cannot be accepted: {why}.", "Correct it.")
    for name, texts in values.items():
        _require_shared(model, name)
        for text, is_value in zip(texts, are_values(model, name, list(texts)), strict=True):
            if is_value:
                raise InvalidRequest(
                    f"{text!r} is a value of {name} as it is.",
                    "Map it for one file and those like it: records import FILE --value FIELD:TEXT=VALUE.",
                )
    store.account(account).record_values(record_type, as_pairs(values), actor)


def forget_values(store: RecordStore, account: str, record_type: str, texts: Sequence[str], actor: str) -> None:
    """Apply mappings of these texts no longer, each given as FIELD:TEXT. Raises InvalidRequest if one is not known."""
    records = store.account(account)
    known = {f"{it.mapping.field}:{it.mapping.text}": it.mapping for it in records.known_values(record_type)}
    for text in texts:
        if text not in known:
            raise InvalidRequest(
                f"The account {account} has no mapping of {text!r} for {record_type}.",
                f"Name one as FIELD:TEXT. List them: records mappings list -a {account} -t {record_type}.",
            )
    records.record_values(record_type, [replace(known[text], value=None) for text in texts], actor)


def _require_shared(model: type[RecordModel], name: str) -> None:
    if model.record_type().field(name).personal:
        raise InvalidRequest(
            f"{name} is personal, and its values are not kept in the ledger.",
            "Give the mapping with each file: records import FILE --value FIELD:TEXT=VALUE.",
        )
