"""What data is: record types, batches, exports, errors. The modules here do no I/O, and import no other code of ours.

This module alone imports modules that the environment names. It is the registry of record types. A record type comes
from one of three places, in this order:

1. `RECORD_TYPES` lists the shipped ones. `RECORDS_SHIPPED_TYPES=no` leaves them out.
2. The setting `RECORDS_TYPES` names others: `mycompany.types:TYPES`, or several with commas between.
3. An installed package names others as entry points of the group `records.types`.

A name such as `mycompany.types:TYPES` is text. So a command that needs no model does not import pandera.
"""

import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from schemas.model import RecordModel
    from schemas.record_type import RecordType

RECORD_TYPES: dict[str, str] = {
    "contacts": "schemas.contacts:Contacts",
    "flights": "schemas.flights:Flights",
}
"""The shipped record types: the name of each, and where its model is."""

_GROUP = "records.types"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_YES_NO = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def load_model(record_type: str) -> "type[RecordModel]":
    """Returns the pandera model of the record type. Raises NotFound if no place above has that name."""
    models = _load(_sources())
    if record_type not in models:
        raise NotFound(
            f"No installed module defines the record type {record_type!r}; these are defined: {', '.join(models)}.",
            "Name its module in RECORDS_TYPES, for example mycompany.types:TYPES.",
        )
    return models[record_type]


def load_record_types() -> "list[RecordType]":
    """Returns all record types of this installation. Raises InvalidRequest if one cannot be loaded."""
    return [model.record_type() for model in _load(_sources()).values()]


def record_type_names() -> tuple[str, ...]:
    """Returns the names of all record types of this installation. Raises InvalidRequest if one cannot be loaded."""
    sources = _sources()
    return tuple(RECORD_TYPES if sources == tuple(RECORD_TYPES.values()) else _load(sources))


def record_type_files() -> dict[str, Path]:
    """Returns the source file of each record type, by name. A running process does not notice that one has changed."""
    files = {name: getattr(_module(model.__module__), "__file__", None) for name, model in _load(_sources()).items()}
    return {name: Path(file) for name, file in files.items() if file is not None}


def _sources() -> tuple[str, ...]:
    """Returns the places of models, each as `module:name`."""
    named = os.environ.get("RECORDS_TYPES", "").split(",")
    return (
        *(RECORD_TYPES.values() if _with_shipped() else ()),
        *filter(None, map(str.strip, named)),
        *_entry_points(),
    )


def _with_shipped() -> bool:
    setting = os.environ.get("RECORDS_SHIPPED_TYPES", "").strip().lower()
    if setting not in _YES_NO:
        raise InvalidRequest(f"RECORDS_SHIPPED_TYPES is {setting!r}.", "Give yes or no.")
    return _YES_NO[setting]


@cache
def _entry_points() -> tuple[str, ...]:
    return tuple(point.value for point in importlib.metadata.entry_points(group=_GROUP))


@cache
def _load(sources: tuple[str, ...]) -> "dict[str, type[RecordModel]]":
    """Returns the models of all sources by name, each of them checked."""
    models: dict[str, type[RecordModel]] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for model in _models(source, source):
            name = _checked_name(model, source)
            if name in models and models[name] is not model:
                raise InvalidRequest(
                    f"Two record types are called {name!r}: one of {origins[name]} and one of {source}.",
                    "Give one of them another name. RECORDS_SHIPPED_TYPES=no leaves out the shipped ones.",
                )
            models[name], origins[name] = model, source
    if not models:
        raise InvalidRequest("No record type is left.", "Name one in RECORDS_TYPES, or set RECORDS_SHIPPED_TYPES=yes.")
    return models


def _models(found: Any, source: str) -> "Iterator[type[RecordModel]]":
    """Yields the models that `found` is, contains or names: a model, `module:name`, a list, or a dict of them."""
    from schemas.model import RecordModel

    if isinstance(found, str):
        yield from _models(_named(found), source)
    elif isinstance(found, type) and issubclass(found, RecordModel):
        yield found
    elif isinstance(found, Mapping):
        yield from _models(list(found.values()), source)
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _models(each, source)
    else:
        raise InvalidRequest(
            f"{source} is {found!r}, which is not a record type.",
            f"Name a list of classes that inherit from {RecordModel.__module__}.RecordModel.",
        )


def _named(place: str) -> Any:
    """Returns the object at `module:name`."""
    module_name, _, name = place.partition(":")
    if not module_name or not name.isidentifier():
        raise InvalidRequest(
            f"{place!r} does not name record types.", "Write MODULE:NAME, for example mycompany.types:TYPES."
        )
    module = _module(module_name)
    if not hasattr(module, name):
        raise InvalidRequest(
            f"The module {module_name} has no {name}, which {place!r} names.", "Correct the name or the module."
        )
    return getattr(module, name)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"The module {name} of record types cannot be imported: {error}.",
            "Install it into this environment, or name its folder in PYTHONPATH.",
        ) from error
    except Exception as error:  # a defect of that module, whatever it is
        raise InvalidRequest(
            f"The module {name} of record types cannot be imported: {type(error).__name__}: {error}.",
            "Correct the module.",
        ) from error


def _checked_name(model: "type[RecordModel]", source: str) -> str:
    """Returns the name of the model's record type. Raises InvalidRequest if the model describes none."""
    try:
        name = model.record_type().name
    except InvalidRequest as error:
        raise InvalidRequest(f"{source}: {error.message}", error.hint) from error
    except Exception as error:  # pandera finds mistakes of many kinds in a model
        raise InvalidRequest(
            f"{source}: {model.__name__} is not a record type: {error}.", "Correct the class; see the shipped ones."
        ) from error
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{source}: {model.__name__}.Config.name is {name!r}.",
            "Use 1 to 60 small letters, digits and _, and begin with a letter.",
        )
    return name
