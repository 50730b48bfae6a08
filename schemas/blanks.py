"""What an empty cell of a file does to the stored value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from schemas.errors import InvalidRequest


class Blank(StrEnum):
    """What an import does where the file or the store has no value.

    clear: an empty cell clears the stored value. keep: an empty cell keeps it. fill: the file only fills what is empty
    in the store, and changes no stored value.
    """

    CLEAR = "clear"
    KEEP = "keep"
    FILL = "fill"


@dataclass(frozen=True)
class Blanks:
    """The choice for all fields, and for those that have another one."""

    of_all: Blank = Blank.CLEAR
    of_fields: Mapping[str, Blank] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Returns the choices from a text such as `keep,notes=clear`. Raises InvalidRequest for any other text."""
        of_all, of_fields = Blank.CLEAR, {}
        for part in text.split(",") if text else ():
            name, _, value = part.strip().rpartition("=")
            if value not in (*Blank,):
                raise InvalidRequest(
                    f"{part.strip()!r} does not say what an empty cell does.",
                    "Give clear, keep or fill, or a field with one of them: notes=keep.",
                )
            if name:
                of_fields[name] = Blank(value)
            else:
                of_all = Blank(value)
        return cls(of_all, of_fields)

    def of(self, name: str) -> Blank:
        """Returns the choice for a field."""
        return self.of_fields.get(name, self.of_all)
