"""Record types as plain data. It needs no pandera and can be stored as JSON."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from schemas.errors import InvalidRequest

Percent = Literal["fraction", "points"]
"""What `15 %` is: 0.15 or 15."""


@dataclass(frozen=True)
class Field:
    """One field of a record.

    `type` is one of text, integer, float, boolean, date, timestamp and decimal(p,s). A `required` field is never null.
    `rules` say in words what a value must be. `aliases` are other headers of the field. `null_markers` are texts that
    mean null.

    The others say how values may be written; see `schemas.model.field`. `choices` are the allowed values, if they are
    listed. `value_aliases` and `labels` are pairs of a text and the value that it stands for.
    """

    name: str
    type: str
    required: bool = False
    personal: bool = False
    aliases: tuple[str, ...] = ()
    null_markers: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    description: str = ""
    example: str = ""
    choices: tuple[str, ...] = ()
    strip: bool | None = None
    casefold: bool = False
    value_aliases: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    country: bool = False
    currency: bool = False
    percent: Percent | None = None

    @property
    def is_number(self) -> bool:
        """Returns whether the values are numbers."""
        return self.type in ("integer", "float") or self.type.startswith("decimal")

    @property
    def is_coded(self) -> bool:
        """Returns whether the values are of a known list: choices, country codes, true and false."""
        return bool(self.choices) or self.country or self.type == "boolean"


@dataclass(frozen=True)
class RecordType:
    """A kind of record: its fields in order, the key that identifies one, and column presets."""

    name: str
    description: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    presets: Mapping[str, tuple[str, ...]]

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """Returns the names of all fields, in the order of the model."""
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        """Returns the field of that name. Raises KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def columns(self, names: Iterable[str] | None = None, preset: str | None = None) -> tuple[str, ...]:
        """Returns the columns to export, in order: the named ones, those of the preset, or all.

        Raises InvalidRequest for an unknown column or preset, a repeated column, or if names and a preset are given.
        """
        if names is not None and preset is not None:
            raise InvalidRequest("Both columns and a preset were given.", "Give one of them.")
        if preset is not None:
            if preset not in self.presets:
                raise InvalidRequest(
                    f"{self.name} has no preset {preset!r}.",
                    f"Its presets: {', '.join(self.presets) or 'none'}.",
                )
            return self.presets[preset]
        if names is None:
            return self.field_names
        chosen = tuple(names)
        unknown = [name for name in chosen if name not in self.field_names]
        repeated = sorted({name for name in chosen if chosen.count(name) > 1})
        if unknown or repeated or not chosen:
            what = (
                f"{self.name} has no column {', '.join(map(repr, unknown))}."
                if unknown
                else f"Column {', '.join(repeated)} was given twice."
                if repeated
                else "No column was given."
            )
            raise InvalidRequest(what, f"Its columns: {', '.join(self.field_names)}.")
        return chosen

    @cached_property
    def hash(self) -> str:
        """Returns a digest of the whole description. It changes with any part of the description."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Returns the description as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "RecordType":
        """Returns the record type from the JSON of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        fields = tuple(Field(**{name: _frozen(value) for name, value in item.items()}) for item in data["fields"])
        presets = {name: tuple(columns) for name, columns in data["presets"].items()}
        return cls(data["name"], data["description"], fields, tuple(data["key"]), presets)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
