"""What data is: record types, batches, exports, errors. Pure: no I/O, no Dagster, nothing else of ours.

A record type is a file in this folder and its line in `RECORD_TYPES`. The line is text, so that
a command which needs only a type's name does not import pandera.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.model import RecordModel
    from schemas.record_type import RecordType

RECORD_TYPES: dict[str, str] = {
    "contacts": "schemas.contacts:Contacts",
    "flights": "schemas.flights:Flights",
}


def load_model(record_type: str) -> "type[RecordModel]":
    """The pandera model of a record type named in `RECORD_TYPES`; KeyError for any other name."""
    module, _, name = RECORD_TYPES[record_type].partition(":")
    model: type[RecordModel] = getattr(importlib.import_module(module), name)
    return model


def load_record_types() -> "list[RecordType]":
    """All record types of this installation, as their models describe them."""
    return [load_model(name).record_type() for name in RECORD_TYPES]
