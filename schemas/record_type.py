"""What a record type is, as plain data: readable without pandera, storable as JSON."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from schemas.errors import InvalidRequest


@dataclass(frozen=True)
class Field:
    """One field of a record.

    `type` is one of text, integer, float, boolean, date, timestamp and decimal(p,s).
    A `required` field is never null; `rules` say in words what its values must be.
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
        """The names of all fields, in the order of the model."""
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        """The field of that name; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def columns(self, names: Iterable[str] | None = None, preset: str | None = None) -> tuple[str, ...]:
        """The columns to export, in order: those named, those of the preset, or all.

        Raises InvalidRequest for an unknown column or preset, a repeated column, or both given.
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
        """A digest of the whole description; another description has another digest."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The description as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "RecordType":
        """The record type that `to_json` described."""
        data: dict[str, Any] = json.loads(text)
        fields = tuple(Field(**{name: _frozen(value) for name, value in item.items()}) for item in data["fields"])
        presets = {name: tuple(columns) for name, columns in data["presets"].items()}
        return cls(data["name"], data["description"], fields, tuple(data["key"]), presets)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
